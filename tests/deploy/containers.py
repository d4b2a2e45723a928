"""Containers without an engine: what an image copies, and a command that finds its root file system read only."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.deployment.objects import USER
from tests.product import ROOT, Said

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
IGNORED = ROOT / "deploy" / "Dockerfile.dockerignore"
READS_EVERYTHING = "--inh-caps=+dac_read_search --ambient-caps=+dac_read_search"
APP = Path("/opt/carbon-etl/app")  # in the image


def instructions() -> list[tuple[str, str]]:
    """Each instruction of the Dockerfile with its text, continued lines put together."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def copied(target: Path) -> None:
    """The application's folder of the image, made of the context as the builder would."""
    lines = IGNORED.read_text(encoding="utf-8").replace("**/__pycache__\n", "").splitlines()  # what it compiles
    left_out = shutil.ignore_patterns(*(Path(line).name for line in lines if "/" in line and line[0] not in "#!"))
    for name, text in instructions():
        source, _, place = text.partition(" ")
        if name == "COPY" and place.startswith(str(APP)):
            shutil.copytree(ROOT / source, target / Path(place).relative_to(APP), ignore=left_out)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that other users can look into, as pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def can_mount() -> bool:
    """Whether this machine lets us have mounts of our own."""
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


def contained(command: Sequence[str], env: Mapping[str, str], writable: Sequence[Path]) -> Said:
    """A command at `/` with that environment and no other.

    Where mounts are ours, its user is the image's, whom this machine does not know, and it writes to `writable` only.
    It may open whatever it finds, for an interpreter may lie in somebody's home.
    """
    if can_mount():
        places = [shlex.quote(str(one)) for one in writable]
        own = [f"chown -R {USER}:{USER} {place} && mount --bind {place} {place}" for place in places]
        user = f"--reuid={USER} --regid={USER} --clear-groups {READS_EVERYTHING}"
        script = "; ".join([*own, "mount -o remount,ro,bind /", f'exec setpriv {user} "$@"'])
        command = ["unshare", "--mount", "sh", "-ec", script, "sh", *command]
    environment = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=240)
    return Said(done.returncode, done.stdout, done.stderr)


def entrypoint() -> list[str]:
    """The command that the image begins with, by this interpreter."""
    (text,) = (text for name, text in instructions() if name == "ENTRYPOINT")
    words = re.findall(r'"([^"]+)"', text)
    assert words[0] == "python"
    return [sys.executable, *words[1:]]
