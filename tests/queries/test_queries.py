"""Every shipped query runs as it is: on an empty warehouse, and with expected numbers on a hand-made one."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import HourCommit, Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS, SECOND

QUERIES = shipped_queries()


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hour 0: web 3.6 MJ (later 100 -> 200 g/kWh), hour 1: an unpriced row, a hole on n1, and n2 silent."""
    root = tmp_path_factory.mktemp("warehouse")
    hour, later = HOURS[:2]
    unpriced = dict.fromkeys(("pue_ratio", "pue_source", "carbon_intensity_g_per_kwh", "intensity_provider"))
    for stamp, intensity in ((rows.FIRST, 100.0), (SECOND, 200.0)):
        emissions = [
            rows.pod(hour, "web", 3.6e6, carbon_intensity_g_per_kwh=intensity),
            rows.emission(hour, "system", 0.9e6),
            rows.emission(hour, "idle", 0.9e6),
            rows.emission(hour, "idle", 0.9e6, node="n2"),
            rows.pod(later, "db", 1.8e6, intensity_quality="missing", intensity_basis=None, **unpriced),
        ]
        node_energy = [
            rows.metered(hour, 3.6e6, 0.9e6, 0.9e6, cross_meter="psys", cross_ratio=0.99),
            rows.metered(hour, 0, 0, 0.9e6, node="n2"),
            rows.metered(later, 1.8e6, 0, 0, coverage_ratio=0.5, unplaced_joules=7.0),
        ]
        hours = [HourCommit(hour, "complete"), HourCommit(later, "partial", "hole on n1")]
        rows.commit(Warehouse(root), hours, rows.tables(emissions, node_energy), stamp)
    return root


def ask(root: Path, name: str) -> list[dict[str, Any]]:
    return run_query(root, QUERIES[name]).to_pylist()


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_runs_on_an_empty_warehouse(tmp_path: Path, name: str) -> None:
    assert ask(tmp_path, name) == []


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_one_ordered_statement(name: str) -> None:
    assert QUERIES[name].rstrip().count(";") == 1
    assert "order by" in QUERIES[name]


def test_grams_by_namespace_and_day(warehouse: Path) -> None:
    found = {row["namespace"]: row for row in ask(warehouse, "grams_by_namespace_and_day")}
    assert set(found) == {"shop", "(system)", "(idle)"}
    assert found["shop"]["energy_kwh"] == pytest.approx(1.5)
    assert found["shop"]["emissions_gco2e"] == pytest.approx(1.0 * 1.5 * 200)
    assert found["shop"]["unpriced_energy_kwh"] == pytest.approx(0.5)
    assert found["(idle)"]["emissions_gco2e"] == pytest.approx(0.5 * 1.5 * 100)


def test_top_workloads(warehouse: Path) -> None:
    first, second = ask(warehouse, "top_workloads")
    assert (first["workload"], first["emissions_gco2e"]) == ("web", pytest.approx(300))
    assert (second["workload"], second["emissions_gco2e"]) == ("db", None)
    assert second["unpriced_energy_kwh"] == pytest.approx(0.5)


def test_idle_share(warehouse: Path) -> None:
    found = {row["node"]: row for row in ask(warehouse, "idle_share")}
    assert found["n1"]["idle_share"] == pytest.approx(0.9 / 7.2)
    assert found["n1"]["workload_share"] == pytest.approx(5.4 / 7.2)
    assert found["n2"]["idle_share"] == 1


def test_intensity_by_hour(warehouse: Path) -> None:
    first, second = ask(warehouse, "intensity_by_hour")
    assert first["carbon_intensity_g_per_kwh"] == pytest.approx((3.6 * 200 + 2.7 * 100) / 6.3)
    assert first["pue_ratio"] == pytest.approx(1.5)
    assert (second["intensity_quality"], second["carbon_intensity_g_per_kwh"]) == ("missing", None)


def test_reconciliation(warehouse: Path) -> None:
    found = ask(warehouse, "reconciliation")
    assert [(row["node"], row["metered_joules"]) for row in found] == [("n1", 5.4e6), ("n2", 0.9e6), ("n1", 1.8e6)]
    assert all(abs(row["difference_joules"]) < 1e-6 for row in found)
    assert found[0]["cross_ratio"] == 0.99


def test_quality_shares(warehouse: Path) -> None:
    found = {row["intensity_quality"]: row for row in ask(warehouse, "quality_shares")}
    assert found["measured"]["energy_share"] == pytest.approx(6.3 / 8.1)
    assert found["missing"]["energy_share"] == pytest.approx(1.8 / 8.1)
    assert found["missing"]["emissions_gco2e"] is None


def test_holes(warehouse: Path) -> None:
    hole, silent = ask(warehouse, "holes")
    assert (hole["node"], hole["hour_utc"], hole["coverage_ratio"], hole["unplaced_joules"]) == ("n1", HOURS[1], 0.5, 7)
    assert (silent["node"], silent["hour_utc"], silent["what"]) == ("n2", HOURS[1], "silent since 2026-11-01T00:00Z")


def test_what_changed(warehouse: Path) -> None:
    (row,) = ask(warehouse, "what_changed")
    assert (row["namespace"], row["cause"], row["revision"], row["rows_changed"]) == ("shop", "intensity", 1, 1)
    assert (row["old_emissions_gco2e"], row["difference_gco2e"]) == pytest.approx((150, 150))
