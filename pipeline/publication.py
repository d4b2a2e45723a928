"""What a run publishes: the hours of a cluster that a store does not show at their revision, and how it went."""

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from pipeline.errors import CarbonEtlError, RemoteWriteError
from pipeline.report import ClusterOutcome, RunReport, StoreOutcome
from pipeline.settings import Settings
from pipeline.sinks.publish import PublishReport, RunNumbers, pipeline_series, publish, write_now
from pipeline.sinks.rounds import stamp_ms
from pipeline.sinks.stores import Store
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import HOURS, values
from pipeline.transforms.series import Key, hour_series
from pipeline.window import Clock, to_ms

LOCK_SECONDS = 60.0


def publish_cluster(
    settings: Settings,
    env: Mapping[str, str],
    clock: Clock,
    warehouse: Warehouse,
    outcome: ClusterOutcome,
    report: RunReport,
) -> list[CarbonEtlError]:
    """Reconcile every store with the warehouse, one by one; failures are returned and never stop the next store."""
    errors: list[CarbonEtlError] = []
    for store_settings in settings.remote_write:
        with Store(store_settings, settings.http, env, clock, settings.publish.horizon) as store:
            try:
                with warehouse.store_lock(store.name, clock, LOCK_SECONDS):
                    errors += _publish(store, settings, clock, warehouse, outcome, report)
            except CarbonEtlError as error:
                errors.append(error)
                outcome.failures.append(str(error))
    return errors


def _publish(
    store: Store, settings: Settings, clock: Clock, warehouse: Warehouse, outcome: ClusterOutcome, report: RunReport
) -> list[CarbonEtlError]:
    due = _due(warehouse, outcome.cluster, store)
    wanted = _wanted(warehouse, outcome.cluster, sorted(due), settings.publish.max_series)
    done = publish(store, wanted, [outcome.cluster], report.run_id, dry_run=report.dry_run)
    if not report.dry_run:
        now = clock.now()
        warehouse.append("hours", _rows(done, due, outcome.cluster, report.run_id, now), report.run_id, now.date())
    unpublished = _count_unpublished(warehouse, outcome.cluster, store.name)
    reasons = sorted({hour.reason for hour in done.hours if hour.reason})
    published = sum(hour.state == "yes" for hour in done.hours)
    outcome.stores.append(StoreOutcome(store.name, done.written, published, unpublished, reasons))
    if done.error is not None:
        return [done.error]
    return [] if report.dry_run else _say_how_it_went(store, clock.now(), outcome, report, unpublished)


def _due(warehouse: Warehouse, cluster: str, store: Store) -> dict[datetime, int]:
    """Hours with figures that the store does not show at their revision, hour to revision.

    An hour noted as beyond the horizon is due again only when the horizon has grown to reach it.
    """
    oldest_ms = _oldest_ms(store)
    shown = {
        row["hour_utc"]: row["revision"]
        for row in warehouse.published(cluster, store.name).to_pylist()
        if row["state"] == "yes" or (row["state"] == "beyond_horizon" and stamp_ms(row["hour_utc"]) < oldest_ms)
    }
    return {
        row["hour_utc"]: row["revision"]
        for row in warehouse.hours(cluster).to_pylist()
        if row["revision"] is not None and shown.get(row["hour_utc"]) != row["revision"]
    }


def _oldest_ms(store: Store) -> int:
    """The oldest stamp that the store takes; the present where it cannot be asked: publishing will say why."""
    now = store.clock.now()
    try:
        return to_ms(now - store.horizon().length)
    except RemoteWriteError:
        return to_ms(now)


def _wanted(
    warehouse: Warehouse, cluster: str, hours: list[datetime], max_series: int
) -> dict[datetime, Mapping[Key, float]]:
    wanted: dict[datetime, Mapping[Key, float]] = {}
    for day in sorted({hour.date() for hour in hours}):
        rows = warehouse.read_day("emissions", cluster, day)
        stamps = values(rows, "hour_utc")
        for hour in (hour for hour in hours if hour.date() == day):
            wanted[hour] = hour_series(rows.filter(pa.array([h == hour for h in stamps], pa.bool_())), max_series)
    return wanted


def _rows(done: PublishReport, due: Mapping[datetime, int], cluster: str, run_id: str, now: datetime) -> pa.Table:
    rows = [
        {
            "cluster": cluster,
            "hour_utc": hour.hour_utc,
            "store": done.store,
            "state": hour.state,
            "run_id": run_id,
            "revision": due[hour.hour_utc],
            "samples": hour.samples,
            "reason": hour.reason,
            "written_utc": now,
        }
        for hour in done.hours
    ]
    return pa.Table.from_pylist(rows, HOURS)


def _count_unpublished(warehouse: Warehouse, cluster: str, store: str) -> int:
    """Hours with figures that the store does not hold at their revision, whatever the reason."""
    shown = {
        row["hour_utc"]: row["revision"]
        for row in warehouse.published(cluster, store).to_pylist()
        if row["state"] == "yes"
    }
    return sum(
        row["revision"] is not None and shown.get(row["hour_utc"]) != row["revision"]
        for row in warehouse.hours(cluster).to_pylist()
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
