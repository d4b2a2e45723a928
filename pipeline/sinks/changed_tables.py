"""Everything that changes the tables under one folder, one effect at a time, and the locks that it is done under."""

from contextlib import AbstractContextManager
from datetime import date
from pathlib import Path

import pyarrow as pa

from pipeline.errors import StoreBusy
from pipeline.sinks import appended, locks, partitions, views
from pipeline.sinks.compaction import compact
from pipeline.sinks.partitions import OnEffect
from pipeline.sinks.stored_tables import StoredTables
from pipeline.window import Clock


class ChangedTables(StoredTables):
    """The tables under one folder, read and changed.

    Args:
        root: the folder, made at the first write.
        on_effect: called with a name right after every effect: `<table>.temporary` when a file is complete under its
            dot name, `<table>` when it is in place.
    """

    def __init__(self, root: Path, on_effect: OnEffect = partitions.nothing) -> None:
        super().__init__(root)
        self._on_effect = on_effect

    def location(self) -> dict[str, str]:
        """Of the settings that which another process finds it by."""
        return {"path": str(self.root)}

    def partition_lock(
        self, cluster: str, day: date, clock: Clock, wait_seconds: float
    ) -> AbstractContextManager[None]:
        """Hold one (cluster, day) against other runs, waiting at most `wait_seconds`.

        Raises:
            StoreBusy: on entering, when another run held it all that time.
        """
        path = locks.partition_lock_path(self.root, cluster, day)
        return locks.held_lock(path, f"{cluster} {day.isoformat()}", clock, wait_seconds)

    def store_lock(self, store: str, clock: Clock, wait_seconds: float) -> AbstractContextManager[None]:
        """Be the one publisher to a store.

        Raises:
            StoreBusy: on entering, when another publisher held it all that time.
        """
        return locks.held_lock(locks.store_lock_path(self.root, store), f"store {store}", clock, wait_seconds)

    def append(self, table: str, rows: pa.Table, run_id: str, day: date) -> Path | None:
        """Add rows to an append-only table as one immutable file; no row, no file.

        Args:
            table: one of `tables.APPEND_ONLY_TABLES`.
            rows: all its columns.
            run_id: names the file.
            day: the UTC date of writing.

        Raises:
            SchemaError: not the table's columns.
            StoreFull, StoreUnwritable: nothing was written.
        """
        return appended.append_file(self.root, table, rows, run_id, day, self._on_effect)

    def compact(self, clock: Clock) -> int:
        """Make one file of each past day of the append-only tables; see `compaction`.

        Returns:
            How many days of tables were compacted; none while another process does it.

        Raises:
            SchemaError, StoreFull, StoreUnwritable: what was done stands, and the next call goes on.
        """
        try:
            with locks.held_lock(locks.compaction_lock_path(self.root), "compaction", clock, 0):
                return compact(self.root, clock.now(), self._on_effect)
        except StoreBusy:
            return 0

    def replace_day(self, table: str, cluster: str, day: date, rows: pa.Table) -> None:
        """Write one partition of a replaced table anew; under its lock, see `partitions.replace_partition`."""
        partitions.replace_partition(self.root, table, cluster, day, rows, self._on_effect)

    def remove_day(self, table: str, cluster: str, day: date) -> None:
        """Leave a replaced table without a partition; under its lock."""
        path = partitions.partition_path(self.root, table, cluster, day)
        with partitions.store_errors(path):
            path.unlink(missing_ok=True)

    def refresh_database(self) -> None:
        """Keep `carbon.duckdb` current, for readers without this program; see `views.refresh_database`."""
        views.refresh_database(self.root)
