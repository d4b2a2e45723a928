"""Remote read gives what the query API gives, bit by bit, on real servers; on wrong ones it fails clearly."""

import struct
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, mixed, outages, restarting, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.samples import Block, Transport
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.crc32c import crc32c
from pipeline.sources.prometheus.merging import MergingServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.sources.prometheus.streaming import THREAD
from tests.conftest import RealClock
from tests.misbehaving import NOT_JSON, Answer, failure
from tests.sinks.rows import StillClock
from tests.sources.prometheus.chunk_writer import (
    HISTOGRAM,
    bits_of,
    chunk,
    field,
    frame,
    number,
    response,
    series,
    varint,
)
from tests.sources.prometheus.streaming_server import STREAM, streaming
from tests.sources.prometheus.test_api_client import HOSTILE, SERIES, T0
from tests.sources.series import fill, read_back, written

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOUR_MS = 3_600_000
STALE = 0x7FF0000000000002
KINDS = {"mixed": mixed, "restarting": restarting, "outages": outages}
Exact = dict[tuple[tuple[str, str], ...], list[tuple[int, str]]]


def both(
    url: str, clock: RealClock | StillClock | None = None, transport: str = "remote_read", **settings: object
) -> tuple[BulkServer, list[str]]:
    """A server read by remote read, and what it warns of."""
    http = HttpSettings.model_validate({"timeout_seconds": 5, "retry_seconds": 0} | settings)
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    warnings: list[str] = []
    return BulkServer(endpoint, http, {}, clock or RealClock(), warnings.append), warnings


def by_query(url: str) -> PrometheusServer:
    return PrometheusServer(PrometheusEndpoint(url=url), HttpSettings(retry_seconds=0), {}, RealClock())


def exact(transport: Transport, asked: str, start_ms: int, end_ms: int) -> Exact:
    found = read_back(transport, asked, start_ms, end_ms)
    return {labels: [(stamp, value.hex()) for stamp, value in samples] for labels, samples in found.items() if samples}


def assert_same(url: str, asked: str, start_ms: int, end_ms: int) -> Exact:
    server, warnings = both(url)
    found = exact(server, asked, start_ms, end_ms)
    assert server.choice.transport == "remote_read"
    assert found == exact(by_query(url), asked, start_ms, end_ms)
    assert warnings == []
    return found


def write(url: str, asked: dict[str, str], samples: list[tuple[int, int]]) -> None:
    """Append bits to a series by remote write."""
    labels = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(asked.items()))
    values = b"".join(field(2, b"\x09" + struct.pack("<Q", bits) + number(2, ms)) for ms, bits in samples)
    body = pa.compress(field(1, labels + values), codec="snappy", asbytes=True)
    answer = httpx.post(f"{url}/api/v1/write", content=body, headers={"Content-Encoding": "snappy"}, trust_env=False)
    assert answer.status_code == 204, answer.text


@pytest.fixture(scope="module", params=sorted(KINDS))
def fleet(request: pytest.FixtureRequest) -> Fleet:
    spec: FleetSpec = KINDS[request.param](5, START, 3)
    return simulate(spec)


@pytest.fixture(scope="module")
def fleet_url(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("fleet") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running.url


def test_every_metric_of_a_fleet_is_the_same_by_both_transports(fleet: Fleet, fleet_url: str) -> None:
    start_ms = fleet.spec.start_ms
    for metric in sorted({str(block.labels["__name__"][0]) for block in fleet.blocks()}):
        whole = assert_same(fleet_url, f"{metric}{{}}", start_ms - 600_001, start_ms + 4 * HOUR_MS)
        part = assert_same(fleet_url, f"{metric}{{}}", start_ms + 1_234_567, start_ms + HOUR_MS + 7)
        assert whole
        assert sum(map(len, part.values())) < sum(map(len, whole.values()))


LONG = [(T0 + 15_000 * i + i % 3, i * 7.654321 if i % 50 else 0.0) for i in range(1_000)]


@pytest.fixture(scope="module")
def store(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """Blocks of promtool and a head that was written to, in and out of order."""
    folder = tmp_path_factory.mktemp("store")
    fill(prometheus_binary.promtool, folder / "data", SERIES | {written("long", zone="x"): LONG})
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        now = T0 + 20 * HOUR_MS
        ordered = [(now + 30_000 * i, bits_of(i * 1.1)) for i in range(500)]
        write(running.url, {"__name__": "late", "s": "ordered"}, ordered)
        write(running.url, {"__name__": "late", "s": "mixed"}, ordered[300:])
        write(running.url, {"__name__": "late", "s": "mixed"}, [(ms + 11, bits) for ms, bits in ordered[:350:3]])
        write(running.url, {"__name__": "late", "s": "mixed"}, [(ms + 7, bits) for ms, bits in ordered[250:330]])
        write(running.url, {"__name__": "late", "s": "repeated"}, ordered[300:])
        write(running.url, {"__name__": "late", "s": "repeated"}, [(ms, bits + 1) for ms, bits in ordered[290:330]])
        gone = [ordered[0], ordered[1], (ordered[2][0], STALE), ordered[3], (ordered[4][0], STALE)]
        write(running.url, {"__name__": "late", "s": "gone"}, gone)
        write(running.url, {"__name__": "late", "s": "only marks"}, [(ordered[4][0], STALE)])
        write(running.url, {"__name__": "late", "s": "nan"}, [(now, 0x7FF8000000000001), (now + 1, bits_of(-0.0))])
        yield running


@pytest.mark.parametrize("name", ["joules", "bare", "stepped", "mixed", "long", "late", "no_such_metric"])
def test_series_of_blocks_and_of_a_head_written_in_any_order_are_the_same(name: str, store: RunningServer) -> None:
    for start_ms, end_ms in [
        (T0 - HOUR_MS, T0 + 40 * HOUR_MS),
        (T0 + 1, T0 + 999),
        (T0 + 20 * HOUR_MS, T0 + 21 * HOUR_MS),
    ]:
        assert_same(store.url, f"{name}{{}}", start_ms, end_ms)


def test_a_series_of_many_chunks_is_one_row_with_all_its_samples(store: RunningServer) -> None:
    server, _ = both(store.url)
    (block,) = server.blocks("long{}", T0, T0 + 10 * HOUR_MS)
    assert block.offsets.tolist() == [0, 1_000]
    assert list(zip(block.stamps_ms.tolist(), block.values.tolist(), strict=True)) == LONG


def test_stale_marks_and_series_of_nothing_else_are_not_there(store: RunningServer) -> None:
    server, _ = both(store.url)
    found = read_back(server, "late{}", T0, T0 + 40 * HOUR_MS)
    assert (("s", "only marks"),) not in found
    assert len(found[(("s", "gone"),)]) == 3
    assert len(found[(("s", "mixed"),)]) == 200 + 117 + 80


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_label_value_finds_its_own_series_only(name: str, store: RunningServer) -> None:
    own = HOSTILE.index(name)
    equal = assert_same(store.url, selector("hostile", Matcher("name", "=", name)), T0, T0 + 1_000)
    assert list(equal) == [(("n", str(own)), ("name", name))]
    other = assert_same(store.url, selector("hostile", Matcher("name", "!=", name)), T0, T0 + 1_000)
    assert len(other) == len(HOSTILE) - 1


@pytest.mark.parametrize(
    "matchers", ['b=""', 'b!=""', 'a=~"1|2",b="x"', 'a!~"1"', 'a=~".+"', '__name__=~"mixed|bare"', 'a=~""']
)
def test_matchers_mean_what_they_mean_in_a_query(matchers: str, store: RunningServer) -> None:
    asked = f"{{{matchers}}}" if "__name__" in matchers else f"mixed{{{matchers}}}"
    assert_same(store.url, asked, T0, T0 + 10_000)


EXTERNAL = {"zone": "package", "a": "1", "replica": "0", "b": "z"}


@pytest.fixture
def labelled(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: RealClock
) -> Iterator[tuple[RunningServer, Path]]:
    fill(prometheus_binary.promtool, tmp_path / "data", SERIES)
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as running:
        yield running, tmp_path / "data" / "prometheus.yml"


def configure(running: RunningServer, config: Path, external: dict[str, str]) -> None:
    """Give the running server external labels."""
    text = "".join(f"    {name}: {value!r}\n" for name, value in external.items())
    config.write_text("global:\n  external_labels:\n" + text)
    running.process.send_signal(1)
    deadline = RealClock().monotonic() + 20
    while list(external)[-1] not in httpx.get(f"{running.url}/api/v1/status/config", trust_env=False).text:
        assert RealClock().monotonic() < deadline
        threading.Event().wait(0.02)


def test_labels_that_the_server_adds_are_taken_off_and_never_a_series_own(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, EXTERNAL)
    for asked in ("joules{}", 'joules{zone="package"}', 'joules{zone!="package"}', "mixed{}", 'mixed{a="1"}',
                  'mixed{b=""}', 'mixed{b="z"}', 'bare{replica="0"}', "bare{}", 'bare{replica=""}'):  # fmt: skip
        assert_same(running.url, asked, T0 - HOUR_MS, T0 + HOUR_MS)
    server, _ = both(running.url)
    assert list(read_back(server, "joules{}", T0, T0 + HOUR_MS)) == [(("zone", "package"),)]


def test_external_labels_that_cannot_be_read_leave_the_choice_to_the_query_api(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, {"a": "x" * 200 + " " + "y" * 200, "z": "1"})
    server, _ = both(running.url, transport="auto")
    assert server.choice.transport == "query"
    assert "status/config" in server.choice.reason
    assert exact(server, "mixed{}", T0, T0 + HOUR_MS) == exact(by_query(running.url), "mixed{}", T0, T0 + HOUR_MS)


SELECTORS = ("joules{}", 'mixed{a="1"}', "no_such_metric{}", "mixed{}", "bare{}", 'mixed{b="z"}')


def assert_together(server: BulkServer, selectors: Sequence[str], start_ms: int, end_ms: int) -> None:
    """Each selector's answer is what it is alone, whatever is asked for beside it."""
    found = server.together(selectors, start_ms, end_ms)
    assert found is not None
    for one, blocks in zip(selectors, found, strict=True):
        assert exact(Held(blocks), one, start_ms, end_ms) == exact(server, one, start_ms, end_ms)


class Held(NamedTuple):
    """Blocks as a transport; implements `samples.Transport`."""

    held: list[Block]

    def blocks(self, _selector: str, _start_ms: int, _end_ms: int) -> Iterator[Block]:
        yield from self.held


def test_several_selectors_of_one_request_have_each_its_own_series(store: RunningServer) -> None:
    server, _ = both(store.url)
    assert_together(server, [*SELECTORS, "late{}", "long{}"], T0 - HOUR_MS, T0 + 40 * HOUR_MS)
    assert_together(server, [*SELECTORS, "late{}", "long{}"], T0 + 20 * HOUR_MS, T0 + 21 * HOUR_MS)


def test_of_several_selectors_labels_that_the_server_adds_are_taken_off_as_of_one(
    labelled: tuple[RunningServer, Path],
) -> None:
    running, config = labelled
    configure(running, config, EXTERNAL)
    server, _ = both(running.url)
    assert_together(server, [*SELECTORS, 'bare{replica="0"}', 'mixed{b=""}'], T0 - HOUR_MS, T0 + HOUR_MS)


# what follows needs no real server

GOOD = frame(response([series({"__name__": "m", "a": "1"}, [chunk([(1_000, bits_of(1.0)), (2_000, bits_of(2.5))])])]))
MORE = frame(response([series({"__name__": "m", "a": "2"}, [chunk([(1_000, bits_of(4.0))])])]))
PROBED, NO_CONFIG = Answer(headers=STREAM), Answer(404)
FOUND = {(("a", "1"),): [(1_000, 1.0), (2_000, 2.5)], (("a", "2"),): [(1_000, 4.0)]}


def stream(body: bytes, **how: float) -> Answer:
    return Answer(body=body, headers=STREAM, **how)  # type: ignore[arg-type]


def test_the_request_is_posted_uncompressed_answers_wanted_with_the_newest_credentials(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    with streaming(PROBED, NO_CONFIG, stream(GOOD + MORE)) as odd:
        endpoint = PrometheusEndpoint.model_validate(
            {"url": odd.url, "bearer_token_file": token, "transport": "remote_read"}
        )
        server = BulkServer(endpoint, HttpSettings(), {}, RealClock(), print)
        assert read_back(server, "m{}", 0, 9_000) == FOUND
        token.write_text("second\n")
        assert read_back(server, 'm{a!="x.y",b="x.y"}', 5, 9_000) == FOUND
    assert [(asked.method, asked.path) for asked in odd.asked[2:]] == [("POST", "/api/v1/read")] * 2
    assert odd.asked[2].headers["accept-encoding"] == "identity"
    assert [asked.authorization for asked in odd.asked] == ["Bearer first"] * 3 + ["Bearer second"]
    asked = bytes(pa.decompress(odd.bodies[-1], decompressed_size=odd.bodies[-1][0], codec="snappy", asbytes=True))
    name = field(3, field(2, b"__name__") + field(3, b"m"))
    rest = field(3, number(1, 1) + field(2, b"a") + field(3, b"x.y"))
    escaped = field(3, number(1, 2) + field(2, b"b") + field(3, b"x\\.y"))
    assert asked == field(1, number(1, 5) + number(2, 9_000) + name + rest + escaped) + number(2, 1)


@pytest.mark.parametrize(
    "broken",
    [
        stream(GOOD + MORE[:-3]),
        stream(GOOD[:-1] + b"?" + MORE),
        stream(GOOD + b"context deadline exceeded\n"),
        stream(GOOD + MORE, cut_bytes=9),
        failure(503, "busy", Retry_After="7"),
        failure(429, "slow down"),
    ],
    ids=["cut frame", "wrong sum", "error in words", "cut body", "busy", "too many"],
)
def test_an_answer_that_breaks_off_is_asked_again_and_nothing_comes_twice(broken: Answer) -> None:
    clock = StillClock()
    with streaming(PROBED, NO_CONFIG, broken, broken, stream(GOOD + MORE)) as odd:
        server, _ = both(odd.url, clock, retry_seconds=60)
        assert read_back(server, "m{}", 0, 9_000) == FOUND
    assert len(odd.asked) == 5
    assert clock.seconds == (14 if "Retry-After" in broken.headers else 1.5)


def of_query(query: int, labels: dict[str, str], chunks: list[bytes]) -> bytes:
    return frame(response([series(labels, chunks)], query))


HIS = [chunk([(1_000, 0)], HISTOGRAM, b"\x00\x01??")]
OTHER = of_query(1, {"__name__": "n", "a": "1"}, [chunk([(3_000, bits_of(7.0))])])


@pytest.mark.parametrize("broken", [stream(GOOD + OTHER[:-3]), stream(GOOD + MORE + OTHER, cut_bytes=9)])
def test_an_answer_to_several_that_breaks_off_is_asked_again_whole_and_nothing_comes_twice(broken: Answer) -> None:
    with streaming(PROBED, NO_CONFIG, broken, stream(GOOD + MORE + OTHER)) as odd:
        server, _ = both(odd.url, StillClock(), retry_seconds=60)
        found = server.together(["m{}", "n{}"], 0, 9_000)
    assert found is not None
    assert [read_back(Held(blocks), "", 0, 9_000) for blocks in found] == [FOUND, {(("a", "1"),): [(3_000, 7.0)]}]
    assert odd.bodies[2] == odd.bodies[3]


def test_histograms_among_several_are_read_again_by_the_selector_they_are_of() -> None:
    query = (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"__name__":"n","a":"3"},"values":[[1.0,"9"]]}]}}'
    )
    body = GOOD + of_query(1, {"__name__": "n", "a": "3"}, HIS) + OTHER
    with streaming(PROBED, NO_CONFIG, stream(body), Answer(body=query)) as odd:
        server, _ = both(odd.url)
        found = server.together(["m{}", "n{}"], 0, 9_000)
    assert found is not None
    own = {(("a", "1"),): [(3_000, 7.0)], (("a", "3"),): [(1_000, 9.0)]}
    assert [read_back(Held(blocks), "", 0, 9_000) for blocks in found] == [{(("a", "1"),): FOUND[("a", "1"),]}, own]
    assert odd.queries == ['n{a="3"}[9001ms]']


@pytest.mark.parametrize(
    "refusal",
    [
        failure(400, "only one query is supported"),
        failure(422, "query processing would load too many samples into memory"),
        stream(GOOD + bytes(1 << 20)),
        stream(frame(b"\x0a\xff\x01")),
    ],
    ids=["several", "limit", "our limit", "malformed"],
)
def test_what_is_refused_of_several_is_asked_for_one_by_one_from_then_on(refusal: Answer) -> None:
    with streaming(PROBED, NO_CONFIG, refusal, stream(GOOD + MORE)) as odd:
        server, _ = both(odd.url, max_response_mb=1)
        assert server.together(["m{}", "n{}"], 0, 9_000) is None
        assert server.together(["m{}", "n{}"], 0, 9_000) is None
        assert len(odd.asked) == 3
        assert read_back(server, "m{}", 0, 9_000) == FOUND


def test_a_server_that_is_unavailable_for_several_is_unavailable() -> None:
    with streaming(PROBED, NO_CONFIG, failure(503, "busy")) as odd, pytest.raises(SourceUnavailable, match="busy"):
        both(odd.url)[0].together(["m{}", "n{}"], 0, 9_000)


def test_a_server_that_has_no_time_for_several_is_asked_for_one_by_one() -> None:
    with streaming(PROBED, NO_CONFIG, stream(GOOD * 40, drip_seconds=0.05)) as odd:
        assert both(odd.url, timeout_seconds=0.3)[0].together(["m{}", "n{}"], 0, 9_000) is None


def test_other_transports_answer_one_selector_at_a_time() -> None:
    with streaming(PROBED, NO_CONFIG) as odd:
        assert both(odd.url, transport="query")[0].together(["m{}", "n{}"], 0, 9_000) is None
        assert by_query(odd.url).together(["m{}", "n{}"], 0, 9_000) is None
        merging = PrometheusEndpoint.model_validate({"url": odd.url, "transport": "remote_read"})
        several = MergingServer(merging, HttpSettings(), {}, RealClock(), print, (), 0)
        assert several.together(["m{}", "n{}"], 0, 9_000) is None
        assert odd.asked == []


def test_the_budget_of_retries_ends_and_the_last_reason_is_told() -> None:
    clock = StillClock()
    with streaming(PROBED, NO_CONFIG, stream(GOOD[:-3])) as odd:
        server, _ = both(odd.url, clock, retry_seconds=10)
        with pytest.raises(SourceUnavailable, match=r"arrives damaged .an answer that ends within a frame") as caught:
            list(server.blocks("m{}", 0, 9_000))
    assert odd.url in str(caught.value)
    assert clock.seconds <= 10
    assert len(odd.asked) == 2 + 5


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (stream(frame(b"\x0a\xff\x01")), SourceMalformed, 'set transport = "query"'),
        (stream(GOOD + MORE + GOOD), SourceMalformed, "one series in two places"),
        (NOT_JSON, SourceError, "answers with text/html"),
        (Answer(body=b"", headers={"Content-Type": "application/x-protobuf"}), SourceError, "x-streamed-protobuf"),
        (failure(400, "no such thing"), SourceRejected, "refuses the query (400): no such thing"),
        (failure(401, "no"), SourceRejected, "refuses these credentials"),
        (Answer(302, b"", {"Location": "http://127.0.0.1:9/"}), SourceRejected, "302"),
    ],
)
def test_what_cannot_get_better_is_asked_once_and_told_in_a_line(
    answer: Answer, kind: type[SourceError], says: str
) -> None:
    clock = StillClock()
    with streaming(PROBED, NO_CONFIG, answer) as odd:
        server, _ = both(odd.url, clock, retry_seconds=60)
        with pytest.raises(kind) as caught:
            list(server.blocks("m{}", 0, 9_000))
    assert says in str(caught.value)
    assert odd.url in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (clock.seconds, len(odd.asked)) == (0.0, 3)


def test_a_drip_ends_at_the_time_out_of_the_whole_answer_and_its_thread_with_it() -> None:
    with streaming(PROBED, NO_CONFIG, stream(GOOD * 40, drip_seconds=0.05)) as odd:
        server, _ = both(odd.url, timeout_seconds=0.5)
        with pytest.raises(SourceUnavailable, match=r"did not finish within 0\.5 s \(http\.timeout_seconds\)"):
            list(server.blocks("m{}", 0, 9_000))
    assert _no_thread_is_left()


def test_blocks_that_nobody_takes_any_more_leave_no_thread_behind() -> None:
    large = field(15, bytes(5 << 20))  # of a field that nobody knows
    summed = varint(len(large)) + crc32c(np.frombuffer(large, np.uint8)).to_bytes(4) + large
    with streaming(PROBED, NO_CONFIG, stream(GOOD + MORE + summed * 8)) as odd:
        server, _ = both(odd.url)
        blocks = server.blocks("m{}", 0, 9_000)
        assert next(blocks).labels.num_rows in (1, 2), "as much as had come"
        assert not _no_thread_is_left(within_seconds=0)
        del blocks
        assert _no_thread_is_left()


def _no_thread_is_left(within_seconds: float = 5.0) -> bool:
    deadline = RealClock().monotonic() + within_seconds
    while (left := any(one.name == THREAD for one in threading.enumerate())) and RealClock().monotonic() < deadline:
        threading.Event().wait(0.02)
    return not left


def test_an_answer_above_the_limit_is_refused_and_names_the_setting() -> None:
    with streaming(PROBED, NO_CONFIG, stream(GOOD + bytes(1 << 20))) as odd:
        server, _ = both(odd.url, max_response_mb=1)
        with pytest.raises(SourceRejected, match=r"more than 1 MB: raise http\.max_response_mb"):
            list(server.blocks("m{}", 0, 9_000))


def test_histograms_are_reported_and_read_again_by_the_query_api_those_series_alone() -> None:
    foreign = frame(response([series({"__name__": "m", "a": "3"}, [chunk([(1_000, 0)], HISTOGRAM, b"\x00\x01??")])]))
    query = (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"__name__":"m","a":"3"},"values":[[1.0,"9"]]},'
        b'{"metric":{"__name__":"m","a":"3","b":"4"},"values":[[1.0,"8"]]}]}}'
    )
    with streaming(PROBED, NO_CONFIG, stream(GOOD + foreign + MORE), Answer(body=query)) as odd:
        server, warnings = both(odd.url)
        assert read_back(server, "m{}", 0, 9_000) == FOUND | {(("a", "3"),): [(1_000, 9.0)]}
    assert odd.queries == ['m{a="3"}[9001ms]']
    (told,) = warnings
    assert "1 series of m{} have chunks that are no float XOR" in told


def test_many_series_of_another_form_are_read_again_by_one_query() -> None:
    labels = [{"__name__": "m", "a": str(i)} for i in range(100)]
    foreign = b"".join(frame(response([series(one, [chunk([(1_000, 0)], 4, b"\x00\x01??")])])) for one in labels)
    result = ",".join(f'{{"metric":{{"__name__":"m","a":"{i}"}},"values":[[1.0,"{i}"]]}}' for i in range(105))
    query = f'{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}'.encode()
    with streaming(PROBED, NO_CONFIG, stream(foreign), Answer(body=query)) as odd:
        server, warnings = both(odd.url)
        found = read_back(server, 'm{z="1"}', 0, 9_000)
    assert found == {(("a", str(i)),): [(1_000, float(i))] for i in range(100)}
    assert len(odd.asked) == 4
    assert odd.queries == ['m{z="1"}[9001ms]']
    assert len(warnings) == 1


def test_a_missing_secret_is_told_before_anything_is_asked() -> None:
    endpoint = PrometheusEndpoint.model_validate({"url": "http://127.0.0.1:1", "bearer_token_env": "NO_SUCH"})
    with pytest.raises(ConfigError, match="the environment has no NO_SUCH"):
        BulkServer(endpoint, HttpSettings(), {}, RealClock(), print)
