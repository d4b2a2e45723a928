"""The warehouse: parquet tables on a local disk, changed only through ordered effects that a crash cannot mix up.

Order of a commit: revisions (intent) -> quarantine -> node_energy -> processes -> emissions (the commit) -> hours.
Everything of one (cluster, day) happens under `partition_lock`, from `recover` to the `hours` row.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipeline.equality import differing_hours
from pipeline.sinks import locks, partitions, views
from pipeline.sinks.commits import (
    FOOTER_KEY,
    KEYS,
    Commit,
    DayTables,
    HourCommit,
    Plan,
    Revise,
    RunStamp,
    Stored,
    check_hours,
    footer_text,
    hours_rows,
    of_hours,
    parse_footer,
    plan,
    stamped,
)
from pipeline.sinks.partitions import OnEffect
from pipeline.sinks.table_checks import check_tables
from pipeline.tables import HOURS, INTENSITY, PROCESSES, QUARANTINE, REPLACED_TABLES, conform
from pipeline.window import HOUR, Clock, Window

__all__ = ["DayResult", "DayTables", "HourCommit", "Recovery", "RunStamp", "Warehouse", "differing_hours"]


@dataclass(frozen=True)
class Recovery:
    """What the first act of a run found: hours given their row again, and hours whose tables disagree (fold them again)."""

    restored_hours: tuple[datetime, ...]
    torn_hours: tuple[datetime, ...]


@dataclass(frozen=True)
class DayResult:
    """What a commit did: hours with new rows and their revision, hours kept as they were, hours noted without rows."""

    rewritten: dict[datetime, int]
    kept: tuple[datetime, ...]
    noted: tuple[datetime, ...]
    rows_written: dict[str, int]


class Warehouse:
    """The tables under one folder.

    Args:
        root: the folder, made at the first write.
        on_effect: called with a name right after every effect: `<table>.temporary` when a file is complete under its
            dot name, `<table>` when it is in place.
    """

    def __init__(self, root: Path, on_effect: OnEffect = partitions.nothing) -> None:
        self.root = root.absolute()
        self._on_effect = on_effect

    def partition_lock(self, cluster: str, day: date, clock: Clock, wait_seconds: float) -> AbstractContextManager[None]:
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

    def recover(self, cluster: str, day: date, now: datetime, run_id: str) -> Recovery:
        """Complete what a killed run left; under the partition's lock, before anything is read.

        Args:
            now: becomes `written_utc` of restored rows.
            run_id: names the file they are written to; the rows carry the run that committed them.

        Raises:
            StoreFull, StoreUnwritable, SchemaError: as of writing and reading.
        """
        partitions.remove_leftovers(self.root, cluster, day, now)
        stored = self._stored(cluster, day)
        noted = {(row["hour_utc"], row["run_id"], row["revision"]) for row in self._fold_rows(cluster, day)}
        lost = [commit for hour, commit in sorted(stored.commits.items()) if (hour, commit.run_id, commit.revision) not in noted]
        self._append("hours", hours_rows(commit.row(now) for commit in lost), run_id, now)
        return Recovery(tuple(commit.hour_utc for commit in lost), tuple(sorted(stored.torn_hours())))

    def read_day(self, table: str, cluster: str, day: date) -> pa.Table:
        """The stored rows of one partition of `emissions`, `node_energy` or `processes`: full schema, sorted by key."""
        return partitions.read_partition(self.root, table, cluster, day)

    def hours(self, cluster: str, window: Window | None = None) -> pa.Table:
        """HOURS rows: the newest fold row of each hour of the cluster, in time order."""
        return self._hours("cluster = $cluster and store is null", window, cluster=cluster)

    def published(self, cluster: str, store: str, window: Window | None = None) -> pa.Table:
        """HOURS rows: the newest row of each hour of the cluster about one store, in time order."""
        return self._hours("cluster = $cluster and store = $store", window, cluster=cluster, store=store)

    def quarantine(self, cluster: str, day: date) -> pa.Table:
        """QUARANTINE rows of the commits that emissions carries: to be handed on when an hour is only priced anew."""
        query = """select * exclude (written_date) from quarantine
                   where cluster = $cluster and (hour_utc at time zone 'UTC')::date = $day order by all"""
        return conform(self._query(query, cluster=cluster, day=day), QUARANTINE)

    def intensity_vintages(self, zone: str) -> pa.Table:
        """INTENSITY rows of a zone, resolved: per provider, signal and factor type, the newest answer for each instant.

        Null intensity is an answer (withdrawn). Rows do not overlap; an older vintage shows where no newer one reaches.
        """
        columns = ", ".join(INTENSITY.names)
        order = "provider, signal, factor_type, start_utc"
        return conform(self._query(f"select {columns} from intensity_newest where zone = $zone order by {order}", zone=zone), INTENSITY)

    def append(self, table: str, rows: pa.Table, run_id: str, day: date) -> Path | None:
        """Add rows to an append-only table as one immutable file; no row, no file.

        Args:
            day: the UTC date of writing.

        Raises:
            SchemaError: not the table's columns.
            StoreFull, StoreUnwritable: nothing was written.
        """
        return partitions.append_file(self.root, table, rows, run_id, day, self._on_effect)

    def commit_day(
        self, cluster: str, day: date, hours: Sequence[HourCommit], tables: DayTables, stamp: RunStamp, revise: Revise
    ) -> DayResult:
        """Make `tables` the rows of `hours`; hours whose rows are equal to the stored ones keep theirs (P3).

        Under the partition's lock, after `recover`. An hour of state `failed` keeps whatever is stored; one without rows
        that never had any just gets its `hours` row.

        Args:
            revise: `transforms.revisions.revision_rows`, handed in because sinks and transforms do not know each other.

        Raises:
            SchemaError: a required check failed; nothing was written.
            StoreFull, StoreUnwritable: the effects so far stand; the next run recovers and completes.
        """
        new = tables.conformed()
        check_hours(cluster, day, hours, new, stamp)
        check_tables(new.emissions, new.node_energy, PROCESSES.empty_table() if new.processes is None else new.processes, new.quarantine)
        stored = self._stored(cluster, day)
        todo = plan(hours, new, stored)
        rows_written = self._write_rows(cluster, day, hours, new, stored, todo, stamp, revise) if todo.rewritten else {}
        notes = [commit.row(stamp.priced_utc) for commit in _commits(cluster, hours, stored, todo, stamp)]
        self._append("hours", hours_rows(notes), stamp.run_id, stamp.priced_utc)
        return DayResult(dict(todo.rewritten), todo.kept, todo.noted, rows_written | ({"hours": len(notes)} if notes else {}))
