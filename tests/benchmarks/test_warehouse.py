"""The warehouse benchmark at a tiny size: its rows are the product's, and its rivals hold the same."""

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import warehouse
from benchmarks.rival_writers import DUCKDB, OURS, PANDAS
from benchmarks.warehouse import ask_native, daily, make_native, queries, writing
from benchmarks.warehouse_rows import CLUSTER, FIRST_DAY, Size, priced_day, write
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.transforms.revisions import revision_rows
from pipeline.window import HOUR

SIZE, DAYS = Size(pods=300), 2


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("warehouse")
    assert write(root, SIZE, DAYS) == DAYS * 24 * (SIZE.pods + 2 * SIZE.nodes)
    return root


def test_a_written_day_is_what_a_commit_would_have_left(root: Path, tmp_path: Path) -> None:
    day = priced_day(SIZE, FIRST_DAY)
    hours = sorted(set(day.emissions.column("hour_utc").to_pylist()))
    commits = [HourCommit(hour, "complete") for hour in hours]
    bare = DayTables(
        day.emissions.drop_columns(["run_id", "revision"]), day.node_energy.drop_columns(["run_id", "revision"]),
        day.quarantine,
    )  # fmt: skip
    other = Warehouse(tmp_path)
    stamp = RunStamp("run", hours[-1] + 2 * HOUR, "digest")
    other.commit_day(CLUSTER, FIRST_DAY, commits, bare, stamp, revision_rows)
    for table in ("emissions", "node_energy"):
        ours, theirs = (
            w.read_day(table, CLUSTER, FIRST_DAY).drop_columns(["run_id"]) for w in (Warehouse(root), other)
        )
        assert ours.equals(theirs), table
    found = Warehouse(root).recover(CLUSTER, FIRST_DAY, hours[-1] + timedelta(days=9), "later")
    assert (found.restored_hours, found.torn_hours) == ((), ())


def test_every_shipped_query_answers_the_same_in_the_native_file(root: Path, tmp_path: Path) -> None:
    native = tmp_path / "native.duckdb"
    make_native(root, native)
    found = queries(root, native, 1)
    assert {one.name for one in found} == {*shipped_queries()}
    assert ask_native(native, "select * from emissions") == DAYS * 24 * (SIZE.pods + 2 * SIZE.nodes)
    grams = {
        row["signal"]: row["emissions_gco2e"]
        for row in run_query(root, shipped_queries()["scopes_side_by_side"]).to_pylist()
    }
    assert min(grams.values()) > 0, "every signal has figures, or its view would be measured without its work"
    for _, by_rows, by_day in daily(root, 1):
        assert by_rows > 0 < by_day


def test_all_writers_price_the_same_grams(tmp_path: Path) -> None:
    found = writing(tmp_path, 50, 1)
    assert [*found] == [OURS, PANDAS, DUCKDB]
    duckdb_grams = pd.read_parquet(tmp_path / "written")["emissions_gco2e"].sum()
    day = priced_day(Size(pods=50), FIRST_DAY).emissions.to_pandas()
    assert duckdb_grams >= day["emissions_gco2e"].sum() > 0, "the generator leaves an hour in two hundred unpriced"


def test_quick_runs_to_its_end_and_writes_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, pages: Path
) -> None:
    monkeypatch.setattr(warehouse, "QUICK_DAYS", 1)
    monkeypatch.setattr(warehouse, "QUICK_PODS", 100)
    before = {path.name: path.read_bytes() for path in pages.glob("*.md")}
    warehouse.main(["--quick", "--data", str(tmp_path)])
    assert "| grams_by_namespace_and_day |" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in pages.glob("*.md")} == before
