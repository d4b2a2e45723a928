"""Whatever is altered behind the pipeline's back is found, told in a line, and nothing else is."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.books.faults import Fault
from pipeline.books.verification import verify
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import REPLACED_TABLES
from pipeline.window import Window
from tests.books.booked import DAY, HOUR, HOURS, LATER, booked, given, tables
from tests.prices.stored import CLUSTER, START, StandingClock, fold, learn, vintage

TODAY = START.date()


def found(folder: Path, window: Window | None = None) -> list[Fault]:
    return verify(Warehouse(folder), [CLUSTER], window, StandingClock(LATER)).faults


def rewrite(
    folder: Path, table: str, change: Callable[[pa.Table], pa.Table], cluster: str = CLUSTER, day: date = TODAY
) -> None:
    """Alter the rows of a day, the first unless told, and keep what the footer says."""
    path = partition_path(folder, table, cluster, day)
    rows = pq.ParquetFile(path).read()
    pq.write_table(change(rows).replace_schema_metadata(rows.schema.metadata), path)


def with_value(column: str, index: int, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(rows: pa.Table) -> pa.Table:
        cells = rows[column].to_pylist()
        cells[index] = value
        return rows.set_column(
            rows.schema.get_field_index(column), column, pa.array(cells, rows.schema.field(column).type)
        )

    return change


def times(column: str, factor: float) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.set_column(
        rows.schema.get_field_index(column), column, pc.multiply(rows[column], pa.scalar(factor))
    )


def test_what_the_pipeline_wrote_is_in_order_and_looking_changes_nothing(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    before = tables(tmp_path)
    done = verify(warehouse, [CLUSTER], None, StandingClock(LATER))
    assert (done.days, done.faults) == (2, [])
    added = [path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.parquet")]
    assert done.files == sum(table not in (*REPLACED_TABLES, "runs") for table in added)
    assert list(done.lines())[-1].endswith("nothing is off")
    assert tables(tmp_path) == before


@pytest.mark.parametrize(
    ("table", "change", "hour", "words", "remedy"),
    [
        ("emissions", with_value("energy_joules", 1, 9e9), 0, "are not the sum of its emissions rows", "fold"),
        ("emissions", with_value("emissions_gco2e", 4, 9e9), 1, "are not what PUE and intensity make", "price"),
        ("emissions", with_value("facility_energy_kwh", 4, 9e9), 1, "are not what PUE and intensity make", "price"),
        ("emissions", with_value("pue_source", 7, None), 2, "is priced but has no pue_source", "fold"),
        ("emissions", lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), 0, "comes twice", "fold"),
        ("emissions", with_value("run_id", 0, "somebody"), 0, "emissions has rows of revision 0 of somebody", "fold"),
        ("node_energy", with_value("metered_joules", 2, 1.0), 2, "breaks P1", "fold"),
        ("node_energy", with_value("revision", 3, 7), 3, "node_energy has rows of revision 7 of fold", "fold"),
        ("node_energy", lambda rows: rows.slice(1), 0, "has no row in node_energy", "fold"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_altered_row_is_found_in_its_hour(
    tmp_path: Path, table: str, change: Callable[[pa.Table], pa.Table], hour: int, words: str, remedy: str
) -> None:
    booked(tmp_path)
    rewrite(tmp_path, table, change)
    faults = found(tmp_path)
    assert any(words in fault.what and fault.remedy == remedy for fault in faults), [fault.what for fault in faults]
    of_hours = {moment for fault in faults for moment in fault.hours}
    assert of_hours == {HOURS[hour]}
    assert {fault.day for fault in faults} == {TODAY}
    assert all("\n" not in fault.line() and "nothing was written" not in fault.line() for fault in faults)


def test_steps_that_do_not_add_up_are_found(tmp_path: Path) -> None:
    learn(Warehouse(tmp_path), *(vintage(hour, 100.0, LATER) for hour in HOURS[:3]))
    fold(given(tmp_path, energy_step="15m"), HOURS[:3], LATER, steps=4)
    assert found(tmp_path) == []
    rewrite(tmp_path, "emissions", with_value("step_joules", 5, [1.0, 2.0, 3.0, 4.0]))
    (fault,) = found(tmp_path)
    assert ("step_joules do not add up" in fault.what, fault.hours) == (True, {HOURS[1]})


def test_daily_sums_that_are_not_the_sum_are_found(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "emissions_daily", times("emissions_gco2e", 1 + 1e-6))
    (fault,) = found(tmp_path)
    assert (fault.remedy, "not the sum" in fault.what, fault.hours) == ("sum", True, frozenset())


@pytest.mark.parametrize("table", ["emissions", "node_energy"])
@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda _: b"", lambda b: b[:40] + b"\xff" * 40 + b[80:]]
)
def test_a_file_that_cannot_be_read_is_one_fault(tmp_path: Path, table: str, damage: Callable[[bytes], bytes]) -> None:
    booked(tmp_path)
    path = partition_path(tmp_path, table, CLUSTER, TODAY)
    path.write_bytes(damage(path.read_bytes()))
    (fault,) = found(tmp_path)
    assert (fault.is_unreadable, fault.remedy, fault.hours) == (True, "fold", frozenset(HOURS[:24]))
    assert str(path) in fault.what


def test_a_file_that_is_gone_is_found_by_what_hours_shows(tmp_path: Path) -> None:
    booked(tmp_path)
    for table in ("emissions", "node_energy", "emissions_daily"):
        partition_path(tmp_path, table, CLUSTER, TODAY).unlink()
    faults = found(tmp_path)
    assert {hour for fault in faults for hour in fault.hours} == set(HOURS[:24])
    assert all("emissions holds nothing" in fault.what for fault in faults)


def test_an_hours_row_that_is_gone_is_only_to_be_noted(tmp_path: Path) -> None:
    booked(tmp_path)
    for path in tmp_path.glob("hours/date=*/*.parquet"):
        path.unlink()
    faults = found(tmp_path)
    assert {fault.remedy for fault in faults} == {"note"}
    assert {hour for fault in faults for hour in fault.hours} == set(HOURS)


def test_a_file_older_than_its_hours_is_found(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    held = {name: content for name, content in tables(tmp_path).items() if name.startswith(("emissions", "node"))}
    learn(warehouse, vintage(HOURS[3], 250.0, LATER))
    fold(given(tmp_path), HOURS, LATER, run_id="second")
    for name, content in held.items():
        (tmp_path / name).write_bytes(content)
    (fault,) = found(tmp_path)
    assert (fault.hours, fault.remedy) == ({HOURS[3]}, "fold")
    assert "hours shows revision 1 of second, emissions holds revision 0 of fold" in fault.what


def test_a_footer_that_tells_of_other_commits_is_found(tmp_path: Path) -> None:
    booked(tmp_path)
    path = partition_path(tmp_path, "emissions", CLUSTER, TODAY)
    rows = pq.ParquetFile(path).read()
    commits = json.loads(rows.schema.metadata[FOOTER_KEY.encode()])
    kept = json.dumps([commit for commit in commits if not commit["hour_utc"].startswith("2026-11-03T05")])
    pq.write_table(rows.replace_schema_metadata({FOOTER_KEY: kept}), path)
    faults = found(tmp_path)
    assert {hour for fault in faults for hour in fault.hours} == {HOURS[5]}


def test_a_damaged_file_of_an_append_only_table_is_found_and_only_a_backup_has_it(tmp_path: Path) -> None:
    booked(tmp_path)
    (path,) = tmp_path.glob("intensity/date=*/*.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    (fault,) = found(tmp_path)
    assert (fault.remedy, fault.day, str(path) in fault.what) == ("backup", None, True)
    rewrite(tmp_path, "node_energy", with_value("metered_joules", 2, 1.0))
    assert [fault.day for fault in found(tmp_path)] == [None, TODAY]  # and the days are looked at all the same


def test_without_readable_hours_nothing_is_said_of_days(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "node_energy", with_value("metered_joules", 2, 1.0))
    path = next(tmp_path.glob("hours/date=*/*.parquet"))
    path.write_bytes(path.read_bytes()[:-30])
    assert [(fault.day, str(path) in fault.what) for fault in found(tmp_path)] == [(None, True)]


def test_only_days_that_the_span_touches_are_looked_at(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "node_energy", with_value("metered_joules", 2, 1.0))
    assert found(tmp_path, Window(START + DAY, START + 2 * DAY)) == []
    assert len(found(tmp_path, Window(START + 23 * HOUR, START + 2 * DAY))) == 1
