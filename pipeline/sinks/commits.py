"""What one commit of a day is made of: plain values, no file.

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

from pipeline.errors import SchemaError
from pipeline.tables import EMISSIONS, NODE_ENERGY, PROCESSES, QUARANTINE, conform
from pipeline.window import HOUR

FOOTER_KEY = "carbon_etl.commits"
WHO_AND_WHEN = ("run_id", "revision")
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
        return DayTables(
            _whole(self.emissions, EMISSIONS), _whole(self.node_energy, NODE_ENERGY), quarantine, processes
        )

    def given(self) -> dict[str, pa.Table]:
        """Those that are not as stored, by name."""
        rows = {"emissions": self.emissions, "node_energy": self.node_energy, "quarantine": self.quarantine}
        return rows if self.processes is None else rows | {"processes": self.processes}

    def hours(self) -> set[datetime]:
        """Every hour that any table has a row of."""
        columns = [pc.unique(table.column("hour_utc")).to_pylist() for table in self.given().values()]
        return {hour for column in columns for hour in column if hour is not None}


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


@dataclass(frozen=True)
class Recovery:
    """What the first act of a run found: hours given their row again, and hours whose tables disagree (fold again)."""

    restored_hours: tuple[datetime, ...]
    torn_hours: tuple[datetime, ...]


@dataclass(frozen=True)
class DayResult:
    """What a commit did, or would do.

    Attributes:
        rewritten: hours with new rows and their revision.
        kept: hours kept as they were.
        noted: hours noted without rows.
        rows_written: by table.
        revised: the `revisions` rows of hours that had figures before.
    """

    rewritten: dict[datetime, int]
    kept: tuple[datetime, ...]
    noted: tuple[datetime, ...]
    rows_written: dict[str, int]
    revised: pa.Table


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


def check_hours(cluster: str, day: date, hours: Sequence[HourCommit], new: DayTables, stamp: RunStamp) -> None:
    """The hours are whole, past, once each, of this day, and all rows are theirs.

    Raises:
        SchemaError: saying which hour or cluster is wrong.
    """
    named = [hour.hour_utc for hour in hours]
    if len(set(named)) != len(named):
        raise SchemaError(f"{cluster} {day}: an hour is committed twice in one call")
    for hour in named:
        if (
            hour.utcoffset() is None
            or hour.astimezone(UTC).date() != day
            or np.any([hour.minute, hour.second, hour.microsecond])
        ):
            raise SchemaError(f"{cluster} {day}: {hour.isoformat()} is not a whole UTC hour of that day")
        if hour + HOUR > stamp.priced_utc:
            raise SchemaError(
                f"{cluster}: hour {hour:%FT%HZ} has not ended at {stamp.priced_utc:%FT%H:%MZ}: set the clock right"
            )
    allowed = {hour.hour_utc for hour in hours if hour.state in ("complete", "partial")}
    stray = new.hours() - allowed
    if stray:
        raise SchemaError(
            f"{cluster} {day}: rows of {min(stray):%FT%HZ}, which is not committed as complete or partial"
        )
    for table in new.given().values():
        foreign = set(pc.unique(table.column("cluster")).to_pylist()) - {cluster}
        if foreign:
            raise SchemaError(f"{cluster} {day}: rows of cluster {foreign.pop()!r}")


def _whole(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    for name in WHO_AND_WHEN:
        if name not in rows.column_names:
            rows = rows.append_column(name, pa.nulls(rows.num_rows, schema.field(name).type))
    return conform(rows, schema)
