"""`carbon-etl close --show`: what was closed, what it comes to now, and why."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse

QUERY = """
    from restatements where list_contains($clusters, cluster) and ($period is null or period = $period)
    order by start_utc, end_utc, cluster, abs(difference_gco2e) desc, namespace"""


def restatements(warehouse: Warehouse, clusters: Sequence[str], period: str | None) -> list[dict[str, Any]]:
    """Rows of the view `restatements`: one a namespace of each closed period, the earliest first.

    Args:
        warehouse: where the closings are.
        clusters: whose.
        period: only the one of that name; None for all.
    """
    with open_views(warehouse.root, QUERY) as connection:
        named = {"clusters": list(clusters), "period": period}
        return connection.sql(QUERY, params=named).to_arrow_table().to_pylist()


def lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """For people: a line a closed period with its totals, then one for each namespace that changed."""
    if not rows:
        yield "no period is closed"
    for (period, cluster), group in groupby(rows, key=lambda row: (row["period"], row["cluster"])):
        held = list(group)
        old, new = (_total(held, name) for name in ("closed_emissions_gco2e", "emissions_gco2e"))
        changed = [row for row in held if row["difference_joules"] or row["difference_gco2e"]]
        now = f"{new:,.1f} now ({len(changed)} of {len(held)} namespaces changed)" if changed else "unchanged"
        yield f"{cluster} {period}, closed {held[0]['closed_utc']:%FT%H:%MZ}: {old:,.1f} gCO2e, {now}"
        yield from map(_change, changed)


def _change(row: dict[str, Any]) -> str:
    ratio = "" if row["difference_ratio"] is None else f" ({row['difference_ratio']:+.2%})"
    flags = f"{', material' if row['is_material'] else ''}: {row['causes'] or 'cause not known'}"
    return (
        f"  {row['namespace']}: {row['difference_gco2e']:+,.1f} gCO2e{ratio}, {row['difference_joules']:+,.0f} J{flags}"
    )


def _total(rows: Sequence[dict[str, Any]], name: str) -> float:
    return math.fsum(row[name] for row in rows if row[name] is not None)
