"""`carbon-etl reprice` corrects the stores at once: a real Prometheus shows what the warehouse holds."""

from pathlib import Path

import pytest

from pipeline.reprice import reprice
from pipeline.settings import Settings, StoreSettings
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR
from tests.prices import stored
from tests.prices.stored import CLUSTER, START, fold, job, learn, vintage
from tests.sinks.servers import RealStore, real_prometheus

pytestmark = pytest.mark.real
HOURS = [START + n * HOUR for n in range(6)]
NOW = HOURS[-1] + 3 * HOUR
GRAMS = "sum(sum without (revision) (sum_over_time(carbon_emissions_grams[6h])))"


def published(folder: Path, server: RealStore, **cluster: object) -> Settings:
    """The settings of the stored hours, with that server as their store."""
    store = StoreSettings(url=f"{server.url}/api/v1/write", name="store")
    return stored.settings(folder / "warehouse", **cluster).model_copy(update={"remote_write": (store,)})


def assert_equal(folder: Path, server: RealStore) -> None:
    (row,) = run_query(folder / "warehouse", "select sum(emissions_gco2e) as grams from emissions").to_pylist()
    assert server.query(GRAMS, (HOURS[-1] + HOUR).timestamp())[""] == pytest.approx(row["grams"], rel=1e-9)


def test_what_a_person_reprices_is_corrected_at_once_however_young(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "store") as server:
        given = published(tmp_path, server)
        learn(Warehouse(tmp_path / "warehouse"), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
        warehouse = fold(given, HOURS, NOW)
        first = reprice(job(given, NOW), [CLUSTER], None).clusters[0].stores[0]
        assert (first.hours_published, first.corrections_written) == (6, 0)
        newer = NOW + HOUR / 2
        learn(warehouse, vintage(HOURS[1], 100.05, newer), vintage(HOURS[2], 250.0, newer), run_id="again")
        report = reprice(job(given, NOW + HOUR), [CLUSTER], None)
        (outcome,) = report.clusters[0].stores
        # Grams of two workloads and idle, of the node's workloads and idle: even where they differ by a two-thousandth.
        assert (outcome.corrections_written, outcome.hours_published, outcome.hours_unpublished) == (10, 2, 0)
        assert "10 samples written, 10 of them corrections" in "\n".join(report.summary())
        assert_equal(tmp_path, server)
        assert reprice(job(given, NOW + 2 * HOUR), [CLUSTER], None).clusters[0].stores[0].samples_written == 0


def test_a_dearer_configuration_is_published_from_the_hour_on_that_a_person_names(tmp_path: Path) -> None:
    with real_prometheus(tmp_path / "store") as server:
        given = published(tmp_path, server)
        learn(Warehouse(tmp_path / "warehouse"), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
        fold(given, HOURS, NOW)
        reprice(job(given, NOW), [CLUSTER], None)
        dearer = published(tmp_path, server, pue=1.9)
        report = reprice(job(dearer, NOW + HOUR), [CLUSTER], HOURS[4])
        assert report.clusters[0].stores[0].hours_published == 2
        assert_equal(tmp_path, server)
        query = "sum by (namespace) (count_over_time(carbon_emissions_grams{revision='1',kind='idle'}[6h]))"
        assert server.query(query, (HOURS[-1] + HOUR).timestamp()) == {"(idle)": 2.0}
