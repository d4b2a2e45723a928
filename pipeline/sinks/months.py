"""The days of a month in a file a table: what views read instead of a file a day, wherever it is what those hold.

Of a cluster, `node_energy` and `emissions_daily` lie in `.months/cluster=<c>/<day>-<state>/`, an append-only table in
`.months/table=<t>/<day>-<state>/`, by the day of writing: all days of the month up to that one, which is the last or,
while the month goes on, some days ago. The state tells what the days' files were when it was made: which, and of each
the inode, size and time of change. Views look at the files anew. Where they are something else by now (a commit, a
repair, a backup put back), there is no folder of that name and the days are read: nobody has to say that a day changed.
A new folder is made when the days have been left alone for an hour.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipeline.errors import SchemaError
from pipeline.sinks.appended import superseded
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DIGEST_KEY, digest
from pipeline.sinks.footers import entry
from pipeline.sinks.partitions import (
    TEMPORARY,
    OnEffect,
    check_version,
    damage,
    make_folder,
    read_partition,
    store_errors,
    sync_folder,
    write_then_rename,
)
from pipeline.tables import APPEND_ONLY_TABLES, partition_column

FOLDER = ".months"
TABLES_OF_MONTHS = ("node_energy", "emissions_daily")  # of the other replaced tables a day is large
SETTLED = timedelta(days=3)  # figures of the last days still come in
RESTED = timedelta(hours=1)  # days that are being filled are not put together again and again
MOST_BYTES = 32 << 20  # of a table's month: days of a megabyte cost more to read than to open
GROUP_ROWS = 100_000
STATE_LETTERS = 16


class Month(NamedTuple):
    """The files of one month of a place: `cluster=<c>`, or `table=<t>` of an append-only one.

    Attributes:
        place: which.
        name: YYYY-MM.
        files: path below the root to what the file system says.
    """

    place: str
    name: str
    files: Mapping[str, os.stat_result]

    @property
    def tables(self) -> tuple[str, ...]:
        """Those that are put together."""
        kind, _, name = self.place.partition("=")
        return TABLES_OF_MONTHS if kind == "cluster" else (name,)

    def paths(self, table: str) -> list[str]:
        """The files of one of its tables, in the order of their days."""
        return sorted(path for path in self.files if path.startswith(f"{table}/"))

    def split(self, day: str) -> tuple["Month", "Month"]:
        """The files up to a day, YYYY-MM-DD, and those after it."""
        sides: tuple[dict[str, os.stat_result], ...] = {}, {}
        for path, file in self.files.items():
            sides[day_of(path) > day][path] = file
        first, second = (self._replace(files=files) for files in sides)
        return first, second

    def folder(self, root: Path) -> Path:
        """Where what these files hold is in a file a table, if it is."""
        paths = sorted(self.files)
        files = ((path, self.files[path]) for path in paths)
        told = (f"{path} {file.st_ino} {file.st_size} {file.st_mtime_ns}" for path, file in files)
        state = sha256("\n".join(told).encode()).hexdigest()[:STATE_LETTERS]
        return root / FOLDER / self.place / f"{max(map(day_of, paths))}-{state}"

    def is_whole(self, folder: Path) -> bool:
        """Whether all of its files are there: one whose state was another for days may have lost some."""
        return all((folder / f"{table}.parquet").exists() for table in self.tables)


def place_of(table: str) -> str:
    """Of an append-only table."""
    return f"table={table}"


def clusters(root: Path) -> list[str]:
    """The places of clusters."""
    return _names(root / "emissions", "cluster")


def months_of(root: Path, place: str) -> list[Month]:
    """The months of a place in their order."""
    kind, _, name = place.partition("=")
    found: dict[str, dict[str, os.stat_result]] = defaultdict(dict)
    for path, file in _of_cluster(root, place) if kind == "cluster" else _of_table(root, name):
        found[day_of(path)[:7]][path] = file
    return [Month(place, month, files) for month, files in found.items()]


def standing(root: Path, month: Month) -> tuple[Path | None, Month]:
    """The folder that holds what the first days of a month hold now, if there is one, and the other days."""
    for folder in sorted((root / FOLDER / month.place).glob(f"{month.name}-*"), reverse=True):
        first, others = month.split(folder.name[:10])
        if first.files and first.folder(root) == folder and first.is_whole(folder):
            return folder, others
    return None, month


def day_of(path: str) -> str:
    """YYYY-MM-DD."""
    return path.rpartition("/date=")[2][:10]


def _of_cluster(root: Path, place: str) -> Iterator[tuple[str, os.stat_result]]:
    """(path below the root, what the file system says)."""
    for day in _names(root / "emissions" / place, "date"):
        for table in ("emissions", *TABLES_OF_MONTHS):
            path = f"{table}/{place}/{day}/{table}.parquet"
            with suppress(FileNotFoundError):
                yield path, os.stat(f"{root}/{path}")  # noqa: PTH116 # thousands


def _of_table(root: Path, table: str) -> Iterator[tuple[str, os.stat_result]]:
    """The same, of files that no compacted one holds."""
    gone = superseded(root)
    for day in _names(root / table, "date"):
        with suppress(FileNotFoundError):  # removed meanwhile
            for found in os.scandir(f"{root}/{table}/{day}"):
                path = f"{table}/{day}/{found.name}"
                if found.name.endswith(".parquet") and path not in gone:
                    with suppress(FileNotFoundError):
                        yield path, found.stat()


def put_together(root: Path, now: datetime, on_effect: OnEffect) -> tuple[list[str], list[SchemaError]]:
    """Make the folders that are missing; by one process at a time.

    Returns:
        The files, relative to the root, that no view made from now on reads; and why months are left as they are: a
        file of a day is damaged or of a newer release.

    Raises:
        StoreFull, StoreUnwritable: what was done stands, and the next call goes on.
    """
    for leftover in root.glob(f"{FOLDER}/*=*/.*{TEMPORARY}"):  # of a dead process: this one holds the lock
        shutil.rmtree(leftover)
    current, refused, rested = set(), list[SchemaError](), (now - RESTED).timestamp()
    for place in (*clusters(root), *map(place_of, APPEND_ONLY_TABLES)):
        for month in months_of(root, place):
            first, _ = month.split(f"{now - SETTLED:%Y-%m-%d}")
            if first.files and all(file.st_mtime <= rested for file in first.files.values()):
                try:
                    _make(root, first, first.folder(root), on_effect)
                except SchemaError as error:
                    refused.append(error)
            current.add(standing(root, month)[0])
    others = [folder for folder in root.glob(f"{FOLDER}/*=*/*") if folder not in current]
    for folder in others:
        with suppress(OSError):  # files stay in it until they are removed as superseded
            folder.rmdir()
    return [str(path.relative_to(root)) for folder in others for path in folder.glob("*.parquet")], refused


def _names(folder: Path, key: str) -> list[str]:
    """The clusters of a table, or the days of a cluster or a table, as their folders are called."""
    try:
        return sorted(found.name for found in os.scandir(folder) if found.name.startswith(f"{key}=") and found.is_dir())
    except FileNotFoundError:
        return []


def _make(root: Path, month: Month, folder: Path, on_effect: OnEffect) -> None:
    """Write the folder aside and rename it, unless nothing is gained, or a day is in doubt or changed meanwhile."""
    if month.is_whole(folder) or not _pays(month) or days_in_doubt(root, month):
        return
    temporary = folder.with_name(f".{folder.name}{TEMPORARY}")
    with store_errors(folder):
        make_folder(temporary)
        for table in month.tables:
            path = temporary / f"{table}.parquet"
            groups = _groups(_rows(root, table, day) for day in month.paths(table))
            write_then_rename(path.with_name(f".{path.name}"), path, groups, on_effect, f"{table}.month")
        now = [one.split(folder.name[:10])[0] for one in months_of(root, month.place) if one.name == month.name]
        if not any(one.files and one.folder(root) == folder for one in now) or days_in_doubt(root, month):
            shutil.rmtree(temporary)
            return
        shutil.rmtree(folder, ignore_errors=True)  # what is left of one that is not whole
        temporary.rename(folder)
        sync_folder(folder.parent)
    on_effect("month")


def _pays(month: Month) -> bool:
    """Whether it is several files of each table, none of them large."""
    sizes = [[month.files[path].st_size for path in month.paths(table)] for table in month.tables]
    return all(len(of_table) > 1 and sum(of_table) <= MOST_BYTES for of_table in sizes)


def days_in_doubt(root: Path, month: Month) -> set[str]:
    """The days of a cluster whose tables do not carry the digest of the commits in the footer of their emissions."""
    if month.tables != TABLES_OF_MONTHS:
        return set()
    found = set()
    for day in {day_of(path) for path in month.files}:
        below = f"{month.place}/date={day}"
        footer = entry(f"{root}/emissions/{below}/emissions.parquet", FOOTER_KEY)
        state = None if footer is None else digest(footer.decode(errors="replace")).encode()
        paths = (f"{root}/{table}/{below}/{table}.parquet" for table in TABLES_OF_MONTHS)
        if state is None or any(entry(path, DIGEST_KEY) != state for path in paths):
            found.add(day)
    return found


def _groups(days: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Days together, as many as a group of rows may have: unpacked, rows may take a hundred times their bytes."""
    held = list[pa.Table]()
    for rows in days:
        held.append(rows)
        if sum(part.num_rows for part in held) >= GROUP_ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


def _rows(root: Path, table: str, below: str) -> pa.Table:
    """The rows of a file with the column that its path tells, as the view has them."""
    day, path = date.fromisoformat(day_of(below)), root / below
    if table in TABLES_OF_MONTHS:
        rows = read_partition(root, table, below.split("/")[1].removeprefix("cluster="), day)
    else:
        with damage(path):
            check_version(path, pq.read_schema(path))
            rows = ds.dataset(path, schema=APPEND_ONLY_TABLES[table], format="parquet").to_table()
    return rows.append_column(partition_column(table), pa.repeat(pa.scalar(day), rows.num_rows))
