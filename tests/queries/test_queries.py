"""Every shipped query runs as it is: on an empty warehouse, and with expected numbers on a hand-made one."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import HourCommit, Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS, SECOND

QUERIES = shipped_queries()
BY_FACTOR_TYPE = {"intensity_by_hour", "quality_shares", "with_overheads"}  # these give a row for each
OF_NOVEMBER = {"top_movers": {"month": "2026-11"}}  # else of the newest month that has ended


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
    assert found["shop"]["scope"] == "scope 2, location-based, plus upstream (scope 3.3)"
    assert found["shop"]["consumption_share"] == pytest.approx(3.6 / 5.4)
    assert found["shop"]["production_share"] == 0


def test_top_workloads(warehouse: Path) -> None:
    first, second = ask(warehouse, "top_workloads")
    assert (first["workload"], first["emissions_gco2e"]) == ("web", pytest.approx(300))
    assert (second["workload"], second["emissions_gco2e"]) == ("db", None)
    assert second["unpriced_energy_kwh"] == pytest.approx(0.5)
    assert (first["consumption_share"], second["consumption_share"]) == (1, 0)


def test_scopes_side_by_side(warehouse: Path) -> None:
    average, marginal, market = ask(warehouse, "scopes_side_by_side")
    assert [row["signal"] for row in (average, marginal, market)] == ["average", "marginal", "market"]
    assert {str(row["month_utc"]) for row in (average, marginal, market)} == {"2026-11-01"}
    assert average["emissions_gco2e"] == pytest.approx(300 + 75 / 2 * 3)
    assert average["unpriced_share"] == pytest.approx(1.8 / 8.1)
    for row in (marginal, market):
        assert (row["emissions_gco2e"], row["scope"], row["unpriced_share"]) == (None, None, 1)
    assert (average["contracted_share"], market["contracted_share"]) == (None, 0)


def gives_grams(name: str) -> bool:
    """Whether a query gives a total of grams, and not single rows or their changes; a closing is of one factor type."""
    return "gco2e" in QUERIES[name] and name not in {"what_changed", "restatements"}


@pytest.mark.parametrize("name", [name for name in QUERIES if gives_grams(name)])
def test_every_total_of_grams_is_of_one_factor_type(tmp_path: Path, name: str) -> None:
    """Refused over two, or one row for each; a plain sum of grams would give one row of both."""
    text = QUERIES[name]
    assert "total_gco2e(" in text
    assert not re.search(r"\b(sum|avg)\(\s*\w*(gco2e|grams)", text)
    emissions = [rows.pod(HOURS[0], "web", 3.6e6), rows.pod(HOURS[0], "db", 1.8e6, intensity_factor_type="direct")]
    of_both = [dict(row, pod=None, pod_uid=None, workload="web", node=f"n{n}") for n, row in enumerate(emissions)]
    nodes = [rows.metered(HOURS[0], row["energy_joules"], 0, 0, node=row["node"]) for row in of_both]
    rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables(of_both, nodes))
    if name in BY_FACTOR_TYPE:
        assert {row["intensity_factor_type"] for row in run_query(tmp_path, text).to_pylist()} == {
            "lifecycle",
            "direct",
        }
    else:
        with pytest.raises(ConfigError, match=r"no total of grams by direct \(cluster prod-eu from 2026-11-01T00:00Z"):
            run_query(tmp_path, text, OF_NOVEMBER.get(name, {}))


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


def test_settled(warehouse: Path) -> None:
    (day,) = ask(warehouse, "settled")
    assert (str(day["day"]), day["zones"], day["providers"], day["hours"]) == ("2026-11-01", "DE", "csv", 2)
    assert day["energy_kwh"] == pytest.approx(8.1 / 3.6)
    assert (day["measured_share"], day["missing_share"]) == pytest.approx((6.3 / 8.1, 1.8 / 8.1))
    assert (day["milestones_checked"], day["last_asked_utc"], day["revisions"]) == (0, None, 1)


def test_with_overheads(warehouse: Path) -> None:
    first, *others = ask(warehouse, "with_overheads")
    grams = 1.5 * 200 + 1.5 * 0.75 * 100  # web, and the 2.7 MJ of system and idle
    assert first["emissions_gco2e"] == pytest.approx(grams)
    assert first["psu_gco2e"] == pytest.approx(grams * 0.04)
    assert first["transmission_gco2e"] == pytest.approx(grams * 1.04 * 0.08)
    assert first["with_overheads_gco2e"] == pytest.approx(grams * 1.04 * 1.08)
    assert sum(row["unpriced_energy_kwh"] for row in [first, *others]) == pytest.approx(0.5)


def test_power_supplies_are_not_added_to_what_was_read_at_the_wall(tmp_path: Path) -> None:
    hour = HOURS[0]
    emissions = [rows.pod(hour, "web", 3.6e6, platform_scale=1.5), rows.pod(hour, "db", 3.6e6)]
    hours = [HourCommit(hour, "complete")]
    rows.commit(Warehouse(tmp_path), hours, rows.tables(emissions, [rows.metered(hour, 7.2e6, 0, 0)]), rows.FIRST)
    (row,) = ask(tmp_path, "with_overheads")
    assert (row["emissions_gco2e"], row["psu_gco2e"]) == pytest.approx((300.0, 150.0 * 0.04))
    assert row["with_overheads_gco2e"] == pytest.approx((150.0 + 150.0 * 1.04) * 1.08)


def test_an_hour_of_which_some_rows_have_no_pue_keeps_the_pue_of_the_others(tmp_path: Path) -> None:
    hour = HOURS[0]
    unknown = dict.fromkeys(("pue_ratio", "pue_source"))
    emissions = [rows.pod(hour, "web", 3.6e6), rows.pod(hour, "db", 3.6e6, **unknown)]
    hours = [HourCommit(hour, "complete")]
    rows.commit(Warehouse(tmp_path), hours, rows.tables(emissions, [rows.metered(hour, 7.2e6, 0, 0)]), rows.FIRST)
    (row,) = ask(tmp_path, "intensity_by_hour")
    assert row["pue_ratio"] == pytest.approx(1.5)
