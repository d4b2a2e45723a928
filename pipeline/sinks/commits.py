"""What one commit of a day is made of, and the decision which of its hours are written: pure, without a file.

The emissions file's footer holds the `hours` row of every hour in it (`Commit`), so that after a crash between the two
the row can be given exactly.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import differing_hours
from pipeline.errors import SchemaError
from pipeline.sinks.table_checks import PROCESSES_KEY
from pipeline.tables import (
    EMISSIONS,
    EMISSIONS_KEY,
    HOURS,
    NODE_ENERGY,
    NODE_ENERGY_KEY,
    PROCESSES,
    QUARANTINE,
    TIMESTAMP,
    conform,
)
from pipeline.window import HOUR

FOOTER_KEY = "carbon_etl.commits"
WHO_AND_WHEN = ("run_id", "revision")
KEYS = {"emissions": EMISSIONS_KEY, "node_energy": NODE_ENERGY_KEY, "processes": PROCESSES_KEY}
State = Literal["complete", "partial", "empty", "failed"]

# (old emissions, new emissions, new revision per rewritten hour, hours under another config, run_id, written_utc)
Revise = Callable[[pa.Table, pa.Table, Mapping[datetime, int], frozenset[datetime], str, datetime], pa.Table]


@dataclass(frozen=True)
class HourCommit:
    """One hour that a run has folded or priced, and how it went; `reason` in a few words where it is not complete."""

    hour_utc: datetime
    state: State
    reason: str | None = None


@dataclass(frozen=True)
class RunStamp:
    """What a commit carries of its run: who, when the prices were chosen, under which config."""

    run_id: str
    priced_utc: datetime
    config_digest: str


@dataclass(frozen=True)
class DayTables:
    """All rows of the given hours, new; `run_id` and `revision` may be null or absent, the warehouse sets them.

    `processes` None means: as stored (repricing does not touch them); an empty table means: there are none.
    """

    emissions: pa.Table
    node_energy: pa.Table
    quarantine: pa.Table
    processes: pa.Table | None = None

    def conformed(self) -> "DayTables":
        """The same with the full schemas.

        Raises:
            SchemaError: a table is not its schema's.
        """
        processes = None if self.processes is None else _whole(self.processes, PROCESSES)
        quarantine = _whole(self.quarantine, QUARANTINE)
        return DayTables(_whole(self.emissions, EMISSIONS), _whole(self.node_energy, NODE_ENERGY), quarantine, processes)

    def hours(self) -> set[datetime]:
        """Every hour that any table has a row of."""
        tables = [self.emissions, self.node_energy, self.quarantine, *([] if self.processes is None else [self.processes])]
        return {hour for table in tables for hour in pc.unique(table.column("hour_utc")).to_pylist()}


@dataclass(frozen=True)
class Commit:
    """One hour as committed: its row in `hours`, less what only that table knows."""

    cluster: str
    hour_utc: datetime
    state: str
    run_id: str
    revision: int | None
    priced_utc: datetime
    config_digest: str
    reason: str | None = None

    def row(self, written_utc: datetime) -> dict[str, Any]:
        """The `hours` row."""
        return asdict(self) | {"store": None, "samples": None, "written_utc": written_utc}


def footer_text(commits: Iterable[Commit]) -> str:
    """The commits of a file as JSON, hours in order."""
    rows = [asdict(commit) for commit in sorted(commits, key=lambda commit: commit.hour_utc)]
    return json.dumps([row | {name: row[name].isoformat() for name in ("hour_utc", "priced_utc")} for row in rows])


def parse_footer(text: str | None) -> dict[datetime, Commit]:
    """The commits of a file by hour; none without the entry."""
    commits = {}
    for row in json.loads(text or "[]"):
        moments = {name: datetime.fromisoformat(row[name]).astimezone(UTC) for name in ("hour_utc", "priced_utc")}
        commit = Commit(**(row | moments))
        commits[commit.hour_utc] = commit
    return commits


@dataclass(frozen=True)
class Stored:
    """What the warehouse holds of one (cluster, day)."""

    tables: Mapping[str, pa.Table]
    commits: Mapping[datetime, Commit]
    folds: Mapping[datetime, Mapping[str, Any]]

    def torn_hours(self) -> set[datetime]:
        """Hours whose node_energy or processes rows are not of the commit that emissions carries."""
        torn = set()
        for name in ("node_energy", "processes"):
            stamps = self.tables[name].select(["hour_utc", *WHO_AND_WHEN]).group_by(["hour_utc", *WHO_AND_WHEN]).aggregate([])
            for row in stamps.to_pylist():
                commit = self.commits.get(row["hour_utc"])
                if commit is None or (commit.run_id, commit.revision) != (row["run_id"], row["revision"]):
                    torn.add(row["hour_utc"])
        return torn

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


def plan(hours: Sequence[HourCommit], new: DayTables, stored: Stored) -> Plan:
    """Compare the new rows with the stored ones: an hour whose rows are equal is kept as it is (P3)."""
    given = [hour.hour_utc for hour in hours if hour.state != "failed"]
    differing = stored.torn_hours()
    tables = {"emissions": new.emissions, "node_energy": new.node_energy, "processes": new.processes}
    for name, rows in tables.items():
        if rows is not None:
            differing |= differing_hours(of_hours(stored.tables[name], given), rows, KEYS[name], WHO_AND_WHEN)  # type: ignore[arg-type] # hour_utc holds datetimes
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
    rows = rows.set_column(rows.schema.get_field_index("run_id"), "run_id", pa.array([run_id] * rows.num_rows, pa.string()))
    revision = numbers.take(pc.index_in(rows.column("hour_utc").combine_chunks(), value_set=hours))
    return rows.set_column(rows.schema.get_field_index("revision"), "revision", revision)


def of_hours(rows: pa.Table, hours: Iterable[datetime], *, inside: bool = True) -> pa.Table:
    """The rows whose hour is among `hours`, or those whose hour is not."""
    among = pc.is_in(rows.column("hour_utc"), value_set=pa.array(list(hours), TIMESTAMP))
    return rows.filter(among if inside else pc.invert(among))


def check_hours(cluster: str, day: date, hours: Sequence[HourCommit], new: DayTables, stamp: RunStamp) -> None:
    """The hours are whole, past, once each, of this day, and all rows are theirs.

    Raises:
        SchemaError: saying which hour or cluster is wrong.
    """
    named = [hour.hour_utc for hour in hours]
    if len(set(named)) != len(named):
        raise SchemaError(f"{cluster} {day}: an hour is committed twice in one call")
    for hour in named:
        if hour.utcoffset() is None or hour.astimezone(UTC).date() != day or np.any([hour.minute, hour.second, hour.microsecond]):
            raise SchemaError(f"{cluster} {day}: {hour.isoformat()} is not a whole UTC hour of that day")
        if hour + HOUR > stamp.priced_utc:
            raise SchemaError(f"{cluster}: hour {hour:%FT%HZ} has not ended at {stamp.priced_utc:%FT%H:%MZ}: set the clock right")
    allowed = {hour.hour_utc for hour in hours if hour.state in ("complete", "partial")}
    stray = new.hours() - allowed
    if stray:
        raise SchemaError(f"{cluster} {day}: rows of {min(stray):%FT%HZ}, which is not committed as complete or partial")
    for table in (new.emissions, new.node_energy, new.quarantine, *([] if new.processes is None else [new.processes])):
        foreign = set(pc.unique(table.column("cluster")).to_pylist()) - {cluster}
        if foreign:
            raise SchemaError(f"{cluster} {day}: rows of cluster {foreign.pop()!r}")


def hours_rows(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows of `hours` as a table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=HOURS)


def _whole(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    for name in WHO_AND_WHEN:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, schema.field(name).type))
    return conform(rows, schema)
