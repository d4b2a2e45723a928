"""The warehouse: parquet tables on a local disk, changed only through ordered effects that a crash cannot mix up.

Order of a commit: revisions (intent) -> quarantine -> node_energy -> processes -> emissions (the commit) ->
emissions_daily (its sum) -> hours.
Everything of one (cluster, day) happens under `partition_lock`, from `recover` to the `hours` row.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from pipeline.sinks import partitions
from pipeline.sinks.changed_tables import ChangedTables
from pipeline.sinks.commits import (
    FOOTER_KEY,
    Commit,
    DayResult,
    DayTables,
    HourCommit,
    Recovery,
    Revise,
    RunStamp,
    check_hours,
    footer_text,
    parse_footer,
)
from pipeline.sinks.daily import DIGEST_KEY, daily_rows, digest
from pipeline.sinks.plans import (
    Plan,
    Stored,
    corrections,
    due_commits,
    fold_age,
    fresh_rows,
    hours_rows,
    of_hours,
    plan,
)
from pipeline.sinks.table_checks import KEYS, check_tables
from pipeline.tables import COMMITTED_TABLES

__all__ = ["DayResult", "DayTables", "HourCommit", "Recovery", "RunStamp", "Warehouse"]


class Warehouse(ChangedTables):
    """The tables under one folder, as days are committed to them."""

    def recover(self, cluster: str, day: date, now: datetime, run_id: str) -> Recovery:
        """Complete what a killed run left; under the partition's lock, before anything is read.

        Args:
            cluster: whose partition.
            day: its UTC date.
            now: becomes `written_utc` of restored rows.
            run_id: names the file they are written to; the rows carry the run that committed them.

        Raises:
            StoreFull, StoreUnwritable, SchemaError: as of writing and reading.
        """
        partitions.remove_leftovers(self.root, cluster, day, now)
        folds = self._fold_rows(cluster, day)
        stored = self._stored(cluster, day, folds)
        noted = {(row["hour_utc"], row["run_id"], row["revision"]) for row in folds}
        lost = [
            commit
            for hour, commit in sorted(stored.commits.items())
            if (hour, commit.run_id, commit.revision) not in noted
        ]
        self.roll_up(cluster, day)
        self._append("hours", hours_rows(commit.row(now) for commit in lost), run_id, now)
        return Recovery(tuple(commit.hour_utc for commit in lost), tuple(sorted(stored.torn_hours())))

    def commit_day(
        self,
        cluster: str,
        day: date,
        hours: Sequence[HourCommit],
        tables: DayTables,
        stamp: RunStamp,
        revise: Revise,
        renewed: Collection[datetime] = (),
        *,
        dry_run: bool = False,
    ) -> DayResult:
        """Make `tables` the rows of `hours`; hours whose rows are equal to the stored ones keep theirs (P3).

        Under the partition's lock, after `recover`. An hour of state `failed` keeps whatever is stored; one without
        rows that never had any just gets its `hours` row.

        Args:
            cluster: whose partition.
            day: its UTC date.
            hours: the hours that `tables` are complete for.
            tables: their rows.
            stamp: the run that commits.
            revise: `transforms.revisions.revision_rows`, handed in because sinks and transforms do not know each other.
            renewed: hours that get an `hours` row even where they are kept: their price was looked at again.
            dry_run: check and compare, write nothing.

        Raises:
            SchemaError: a required check failed; nothing was written.
            StoreFull, StoreUnwritable: the effects so far stand; the next run recovers and completes.
        """
        new = tables.conformed()
        check_hours(cluster, day, hours, new, stamp)
        check_tables(new.given())
        stored = self._stored(cluster, day, self._fold_rows(cluster, day))
        todo = plan(hours, new, stored)
        fresh = fresh_rows(new, stored, todo, stamp)
        revised = corrections(fresh["emissions"], stored, todo, stamp, revise)
        rows_written: dict[str, int] = {}
        if not dry_run:
            commits = due_commits(cluster, hours, stored, todo, stamp, renewed)
            rows_written = self._write(cluster, day, fresh | {"revisions": revised}, stored, todo, commits, stamp)
        return DayResult(dict(todo.rewritten), todo.kept, todo.noted, rows_written, revised)

    def _write(
        self,
        cluster: str,
        day: date,
        fresh: dict[str, pa.Table],
        stored: Stored,
        todo: Plan,
        commits: Sequence[Commit],
        stamp: RunStamp,
    ) -> dict[str, int]:
        """The effects of a commit in their order; how many rows each table got."""
        rewritten = {commit.hour_utc: commit for commit in commits if commit.hour_utc in todo.rewritten}
        rows_written: dict[str, int] = {}
        if rewritten:
            for name in ("revisions", "quarantine"):  # which count only once the commit stands: views join them with it
                self._append(name, fresh[name], stamp.run_id, stamp.priced_utc)
                rows_written[name] = fresh[name].num_rows
            rows_written |= self._write_partitions(cluster, day, fresh, stored, rewritten)
        notes = hours_rows(commit.row(stamp.priced_utc) for commit in commits)
        self._append("hours", notes, stamp.run_id, stamp.priced_utc)
        return rows_written | {"hours": notes.num_rows}

    def _write_partitions(
        self, cluster: str, day: date, fresh: dict[str, pa.Table], stored: Stored, rewritten: dict[datetime, Commit]
    ) -> dict[str, int]:
        """The replaced tables: emissions is the commit, by its footer; emissions_daily says what that came to."""
        written, rows = {}, {}
        for name in ("node_energy", "processes", "emissions"):
            others = of_hours(stored.tables[name], rewritten, inside=False)
            both = pa.concat_tables([others, fresh[name]])
            rows[name] = both.sort_by([(column, "ascending") for column in KEYS[name]])
        standing = {hour: commit for hour, commit in stored.commits.items() if hour not in rewritten}
        footer = footer_text((standing | rewritten).values())
        # Rows of a commit that never happened lie on until their hour is folded: such a file belongs to no state.
        of_state = {} if stored.torn_hours() - set(rewritten) else {DIGEST_KEY: digest(footer)}
        for name, table in rows.items():
            if name == "emissions" or table.num_rows or stored.tables[name].num_rows:
                whole = table.replace_schema_metadata({FOOTER_KEY: footer} if name == "emissions" else of_state)
                self.replace_day(name, cluster, day, whole)
                written[name] = fresh[name].num_rows
        return written | {"emissions_daily": self._write_daily(cluster, day, rows["emissions"], footer)}

    def roll_up(self, cluster: str, day: date) -> bool:
        """Make `emissions_daily` the sum of the day's stored emissions; under the partition's lock.

        Returns:
            Whether it was anything else.
        """
        footer = partitions.read_footer(partitions.partition_path(self.root, "emissions", cluster, day), FOOTER_KEY)
        path = partitions.partition_path(self.root, "emissions_daily", cluster, day)
        if footer is None or partitions.read_footer(path, DIGEST_KEY) == digest(footer):
            return False
        self._write_daily(cluster, day, self.read_day("emissions", cluster, day), footer)
        return True

    def _write_daily(self, cluster: str, day: date, emissions: pa.Table, footer: str) -> int:
        source = digest(footer)
        rows = daily_rows(emissions, source).replace_schema_metadata({DIGEST_KEY: source})
        self.replace_day("emissions_daily", cluster, day, rows)
        return rows.num_rows

    def _stored(self, cluster: str, day: date, fold_rows: Sequence[dict[str, Any]]) -> Stored:
        path = partitions.partition_path(self.root, "emissions", cluster, day)
        commits = parse_footer(partitions.read_footer(path, FOOTER_KEY))
        folds = {row["hour_utc"]: row for row in sorted(fold_rows, key=fold_age)}
        return Stored({name: self.read_day(name, cluster, day) for name in COMMITTED_TABLES}, commits, folds)

    def _append(self, table: str, rows: pa.Table, run_id: str, written_utc: datetime) -> None:
        self.append(table, rows, run_id, written_utc.astimezone(UTC).date())
