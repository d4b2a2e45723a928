"""Remote read of odd servers: what breaks off is asked again and comes once, what cannot get better is told."""

import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.crc32c import crc32c
from pipeline.sources.prometheus.merging import MergingServer
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
from tests.sources.prometheus.remotely import FOUND, GOOD, MORE, NO_CONFIG, PROBED, Held, both, by_query, stream
from tests.sources.prometheus.streaming_server import streaming
from tests.sources.series import read_back


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
        assert both(odd.url, timeout_seconds=2)[0].together(["m{}", "n{}"], 0, 9_000) is None


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
        server, _ = both(odd.url, timeout_seconds=2)
        with pytest.raises(SourceUnavailable, match=r"did not finish within 2 s \(http\.timeout_seconds\)"):
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


def _no_thread_is_left(within_seconds: float = 30.0) -> bool:
    deadline = RealClock().monotonic() + within_seconds
    while (left := any(one.name == THREAD for one in threading.enumerate())) and RealClock().monotonic() < deadline:
        threading.Event().wait(0.02)
    return not left


def test_an_answer_above_the_limit_is_refused_and_names_the_setting() -> None:
    with streaming(PROBED, NO_CONFIG, stream(GOOD + varint(1 << 20) + bytes(1 << 20))) as odd:
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
