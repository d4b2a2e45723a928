"""Days of a month in a file a table: what views read in place of them, and only while it is what they hold."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SchemaError
from pipeline.sinks import months
from pipeline.sinks.appended import superseded
from pipeline.sinks.compaction import compact
from pipeline.sinks.months import TABLES_OF_MONTHS
from pipeline.sinks.partitions import VERSION_KEY, nothing, partition_path
from pipeline.sinks.views import DATABASE, open_views, refresh_database
from pipeline.sinks.warehouse import RunStamp, Warehouse
from pipeline.tables import SCHEMA_VERSION
from tests.sinks import rows
from tests.sinks.daily import rolled_up, summed
from tests.sinks.rows import CLUSTER, DAY, HOURS

MONTH_LATER = datetime(2026, 12, 1, 12, tzinfo=UTC)
LAST_CHANGE = MONTH_LATER.timestamp() - 86_400
AGAIN = RunStamp("run-9", MONTH_LATER, "digest-1")
TABLES = ("emissions", *TABLES_OF_MONTHS)
QUESTIONS = (
    "select * exclude (run_id) from node_energy order by all",
    "select date, workload, energy_joules, hours from emissions_daily order by all",
)


def rest(root: Path) -> None:
    """Let a day pass in which no file changes."""
    for path in root.glob("[!.]*/**/*.parquet"):
        os.utime(path, (LAST_CHANGE, LAST_CHANGE))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two days of November, put together in December."""
    for later, stamp in ((0, rows.FIRST), (1, RunStamp("run-2", HOURS[0] + timedelta(days=2), "digest-1"))):
        hours = [hour + timedelta(days=later) for hour in HOURS[:2]]
        rows.commit(Warehouse(tmp_path), rows.complete(hours), rows.day(hours), stamp)
    rest(tmp_path)
    compact(tmp_path, MONTH_LATER, nothing)
    return tmp_path


def standing(root: Path) -> list[Path]:
    """The folders of clusters that are read."""
    found = (month for place in months.clusters(root) for month in months.months_of(root, place))
    return [folder for folder, _ in (months.standing(root, month) for month in found) if folder is not None]


def shown(root: Path) -> list[list[tuple[object, ...]]]:
    """What this program answers."""
    with open_views(root) as connection:
        return [connection.sql(text).fetchall() for text in QUESTIONS]


def of_days(root: Path) -> list[list[tuple[object, ...]]]:
    """What the files of the days come to."""
    refresh_database(root)
    with duckdb.connect(str(root / DATABASE), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return [connection.sql(text).fetchall() for text in QUESTIONS]


def days_of(root: Path, table: str) -> list[Path]:
    return sorted(root.glob(f"{table}/*/*/*.parquet"))


def spoil(root: Path) -> None:
    """Days that whoever opens fails at, and that look as before from outside."""
    for table in TABLES_OF_MONTHS:
        for path in days_of(root, table):
            before = path.stat()
            path.write_bytes(b"x" * before.st_size)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_month_that_is_over_is_read_without_its_days(root: Path) -> None:
    expected = of_days(root)
    assert [len(found) for found in expected] == [4, 8]
    spoil(root)
    assert shown(root) == expected
    with pytest.raises(duckdb.Error, match="No magic bytes"):
        of_days(root)


def test_its_columns_are_those_of_the_days(root: Path) -> None:
    described = []
    for _ in range(2):
        with open_views(root) as connection:
            tables = TABLES_OF_MONTHS
            described.append([connection.sql(f"describe {table}").fetchall() for table in tables])
        shutil.rmtree(root / months.FOLDER, ignore_errors=True)
    assert described[0] == described[1]


@pytest.mark.parametrize(
    ("now", "changed"),
    [(HOURS[0] + timedelta(days=3, hours=23), HOURS[0].timestamp()), (MONTH_LATER, MONTH_LATER.timestamp() - 1800)],
)
def test_the_last_days_and_those_that_changed_within_the_hour_are_left(
    root: Path, now: datetime, changed: float
) -> None:
    shutil.rmtree(root / months.FOLDER)
    for path in root.glob("[!.]*/**/*.parquet"):
        os.utime(path, (changed, changed))
    compact(root, now, nothing)
    assert [*root.glob(f"{months.FOLDER}/*/*")] == []


def test_a_month_that_goes_on_is_put_together_up_to_some_days_ago_and_the_others_are_read_beside(root: Path) -> None:
    shutil.rmtree(root / months.FOLDER)
    new_day(root)
    days = [days_of(root, table) for table in TABLES]
    for path in root.glob("[!.]*/**/*.parquet"):
        os.utime(path, (HOURS[0].timestamp(), HOURS[0].timestamp()))
    expected = of_days(root)
    put = []
    for since in (timedelta(days=4), timedelta(days=7, hours=23), timedelta(days=8)):
        compact(root, HOURS[0] + since, nothing)
        put += [folder.name[:10] for folder in standing(root)]
        assert shown(root) == expected
    assert put == ["2026-11-02", "2026-11-02", "2026-11-06"]
    assert [len(superseded(root)), [days_of(root, table) for table in TABLES] == days] == [2, True]
    late(root)
    assert standing(root) == []
    assert shown(root) == of_days(root) != expected


def corrected(root: Path) -> None:
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1], web_joules=9e6), AGAIN)


def late(root: Path) -> None:
    rows.commit(Warehouse(root), rows.complete(HOURS[5:6]), rows.day(HOURS[5:6]), AGAIN)


def new_day(root: Path) -> None:
    hours = [HOURS[0] + timedelta(days=5)]
    rows.commit(Warehouse(root), rows.complete(hours), rows.day(hours), AGAIN)


def lost(root: Path) -> None:
    days_of(root, "emissions")[0].unlink()
    days_of(root, "node_energy")[0].unlink()


def put_back(root: Path) -> None:
    """A file of before a correction, with the times that it had."""
    path = days_of(root, "node_energy")[0]
    aside = root / "aside"
    shutil.copy2(path, aside)
    corrected(root)
    rest(root)
    compact(root, MONTH_LATER, nothing)
    aside.replace(path)


def torn(root: Path) -> None:
    """A run that is killed before its commit."""

    def die(effect: str) -> None:
        if effect == "node_energy":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        rows.commit(Warehouse(root, die), rows.complete(HOURS[:1]), rows.day(HOURS[:1], web_joules=9e6), AGAIN)


@pytest.mark.parametrize("change", [corrected, late, new_day, lost, put_back, torn])
def test_a_day_that_changes_shows_at_once_and_again_when_its_month_is_put_together(
    root: Path, change: Callable[[Path], None]
) -> None:
    change(root)
    assert shown(root) == of_days(root)
    assert rolled_up(root) == summed(root)
    rest(root)
    compact(root, MONTH_LATER, nothing)
    assert len(standing(root)) == (change not in (lost, put_back, torn)), "doubt"
    assert shown(root) == of_days(root)
    assert rolled_up(root) == summed(root)


def test_a_month_that_nobody_reads_any_more_is_removed_a_day_later(root: Path) -> None:
    (old,) = standing(root)
    corrected(root)
    rest(root)
    compact(root, MONTH_LATER, nothing)
    (new,) = standing(root)
    gone = {str((old / f"{table}.parquet").relative_to(root)) for table in TABLES_OF_MONTHS}
    assert old != new
    assert set(superseded(root)) == gone
    compact(root, MONTH_LATER + timedelta(days=1), nothing)
    assert not any((root / name).exists() for name in gone)
    assert shown(root) == of_days(root)


def test_a_month_that_is_again_what_it_was_is_read_from_whichever_files_are_left(root: Path) -> None:
    """A day that comes and goes: the folder of before is listed as superseded, half removed, and its state returns."""
    (old,) = standing(root)
    expected = shown(root)
    aside = {path: path.with_suffix(".aside") for table in TABLES for path in days_of(root, table)[1:]}
    for path, other in aside.items():
        path.rename(other)
    compact(root, MONTH_LATER, nothing)
    assert len(superseded(root)) == 2
    for path, other in aside.items():
        other.rename(path)
    assert standing(root) == [old]
    compact(root, MONTH_LATER + timedelta(hours=2), nothing)
    assert not any(name.startswith(str(old.relative_to(root))) for name in superseded(root))
    assert shown(root) == expected
    (old / "node_energy.parquet").unlink()
    assert standing(root) == []
    assert shown(root) == expected
    compact(root, MONTH_LATER + timedelta(hours=3), nothing)
    assert standing(root) == [old]
    assert shown(root) == expected


@pytest.mark.parametrize("dies_at", ["node_energy.month.temporary", "emissions_daily.month.temporary", "month"])
def test_a_kill_while_it_is_put_together_costs_nothing(root: Path, dies_at: str) -> None:
    shutil.rmtree(root / months.FOLDER)

    def die(effect: str) -> None:
        if effect == dies_at:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        compact(root, MONTH_LATER, die)
    assert len(standing(root)) == (dies_at == "month")
    assert shown(root) == of_days(root)
    compact(root, MONTH_LATER, nothing)
    assert len(standing(root)) == 1
    assert list(root.glob(f"{months.FOLDER}/*/.*")) == []


@pytest.mark.parametrize("effect", ["node_energy.month.temporary", "emissions_daily.month.temporary"])
def test_a_day_that_changes_meanwhile_leaves_its_month_to_the_next_call(root: Path, effect: str) -> None:
    shutil.rmtree(root / months.FOLDER)
    compact(root, MONTH_LATER, lambda name: corrected(root) if name == effect else None)
    assert standing(root) == []
    assert shown(root) == of_days(root)


def test_large_days_are_left_as_they_are(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(root / months.FOLDER)
    monkeypatch.setattr(months, "MOST_BYTES", 2 * days_of(root, "node_energy")[0].stat().st_size - 1)
    compact(root, MONTH_LATER, nothing)
    assert standing(root) == []


def test_other_clusters_and_months_are_read_beside_it(root: Path) -> None:
    december = [hour + timedelta(days=30) for hour in HOURS[:1]]
    rows.commit(Warehouse(root), rows.complete(december), rows.day(december), AGAIN)
    shutil.copytree(root / "node_energy" / f"cluster={CLUSTER}", root / "node_energy" / "cluster=other")
    shutil.copytree(root / "emissions" / f"cluster={CLUSTER}", root / "emissions" / "cluster=other")
    assert len(standing(root)) == 1
    assert shown(root) == of_days(root)
    assert [len(found) for found in shown(root)] == [4 + 1 + 5, 8 + 4 + 12]


def test_a_day_without_a_roll_up_is_left_until_it_has_one(root: Path) -> None:
    shutil.rmtree(root / months.FOLDER)
    partition_path(root, "emissions_daily", CLUSTER, DAY).unlink()
    compact(root, MONTH_LATER, nothing)
    assert standing(root) == []
    Warehouse(root).roll_up(CLUSTER, DAY)
    rest(root)
    compact(root, MONTH_LATER, nothing)
    assert len(standing(root)) == 1


HOURS_TOLD = "select * from hours order by all"


def told(root: Path) -> list[tuple[object, ...]]:
    with open_views(root, HOURS_TOLD) as connection:
        return connection.sql(HOURS_TOLD).fetchall()


def files_of_hours(root: Path) -> list[Path]:
    return sorted(root.glob("hours/*/*.parquet"))


def test_rows_that_are_only_added_are_read_without_the_files_of_their_days_too(root: Path) -> None:
    expected = told(root)
    (month,) = root.glob(f"{months.FOLDER}/table=hours/*/hours.parquet")
    assert len(expected) == 4
    for path in files_of_hours(root):
        before = path.stat()
        path.write_bytes(b"x" * before.st_size)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert told(root) == expected
    month.unlink()
    with pytest.raises(duckdb.Error, match="No magic bytes"):
        told(root)


def test_a_row_that_is_added_late_shows_at_once_and_again_when_its_month_is_put_together(root: Path) -> None:
    before = told(root)
    late = RunStamp("run-3", HOURS[0] + timedelta(days=2), "digest-1")
    rows.commit(Warehouse(root), rows.complete(HOURS[5:6]), rows.day(HOURS[5:6]), late)
    shown_late = told(root)
    assert len(shown_late) == len(before) + 1
    rest(root)
    compact(root, MONTH_LATER, nothing)
    assert told(root) == shown_late
    for path in root.glob("hours/*/compacted.parquet"):
        os.utime(path, (LAST_CHANGE, LAST_CHANGE))
    compact(root, MONTH_LATER + timedelta(days=1), nothing)
    (folder,) = {path.parent for path in root.glob(f"{months.FOLDER}/table=hours/*/*.parquet")} - {
        (root / path).parent for path in superseded(root)
    }
    assert len(files_of_hours(root)) == 2, "compacted, and its originals removed"
    assert [month.folder(root) for month in months.months_of(root, "table=hours")] == [folder]
    assert told(root) == shown_late


def test_a_month_in_one_file_stays_there(root: Path) -> None:
    shutil.rmtree(root / months.FOLDER)
    for path in files_of_hours(root)[1:]:
        path.unlink()
    compact(root, MONTH_LATER, nothing)
    assert [*root.glob(f"{months.FOLDER}/table=hours/*")] == []
    assert len(told(root)) == 2


def test_a_month_with_a_file_of_a_newer_release_is_refused(root: Path) -> None:
    shutil.rmtree(root / months.FOLDER)
    path = files_of_hours(root)[0]
    newer = pq.read_table(path).replace_schema_metadata({VERSION_KEY: str(SCHEMA_VERSION + 1)})
    pq.write_table(newer, path)
    rest(root)
    with pytest.raises(SchemaError, match="install the newer release"):
        compact(root, MONTH_LATER, nothing)
    assert len(standing(root)) == 1, "others are put together all the same"


def test_a_month_of_many_rows_is_written_some_days_at_a_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, hours = shown(root), told(root)
    shutil.rmtree(root / months.FOLDER)
    monkeypatch.setattr(months, "GROUP_ROWS", 3)
    compact(root, MONTH_LATER, nothing)
    written = {path.stem: pq.read_metadata(path).num_row_groups for path in root.glob(f"{months.FOLDER}/*/*/*.parquet")}
    assert written == {"node_energy": 1, "emissions_daily": 2, "hours": 1, "quarantine": 1}
    spoil(root)
    assert (shown(root), told(root)) == (expected, hours)


def test_what_somebody_else_put_between_the_days_is_not_looked_at(root: Path) -> None:
    expected = told(root)
    (root / "hours" / f"date={DAY}.tar").write_bytes(b"")
    (root / "emissions" / "backup=1").mkdir()
    assert told(root) == expected
