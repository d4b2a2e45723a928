"""Days in processes of this machine, one day each at a time; a single one, or a single day, in this process.

Not a `ProcessPoolExecutor`: when one of its processes is killed it ends the others, and cannot tell whose day was lost;
and its processes outlive a parent that is killed. Here each has a pipe of its own, whose end is the end of either side.
"""

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.resource_tracker import ensure_running
from types import FrameType, TracebackType

from pipeline.day import Day, DayOutcome, Desk
from pipeline.errors import CarbonEtlError
from pipeline.job import Job

SPAWN = get_context("spawn")  # a fork would copy the locks of Arrow's and DuckDB's threads, held as they are
PATIENCE_SECONDS = 10.0  # for a process that was told to end


@contextmanager
def deaf_to_ctrl_c() -> Iterator[None]:
    """Processes and threads that start inside never see it: it reaches all of a terminal; this process ends them."""
    ensure_running()  # the start of multiprocessing's tracker would unblock it again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """A process that does one day after the other.

    Args:
        job: what the command was given.
    """

    def __init__(self, job: Job) -> None:
        self.pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, job), daemon=True)
        with deaf_to_ctrl_c():
            self._process.start()
        theirs.close()

    def received(self) -> DayOutcome | None:
        """What became of the day it was sent; None where the process is gone."""
        try:
            outcome: DayOutcome = self.pipe.recv()
        except (EOFError, OSError):
            return None
        return outcome

    def end(self, *, at_once: bool) -> str:
        """Let it go after its day, or at once, and say how it ended."""
        if at_once:
            self._process.terminate()
        self.pipe.close()
        self._process.join(PATIENCE_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


class Processes:
    """As many processes as the job asks for, started when there is something for them to do."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._here = Desk(job)
        self._idle: list[Worker] = []
        self._busy: dict[object, tuple[Worker, Day]] = {}

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker, _ in self._busy.values():
            worker.end(at_once=True)
        for worker in self._idle:
            worker.end(at_once=False)

    def outcomes(self, days: Iterable[Day]) -> Iterator[DayOutcome]:
        """What became of each day, as they are done; see `engines.Engine`."""
        offered = iter(days)
        first = list(islice(offered, 2))
        if self._job.workers.count == 1 or len(first) == 1:
            yield from map(self._here.attempt, chain(first, offered))
        else:
            yield from self._shared(chain(first, offered))

    def _shared(self, offered: Iterator[Day]) -> Iterator[DayOutcome]:
        while True:
            for day in islice(offered, self._job.workers.count - len(self._busy)):
                worker = self._idle.pop() if self._idle else Worker(self._job.elsewhere())
                self._busy[worker.pipe] = worker, day
                with suppress(OSError):  # it is gone, as receiving will show
                    worker.pipe.send(day)
            if not self._busy:
                return
            ready, *_ = wait([worker.pipe for worker, _ in self._busy.values()])
            yield self._outcome(*self._busy.pop(ready))

    def _outcome(self, worker: Worker, day: Day) -> DayOutcome:
        outcome = worker.received()
        if outcome is not None:
            self._idle.append(worker)
            return outcome
        how = worker.end(at_once=False)
        return DayOutcome.failed(
            day, CarbonEtlError(f"its worker was lost ({how}): run again, with fewer --workers if memory was short")
        )


def _serve(pipe: Connection, job: Job) -> None:
    """The life of a worker: days until the pipe ends."""
    signal.signal(signal.SIGTERM, _leave)
    job.workers.begin()
    desk = Desk(job)
    while True:
        try:
            day = pipe.recv()
        except (EOFError, ConnectionError):
            return
        outcome = desk.attempt(day)
        with suppress(ConnectionError):  # nobody is left to be told
            pipe.send(outcome)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End in order: locks are freed and temporary files removed on the way."""
    sys.exit(128 + number)
