"""Months that are over, in a file a table: what views read instead of a file a day, wherever it is what those hold.

Such a month lies in `.months/cluster=<c>/<YYYY-MM>-<state>/`, whose name tells what its days' files were when it was
made: which, and of each the inode, size and time of change. Views look at the files anew. Where they are something else
by now (a commit, a repair, a backup put back), there is no folder of that name and the days are read: nobody has to say
that a day changed. A new folder is made when the month has been left alone for an hour.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.daily import DIGEST_KEY, digest
from pipeline.sinks.partitions import (
    TEMPORARY,
    OnEffect,
    make_folder,
    partition_path,
    read_footer,
    read_partition,
    store_errors,
    sync_folder,
    write_then_rename,
)

FOLDER = ".months"
TABLES_OF_MONTHS = ("node_energy", "emissions_daily")  # of the others a day is large
RESTED = timedelta(hours=1)  # a month that is being filled is not put together again and again
MOST_BYTES = 32 << 20  # of a table's month: days of a megabyte cost more to read than to open
STATE_LETTERS = 16

Month = tuple[str, str]  # cluster and YYYY-MM
Standing = Mapping[Month, Path]
NO_MONTHS: Standing = MappingProxyType({})


def standing(root: Path) -> Standing:
    """The folders that hold what the days of their months hold now."""
    found = {}
    for name in _names(root / FOLDER):
        for month, (state, _) in _states(root, name.removeprefix("cluster=")).items():
            folder = _folder(root, month, state)
            if _is_whole(folder):
                found[month] = folder
    return found


def loose(root: Path, table: str, months: Standing) -> list[str]:
    """Patterns, relative to the root, of a replaced table's files that lie in none of `months`."""
    found = {
        f"{table}/{cluster}/{day[:12]}-*/{table}.parquet"
        for cluster in _names(root / table)
        for day in _names(root / table / cluster)
        if (cluster.removeprefix("cluster="), day[5:12]) not in months
    }
    return [pattern for pattern in sorted(found) if next(root.glob(pattern), None) is not None]


def put_together(root: Path, now: datetime, on_effect: OnEffect) -> list[str]:
    """Make the folders that are missing; by one process at a time.

    Returns:
        The files, relative to the root, that no view made from now on reads.

    Raises:
        SchemaError: a file of a day is damaged or of a newer release.
        StoreFull, StoreUnwritable: what was done stands, and the next call goes on.
    """
    for leftover in root.glob(f"{FOLDER}/cluster=*/.*{TEMPORARY}"):  # of a dead process: this one holds the lock
        shutil.rmtree(leftover)
    current, rested_ns = set(), (now - RESTED).timestamp() * 1e9
    for name in _names(root / "emissions"):
        for month, (state, changed_ns) in _states(root, name.removeprefix("cluster=")).items():
            folder = _folder(root, month, state)
            current.add(folder)
            if month[1] < f"{now:%Y-%m}" and changed_ns <= rested_ns and not _is_whole(folder):
                _make(root, month, folder, on_effect)
    others = [folder for folder in root.glob(f"{FOLDER}/cluster=*/*") if folder not in current]
    for folder in others:
        with suppress(OSError):  # files stay in it until they are removed as superseded
            folder.rmdir()
    return [str(path.relative_to(root)) for folder in others for path in folder.glob("*.parquet")]


def _names(folder: Path) -> list[str]:
    """The clusters of a table, or the days of a cluster, as their folders are called."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if "=" in entry.name)
    except FileNotFoundError:
        return []


def _states(root: Path, cluster: str) -> dict[Month, tuple[str, int]]:
    """Of each month of a cluster a name for what its files are, and when one of them last changed, in nanoseconds."""
    told: dict[Month, list[str]] = defaultdict(list)
    changed: dict[Month, int] = defaultdict(int)
    for day in _names(root / "emissions" / f"cluster={cluster}"):
        month = (cluster, day[5:12])
        for table in ("emissions", *TABLES_OF_MONTHS):
            with suppress(FileNotFoundError):
                file = os.stat(f"{root}/{table}/cluster={cluster}/{day}/{table}.parquet")  # noqa: PTH116 # thousands
                told[month].append(f"{table} {day} {file.st_ino} {file.st_size} {file.st_mtime_ns}")
                changed[month] = max(changed[month], file.st_mtime_ns)
    return {
        month: (sha256("\n".join(lines).encode()).hexdigest()[:STATE_LETTERS], changed[month])
        for month, lines in told.items()
    }


def _folder(root: Path, month: Month, state: str) -> Path:
    return root / FOLDER / f"cluster={month[0]}" / f"{month[1]}-{state}"


def _is_whole(folder: Path) -> bool:
    """Whether all of its files are there: one whose state was another for days may have lost some."""
    return all((folder / f"{table}.parquet").exists() for table in TABLES_OF_MONTHS)


def _make(root: Path, month: Month, folder: Path, on_effect: OnEffect) -> None:
    """Write the folder aside and rename it, unless its tables are large, or a day is in doubt or changed meanwhile."""
    cluster, name = month
    days = [date.fromisoformat(day[5:]) for day in _names(root / "emissions" / f"cluster={cluster}") if name in day]
    if _are_large(root, cluster, days) or _are_in_doubt(root, cluster, days):
        return
    temporary = folder.with_name(f".{folder.name}{TEMPORARY}")
    with store_errors(folder):
        make_folder(temporary)
        for table in TABLES_OF_MONTHS:
            path = temporary / f"{table}.parquet"
            rows = pa.concat_tables([_rows(root, table, cluster, day) for day in days])
            write_then_rename(path.with_name(f".{path.name}"), path, rows, on_effect, f"{table}.month")
        state, _ = _states(root, cluster).get(month, ("", 0))
        if folder != _folder(root, month, state) or _are_in_doubt(root, cluster, days):
            shutil.rmtree(temporary)
            return
        shutil.rmtree(folder, ignore_errors=True)  # what is left of one that is not whole
        temporary.rename(folder)
        sync_folder(folder.parent)
    on_effect("month")


def _are_large(root: Path, cluster: str, days: list[date]) -> bool:
    paths = ((partition_path(root, table, cluster, day) for day in days) for table in TABLES_OF_MONTHS)
    return any(sum(path.stat().st_size for path in files if path.exists()) > MOST_BYTES for files in paths)


def _are_in_doubt(root: Path, cluster: str, days: list[date]) -> bool:
    """Whether a day's tables are not all of the commits in the footer of its emissions."""
    for day in days:
        footer = read_footer(partition_path(root, "emissions", cluster, day), FOOTER_KEY)
        paths = [partition_path(root, table, cluster, day) for table in TABLES_OF_MONTHS]
        if footer is None or any(read_footer(path, DIGEST_KEY) != digest(footer) for path in paths):
            return True
    return False


def _rows(root: Path, table: str, cluster: str, day: date) -> pa.Table:
    """A day's rows with their date, as the view has them."""
    rows = read_partition(root, table, cluster, day)
    return rows.append_column("date", pa.repeat(pa.scalar(day), rows.num_rows))
