"""One warehouse in an object store, read in every way that is documented: the same sums as on a disk."""

from datetime import date

import duckdb
import polars
import pyarrow as pa
import pytest
from deltalake import DeltaTable

import pipeline
from pipeline.demo.servers import RunningServer
from pipeline.sinks.delta.access import Access
from pipeline.sinks.sql import run_query
from pipeline.tables import TABLES
from tests.delta.conftest import AT_LENGTH, CLUSTER, WINDOW, ObjectStore, Setting, figures
from tests.delta.s3_server import BUCKET
from tests.product import Product

SUMS = """select count(*) as rows, sum(energy_joules)::decimal(38, 3) as joules,
    sum(emissions_gco2e)::decimal(38, 6) as grams from {}"""


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, small_fleet_prometheus: RunningServer, object_store: ObjectStore
) -> Setting:
    """Three hours, backfilled into the object store; read only."""
    folder = tmp_path_factory.mktemp("filled")
    setting = Setting(folder, small_fleet_prometheus.url, f"s3://{BUCKET}/{folder.name}", object_store.env)
    assert setting.backfill().exit_code == 0
    return setting


def sums(rows: object) -> list[tuple[object, ...]]:
    """Of any table that DuckDB can see in this function."""
    return duckdb.sql(SUMS.format("rows")).fetchall()


def versions(setting: Setting) -> dict[str, int]:
    """The number of commits of every table."""
    urls = {name: f"{setting.path}/{name}" for name in TABLES}
    there = {name: url for name, url in urls.items() if DeltaTable.is_deltatable(url, dict(setting.env))}
    return {name: DeltaTable(url, storage_options=dict(setting.env)).version() for name, url in there.items()}


def test_a_backfill_leaves_the_same_rows_as_on_a_disk(filled: Setting, on_disk: Setting) -> None:
    assert figures(filled) == figures(on_disk)


def test_a_backfill_done_again_commits_nothing_but_its_own_row_in_runs(filled: Setting) -> None:
    before, effects = versions(filled), list[str]()
    assert filled.backfill(effects.append).exit_code == 0
    after = versions(filled)
    assert after == before | {"runs": before["runs"] + 1}
    assert {effect.partition(".")[0] for effect in effects} == {"runs"}


def test_pandas_polars_and_duckdb_read_the_delta_tables_and_sum_alike(filled: Setting, on_disk: Setting) -> None:
    expected = sums(run_query(on_disk.job().warehouse().root, "from emissions"))
    table = DeltaTable(f"{filled.path}/emissions", storage_options=dict(filled.env))
    read = polars.read_delta(f"{filled.path}/emissions", storage_options=dict(filled.env))
    assert expected == sums(table.to_pandas(filters=[("date", ">=", date(2026, 11, 1))]))
    assert table.to_pandas(filters=[("date", ">=", date(2026, 11, 2))]).empty
    assert expected == sums(read.to_arrow())
    assert expected == sums(table.to_pyarrow_dataset())
    assert table.metadata().partition_columns == ["cluster", "date"]
    assert {name: str(kind) for name, kind in read.schema.items() if name in ("cluster", "date")} == {
        "cluster": "String", "date": "Date",
    }  # fmt: skip


def test_the_package_reads_an_address_as_it_reads_a_folder(
    filled: Setting, on_disk: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in filled.env.items():
        monkeypatch.setenv(name, value)
    start, end = WINDOW.start.isoformat(), "2026-11-01T10:00Z"
    there = pipeline.read_emissions(filled.path, start, end).drop(columns="run_id")
    here = pipeline.read_emissions(on_disk.path, start, end).drop(columns="run_id")
    assert len(here) > 0
    assert pa.Table.from_pandas(there) == pa.Table.from_pandas(here)


@AT_LENGTH
def test_the_commands_ask_verify_and_export_it_and_say_no_secret(filled: Setting, on_disk: Setting) -> None:
    expected = sums(run_query(on_disk.job().warehouse().root, "from emissions"))
    product = Product(filled.folder, filled.prometheus)
    product.config.write_text(filled.config.read_text())
    asked = product.call("sql", "--format", "csv", SUMS.format("emissions"), env=filled.env)
    verified = product.call("-v", "verify", env=filled.env)
    exported = product.call("export", str(filled.folder / "all.csv"), env=filled.env)
    assert [one.code for one in (asked, verified, exported)] == [0, 0, 0], (asked, verified, exported)
    assert asked.out.splitlines()[1] == ",".join(str(value) for value in expected[0])
    assert len((filled.folder / "all.csv").read_text().splitlines()) == expected[0][0] + 1
    for said in (asked, verified, exported):
        assert not any(secret in said.out + said.err for secret in Access.of(filled.path, filled.env).secrets)


@AT_LENGTH
def test_a_period_is_closed_there(filled: Setting) -> None:
    product = Product(filled.folder, filled.prometheus)
    product.config.write_text(filled.config.read_text())
    span = ("--start", WINDOW.start.isoformat(), "--end", WINDOW.end.isoformat())
    closed = product.call("close", *span, "--as-is", "--cluster", CLUSTER, env=filled.env)
    shown = product.call("close", "--show", env=filled.env)
    assert (closed.code, shown.code) == (0, 0), (closed, shown)
    assert str(WINDOW.start.date()) in shown.out
