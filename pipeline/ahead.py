"""What a run has before it in one cluster: which hours, and what prices them; found out before any day is done."""

from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from pipeline import plan
from pipeline.closed import left_alone
from pipeline.day import Day, fresh_of
from pipeline.errors import ConfigError, SourceRejected
from pipeline.job import Job
from pipeline.prices import Fresh
from pipeline.refresh import Refresh, Refreshed
from pipeline.refresh.pue import PueRefresh
from pipeline.reprice import Priced, priced_hours, settling
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.tables import values
from pipeline.window import HOUR, Window, floor_hour, from_ms, to_ms


@dataclass(frozen=True)
class Ahead:
    """What a run has before it in one cluster, asked and found out once.

    Attributes:
        days: what is folded: what is not done, and what a killed run tore while raw samples last.
        again: hours that are only priced again.
        told: what providers said.
        fresh: what was learned of prices.
        warnings: what a person should know of hours that are left alone.
    """

    days: list[Day]
    again: list[Priced]
    told: Refreshed
    fresh: Fresh
    warnings: list[str]


def look_ahead(
    job: Job, site: Site, warehouse: Warehouse, window: Window | None, run_id: str, *, resume: bool = False
) -> Ahead:
    """Which days and hours a run takes, and what prices them: providers are asked, and what differs is stored.

    Raises:
        SourceError: Prometheus does not answer, or has nothing of the cluster.
        ConfigError: no hour of the window is closed yet, or a file of the user's is not what its format says.
        SinkError: the warehouse cannot be written.
    """
    now = job.clock.now()
    oldest_ms = site.oldest_ms(now)
    if oldest_ms is None:
        raise SourceRejected(site.nothing_found(now))
    hours = _hours(job, site, warehouse, window, oldest_ms, now)
    if resume:
        hours = plan.unfinished(hours, warehouse.hours(site.name), site.digest, now)
    known = [hour for hour in priced_hours(warehouse, site.name) if window is None or hour.hour_utc in window]
    torn = {hour.hour_utc for hour in known if hour.is_torn and to_ms(hour.hour_utc + HOUR) > oldest_ms}
    hours = sorted({*hours, *torn})
    wanted = sorted({*hours, *(hour.hour_utc for hour in known)})
    told = Refresh(site.prices, warehouse, run_id, now, dry_run=job.dry_run).average(wanted)
    fresh = Fresh(told.fresh, PueRefresh(site.prices, warehouse, run_id, now, dry_run=job.dry_run).ask(wanted, told))
    settled = settling(site, warehouse, known, fresh, now)
    taken = [*hours, *(hour.hour_utc for hour in settled)]
    stays, left = left_alone(warehouse, site.name, taken, restate_closed=job.restate_closed)
    folded = set(hours) - stays
    overtaken = folded & {hour.hour_utc for hour in settled}
    days = [
        Day(site.name, tuple(of_day), oldest_ms, run_id, frozenset(overtaken.intersection(of_day)))
        for of_day in (tuple(group) for _, group in groupby(sorted(folded), key=datetime.date))
    ]
    if job.dry_run:
        days = [replace(day, fresh=fresh_of(day.window, fresh)) for day in days]
    again = [hour for hour in settled if hour.hour_utc not in folded | stays]
    return Ahead(days, again, told, fresh, [*left, *_priced_otherwise(site, known, folded)])


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
