"""Builds the real exporters into a cache folder: `python -m tests.exporters.programs FOLDER`.

What cannot be built is said in one line and is no failure: its tests are then not run, and say so with that line. What
lies in FOLDER/bin is built again only when what it is made of has changed; a program that somebody put there is used as
it is.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

KEPLER = "github.com/sustainable-computing-io/kepler"
KEPLER_VERSION = "0.11.4"
KEPLER_LEGACY_VERSION = "0.9.0"  # the last before the rewrite
SCAPHANDRE_VERSION = "1.0.0"  # the newest that is published as a crate
SCAPHANDRE_FEATURES = "prometheus,containers,json"  # json: without it 1.0.0 does not compile
BUILD_SECONDS = 600
TOOLCHAINS = {
    "go": ("/usr/local/go/bin", "a Go toolchain (1.24 or newer)"),
    "cargo": ("~/.cargo/bin", "a Rust toolchain"),
    "cc": ("/usr/bin", "a C compiler"),
}
ADDRESS = re.compile(r"https?://\S+ ?")  # the line shall be short; the log holds it
PROC_MODULES = Path(__file__).with_name("proc_modules.c")
# One of old Kepler's four eBPF programs counts reads of the page cache, for estimates in virtual machines. Kernels may
# refuse its kind (fexit) even to root, and Kepler ends then, though it goes on where that one cannot be attached. So it
# is loaded as a kind that is never attached; nothing that counts energy is touched.
PAGE_READS = 'specs.Programs["kepler_read_page_trace"]'
LOADING = "\t// Load the eBPF program(s)\n"
UNATTACHED = f'\t{PAGE_READS}.Type, {PAGE_READS}.AttachTo = ebpf.TracePoint, ""\n'
NO_ENV: Mapping[str, str] = MappingProxyType({})


class NotBuilt(Exception):  # not an error: other exporters are built all the same
    """Why an exporter cannot be had here, in one line."""


def build_kepler(folder: Path) -> None:
    """Kepler's released version, as a Go module."""
    module = f"{KEPLER}/cmd/kepler@v{KEPLER_VERSION}"
    # TMPDIR and caches stay the user's own; only the program goes to our folder
    _build([_tool("go"), "install", module], folder / "kepler.log", {"GOBIN": str(folder.absolute() / "bin")})


def build_kepler_legacy(folder: Path) -> None:
    """Old Kepler's last version, from its module, with one eBPF program left unattached."""
    go, _ = _tool("go"), _tool("cc")
    log, source = folder / "kepler_legacy.log", folder.absolute() / "kepler_legacy"
    module = f"{KEPLER}@v{KEPLER_LEGACY_VERSION}"
    _build([go, "mod", "download", module], log)
    told = subprocess.run([go, "list", "-m", "-f", "{{.Dir}}", module], capture_output=True, text=True, check=True)
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(told.stdout.strip(), source, copy_function=shutil.copyfile)
    source.chmod(0o755)
    for place in source.rglob("*"):
        place.chmod(0o755)  # modules are kept read-only
    loader = source / "pkg" / "bpf" / "exporter.go"
    code = loader.read_text(encoding="utf-8")
    if code.count(LOADING) != 1:
        raise NotBuilt(f"{loader} is not what it was")
    loader.write_text(code.replace(LOADING, UNATTACHED + LOADING), encoding="utf-8")
    version = f"-X {KEPLER}/pkg/build.Version=v{KEPLER_LEGACY_VERSION}"  # as its own Makefile does
    target = folder.absolute() / "bin" / "kepler_legacy"
    _build([go, "-C", str(source), "build", "-mod=readonly", "-ldflags", version, "-o", str(target), "./cmd/exporter"],
           log)  # fmt: skip
    shutil.rmtree(source)


def build_scaphandre(folder: Path) -> None:
    """Scaphandre's released version, as a crate, and what it needs on kernels without /proc/modules."""
    command = [
        _tool("cargo"), "install", "--force", "scaphandre", "--version", SCAPHANDRE_VERSION, "--no-default-features",
        "--features", SCAPHANDRE_FEATURES, "--root", str(folder), "--target-dir", str(folder / "target"),
    ]  # fmt: skip
    _build(command, folder / "scaphandre.log")
    shutil.rmtree(folder / "target", ignore_errors=True)  # hundreds of megabytes that nobody needs again


def build_proc_modules(folder: Path) -> None:
    """The stand-in for a missing /proc/modules."""
    library = folder / "bin" / "proc_modules.so"
    _build([_tool("cc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(PROC_MODULES), "-ldl"],
           folder / "proc_modules.log")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a program is made: what runs, and everything that decides what comes out."""

    build: Callable[[Path], None]
    inputs: str

    @property
    def digest(self) -> str:
        """Changes with the inputs."""
        return hashlib.sha256(self.inputs.encode()).hexdigest()


RECIPES = {
    "kepler": Recipe(build_kepler, KEPLER_VERSION),
    "kepler_legacy": Recipe(build_kepler_legacy, KEPLER_LEGACY_VERSION + UNATTACHED),
    "scaphandre": Recipe(build_scaphandre, f"{SCAPHANDRE_VERSION} {SCAPHANDRE_FEATURES}"),
    "proc_modules.so": Recipe(build_proc_modules, PROC_MODULES.read_text(encoding="utf-8")),
}


def why_missing(folder: Path, name: str) -> str | None:
    """None where the program is there, else one line."""
    if (folder / "bin" / name).exists():
        return None
    reason = folder / f"{name}.missing"
    return reason.read_text(encoding="utf-8") if reason.exists() else f"{name} is not built: make test-exporters"


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name, recipe in RECIPES.items():
        program, made_of, reason = folder / "bin" / name, folder / f"{name}.inputs", folder / f"{name}.missing"
        if program.exists() and (not made_of.exists() or made_of.read_text(encoding="utf-8") == recipe.digest):
            continue
        program.unlink(missing_ok=True)
        made_of.unlink(missing_ok=True)
        try:
            recipe.build(folder)
        except NotBuilt as missing:
            reason.write_text(f"{name} is not built: {missing}", encoding="utf-8")
            print(f"{name} not built, its tests are not run: {missing}")  # noqa: T201 # the one line of this command
        else:
            made_of.write_text(recipe.digest, encoding="utf-8")
            reason.unlink(missing_ok=True)


def _tool(name: str) -> str:
    usual, what = TOOLCHAINS[name]
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(usual).expanduser())))
    found = shutil.which(name, path=path)
    if found is None:
        raise NotBuilt(f"it needs {what}, and there is no `{name}` here")
    return found


def _build(command: list[str], log: Path, env: Mapping[str, str] = NO_ENV) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ | env, timeout=BUILD_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotBuilt(f"its build took over {BUILD_SECONDS // 60} min ({log})") from None
    if done.returncode != 0:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        said = next((line for line in lines if line.startswith(("error", "go: "))), lines[-1] if lines else "no output")
        raise NotBuilt(f"{ADDRESS.sub('', said)[:300]} ({log})")


if __name__ == "__main__":
    main()
