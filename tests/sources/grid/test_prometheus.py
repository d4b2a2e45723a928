"""A gauge on the cluster's own Prometheus: its value holds from a step's start; gaps stay gaps, two series are none."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.errors import ConfigError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.settings.intensity import GaugeTable
from pipeline.sources.grid.contract import Ask, Payload, Provider
from pipeline.sources.grid.prometheus import PrometheusGauge
from pipeline.sources.grid.web import NothingThere
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.tables import INTENSITY
from pipeline.window import to_ms
from tests.conftest import RealClock
from tests.misbehaving import NOT_JSON, Answer, data, failure, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.series import fill, written

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
GAUGE, UNITS = "grid_intensity_carbon_average", "gCO2e per kWh"
TOKEN = "pr0m-t0ken"  # noqa: S105 # a made-up one


def scraped(first: datetime, values: list[float], every: timedelta = MINUTE) -> list[tuple[int, float]]:
    return [(to_ms(first + n * every), value) for n, value in enumerate(values)]


# 12:00 to 12:19 rising by 1 g a minute, nothing to 12:40, then 500
DE = scraped(NOON, [300.0 + n for n in range(20)]) + scraped(NOON + 40 * MINUTE, [500.0] * 25)
SERIES = {
    written(GAUGE, location="DE", cluster="prod", units=UNITS): DE,
    written(GAUGE, location="FR", cluster="prod", units=UNITS): scraped(NOON, [40.0] * 60),
    written(GAUGE, location="DE", cluster="test", units=UNITS): scraped(NOON, [999.0] * 60),
    written("grid_fossil_share", location="DE"): scraped(NOON, [0.5] * 60),
    written("grid_renewables", location="DE", units="percent"): scraped(NOON, [60.0] * 60),
    written("grid_slow", location="DE"): scraped(NOON, [100.0, 200.0], every=30 * MINUTE),
}


@dataclass
class StoppedClock(StillClock):
    """A clock that stands at one moment."""

    at: datetime

    def __post_init__(self) -> None:
        super().__init__()

    def now(self) -> datetime:
        return self.at


@pytest.fixture(scope="module")
def url(prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gauge")
    fill(prometheus_binary.promtool, folder / "data", SERIES)
    with start_prometheus(prometheus_binary, folder / "data", free_port(), RealClock()) as running:
        yield running.url


def gauge(
    url: str, query: str, selector: str = "{}", now: datetime = NOON + 24 * HOUR, **table: object
) -> PrometheusGauge:
    endpoint = PrometheusEndpoint.model_validate({"url": url, "selector": selector, "bearer_token_env": "TOKEN"})
    clock = StoppedClock(now)
    server = PrometheusServer(endpoint, HttpSettings(timeout_seconds=5, retry_seconds=0), {"TOKEN": TOKEN}, clock)
    return PrometheusGauge(GaugeTable.model_validate({"query": query} | table), Servers([[server]], clock), clock)


def ask(hours: int = 1, start: datetime = NOON) -> Ask:
    return Ask("DE", start, start + hours * HOUR, "average", "lifecycle")


def figures(provider: Provider, asked: Ask) -> list[dict[str, Any]]:
    tables = [provider.parse(payload) for payload in provider.fetch(asked)]
    assert all(table.schema == INTENSITY for table in tables)
    return [row for table in tables for row in table.to_pylist()]


def minutes(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Value by the minute of the hour at which its step starts."""
    return {row["start_utc"].minute: row["carbon_intensity_g_per_kwh"] for row in rows}


PROD_DE = f'{GAUGE}{{location="DE",cluster="prod"}}'


def test_the_value_at_the_start_of_a_step_holds_for_the_step_and_a_gap_stays_one(url: str) -> None:
    rows = figures(gauge(url, PROD_DE), ask())
    assert minutes(rows) == {
        0: 300.0, 5: 305.0, 10: 310.0, 15: 315.0, 20: 319.0, 40: 500.0, 45: 500.0, 50: 500.0, 55: 500.0,
    }, "at 12:20 the sample of 12:19 is looked back for; 12:25 to 12:39 has none"  # fmt: skip
    assert all(row["end_utc"] - row["start_utc"] == 5 * MINUTE for row in rows)


def test_every_column_says_what_the_table_says(url: str) -> None:
    provider = gauge(url, PROD_DE, factor_type="direct", basis="consumption", quality="measured", zone="DE-own")
    assert provider.offers == {("average", "direct")}
    assert provider.zone_of("DE") == "DE-own"
    asked = Ask("DE-own", NOON, NOON + HOUR, "average", "direct")
    first, *_ = figures(provider, asked)
    (payload,) = provider.fetch(asked)
    assert first == {
        "zone": "DE-own", "start_utc": NOON, "end_utc": NOON + 5 * MINUTE, "carbon_intensity_g_per_kwh": 300.0,
        "provider": "prometheus", "signal": "average", "factor_type": "direct", "basis": "consumption",
        "quality": "measured", "updated_utc": None, "model": None, "fetched_utc": NOON + 24 * HOUR,
        "payload_id": payload.payload_id,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("step", "starts"), [("15m", {0: 300.0, 15: 315.0, 45: 500.0}), ("30m", {0: 300.0}), ("1h", {0: 300.0})]
)
def test_steps_are_as_long_as_configured(step: str, starts: dict[int, float], url: str) -> None:
    rows = figures(gauge(url, PROD_DE, step=step), ask())
    assert minutes(rows) == starts
    assert {str(row["end_utc"] - row["start_utc"]) for row in rows} == {
        {"15m": "0:15:00", "30m": "0:30:00", "1h": "1:00:00"}[step]
    }


@pytest.mark.parametrize("step", ["0m", "4m", "5s", "25m", "45m", "2h", "7m"])
def test_a_step_that_is_no_part_of_an_hour_in_five_minutes_is_refused(step: str) -> None:
    with pytest.raises(ValidationError, match="step is 5m, 10m, 15m, 20m, 30m or 1h"):
        GaugeTable.model_validate({"query": "m", "step": step})


def test_an_expression_is_evaluated_and_may_look_back_further_itself(url: str) -> None:
    rows = figures(gauge(url, 'grid_fossil_share{location="DE"} * 820'), ask())
    assert set(minutes(rows).values()) == {410.0}
    assert minutes(figures(gauge(url, "grid_slow"), ask())) == {0: 100.0, 5: 100.0, 30: 200.0, 35: 200.0}
    slow = minutes(figures(gauge(url, "last_over_time(grid_slow[30m])"), ask()))
    assert len(slow) == 12
    assert set(slow.values()) == {100.0, 200.0}


def test_the_clusters_selector_goes_where_the_expression_says_so(url: str) -> None:
    rows = figures(gauge(url, f'{GAUGE}{{location="DE",$selector}}', selector='{cluster="test"}'), ask())
    assert set(minutes(rows).values()) == {999.0}
    with pytest.raises(ConfigError, match=r"\$selector stands in braces"):
        gauge(url, "m$selector")


def test_more_than_one_series_is_none_and_the_error_says_how_many(url: str) -> None:
    with pytest.raises(SourceMalformed, match=r'with 3 series: narrow it to one by a label, such as location="DE"'):
        figures(gauge(url, GAUGE), ask())
    assert len(figures(gauge(url, f"max({GAUGE})"), ask())) == 12


def test_no_series_at_all_is_nothing_there(url: str) -> None:
    with pytest.raises(NothingThere, match=r"has no series of 'grid_intensty' from 2026-11-01T12:00Z on"):
        figures(gauge(url, "grid_intensty"), ask())


def test_a_gauge_in_another_unit_is_refused(url: str) -> None:
    with pytest.raises(SourceMalformed, match="in 'percent' where g/kWh is needed"):
        figures(gauge(url, "grid_renewables"), ask())


def test_an_ask_within_an_hour_is_widened_to_it_and_a_long_one_is_one_payload(url: str) -> None:
    provider = gauge(url, PROD_DE)
    asked = Ask("DE", NOON + 17 * MINUTE, NOON + 23 * MINUTE, "average", "lifecycle")
    (payload,) = provider.fetch(asked)
    assert (payload.ask.start, payload.ask.end) == (NOON, NOON + HOUR)
    (whole,) = provider.fetch(ask(24 * 61, NOON - 60 * 24 * HOUR))
    assert provider.parse(whole).num_rows == 9 + 2, "17,568 steps, of which 13:05 is the last with a sample"


def test_what_has_not_begun_is_not_asked_for_although_the_server_would_repeat_its_last_value(url: str) -> None:
    now = NOON + 52 * MINUTE
    assert max(minutes(figures(gauge(url, PROD_DE, now=now), ask()))) == 50
    assert max(minutes(figures(gauge(url, PROD_DE, now=NOON + 55 * MINUTE), ask()))) == 55
    assert list(gauge(url, PROD_DE, now=NOON - HOUR).fetch(ask())) == []


def test_the_same_samples_give_the_same_payload_and_its_address_has_no_secret(url: str) -> None:
    one, two = (next(gauge(url, PROD_DE).fetch(ask())) for _ in range(2))
    assert one.payload_id == two.payload_id
    assert one.url.startswith(f"{url}/api/v1/query_range?query=grid_intensity_carbon_average")
    last = NOON + HOUR - 5 * MINUTE
    assert one.url.endswith(f"&start={NOON.timestamp()}&end={last.timestamp()}&step=300.0")
    assert TOKEN not in one.url + one.body.decode() + repr(one)


# --- on answers that are made up


def matrix(*values: str, metric: dict[str, object] | None = None) -> Answer:
    pairs = [[to_ms(NOON + 5 * n * MINUTE) / 1000, value] for n, value in enumerate(values)]
    return data([{"metric": metric or {}, "values": pairs}])


def test_a_value_that_is_no_number_is_no_row() -> None:
    with misbehaving(matrix("100", "NaN", "0")) as server:
        assert minutes(figures(gauge(server.url, "m"), ask())) == {0: 100.0, 10: 0.0}


@pytest.mark.parametrize("value", ["-1", "2000.1", "+Inf", "-Inf"])
def test_a_value_that_is_no_intensity_is_refused(value: str) -> None:
    with misbehaving(matrix("100", value)) as server, pytest.raises(SourceMalformed, match="no intensity in g/kWh"):
        figures(gauge(server.url, "m"), ask())


@pytest.mark.parametrize("units", ["gCO2e per kWh", "gCO2 per kWh", "gco2/kwh"])
def test_units_in_grams_are_taken(units: str) -> None:
    with misbehaving(matrix("100", metric={"units": units})) as server:
        assert minutes(figures(gauge(server.url, "m"), ask())) == {0: 100.0}


@pytest.mark.parametrize("units", ["lb/MWh", "kgCO2 per MWh", "", 7])
def test_other_units_are_refused(units: object) -> None:
    with misbehaving(matrix("100", metric={"units": units})) as server, pytest.raises(SourceMalformed, match="in "):
        figures(gauge(server.url, "m"), ask())


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b'{"result":7}', b'{"result":[7]}', b'{"result":[{}]}', b'{"result":[{"metric":{}}]}',
             b'{"result":[{"metric":[],"values":[]}]}', b'{"result":[{"metric":{},"values":[[1e999,"1"]]}]}',
             b'{"result":[{"metric":{},"values":[[1,"x"]]}]}'],
)  # fmt: skip
def test_a_stored_payload_in_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(SourceMalformed, match="prometheus answers"):
        gauge("http://127.0.0.1:9", "m").parse(Payload(ask(), "", body, NOON))


@pytest.mark.parametrize(
    ("answer", "error"),
    [(failure(401, "no"), SourceRejected), (failure(403, "no"), SourceRejected),
     (failure(500, "no"), SourceUnavailable), (failure(429, "no", Retry_After="9"), SourceUnavailable),
     (failure(400, "parse error"), SourceRejected), (NOT_JSON, SourceMalformed),
     (Answer(body=b'{"status":', cut_bytes=5), SourceUnavailable)],
)  # fmt: skip
def test_a_server_that_refuses_or_breaks_off_is_told_apart(answer: Answer, error: type[Exception]) -> None:
    with misbehaving(answer) as server, pytest.raises(error) as caught:
        figures(gauge(server.url, "m"), ask())
    assert TOKEN not in str(caught.value)


def test_a_check_shows_the_value_of_now_or_how_many_series_there_are(url: str) -> None:
    assert list(gauge(url, PROD_DE, now=NOON).check("DE")) == [
        f"{PROD_DE} for DE: 1 series now",
        f"300 g/kWh (lifecycle, estimated) of {{__name__='{GAUGE}', cluster='prod', location='DE', units='{UNITS}'}}",
    ]
    assert next(gauge(url, GAUGE, now=NOON).check("DE")).startswith(f"{GAUGE} for DE: 3 series now, one is needed")
    (only,) = gauge(url, "nothing", now=NOON).check("DE")
    assert only.startswith("nothing for DE: 0 series now, one is needed")


def test_a_payload_is_what_a_prometheus_says() -> None:
    with misbehaving(matrix("100", "0.1")) as server:
        (payload,) = gauge(server.url, "m").fetch(ask())
    assert json.loads(payload.body) == {
        "resultType": "matrix",
        "result": [{"metric": {}, "values": [[to_ms(NOON) / 1000, "100.0"], [to_ms(NOON) / 1000 + 300, "0.1"]]}],
    }
