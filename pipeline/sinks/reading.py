"""Rows of a table as the views show them: of a span, of a cluster, some columns; in the order of their key."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings import nearest
from pipeline.sinks import views
from pipeline.sinks.table_checks import KEYS
from pipeline.tables import EMISSIONS_DAILY_KEY, REPLACED_TABLES, conform
from pipeline.window import parse_time


def read_rows(
    root: Path,
    table: str,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    columns: Sequence[str] | None = None,
    cluster: str | None = None,
) -> pa.Table:
    """The rows of `emissions`, `emissions_daily`, `node_energy` or `processes`, whole columns as their schema has them.

    Args:
        root: the warehouse's folder.
        table: its name.
        start: hours or days that begin here or later; a moment with a zone, or ISO 8601.
        end: and before this one.
        columns: only these, in this order.
        cluster: only this one's.

    Raises:
        ConfigError: a time without a zone, a table or a column that does not exist.
    """
    if table not in REPLACED_TABLES:
        raise ConfigError(f"no rows of {table!r} are read by time{nearest(table, list(REPLACED_TABLES))}")
    schema = REPLACED_TABLES[table]
    names = schema.names if columns is None else list(columns)
    for name in names:
        if name not in schema.names:
            raise ConfigError(f"{table} has no column {name!r}{nearest(name, schema.names, '')}")
    moment = schema.names[0]
    conditions = ["true"]
    told: dict[str, object] = {}
    for name, sign, given in (("start", ">=", start), ("end", "<", end)):
        if given is not None:
            # The day is in the path: files of other days stay unopened.
            conditions.append(f"date {sign[0]}= utc_time(${name})::date")
            conditions.append(f"{moment} {sign} ${name}")
            told[name] = parse_time(given if isinstance(given, str) else given.isoformat(), name)
    if cluster is not None:
        conditions.append("cluster = $cluster")
        told["cluster"] = cluster
    listed, key = ", ".join(f'"{name}"' for name in names), (KEYS | {"emissions_daily": EMISSIONS_DAILY_KEY})[table]
    query = f"select {listed} from {table} where {' and '.join(conditions)} order by {', '.join(key)}"
    with views.open_views(root, query) as connection:
        rows = connection.sql(query, params=told).to_arrow_table()
    return conform(rows, pa.schema([schema.field(name) for name in names]))
