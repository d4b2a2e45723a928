"""Builds the real exporters into a cache folder: `python -m tests.exporters.programs FOLDER`.

What cannot be built is said in one line and is no failure: its tests are then skipped with that line. A `kepler` or
`scaphandre` that somebody put into FOLDER/bin is used as it is.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

KEPLER_VERSION = "0.11.4"
SCAPHANDRE_VERSION = "1.0.0"  # the newest that is published as a crate
SCAPHANDRE_FEATURES = "prometheus,containers,json"  # json: without it 1.0.0 does not compile
BUILD_SECONDS = 1_800
TOOLCHAINS = {
    "go": ("/usr/local/go/bin", "a Go toolchain (1.24 or newer)"),
    "cargo": ("~/.cargo/bin", "a Rust toolchain"),
    "cc": ("/usr/bin", "a C compiler"),
}
ADDRESS = re.compile(r"https?://\S+ ?")  # the line shall be short; the log holds it
PROC_MODULES = Path(__file__).with_name("proc_modules.c")


class NotBuilt(Exception):  # not an error: other exporters are built all the same
    """Why an exporter cannot be had here, in one line."""


def build_kepler(folder: Path) -> None:
    """Kepler's released version, as a Go module."""
    module = f"github.com/sustainable-computing-io/kepler/cmd/kepler@v{KEPLER_VERSION}"
    # TMPDIR and caches stay the user's own; only the program goes to our folder
    _build([_tool("go"), "install", module], folder / "kepler.log", {"GOBIN": str(folder.absolute() / "bin")})


def build_scaphandre(folder: Path) -> None:
    """Scaphandre's released version, as a crate, and what it needs on kernels without /proc/modules."""
    command = [
        _tool("cargo"), "install", "scaphandre", "--version", SCAPHANDRE_VERSION, "--no-default-features",
        "--features", SCAPHANDRE_FEATURES, "--root", str(folder), "--target-dir", str(folder / "target"),
    ]  # fmt: skip
    _build(command, folder / "scaphandre.log", {})
    shutil.rmtree(folder / "target", ignore_errors=True)  # hundreds of megabytes that nobody needs again


def build_proc_modules(folder: Path) -> None:
    """The stand-in for a missing /proc/modules."""
    library = folder / "bin" / "proc_modules.so"
    _build([_tool("cc"), "-shared", "-fPIC", "-O1", "-o", str(library), str(PROC_MODULES), "-ldl"],
           folder / "proc_modules.log", {})  # fmt: skip


BUILDS = {"kepler": build_kepler, "scaphandre": build_scaphandre, "proc_modules.so": build_proc_modules}


def why_missing(folder: Path, name: str) -> str | None:
    """None where the program is there, else one line."""
    if (folder / "bin" / name).exists():
        return None
    reason = folder / f"{name}.missing"
    return reason.read_text(encoding="utf-8") if reason.exists() else f"{name} is not built: make test-exporters"


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    for name, build in BUILDS.items():
        if (folder / "bin" / name).exists():
            continue
        reason = folder / f"{name}.missing"
        try:
            build(folder)
        except NotBuilt as missing:
            reason.write_text(str(missing), encoding="utf-8")
            print(f"{name} not built, its tests are skipped: {missing}")  # noqa: T201 # the one line of this command
        else:
            reason.unlink(missing_ok=True)


def _tool(name: str) -> str:
    usual, what = TOOLCHAINS[name]
    path = os.pathsep.join((os.environ.get("PATH", ""), str(Path(usual).expanduser())))
    found = shutil.which(name, path=path)
    if found is None:
        raise NotBuilt(f"it needs {what}, and there is no `{name}` here")
    return found


def _build(command: list[str], log: Path, env: dict[str, str]) -> None:
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
