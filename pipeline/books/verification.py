"""`carbon-etl verify`: derives again what the warehouse says of itself, and tells what is off in a line each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.books.faults import Fault, StoredDay
from pipeline.equality import differing_hours
from pipeline.errors import SchemaError
from pipeline.job import LOCK_SECONDS
from pipeline.sinks.commits import FOOTER_KEY, parse_footer
from pipeline.sinks.daily import DIGEST_KEY, daily_rows, digest
from pipeline.sinks.partitions import damage, partition_glob, partition_path, read_footer, read_partition
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import APPEND_ONLY_TABLES, COMMITTED_TABLES, EMISSIONS_DAILY_KEY
from pipeline.window import HOUR, Clock, Window

PRUNED_KEY = "carbon_etl.pruned"  # in the footer of emissions: when a day's rows gave way to its sums


@dataclass
class Verified:
    """What was looked at, and what is off.

    Attributes:
        days: (cluster, day) partitions.
        files: of append-only tables.
        faults: everything that is off; with table `hours` unreadable, that alone.
    """

    days: int = 0
    files: int = 0
    faults: list[Fault] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield from (fault.line() for fault in self.faults)
        found = f"{len(self.faults):,} faults" if self.faults else "nothing is off"
        yield f"{self.days:,} days and {self.files:,} files of append-only tables verified: {found}"


def verify(warehouse: Warehouse, clusters: Sequence[str], window: Window | None, clock: Clock) -> Verified:
    """Verify the stored days of the clusters, whole UTC days, and every file of the append-only tables.

    Args:
        warehouse: what is verified; nothing in it is changed.
        clusters: whose days.
        window: days that it touches; None for all.
        clock: for waiting on the lock of a day that a run is writing.

    Raises:
        StoreBusy: a run held a day too long.
    """
    done = Verified()
    for table in APPEND_ONLY_TABLES:
        paths = sorted(warehouse.root.glob(partition_glob(table)))
        faults = [fault for path in paths for fault in _file_faults(table, path)]
        done.files += len(paths)
        done.faults += faults
        if table == "hours" and faults:  # without it nothing can be told of days
            return done
    for cluster in clusters:
        for day in stored_days(warehouse, cluster, window):
            done.days += 1
            with warehouse.partition_lock(cluster, day, clock, LOCK_SECONDS):
                done.faults += day_faults(warehouse, cluster, day)
    return done


def stored_days(warehouse: Warehouse, cluster: str, window: Window | None) -> list[date]:
    """Days of which any table has a file, or `hours` says that there are figures."""
    folders = (path for table in COMMITTED_TABLES for path in warehouse.root.glob(f"{table}/cluster={cluster}/date=*"))
    noted = (row["hour_utc"].date() for row in warehouse.hours(cluster).to_pylist() if row["revision"] is not None)
    days = {*(date.fromisoformat(path.name.removeprefix("date=")) for path in folders), *noted}
    return sorted(day for day in days if window is None or _touches(window, day))


def day_faults(warehouse: Warehouse, cluster: str, day: date) -> list[Fault]:
    """What is off in one day, under its lock; of a day with a file that cannot be read nothing else is told."""
    noted = {row["hour_utc"]: row for row in warehouse.hours(cluster, of_day(day)).to_pylist()}
    tables: dict[str, pa.Table] = {}
    unreadable = []
    for name in COMMITTED_TABLES:
        try:
            tables[name] = _read(warehouse.root, name, cluster, day)
        except SchemaError as error:
            unreadable.append(Fault(cluster, day, _damage(error), "fold", frozenset(noted), is_unreadable=True))
    if unreadable:
        return unreadable
    path = partition_path(warehouse.root, "emissions", cluster, day)
    footer, is_pruned = read_footer(path, FOOTER_KEY), read_footer(path, PRUNED_KEY) is not None
    stored = StoredDay(cluster, day, tables, parse_footer(footer), noted)
    faults = list(stored.pruned_faults() if is_pruned else stored.faults())
    if footer is not None and not faults:  # sums of rows that are off say nothing
        uncompared = ("hours", "unpriced_hours") if is_pruned else ()
        found = _daily_faults(warehouse.root, stored, footer, uncompared)
        faults += (Fault(cluster, day, what, "sum") for what in found)
    return faults


def _daily_faults(root: Path, stored: StoredDay, footer: str, uncompared: Sequence[str]) -> Iterator[str]:
    """The stored sums of a day are of its newest commit, and are the sums of its rows."""
    try:
        held = _read(root, "emissions_daily", stored.cluster, stored.day)
    except SchemaError as error:
        yield _damage(error)
        return
    expected = daily_rows(stored.tables["emissions"], digest(footer))
    if read_footer(partition_path(root, "emissions_daily", stored.cluster, stored.day), DIGEST_KEY) != digest(footer):
        yield "emissions_daily is not of the day's newest commit"
    elif (held.num_rows, expected.num_rows) != (0, 0):
        left, right = (rows.rename_columns({"date_utc": "hour_utc"}) for rows in (held, expected))
        if differing_hours(left, right, ["hour_utc", *EMISSIONS_DAILY_KEY[1:]], uncompared):
            yield "emissions_daily is not the sum of the day's emissions"


def _read(root: Path, table: str, cluster: str, day: date) -> pa.Table:
    """A partition whose every page has its checksum."""
    path = partition_path(root, table, cluster, day)
    if path.exists():
        _check_pages(path)
    return read_partition(root, table, cluster, day)


def _file_faults(table: str, path: Path) -> Iterator[Fault]:
    """A file of an append-only table is whole, and has no column that its table does not know."""
    try:
        unknown = sorted(set(_check_pages(path)) - set(APPEND_ONLY_TABLES[table].names))
    except FileNotFoundError:  # compacted meanwhile: its rows are in another file
        return
    except SchemaError as error:
        yield Fault("", None, _damage(error), "backup", is_unreadable=True)
        return
    if unknown:
        yield Fault("", None, f"{path} has columns that {table} does not know: {', '.join(unknown)}", "backup")


def _check_pages(path: Path) -> list[str]:
    """Read a file with the checksums of its pages, where it was written with them; gives its columns.

    Raises:
        SchemaError: a page, or what tells of them, is damaged.
    """
    with damage(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            file.read_row_group(group)
        return file.schema_arrow.names


def _damage(error: SchemaError) -> str:
    """What is wrong with a file, without what its reader is told to do."""
    return str(error).partition(": restore it")[0]


def of_day(day: date) -> Window:
    """All of a UTC day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Window(midnight, midnight + 24 * HOUR)


def _touches(window: Window, day: date) -> bool:
    whole = of_day(day)
    return whole.start < window.end and window.start < whole.end
