"""`carbon-etl export`: a table as one file, CSV for spreadsheets or parquet, in one order whoever writes it.

Rows come a day at a time, so that memory does not grow with the span. The file appears whole or not at all.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from pipeline.books.verification import stored_days
from pipeline.errors import ConfigError
from pipeline.sinks.answers import COMPUTED
from pipeline.sinks.partitions import store_errors
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import REPLACED_TABLES, conform
from pipeline.window import Window

Format: TypeAlias = Literal["csv", "parquet"]
Exported: TypeAlias = Literal["emissions", "emissions_daily", "node_energy", "processes"]
FORMULA = f"^([{COMPUTED}])"
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


class Writer(Protocol):
    """A file that takes rows."""

    def write_table(self, table: pa.Table) -> None:
        """Add rows."""
        ...


def export(
    warehouse: Warehouse, table: Exported, clusters: Sequence[str], window: Window | None, kind: Format, path: Path
) -> int:
    """Write the rows of a table, ordered by day, cluster and key; their number.

    Args:
        warehouse: where they are.
        table: its name.
        clusters: whose rows.
        window: of their hours, or of the midnights of `emissions_daily`; None for all.
        kind: `csv`: text that a spreadsheet would take for a formula begins with `'`, steps are joined by a space.
        path: the file, which is replaced.

    Raises:
        ConfigError: a file inside the warehouse.
        StoreFull, StoreUnwritable: an earlier file stands.
    """
    if path.absolute().resolve().is_relative_to(warehouse.root.resolve()):
        raise ConfigError(f"{path} lies in the warehouse, whose readers would take it for a table: export elsewhere")
    schema, count = REPLACED_TABLES[table], 0
    with store_errors(path), aside(path) as sink, _writer(sink, schema, kind) as writer:
        for rows in _days(warehouse, table, clusters, window):
            writer.write_table(_for_spreadsheets(rows) if kind == "csv" else rows)
            count += rows.num_rows
    return count


def _days(warehouse: Warehouse, table: Exported, clusters: Sequence[str], window: Window | None) -> Iterator[pa.Table]:
    columns = ", ".join(f'"{name}"' for name in REPLACED_TABLES[table].names)
    query = f"select {columns} from {table} where date = $day and cluster = $cluster order by all"
    days: set[date] = set()
    days.update(*(stored_days(warehouse, cluster, window) for cluster in clusters))
    for day in sorted(days):
        for cluster in sorted(clusters):
            if table == "emissions":  # its file is what the view shows, and in order
                rows = warehouse.read_day(table, cluster, day)
            else:
                with open_views(warehouse.root, query) as connection:  # anew: files change while others are exported
                    shown = connection.sql(query, params={"day": day, "cluster": cluster}).to_arrow_table()
                rows = conform(shown, REPLACED_TABLES[table])
            yield rows if window is None else _inside(rows, window)


def _inside(rows: pa.Table, window: Window) -> pa.Table:
    """The rows whose hour, or day, begins in the window."""
    moments, kind = rows.column(0), rows.schema.field(0).type
    return rows.filter(
        pc.and_(pc.greater_equal(moments, pa.scalar(window.start, kind)), pc.less(moments, pa.scalar(window.end, kind)))
    )


def _for_spreadsheets(rows: pa.Table) -> pa.Table:
    """Every column as numbers, or as text that no spreadsheet computes."""
    return pa.Table.from_arrays([_cells(column) for column in rows.columns], names=rows.column_names)


def _cells(column: Any) -> Any:  # noqa: ANN401 # a chunked array of any type
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format=MOMENT)
    if pa.types.is_list(column.type):
        texts = [None if steps is None else " ".join(map(repr, steps)) for steps in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])
    if pa.types.is_string(column.type):
        return pc.replace_substring_regex(column, pattern=FORMULA, replacement="'\\1")
    return column


@contextmanager
def aside(path: Path) -> Iterator[Any]:
    """A file that takes the place of `path` when all of it is written and synced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)  # of a killed process of the same number
    try:
        with os.fdopen(
            os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640), "wb"
        ) as sink:
            yield sink
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _writer(sink: Any, schema: pa.Schema, kind: Format) -> AbstractContextManager[Writer]:  # noqa: ANN401 # an open file
    if kind == "parquet":
        return pq.ParquetWriter(sink, schema, compression="zstd")
    return csv.CSVWriter(sink, _for_spreadsheets(schema.empty_table()).schema)
