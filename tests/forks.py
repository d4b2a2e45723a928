"""`python -m pipeline` without the two seconds that its imports take: `python -m tests.forks`, a process that forks.

It has the whole package imported, and forks for each call. The child takes the call's arguments, environment and umask,
then is `python -m pipeline`, or another program, to its very end. What is about its start (imports, its command line as
others see it, variables that Python itself reads) is for a process started anew.
"""

import atexit
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).parents[1]
WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
EXTRAS = (
    "pipeline.airflow", "pipeline.engines.dask_cluster", "pipeline.sinks.delta", "pipeline.sources.prometheus.compiled",
)  # fmt: skip
LATE = (  # imported by what a command calls, not by a module
    "pyarrow.dataset", "pyarrow.parquet", "pytz", "rich.console", "rich.progress", "typer.rich_utils",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """One call.

    Attributes:
        arguments: of the command line, behind `python -m pipeline`.
        env: the whole environment.
        umask: of the process.
        seconds: after which it is killed.
        program: instead of `pipeline`.
        terminal: the device that it reads from and writes to; else it reads nothing and writes what `Ended` has.
    """

    arguments: Sequence[str]
    env: Mapping[str, str]
    umask: int
    seconds: float
    program: str = "pipeline"
    terminal: str = ""


@dataclass(frozen=True)
class Ended:
    """How it ended: its exit code (negative where a signal did it), stdout and stderr."""

    code: int
    out: str
    err: str


class Forks:
    """The forking process.

    Args:
        env: what it is started with; the variables that Python reads before the first line are these for all calls.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._free = threading.Lock()
        ours, its = socket.socketpair()
        with ours, its:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(its.fileno())],
                cwd=ROOT, env={**env, **WITHOUT_THREADS}, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()],
                start_new_session=True,
            )  # fmt: skip
            self._calls = ours.makefile("rw", encoding="ascii")

    def end(self, asked: Asked) -> Ended | None:
        """Do it, to its end; None where another call is at work: two at once need a process anew."""
        if not self._free.acquire(blocking=False):
            return None
        try:
            self._calls.write(json.dumps(asdict(asked)) + "\n")
            self._calls.flush()
            ended = Ended(**json.loads(self._calls.readline()))
        finally:
            self._free.release()
        return ended

    def close(self) -> None:
        """Let it go."""
        self._calls.close()
        self.process.wait()


@cache
def forks(*env: tuple[str, str]) -> Forks:
    """The one of this process, started with these variables; it ends with this process."""
    started = Forks(dict(env))
    atexit.register(started.close)
    return started


def main(control: int) -> str:
    """Fork for every line; return in a child, which is the program of that name from then on."""
    _import_all()
    gc.freeze()  # pages that are not written to are not copied
    with socket.socket(fileno=control) as channel:
        calls = channel.makefile("rw", encoding="ascii")
    with calls:
        for line in iter(calls.readline, ""):
            asked = Asked(**json.loads(line))
            with (
                tempfile.TemporaryFile("w+", encoding="utf-8") as out,
                tempfile.TemporaryFile("w+", encoding="utf-8") as err,
            ):
                threads = [*Path("/proc/self/task").iterdir()]
                assert len(threads) == 1, f"{len(threads)} threads: a lock that one holds would stay locked in a child"
                child = os.fork()
                if child == 0:
                    _take_place(asked, out, err)
                    return asked.program
                calls.write(json.dumps(asdict(_ended(child, asked.seconds, out, err))) + "\n")
                calls.flush()
    sys.exit()


def _import_all() -> None:
    """What a command may need, without a thread left at work."""
    for module in pkgutil.walk_packages(import_module("pipeline").__path__, "pipeline."):
        if not module.name.startswith(EXTRAS) and module.name != "pipeline.__main__":
            import_module(module.name)
    for name in LATE:
        import_module(name)
    import_module("duckdb").execute("set threads = 1")  # of the connection that it opens by itself


def _ended(child: int, seconds: float, out: TextIO, err: TextIO) -> Ended:
    """Wait for it, and kill it where that takes too long."""
    watched = os.pidfd_open(child)
    in_time, _, _ = select.select([watched], [], [], seconds)
    os.close(watched)
    if not in_time:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    for file in (out, err):
        file.seek(0)
    late = "" if in_time else f"\nkilled after {seconds} s\n"
    return Ended(os.waitstatus_to_exitcode(status), out.read(), err.read() + late)


def _take_place(asked: Asked, out: TextIO, err: TextIO) -> None:
    """Make of the child what `exec` would have made of it."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    if asked.terminal:
        terminal = os.open(asked.terminal, os.O_RDWR)
        for standard in range(3):
            os.dup2(terminal, standard)
        os.close(terminal)
    os.umask(asked.umask)
    os.environ.clear()
    os.environ.update(asked.env)
    time.tzset()
    sys.argv[1:] = asked.arguments


def _end_here(code: int) -> None:
    """What is registered first comes last: all that is left to do is to free memory, which the kernel does faster."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    codes: list[int] = []
    atexit.register(lambda: [_end_here(code) for code in codes])
    program = main(int(sys.argv[1]))
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int):
            codes.append(end.code)
        raise
