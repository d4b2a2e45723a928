"""What of a declaration has to be stored: the whole of what holds for a cluster, when any of it differs."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pyarrow as pa


def restated(told: pa.Table, stored: pa.Table, clusters: Iterable[str], fetched_utc: datetime) -> pa.Table:
    """The rows to add: all of a cluster whose declaration is another than the stored one.

    A declaration that is withdrawn is one row with nothing but its cluster and time.

    Args:
        told: what holds now, columns `cluster`, `fetched_utc` and others.
        stored: the newest stored declaration of each cluster, same schema.
        clusters: whose declarations these are; those of others stay.
        fetched_utc: when it was read.
    """
    rows: list[dict[str, Any]] = []
    for cluster in clusters:
        now = [row for row in told.to_pylist() if row["cluster"] == cluster]
        before = [row for row in stored.to_pylist() if row["cluster"] == cluster]
        withdrawn = {**dict.fromkeys(told.schema.names), "cluster": cluster, "fetched_utc": fetched_utc}
        wanted = now or ([withdrawn] if before else [])
        if _contents(wanted) != _contents(before):
            rows += wanted
    return pa.Table.from_pylist(rows, told.schema)


def _contents(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(repr([value for name, value in row.items() if name != "fetched_utc"]) for row in rows)
