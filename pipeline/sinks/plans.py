"""Which hours of a day are written, with which revision, and the rows that say so: pure, without a file."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import differing_hours
from pipeline.sinks.commits import WHO_AND_WHEN, Commit, DayTables, HourCommit, Revise, RunStamp
from pipeline.sinks.table_checks import KEYS
from pipeline.tables import HOURS, TIMESTAMP

STAMP = ["hour_utc", *WHO_AND_WHEN]


@dataclass(frozen=True)
class Stored:
    """What the warehouse holds of one (cluster, day)."""

    tables: Mapping[str, pa.Table]
    commits: Mapping[datetime, Commit]
    folds: Mapping[datetime, Mapping[str, Any]]

    def torn_hours(self) -> set[datetime]:
        """Hours whose node_energy or processes rows are not of the commit that emissions carries."""
        return hours_of_others([self.tables[name] for name in ("node_energy", "processes")], self.commits)

    def next_revision(self, hour: datetime) -> int:
        """0 for an hour never committed, else one more than the greatest known."""
        commit = self.commits.get(hour)
        known = [None if commit is None else commit.revision, self.folds.get(hour, {}).get("revision")]
        return max((revision + 1 for revision in known if revision is not None), default=0)


@dataclass(frozen=True)
class Plan:
    """Which hours get new rows (with their revision), which keep theirs, and which only get an `hours` row."""

    rewritten: Mapping[datetime, int]
    kept: tuple[datetime, ...]
    noted: tuple[datetime, ...]


def hours_of_others(tables: Iterable[pa.Table], commits: Mapping[datetime, Commit]) -> set[datetime]:
    """Hours of which any of the tables has rows of another commit than these, by STAMP."""
    torn = set()
    for rows in tables:
        for row in rows.select(STAMP).group_by(STAMP).aggregate([]).to_pylist():
            commit = commits.get(row["hour_utc"])
            if commit is None or (commit.run_id, commit.revision) != (row["run_id"], row["revision"]):
                torn.add(row["hour_utc"])
    return torn


def plan(hours: Sequence[HourCommit], new: DayTables, stored: Stored) -> Plan:
    """Compare the new rows with the stored ones: an hour whose rows are equal is kept as it is (P3)."""
    given = [hour.hour_utc for hour in hours if hour.state != "failed"]
    differing = stored.torn_hours()
    for name, rows in new.given().items():
        if name in KEYS:
            differing |= differing_hours(of_hours(stored.tables[name], given), rows, KEYS[name], WHO_AND_WHEN)
    with_rows = new.hours()
    rewritten, kept, noted = {}, [], []
    for hour in given:
        if hour in differing or (hour in with_rows and hour not in stored.commits):
            rewritten[hour] = stored.next_revision(hour)
        elif hour in stored.commits:
            kept.append(hour)
        else:
            noted.append(hour)
    noted += [hour.hour_utc for hour in hours if hour.state == "failed"]
    return Plan(rewritten, tuple(kept), tuple(noted))


def stamped(rows: pa.Table, revisions: Mapping[datetime, int], run_id: str) -> pa.Table:
    """The rows of the hours in `revisions`, carrying this run and their hour's new revision."""
    rows = of_hours(rows, revisions)
    hours = pa.array(list(revisions), TIMESTAMP)
    numbers = pa.array(list(revisions.values()), pa.int64())
    rows = rows.set_column(
        rows.schema.get_field_index("run_id"), "run_id", pa.array([run_id] * rows.num_rows, pa.string())
    )
    revision = numbers.take(pc.index_in(rows.column("hour_utc").combine_chunks(), value_set=hours))
    return rows.set_column(rows.schema.get_field_index("revision"), "revision", revision)


def of_hours(rows: pa.Table, hours: Iterable[datetime], *, inside: bool = True) -> pa.Table:
    """The rows whose hour is among `hours`, or those whose hour is not."""
    among = pc.is_in(rows.column("hour_utc"), value_set=pa.array(list(hours), TIMESTAMP))
    return rows.filter(among if inside else pc.invert(among))


def hours_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of `hours` as a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=HOURS)


def fold_age(row: dict[str, Any]) -> tuple[int, datetime]:
    """What orders the fold rows of an hour, as the view `hours` does."""
    return (-1 if row["revision"] is None else row["revision"], row["written_utc"])


def due_commits(
    cluster: str,
    hours: Sequence[HourCommit],
    stored: Stored,
    todo: Plan,
    stamp: RunStamp,
    renewed: Collection[datetime] = (),
) -> list[Commit]:
    """The `hours` rows due: one for each rewritten hour, and for others where their state changed or is `renewed`.

    A renewed hour came out equal under newer vintages or another config: its row says when that was found.
    """
    commits = []
    for hour in hours:
        before, fold = stored.commits.get(hour.hour_utc), stored.folds.get(hour.hour_utc)
        run_id, revision = stamp.run_id, todo.rewritten.get(hour.hour_utc)
        if hour.hour_utc not in todo.rewritten:
            same = fold is not None and (fold["state"], fold["reason"]) == (hour.state, hour.reason)
            if same and hour.hour_utc not in renewed:
                continue
            if before is not None:
                run_id, revision = before.run_id, before.revision
        digest = stamp.config_digest
        commits.append(
            Commit(cluster, hour.hour_utc, hour.state, run_id, revision, stamp.priced_utc, digest, hour.reason)
        )
    return commits


def fresh_rows(new: DayTables, stored: Stored, todo: Plan, stamp: RunStamp) -> dict[str, pa.Table]:
    """The new rows of the rewritten hours, stamped."""
    tables = {"processes": stored.tables["processes"]} | new.given()
    return {name: stamped(rows, todo.rewritten, stamp.run_id) for name, rows in tables.items()}


def corrections(emissions: pa.Table, stored: Stored, todo: Plan, stamp: RunStamp, revise: Revise) -> pa.Table:
    """The `revisions` rows of hours that had figures before."""
    numbers = {hour: revision for hour, revision in todo.rewritten.items() if revision > 0}
    before = {hour: stored.commits[hour].config_digest for hour in numbers if hour in stored.commits}
    reconfigured = frozenset(hour for hour, digest in before.items() if digest != stamp.config_digest)
    old = of_hours(stored.tables["emissions"], numbers)
    return revise(old, of_hours(emissions, numbers), numbers, reconfigured, stamp.run_id, stamp.priced_utc)
