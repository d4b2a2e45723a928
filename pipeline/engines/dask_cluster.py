"""Days as Dask tasks: on a scheduler that is there, or on a cluster of processes of this machine (extra `dask`)."""

import logging
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline import __version__
from pipeline.day import Day, DayOutcome, Desk
from pipeline.engines.processes import deaf_to_ctrl_c
from pipeline.errors import CarbonEtlError, ConfigError
from pipeline.job import Job
from pipeline.sinks.locks import LOCK_FOLDER
from pipeline.sinks.partitions import make_folder, store_errors

try:
    from distributed import Client, LocalCluster
except ImportError:
    raise ConfigError("--engine dask needs Dask: pip install 'carbon-etl[dask]'") from None

PATIENCE = "10s"  # for a scheduler to answer


class DaskCluster:
    """Dask workers that do the days of a job, never more of them at once than it asks for.

    Raises:
        ConfigError: the scheduler does not answer.
    """

    def __init__(self, job: Job) -> None:
        self._job = job.elsewhere()
        self._ends = ExitStack()

    def __enter__(self) -> "DaskCluster":
        logging.getLogger("distributed").setLevel(logging.ERROR)  # what its parts say of their own lives is no news
        with ExitStack() as ends:
            warehouse = self._job.settings.warehouse
            self._witness = None if warehouse.is_object_store else ends.enter_context(_witness(Path(warehouse.path)))
            self._tasks = ends.enter_context(_tasks(self._job))
            self._ends = ends.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def outcomes(self, days: Iterable[Day]) -> Iterator[DayOutcome]:
        """What became of each day, as they are done; see `engines.Engine`.

        Raises:
            ConfigError: a worker that cannot do this job.
        """
        offered = iter(days)
        busy: dict[Future[DayOutcome], Day] = {}
        while True:
            for day in islice(offered, self._job.workers.count - len(busy)):
                busy[self._tasks.submit(attempt, self._job, day, __version__, self._witness)] = day
            if not busy:
                return
            ended = wait(busy, return_when=FIRST_COMPLETED).done.pop()
            yield _outcome(ended, busy.pop(ended))


def attempt(job: Job, day: Day, version: str, witness: Path | None) -> DayOutcome:
    """The task: a day at a desk of its own.

    Raises:
        ConfigError: this worker has another version, or does not see the warehouse.
    """
    if version != __version__:
        raise ConfigError(f"a Dask worker has carbon-etl {__version__}, this command is {version}: let them be equal")
    if witness is not None and not witness.exists():
        raise ConfigError(
            f"a Dask worker does not see {witness.parent.parent}: the warehouse must be one folder, under one path, "
            "for this command and for every worker"
        )
    job.workers.begin()
    return Desk(job).attempt(day)


def _outcome(future: Future[DayOutcome], day: Day) -> DayOutcome:
    try:
        outcome: DayOutcome = future.result()
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 # whatever befell the worker befell this day only
        return DayOutcome.failed(day, CarbonEtlError(f"its Dask worker failed ({type(error).__name__}: {error})"))
    return outcome


@contextmanager
def _tasks(job: Job) -> Iterator[Executor]:
    """The scheduler's futures as everybody's; what was not done at the end is cancelled."""
    with ExitStack() as ends:
        address: Any = job.workers.scheduler
        if address is None:
            address = ends.enter_context(_local_cluster(job.workers.count))
        try:
            client = ends.enter_context(Client(address, timeout=PATIENCE, set_as_default=False))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:
            raise ConfigError(f"no Dask scheduler answers at {address}: {error}") from error
        tasks: Executor = client.get_executor(pure=False)
        ends.callback(tasks.shutdown, wait=False)
        yield tasks


def _local_cluster(count: int) -> AbstractContextManager[LocalCluster]:
    """Processes of this machine, without a dashboard and with all of its memory."""
    with deaf_to_ctrl_c():
        cluster: AbstractContextManager[LocalCluster] = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count, threads_per_worker=1, processes=True, memory_limit=0, dashboard_address=None,
            silence_logs=logging.ERROR,
        )  # fmt: skip
    return cluster


@contextmanager
def _witness(root: Path) -> Iterator[Path]:
    """A file in the warehouse that every worker must see."""
    path = root / LOCK_FOLDER / f"dask-{uuid.uuid4().hex}"
    with store_errors(path):
        make_folder(path.parent)
        path.touch(mode=0o640)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
