"""What a run publishes: the hours of a cluster that a store does not show at their revision, and how it went.

An hour that was published before is corrected in the first run after a milestone, when the grid's figures have settled
further, or when a person asks; in between it is pending, so that a store holds a handful of entries and not one a run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache

import pyarrow as pa

from pipeline.errors import CarbonEtlError, RemoteWriteError
from pipeline.job import LOCK_SECONDS
from pipeline.occasions import Asked, believed_hours, correction_utc, hours_to_publish, occasion
from pipeline.plan import PRUNED
from pipeline.report import ClusterOutcome, RunReport
from pipeline.report.stores import StoreOutcome
from pipeline.settings import Settings
from pipeline.sinks.marginal_hours import marginal_series
from pipeline.sinks.older_hours import OlderHours
from pipeline.sinks.plans import of_hours
from pipeline.sinks.publish import PublishedHour, PublishReport, publish
from pipeline.sinks.refusals import OF_SAMPLES
from pipeline.sinks.run_numbers import RunNumbers, pipeline_series, write_now
from pipeline.sinks.standings import Told, standings
from pipeline.sinks.stores import Store
from pipeline.sinks.totals import is_first_today, strays
from pipeline.sinks.unread_store import open_store
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import HOURS
from pipeline.transforms.detail_series import published_hour
from pipeline.transforms.series import Key
from pipeline.window import Clock


def publish_cluster(
    settings: Settings,
    env: Mapping[str, str],
    clock: Clock,
    warehouse: Warehouse,
    outcome: ClusterOutcome,
    report: RunReport,
    asked_from: datetime | None = None,
    *,
    look_again: bool = False,
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
        look_again: of those, also the ones that a store shows: what it holds may have changed by another hand.
    """
    errors: list[CarbonEtlError] = []
    for store_settings in settings.remote_write:
        try:
            with (
                open_store(
                    store_settings, settings.http, env, clock, settings.publish.horizon, warehouse.root
                ) as store,
                warehouse.store_lock(store.name, clock, LOCK_SECONDS),
            ):
                errors += _publish(store, settings, warehouse, outcome, report, Asked(asked_from, look_again))
        except CarbonEtlError as error:
            errors.append(error)
            outcome.failures.append(str(error))
    return errors


def _publish(
    store: Store, settings: Settings, warehouse: Warehouse, outcome: ClusterOutcome, report: RunReport, asked: Asked
) -> list[CarbonEtlError]:
    now, cluster = store.clock.now(), outcome.cluster
    rows = warehouse.hours(cluster).to_pylist()
    held = [row for row in rows if row["revision"] is not None and row["state"] != PRUNED]  # a store keeps pruned hours
    revisions = {row["hour_utc"]: row["revision"] for row in held}
    known = standings(warehouse.root, cluster, store.name)
    believed = believed_hours(store, revisions, known) if is_first_today(warehouse.root, now) else []
    due = hours_to_publish(store, revisions, known, asked, _strays(store, warehouse, believed, outcome))
    occasions = {hour: occasion(hour, known.get(hour), now, asked) for hour in due}
    is_marginal = settings.marginal.zones or settings.cluster(cluster).intensity.watttime
    marginal = marginal_series(warehouse.root, cluster, due) if is_marginal else {}
    wanted = _Wanted(warehouse, cluster, due, settings.publish.max_series, marginal)
    done = publish(store, wanted, [cluster], report.run_id, occasions, dry_run=report.dry_run)
    older = OlderHours(store, warehouse.root, cluster, occasions, report.run_id, report.dry_run)
    if store.settings.publish == "blocks" and done.horizon is not None:
        done = replace(done, hours=older.settle(done.hours, wanted))
    shown = {hour: standing.newest for hour, standing in known.items()}
    if not report.dry_run:
        shown |= _note(warehouse, cluster, done, revisions, shown, report.run_id, now)
    unpublished = sum(hour not in shown or not shown[hour].shows(revision) for hour, revision in revisions.items())
    outcome.stores.append(_outcome(done, unpublished, now))
    errors: list[CarbonEtlError] = [error for error in (done.error, older.error) if error is not None]
    if report.dry_run or (done.error is not None and done.error.cause not in OF_SAMPLES):
        return errors
    return errors + _say_how_it_went(store, store.clock.now(), outcome, report, unpublished)


def _strays(store: Store, warehouse: Warehouse, believed: list[datetime], outcome: ClusterOutcome) -> set[datetime]:
    """Of the believed hours those that come to something else; a store that does not say is no reason to stop."""
    try:
        return strays(store, warehouse.root, outcome.cluster, believed)
    except RemoteWriteError as error:
        outcome.warnings.append(f"store {store.name}: what it holds of earlier hours was not looked at: {error}")
        return set()


class _Wanted(Mapping[datetime, Mapping[Key, float]]):
    """Hours to their samples, made when they are looked up; those of one day are kept."""

    def __init__(
        self,
        warehouse: Warehouse,
        cluster: str,
        hours: list[datetime],
        max_series: int,
        marginal: Mapping[datetime, Mapping[Key, float]],
    ) -> None:
        self._warehouse = warehouse
        self._cluster = cluster
        self._hours = dict.fromkeys(hours)
        self._max_series = max_series
        self._marginal = marginal
        self._day = lru_cache(maxsize=1)(self._samples_of_day)

    def _samples_of_day(self, day: date) -> dict[datetime, Mapping[Key, float]]:
        stored = {
            table: self._warehouse.read_day(table, self._cluster, day)
            for table in ("emissions", "node_energy", "processes")
        }
        found: dict[datetime, Mapping[Key, float]] = {}
        for hour in (hour for hour in self._hours if hour.date() == day):
            of_hour = {table: of_hours(rows, [hour]) for table, rows in stored.items()}
            samples = published_hour(**of_hour, max_series=self._max_series)
            found[hour] = {**samples, **self._marginal.get(hour, {})}
        return found

    def __getitem__(self, hour: datetime) -> Mapping[Key, float]:
        if hour not in self._hours:
            raise KeyError(hour)
        return self._day(hour.date())[hour]

    def __iter__(self) -> Iterator[datetime]:
        return iter(self._hours)

    def __len__(self) -> int:
        return len(self._hours)


def _note(
    warehouse: Warehouse,
    cluster: str,
    done: PublishReport,
    revisions: Mapping[datetime, int],
    shown: Mapping[datetime, Told],
    run_id: str,
    now: datetime,
) -> dict[datetime, Told]:
    """Rows of `hours` for those that do not stand as they stood."""
    news = {
        hour.hour_utc: row
        for hour in done.hours
        if (row := Told(hour.state, revisions[hour.hour_utc], hour.samples, _reason(hour, now)))
        != shown.get(hour.hour_utc)
    }
    stamp = {"cluster": cluster, "store": done.store, "run_id": run_id, "written_utc": now}
    rows = [stamp | {"hour_utc": hour} | row._asdict() for hour, row in news.items()]
    warehouse.append("hours", pa.Table.from_pylist(rows, HOURS), run_id, now.date())
    return news


def _reason(hour: PublishedHour, now: datetime) -> str | None:
    if hour.cause != "pending":
        return hour.reason
    due = correction_utc(hour.hour_utc, now)
    when = f"in the first run after {due:%FT%H:%MZ}" if due else "by `carbon-etl reprice`, no run does it any more"
    return f"{hour.reason}; corrected {when}"


def _outcome(done: PublishReport, unpublished: int, now: datetime) -> StoreOutcome:
    pending = [correction_utc(hour.hour_utc, now) for hour in done.hours if hour.cause == "pending"]
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
