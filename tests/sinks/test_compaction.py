"""Compaction of append-only tables: fewer files, the same rows, whoever reads and whatever is killed meanwhile."""

import os
import threading
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SchemaError
from pipeline.sinks import locks
from pipeline.sinks.appended import SUPERSEDED, superseded
from pipeline.sinks.compaction import COMPACTED, compact
from pipeline.sinks.partitions import VERSION_KEY, nothing
from pipeline.sinks.views import DATABASE, open_views, refresh_database
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import APPEND_ONLY_TABLES, RUNS, SCHEMA_VERSION
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
DAYS = [date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)]
EFFECTS = ["runs.compacted.temporary", "runs.compacted", "superseded", "superseded.removed"]
COUNT = "select count(*), count(distinct run_id) from runs"


def note(root: Path, name: str, day: date) -> None:
    """A row of `runs` in a file of its own."""
    row = dict.fromkeys(RUNS.names) | {"run_id": name, "finished_utc": NOON, "exit_code": 0}
    Warehouse(root).append("runs", pa.Table.from_pylist([row], schema=RUNS), name, day)


def filled(root: Path) -> set[str]:
    """Three files on each of two past days, two on the present one."""
    names = {f"run-{day.day}-{number}" for day in DAYS for number in range(2 if day == DAYS[2] else 3)}
    for name in names:
        note(root, name, date(2026, 11, int(name[4])))
    return names


def shown(root: Path, query: str = "select run_id from runs") -> list[str]:
    with open_views(root, query) as connection:
        return sorted(row[0] for row in connection.sql(query).fetchall())


def files(root: Path, day: date) -> set[str]:
    return {path.name for path in (root / "runs" / f"date={day.isoformat()}").glob("*.parquet")}


class ClockAt(rows.StillClock):
    """A clock that shows `moment`."""

    def __init__(self, moment: datetime) -> None:
        super().__init__()
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


def test_past_days_become_one_file_each_and_the_present_one_stays(tmp_path: Path) -> None:
    names = filled(tmp_path)
    assert Warehouse(tmp_path).compact(ClockAt(NOON)) == 2
    for day in DAYS[:2]:
        assert COMPACTED in files(tmp_path, day)
        whole = pq.read_table(tmp_path / "runs" / f"date={day}" / COMPACTED, partitioning=None)
        assert len(set(whole.column("run_id").to_pylist())) == whole.num_rows == 3
    assert COMPACTED not in files(tmp_path, DAYS[2])
    assert shown(tmp_path) == sorted(names)
    assert shown(tmp_path, "select run_id from runs where written_date = '2026-11-01'") == [
        name for name in sorted(names) if name.startswith("run-1")
    ]


def test_a_second_compaction_of_the_same_day_does_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    compact(tmp_path, NOON, nothing)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()}
    assert compact(tmp_path, NOON + timedelta(hours=1), nothing) == 0
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*") if path.is_file()} == before


def test_originals_are_removed_a_day_later(tmp_path: Path) -> None:
    names = filled(tmp_path)
    compact(tmp_path, NOON, nothing)
    assert len(superseded(tmp_path)) == 6
    compact(tmp_path, NOON + timedelta(hours=11), nothing)
    assert len(files(tmp_path, DAYS[0])) == 4
    compact(tmp_path, NOON + timedelta(days=1), nothing)
    assert (files(tmp_path, DAYS[0]), files(tmp_path, DAYS[1])) == ({COMPACTED}, {COMPACTED})
    assert set(superseded(tmp_path)) == {f"runs/date=2026-11-03/run-3-{number}-0.parquet" for number in range(2)}
    assert shown(tmp_path) == sorted(names)


def test_views_made_after_it_do_not_open_originals_and_views_made_before_see_each_row_once(tmp_path: Path) -> None:
    names = filled(tmp_path)
    with open_views(tmp_path) as earlier:
        compact(tmp_path, NOON, nothing)
        assert earlier.sql(COUNT).fetchall() == [(8, 8)]
    for path in superseded(tmp_path):
        (tmp_path / path).write_bytes(b"whoever opens this fails")
    assert shown(tmp_path) == sorted(names)


def test_the_database_is_told_too(tmp_path: Path) -> None:
    filled(tmp_path)
    refresh_database(tmp_path)
    compact(tmp_path, NOON, nothing)
    assert refresh_database(tmp_path)
    compact(tmp_path, NOON + timedelta(hours=1), nothing)
    assert not refresh_database(tmp_path)
    for path in superseded(tmp_path):
        (tmp_path / path).unlink()
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        assert connection.sql(COUNT).fetchall() == [(8, 8)]


def test_a_file_that_comes_late_shows_at_once_and_is_taken_in_next_time(tmp_path: Path) -> None:
    names = filled(tmp_path)
    compact(tmp_path, NOON, nothing)
    note(tmp_path, "late", DAYS[0])
    assert shown(tmp_path) == sorted({*names, "late"})
    assert compact(tmp_path, NOON + timedelta(hours=2), nothing) == 1
    assert shown(tmp_path) == sorted({*names, "late"})
    compact(tmp_path, NOON + timedelta(days=2), nothing)
    assert files(tmp_path, DAYS[0]) == {COMPACTED}
    assert shown(tmp_path) == sorted({*names, "late"})


@pytest.mark.parametrize("effect", EFFECTS)
def test_stopped_after_any_effect_every_reader_is_right_and_the_next_one_ends_it(tmp_path: Path, effect: str) -> None:
    names = filled(tmp_path)
    happened: list[str] = []

    def die(now: str) -> None:
        happened.append(now)
        if now == effect:
            raise KeyboardInterrupt

    if effect == "superseded.removed":
        compact(tmp_path, NOON, nothing)
    with pytest.raises(KeyboardInterrupt):
        compact(tmp_path, NOON + timedelta(days=1), die)
    assert happened[-1] == effect
    assert shown(tmp_path) == sorted(names)
    for days in range(1, 4):
        compact(tmp_path, NOON + timedelta(days=days), nothing)
        assert shown(tmp_path) == sorted(names)
    assert all(files(tmp_path, day) == {COMPACTED} for day in DAYS)
    assert list((tmp_path / "runs").rglob(".*")) == []
    assert superseded(tmp_path) == {}


def test_readers_meanwhile_see_all_rows_and_no_error(tmp_path: Path) -> None:
    filled(tmp_path)
    seen: list[tuple[int, int]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                with open_views(tmp_path, COUNT) as connection:
                    seen.append(connection.sql(COUNT).fetchall()[0])
        except BaseException as error:  # noqa: BLE001 # told below
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(20):
        day = NOON.date() + timedelta(days=number)
        for file in range(3):
            note(tmp_path, f"more-{number}-{file}", day)
        compact(tmp_path, NOON + timedelta(days=number), nothing)
        answered = len(seen)
        while len(seen) == answered and not failures:  # a day passes now: no query lasts that long
            time.sleep(0.001)
    done.set()
    reader.join()
    assert failures == []
    assert len(seen) > 3
    assert all(rows == names for rows, names in seen)
    assert [rows for rows, _ in seen] == sorted(rows for rows, _ in seen)


def test_one_process_at_a_time_compacts(tmp_path: Path) -> None:
    filled(tmp_path)
    clock = ClockAt(NOON)
    with locks.held_lock(locks.compaction_lock_path(tmp_path), "compaction", clock, 0):
        assert Warehouse(tmp_path).compact(clock) == 0
    assert Warehouse(tmp_path).compact(clock) == 2


@pytest.mark.parametrize("table", APPEND_ONLY_TABLES)
def test_every_table_keeps_its_rows_and_its_types(tmp_path: Path, table: str) -> None:
    schema = APPEND_ONLY_TABLES[table]
    sample: dict[pa.DataType, object] = {pa.float64(): 1.5, pa.int64(): 1, pa.binary(): b"x"}
    for number in range(2):
        row = {field.name: sample.get(field.type, str(number)) for field in schema}
        row |= {field.name: HOURS[number] for field in schema if pa.types.is_timestamp(field.type)}
        Warehouse(tmp_path).append(table, pa.Table.from_pylist([row], schema=schema), f"run-{number}", DAY)
    query = f"from stored.{table} order by all"
    with open_views(tmp_path, query) as connection:
        before = connection.sql(query).to_arrow_table()
    assert compact(tmp_path, NOON, nothing) == 1
    with open_views(tmp_path, query) as connection:
        assert connection.sql(query).to_arrow_table().equals(before)
    path = tmp_path / table / f"date={DAY.isoformat()}" / COMPACTED
    assert pq.read_schema(path).names == schema.names
    assert pq.read_metadata(path).metadata[VERSION_KEY.encode()] == str(SCHEMA_VERSION).encode()


def test_a_commit_and_its_recovery_go_on_over_compacted_hours(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit_like_a_run(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]), rows.FIRST)
    rows.commit_like_a_run(warehouse, *rows.second_commit(), rows.SECOND)
    before = rows.contents(tmp_path)
    for days in (1, 2, 3):
        warehouse.compact(ClockAt(NOON + timedelta(days=days)))
        assert rows.contents(tmp_path) == before
        assert warehouse.recover(CLUSTER, DAY, rows.THIRD.priced_utc, "run-3") == rows.NOTHING_TO_RECOVER
    assert {path.name for path in (tmp_path / "hours").rglob("*.parquet")} == {COMPACTED}


def test_a_damaged_file_is_named_and_its_day_left_as_it_is(tmp_path: Path) -> None:
    filled(tmp_path)
    broken = tmp_path / "runs" / "date=2026-11-01" / "run-1-0-0.parquet"
    broken.write_bytes(b"not parquet")
    with pytest.raises(SchemaError, match=r"run-1-0-0\.parquet is damaged"):
        compact(tmp_path, NOON, nothing)
    assert COMPACTED not in files(tmp_path, DAYS[0])


def test_a_damaged_list_of_superseded_files_is_named(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / SUPERSEDED).write_text("{")
    with pytest.raises(SchemaError, match=r"\.superseded\.json is damaged"):
        shown(tmp_path)


@pytest.mark.parametrize("name", ["it's", "a[b]*c"])
def test_awkward_folder_names_work(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    names = filled(root)
    compact(root, NOON, nothing)
    for path in superseded(root):
        (root / path).write_bytes(b"whoever opens this fails")
    assert shown(root) == sorted(names)


def test_what_it_writes_is_not_for_everyone(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        filled(tmp_path)
        Warehouse(tmp_path).compact(ClockAt(NOON))
    finally:
        os.umask(umask)
    made = [tmp_path / SUPERSEDED, *tmp_path.rglob(COMPACTED), *tmp_path.glob(".locks/*")]
    assert len(made) == 4
    assert {path.stat().st_mode & 0o777 for path in made} == {0o640}
