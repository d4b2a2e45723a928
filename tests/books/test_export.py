"""An export is the table, whole, in one order; a spreadsheet shows its text and computes none of it."""

import csv
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.books.export import export
from pipeline.books.pruning import prune
from pipeline.errors import ConfigError, StoreUnwritable
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import EMISSIONS, NODE_ENERGY, REPLACED_TABLES
from pipeline.window import Window
from tests.books.booked import DAY, HOUR, booked, given, rows
from tests.books.test_pruning import YEAR_LATER, near, sums
from tests.prices.stored import CLUSTER, START, job
from tests.sinks import rows as made

SPAN = Window(START + 22 * HOUR, START + 25 * HOUR)
NAMES = ["=1+1", "+1", "-1", "@x", "\tx", "\r=x", "\uff1d1", "plain", "it's", 'a"b', "a,b", "a\nb", "", "'=1"]


def columns_of(table: str) -> list[str]:
    return list(REPLACED_TABLES[table].names)


@pytest.mark.parametrize("table", ["emissions", "emissions_daily", "node_energy", "processes"])
def test_parquet_is_the_table_with_its_schema(tmp_path: Path, table: Any) -> None:  # noqa: ANN401 # a literal
    warehouse, path = booked(tmp_path / "w"), tmp_path / "out.parquet"
    count = export(warehouse, table, [CLUSTER], None, "parquet", path)
    found = pq.read_table(path)
    assert found.schema == REPLACED_TABLES[table]
    expected = [{name: row[name] for name in columns_of(table)} for row in rows(warehouse.root, table)]
    assert sorted(found.to_pylist(), key=repr) == sorted(expected, key=repr)
    assert count == found.num_rows
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_csv_has_the_same_figures_with_their_units_in_the_names(tmp_path: Path) -> None:
    warehouse, path = booked(tmp_path / "w"), tmp_path / "out.csv"
    export(warehouse, "emissions", [CLUSTER], None, "csv", path)
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert list(found[0]) == columns_of("emissions")
    expected = rows(warehouse.root, "emissions")
    for name in ("energy_joules", "emissions_gco2e", "coverage_ratio"):
        assert sorted(float(row[name]) for row in found) == sorted(row[name] for row in expected)
    assert {row["hour_utc"] for row in found} == {f"{row['hour_utc']:%FT%T}.000000Z" for row in expected}
    assert {row["platform_scale"] for row in found} == {""}


def test_only_hours_of_the_span_and_of_the_clusters_are_written_in_order(tmp_path: Path) -> None:
    warehouse, path = booked(tmp_path / "w"), tmp_path / "out.csv"
    assert export(warehouse, "emissions", [CLUSTER], SPAN, "csv", path) == 9
    hours = list(pd.to_datetime(pd.read_csv(path)["hour_utc"]))
    assert hours == sorted(hours)
    assert set(hours) == set(SPAN.hours())
    assert export(warehouse, "emissions", ["other"], None, "csv", path) == 0
    assert path.read_text().count("\n") == 1


def test_two_exports_are_the_same_bytes(tmp_path: Path) -> None:
    warehouse = booked(tmp_path / "w")
    for name in ("one.csv", "two.csv"):
        export(warehouse, "emissions", [CLUSTER], None, "csv", tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def named(folder: Path) -> Warehouse:
    """One hour with pods of awkward names and steps of energy."""
    hour = made.HOURS[0]
    emissions = [
        made.pod(hour, f"w{n}", 3.6e6, workload=name, step_joules=[1.2e6, 2.4e6]) for n, name in enumerate(NAMES)
    ]
    new = made.tables(emissions, [made.metered(hour, 3.6e6 * len(NAMES), 0, 0)])
    made.commit(Warehouse(folder), made.complete([hour]), new)
    return Warehouse(folder)


def test_text_that_a_spreadsheet_would_compute_is_prefixed_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    export(named(tmp_path / "w"), "emissions", [made.CLUSTER], None, "csv", path)
    with path.open(newline="", encoding="utf-8") as file:
        found = {row["pod"]: row for row in csv.DictReader(file)}
    shown = {
        f"w{n}-0": ("'" if name[:1] in set("=+-@\t\r\uff1d") and name else "") + name for n, name in enumerate(NAMES)
    }
    assert {pod: row["workload"] for pod, row in found.items()} == shown
    assert {row["step_joules"] for row in found.values()} == {"1200000.0 2400000.0"}
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in found.values() for cell in row.values())


def test_parquet_keeps_names_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    export(named(tmp_path / "w"), "emissions", [made.CLUSTER], None, "parquet", path)
    assert set(pq.read_table(path)["workload"].to_pylist()) == set(NAMES)


def test_pruned_days_are_exported_by_their_sums(tmp_path: Path) -> None:
    warehouse, path = booked(tmp_path / "w"), tmp_path / "out.parquet"
    before = sums(rows(warehouse.root, "emissions"))
    prune(job(given(tmp_path / "w"), YEAR_LATER), [CLUSTER], "13mo")
    export(warehouse, "emissions", [CLUSTER], None, "parquet", path)
    assert sums(pq.read_table(path).to_pylist()) == near(before)


def test_a_file_inside_the_warehouse_is_refused(tmp_path: Path) -> None:
    warehouse = booked(tmp_path / "w")
    with pytest.raises(ConfigError, match="lies in the warehouse"):
        export(warehouse, "emissions", [CLUSTER], None, "csv", tmp_path / "w" / "emissions" / "x.csv")


@contextmanager
def failing_midway(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The disk is full at the first sync."""

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patched:
        patched.setattr("pipeline.books.export.os.fsync", full)
        yield


def test_what_was_there_stands_when_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse, path = booked(tmp_path / "w"), tmp_path / "out.csv"
    path.write_text("before")
    with failing_midway(monkeypatch), pytest.raises(Exception, match="No space"):
        export(warehouse, "emissions", [CLUSTER], None, "csv", path)
    assert path.read_text() == "before"
    assert list(tmp_path.glob(".*.tmp")) == []


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StoreUnwritable):
        export(booked(tmp_path / "w"), "emissions", [CLUSTER], None, "csv", tmp_path / "nowhere" / "out.csv")


def test_exported_tables_begin_with_the_time_of_their_rows() -> None:
    assert (EMISSIONS.names[0], NODE_ENERGY.names[0], SPAN.hour_count) == ("hour_utc", "hour_utc", 3)
    assert all(pa.types.is_timestamp(REPLACED_TABLES[name].field(0).type) for name in REPLACED_TABLES)
    assert START + DAY in SPAN
