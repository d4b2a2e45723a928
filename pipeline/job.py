"""What a command that writes is given, and how it begins and ends: its report and its row in `runs`."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, TypeAlias

import pyarrow as pa

from pipeline import __version__
from pipeline.errors import CarbonEtlError, ConfigError, SchemaError, SinkError, StoreFull, StoreUnwritable
from pipeline.report import RunReport
from pipeline.settings import Settings
from pipeline.sinks.opening import open_warehouse
from pipeline.sinks.partitions import OnEffect, nothing
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.market import declarations
from pipeline.tables import RUNS
from pipeline.transforms.declared import restated
from pipeline.window import Clock

LOCK_SECONDS = 60.0
EngineName: TypeAlias = Literal["processes", "dask"]


def _silent(_cluster: str, _done: int, _total: int) -> None:
    """No progress is shown."""


def _at_once() -> None:
    """Nothing has to be set up."""


@dataclass(frozen=True)
class Workers:
    """Who does the days.

    Attributes:
        count: how many days are worked on at once: what Prometheus has to bear, and what memory has to hold.
        engine: processes of this machine, or Dask.
        scheduler: address of a Dask scheduler; None for workers of this machine.
        begin: the first thing that each does: its logs.
    """

    count: int = 1
    engine: EngineName = "processes"
    scheduler: str | None = None
    begin: Callable[[], None] = _at_once


@dataclass(frozen=True)
class Job:
    """What a run is given by the command line.

    Attributes:
        settings: the whole config.
        env: where secrets are read.
        clock: the only time there is.
        dry_run: fold, price and compare, write nothing.
        restate_closed: a new method changes hours of closed periods, too.
        on_progress: called with (cluster, hours done, hours in all).
        on_effect: called after every effect on disk; tests kill there.
        workers: who does the days.
    """

    settings: Settings
    env: Mapping[str, str]
    clock: Clock
    dry_run: bool = False
    restate_closed: bool = False
    on_progress: Callable[[str, int, int], None] = _silent
    on_effect: OnEffect = nothing
    workers: Workers = Workers()
    _opened: list[Warehouse] = field(default_factory=list, init=False, repr=False, compare=False)

    def begin(self, command: str) -> RunReport:
        """The report of a command that begins now, with a name no other has."""
        started = self.clock.now()
        return RunReport(f"{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}", command, started, self.dry_run)

    def warehouse(self) -> Warehouse:
        """The config's warehouse, opened once.

        Raises:
            ConfigError, SinkError, SchemaError: see `open_warehouse`.
        """
        if not self._opened:
            self._opened.append(open_warehouse(self.settings.warehouse, self.env, self.on_effect))
        return self._opened[0]

    def elsewhere(self) -> "Job":
        """The same for another process, which may stand in another folder; its days show no progress."""
        warehouse = self.settings.warehouse.model_copy(update=self.warehouse().location())
        return replace(self, settings=self.settings.model_copy(update={"warehouse": warehouse}), on_progress=_silent)

    def finish(self, warehouse: Warehouse, report: RunReport, began: float) -> RunReport:
        """Note what the config declares and the run, and keep carbon.duckdb current.

        A failure here is a failure of the run, not of its figures.
        """
        report.seconds = self.clock.monotonic() - began
        if self.dry_run:
            return report
        now = self.clock.now()
        try:
            self._declare(warehouse, report.run_id, now)
        except (ConfigError, SinkError) as error:
            _tell(report, error)
        row = {
            "run_id": report.run_id,
            "command": report.command,
            "version": __version__,
            "started_utc": report.started_utc,
            "finished_utc": now,
            "exit_code": report.exit_code,
            "report": report.to_json(),
        }
        try:
            warehouse.append("runs", pa.Table.from_pylist([row], RUNS), report.run_id, now.date())
            try:
                warehouse.compact(self.clock)
            except SchemaError as error:  # of one file: the rest has been done
                _tell(report, error)
            warehouse.refresh_database()
        except (SchemaError, SinkError) as error:
            _tell(report, error)
        return report

    def _declare(self, warehouse: Warehouse, run_id: str, now: datetime) -> None:
        """Store what holds for the config's clusters where it differs, so that views need neither config nor file."""
        clusters = [cluster.name for cluster in self.settings.clusters]
        for table, told in declarations(self.settings, now).items():
            fresh = restated(told, warehouse.declared(table), clusters, now)
            warehouse.append(table, fresh, run_id, now.date())


def _tell(report: RunReport, error: CarbonEtlError) -> None:
    """Add a failure to the report; what ails a disk is told once."""
    of_disk = StoreFull | StoreUnwritable
    if not (isinstance(error, of_disk) and any(isinstance(known, of_disk) for known in report.errors)):
        report.errors.append(error)
