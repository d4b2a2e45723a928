"""Who does the days of a run: this process, processes of this machine, or Dask. The figures are the same."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from pipeline.day import Day, DayOutcome
from pipeline.errors import ConfigError
from pipeline.job import Job


class Engine(Protocol):
    """What does days."""

    def outcomes(self, days: Iterable[Day]) -> Iterator[DayOutcome]:
        """What became of each day, as they are done; a day is taken when somebody is free for it."""
        ...


def open_engine(job: Job) -> AbstractContextManager[Engine]:
    """The engine that the job asks for; what it starts ends with the block, at once where an error ends it.

    Raises:
        ConfigError: Dask is not installed, or its workers cannot do this job.
    """
    if job.workers.engine == "dask":
        from pipeline.engines.dask_cluster import DaskCluster  # noqa: PLC0415 # an extra

        return DaskCluster(job)
    if job.workers.scheduler is not None:
        raise ConfigError("--scheduler is the address of a Dask scheduler: add --engine dask")
    from pipeline.engines.processes import Processes  # noqa: PLC0415 # siblings name the Protocol above

    return Processes(job)
