"""A warehouse in an object store: every effect happens in files on this machine, and is then a commit of a Delta table.

The order of effects is the one on a disk, so a run that is killed between two commits leaves what a killed run leaves
there, and is recovered alike. What was not committed is nowhere but in the tree of the process, and gone with it.

Runs on one machine keep apart by locks. Those on several find out when they commit: the second is refused
(`StoreConflict`) and does the day again from what the first made of it.
"""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow as pa

from pipeline.errors import SchemaError, StoreBusy
from pipeline.sinks import locks, partitions
from pipeline.sinks.delta.access import Access
from pipeline.sinks.delta.remote_table import RemoteTable
from pipeline.sinks.delta.working_copy import WorkingCopy
from pipeline.sinks.partitions import OnEffect
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import TABLES
from pipeline.window import Clock

THREADS = 8
UNCOMMITTED = ""  # a file that is ahead of the store


class ObjectStoreWarehouse(Warehouse):
    """The tables under one address, as Delta tables.

    Args:
        access: the address and what opens it.
        cache: where objects are kept between commands; None for a temporary folder of this process.
        on_effect: called with a name after every effect: as of `Warehouse`, then `<table>.uploaded` when the object is
            there and `<table>.pushed` when the table's log names it.

    Raises:
        StoreUnwritable, StoreUnreachable, SchemaError: see `Access.errors`.
    """

    def __init__(self, access: Access, cache: Path | None, on_effect: OnEffect = partitions.nothing) -> None:
        self.access = access
        self._copy = WorkingCopy(access.url, cache)
        self._run_token = secrets.token_hex(4)  # two machines may work for one run: names of objects stay apart
        self._tables = {name: RemoteTable(access, name, on_effect) for name in TABLES}
        self._placed: dict[str, dict[Path, str]] = {name: {} for name in TABLES}
        super().__init__(self._copy.tree, on_effect)
        self.pull()
        self._copy.forget_others({f"{table.name}/{path}" for table in self._tables.values() for path in table.sizes})

    def location(self) -> dict[str, str]:
        """The address, and what was downloaded from it already."""
        return {"path": self.access.url, "cache": str(self._copy.cache)}

    def pull(self, partition: str | None = None) -> None:
        """Make the tree what the store holds now; of replaced tables only one partition where it is named.

        Raises:
            SchemaError: a table is not as carbon-etl leaves it.
            StoreUnwritable, StoreUnreachable: see `Access.errors`.
        """
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(lambda table: self._pull(table, partition), self._tables.values()))

    @contextmanager
    def partition_lock(self, cluster: str, day: date, clock: Clock, wait_seconds: float) -> Iterator[None]:
        """Hold one (cluster, day) against other runs of this machine, and have it as the store has it."""
        path = locks.partition_lock_path(self._copy.here, cluster, day)
        with locks.held_lock(path, f"{cluster} {day.isoformat()}", clock, wait_seconds):
            self.pull(_partition(cluster, day))
            yield

    @contextmanager
    def store_lock(self, store: str, clock: Clock, wait_seconds: float) -> Iterator[None]:
        """Be the one publisher of this machine to a store, of what the warehouse holds now."""
        path = locks.store_lock_path(self._copy.here, store)
        with locks.held_lock(path, f"store {store}", clock, wait_seconds):
            self.pull()
            yield

    def append(self, table: str, rows: pa.Table, run_id: str, day: date) -> Path | None:
        """As of `Warehouse`, and as one commit."""
        path = super().append(table, rows, f"{run_id}-{self._run_token}", day)
        if path is not None:
            placed, name = self._placed[table], f"{path.parent.name}/{path.name}"
            placed[path] = UNCOMMITTED
            self._tables[table].add(name, path)
            placed[path] = name
            self._pushed(table, name, path)
        return path

    def replace_day(self, table: str, cluster: str, day: date, rows: pa.Table) -> None:
        """As of `Warehouse`, and as one commit.

        Raises:
            StoreConflict: another machine's run replaced the partition since the lock was taken.
        """
        name = f"{_partition(cluster, day)}/{table}-{secrets.token_hex(8)}.parquet"
        path, before = self._set_out(table, cluster, day)
        super().replace_day(table, cluster, day, rows)
        self._tables[table].replace(_partition(cluster, day), before, name, path)
        self._placed[table][path] = name
        self._pushed(table, name, path)

    def remove_day(self, table: str, cluster: str, day: date) -> None:
        """As of `Warehouse`, and as one commit where there was something."""
        path, before = self._set_out(table, cluster, day)
        super().remove_day(table, cluster, day)
        if before is not None:
            self._tables[table].replace(_partition(cluster, day), before, None, path)
        del self._placed[table][path]

    def compact(self, clock: Clock) -> int:
        """Put the small objects of past days of the added tables together, and delete what nobody reads any more.

        Returns:
            How many days of tables were compacted; none while another process of this machine does it.
        """
        today, done = clock.now().date().isoformat(), 0
        try:
            with locks.held_lock(locks.compaction_lock_path(self._copy.here), "compaction", clock, 0):
                self.pull()
                for table in self._tables.values():
                    days = [] if table.is_replaced else _several(table, today)
                    if days:
                        table.compact(days)
                        done += len(days)
                for table in self._tables.values() if done else ():
                    table.vacuum()
        except StoreBusy:
            return 0
        return done

    def refresh_database(self) -> None:
        """There is no `carbon.duckdb` in an object store: its views would name files of this machine."""

    def _pull(self, table: RemoteTable, partition: str | None) -> None:
        table.refresh()
        placed, inside = self._placed[table.name], self.root / table.name
        names = list(table.sizes)
        if table.is_replaced and partition is not None:
            names, inside = table.objects_of(partition), inside / partition
        wanted = {self._local(table, name): name for name in names}
        for path in [path for path in placed if path not in wanted and path.is_relative_to(inside)]:
            with partitions.store_errors(path):
                path.unlink(missing_ok=True)
            del placed[path]
        if len(wanted) < len(names):
            raise SchemaError(f"{self.access.url}/{table.name}: a day is in several files: another program wrote there")
        for path, name in wanted.items():
            if placed.get(path) != name:
                kept = f"{table.name}/{name}"
                self._copy.place(kept, table.sizes[name], path, partial(table.download, name))
                placed[path] = name

    def _local(self, table: RemoteTable, name: str) -> Path:
        """The file that an object is here."""
        path = self.root / table.name / name
        return path.with_name(f"{table.name}.parquet") if table.is_replaced else path

    def _set_out(self, table: str, cluster: str, day: date) -> tuple[Path, str | None]:
        """The file of a partition that is about to change, and the object that it is so far."""
        path = partitions.partition_path(self.root, table, cluster, day)
        before = self._placed[table].get(path)
        self._placed[table][path] = UNCOMMITTED
        return path, before

    def _pushed(self, table: str, name: str, path: Path) -> None:
        self._copy.keep(f"{table}/{name}", path)
        self._on_effect(f"{table}.pushed")


def _partition(cluster: str, day: date) -> str:
    return f"cluster={cluster}/date={day.isoformat()}"


def _several(table: RemoteTable, today: str) -> list[str]:
    """Past days of which a table has several objects."""
    days = [name.partition("/")[0].removeprefix("date=") for name in table.sizes]
    return sorted({day for day in days if day < today and days.count(day) > 1})
