"""The warehouse: parquet tables on a local disk, changed only through ordered effects that a crash cannot mix up.

Order of a commit: revisions (intent) -> quarantine -> node_energy -> processes -> emissions (the commit) ->
emissions_daily (its sum) -> hours.
Everything of one (cluster, day) happens under `partition_lock`, from `recover` to the `hours` row.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.sinks import locks, partitions, views
from pipeline.sinks.commits import (
    FOOTER_KEY,
    Commit,
    DayTables,
    HourCommit,
    Revise,
    RunStamp,
    check_hours,
    footer_text,
    parse_footer,
)
from pipeline.sinks.daily import DIGEST_KEY, daily_rows, digest
from pipeline.sinks.partitions import OnEffect
from pipeline.sinks.plans import (
    KEYS,
    Stored,
    corrections,
    due_commits,
    fold_age,
    fresh_rows,
    hours_rows,
    of_hours,
    plan,
)
from pipeline.sinks.table_checks import check_tables
from pipeline.tables import (
    COMMITTED_TABLES,
    FORECASTS,
    HOURS,
    INTENSITY,
    INTENSITY_CHECKS,
    PROCESSES,
    PUE,
    QUARANTINE,
    REPLACED_TABLES,
    TABLES,
    conform,
)
from pipeline.window import HOUR, Clock, Window, parse_time

__all__ = ["DayResult", "DayTables", "HourCommit", "Recovery", "RunStamp", "Warehouse"]


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

    def read_day(self, table: str, cluster: str, day: date) -> pa.Table:
        """The stored rows of one partition of `emissions`, `node_energy` or `processes`: full schema, sorted by key."""
        return partitions.read_partition(self.root, table, cluster, day)

    def read_table(
        self, table: str, start: datetime | str | None = None, end: datetime | str | None = None
    ) -> pa.Table:
        """The rows of `emissions`, `node_energy` or `processes` with `start <= hour_utc < end`, sorted by key.

        Raises:
            ConfigError: a time without a zone.
        """
        conditions, bounds = ["true"], {}
        for name, sign, moment in (("start", ">=", start), ("end", "<", end)):
            if moment is not None:
                conditions.append(f"hour_utc {sign} ${name}")
                bounds[name] = parse_time(moment if isinstance(moment, str) else moment.isoformat(), name)
        names = REPLACED_TABLES[table].names
        columns = ", ".join(f'"{name}"' for name in names)
        query = f"select {columns} from {table} where {' and '.join(conditions)} order by {', '.join(KEYS[table])}"
        return conform(self._query(query, **bounds), REPLACED_TABLES[table])

    def hours(self, cluster: str, window: Window | None = None) -> pa.Table:
        """HOURS rows: the newest fold row of each hour of the cluster, in time order."""
        return self._hours("cluster = $cluster and store is null", window, cluster=cluster)

    def quarantine(self, cluster: str, day: date) -> pa.Table:
        """QUARANTINE rows of the commits that emissions carries: to be handed on when an hour is only priced anew."""
        query = """select * exclude (written_date) from quarantine
                   where cluster = $cluster and (hour_utc at time zone 'UTC')::date = $day order by all"""
        return conform(self._query(query, cluster=cluster, day=day), QUARANTINE)

    def intensity_vintages(self, zones: Mapping[str, str], window: Window, signal: str = "average") -> pa.Table:
        """INTENSITY rows that touch a window: per provider and factor type the newest answer for each instant.

        Null intensity is an answer (withdrawn). Rows do not overlap; an older vintage shows where no newer one reaches.

        Args:
            zones: the zone to take from each provider; no other provider is looked at.
            window: the span.
            signal: `average` or `marginal`.
        """
        query = f"""select {", ".join(INTENSITY.names)} from intensity_newest
            join (select unnest($providers) as provider, unnest($zones) as zone) using (provider, zone)
            where signal = $signal and start_utc < $end and end_utc > $start
            order by provider, signal, factor_type, start_utc"""
        named = {"providers": list(zones), "zones": list(zones.values()), "signal": signal}
        if not zones:
            return INTENSITY.empty_table()
        return conform(self._query(query, **named, start=window.start, end=window.end), INTENSITY)

    def intensity_checks(self, zone: str, provider: str, signal: str, factor_type: str, window: Window) -> pa.Table:
        """INTENSITY_CHECKS rows of one provider and zone that touch a window."""
        query = f"""select {", ".join(INTENSITY_CHECKS.names)} from intensity_checks
            where zone = $zone and provider = $provider and signal = $signal and factor_type = $factor_type
            and start_utc < $end and end_utc > $start"""
        named = {"zone": zone, "provider": provider, "signal": signal, "factor_type": factor_type}
        return conform(self._query(query, **named, start=window.start, end=window.end), INTENSITY_CHECKS)

    def pue_vintages(self, cluster: str, source: str, window: Window) -> pa.Table:
        """PUE rows of a cluster from one source that touch a window, superseded ones included."""
        query = f"""select {", ".join(PUE.names)} from pue
            where cluster = $cluster and source = $source and start_utc < $end and end_utc > $start"""
        named = {"cluster": cluster, "source": source}
        return conform(self._query(query, **named, start=window.start, end=window.end), PUE)

    def forecasts(self, provider: str, zone: str, signal: str, factor_type: str, window: Window) -> pa.Table:
        """FORECASTS rows of one provider and zone that touch a window: the newest of each step, in time order."""
        query = f"""select {", ".join(FORECASTS.names)} from forecasts
            where zone = $zone and provider = $provider and signal = $signal and factor_type = $factor_type
            and start_utc < $end and end_utc > $start
            qualify row_number() over (partition by start_utc, end_utc order by issued_utc desc, fetched_utc desc) = 1
            order by start_utc, end_utc"""
        named = {"zone": zone, "provider": provider, "signal": signal, "factor_type": factor_type}
        return conform(self._query(query, **named, start=window.start, end=window.end), FORECASTS)

    def declared(self, table: str) -> pa.Table:
        """The newest declaration of each cluster in `market_factors` or `cluster_zones`, a withdrawal included."""
        newest = f"from {table} qualify fetched_utc = max(fetched_utc) over (partition by cluster)"
        schema = TABLES[table]
        return conform(self._query(f"select {', '.join(schema.names)} from ({newest})"), schema)

    def hours_of_quality(self, cluster: str, quality: str) -> list[datetime]:
        """Hours of the cluster in which some energy is priced at that quality of intensity."""
        query = "select distinct hour_utc from emissions where cluster = $cluster and intensity_quality = $quality"
        return [row["hour_utc"] for row in self._query(query, cluster=cluster, quality=quality).to_pylist()]

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
        return partitions.append_file(self.root, table, rows, run_id, day, self._on_effect)

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
        check_tables(
            new.emissions,
            new.node_energy,
            PROCESSES.empty_table() if new.processes is None else new.processes,
            new.quarantine,
        )
        stored = self._stored(cluster, day, self._fold_rows(cluster, day))
        todo = plan(hours, new, stored)
        fresh = fresh_rows(new, stored, todo, stamp)
        revised = corrections(fresh["emissions"], stored, todo, stamp, revise)
        if dry_run:
            return DayResult(dict(todo.rewritten), todo.kept, todo.noted, {}, revised)
        commits = due_commits(cluster, hours, stored, todo, stamp, renewed)
        rows_written: dict[str, int] = {}
        if todo.rewritten:
            rows_written = self._write_intents(revised, fresh["quarantine"], stamp)
            rewritten = {commit.hour_utc: commit for commit in commits if commit.hour_utc in todo.rewritten}
            rows_written |= self._write_partitions(cluster, day, fresh, stored, rewritten)
        notes = [commit.row(stamp.priced_utc) for commit in commits]
        self._append("hours", hours_rows(notes), stamp.run_id, stamp.priced_utc)
        return DayResult(dict(todo.rewritten), todo.kept, todo.noted, rows_written | {"hours": len(notes)}, revised)

    def _write_intents(self, revised: pa.Table, quarantine: pa.Table, stamp: RunStamp) -> dict[str, int]:
        """What counts only once the commit stands: views join both with it."""
        self._append("revisions", revised, stamp.run_id, stamp.priced_utc)
        self._append("quarantine", quarantine, stamp.run_id, stamp.priced_utc)
        return {"revisions": revised.num_rows, "quarantine": quarantine.num_rows}

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
        rows["emissions"] = rows["emissions"].replace_schema_metadata({FOOTER_KEY: footer})
        for name, table in rows.items():
            if name == "emissions" or table.num_rows or stored.tables[name].num_rows:
                partitions.replace_partition(self.root, name, cluster, day, table, self._on_effect)
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
        partitions.replace_partition(self.root, "emissions_daily", cluster, day, rows, self._on_effect)
        return rows.num_rows

    def _stored(self, cluster: str, day: date, fold_rows: Sequence[dict[str, Any]]) -> Stored:
        path = partitions.partition_path(self.root, "emissions", cluster, day)
        commits = parse_footer(partitions.read_footer(path, FOOTER_KEY))
        folds = {row["hour_utc"]: row for row in sorted(fold_rows, key=fold_age)}
        return Stored({name: self.read_day(name, cluster, day) for name in COMMITTED_TABLES}, commits, folds)

    def _fold_rows(self, cluster: str, day: date) -> list[dict[str, Any]]:
        """Every fold row ever written about the day; an hour is priced after it ends, so none lies in older files."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        hour = ds.field("hour_utc")
        wanted = (ds.field("cluster") == cluster) & ds.field("store").is_null()
        wanted &= (hour >= pa.scalar(midnight)) & (hour < pa.scalar(midnight + 24 * HOUR))
        return partitions.read_appended(self.root, "hours", day, wanted).to_pylist()

    def _append(self, table: str, rows: pa.Table, run_id: str, written_utc: datetime) -> None:
        self.append(table, rows, run_id, written_utc.astimezone(UTC).date())

    def _hours(self, condition: str, window: Window | None, **parameters: object) -> pa.Table:
        if window is not None:
            condition += " and hour_utc >= $start and hour_utc < $end"
            parameters |= {"start": window.start, "end": window.end}
        return conform(
            self._query(
                f"select {', '.join(HOURS.names)} from hours where {condition} order by hour_utc", **parameters
            ),
            HOURS,
        )

    def _query(self, text: str, **parameters: object) -> pa.Table:
        with views.open_views(self.root, text) as connection:
            return connection.sql(text, params=parameters).to_arrow_table()
