"""The command as a process group: started, stopped as people stop it, and gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.product import Product


@contextmanager
def started(product: Product, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command as the leader of its own group, as a terminal starts it; nothing of the group stays."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    env = os.environ | {"CARBON_ETL_CONFIG": str(product.config)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=Path(__file__).parents[2], env=env, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def until_a_day_is_committed(process: subprocess.Popen[str]) -> list[str]:
    """The lines of its log up to the first day that ended."""
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "day committed" in line:
            return lines
    raise AssertionError(f"no day was committed: {lines}")


def ended(process: subprocess.Popen[str], seconds: float = 60.0) -> bool:
    """Whether every process of the group is gone by then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(ChildProcessError):
            process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def ctrl_c(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process of the group


def terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
