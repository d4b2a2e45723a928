"""The oldest raw sample is found to the minute, however far back, on a real Prometheus."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.reach import oldest_sample_ms
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import to_ms
from tests.conftest import RealClock
from tests.sources.series import fill, written

NOW_MS = to_ms(datetime(2026, 11, 2, 8, 7, tzinfo=UTC))
MS_PER_DAY = 24 * MS_PER_HOUR


def scraped(start_ms: int, end_ms: int, every_ms: int = MS_PER_MINUTE) -> list[tuple[int, float]]:
    return [(stamp, 1.0) for stamp in range(start_ms, end_ms, every_ms)]


FIRST_MS = {
    "long": NOW_MS - 5 * MS_PER_HOUR - 17 * MS_PER_MINUTE + 123,
    "fresh": NOW_MS - 7 * MS_PER_MINUTE,
    "ancient": NOW_MS - 45 * MS_PER_DAY,
    "gone": NOW_MS - 70 * MS_PER_DAY,
    "other": NOW_MS - 3 * MS_PER_HOUR,
}


@pytest.fixture(scope="module")
def server(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[PrometheusServer]:
    series = {
        written("m", set=name): scraped(first, NOW_MS) for name, first in FIRST_MS.items() if name in ("long", "fresh")
    }
    series[written("m", set="ancient")] = [
        sample
        for day in range(46)
        for sample in scraped(
            FIRST_MS["ancient"] + day * MS_PER_DAY, FIRST_MS["ancient"] + day * MS_PER_DAY + MS_PER_HOUR
        )
    ]
    series[written("m", set="gone")] = scraped(FIRST_MS["gone"], FIRST_MS["gone"] + 2 * MS_PER_HOUR)
    series[written("n", set="long")] = scraped(FIRST_MS["other"], NOW_MS)
    data_dir = tmp_path_factory.mktemp("reach") / "data"
    fill(prometheus_binary.promtool, data_dir, series)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        endpoint = PrometheusEndpoint(url=running.url)
        yield PrometheusServer(endpoint, HttpSettings(retry_seconds=0), {}, clock)


@pytest.mark.parametrize("name", ["long", "fresh", "ancient"])
def test_the_oldest_sample_is_found_to_the_minute(name: str, server: PrometheusServer) -> None:
    found = oldest_sample_ms(server, "m", [Matcher("set", "=", name)], NOW_MS)
    assert found is not None
    assert 0 <= found - FIRST_MS[name] <= MS_PER_MINUTE


def test_series_that_ended_more_than_a_month_ago_are_not_there_any_more(server: PrometheusServer) -> None:
    assert oldest_sample_ms(server, "m", [Matcher("set", "=", "gone")], NOW_MS) is None


def test_only_the_metric_and_the_selector_asked_for_count(server: PrometheusServer) -> None:
    found = oldest_sample_ms(server, "n", [Matcher("set", "=", "long")], NOW_MS)
    assert found is not None
    assert 0 <= found - FIRST_MS["other"] <= MS_PER_MINUTE
    assert oldest_sample_ms(server, "n", [Matcher("set", "=", "fresh")], NOW_MS) is None
    assert oldest_sample_ms(server, "no_such_metric", [], NOW_MS) is None


def test_samples_after_the_moment_asked_for_are_not_seen(server: PrometheusServer) -> None:
    before = FIRST_MS["long"] - 10 * MS_PER_MINUTE
    assert oldest_sample_ms(server, "m", [Matcher("set", "=", "long")], before) is None
