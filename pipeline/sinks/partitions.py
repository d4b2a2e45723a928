"""Parquet files that appear whole or not at all: where they lie, how they are written, what a crash leaves.

A file is written under a dot name that no reader's glob matches, synced, and renamed; a failed write removes what it
began, so readers see the old file or the new one. `cluster` of the replaced tables and `date` live in the path only:
stored twice, pandas cannot open the folder.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SchemaError, StoreFull, StoreUnwritable
from pipeline.tables import APPEND_ONLY_TABLES, NUMBER, REPLACED_TABLES, SCHEMA_VERSION, conform

OnEffect = Callable[[str], None]
TEMPORARY = ".tmp"
VERSION_KEY = "carbon_etl.schema_version"
ABANDONED_AFTER = timedelta(hours=1)  # no table takes that long to write: older ones belong to dead processes
ROW_GROUP_ROWS = 1 << 20  # mostly a whole day: what opening a file costs grows with its groups
AMOUNTS = ("_joules", "energy_kwh", "_gco2e")  # how names of columns end in which hardly a number comes twice
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
UNWRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOENT, errno.ELOOP,
}  # fmt: skip
MAKE_ROOM = "free space or move the warehouse, then run again"


def nothing(_effect: str) -> None:
    """The `on_effect` of everyday use."""


def partition_path(root: Path, table: str, cluster: str, day: date) -> Path:
    """The one file of a replaced table's partition."""
    return root / table / f"cluster={cluster}" / f"date={day.isoformat()}" / f"{table}.parquet"


def partition_glob(table: str) -> str:
    """Every data file of a table, relative to the root; temporary names do not match."""
    return f"{table}/cluster=*/date=*/{table}.parquet" if table in REPLACED_TABLES else f"{table}/date=*/*.parquet"


def has_files(root: Path, table: str) -> bool:
    """Whether a table has any file yet."""
    return next(root.glob(partition_glob(table)), None) is not None


def read_partition(root: Path, table: str, cluster: str, day: date) -> pa.Table:
    """The stored rows of one partition with their `cluster`; columns younger than the file are null; empty if absent.

    Raises:
        SchemaError: the file is damaged or holds what its table does not know.
    """
    schema, path = REPLACED_TABLES[table], partition_path(root, table, cluster, day)
    with _opened(path) as source:
        if source is None:
            return schema.empty_table()
        rows = pq.ParquetFile(source).read()
    check_version(path, rows.schema)
    rows = rows.replace_schema_metadata(None).append_column("cluster", pa.array([cluster] * rows.num_rows, pa.string()))
    for field in schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return conform(rows, schema)


def check_version(path: Path, schema: pa.Schema) -> None:
    """Refuse a file of a newer release: written again it would lose columns.

    Raises:
        SchemaError: naming both versions.
    """
    version = int((schema.metadata or {}).get(VERSION_KEY.encode(), b"1"))
    if version > SCHEMA_VERSION:
        raise SchemaError(
            f"{path} is of schema version {version}, this carbon-etl knows {SCHEMA_VERSION}: install the newer release"
        )


def read_footer(path: Path, key: str) -> str | None:
    """One entry of a parquet file's key-value metadata; None without the file or the entry."""
    with _opened(path) as source:
        value = None if source is None else (pq.read_metadata(source).metadata or {}).get(key.encode())
    return None if value is None else value.decode()


def read_columns(path: Path, names: Sequence[str]) -> pa.Table | None:
    """Some columns of a parquet file; None without the file.

    Raises:
        SchemaError: the file is damaged.
    """
    with _opened(path) as source:
        return None if source is None else pq.ParquetFile(source).read(columns=list(names))


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    """A file to be read; None where there is none."""
    with store_errors(path):
        try:
            source = path.open("rb")
        except FileNotFoundError:
            yield None
            return
        with source, damage(path):
            yield source


def replace_partition(root: Path, table: str, cluster: str, day: date, rows: pa.Table, on_effect: OnEffect) -> None:
    """Write the whole partition anew; `rows` sorted, with `cluster`, its schema metadata going into the footer.

    Raises:
        StoreFull, StoreUnwritable: nothing changed and nothing was left behind.
    """
    path = partition_path(root, table, cluster, day)
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with store_errors(path):
        make_folder(path.parent)
        # The partition's lock is held, so a file of that name can only be a dead process's.
        temporary.unlink(missing_ok=True)
        write_then_rename(temporary, path, rows.drop_columns(["cluster"]), on_effect, table)
    on_effect(table)


def remove_leftovers(root: Path, cluster: str, day: date, now: datetime) -> list[Path]:
    """Delete temporary files of dead processes: this partition's (it is locked), and old ones of the other tables."""
    leftovers = [
        path
        for table in REPLACED_TABLES
        for path in partition_path(root, table, cluster, day).parent.glob(f".*{TEMPORARY}")
    ]
    deadline = (now - ABANDONED_AFTER).timestamp()
    for table in APPEND_ONLY_TABLES:
        for path in root.glob(f"{table}/date=*/.*{TEMPORARY}"):
            with suppress(FileNotFoundError):  # its writer has just renamed it
                if path.stat().st_mtime < deadline:
                    leftovers.append(path)
    with store_errors(root):
        for path in leftovers:
            path.unlink(missing_ok=True)
    return leftovers


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about a write into what the user can do about it."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in FULL:
            raise StoreFull(f"cannot write {path}: {reason}; {MAKE_ROOM}") from error
        if error.errno in UNWRITABLE:
            raise StoreUnwritable(
                f"cannot use {path}: {reason}; make it writable for this user or set warehouse.path"
            ) from error
        raise


@contextmanager
def damage(path: Path) -> Iterator[None]:
    """Turn what Arrow says of a file it cannot understand into one line."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise SchemaError(f"{path} is damaged ({error}): restore it, or delete it and backfill its day") from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, durably: a synced file in an unsynced folder is lost with it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o750, exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create_file(path: Path) -> int:
    """A descriptor of a new file; FileExistsError where there is one."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    """How columns lie in a file: amounts have no use for a dictionary and hardly shrink, so they just unpack fast."""
    amounts = {field.name for field in schema if field.type == NUMBER and field.name.endswith(AMOUNTS)}
    return {
        "compression": {name: "snappy" if name in amounts else "zstd" for name in schema.names},
        "use_dictionary": [name for name in schema.names if name not in amounts],
    }


def write_then_rename(
    temporary: Path, path: Path, rows: pa.Table | Iterator[pa.Table], on_effect: OnEffect, effect: str
) -> None:
    """Write rows under a name that no reader looks at, with the schema's version in the footer; sync, rename.

    They may come one group after the other: at least one, and all of one schema.
    """
    groups = iter([rows]) if isinstance(rows, pa.Table) else rows
    first = next(groups)
    known: dict[bytes, bytes] = first.schema.metadata or {}
    schema = first.schema.with_metadata(known | {VERSION_KEY.encode(): str(SCHEMA_VERSION).encode()})
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640), "wb") as sink:
            with pq.ParquetWriter(sink, schema, write_page_checksum=True, **_encoding(schema)) as writer:
                for group in chain([first], groups):
                    writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            sink.flush()
            os.fsync(sink.fileno())
        on_effect(f"{effect}.temporary")
        temporary.replace(path)
    except BaseException:
        # Not after a rename: the name may by then be the claim of another writer of this run.
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
