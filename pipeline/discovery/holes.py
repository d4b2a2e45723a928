"""Holes in what is stored of a cluster: node-hours metered less than their node existed, and how to fill them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pipeline.checks import HOLE_RATIO
from pipeline.discovery.findings import NOTE, OK, Finding, some
from pipeline.plan import YOUNG
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site
from pipeline.tables import values
from pipeline.window import HOUR, floor_hour, to_ms

LOOKED_BACK = timedelta(days=30)
QUERY = f"""
    select hour_utc, node from node_energy
    where cluster = $cluster and hour_utc >= $since and expected_ratio - coverage_ratio > {HOLE_RATIO}
    union
    select hour_utc, node from silent_nodes where cluster = $cluster and hour_utc >= $since"""


def holes(site: Site, warehouse: Warehouse, now: datetime) -> Iterator[Finding]:
    """One finding about the holes of the last 30 days: none where nothing is stored of them.

    Raises:
        SourceError: a shard does not answer.
    """
    since = floor_hour(now - LOOKED_BACK)
    if not any(hour >= since for hour in values(warehouse.hours(site.name), "hour_utc")):
        return
    with open_views(warehouse.root, QUERY) as connection:
        found = connection.sql(QUERY, params={"cluster": site.name, "since": since}).fetchall()
    if not found:
        yield Finding(OK, site.name, "no holes in what is stored of the last 30 days")
        return
    hours, nodes = sorted({hour for hour, _ in found}), {node for _, node in found}
    yield Finding(
        NOTE,
        site.name,
        f"{len(found):,} node-hours of the last 30 days have holes ({some(nodes)}; {hours[0]:%FT%H:%MZ} to "
        f"{hours[-1]:%FT%H:%MZ}; `carbon-etl sql queries/holes.sql`){_remedy(site, hours, now)}",
    )


def _remedy(site: Site, hours: list[datetime], now: datetime) -> str:
    """What a person can do about those that no run folds again by itself, while raw samples last."""
    oldest_ms = site.oldest_ms(now)
    old = [hour for hour in hours if now - hour - HOUR > YOUNG and oldest_ms is not None and to_ms(hour) >= oldest_ms]
    if not old:
        return ""
    span = f"--start {old[0]:%FT%H:%MZ} --end {old[-1] + HOUR:%FT%H:%MZ}"
    return f"; if samples came since, `carbon-etl backfill {span}` fills them"
