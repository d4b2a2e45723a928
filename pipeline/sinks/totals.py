"""What hours come to, in the warehouse and in a store: once a day a few sums tell whether a store still has them."""

from collections.abc import Collection, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from pipeline.sinks.stores import Store
from pipeline.sinks.views import open_views
from pipeline.units import JOULES_PER_KWH
from pipeline.window import EPOCH, HOUR, Window

# Every row's joules are in each of the joule series once, and its grams in each of those in grams.
JOULES, GRAMS, FACILITY = "energy_joules", "emissions_gco2e", "facility_energy_kwh"
AMOUNTS = {
    "carbon_energy_joules": JOULES,
    "carbon_node_energy_joules": JOULES,
    "carbon_quality_energy_joules": JOULES,
    "carbon_emissions_grams": GRAMS,
    "carbon_node_emissions_grams": GRAMS,
    "carbon_facility_energy_joules": FACILITY,
}
SUMS = f"""
    select hour_utc, sum({JOULES}) as {JOULES},
        case when count({GRAMS}) = count(*) then sum({GRAMS}) end as {GRAMS},
        case when count({FACILITY}) = count(*) then sum({FACILITY}) * {JOULES_PER_KWH} end as {FACILITY}
    from emissions where cluster = $cluster and hour_utc >= $start and hour_utc < $end group by hour_utc"""
LOOKED_AT = """
    select count(*) from runs where command in ('run', 'backfill', 'reprice', 'publish') and started_utc >= $midnight"""
SPAN = timedelta(days=10)  # asked for in one question
EQUAL_RATIO = 1e-8  # sums of keys that are each equal, in whatever order


def is_first_today(root: Path, now: datetime) -> bool:
    """Whether nobody has published since midnight, UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with open_views(root, LOOKED_AT) as connection:
        (found,) = connection.sql(LOOKED_AT, params={"midnight": midnight}).fetchall()
    return bool(found[0] == 0)


def strays(store: Store, root: Path, cluster: str, hours: Collection[datetime]) -> set[datetime]:
    """Of hours that a store is believed to show as the warehouse has them, those that come to something else there.

    Raises:
        RemoteWriteError: the store does not answer.
    """
    found: set[datetime] = set()
    for window, asked in _spans(hours):
        wanted = _wanted(root, cluster, window)
        for metric, amount in AMOUNTS.items():
            shown = store.totals(metric, cluster, window)
            found |= {hour for hour in asked if not _agrees(wanted.get(hour, {}).get(amount), shown.get(hour, 0.0))}
    return found


def _spans(hours: Collection[datetime]) -> Iterator[tuple[Window, list[datetime]]]:
    for _, part in groupby(sorted(hours), key=lambda hour: (hour - EPOCH) // SPAN):
        of_span = list(part)
        yield Window(of_span[0], of_span[-1] + HOUR), of_span


def _wanted(root: Path, cluster: str, window: Window) -> Mapping[datetime, Mapping[str, float | None]]:
    """Sums by hour; null where a row lacks the amount, for then its group has no sample."""
    with open_views(root, SUMS) as connection:
        parameters = {"cluster": cluster, "start": window.start, "end": window.end}
        rows = connection.sql(SUMS, params=parameters).to_arrow_table().to_pylist()
    return {row["hour_utc"]: row for row in rows}


def _agrees(wanted: float | None, shown: float) -> bool:
    return wanted is None or abs(wanted - shown) <= EQUAL_RATIO * max(abs(wanted), abs(shown))
