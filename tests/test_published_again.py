"""`carbon-etl publish`: what a store was told wrong is corrected at once, whoever told it, and the sums agree."""

import time
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.job import Job
from pipeline.publish_stored import publish_stored
from pipeline.settings import Settings, StoreSettings
from pipeline.sinks.batches import Sample
from pipeline.sinks.differences import stamp_ms
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.prices import stored
from tests.prices.stored import CLUSTER, START, fold, learn, vintage
from tests.sinks.publishing import server_of, store_of
from tests.sinks.servers import RealStore

pytestmark = pytest.mark.real
HOURS = [START + n * HOUR for n in range(6)]
NOW = HOURS[-1] + 3 * HOUR
SERIES = {
    "carbon_emissions_grams": "emissions_gco2e",
    "carbon_energy_joules": "energy_joules",
    "carbon_node_energy_joules": "energy_joules",
}


def told(folder: Path, *servers: RealStore) -> Settings:
    stores = tuple(StoreSettings(url=f"{one.url}/api/v1/write", name=f"store{n}") for n, one in enumerate(servers))
    return stored.settings(folder / "warehouse").model_copy(update={"remote_write": stores})


def job(given: Settings, now: datetime) -> Job:
    """With a clock that lets real stores have their time."""
    return Job(given, {}, FixedClock(now))


def priced(folder: Path, given: Settings) -> None:
    """Six hours in the warehouse."""
    learn(Warehouse(folder / "warehouse"), *(vintage(hour, 100.0, HOURS[-1]) for hour in HOURS))
    fold(given, HOURS, NOW)


def assert_equal(folder: Path, server: RealStore) -> None:
    for metric, column in SERIES.items():
        query = f"sum without (revision) (sum_over_time({metric}[6h]))"
        (row,) = run_query(folder / "warehouse", f"select sum({column}) as total from emissions").to_pylist()
        shown = server.query(f"sum({query})", (HOURS[-1] + HOUR).timestamp())[""]
        assert shown == pytest.approx(row["total"], rel=1e-9), metric


def mislead(server: RealStore) -> None:
    """Ten times the grams of one workload, told beside what it has: by another program, or by an older mistake."""
    labels = {"cluster": CLUSTER, "component": "package", "kind": "workload", "namespace": "shop", "revision": "1"}
    labels |= {"workload": "web", "workload_kind": "Deployment"}
    hours, span = HOURS[1:4], Window(HOURS[0], HOURS[-1] + HOUR)
    with store_of(server.url, FixedClock(NOW)) as store:
        for hour in hours:
            store.write([Sample("carbon_emissions_grams", tuple(sorted(labels.items())), stamp_ms(hour), 1e4)])
        server.show()
        ends = time.monotonic() + 60  # VictoriaMetrics shows new series last to questions it was asked before
        while not (
            all(store.totals("carbon_emissions_grams", CLUSTER, span)[hour] > 1e4 for hour in hours)
            and all(any("1" in told for told in store.held(CLUSTER, span).values[stamp_ms(h)].values()) for h in hours)
        ):
            assert time.monotonic() < ends
            time.sleep(0.2)


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_wrong_value_is_corrected_by_one_publish_and_the_sums_agree(kind: str, tmp_path: Path) -> None:
    with server_of(kind, tmp_path) as server:
        given = told(tmp_path, server)
        priced(tmp_path, given)
        publish_stored(job(given, NOW), [CLUSTER], None)
        assert_equal(tmp_path, server)
        mislead(server)
        unasked = publish_stored(job(given, NOW), [CLUSTER], None).clusters[0].stores[0]
        assert unasked.samples_written == 0, "nothing tells that the store was told anything else"
        report = publish_stored(job(given, NOW + HOUR), [CLUSTER], HOURS[0])
        (outcome,) = report.clusters[0].stores
        assert (outcome.corrections_written, outcome.hours_published, report.exit_code) == (3, 6, 0)
        assert_equal(tmp_path, server)
        again = publish_stored(job(given, NOW + HOUR), [CLUSTER], HOURS[0]).clusters[0].stores[0]
        assert (again.samples_written, again.hours_published) == (0, 6)


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_the_first_run_of_a_day_finds_hours_that_come_to_something_else_and_corrects_them_when_due(
    kind: str, tmp_path: Path
) -> None:
    with server_of(kind, tmp_path) as server:
        given = told(tmp_path, server)
        priced(tmp_path, given)
        publish_stored(job(given, NOW), [CLUSTER], None)
        next_day = publish_stored(job(given, NOW + 24 * HOUR), [CLUSTER], None).clusters[0].stores[0]
        assert (next_day.hours_published, next_day.hours_unpublished) == (0, 0), "nothing has strayed"
        mislead(server)
        unseen = publish_stored(job(given, NOW + 25 * HOUR), [CLUSTER], None).clusters[0].stores[0]
        assert unseen.hours_pending == 0, "once a day is enough"
        found = publish_stored(job(given, NOW + 40 * HOUR), [CLUSTER], None).clusters[0].stores[0]
        assert (found.hours_pending, found.hours_unpublished, found.samples_written) == (3, 3, 0)
        corrected = publish_stored(job(given, NOW + 52 * HOUR), [CLUSTER], None).clusters[0].stores[0]
        assert (corrected.corrections_written, corrected.hours_unpublished) == (3, 0)
        assert_equal(tmp_path, server)


def test_of_two_stores_each_is_reconciled_by_itself(tmp_path: Path) -> None:
    with server_of("prometheus", tmp_path) as one, server_of("victoriametrics", tmp_path) as other:
        given = told(tmp_path, one, other)
        priced(tmp_path, given)
        publish_stored(job(told(tmp_path, one), NOW), [CLUSTER], None)
        both = publish_stored(job(given, NOW + HOUR), [CLUSTER], None).clusters[0].stores
        assert [outcome.samples_written > 0 for outcome in both] == [False, True]
        mislead(other)
        both = publish_stored(job(given, NOW + HOUR), [CLUSTER], HOURS[0]).clusters[0].stores
        assert [outcome.corrections_written for outcome in both] == [0, 3]
        one.kill()
        hasty = given.model_copy(update={"http": given.http.model_copy(update={"retry_seconds": 0.0})})
        report = publish_stored(job(hasty, NOW + HOUR), [CLUSTER], HOURS[0])
        assert [outcome.hours_published for outcome in report.clusters[0].stores] == [0, 6]
        assert report.exit_code == 75
        assert_equal(tmp_path, other)


CONFIG = """
warehouse = {{ path = "{warehouse}" }}
http = {{ retry_seconds = 0 }}
[[clusters]]
name = "c"
prometheus_url = "http://127.0.0.1:9"
grid_zone = "GB"
pue = 1.25
intensity = {{ providers = ["static"] }}
[[remote_write]]
name = "store"
url = "{url}/api/v1/write"
"""


def test_the_command_publishes_once_and_says_what_it_wrote(tmp_path: Path) -> None:
    with server_of("prometheus", tmp_path) as server:
        priced(tmp_path, told(tmp_path, server))
        config = tmp_path / "carbon-etl.toml"
        config.write_text(CONFIG.format(warehouse=tmp_path / "warehouse", url=server.url))
        asked = ["publish", "--since", f"{START:%FT%TZ}", "--config", str(config)]
        first = CliRunner().invoke(app, asked)
        assert first.exit_code == 0, first.output
        assert "6 hours published, 0 not" in first.output
        assert "0 samples written" not in first.output
        assert "0 samples written, 6 hours published, 0 not" in CliRunner().invoke(app, asked).output
        assert_equal(tmp_path, server)
        server.kill()
        assert CliRunner().invoke(app, asked).exit_code == 75
        assert CliRunner().invoke(app, [*asked, "--discard", "c--2026-11-03-none"]).exit_code != 0
