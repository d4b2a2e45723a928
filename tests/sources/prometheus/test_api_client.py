"""The query transport on real servers returns what was loaded, value for value; on wrong ones it fails clearly."""

import inspect
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import prometheus_api_client
import prometheus_api_client.exceptions as library_errors
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.demo.transport import FleetTransport
from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.particulars import WHOLE
from pipeline.sources.prometheus.selectors import Matcher, selector
from tests.conftest import RealClock
from tests.misbehaving import (
    CUT_OFF,
    HISTOGRAM,
    NOT_JSON,
    ONE_SERIES,
    ONE_VALUE,
    WITHOUT_DATA,
    Answer,
    data,
    failure,
    misbehaving,
)
from tests.sinks.rows import StillClock
from tests.sinks.servers import real_victoria
from tests.sources.series import fill, push, read_back, written

T0 = 1_793_606_400_000  # 2026-11-02T08:00Z
HOSTILE = ['"} or {x="', 'quo"te', "back\\slash", "trailing\\", "line\nbreak", "ünï→", "{}", "a,b", "$selector", "'`"]
JOULES = [0.0, 262_143.328850, 262_143.328851, 65_712.999613, 1.5, 1_234_567.890123, 100.000001, 3.0]
EXTREME = [0.1 + 0.2, 1e-300, 1.7976931348623157e308, -0.0, 2**53 + 2.0, math.pi, math.inf, -math.inf, 5e-324]
SERIES = {
    written("joules", zone="package"): [(T0 + 15_000 * i + 123, value) for i, value in enumerate(JOULES)],
    written("bare"): [(T0, 1.0), (T0 + 1, 2.0), (T0 + 999, 3.0), (T0 + 1_000, 4.0)],
    **{written("hostile", name=name, n=str(i)): [(T0 + i, float(i))] for i, name in enumerate(HOSTILE)},
    written("stepped"): [(T0, 1.0), (T0 + 290_000, 2.0), (T0 + 590_000, 3.0), (T0 + 1_500_000, 4.0)],
    written("mixed", a="1", b="x"): [(T0, 1.0)],
    written("mixed", a="2"): [(T0, 2.0), (T0 + 5_000, 3.0)],
}


def connect(url: str, clock: RealClock | StillClock | None = None, **settings: object) -> PrometheusServer:
    http = HttpSettings.model_validate({"timeout_seconds": 5, "retry_seconds": 0} | settings)
    return PrometheusServer(PrometheusEndpoint(url=url), http, {}, clock or RealClock())


@pytest.fixture(scope="module")
def prometheus_only(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[PrometheusServer]:
    """The same and floats that a VictoriaMetrics rounds."""
    folder = tmp_path_factory.mktemp("prometheus")
    series = SERIES | {written("extreme", zone="x"): [(T0 + 1_000 * i, value) for i, value in enumerate(EXTREME)]}
    fill(prometheus_binary.promtool, folder / "data", series)
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        yield connect(running.url)


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """SERIES in a real Prometheus 2.x (ranges closed on the left) and in a VictoriaMetrics (left-open)."""
    if request.param == "prometheus":
        yield request.getfixturevalue("prometheus_only")
        return
    with real_victoria(tmp_path_factory.mktemp("victoria") / "data") as running:
        push(running.url, SERIES)
        yield connect(running.url)


@pytest.mark.parametrize(
    "metric",
    ["kepler_node_cpu_active_joules_total", "kepler_node_cpu_joules_total", "kepler_pod_cpu_joules_total",
     "kube_pod_owner", "kube_node_info"],
)  # fmt: skip
def test_blocks_equal_what_was_loaded(metric: str, small_fleet: Fleet, small_fleet_prometheus: RunningServer) -> None:
    start_ms = small_fleet.spec.start_ms
    window = (f"{metric}{{}}", start_ms - 600_001, start_ms + 2 * 3_600_000)
    loaded = read_back(FleetTransport(small_fleet), *window)
    assert sum(len(samples) for samples in loaded.values()) > 100
    assert read_back(connect(small_fleet_prometheus.url), *window) == loaded


def test_values_and_stamps_are_exact(server: PrometheusServer) -> None:
    ((_, samples),) = read_back(server, "joules{}", T0, T0 + 600_000).items()
    assert samples == SERIES[written("joules", zone="package")]


def test_every_float_comes_through_a_prometheus_unchanged(prometheus_only: PrometheusServer) -> None:
    ((_, samples),) = read_back(prometheus_only, "extreme{}", T0, T0 + 600_000).items()
    assert [value.hex() for _, value in samples] == [value.hex() for value in EXTREME]


def test_both_edges_of_a_range_are_inside_and_nothing_beyond(server: PrometheusServer) -> None:
    def stamps(start_ms: int, end_ms: int) -> list[int]:
        return [stamp for samples in read_back(server, "bare{}", start_ms, end_ms).values() for stamp, _ in samples]

    assert stamps(T0, T0 + 1_000) == [T0, T0 + 1, T0 + 999, T0 + 1_000]
    assert stamps(T0 + 1, T0 + 999) == [T0 + 1, T0 + 999]
    assert stamps(T0 + 2, T0 + 998) == []
    assert stamps(T0 + 1, T0 + 1) == [T0 + 1]
    assert stamps(T0 + 1_001, T0 + 5_000) == []
    assert stamps(T0 - 5_000, T0 - 1) == []


def test_a_series_without_labels_keeps_its_row(server: PrometheusServer) -> None:
    (block,) = server.blocks("bare{}", T0, T0)
    assert (block.labels.num_rows, block.offsets.tolist()) == (1, [0, 1])


def test_a_label_that_a_series_lacks_is_null(server: PrometheusServer) -> None:
    (block,) = server.blocks("mixed{}", T0, T0 + 60_000)
    assert sorted(block.labels.to_pylist(), key=lambda row: row["a"]) == [{"a": "1", "b": "x"}, {"a": "2", "b": None}]


def test_a_range_without_samples_yields_no_block(server: PrometheusServer) -> None:
    assert list(server.blocks("joules{}", T0 - 7_200_000, T0 - 3_600_000)) == []
    assert list(server.blocks("no_such_metric{}", T0, T0 + 1_000)) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_label_value_finds_its_own_series_only(name: str, server: PrometheusServer) -> None:
    found = read_back(server, selector("hostile", Matcher("name", "=", name)), T0, T0 + 1_000)
    number = HOSTILE.index(name)
    assert found == {(("n", str(number)), ("name", name)): [(T0 + number, float(number))]}


def test_a_vector_gives_labels_and_values(server: PrometheusServer) -> None:
    answer = server.vector("sum by (a) (last_over_time(mixed[1h]))", T0 + 10_000)
    assert sorted((labels["a"], value) for labels, value in answer) == [("1", 1.0), ("2", 3.0)]
    assert server.vector("absent_series", T0) == []


def test_a_matrix_is_what_the_expression_gives_at_each_step_looking_back(server: PrometheusServer) -> None:
    ((labels, samples),) = server.matrix("sum(stepped)", T0, T0 + 1_500_000, 300_000)
    assert labels == {}
    assert samples == [(T0, 1.0), (T0 + 300_000, 2.0), (T0 + 600_000, 3.0), (T0 + 1_500_000, 4.0)]
    two = server.matrix("mixed", T0 + 10_000, T0 + 10_000, 300_000)
    assert sorted((one["__name__"], one["a"], values) for one, values in two) == [
        ("mixed", "1", [(T0 + 10_000, 1.0)]), ("mixed", "2", [(T0 + 10_000, 3.0)]),
    ]  # fmt: skip
    assert server.matrix("no_such_metric", T0, T0 + 600_000, 300_000) == []


def test_a_matrix_of_more_points_than_servers_give_at_once_is_whole(server: PrometheusServer) -> None:
    ((_, samples),) = server.matrix("vector(1)", T0 - 25_000 * 60_000, T0, 60_000)
    assert [stamp for stamp, _ in samples] == [T0 - n * 60_000 for n in range(25_000, -1, -1)]
    assert {value for _, value in samples} == {1.0}


def test_a_matrix_that_cannot_be_parsed_is_rejected_with_the_servers_words(server: PrometheusServer) -> None:
    with pytest.raises(SourceRejected, match=r"refuses the query \(4\d\d\): .*pars"):
        server.matrix("sum(", T0, T0, 60_000)


def test_a_query_that_the_server_cannot_parse_is_rejected_with_its_words(server: PrometheusServer) -> None:
    with pytest.raises(SourceRejected, match=r"refuses the query \(4\d\d\): .*pars"):
        server.vector("sum(", T0)


def test_a_status_page_that_is_not_there_is_none_and_one_that_is_there_is_read(
    prometheus_only: PrometheusServer,
) -> None:
    assert prometheus_only.status("no-such-page") is None
    assert str((prometheus_only.status("buildinfo") or {})["version"]).count(".") == 2


def test_the_response_limit_of_an_expression_holds_on_a_real_server(
    small_fleet_prometheus: RunningServer, small_fleet: Fleet
) -> None:
    limited = connect(small_fleet_prometheus.url, max_response_mb=1)
    with pytest.raises(SourceRejected, match=r"raise http\.max_response_mb"):
        limited.matrix('{__name__=~"k.+"}', small_fleet.spec.start_ms, small_fleet.spec.start_ms + 3_600_000, 1_000)


BLOCKS = [
    NOT_JSON, WITHOUT_DATA, Answer(body=b"null"), Answer(body=b"[]"), Answer(body=b'{"data":null}'),
    Answer(body=b'{"data":{"result":{}}}'), Answer(body=ONE_SERIES.body[:40]), data(None), data("text"), data([1]),
    data([{}]), data([{"metric": {}}]), data([{"values": [[1000.0, "1"]]}]), data([{"metric": {}, "values": 7}]),
    data([{"metric": {}, "values": [["x", "1"]]}]), data([{"metric": {}, "values": [[1000.0]]}]),
    data([{"metric": {}, "values": [[1000.0, "one"]]}]), data([{"metric": {}, "values": [[None, "1"]]}]),
    data([{"metric": {"a": 7}, "values": [[1000.0, "1"]]}]), data([{"metric": [], "values": [[1000.0, "1"]]}]),
    HISTOGRAM, ONE_VALUE,
]  # fmt: skip


@pytest.mark.parametrize("answer", BLOCKS, ids=lambda answer: answer.body[:70].decode())
def test_an_answer_that_is_not_raw_samples_is_malformed_and_never_empty(answer: Answer) -> None:
    with misbehaving(answer) as odd, pytest.raises(SourceMalformed) as caught:
        list(connect(odd.url).blocks("m{}", 0, 2_000_000))
    assert odd.url in str(caught.value)
    assert len(odd.asked) == 1, "what is malformed is not asked again"


@pytest.mark.parametrize("answer", [*BLOCKS[:-1], ONE_SERIES], ids=lambda answer: answer.body[:70].decode())
def test_an_answer_that_is_no_vector_is_malformed(answer: Answer) -> None:
    with misbehaving(answer) as odd, pytest.raises(SourceMalformed):
        connect(odd.url).vector("m", 1_000_000)


@pytest.mark.parametrize(
    "answer",
    [*(a for a in BLOCKS if b'"a": 7' not in a.body), data([{"metric": {}, "values": [[math.inf, "1"]]}])],
    ids=lambda answer: answer.body[:70].decode(),
)
def test_an_answer_that_is_no_matrix_is_malformed(answer: Answer) -> None:
    with misbehaving(answer) as odd, pytest.raises(SourceMalformed) as caught:
        connect(odd.url).matrix("m", 0, 2_000_000, 1_000)
    assert odd.url in str(caught.value)


def test_a_matrix_is_asked_by_post_in_slices_with_exact_times() -> None:
    with misbehaving(ONE_SERIES) as store:
        ((labels, samples),) = connect(store.url).matrix("m", 1, 15_000_001, 1_000)
    assert [(asked.method, asked.path) for asked in store.asked] == [("POST", "/api/v1/query_range")] * 2
    assert [(asked.parameters["start"], asked.parameters["end"]) for asked in store.asked] == [
        ("0.001", "9999.001"), ("10000.001", "15000.001"),
    ]  # fmt: skip
    assert store.asked[0].parameters["step"] == "1.000"
    assert (labels["zone"], len(samples)) == ("package", 4), "one series, whatever slice a sample came in"


@pytest.mark.parametrize("answer", [NOT_JSON, WITHOUT_DATA, Answer(body=b"[]"), data([]), failure(401, "no")])
def test_a_status_page_in_another_form_is_none(answer: Answer) -> None:
    with misbehaving(answer) as odd:
        assert (connect(odd.url).status("runtimeinfo") or {}).get("storageRetention") is None


def test_unavailability_is_waited_out_within_the_budget_as_the_server_asks() -> None:
    clock = StillClock()
    with misbehaving(
        failure(503, "a", Retry_After="7"), failure(429, "b"), failure(500, "c"), CUT_OFF, ONE_SERIES
    ) as busy:
        (block,) = connect(busy.url, clock, retry_seconds=60).blocks("m{}", 0, 2_000_000)
    assert block.values.tolist() == [1.0, 2.5]
    assert len(busy.asked) == 5
    assert clock.seconds == 7 + 1 + 2 + 4, "Retry-After, then pauses that double"


def test_the_budget_of_retries_ends_and_the_last_reason_is_told() -> None:
    clock = StillClock()
    with (
        misbehaving(failure(503, "still starting")) as busy,
        pytest.raises(SourceUnavailable, match="503: still start"),
    ):
        connect(busy.url, clock, retry_seconds=10).vector("m", 0)
    assert clock.seconds <= 10
    assert len(busy.asked) == 5, "asked after 0, 0.5, 1.5, 3.5 and 7.5 s"


def test_a_wait_that_the_budget_does_not_hold_is_not_begun() -> None:
    clock = StillClock()
    with misbehaving(failure(503, "later", Retry_After="3600")) as busy, pytest.raises(SourceUnavailable):
        connect(busy.url, clock, retry_seconds=60).vector("m", 0)
    assert (clock.seconds, len(busy.asked)) == (0.0, 1)


@pytest.mark.parametrize("answer", [failure(401, "no"), failure(400, "no"), Answer(404), NOT_JSON])
def test_what_cannot_get_better_is_asked_once(answer: Answer) -> None:
    clock = StillClock()
    with misbehaving(answer) as odd, pytest.raises(SourceError):
        connect(odd.url, clock, retry_seconds=60).vector("m", 0)
    assert (clock.seconds, len(odd.asked)) == (0.0, 1)


def test_warnings_reach_whoever_listens() -> None:
    told: list[str] = []
    endpoint = PrometheusEndpoint.model_validate({"url": "http://127.0.0.1:1"})
    with misbehaving(data([], warnings=["store-2 is away"])) as store:
        endpoint = endpoint.model_copy(update={"url": store.url})
        PrometheusServer(endpoint, HttpSettings(), {}, RealClock(), told.append).vector("m", 0)
    assert told == ["store-2 is away"]


def test_the_token_is_read_anew_for_each_request(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with misbehaving(ONE_VALUE) as store:
        endpoint = PrometheusEndpoint.model_validate({"url": store.url, "bearer_token_file": token})
        server = PrometheusServer(endpoint, HttpSettings(), {}, RealClock())
        server.vector("m", 0)
        token.write_text("second\n")
        server.vector("m", 0)
        server.status("buildinfo")
    assert [asked.authorization for asked in store.asked] == ["Bearer first", "Bearer second", "Bearer second"]


def test_a_missing_secret_is_told_before_anything_is_asked() -> None:
    endpoint = PrometheusEndpoint.model_validate({"url": "http://127.0.0.1:1", "bearer_token_env": "NO_SUCH"})
    with pytest.raises(ConfigError, match="the environment has no NO_SUCH"):
        PrometheusServer(endpoint, HttpSettings(), {}, RealClock())


def test_queries_travel_by_post_to_the_query_api_with_the_time_in_milliseconds() -> None:
    with misbehaving(data([])) as store:
        list(connect(store.url).blocks('m{a="b"}', 1_000_001, 2_000_123))
    (asked,) = store.asked
    assert (asked.method, asked.path) == ("POST", "/api/v1/query")
    assert asked.parameters == {"query": 'm{a="b"}[1000123ms]', "time": "2000.123", **WHOLE}
    assert asked.headers["accept-encoding"] == "identity"


def _library_exceptions() -> list[type[Exception]]:
    return [
        kind
        for _, kind in inspect.getmembers(library_errors, inspect.isclass)
        if issubclass(kind, Exception) and kind.__module__.startswith(prometheus_api_client.__name__)
    ]


def test_the_library_has_the_exceptions_that_we_know() -> None:
    assert {kind.__name__ for kind in _library_exceptions()} == {
        "PrometheusApiClientException",
        "MetricValueConversionError",
    }


@pytest.mark.parametrize("kind", _library_exceptions(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize(
    "ask",
    [lambda server: server.vector("m", 0), lambda server: server.matrix("m{}", 0, 1, 1)],
    ids=["vector", "matrix"],
)
def test_no_exception_of_the_library_reaches_a_caller(
    kind: type[Exception], ask: Callable[[PrometheusServer], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("HTTP Status Code 418 (b'a long body')")

    for name in ("custom_query", "custom_query_range"):
        monkeypatch.setattr(prometheus_api_client.PrometheusConnect, name, fail)
    with pytest.raises(SourceMalformed) as caught:
        ask(connect("http://127.0.0.1:1"))
    assert "418" not in str(caught.value)
