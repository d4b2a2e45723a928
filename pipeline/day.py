"""The unit of work: the due hours of one (cluster, day), from samples to a commit under that partition's lock.

A function of the samples and of what is stored: whoever does which day, in whatever process and order, the rows are the
same. It publishes nothing and asks no provider; what it is told and what it tells can be pickled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import UNPRICED, Check, Findings, Remark, check_energy
from pipeline.errors import CarbonEtlError, StoreConflict
from pipeline.job import LOCK_SECONDS, Job
from pipeline.prices import MARGIN, Fresh
from pipeline.report import ClusterOutcome
from pipeline.sinks.plans import of_hours
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import Site, open_site
from pipeline.tables import INTENSITY, PUE, values
from pipeline.transforms.coverage import hour_state
from pipeline.transforms.energy import Energy
from pipeline.transforms.refold import better_covered
from pipeline.transforms.revisions import revision_rows
from pipeline.window import HOUR, Window

CONFLICTS = 5  # with runs of other machines on one day, after which another time is better
NOTHING_FRESH = Fresh(INTENSITY.empty_table(), PUE.empty_table())


@dataclass(frozen=True)
class Day:
    """What is due of one (cluster, day).

    Attributes:
        cluster: whose.
        hours: the due ones, in time order, all of one UTC date.
        oldest_ms: stamp of the cluster's oldest raw sample.
        run_id: who commits.
        overtaken: those of the hours whose stored price newer vintages may change: looked at again, and noted so.
        fresh: what may price the day and is not stored, because the run is dry.
    """

    cluster: str
    hours: tuple[datetime, ...]
    oldest_ms: int
    run_id: str
    overtaken: frozenset[datetime] = frozenset()
    fresh: Fresh = NOTHING_FRESH

    @property
    def date(self) -> date:
        """Its UTC date."""
        return self.hours[0].date()

    @property
    def window(self) -> Window:
        """All of the day: torn hours are folded with those that are due."""
        midnight = self.hours[0] - self.hours[0].hour * HOUR
        return Window(midnight, midnight + 24 * HOUR)


@dataclass(frozen=True)
class Seen:
    """What the findings of a run need of a day: the arguments of `Findings.add`."""

    nodes: pa.Table
    unpriced: pa.Table
    unmetered: Sequence[str]
    faults: Sequence[Check]
    remarks: Sequence[Remark]


@dataclass(frozen=True)
class DayOutcome:
    """What became of a day.

    Attributes:
        day: which.
        part: what it adds to its cluster's outcome.
        seen: None where the day failed.
        refused: hours that `strict` refuses to price, each with its reason.
        warnings: what the cluster's server put beside its answers.
        seconds: how long it took.
        error: why nothing came of it; hours of it may stand from before.
    """

    day: Day
    part: ClusterOutcome
    seen: Seen | None = None
    refused: dict[datetime, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    error: CarbonEtlError | None = None

    @classmethod
    def failed(cls, day: Day, error: CarbonEtlError) -> "DayOutcome":
        """A day of which nothing came."""
        part = ClusterOutcome(day.cluster, "")
        part.failures.append(f"{day.date}: {error}")
        return cls(day, part, error=error)

    def tell(self, findings: Findings) -> None:
        """Add what was seen to the findings of the run."""
        if self.seen is not None:
            seen = self.seen
            findings.add(seen.nodes, seen.unpriced, seen.unmetered, seen.faults, seen.remarks)


class Desk:
    """Where days are done, one at a time: a job whose clusters are opened once.

    Args:
        job: what the command was given.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._warehouse = job.warehouse()
        self._sites: dict[str, Site] = {}

    def attempt(self, day: Day) -> DayOutcome:
        """Do a day; what goes wrong is its outcome and not an exception, so that one day does not stop the others."""
        try:
            return self.do(day)
        except CarbonEtlError as error:
            return DayOutcome.failed(day, error)
        except Exception as error:
            if self._job.env.get("CARBON_ETL_DEBUG"):
                raise
            text = f"unexpected {type(error).__name__}: {error} (CARBON_ETL_DEBUG=1 shows where)"
            return DayOutcome.failed(day, CarbonEtlError(text))

    def do(self, day: Day) -> DayOutcome:
        """Recover, fold, price and commit; once more where a run of another machine changed the day meanwhile.

        Raises:
            SourceError: not all of the day's samples came.
            StoreBusy: another run works on the day.
            StoreFull, StoreUnwritable, SchemaError: as of writing and reading.
        """
        if day.cluster not in self._sites:
            job = self._job
            self._sites[day.cluster] = open_site(day.cluster, job.settings, job.env, job.clock)
        site, clock = self._sites[day.cluster], self._job.clock
        told, began = len(site.warnings), clock.monotonic()
        for left in reversed(range(CONFLICTS)):
            try:
                with self._warehouse.partition_lock(day.cluster, day.date, clock, LOCK_SECONDS):
                    outcome = _commit(self._job, site, self._warehouse, day)
                break
            except StoreConflict:
                if not left:
                    raise
        return replace(outcome, warnings=tuple(site.warnings[told:]), seconds=clock.monotonic() - began)


def _commit(job: Job, site: Site, warehouse: Warehouse, day: Day) -> DayOutcome:
    """The whole day, under its lock."""
    hours, dry_run, part = set(day.hours), job.dry_run, ClusterOutcome(day.cluster, site.prices.rule.factor_type)
    if not dry_run:
        hours |= set(warehouse.recover(day.cluster, day.date, job.clock.now(), day.run_id).torn_hours)
    known = site.prices.known(warehouse, day.window, day.fresh)
    folded = site.fold_hours(sorted(hours), day.oldest_ms)
    energy = site.counted_once(better_covered(folded, *_stored(warehouse, day, hours)))
    priced, refused = site.prices.price(energy.rows, known, job.clock.now())
    tables = _of_hours(DayTables(priced, energy.nodes, energy.withheld, energy.processes), hours - set(refused))
    commits = [_hour_commit(energy.nodes, hour, refused.get(hour)) for hour in sorted(hours)]
    stamp = RunStamp(day.run_id, job.clock.now(), site.digest)
    result = warehouse.commit_day(
        day.cluster, day.date, commits, tables, stamp, revision_rows, day.overtaken, dry_run=dry_run
    )
    part.add_rows(tables.emissions)
    part.add_nodes(tables.node_energy)
    part.add_hours([commit.state for commit in commits], rewritten=len(result.rewritten))
    return DayOutcome(day, part, _seen(tables, energy), refused)


def _stored(warehouse: Warehouse, day: Day, hours: set[datetime]) -> list[pa.Table]:
    """What the warehouse holds of these hours: emissions, node_energy, quarantine and processes rows."""
    tables = [
        warehouse.read_day("emissions", day.cluster, day.date),
        warehouse.read_day("node_energy", day.cluster, day.date),
        warehouse.quarantine(day.cluster, day.date),
        warehouse.read_day("processes", day.cluster, day.date),
    ]
    return [of_hours(rows, hours) for rows in tables]


def _of_hours(tables: DayTables, hours: set[datetime]) -> DayTables:
    processes = None if tables.processes is None else of_hours(tables.processes, hours)
    emissions, nodes = of_hours(tables.emissions, hours), of_hours(tables.node_energy, hours)
    return DayTables(emissions, nodes, of_hours(tables.quarantine, hours), processes)


def _hour_commit(nodes: pa.Table, hour: datetime, refused: str | None) -> HourCommit:
    if refused is not None:
        return HourCommit(hour, "failed", refused)
    state = hour_state(of_hours(nodes, {hour}))
    return HourCommit(hour, state, {"empty": "no samples", "partial": "holes or withheld node-hours"}.get(state))


def _seen(tables: DayTables, energy: Energy) -> Seen:
    """Only what some finding speaks of: a year of healthy node-hours need not stay in memory."""
    nodes = tables.node_energy
    hours = (of_hours(nodes, {hour}) for hour in sorted(set(values(nodes, "hour_utc"))))
    telling = [of_hour for of_hour in hours if not all(check.passed for check in check_energy(of_hour, []))]
    unpriced = tables.emissions.filter(pc.is_null(tables.emissions["emissions_gco2e"])).select(UNPRICED)
    unmetered = sorted({node for _, node in energy.unmetered})
    return Seen(pa.concat_tables([nodes.slice(0, 0), *telling]), unpriced, unmetered, energy.faults, energy.remarks)


def fresh_of(day: Window, fresh: Fresh) -> Fresh:
    """What of a run's news may price the hours of a day."""

    def near(rows: pa.Table) -> pa.Table:
        inside = pc.and_(
            pc.less(rows["start_utc"], pa.scalar(day.end + MARGIN, rows["start_utc"].type)),
            pc.greater(rows["end_utc"], pa.scalar(day.start - MARGIN, rows["end_utc"].type)),
        )
        return rows.filter(inside)

    return Fresh(near(fresh.vintages), near(fresh.pues))
