"""Runs that may be killed, forked from a process that has everything imported: `python -m tests.faults.victims`.

A line of JSON asks for a run, a line of JSON says how it went. Before the first fork the process does one run itself:
what a first use costs (imports, thread pools, caches) is then paid once. Nothing of it is at work when it forks.
"""

import gc
import itertools
import json
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import pandas  # noqa: F401 # imported here, so that no child has to
import pyarrow.dataset  # noqa: F401

from pipeline.config import load
from pipeline.job import Job
from pipeline.report import RunReport
from pipeline.reprice import reprice
from pipeline.run import run
from pipeline.terminal import configure_logs
from pipeline.window import Window
from tests.clocks import FixedClock
from tests.faults.effects import Effects
from tests.product import DEFAULT_INSTALL, ROOT


@dataclass(frozen=True)
class Asked:
    """A command on a config of one cluster.

    Attributes:
        config: its file.
        command: `run`, `backfill` or `reprice`.
        now: ISO 8601, the clock of the run.
        start: first hour of a backfill, or of what is priced again.
        end: of a backfill.
        last: the number of the effect that something befalls; 0 for none.
        named: or its name.
        fate: what that is: a signal before it, or the error that it fails with; see `Effects`.
        delay_seconds: or a death so long after it, wherever the run then is; 0 for not.
        number: what the answer is known by.
    """

    config: str
    command: str
    now: str
    start: str = ""
    end: str = ""
    last: int = 0
    named: str = ""
    fate: str = "SIGKILL"
    delay_seconds: float = 0.0
    number: int = 0


@dataclass(frozen=True)
class Ended:
    """How it ended: exit code (negative where a signal did it), effects, what it said; the number of what was asked."""

    code: int
    effects: list[str]
    said: str
    number: int

    @property
    def errors(self) -> list[str]:
        """The lines about what failed."""
        return [line for line in self.said.splitlines() if line.startswith("error: ")]


class Victims:
    """The forking process; one run at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._numbers = itertools.count(1)

    def end(self, asked: Asked) -> Ended:
        """Do it, to its end; the answer to one before it, which a test had no time to wait for, is passed over."""
        assert self._process.stdout is not None
        number = next(self._numbers)
        self.send(replace(asked, number=number))
        answers = (Ended(**json.loads(line)) for line in self._process.stdout)
        return next(answer for answer in answers if answer.number == number)

    def children(self) -> list[int]:
        """The runs that are alive."""
        task = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(child) for child in task.read_text().split()]

    def send(self, asked: Asked) -> None:
        """Ask; the first that is asked for is done by the forking process itself, which has then used all it needs."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(asked)) + "\n")
        self._process.stdin.flush()


@contextmanager
def victims(rehearsal: Asked) -> Iterator[Victims]:
    """A forking process, ready; `rehearsal` is what it does once by itself."""
    env = os.environ | DEFAULT_INSTALL | {"OPENBLAS_NUM_THREADS": "1", "CARBON_ETL_DEBUG": "1"}
    command = [sys.executable, "-m", "tests.faults.victims"]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            forks = Victims(process)
            forks.send(rehearsal)
            yield forks
        finally:
            assert process.stdin is not None
            process.stdin.close()


def main() -> None:
    """Fork for every line."""
    configure_logs(logging.WARNING)
    _work(Asked(**json.loads(sys.stdin.readline())))
    gc.freeze()  # pages that are not written to are not copied
    for line in sys.stdin:
        sys.stdout.write(json.dumps(asdict(_forked(Asked(**json.loads(line))))) + "\n")
        sys.stdout.flush()


def _forked(asked: Asked) -> Ended:
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os.dup2(said.fileno(), sys.stdout.fileno())
            os.dup2(said.fileno(), sys.stderr.fileno())
            os._exit(_lived(asked, log.fileno()))
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (log, said):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, texts[0].splitlines(), texts[1], asked.number)


def _lived(asked: Asked, log: int) -> int:
    """The life of a child: its exit code."""
    try:
        settings = load(Path(asked.config), {})
        ports = [urlsplit(store.url).port or 80 for store in settings.remote_write]
        fault = asked.last, asked.named, asked.fate, asked.delay_seconds
        Effects(Path(settings.warehouse.path), ports, log, *fault).watch()
        report = _work(asked)
        print("\n".join([*report.summary(), *(f"error: {line}" for line in report.error_lines())]))  # noqa: T201 # what the command would say
    except Exception:  # noqa: BLE001 # whatever it is, whoever asked is told
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return report.exit_code


def _work(asked: Asked) -> RunReport:
    """The command itself."""
    settings = load(Path(asked.config), {})
    job = Job(settings, os.environ, FixedClock(datetime.fromisoformat(asked.now)))
    names = [cluster.name for cluster in settings.clusters]
    start = datetime.fromisoformat(asked.start) if asked.start else None
    if asked.command == "reprice":
        return reprice(job, names, start)
    window = Window(start, datetime.fromisoformat(asked.end)) if start else None
    return run(job, names, window)


if __name__ == "__main__":
    main()
