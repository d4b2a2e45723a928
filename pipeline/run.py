"""The story of one run: for each cluster and day recover, extract, fold, price, check, commit; then publish and report.

The unit of work is (cluster, day), a function of the samples and of what is stored, done under that partition's lock.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import structlog

from pipeline import __version__, plan
from pipeline.checks import Findings
from pipeline.errors import ConfigError, SchemaError, SinkError, SourceError, SourceRejected, StoreFull, StoreUnwritable
from pipeline.publication import publish_cluster
from pipeline.report import ClusterOutcome, RunReport
from pipeline.settings import Settings
from pipeline.sinks import views
from pipeline.sinks.partitions import OnEffect, nothing
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import Site, open_site
from pipeline.tables import RUNS, values
from pipeline.transforms.coverage import hour_state
from pipeline.transforms.emissions import price, slots_with_energy
from pipeline.transforms.energy import NOTHING, Energy, join
from pipeline.transforms.refold import better_covered
from pipeline.transforms.revisions import revision_rows
from pipeline.transforms.selection import Vintages, changed_vintages
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Clock, Window, floor_hour, from_ms, to_ms

LOCK_SECONDS = 60.0
LOG = structlog.get_logger()


def _silent(_cluster: str, _done: int, _total: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True)
class Job:
    """What a run is given by the command line.

    Attributes:
        settings: the whole config.
        env: where secrets are read.
        clock: the only time there is.
        dry_run: fold, price and compare, write nothing.
        on_progress: called with (cluster, hours done, hours in all).
        on_effect: called after every effect on disk; tests kill there.
    """

    settings: Settings
    env: Mapping[str, str]
    clock: Clock
    dry_run: bool = False
    on_progress: Callable[[str, int, int], None] = _silent
    on_effect: OnEffect = nothing


@dataclass(frozen=True)
class Tally:
    """What the partitions of a cluster add up to."""

    outcome: ClusterOutcome
    findings: Findings


def run(job: Job, clusters: list[str], window: Window | None) -> RunReport:
    """All due hours of the clusters, or those of `window` (backfill), then all that is unpublished to every store."""
    started, began = job.clock.now(), job.clock.monotonic()
    run_id = f"{started:%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"
    report = RunReport(run_id, "backfill" if window else "run", started, job.dry_run)
    warehouse = Warehouse(Path(job.settings.warehouse.path), job.on_effect)
    for name in clusters:
        site = open_site(name, job.settings, job.env, job.clock)
        outcome = ClusterOutcome(name, site.selection.factor_type)
        report.clusters.append(outcome)
        try:
            _fold_cluster(job, site, warehouse, window, run_id, outcome)
        except (SourceError, SinkError, SchemaError) as error:
            outcome.failures.append(str(error))
            report.errors.append(error)
        outcome.warnings += sorted(set(site.warnings))
        report.seconds = job.clock.monotonic() - began
        report.errors += publish_cluster(job.settings, job.env, job.clock, warehouse, outcome, report)
    report.seconds = job.clock.monotonic() - began
    if not job.dry_run:
        _finish(warehouse, report, job.clock.now())
    return report


def _fold_cluster(
    job: Job, site: Site, warehouse: Warehouse, window: Window | None, run_id: str, outcome: ClusterOutcome
) -> None:
    """Fold, price and commit a cluster's hours, day by day in time order."""
    now = job.clock.now()
    oldest_ms = site.oldest_ms(now)
    if oldest_ms is None:
        raise SourceRejected(site.nothing_found(now))
    hours = _hours(job, site, warehouse, window, oldest_ms, now)
    if not hours:
        return
    vintages = _vintages(site, warehouse, Window(hours[0], hours[-1] + HOUR), now, run_id, dry_run=job.dry_run)
    done, tally = 0, Tally(outcome, Findings())
    for _, of_day in groupby(hours, key=datetime.date):
        job.on_progress(site.name, done, len(hours))
        due = list(of_day)
        _fold_day(job, site, warehouse, due, vintages, oldest_ms, run_id, tally)
        outcome.checks = tally.findings.checks()
        done += len(due)
    job.on_progress(site.name, done, len(hours))


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


def _vintages(
    site: Site, warehouse: Warehouse, window: Window, now: datetime, run_id: str, *, dry_run: bool
) -> Vintages:
    """Everything that may price the window; what providers say newly is stored first."""
    offered = site.offered_vintages(window, now)
    stored = warehouse.intensity_vintages(site.place.zone)
    fresh = changed_vintages(offered, stored)
    if not dry_run:
        warehouse.append("intensity", fresh, run_id, now.date())
    return Vintages(pa.concat_tables([stored, fresh, site.embedded_vintages(window)]))


def _fold_day(
    job: Job,
    site: Site,
    warehouse: Warehouse,
    due: list[datetime],
    vintages: Vintages,
    oldest_ms: int,
    run_id: str,
    tally: Tally,
) -> None:
    """One unit of work: the due hours of one (cluster, day)."""
    day, began = due[0].date(), job.clock.monotonic()
    with warehouse.partition_lock(site.name, day, job.clock, LOCK_SECONDS):
        hours = set(due)
        if not job.dry_run:
            hours |= set(warehouse.recover(site.name, day, job.clock.now(), run_id).torn_hours)
        fresh = join([_fold_hour(site, hour, oldest_ms) for hour in sorted(hours)])
        energy = better_covered(fresh, *_stored(warehouse, site.name, day, hours))
        priced = _price(site, energy.rows, vintages)
        commits = [_commit(energy.nodes, hour) for hour in sorted(hours)]
        tally.findings.add(energy.nodes, priced, energy.unmetered, energy.faults)
        outcome = tally.outcome
        outcome.add_rows(priced)
        outcome.add_nodes(energy.nodes)
        for commit in commits:
            outcome.states[commit.state] = outcome.states.get(commit.state, 0) + 1
        tables = DayTables(priced, energy.nodes, energy.withheld, energy.processes)
        stamp = RunStamp(run_id, job.clock.now(), site.digest)
        if job.dry_run:
            outcome.hours_rewritten += len(hours)
            return
        result = warehouse.commit_day(site.name, day, commits, tables, stamp, revision_rows)
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


def _fold_hour(site: Site, hour: datetime, oldest_ms: int) -> Energy:
    if to_ms(hour) + MS_PER_HOUR + site.rules.max_gap_ms < oldest_ms:  # nothing can be there: do not ask
        return NOTHING
    return site.fold_hour(hour)


def _stored(warehouse: Warehouse, cluster: str, day: date, hours: set[datetime]) -> list[pa.Table]:
    """What the warehouse holds of these hours: emissions, node_energy, quarantine and processes rows."""
    tables = [
        warehouse.read_day("emissions", cluster, day),
        warehouse.read_day("node_energy", cluster, day),
        warehouse.quarantine(cluster, day),
        warehouse.read_day("processes", cluster, day),
    ]
    return [rows.filter(pa.array([hour in hours for hour in values(rows, "hour_utc")], pa.bool_())) for rows in tables]


def _price(site: Site, rows: pa.Table, vintages: Vintages) -> pa.Table:
    answers = {hour: vintages.select(hour, needed, site.selection) for hour, needed in slots_with_energy(rows).items()}
    return price(rows, answers, site.settings.pue, "config")


def _commit(nodes: pa.Table, hour: datetime) -> HourCommit:
    of_hour = nodes.filter(pa.array([h == hour for h in values(nodes, "hour_utc")], pa.bool_()))
    state = hour_state(of_hour)
    return HourCommit(hour, state, {"empty": "no samples", "partial": "holes or withheld node-hours"}.get(state))


def _finish(warehouse: Warehouse, report: RunReport, now: datetime) -> None:
    """Note the run and keep carbon.duckdb current; a failure here is a failure of the run, not of its figures."""
    try:
        row = {
            "run_id": report.run_id,
            "command": report.command,
            "version": __version__,
            "started_utc": report.started_utc,
            "finished_utc": now,
            "exit_code": report.exit_code,
            "report": report.to_json(),
        }
        warehouse.append("runs", pa.Table.from_pylist([row], RUNS), report.run_id, now.date())
        views.refresh_database(warehouse.root)
    except SinkError as error:
        if not any(
            isinstance(known, StoreFull | StoreUnwritable) for known in report.errors
        ):  # the same disk: told once
            report.errors.append(error)
