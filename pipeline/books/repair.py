"""`carbon-etl repair`: does again exactly what `verify` finds off, and says what it cannot mend.

An `hours` row comes back out of the footer, a day's sums out of its rows, a price out of what the warehouse knows, and
everything else out of raw samples, while they last.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

from pipeline.books.faults import Fault
from pipeline.books.verification import day_faults, verify
from pipeline.closed import left_alone
from pipeline.day import NOTHING_FRESH, Day, Desk
from pipeline.errors import CarbonEtlError
from pipeline.job import LOCK_SECONDS, Job
from pipeline.report import ClusterOutcome
from pipeline.reprice import Repricing, priced_hours
from pipeline.sinks.partitions import partition_path, store_errors
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site, open_site
from pipeline.tables import COMMITTED_TABLES
from pipeline.window import HOUR, Window, from_ms, to_ms

IN_A_BACKUP = "only a backup has it"


@dataclass
class Repaired:
    """What became of the faults.

    Attributes:
        dry_run: nothing was done; `mended` is what would be tried.
        mended: faults that are there no more.
        left: those that are, and why.
    """

    dry_run: bool
    mended: list[Fault] = field(default_factory=list)
    left: list[tuple[Fault, str]] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        verb = "would be mended" if self.dry_run else "mended"
        yield from (f"{verb}: {fault.line()}" for fault in self.mended)
        yield from (f"not mended: {fault.line()}: {why}" for fault, why in self.left)
        yield f"{len(self.mended):,} faults {verb}, {len(self.left):,} not" if self.mended or self.left else "no faults"


def repair(job: Job, clusters: Sequence[str], window: Window | None) -> Repaired:
    """Verify, mend day by day under each day's lock, and verify those days again.

    Args:
        job: what the command was given.
        clusters: whose days.
        window: days that it touches; None for all.

    Raises:
        StoreBusy, StoreFull, StoreUnwritable: what was mended stands.
    """
    began, report, warehouse = job.clock.monotonic(), job.begin("repair"), job.warehouse()
    done, found = Repaired(job.dry_run), verify(warehouse, clusters, window, job.clock).faults
    done.left += [(fault, IN_A_BACKUP) for fault in found if fault.day is None]
    of_days = [(fault.cluster, fault.day, fault) for fault in found if fault.day is not None]
    for (cluster, day), group in groupby(of_days, key=lambda item: item[:2]):
        _Bench(job, warehouse, cluster, day, report.run_id).mend([fault for *_, fault in group], done)
    job.finish(warehouse, report, began)
    return done


class _Bench:
    """Where the faults of one (cluster, day) are mended."""

    def __init__(self, job: Job, warehouse: Warehouse, cluster: str, day: date, run_id: str) -> None:
        self._job, self._warehouse, self._cluster, self._day, self._run_id = job, warehouse, cluster, day, run_id
        self._failures: list[str] = []

    def mend(self, faults: Sequence[Fault], done: Repaired) -> None:
        """Do what the faults ask for; what is still off afterwards is left."""
        if self._job.dry_run:
            done.mended += faults
            return
        try:
            self._do(faults)
        except CarbonEtlError as error:
            self._failures.append(str(error))
        with self._locked():
            still = day_faults(self._warehouse, self._cluster, self._day)
        why = "; ".join(self._failures) or "done again, it comes out the same"
        done.left += [(fault, IN_A_BACKUP if fault.remedy == "backup" else why) for fault in still]
        done.mended += [fault for fault in faults if fault not in still]

    def _do(self, faults: Sequence[Fault]) -> None:
        unreadable = {hour for fault in faults if fault.is_unreadable for hour in fault.hours}
        if not unreadable:
            with self._locked():
                self._warehouse.recover(self._cluster, self._day, self._job.clock.now(), self._run_id)
        folded, priced = (self._hours(faults, remedy) for remedy in ("fold", "price"))
        if folded or priced:
            site = open_site(self._cluster, self._job.settings, self._job.env, self._job.clock)
            if folded:
                self._fold(site, folded, unreadable)
            if priced - folded:
                self._price(site, priced - folded)
        if any(fault.remedy == "sum" for fault in faults):
            with self._locked():
                partition_path(self._warehouse.root, "emissions_daily", self._cluster, self._day).unlink(
                    missing_ok=True
                )
                self._warehouse.roll_up(self._cluster, self._day)

    def _hours(self, faults: Sequence[Fault], remedy: str) -> set[datetime]:
        """What is to be done again of the day, less what stays as it is."""
        hours = {hour for fault in faults if fault.remedy == remedy for hour in fault.hours}
        stays, why = left_alone(self._warehouse, self._cluster, hours, restate_closed=self._job.restate_closed)
        self._failures += why
        return hours - stays

    def _fold(self, site: Site, hours: set[datetime], unreadable: set[datetime]) -> None:
        """Fold hours again; of an unreadable file all or none, for then nothing that is stored of the day counts."""
        oldest_ms = site.oldest_ms(self._job.clock.now())
        reached = [hour for hour in sorted(hours) if oldest_ms is not None and to_ms(hour + HOUR) > oldest_ms]
        if len(reached) < len(hours):
            since = "none is left" if oldest_ms is None else f"they reach back to {from_ms(oldest_ms):%FT%H:%MZ}"
            self._failures.append(f"raw samples are gone: {since}")
        if oldest_ms is None or not reached or not unreadable.issubset(reached):
            return
        aside = self._set_aside() if unreadable else {}
        outcome = Desk(self._job).attempt(Day(self._cluster, tuple(reached), oldest_ms, self._run_id))
        self._failures += [*outcome.refused.values(), *([] if outcome.error is None else [str(outcome.error)])]
        for path, hidden in aside.items():
            if outcome.error is not None or outcome.refused:
                hidden.replace(path)
            else:
                hidden.unlink()

    def _set_aside(self) -> dict[Path, Path]:
        """Hide the day's files from every reader; after a crash `verify` finds them gone and asks for the fold."""
        paths = [partition_path(self._warehouse.root, table, self._cluster, self._day) for table in COMMITTED_TABLES]
        aside = {path: path.with_name(f".{path.name}.damaged") for path in paths if path.exists()}
        with self._locked(), store_errors(self._warehouse.root):
            for path, hidden in aside.items():
                path.replace(hidden)
        return aside

    def _price(self, site: Site, hours: set[datetime]) -> None:
        """Price hours again that were priced under this configuration."""
        known = [hour for hour in priced_hours(self._warehouse, self._cluster) if hour.hour_utc in hours]
        mine = [hour for hour in known if hour.price_digest == site.prices.digest]
        if len(mine) < len(known):
            self._failures.append("priced with other settings: `carbon-etl reprice --since` restates with these")
        outcome = ClusterOutcome(self._cluster, site.prices.rule.factor_type)
        Repricing(self._job, site, self._warehouse, NOTHING_FRESH, self._run_id, outcome).price(mine)
        self._failures += outcome.warnings

    def _locked(self) -> AbstractContextManager[None]:
        return self._warehouse.partition_lock(self._cluster, self._day, self._job.clock, LOCK_SECONDS)
