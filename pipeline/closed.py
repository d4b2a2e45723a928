"""Which stored hours nobody folds or prices again: those of closed periods that another method made, and pruned ones.

What comes later may restate a closed period, and shows as a restatement; a new method does so only when a person asks.
"""

from collections.abc import Collection, Iterator
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

from pipeline.errors import SchemaError
from pipeline.plan import PRUNED
from pipeline.sinks.partitions import has_files
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import METHOD_VERSION, values

BY_ANOTHER_METHOD = """
    select distinct period, start_utc, end_utc, method_version from closings_newest
    where cluster = $cluster and method_version <> $method order by all"""


class _Closed(NamedTuple):
    """A period that was closed when another method made its figures."""

    period: str
    start_utc: datetime
    end_utc: datetime
    method: str


def left_alone(
    warehouse: Warehouse, cluster: str, hours: Collection[datetime], *, restate_closed: bool
) -> tuple[set[datetime], list[str]]:
    """Those of the hours that stay as they are, and why in a line or two for a person.

    Args:
        warehouse: where they are.
        cluster: whose.
        hours: that somebody would fold or price again.
        restate_closed: a person asked that the new method restates closed periods, too.
    """
    known = warehouse.hours(cluster)
    states = zip(values(known, "hour_utc"), values(known, "state"), strict=True)
    days = {hour.date() for hour, state in states if state == PRUNED}
    pruned = {hour for hour in hours if hour.date() in days}
    lines = [f"{len(pruned):,} hours are pruned to the sums of their days and stay as they are"] if pruned else []
    told: dict[datetime, str] = {}
    if not restate_closed and has_files(warehouse.root, "closings"):
        told = dict(_closed_hours(warehouse, cluster, sorted(set(hours) - pruned)))
    if told:
        lines.append(
            f"{len(told):,} hours were closed ({'; '.join(sorted(set(told.values())))}) and stay so under method "
            f"{METHOD_VERSION}: --restate-closed changes them"
        )
    return pruned | set(told), lines


def _closed_hours(warehouse: Warehouse, cluster: str, hours: Collection[datetime]) -> Iterator[tuple[datetime, str]]:
    """Hours of closed periods whose rows another method made, each with that method and the period."""
    with open_views(warehouse.root, BY_ANOTHER_METHOD) as connection:
        named = {"cluster": cluster, "method": METHOD_VERSION}
        periods = [_Closed(*row) for row in connection.sql(BY_ANOTHER_METHOD, params=named).fetchall()]
    inside = {hour: one for one in periods for hour in hours if one.start_utc <= hour < one.end_utc}
    for day, of_day in groupby(sorted(inside), key=datetime.date):
        methods = _methods(warehouse, cluster, day)
        for hour in of_day:
            method = inside[hour].method if methods is None else methods.get(hour, METHOD_VERSION)
            if method != METHOD_VERSION:
                yield hour, f"period {inside[hour].period} by method {method}"


def _methods(warehouse: Warehouse, cluster: str, day: date) -> dict[datetime, str] | None:
    """Which method made each hour of a day; None where that cannot be read any more."""
    try:
        rows = warehouse.read_day("node_energy", cluster, day)
    except SchemaError:
        return None
    return dict(zip(values(rows, "hour_utc"), values(rows, "method_version"), strict=True))
