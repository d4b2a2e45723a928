"""The books as a user keeps them: commands with a real warehouse, their lines, their JSON and their exit codes."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline.demo.servers import RunningServer
from pipeline.sinks.partitions import partition_path
from pipeline.window import HOUR
from tests.conftest import SMALL_FLEET_START
from tests.product import Product

START, END = SMALL_FLEET_START, SMALL_FLEET_START + 3 * HOUR
SPAN = ("--start", f"{START:%FT%H:%MZ}", "--end", f"{END:%FT%H:%MZ}")


@pytest.fixture(scope="module")
def product(small_fleet_prometheus: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Product:
    """Three hours of the small fleet."""
    made = Product(tmp_path_factory.mktemp("books"), small_fleet_prometheus.url)
    done = made.call("backfill", *SPAN)
    assert (done.code, done.errors) == (0, [])
    return made


def test_a_period_is_closed_shown_and_stands(product: Product) -> None:
    first = product.call("close", *SPAN)
    assert (first.code, first.errors) == (0, [])
    assert "is closed:" in first.out
    again = json.loads(product.call("close", *SPAN, "--json").out)
    assert [one["exit_code"] for one in again] == [0]
    assert again[0]["stands_since_utc"] is not None
    shown = product.call("close", "--show")
    assert shown.out.strip().endswith("unchanged")
    told = json.loads(product.call("close", "--show", "--json").out)
    assert {row["difference_gco2e"] for row in told} == {0}
    assert not any(row["is_material"] for row in told)


def test_a_month_that_is_not_done_is_refused_in_one_line(product: Product) -> None:
    said = product.call("close", "--period", f"{START:%Y-%m}")
    assert said.code in {65, 75}  # by whether the month has passed when the tests run
    assert "is not closed:" in said.only_error()
    assert product.call("close").only_error() == ("error: say which period: --period 2026-10, or --start and --end")


def test_verify_finds_what_was_altered_and_repair_mends_it(product: Product) -> None:
    fine = product.call("verify")
    assert (fine.code, fine.out.strip().rpartition(": ")[2]) == (0, "nothing is off")
    path = partition_path(product.warehouse, "emissions", "prod-eu", START.date())
    before = pd.read_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    wrong = product.call("verify", *SPAN, "--json")
    assert wrong.code == 65
    (fault,) = json.loads(wrong.out)["faults"]
    assert (fault["remedy"], fault["day"], len(fault["hours"])) == ("fold", str(START.date()), 3)
    would = product.call("repair", "--dry-run")
    assert (would.code, would.out.startswith("would be mended: prod-eu")) == (0, True)
    mended = product.call("repair")
    assert (mended.code, mended.out.splitlines()[-1]) == (0, "1 faults mended, 0 not")
    assert product.call("verify").code == 0
    same = ["hour_utc", "node", "component", "kind", "pod_uid", "energy_joules", "emissions_gco2e"]
    pd.testing.assert_frame_equal(pd.read_parquet(path)[same], before[same], rtol=1e-9)


def test_export_writes_one_file(product: Product, tmp_path: Path) -> None:
    said = product.call("export", "--format", "csv", str(tmp_path / "out.csv"), *SPAN)
    rows = len(pd.read_csv(tmp_path / "out.csv"))
    assert (said.code, said.out.strip()) == (0, f"{tmp_path / 'out.csv'}: {rows:,} rows of emissions")
    inside = product.call("export", str(product.warehouse / "out.csv"))
    assert (inside.code, "lies in the warehouse" in inside.only_error()) == (2, True)


def test_prune_keeps_what_is_young_and_refuses_what_is_still_restated(product: Product) -> None:
    said = product.call("prune", "--keep", "1200mo", "--json")
    (cluster,) = json.loads(said.out)
    assert (said.code, cluster["days"], cluster["left"]) == (0, 0, {})
    assert product.call("prune", "--keep", "2mo").only_error().startswith("error: --keep 2mo is too short")
