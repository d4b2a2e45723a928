"""The story of one run: for each cluster and day recover, extract, fold, price, check, commit; then publish and report.

The unit of work is (cluster, day), a function of the samples and of what is stored, done under that partition's lock.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby

import pyarrow as pa
import structlog

from pipeline import plan
from pipeline.checks import Findings
from pipeline.errors import (
    CarbonEtlError,
    ConfigError,
    SchemaError,
    SinkError,
    SourceError,
    SourceRejected,
    SourceUnavailable,
)
from pipeline.job import LOCK_SECONDS, Job
from pipeline.prices import Fresh, Known
from pipeline.publication import publish_cluster
from pipeline.refresh import PueRefresh, Refresh
from pipeline.report import ClusterOutcome, RunReport
from pipeline.reprice import Priced, Repricing, priced_hours, settling
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import Site, open_site
from pipeline.tables import values
from pipeline.transforms.coverage import hour_state
from pipeline.transforms.refold import better_covered
from pipeline.transforms.revisions import revision_rows
from pipeline.window import HOUR, Window, floor_hour, from_ms

LOG = structlog.get_logger()


@dataclass(frozen=True)
class Tally:
    """What the partitions of a cluster add up to.

    Attributes:
        outcome: the sums.
        findings: of the checks.
        run_id: whose they are.
        overtaken: hours whose stored price newer vintages may change: looked at again, and noted so.
        refused: hours that `strict` refuses to price, each with its reason.
    """

    outcome: ClusterOutcome
    findings: Findings
    run_id: str
    overtaken: set[datetime]
    refused: dict[datetime, str] = field(default_factory=dict)

    def refusals(self) -> list[CarbonEtlError]:
        """The hours that `strict` refused as one error."""
        if not self.refused:
            return []
        text = (
            f"cluster {self.outcome.cluster}: {len(self.refused):,} hours from {min(self.refused):%FT%H:%MZ} on are "
            f"not priced ({'; '.join(sorted(set(self.refused.values())))}): run again later, or accept less"
        )
        self.outcome.failures.append(text)
        return [SourceUnavailable(text)]


def run(job: Job, clusters: list[str], window: Window | None) -> RunReport:
    """All due hours of the clusters, or those of `window` (backfill), then all that is unpublished to every store."""
    began, report, warehouse = job.clock.monotonic(), job.begin("backfill" if window else "run"), job.warehouse()
    for name in clusters:
        site = open_site(name, job.settings, job.env, job.clock)
        outcome = ClusterOutcome(name, site.prices.rule.factor_type)
        report.clusters.append(outcome)
        try:
            report.errors += _do_cluster(job, site, warehouse, window, report.run_id, outcome)
        except (SourceError, SinkError, SchemaError) as error:
            outcome.failures.append(str(error))
            report.errors.append(error)
        outcome.warnings += sorted(set(site.warnings))
        report.seconds = job.clock.monotonic() - began
        report.errors += publish_cluster(job.settings, job.env, job.clock, warehouse, outcome, report)
    return job.finish(warehouse, report, began)


def _do_cluster(
    job: Job, site: Site, warehouse: Warehouse, window: Window | None, run_id: str, outcome: ClusterOutcome
) -> list[CarbonEtlError]:
    """Fold, price and commit a cluster's hours, day by day in time order; then price again what has settled."""
    now = job.clock.now()
    oldest_ms = site.oldest_ms(now)
    if oldest_ms is None:
        raise SourceRejected(site.nothing_found(now))
    hours = _hours(job, site, warehouse, window, oldest_ms, now)
    known = [hour for hour in priced_hours(warehouse, site.name) if window is None or hour.hour_utc in window]
    wanted = sorted({*hours, *(hour.hour_utc for hour in known)})
    told = Refresh(site.prices, warehouse, run_id, now, dry_run=job.dry_run).average(wanted)
    pues = PueRefresh(site.prices, warehouse, run_id, now, dry_run=job.dry_run).ask(wanted, told)
    fresh = Fresh(told.fresh, pues)
    settled = settling(site, warehouse, known, fresh, now)
    tally = Tally(outcome, Findings(), run_id, {hour.hour_utc for hour in settled})
    _fold_hours(job, site, warehouse, hours, fresh, oldest_ms, tally)
    again = [hour for hour in settled if hour.hour_utc not in set(hours)]
    Repricing(job, site, warehouse, fresh, run_id, outcome).price(again)
    outcome.warnings += [*told.warnings, *_priced_otherwise(site, known, set(hours))]
    return outcome.take_problems(told.problems) + tally.refusals()


def _fold_hours(
    job: Job, site: Site, warehouse: Warehouse, hours: list[datetime], fresh: Fresh, oldest_ms: int, tally: Tally
) -> None:
    if not hours:
        return
    # whole days: their torn hours are folded, too
    window = Window(hours[0] - hours[0].hour * HOUR, hours[-1] + (24 - hours[-1].hour) * HOUR)
    known, done = site.prices.known(warehouse, window, fresh), 0
    for _, of_day in groupby(hours, key=datetime.date):
        job.on_progress(site.name, done, len(hours))
        due = list(of_day)
        _fold_day(job, site, warehouse, due, known, oldest_ms, tally)
        tally.outcome.checks = tally.findings.checks()
        done += len(due)
    job.on_progress(site.name, done, len(hours))


def _priced_otherwise(site: Site, known: list[Priced], folded: set[datetime]) -> list[str]:
    """One line where stored hours were priced under another configuration: it restates nothing by itself."""
    others = [h.hour_utc for h in known if h.price_digest != site.prices.digest and h.hour_utc not in folded]
    if not others:
        return []
    since = f"{others[0]:%FT%H:%MZ}"
    return [
        (
            f"{len(others):,} hours from {since} on were priced with other settings (zone, PUE, providers, factors) "
            f"and stay so: `carbon-etl reprice --since {since} --dry-run` shows what would change"
        )
    ]


def _hours(
    job: Job, site: Site, warehouse: Warehouse, window: Window | None, oldest_ms: int, now: datetime
) -> list[datetime]:
    settle = job.settings.energy.settle
    if window is not None:
        closed = plan.last_closed(now, settle)
        if window.start >= closed:
            raise ConfigError(f"no hour of {window} is closed yet: the newest closed one ends at {closed:%FT%H:%MZ}")
        if window.end > closed:
            site.warnings.append(f"hours from {closed:%FT%H:%MZ} on are not closed yet and left out")
        return [hour for hour in window.hours() if hour < closed]
    known = warehouse.hours(site.name)
    first = site.settings.start or (min(values(known, "hour_utc")) if known.num_rows else from_ms(oldest_ms))
    return plan.due_hours(known, floor_hour(first), now, settle)


def _fold_day(
    job: Job,
    site: Site,
    warehouse: Warehouse,
    due: list[datetime],
    known: Known,
    oldest_ms: int,
    tally: Tally,
) -> None:
    """One unit of work: the due hours of one (cluster, day)."""
    day, began, outcome = due[0].date(), job.clock.monotonic(), tally.outcome
    with warehouse.partition_lock(site.name, day, job.clock, LOCK_SECONDS):
        hours = set(due)
        if not job.dry_run:
            hours |= set(warehouse.recover(site.name, day, job.clock.now(), tally.run_id).torn_hours)
        fresh = site.fold_hours(sorted(hours), oldest_ms)
        energy = site.counted_once(better_covered(fresh, *_stored(warehouse, site.name, day, hours)))
        priced, refused = site.prices.price(energy.rows, known, job.clock.now())
        tally.refused.update(refused)
        tables = _of_hours(DayTables(priced, energy.nodes, energy.withheld, energy.processes), hours - set(refused))
        commits = [_commit(energy.nodes, hour, refused.get(hour)) for hour in sorted(hours)]
        tally.findings.add(tables.node_energy, tables.emissions, energy.unmetered, energy.faults, energy.remarks)
        outcome.add_rows(tables.emissions)
        outcome.add_nodes(tables.node_energy)
        for commit in commits:
            outcome.states[commit.state] = outcome.states.get(commit.state, 0) + 1
        stamp = RunStamp(tally.run_id, job.clock.now(), site.digest)
        result = warehouse.commit_day(
            site.name, day, commits, tables, stamp, revision_rows, tally.overtaken, dry_run=job.dry_run
        )
        outcome.hours_rewritten += len(result.rewritten)
        outcome.hours_unchanged += len(hours) - len(result.rewritten)
    LOG.info(
        "day committed",
        cluster=site.name,
        day=str(day),
        hours=len(hours),
        rewritten=len(result.rewritten),
        rows=priced.num_rows,
        seconds=round(job.clock.monotonic() - began, 3),
    )


def _stored(warehouse: Warehouse, cluster: str, day: date, hours: set[datetime]) -> list[pa.Table]:
    """What the warehouse holds of these hours: emissions, node_energy, quarantine and processes rows."""
    tables = [
        warehouse.read_day("emissions", cluster, day),
        warehouse.read_day("node_energy", cluster, day),
        warehouse.quarantine(cluster, day),
        warehouse.read_day("processes", cluster, day),
    ]
    return [rows.filter(pa.array([hour in hours for hour in values(rows, "hour_utc")], pa.bool_())) for rows in tables]


def _of_hours(tables: DayTables, hours: set[datetime]) -> DayTables:
    def kept(rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array([hour in hours for hour in values(rows, "hour_utc")], pa.bool_()))

    processes = None if tables.processes is None else kept(tables.processes)
    return DayTables(kept(tables.emissions), kept(tables.node_energy), kept(tables.quarantine), processes)


def _commit(nodes: pa.Table, hour: datetime, refused: str | None) -> HourCommit:
    if refused is not None:
        return HourCommit(hour, "failed", refused)
    of_hour = nodes.filter(pa.array([h == hour for h in values(nodes, "hour_utc")], pa.bool_()))
    state = hour_state(of_hour)
    return HourCommit(hour, state, {"empty": "no samples", "partial": "holes or withheld node-hours"}.get(state))
