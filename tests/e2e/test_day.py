"""One day, end to end: the same grams in DuckDB, in both stores and by an oracle; idempotent, provenanced, shown."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pytest

from pipeline.run import run
from pipeline.sinks.sql import run_query
from pipeline.tables import values
from pipeline.window import HOUR, Window
from tests.e2e.conftest import CLUSTER, DAY, PUE, WINDOW, PublishedDay, intensity_g_per_kwh, job
from tests.loopback import LOOPBACK

EDGES = {
    "midnight": DAY + timedelta(days=1),
    "23:59:59.999": DAY + timedelta(days=1) - timedelta(milliseconds=1),
    "23:59:59": DAY + timedelta(days=1) - timedelta(seconds=1),
}


def _sums(url: str, query: str, at: datetime) -> dict[str, float]:
    answer = LOOPBACK.get(
        f"{url}/api/v1/query", params={"query": query, "time": f"{at.timestamp():.3f}", "nocache": "1"}
    ).raise_for_status()
    return {r["metric"].get("namespace", ""): float(r["value"][1]) for r in answer.json()["data"]["result"]}


def _grams_by_namespace(day: PublishedDay) -> dict[str, float]:
    query = """select coalesce(namespace, '(' || kind || ')') as namespace, sum(emissions_gco2e) as grams
               from emissions where hour_utc >= '2026-11-03' and hour_utc < '2026-11-04' group by all"""
    rows = run_query(day.warehouse, query).to_pylist()
    return {row["namespace"]: row["grams"] for row in rows}


def _files(root: Path) -> dict[str, int]:
    tables = ("emissions", "node_energy", "processes", "intensity", "revisions", "quarantine")
    return {str(p): p.stat().st_mtime_ns for t in tables for p in root.glob(f"{t}/**/*.parquet")}


def test_the_backfill_completes_every_hour(published_day: PublishedDay) -> None:
    report = published_day.report
    assert report.exit_code == 0, report.summary()
    assert report.clusters[0].states == {"complete": 24}
    assert [store.hours_unpublished for store in report.clusters[0].stores] == [0, 0]


@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("store", ["prometheus", "victoria"])
def test_the_stores_hold_the_grams_that_duckdb_shows(published_day: PublishedDay, store: str, edge: str) -> None:
    grams = f'sum without (revision) (sum_over_time(carbon_emissions_grams{{cluster="{CLUSTER}"}}[24h]))'
    query = f"sum by (namespace) ({grams})"
    shown = _sums(published_day.stores[store], query, EDGES[edge])
    assert shown == pytest.approx(_grams_by_namespace(published_day), rel=1e-6)
    assert {"(idle)", "(system)", "shop"} <= set(shown)


def test_a_second_backfill_writes_no_file_and_no_sample(published_day: PublishedDay) -> None:
    before = _files(published_day.warehouse)
    report = run(job(published_day.settings, published_day.now), [CLUSTER], WINDOW)
    assert _files(published_day.warehouse) == before
    assert report.clusters[0].hours_rewritten == 0
    assert [store.samples_written for store in report.clusters[0].stores] == [0, 0]


def test_a_run_after_the_backfill_finds_nothing_due(published_day: PublishedDay) -> None:
    report = run(job(published_day.settings, published_day.now), [CLUSTER], None)
    assert report.exit_code == 0
    assert report.clusters[0].states == {}


def test_every_row_says_where_its_figures_come_from(published_day: PublishedDay) -> None:
    needed = (
        "meter", "method_version", "run_id", "pue_source", "coverage_ratio", "intensity_provider", "intensity_zone",
        "intensity_quality", "intensity_basis", "intensity_factor_type",
    )  # fmt: skip
    conditions = " or ".join(f"{column} is null" for column in needed)
    rows = run_query(
        published_day.warehouse, f"select count(*) as n, count(*) filter ({conditions}) as bare from emissions"
    )
    assert rows.to_pylist()[0]["n"] > 500
    assert rows.to_pylist()[0]["bare"] == 0


def test_energy_summed_over_qualities_is_all_energy(published_day: PublishedDay) -> None:
    query = "sum(sum without (revision) (sum_over_time(carbon_quality_energy_joules[24h])))"
    total = run_query(published_day.warehouse, "select energy_joules from emissions")
    for url in published_day.stores.values():
        assert sum(_sums(url, query, EDGES["midnight"]).values()) == pytest.approx(
            math.fsum(values(total, "energy_joules")), rel=1e-9
        )


def test_node_energy_is_what_the_simulator_used(published_day: PublishedDay) -> None:
    truth = {
        (row["hour_utc"], row["node"], row["component"]): row["active_joules"] + row["idle_joules"]
        for row in published_day.fleet.truth_nodes.to_pylist()
    }
    nodes = run_query(published_day.warehouse, "select * from node_energy").to_pylist()
    errors = [abs(r["metered_joules"] / truth[r["hour_utc"], r["node"], r["component"]] - 1) for r in nodes]
    assert len(errors) == 24 * 2 * 2
    assert max(errors) <= 0.005
    assert sorted(errors)[len(errors) // 2] <= 0.0005


def test_owners_come_from_kube_state_metrics(published_day: PublishedDay) -> None:
    rows = run_query(
        published_day.warehouse, "select distinct workload_kind, owner_source from emissions where kind = 'workload'"
    ).to_pylist()
    kinds = {row["workload_kind"] for row in rows if row["owner_source"] == "kube-state-metrics"}
    assert {"Deployment", "StatefulSet", "DaemonSet"} <= kinds


def test_hourly_prices_are_the_hours_own(published_day: PublishedDay) -> None:
    rows = run_query(
        published_day.warehouse,
        "select hour_utc, sum(energy_joules) as joules, sum(emissions_gco2e) as grams from emissions group by all",
    ).to_pylist()
    for row in rows:
        expected = row["joules"] / 3.6e6 * PUE * intensity_g_per_kwh(row["hour_utc"])
        assert row["grams"] == pytest.approx(expected, rel=1e-9)


def test_hours_in_any_order_give_the_rows_of_the_day(published_day: PublishedDay, tmp_path: Path) -> None:
    """P2 through the real Prometheus: four hours one by one, last first, into another warehouse."""
    settings = published_day.settings.model_copy(
        update={
            "remote_write": (),
            "warehouse": published_day.settings.warehouse.model_copy(update={"path": str(tmp_path)}),
        }
    )
    hours = [DAY + index * HOUR for index in (14, 3, 13, 22)]
    for hour in hours:
        assert run(job(settings, published_day.now), [CLUSTER], Window(hour, hour + HOUR)).exit_code == 0
    query = "select * exclude (run_id, revision, intensity_updated_utc) from emissions order by all"
    part = run_query(tmp_path, query)
    whole = run_query(published_day.warehouse, query)
    whole = whole.filter(pc.is_in(whole["hour_utc"], value_set=part["hour_utc"].unique()))
    assert part.num_rows == whole.num_rows > 50
    for name in part.column_names:
        one, other = values(part, name), values(whole, name)
        assert one == (pytest.approx(other, rel=1e-9, abs=1e-12) if isinstance(one[0], float) else other), name
