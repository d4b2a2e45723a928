"""Commits of a day: equality, revisions, and what is read back."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import pipeline
from pipeline.errors import ConfigError, SchemaError
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.tables import EMISSIONS, INTENSITY
from pipeline.window import Window
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, FIRST, HOURS, SECOND


def revision_of(warehouse: Warehouse, table: str, hour: datetime) -> set[tuple[str, int]]:
    stored = warehouse.read_day(table, CLUSTER, DAY).to_pylist()
    return {(row["run_id"], row["revision"]) for row in stored if row["hour_utc"] == hour}


def test_a_commit_is_read_back_with_its_run_and_revision(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    result = rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    assert result.rewritten == {HOURS[0]: 0, HOURS[1]: 0}
    stored = warehouse.read_day("emissions", CLUSTER, DAY)
    assert stored.schema == EMISSIONS
    assert stored.num_rows == 8
    assert sum(stored.column("energy_joules").to_pylist()) == pytest.approx(2 * 7.2e6)
    assert revision_of(warehouse, "emissions", HOURS[0]) == {("run-1", 0)}
    assert [row["state"] for row in warehouse.hours(CLUSTER).to_pylist()] == ["complete", "complete"]
    assert warehouse.quarantine(CLUSTER, DAY).column("energy_joules").to_pylist() == [5e9, 5e9]


def test_a_second_equal_commit_writes_nothing(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3]))
    before = rows.files(tmp_path)
    result = rows.commit(
        warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3], web_joules=3.6e6 * (1 + 1e-12)), SECOND
    )
    assert rows.files(tmp_path) == before
    assert result.rewritten == {}
    assert result.kept == tuple(HOURS[:3])


def test_only_hours_that_differ_get_a_new_revision_and_all_their_rows_together(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2]))
    changed = rows.day(HOURS[:1]), rows.day(HOURS[1:2], web_joules=4e6)
    both = DayTables(*(pa.concat_tables([getattr(part, name) for part in changed]) for name in
                       ("emissions", "node_energy", "quarantine", "processes")))  # fmt: skip
    assert rows.commit(warehouse, rows.complete(HOURS[:2]), both, SECOND).rewritten == {HOURS[1]: 1}
    for table in ("emissions", "node_energy", "processes"):
        assert revision_of(warehouse, table, HOURS[0]) == {("run-1", 0)}
        assert revision_of(warehouse, table, HOURS[1]) == {("run-2", 1)}
    shown = warehouse.hours(CLUSTER).to_pylist()
    assert [(row["run_id"], row["revision"]) for row in shown] == [("run-1", 0), ("run-2", 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"carbon_intensity_g_per_kwh": 100.1, "emissions_gco2e": 150.15},
        {"tail_joules": 0.0},
        {"step_joules": [1.8e6, 1.8e6]},
        {"intensity_quality": "estimated"},
        {"intensity_updated_utc": HOURS[0]},
    ],
)
def test_any_change_beyond_rounding_is_written(tmp_path: Path, change: dict[str, object]) -> None:
    warehouse = Warehouse(tmp_path)
    node = [rows.metered(HOURS[0], 3.6e6, 0, 0)]
    hours = rows.complete(HOURS[:1])
    rows.commit(warehouse, hours, rows.tables([rows.pod(HOURS[0], "web", 3.6e6)], node))
    result = rows.commit(warehouse, hours, rows.tables([rows.pod(HOURS[0], "web", 3.6e6, **change)], node), SECOND)
    assert result.rewritten == {HOURS[0]: 1}


def test_step_joules_are_compared_number_by_number(tmp_path: Path) -> None:
    warehouse, hours, node = Warehouse(tmp_path), rows.complete(HOURS[:1]), [rows.metered(HOURS[0], 3.6e6, 0, 0)]
    for steps, expected in (([1.8e6, 1.8e6], 0), ([1.8e6 * (1 + 1e-12), 1.8e6], None), ([1.7e6, 1.9e6], 1), (None, 2)):
        new = rows.tables([rows.pod(HOURS[0], "web", 3.6e6, step_joules=steps)], node)
        assert rows.commit(warehouse, hours, new, SECOND).rewritten.get(HOURS[0]) == expected


def test_a_changed_state_alone_adds_an_hours_row_and_no_file_else(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, [HourCommit(HOURS[0], "partial", "hole on n2")], rows.day(HOURS[:1]))
    before = rows.files(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]), SECOND)
    added = set(rows.files(tmp_path)) - set(before)
    assert [name.split("/")[0] for name in added] == ["hours"]
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["run_id"], row["revision"], row["reason"]) == ("complete", "run-1", 0, None)


def test_an_empty_hour_is_noted_once(tmp_path: Path) -> None:
    warehouse, empty = Warehouse(tmp_path), [HourCommit(HOURS[0], "empty")]
    assert rows.commit(warehouse, empty, rows.tables([], [])).noted == (HOURS[0],)
    before = rows.files(tmp_path)
    rows.commit(warehouse, empty, rows.tables([], []), SECOND)
    assert rows.files(tmp_path) == before
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["revision"]) == ("empty", None)
    assert rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]), SECOND).rewritten == {HOURS[0]: 0}


def test_a_failed_hour_keeps_what_is_stored(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    rows.commit(warehouse, [HourCommit(HOURS[0], "failed", "timeout")], rows.tables([], []), SECOND)
    assert warehouse.read_day("emissions", CLUSTER, DAY).num_rows == 4
    (row,) = warehouse.hours(CLUSTER).to_pylist()
    assert (row["state"], row["run_id"], row["revision"]) == ("failed", "run-1", 0)


def test_repricing_without_processes_keeps_them_in_step(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.without_processes(rows.day(HOURS[:1], intensity=200)), SECOND)
    assert revision_of(warehouse, "processes", HOURS[0]) == {("run-2", 1)}
    assert warehouse.recover(CLUSTER, DAY, SECOND.priced_utc, "run-3").torn_hours == ()


def test_revisions_hold_old_and_new_figures_and_only_of_hours_that_had_some(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert rows.contents(tmp_path)["revisions"] == []
    rows.commit(warehouse, rows.complete(HOURS[:2]), rows.day(HOURS[:2], intensity=200), SECOND)
    found = rows.contents(tmp_path)["revisions"]
    assert {row["hour_utc"] for row in found} == {HOURS[0]}
    (shop,) = [row for row in found if row["namespace"] == "shop"]
    assert (shop["old_emissions_gco2e"], shop["new_emissions_gco2e"]) == pytest.approx((225, 450))
    assert (shop["cause"], shop["rows_changed"], shop["revision"]) == ("intensity", 2, 1)


def test_hours_that_have_not_ended_or_lie_in_another_day_are_refused(tmp_path: Path) -> None:
    early = RunStamp("run-1", HOURS[0] + timedelta(minutes=59), "digest")
    with pytest.raises(SchemaError, match="has not ended"):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.day(HOURS[:1]), early)
    with pytest.raises(SchemaError, match="not a whole UTC hour"):
        Warehouse(tmp_path).commit_day(
            CLUSTER, date(2026, 11, 2), rows.complete(HOURS[:1]), rows.day(HOURS[:1]), FIRST, rows.revision_rows
        )


def test_frames_are_half_open_typed_and_sorted(tmp_path: Path) -> None:
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS), rows.day(HOURS))
    frame = pipeline.read_emissions(tmp_path, "2026-11-01T02:00Z", HOURS[4])
    assert sorted(set(frame["hour_utc"])) == [pd.Timestamp(hour) for hour in HOURS[2:4]]
    assert list(frame.columns) == EMISSIONS.names
    assert len(pipeline.read_node_energy(str(tmp_path))) == 24
    assert len(pipeline.read_emissions(tmp_path / "nowhere")) == 0
    with pytest.raises(ConfigError, match="no time zone"):
        pipeline.read_emissions(tmp_path, "2026-11-01T02:00")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, pipeline; print({'pandas', 'pyarrow', 'duckdb', 'numpy', 'pydantic'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def vintage(start: int, end: int, grams: float | None, fetched: int, **columns: object) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(INTENSITY.names)
    minutes = [HOURS[0] + timedelta(minutes=minute) for minute in (start, end)]
    row |= {"zone": "GB", "start_utc": minutes[0], "end_utc": minutes[1], "carbon_intensity_g_per_kwh": grams}
    row |= {"provider": "neso", "signal": "average", "factor_type": "direct", "fetched_utc": HOURS[fetched]}
    return row | columns


def test_the_newest_vintage_counts_at_every_instant_and_a_null_withdraws(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    stored = [vintage(0, 60, 100.0, 1), vintage(0, 30, 140.0, 2), vintage(60, 120, 90.0, 1), vintage(60, 120, None, 3)]
    stored += [vintage(120, 180, 5.0, 2, updated_utc=HOURS[1]), vintage(120, 180, 6.0, 2, updated_utc=HOURS[2])]
    warehouse.append("intensity", pa.Table.from_pylist(stored[:3], schema=INTENSITY), "run-1", DAY)
    warehouse.append("intensity", pa.Table.from_pylist(stored[3:], schema=INTENSITY), "run-2", date(2026, 11, 2))
    window = Window(HOURS[0], HOURS[0] + timedelta(hours=24))
    found = warehouse.intensity_vintages({"neso": "GB"}, window).to_pylist()
    minutes = [
        (row["start_utc"].hour * 60 + row["start_utc"].minute, row["carbon_intensity_g_per_kwh"]) for row in found
    ]
    assert minutes == [(0, 140.0), (30, 100.0), (60, None), (120, 6.0)]
    assert warehouse.intensity_vintages({"neso": "DE", "watttime": "GB"}, window).num_rows == 0
    assert warehouse.intensity_vintages({}, window).num_rows == 0
    assert [
        row["start_utc"] for row in warehouse.intensity_vintages({"neso": "GB"}, Window.of_hour(HOURS[1])).to_pylist()
    ] == [HOURS[1]]


def test_hours_of_stores_and_windows_are_read_apart(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path)
    rows.commit(warehouse, rows.complete(HOURS[:3]), rows.day(HOURS[:3]))
    schema = warehouse.hours(CLUSTER).schema
    base = {"cluster": CLUSTER, "hour_utc": HOURS[0], "store": "vm", "run_id": "run-1", "revision": 0, "samples": 7}
    for state, written in (("no", 1), ("yes", 2)):
        row = (
            dict.fromkeys(schema.names)
            | base
            | {"state": state, "written_utc": datetime(2026, 11, 3, written, tzinfo=UTC)}
        )
        warehouse.append("hours", pa.Table.from_pylist([row], schema=schema), "run-1", date(2026, 11, 3))
    assert warehouse.hours(CLUSTER, Window(HOURS[1], HOURS[3])).column("hour_utc").to_pylist() == HOURS[1:3]
    assert warehouse.hours("other").num_rows == 0
