"""The export of a VictoriaMetrics gives what was loaded and what its query API shows; a wrong one fails clearly."""

import json
import math
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.samples import Transport
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus import export_lines
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.export_lines import blocks_of, read_lines
from pipeline.sources.prometheus.raw_blocks import MALFORMED, rising
from tests.conftest import RealClock
from tests.misbehaving import NOT_JSON, Answer, failure, misbehaving
from tests.sinks.rows import StillClock
from tests.sinks.servers import RealStore
from tests.sources.prometheus.test_api_client import HOSTILE, SERIES, T0
from tests.sources.prometheus.test_matrix_json import STAMPS_MS, TEXTS, VALUES, bits
from tests.sources.prometheus.victoria import remote_write, victoria
from tests.sources.series import push, read_back, rows, written

HOUR_MS = 3_600_000
STALE = 0x7FF0000000000002
LINES = {"Content-Type": "application/stream+json; charset=utf-8"}
DEDUPLICATED = "-dedup.minScrapeInterval=1ms"


def server(
    url: str, transport: str = "export", clock: RealClock | StillClock | None = None, **http: object
) -> BulkServer:
    """A server read in that way; what it warns of fails the test unless `warnings` takes it."""
    warnings = http.pop("warnings", None)
    limits = HttpSettings.model_validate({"timeout_seconds": 5, "retry_seconds": 0} | http)
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    hear = warnings.append if isinstance(warnings, list) else pytest.fail
    return BulkServer(endpoint, limits, {}, clock or RealClock(), hear)


# on a real server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStore]:
    with victoria(tmp_path_factory.mktemp("export") / "victoria", DEDUPLICATED) as running:
        push(running.url, SERIES)
        push(running.url, {written("long"): [(T0 + 1_000 * i, float(i)) for i in range(25_000)]})
        yield running


@pytest.fixture(params=["export", "query"])
def transport(request: pytest.FixtureRequest, store: RealStore) -> Transport:
    return server(store.url, request.param)


@pytest.mark.parametrize("metric", ["joules", "bare", "hostile", "stepped", "mixed", "long"])
def test_every_sample_comes_as_it_was_loaded(metric: str, transport: Transport) -> None:
    found = read_back(transport, f"{metric}{{}}", T0 - HOUR_MS, T0 + 8 * HOUR_MS)
    loaded = [samples for series, samples in SERIES.items() if series.startswith(metric + "{")]
    if metric == "long":
        loaded = [[(T0 + 1_000 * i, float(i)) for i in range(25_000)]]
    assert sorted(found.values()) == sorted(loaded)
    if metric == "hostile":
        assert {dict(labels)["name"] for labels in found} == set(HOSTILE)


def test_both_edges_of_a_range_are_inside_and_nothing_beyond(transport: Transport) -> None:
    def stamps(start_ms: int, end_ms: int) -> list[int]:
        return [stamp for samples in read_back(transport, "bare{}", start_ms, end_ms).values() for stamp, _ in samples]

    assert stamps(T0, T0 + 1_000) == [T0, T0 + 1, T0 + 999, T0 + 1_000]
    assert stamps(T0 + 1, T0 + 999) == [T0 + 1, T0 + 999]
    assert stamps(T0 + 2, T0 + 998) == []
    assert stamps(T0 + 1, T0 + 1) == [T0 + 1]


@pytest.mark.parametrize("place", range(0, 1_000, 37))
def test_every_millisecond_of_a_second_is_asked_for_exactly(place: int, store: RealStore) -> None:
    stamp = T0 + 100_000_000 + 7 * place
    push(store.url, {written("edge", place=str(place)): [(stamp - 1, 1.0), (stamp, 2.0), (stamp + 1, 3.0)]})
    for way in ("export", "query"):
        for samples in read_back(server(store.url, way), f'edge{{place="{place}"}}', stamp, stamp).values():
            assert samples == [(stamp, 2.0)]


def test_marks_of_series_that_are_gone_are_no_samples(store: RealStore, transport: Transport) -> None:
    one = struct.unpack("<Q", struct.pack("<d", 1.5))[0]
    gone = [(T0, one), (T0 + 1_000, STALE), (T0 + 2_000, one)]
    remote_write(store.url, [({"__name__": "ended", "a": "1"}, gone), ({"__name__": "ended", "a": "2"}, [(T0, STALE)])])
    assert "null" in httpx.get(f"{store.url}/api/v1/export?match[]=ended&start={T0 // 1000}", trust_env=False).text
    assert read_back(transport, "ended{}", T0, T0 + 5_000) == {(("a", "1"),): [(T0, 1.5), (T0 + 2_000, 1.5)]}


def test_infinities_are_values(store: RealStore, transport: Transport) -> None:
    samples = [(T0, 1.0), (T0 + 1, math.inf), (T0 + 2, -math.inf), (T0 + 3, 2.0)]
    push(store.url, {written("endless"): samples})
    assert list(read_back(transport, "endless{}", T0, T0 + 5).values()) == [samples]


@pytest.mark.parametrize("way", ["export", "query"])
def test_of_several_values_at_one_stamp_the_greatest_is_taken_and_that_is_told(way: str, tmp_path: Path) -> None:
    with victoria(tmp_path / "victoria") as keeping:
        for value in (1.0, 3.0, 2.0):
            push(keeping.url, {written("twice"): [(T0, value), (T0 + 10, 7.0)]})
        warnings: list[str] = []
        found = read_back(server(keeping.url, way, warnings=warnings), "twice{}", T0, T0 + 10)
    assert list(found.values()) == [[(T0, 3.0), (T0 + 10, 7.0)]]
    (warning,) = warnings
    assert "2 stamps of twice{} have several values" in warning
    assert "-dedup.minScrapeInterval=1ms" in warning


@pytest.mark.parametrize("way", ["export", "query"])
def test_the_newest_samples_are_read_though_the_server_waits_before_it_shows_them(way: str, tmp_path: Path) -> None:
    now_ms = int(time.time() * 1000)
    with victoria(tmp_path / "victoria") as waiting:  # -search.latencyOffset is 30 s by default
        push(waiting.url, {written("fresh"): [(now_ms - 3_000, 1.0), (now_ms - 500, 2.0)]})
        fresh = server(waiting.url, way)
        assert list(read_back(fresh, "fresh{}", now_ms - 60_000, now_ms).values()) == [
            [(now_ms - 3_000, 1.0), (now_ms - 500, 2.0)]
        ]
        assert fresh.vector("fresh", now_ms) == [({"__name__": "fresh"}, 2.0)]


# lines


def go_float(value: float) -> str:
    return {math.inf: "+Inf", -math.inf: "-Inf"}.get(value, "null" if math.isnan(value) else repr(value))


def newer_float(value: float) -> str:
    return {math.inf: '"Infinity"', -math.inf: '"-Infinity"'}.get(value, "null" if math.isnan(value) else repr(value))


def line(metric: dict[str, str], samples: list[tuple[int, float]], write: Callable[[float], str] = go_float) -> str:
    values, stamps = ",".join(write(value) for _, value in samples), ",".join(str(ms) for ms, _ in samples)
    text = json.dumps(metric, separators=(",", ":"), ensure_ascii=False)
    return f'{{"metric":{text},"values":[{values}],"timestamps":[{stamps}]}}\n'


SERIES_OF_LINES = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["__name__", "a", "values", "timestamps"]), TEXTS, max_size=3),
        st.dictionaries(STAMPS_MS, VALUES, min_size=1, max_size=6).map(lambda found: sorted(found.items())),
        st.integers(1, 6),
        st.sampled_from([go_float, newer_float]),
    ),
    max_size=5,
    unique_by=lambda one: str(sorted(one[0].items())),
)


@given(SERIES_OF_LINES, st.data())
@settings(deadline=None)
def test_lines_are_read_as_they_were_made_up_however_they_are_split_and_mingled(
    series: list[tuple[dict[str, str], list[tuple[int, float]], int, Callable[[float], str]]], data: st.DataObject
) -> None:
    written_lines = [
        line(metric, samples[at : at + most], write)
        for metric, samples, most, write in series
        for at in range(0, len(samples), most)
    ]
    mingled = data.draw(st.permutations(written_lines))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(mingled)), max_size=3)))
    parts = [
        read_lines("".join(mingled[first:stop]).encode())
        for first, stop in zip([0, *cuts], [*cuts, len(mingled)], strict=True)
        if first < stop
    ]
    told: list[str] = []
    found = [
        (labels, [(ms, bits(value)) for ms, value in samples])
        for block in rising(blocks_of(parts, 0, 1 << 60), "m{}", told.append)
        for labels, samples in rows(block)
    ]
    expected = [
        (
            tuple(sorted((k, v) for k, v in metric.items() if k != "__name__")),
            [(ms, bits(value)) for ms, value in samples if not math.isnan(value)],
        )
        for metric, samples, _, _ in series
    ]
    assert sorted(found) == sorted(one for one in expected if one[1])
    assert told == []


def test_plain_lines_are_scanned_and_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_text: bytes) -> None:
        raise AssertionError("read by the general parser")

    monkeypatch.setattr(export_lines, "_parsed", fail)
    text = line({"a": '"],[', "b": "ü"}, [(1, 1.5), (2, -2e-9)]) + line({}, [(3, math.inf)])
    found = read_lines(text.encode())
    assert (found.sizes.tolist(), found.stamps_ms.tolist()) == ([2, 1], [1, 2, 3])
    assert found.values.tolist() == [1.5, -2e-9, math.inf]


@pytest.mark.parametrize(
    "text",
    [
        '{"metric":{},"values":[1,2],"timestamps":[1]}\n', '{"metric":{},"values":[1],"timestamps":[1.5]}\n',
        '{"metric":{},"values":["x"],"timestamps":[1]}\n', '{"metric":{},"values":[[1]],"timestamps":[1]}\n',
        '{"metric":{},"values":[1]}\n', '{"values":[1],"timestamps":[1]}\n', '{"metric":{},"value":[1]}\n',
        '{"metric":{},"values":[1],"timestamps":[1]\n', "[]\n", "remoteAddr: it failed\n", "\n", '{"error":"x"}\n',
        '{"metric":{},"values":[1],"timestamps":[9e400]}\n', '{"metric":{},"values":[true],"timestamps":["1"]}\n',
        '{"metric":{"a":\n"1"},"values":[1],"timestamps":[1]}\n',
    ],
)  # fmt: skip
def test_a_line_that_is_none_of_an_export_is_malformed(text: str) -> None:
    good = line({"a": "1"}, [(1, 1.0)])
    for around in (text, good + text, text + good):
        with pytest.raises(MALFORMED):
            list(blocks_of([read_lines(around.encode())], 0, 1 << 60))


# answers as told

GOOD = line({"__name__": "m", "a": "1"}, [(1_000, 1.0), (2_000, 2.0)]) + line(
    {"__name__": "m", "a": "2"}, [(1_000, 5.0)]
)
LOADED = {(("a", "1"),): [(1_000, 1.0), (2_000, 2.0)], (("a", "2"),): [(1_000, 5.0)]}
WHOLE = Answer(body=GOOD.encode(), headers=LINES)
EMPTY = Answer(headers=LINES)


def test_it_is_asked_by_post_for_exactly_what_is_wanted_and_that_it_is_there_is_asked_once() -> None:
    with misbehaving(EMPTY, WHOLE) as store:
        one = server(store.url)
        assert read_back(one, 'm{a=~".+"}', 1_001, 2_000) == {(("a", "1"),): [(2_000, 2.0)]}
        assert read_back(one, "m{}", 0, 9_000) == LOADED
    assert [asked.path for asked in store.asked] == ["/api/v1/export"] * 3
    asked = store.asked[1]
    assert asked.method == "POST"
    expected = {"match[]": 'm{a=~".+"}', "start": "1.001", "end": "2.000", "max_rows_per_line": "10000"}
    assert asked.parameters == expected
    assert asked.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "broken",
    [
        Answer(body=GOOD.encode()[:80], headers=LINES, cut_bytes=40),
        Answer(body=GOOD.encode()[:-30], headers=LINES),
        Answer(body=GOOD.encode() + b'remoteAddr: "127.0.0.1:1"; a storage node is away\n', headers=LINES),
        failure(503, "starting"),
        failure(429, "slow down"),
    ],
    ids=["cut off", "ends within a line", "given up", "503", "429"],
)
def test_an_answer_that_breaks_off_is_asked_for_again_and_counts_once(broken: Answer) -> None:
    with misbehaving(EMPTY, broken, WHOLE) as store:
        assert read_back(server(store.url, clock=StillClock(), retry_seconds=10), "m{}", 0, 9_000) == LOADED
    with misbehaving(EMPTY, broken) as store, pytest.raises(SourceUnavailable) as caught:
        list(server(store.url, clock=StillClock(), retry_seconds=10).blocks("m{}", 0, 9_000))
    assert store.url in str(caught.value)
    assert len(store.asked) == 1 + 5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(body=b'{"metric":{},"values":[1]}\n', headers=LINES), SourceMalformed),
        (Answer(body=b'{"metric":{"a":7},"values":[1],"timestamps":[1]}\n', headers=LINES), SourceMalformed),
        (failure(401, "no"), SourceRejected),
        (failure(400, "cannot parse"), SourceRejected),
        (NOT_JSON, SourceError),
    ],
    ids=["a line", "labels", "401", "400", "html"],
)
def test_what_is_no_export_is_an_error_with_the_address_and_is_asked_once(
    answer: Answer, kind: type[SourceError]
) -> None:
    with misbehaving(EMPTY, answer) as store, pytest.raises(kind) as caught:
        list(server(store.url, clock=StillClock(), retry_seconds=60).blocks("m{}", 0, 9_000))
    assert store.url in str(caught.value)
    assert len(store.asked) == 2


@pytest.mark.parametrize(
    "answer", [Answer(404), NOT_JSON, WHOLE, failure(405, "no")], ids=["404", "html", "lines", "405"]
)
def test_a_server_that_does_not_export_is_refused_where_the_config_insists(answer: Answer) -> None:
    with misbehaving(answer) as store, pytest.raises(SourceRejected, match=r'has no export .*: set transport = "auto"'):
        list(server(store.url).blocks("m{}", 0, 9_000))
