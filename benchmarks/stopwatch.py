"""What a process costs: seconds, CPU seconds, peak memory; its own and its children's. And how servers are watched."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from pipeline.sources.prometheus.kernels import chosen

ROOT = Path(__file__).parents[1]
POLL_SECONDS = 0.02
QUIET_SHARE, QUIET_SECONDS, PATIENCE_SECONDS = 0.05, 1.0, 180.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process with its children, from its start to its end.

    Attributes:
        seconds: on the wall.
        cpu_seconds: user and system.
        peak_mb: the most memory that was resident at any time (`VmHWM`; of several processes, the sum of their peaks).
        out: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_mb: float
    out: str = ""


def cost(command: Sequence[str], env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> Cost:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; with its last words.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peaks: dict[int, int] = {}
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peaks, ended), daemon=True)
    watcher.start()
    before = os.times()
    out, err = process.communicate()
    after = os.times()
    seconds = time.perf_counter() - began
    ended.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{err[-3000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(seconds, cpu, sum(peaks.values()) / 1024, out)


def python(*arguments: str) -> list[str]:
    """The command line of one of our own modules."""
    return [sys.executable, "-m", *arguments]


def _watch(pid: int, peaks: dict[int, int], ended: threading.Event) -> None:
    """Note how much memory a process and its children ever held (kB), for as long as it lives."""
    while True:
        for one in _tree(pid):
            peak = _status_kb(one, "VmHWM")
            if peak:
                peaks[one] = max(peaks.get(one, 0), peak)
        if ended.wait(POLL_SECONDS):
            return


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _status_kb(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name}:")), 0)


def own_peak_mb() -> float:
    """Of this process since it began to run this program."""
    return _status_kb(os.getpid(), "VmHWM") / 1024


def imported() -> str:
    """Import what any run has imported before its first request; which kernels read the samples."""
    pa.array(np.arange(3)).take(pa.array([1]))  # pandas, and pyarrow's functions
    return chosen().name


def cpu_seconds(pid: int) -> float:
    """User and system time of a running process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def await_idle(pid: int) -> None:
    """Wait until a server has nothing to do any more, at most three minutes."""
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        before = cpu_seconds(pid)
        time.sleep(QUIET_SECONDS)
        if cpu_seconds(pid) - before < QUIET_SHARE * QUIET_SECONDS:
            return


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure by itself."""
    return Cost(
        median(one.seconds for one in costs), median(one.cpu_seconds for one in costs),
        median(one.peak_mb for one in costs), costs[0].out,
    )  # fmt: skip
