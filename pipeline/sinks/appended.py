"""Append-only tables: one immutable file a write, in the folder of the day of writing.

Of files that `compaction` has put together, the originals stay a day for readers that have listed them already.
`.superseded.json` in the warehouse names them, for those that list them anew.
"""

import json
import os
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.errors import SchemaError
from pipeline.sinks.partitions import (
    TEMPORARY,
    OnEffect,
    create_file,
    damage,
    make_folder,
    partition_glob,
    store_errors,
    write_then_rename,
)
from pipeline.tables import APPEND_ONLY_TABLES, conform

SUPERSEDED = ".superseded.json"


def append_file(root: Path, table: str, rows: pa.Table, run_id: str, day: date, on_effect: OnEffect) -> Path | None:
    """Write one immutable file of an append-only table; None, and no file, when there is no row.

    Raises:
        SchemaError: rows that are not the table's.
        StoreFull, StoreUnwritable: nothing was left behind.
    """
    rows = conform(rows, APPEND_ONLY_TABLES[table])
    if not rows.num_rows:
        return None
    folder = root / table / f"date={day.isoformat()}"
    with store_errors(folder):
        make_folder(folder)
        temporary, path = _claim(folder, run_id)
        write_then_rename(temporary, path, rows, on_effect, table)
    on_effect(table)
    return path


def read_appended(root: Path, table: str, since: date, condition: ds.Expression) -> pa.Table:
    """Rows of an append-only table that meet `condition`, from files written on `since` or later; doubles possible."""
    schema = APPEND_ONLY_TABLES[table]
    first = f"date={since.isoformat()}"
    gone = superseded(root)
    files = (path for path in root.glob(partition_glob(table)) if path.parent.name >= first)
    paths = sorted(str(path) for path in files if str(path.relative_to(root)) not in gone)
    if not paths:
        return schema.empty_table()
    with store_errors(root / table), damage(root / table):
        return ds.dataset(paths, schema=schema, format="parquet").to_table(filter=condition)


def superseded(root: Path) -> dict[str, datetime]:
    """Files whose rows a compacted file holds too, by path below the root: since when.

    Raises:
        SchemaError: the list is damaged.
        StoreUnwritable: it cannot be read.
    """
    path = root / SUPERSEDED
    with store_errors(path):
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
    try:
        return {name: datetime.fromisoformat(since) for name, since in json.loads(text).items()}
    except ValueError as error:
        raise SchemaError(f"{path} is damaged ({error}): delete it, the next run writes it again") from error


def _claim(folder: Path, run_id: str) -> tuple[Path, Path]:
    """A temporary name made exclusively and its final name, which no file has.

    The final name is looked for after the claim: a writer that shares the run_id holds the temporary name until its
    file stands, so no two writers rename to one name.
    """
    number = 0
    while True:
        path = folder / f"{run_id}-{number}.parquet"
        temporary = path.with_name(f".{path.name}{TEMPORARY}")
        with suppress(FileExistsError):
            os.close(create_file(temporary))
            if not path.exists():
                return temporary, path
            temporary.unlink()
        number += 1
