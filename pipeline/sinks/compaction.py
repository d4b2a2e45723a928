"""Compaction of append-only tables: the many small files of a day that is over become one, and no reader notices.

Three effects, each harmless to repeat and to stop after: `compacted.parquet` is written beside its originals (views
show a row once that stands twice); the originals are listed as superseded, and views made from then on leave them
unopened; a day later, when no reader can have listed them any more, they are removed. `months` are put together at the
same time, and removed in the same way.
"""

import json
import os
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sinks.appended import SUPERSEDED, superseded
from pipeline.sinks.months import FOLDER, put_together
from pipeline.sinks.partitions import (
    TEMPORARY,
    OnEffect,
    check_version,
    create_file,
    damage,
    read_footer,
    store_errors,
    sync_folder,
    write_then_rename,
)
from pipeline.tables import APPEND_ONLY_TABLES, conform

COMPACTED = "compacted.parquet"
SOURCES_KEY = "carbon_etl.compacted"
KEPT = timedelta(days=1)  # how long a query, or a session with views of before, may still open an original


def compact(root: Path, now: datetime, on_effect: OnEffect) -> int:
    """Compact every day before today's, and remove originals that were superseded a day ago; by one process at a time.

    A day of one file is left as it is. A file that comes late into a compacted day is taken in by the next call.

    Returns:
        How many days of tables were compacted.

    Raises:
        SchemaError: a file is damaged or of a newer release; its day stays as it is.
        StoreFull, StoreUnwritable: what was done stands, and the next call goes on.
    """
    gone = superseded(root)
    done = 0
    for table, folder, names in _days_over(root, now.date()):
        held = _sources(folder)
        fresh = sorted(names - {COMPACTED, *held})
        if fresh:
            _put_together(table, folder, held, fresh, on_effect)
            done += 1
        paths = (str((folder / name).relative_to(root)) for name in names - {COMPACTED})
        gone |= {path: now for path in paths if path not in gone}
    unread, refused = put_together(root, now, on_effect)
    gone = {name: since for name, since in gone.items() if name in unread or not name.startswith(f"{FOLDER}/")}
    gone = dict.fromkeys(unread, now) | gone
    _list(root, gone, on_effect)
    _remove(root, gone, now, on_effect)
    if refused:
        raise refused[0]
    return done


def _days_over(root: Path, today: date) -> Iterator[tuple[str, Path, set[str]]]:
    """Past days of append-only tables in several files; into such only a long run writes any more."""
    last = f"date={today.isoformat()}"
    for table in APPEND_ONLY_TABLES:
        for folder in sorted((root / table).glob("date=*")):
            names = {path.name for path in folder.glob("[!.]*.parquet")} if folder.name < last else set()
            if len(names) > 1:
                yield table, folder, names


def _sources(folder: Path) -> set[str]:
    """The names of the files whose rows the compacted file of a day holds."""
    return set(json.loads(read_footer(folder / COMPACTED, SOURCES_KEY) or "[]"))


def _put_together(table: str, folder: Path, held: set[str], fresh: list[str], on_effect: OnEffect) -> None:
    names = [*([COMPACTED] if held else []), *fresh]
    rows = pa.concat_tables([_rows(table, folder / name) for name in names])
    rows = rows.replace_schema_metadata({SOURCES_KEY: json.dumps(sorted({*held, *fresh}))})
    temporary = folder / f".{COMPACTED}{TEMPORARY}"
    with store_errors(folder):
        temporary.unlink(missing_ok=True)  # of a dead process: this one holds the lock
        write_then_rename(temporary, folder / COMPACTED, rows, on_effect, f"{table}.compacted")
    on_effect(f"{table}.compacted")


def _rows(table: str, path: Path) -> pa.Table:
    """The rows of a file with all columns of today's schema."""
    schema = APPEND_ONLY_TABLES[table]
    with store_errors(path), path.open("rb") as source, damage(path):
        rows = pq.ParquetFile(source).read()
    check_version(path, rows.schema)
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return conform(rows.replace_schema_metadata(None), schema)


def _list(root: Path, gone: dict[str, datetime], on_effect: OnEffect) -> None:
    """Write which files are superseded since when, if that changed."""
    if gone == superseded(root):
        return
    path = root / SUPERSEDED
    temporary = path.with_name(f"{SUPERSEDED}{TEMPORARY}")
    with store_errors(path):
        temporary.unlink(missing_ok=True)
        with os.fdopen(create_file(temporary), "w", encoding="utf-8") as sink:
            json.dump({name: since.isoformat() for name, since in sorted(gone.items())}, sink)
            sink.flush()
            os.fsync(sink.fileno())
        temporary.replace(path)
        sync_folder(root)
    on_effect("superseded")


def _remove(root: Path, gone: dict[str, datetime], now: datetime, on_effect: OnEffect) -> None:
    """Remove what was superseded a day ago, and then its names from the list."""
    due = [name for name, since in gone.items() if since <= now - KEPT]
    for name in due:
        with store_errors(root / name):
            (root / name).unlink(missing_ok=True)
        on_effect("superseded.removed")
    _list(root, {name: since for name, since in gone.items() if name not in set(due)}, on_effect)
