"""What a run publishes: the hours of a cluster that a store does not show at their revision, and how it went.

An hour that was published before is corrected in the first run after a milestone, when the grid's figures have settled
further, or when a person asks; in between it is pending, so that a store holds a handful of entries and not one a run.
"""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from pipeline.errors import CarbonEtlError, RemoteWriteError
from pipeline.report import ClusterOutcome, RunReport, StoreOutcome
from pipeline.settings import Settings
from pipeline.sinks.plans import of_hours
from pipeline.sinks.publish import PublishedHour, PublishReport, RunNumbers, pipeline_series, publish, write_now
from pipeline.sinks.rounds import Occasion, stamp_ms
from pipeline.sinks.standings import Standing, Told, standings
from pipeline.sinks.stores import Store
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import HOURS
from pipeline.transforms.series import Key, hour_series
from pipeline.transforms.settling import MILESTONES, milestone
from pipeline.window import HOUR, Clock, to_ms

LOCK_SECONDS = 60.0


def publish_cluster(
    settings: Settings,
    env: Mapping[str, str],
    clock: Clock,
    warehouse: Warehouse,
    outcome: ClusterOutcome,
    report: RunReport,
    asked_from: datetime | None = None,
) -> list[CarbonEtlError]:
    """Reconcile every store with the warehouse, one by one; failures are returned and never stop the next store.

    Args:
        settings: the stores, and how they are published to.
        env: where secrets are read.
        clock: the present.
        warehouse: what is published, and how it went before.
        outcome: of the cluster: which one, and what its numbers are; gets an outcome a store.
        report: of the command.
        asked_from: a person asked for the hours from here on: they are corrected now, however small the difference.
    """
    errors: list[CarbonEtlError] = []
    for store_settings in settings.remote_write:
        try:
            with (
                Store(store_settings, settings.http, env, clock, settings.publish.horizon) as store,
                warehouse.store_lock(store.name, clock, LOCK_SECONDS),
            ):
                errors += _publish(store, settings, warehouse, outcome, report, asked_from)
        except CarbonEtlError as error:
            errors.append(error)
            outcome.failures.append(str(error))
    return errors


def _publish(
    store: Store,
    settings: Settings,
    warehouse: Warehouse,
    outcome: ClusterOutcome,
    report: RunReport,
    asked_from: datetime | None,
) -> list[CarbonEtlError]:
    now, cluster = store.clock.now(), outcome.cluster
    rows = warehouse.hours(cluster).to_pylist()
    revisions = {row["hour_utc"]: row["revision"] for row in rows if row["revision"] is not None}
    asked = {hour for hour in revisions if asked_from is not None and hour >= asked_from}
    known = standings(warehouse.root, cluster, store.name)
    oldest_ms = _oldest_ms(store)
    due = {
        hour: at for hour, at in revisions.items() if _is_due(hour, at, known.get(hour), oldest_ms, asked=hour in asked)
    }
    occasions = {hour: _occasion(hour, known.get(hour), now, asked=hour in asked) for hour in due}
    wanted = _wanted(warehouse, cluster, sorted(due), settings.publish.max_series)
    done = publish(store, wanted, [cluster], report.run_id, occasions, dry_run=report.dry_run)
    shown = {hour: standing.newest for hour, standing in known.items()}
    if not report.dry_run:
        told = {
            hour.hour_utc: Told(hour.state, due[hour.hour_utc], hour.samples, _reason(hour, now)) for hour in done.hours
        }
        news = {hour: row for hour, row in told.items() if row != shown.get(hour)}
        warehouse.append("hours", _rows(news, cluster, store.name, report.run_id, now), report.run_id, now.date())
        shown |= news
    unpublished = sum(hour not in shown or not shown[hour].shows(revision) for hour, revision in revisions.items())
    outcome.stores.append(_outcome(done, unpublished, now))
    if done.error is not None:
        return [done.error]
    return [] if report.dry_run else _say_how_it_went(store, store.clock.now(), outcome, report, unpublished)


def _is_due(hour: datetime, revision: int, standing: Standing | None, oldest_ms: int, *, asked: bool) -> bool:
    """Whether a store has to be looked at: it does not show the hour, or is asked for what was not worth writing.

    An hour noted as beyond the horizon is due again only when the horizon has grown to reach it.
    """
    if standing is None or standing.newest.revision != revision or standing.newest.state == "no":
        return True
    if standing.newest.state == "beyond_horizon":
        return stamp_ms(hour) >= oldest_ms
    return asked and standing.newest.reason is not None


def _oldest_ms(store: Store) -> int:
    """The oldest stamp that the store takes; the present where it cannot be asked: publishing will say why."""
    now = store.clock.now()
    try:
        return to_ms(now - store.horizon().length)
    except RemoteWriteError:
        return to_ms(now)


def _occasion(hour: datetime, standing: Standing | None, now: datetime, *, asked: bool) -> Occasion:
    """What a store held before any row tells of it, after a crash or by another hand, waits for a milestone, too."""
    if asked:
        return "request"
    if standing is None:
        return "first"
    if milestone(hour, standing.published_utc or standing.first_utc) < milestone(hour, now):
        return "milestone"
    return "first" if standing.published_utc is None else "between"


def _correction_utc(hour: datetime, now: datetime) -> datetime | None:
    """When a pending hour will be corrected; null when its last milestone has passed."""
    return next((due for age in MILESTONES if (due := hour + HOUR + age) > now), None)


def _wanted(
    warehouse: Warehouse, cluster: str, hours: list[datetime], max_series: int
) -> dict[datetime, Mapping[Key, float]]:
    wanted: dict[datetime, Mapping[Key, float]] = {}
    for day in sorted({hour.date() for hour in hours}):
        rows = warehouse.read_day("emissions", cluster, day)
        for hour in (hour for hour in hours if hour.date() == day):
            wanted[hour] = hour_series(of_hours(rows, [hour]), max_series)
    return wanted


def _rows(news: Mapping[datetime, Told], cluster: str, store: str, run_id: str, now: datetime) -> pa.Table:
    """Rows of `hours`, for hours that do not stand as they stood."""
    stamp = {"cluster": cluster, "store": store, "run_id": run_id, "written_utc": now}
    return pa.Table.from_pylist([stamp | {"hour_utc": hour} | row._asdict() for hour, row in news.items()], HOURS)


def _reason(hour: PublishedHour, now: datetime) -> str | None:
    if hour.cause != "pending":
        return hour.reason
    due = _correction_utc(hour.hour_utc, now)
    when = f"in the first run after {due:%FT%H:%MZ}" if due else "by `carbon-etl reprice`, no run does it any more"
    return f"{hour.reason}; corrected {when}"


def _outcome(done: PublishReport, unpublished: int, now: datetime) -> StoreOutcome:
    pending = [_correction_utc(hour.hour_utc, now) for hour in done.hours if hour.cause == "pending"]
    dates = [due for due in pending if due is not None]
    return StoreOutcome(
        store=done.store,
        samples_written=done.written,
        hours_published=sum(hour.state == "yes" for hour in done.hours),
        hours_unpublished=unpublished,
        reasons=sorted({hour.reason for hour in done.hours if hour.reason and hour.cause not in (None, "pending")}),
        corrections_written=done.corrections,
        hours_pending=len(pending),
        corrections_due_utc=(min(dates), max(dates)) if dates else None,
    )


def _say_how_it_went(
    store: Store, now: datetime, outcome: ClusterOutcome, report: RunReport, unpublished: int
) -> list[CarbonEtlError]:
    numbers = RunNumbers(
        cluster=outcome.cluster,
        last_success_utc=None if outcome.failures else now,
        run_seconds=report.seconds,
        rows=outcome.rows,
        failed_checks={check.name: not check.passed for check in outcome.checks},
        residual_joules=outcome.residual_joules,
        unpublished_hours=unpublished,
    )
    try:
        write_now(store, pipeline_series(numbers, now))
    except RemoteWriteError as error:
        return [error]
    return []
