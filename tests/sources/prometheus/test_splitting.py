"""What a server does not give at once is asked for in parts, and nobody notices: not a sample, not a joule."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.demo.transport import FleetTransport
from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.samples import Block, Transport
from pipeline.settings import HttpSettings, PrometheusEndpoint, Settings
from pipeline.site import Site, open_site
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.limits import Limit, TooMuchError, limit_of
from pipeline.sources.prometheus.splitting import HALVES, LEAST_MS, Part, Splitting
from pipeline.window import Window
from tests.conftest import RealClock
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sinks.servers import RealStore
from tests.sources.prometheus.limited import limited, prometheus, refusal
from tests.sources.prometheus.test_api_client import T0
from tests.sources.prometheus.victoria import import_fleet, victoria
from tests.sources.series import fill, read_back, written

HOUR_MS = 3_600_000
PODS = "kepler_pod_cpu_joules_total{}"
START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOURS = 3


def server(
    url: str, transport: str = "query", clock: RealClock | StillClock | None = None, **http: object
) -> BulkServer:
    limits = HttpSettings.model_validate({"timeout_seconds": 10, "retry_seconds": 0} | http)
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    return BulkServer(endpoint, limits, {}, clock or RealClock(), pytest.fail)


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return simulate(churning(seed=11, start=START, hours=HOURS, nodes=2, pods_per_node=4))


@pytest.fixture(scope="module")
def held(fleet: Fleet) -> FleetTransport:
    return FleetTransport(fleet)


def span(fleet: Fleet) -> tuple[int, int]:
    return fleet.spec.start_ms - 600_001, fleet.spec.start_ms + HOURS * HOUR_MS


# a real Prometheus


@pytest.fixture(scope="module")
def blocks_dir(fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("limited") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    return data_dir


@pytest.fixture(scope="module")
def strict(blocks_dir: Path) -> Iterator[RealStore]:
    with prometheus(blocks_dir, "--query.max-samples=300") as running:
        yield running


def test_a_prometheus_with_a_limit_of_samples_gives_them_all_in_parts(
    strict: RealStore, fleet: Fleet, held: FleetTransport
) -> None:
    loaded = read_back(held, PODS, *span(fleet))
    assert sum(len(samples) for samples in loaded.values()) > 3_000
    one = server(strict.url)
    with pytest.raises(TooMuchError, match="would load too many samples"):
        list(one._raw.blocks(PODS, *span(fleet)))
    assert read_back(one, PODS, *span(fleet)) == loaded


def test_joules_of_a_limited_prometheus_are_those_of_an_unlimited_one(
    strict: RealStore,
    fleet: Fleet,
    blocks_dir: Path,
    tmp_path: Path,
    clock: RealClock,
    prometheus_binary: PrometheusBinary,
) -> None:
    def site(url: str) -> Site:
        endpoint = {"url": url, "transport": "query"}
        cluster = {"name": "demo", "prometheus": [endpoint], "grid_zone": "DE", "pue": 1.2}
        settings = Settings.model_validate({"warehouse": {"path": str(tmp_path)}, "clusters": [cluster]})
        return open_site("demo", settings, {}, clock)

    copy = tmp_path / "data"
    fill_blocks(fleet, prometheus_binary.promtool, copy)
    with start_prometheus(prometheus_binary, copy, free_port(), clock) as unlimited:
        one, other = site(strict.url), site(unlimited.url)
        for hour in fleet.spec.window.hours():
            window = Window.of_hour(hour)
            split, whole = (it.fold_meters(window)["kepler"].energy for it in (one, other))
            assert split.rows.num_rows > 0
            assert split.rows.equals(whole.rows)
            assert split.nodes.equals(whole.nodes)


def test_remote_read_is_cut_where_an_answer_is_larger_than_allowed(
    tmp_path: Path, prometheus_binary: PrometheusBinary, clock: RealClock
) -> None:
    rng = np.random.default_rng(3)
    series = {
        written("noise", n=str(number)): list(
            zip(range(T0, T0 + 3 * HOUR_MS, 5_000), rng.random(3 * 720).tolist(), strict=True)
        )
        for number in range(90)
    }
    fill(prometheus_binary.promtool, tmp_path / "data", series)
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as running:
        one = server(running.url, "remote_read", max_response_mb=1)
        with pytest.raises(SourceRejected, match=r"raise http\.max_response_mb"):
            list(one._remote.blocks("noise{}", T0, T0 + 3 * HOUR_MS))
        found = read_back(one, "noise{}", T0, T0 + 3 * HOUR_MS)
    assert {int(dict(labels)["n"]): samples for labels, samples in found.items()} == dict(enumerate(series.values()))


# a real VictoriaMetrics


@pytest.mark.parametrize(
    ("flags", "transport"),
    [
        (["-search.maxSamplesPerQuery=2000"], "query"),
        (["-search.maxSamplesPerQuery=2000"], "export"),
        (["-search.maxUniqueTimeseries=10", "-search.maxExportSeries=10"], "query"),
        (["-search.maxUniqueTimeseries=10", "-search.maxExportSeries=10"], "export"),
    ],
)
def test_a_victoria_metrics_with_limits_gives_all_in_parts(
    flags: list[str], transport: str, fleet: Fleet, held: FleetTransport, tmp_path: Path
) -> None:
    loaded = read_back(held, PODS, *span(fleet))
    assert len(loaded) > 10
    with victoria(tmp_path / "victoria", *flags) as strict:
        import_fleet(strict.url, fleet)
        one = server(strict.url, transport)
        way = one._export if transport == "export" else one._raw
        with pytest.raises(TooMuchError) as caught:
            list(way.blocks(PODS, *span(fleet)))
        assert caught.value.limit.of == ("size" if "Samples" in flags[0] else "series")
        found = read_back(one, PODS, *span(fleet))
    assert {labels: [stamp for stamp, _ in samples] for labels, samples in found.items()} == {
        labels: [stamp for stamp, _ in samples] for labels, samples in loaded.items()
    }
    for labels, samples in found.items():
        assert [value for _, value in samples] == pytest.approx([value for _, value in loaded[labels]], rel=1e-12)


# the words of others

MIMIR_SERIES = (
    "expanding series: the query exceeded the maximum number of series (limit: 10 series) "
    "(err-mimir-max-series-per-query). To adjust the related per-tenant limit, configure -querier.max-fetched-series-"
)
MIMIR_CHUNKS = "the query exceeded the maximum number of chunks (limit: 5 chunks) (err-mimir-max-chunks-per-query). See"
CORTEX_SERIES = "the query hit the max number of series limit (limit: 500000 series)"
THANOS_FAR = (
    "expanding series: proxy Series(): rpc error: code = Aborted desc = receive series from Addr: store-gw-1:9091 "
    'LabelSets: {ext1="value1", replica="1"},{ext1="value1", replica="2"} MinTime: 1683016297853 MaxTime: '
    "1683023497853: rpc error: code = ResourceExhausted desc = exceeded "
)
WORDS = {
    "Prometheus": (422, "query processing would load too many samples into memory in query execution", "samples"),
    "Prometheus, time": (503, "query timed out in expression evaluation", "time"),
    "Thanos, samples": (422, THANOS_FAR + "samples limit: limit 1 violated (got 8)", "samples"),
    "Thanos, series": (422, THANOS_FAR + "series limit: limit 10 violated (got 12)", "series"),
    "Mimir, series": (422, MIMIR_SERIES, "series"),
    "Mimir, chunks": (422, MIMIR_CHUNKS, "samples"),
    "Mimir, remote": (500, MIMIR_CHUNKS, "samples"),
    "Cortex and Amazon": (422, CORTEX_SERIES, "series"),
    "anyone, 422": (422, "computer says no", "samples"),
    "anyone, 413": (413, "", "samples"),
    "a gateway": (504, "<html>gateway time-out</html>", "time"),
}


@pytest.mark.parametrize(("status", "text", "of"), WORDS.values(), ids=WORDS)
def test_every_products_refusal_is_understood_and_every_sample_comes_once(
    status: int, text: str, of: str, fleet: Fleet, held: FleetTransport
) -> None:
    def refuses(series: int, samples: int) -> Answer | None:
        too_much = series > 9 if of == "series" else samples > (500 if of == "time" else 150)
        return refusal(status, text) if too_much else None

    wanted = (PODS, fleet.spec.start_ms - 600_001, fleet.spec.start_ms + HOUR_MS)
    loaded = read_back(held, *wanted)
    with limited(held, refuses) as (running, store):
        one = server(running.url)
        assert read_back(one, *wanted) == loaded
        refused, asked = store.refused, len(running.asked)
        assert refused > 0
        assert read_back(one, *wanted) == loaded
    assert len(running.asked) < 2 * asked
    assert store.refused <= refused + 3, "what was found out is known from then on"


def test_what_no_part_is_small_enough_for_names_the_limit_what_sets_it_and_the_server(
    held: FleetTransport, fleet: Fleet
) -> None:
    refuse = refusal(*WORDS["Prometheus"][:2])
    with limited(held, lambda _series, _samples: refuse) as (running, _), pytest.raises(SourceRejected) as caught:
        list(server(running.url).blocks(PODS, *span(fleet)))
    said = str(caught.value)
    assert running.url in said
    assert (
        "query processing would load too many samples into memory in query execution: raise --query.max-samples" in said
    )
    assert PODS in said
    assert "\n" not in said


@pytest.mark.parametrize("name", ["Prometheus, time", "a gateway"])
def test_a_server_that_has_time_for_nothing_is_unavailable_and_is_given_the_retries_then(
    name: str, held: FleetTransport, fleet: Fleet
) -> None:
    status, text, _ = WORDS[name]
    clock = StillClock()
    refuse = refusal(status, text)
    with limited(held, lambda _series, _samples: refuse) as (running, store), pytest.raises(SourceUnavailable):
        list(server(running.url, clock=clock, retry_seconds=10).blocks(PODS, *span(fleet)))
    sizes_ms = math.ceil(math.log2((span(fleet)[1] - span(fleet)[0]) / LEAST_MS))
    assert store.refused == sizes_ms + 5, "once a size, and at the smallest as often as retries are allowed"
    assert clock.seconds <= 10


def test_our_own_limit_of_time_cuts_too() -> None:
    body = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'

    def drips(asked: object) -> Answer:
        return Answer(body=body, drip_seconds=0.0 if len(running.asked) > 3 else 0.2)

    with misbehaving(decide=drips) as running:
        assert list(server(running.url, timeout_seconds=0.5).blocks("m{}", T0, T0 + HOUR_MS)) == []
        spans = [int(query.partition("[")[2].removesuffix("ms]")) for query in running.queries]
    assert spans[0] == HOUR_MS + 1
    assert spans[1] > spans[2] > spans[3]
    assert sum(spans[3:]) == HOUR_MS + 1, "without a millisecond left out or asked for twice"


def test_what_is_refused_for_another_reason_is_not_cut() -> None:
    for answer in (
        refusal(400, "parse error"),
        refusal(500, "too sick"),
        refusal(429, "too many outstanding requests"),
    ):
        with misbehaving(answer) as running, pytest.raises(SourceError):
            list(server(running.url).blocks("m{}", T0, T0 + HOUR_MS))
        assert len(running.asked) == 1


# asking for sizes


def test_long_spans_are_asked_for_in_parts_of_a_size_that_the_server_was_asked_for() -> None:
    def answers(asked: object) -> Answer:
        return refusal(400, "no") if "sum(" not in running.queries[-1] else Answer(
            body=b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"30000"]}]}}'
        )  # fmt: skip

    with misbehaving(decide=answers) as running, pytest.raises(SourceRejected):
        list(server(running.url, max_response_mb=32).blocks("m{}", T0, T0 + 6 * HOUR_MS - 1))
    size, first = running.queries
    assert size == "max_over_time(sum(count_over_time(m{}[5m]))[21599999ms:5399999ms])"
    minutes = 32 * 2**20 / (4 * 36) / 6_000
    assert int(first[4:-3]) <= minutes * 60_000 < HOUR_MS
    assert 6 * HOUR_MS % int(first[4:-3]) < 60_000


@pytest.mark.parametrize("hours", [1, 2])
def test_short_spans_are_asked_for_at_once(hours: int, held: FleetTransport) -> None:
    with limited(held, lambda _series, _samples: None) as (running, _):
        list(server(running.url).blocks(PODS, T0, T0 + hours * HOUR_MS))
    assert len(running.queries) == 1


def test_a_real_server_tells_about_how_many_samples_a_minute_has(
    small_fleet_prometheus: RunningServer, small_fleet: Fleet
) -> None:
    one = server(small_fleet_prometheus.url)
    start_ms, end_ms = small_fleet.spec.start_ms, small_fleet.spec.start_ms + 3 * HOUR_MS
    samples = sum(len(found) for found in read_back(one, PODS, start_ms, end_ms).values())
    told = one._samples_per_minute(PODS, start_ms, end_ms)
    assert told == pytest.approx(samples / 180, rel=0.5)
    assert one._samples_per_minute("nothing{}", start_ms, end_ms) is None
    assert one._samples_per_minute("}", start_ms, end_ms) is None


# parts


@pytest.mark.parametrize("most_ms", [1, 2, 7, 999, 1_000, 1_001, 5_000, math.inf])
def test_parts_hold_every_stamp_once_in_order_and_none_is_longer_than_wanted(most_ms: float) -> None:
    parts = Part("m{}", 10, 1_009).cut(most_ms)
    assert [stamp for part in parts for stamp in range(part.start_ms, part.end_ms + 1)] == list(range(10, 1_010))
    assert max(part.size_ms for part in parts) <= most_ms


def test_series_are_shared_out_whatever_their_labels_are(held: FleetTransport, fleet: Fleet) -> None:
    whole = read_back(held, PODS, *span(fleet))
    parts = [Part(PODS, *span(fleet))]
    for _ in HALVES:
        parts = [half for part in parts for half in (part.halves() if len(parts) < 64 else [part])]
    found = [read_back(held, part.selector, part.start_ms, part.end_ms) for part in parts]
    assert sum(len(one) for one in found) == len(whole)
    assert {labels: samples for one in found for labels, samples in one.items()} == whole
    assert max(len(one) for one in found) < len(whole) / 3
    assert Part('m{a="b"}', 0, 1).halves()[1].selector.startswith('m{a="b",pod_id!~"(?s:.*)[')


def test_what_was_given_before_a_part_broke_off_is_not_given_again(held: FleetTransport, fleet: Fleet) -> None:
    calls: list[int] = []

    def breaks_off(selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        calls.append(end_ms - start_ms)
        blocks = [
            block
            for number in range(2)
            for block in held.blocks(f'{PODS[:-1]}zone=~"{"dp"[number]}.*"}}', start_ms, end_ms)
        ]
        yield blocks[0]
        if len(calls) < 3:
            raise TooMuchError("too much", Limit("too much", "", "size"))
        yield from blocks[1:]

    class Broken:
        def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
            return Splitting("http://x", 1 << 40).blocks(breaks_off, selector, start_ms, end_ms)

    transport: Transport = Broken()
    assert read_back(transport, PODS, *span(fleet)) == read_back(held, PODS, *span(fleet))
    assert len(calls) > 3


def test_the_rest_of_a_series_that_was_given_in_part_is_not_lost() -> None:
    """A store may come back to a series later in its answer, which may break off before that."""
    labels = pa.table({"pod": ["a"]})
    stamps_ms = np.arange(0, 4 * LEAST_MS, LEAST_MS // 2)
    calls: list[int] = []

    def breaks_off(_selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        calls.append(end_ms - start_ms)
        own = stamps_ms[(stamps_ms >= start_ms) & (stamps_ms <= end_ms)]
        for part in (own[: len(own) // 2], own[len(own) // 2 :]):
            if len(part):
                yield Block(labels, np.array([0, len(part)]), part, part / 7)
            if len(calls) == 1:
                raise TooMuchError("too much", Limit("too much", "", "size"))

    found = list(Splitting("http://x", 1 << 40).blocks(breaks_off, "m{}", 0, 4 * LEAST_MS))
    assert np.concatenate([block.stamps_ms for block in found]).tolist() == stamps_ms.tolist()
    assert len(calls) > 1


def test_limits_of_our_own_are_limits_and_other_failures_are_none() -> None:
    assert limit_of(SourceUnavailable("http://a:1 did not finish within 30 s (http.timeout_seconds)")) == (
        "did not finish within 30 s (http.timeout_seconds)", "http.timeout_seconds", "time",
    )  # fmt: skip
    assert limit_of(SourceRejected("http://a:1 sent more than 1 MB: raise http.max_response_mb")) == (
        "sent more than 1 MB: raise http.max_response_mb", "http.max_response_mb", "size",
    )  # fmt: skip
    assert limit_of(SourceUnavailable("cannot reach http://a:1: connection refused")) is None
