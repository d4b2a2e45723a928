"""What servers say of too much is understood in the words of each, and asked for in smaller parts from then on."""

import math

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.servers import RunningServer
from pipeline.demo.transport import FleetTransport
from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.sources.prometheus.limits import limit_of
from pipeline.sources.prometheus.splitting import LEAST_MS
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.prometheus.limited import HOUR_MS, PODS, limited, refusal, server, span
from tests.sources.prometheus.test_api_client import T0
from tests.sources.series import read_back

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
        assert list(server(running.url, timeout_seconds=1.5).blocks("m{}", T0, T0 + HOUR_MS)) == []
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


def test_limits_of_our_own_are_limits_and_other_failures_are_none() -> None:
    assert limit_of(SourceUnavailable("http://a:1 did not finish within 30 s (http.timeout_seconds)")) == (
        "did not finish within 30 s (http.timeout_seconds)", "http.timeout_seconds", "time",
    )  # fmt: skip
    assert limit_of(SourceRejected("http://a:1 sent more than 1 MB: raise http.max_response_mb")) == (
        "sent more than 1 MB: raise http.max_response_mb", "http.max_response_mb", "size",
    )  # fmt: skip
    assert limit_of(SourceUnavailable("cannot reach http://a:1: connection refused")) is None
