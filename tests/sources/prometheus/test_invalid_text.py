r"""Labels that are no text, half a surrogate pair (`\ud800`) or bytes that are no UTF-8: one clear line says so."""

from collections.abc import Callable

import pytest

from pipeline.errors import SourceError, SourceMalformed, SourceRejected
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.kernels import NUMPY
from pipeline.sources.prometheus.remote_read import RemoteRead
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from tests.misbehaving import Answer, data, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.prometheus.chunk_writer import bits_of, chunk, field, frame
from tests.sources.prometheus.remotely import stream
from tests.sources.prometheus.streaming_server import streaming
from tests.sources.prometheus.test_api_client import connect
from tests.sources.prometheus.test_export import LINES
from tests.sources.prometheus.test_export import server as bulk_server
from tests.sources.series import read_back

NAME, VALUE = b"AN_ODD_NAME", b"AN_ODD_VALUE"
SPOILT = {  # what stands in JSON for a label's name and its value
    "value half a pair": (NAME, rb"x\ud800"),
    "name half a pair": (rb"x\udfff", VALUE),
    "value a pair turned round": (NAME, rb"\udd80\ud83d"),
    "value bytes of a surrogate": (NAME, b"\xed\xa0\x80"),
    "value no UTF-8": (NAME, b"\xff\xfe"),
    "name no UTF-8": (b"\xc3", VALUE),
}
LABELS = {"__name__": "m", NAME.decode(): VALUE.decode()}
every_spoilt = pytest.mark.parametrize(("name", "value"), SPOILT.values(), ids=SPOILT)


def one_line(caught: pytest.ExceptionInfo[SourceError]) -> str:
    """What is said, which every terminal, log and column can hold."""
    said = str(caught.value)
    assert said.isprintable()
    return said


OTHERS = [{"metric": {"__name__": "m", "a": str(n)}, "values": [[1.0, "2"]]} for n in range(3)]
VALUED, SAMPLED = {"metric": LABELS, "value": [1.0, "2"]}, {"metric": LABELS, "values": [[1.0, "2"]]}
Read = Callable[[PrometheusServer], object]
WAYS: dict[str, tuple[Read, Answer]] = {
    "raw": (lambda server: read_back(server, "m{}", 0, 9_000), data([*OTHERS, SAMPLED])),
    "range": (lambda server: list(server.instants(str, "m{}", range(0, 2_000, 1_000))), data([SAMPLED])),
    "instant": (lambda server: list(server.instants(str, "m{}", range(1_000, 2_000, 1_000))), data([VALUED], "vector")),
}  # fmt: skip
every_way = pytest.mark.parametrize(("read", "answer"), WAYS.values(), ids=WAYS)


def asked(read: Read, answer: Answer) -> object:
    with misbehaving(answer) as server:
        return read(connect(server.url, StillClock()))


@every_way
@every_spoilt
def test_no_such_series_of_the_query_api_is_taken(name: bytes, value: bytes, read: Read, answer: Answer) -> None:
    with pytest.raises(SourceMalformed, match=r"does not answer|not as a Prometheus") as caught:
        asked(read, Answer(body=spoilt(answer.body, name, value), headers=answer.headers))
    one_line(caught)


@every_way
def test_the_same_answers_with_labels_that_are_texts_are_taken(read: Read, answer: Answer) -> None:
    assert asked(read, answer)


def spoilt(body: bytes, name: bytes, value: bytes) -> bytes:
    assert NAME in body
    assert VALUE in body
    return body.replace(NAME, name).replace(VALUE, value)


LINE = b'{"metric":{"__name__":"m","AN_ODD_NAME":"AN_ODD_VALUE"},"values":[1,2],"timestamps":[1000,2000]}\n'


def exported(body: bytes) -> object:
    with misbehaving(Answer(headers=LINES), Answer(body=body, headers=LINES)) as server:
        return read_back(bulk_server(server.url), "m{}", 0, 9_000)


@every_spoilt
def test_of_an_export_no_such_series_is_taken(name: bytes, value: bytes) -> None:
    with pytest.raises(SourceMalformed, match=r"does not export m\{\} with labels that are texts") as caught:
        exported(spoilt(LINE, name, value))
    one_line(caught)


GOOD = {b"__name__": b"m", b"a": b"b"}


def read_remotely(*every: dict[bytes, bytes]) -> object:
    with streaming(stream(frame(b"".join(field(1, written(labels)) for labels in every)))) as server:
        http, clock = HttpSettings(retry_seconds=0), StillClock()
        session, query_api = BoundedSession(clock, 5, BYTES_PER_MB, pytest.fail), connect(server.url, clock)
        transport = RemoteRead(server.url, session, http, clock, query_api, pytest.fail, lambda: NUMPY)
        return read_back(transport, "m{}", 0, 9_000)


@pytest.mark.parametrize(
    "odd",
    [{b"a": b"\xff\xfe"}, {b"a": b"\xed\xa0\x80"}, {b"\xc3": b"b"}, {b"a": b"x" * 200 + b"\xff"}],
    ids=["value", "value half a pair", "name", "long value"],
)
@pytest.mark.parametrize("others", [[], [GOOD], [GOOD | {b"z": b"1"}]], ids=["alone", "of the same names", "of others"])
def test_of_a_remote_read_no_such_series_is_taken(odd: dict[bytes, bytes], others: list[dict[bytes, bytes]]) -> None:
    with pytest.raises(
        SourceMalformed, match=r'remote read as documented .*: set transport = "query" for it'
    ) as caught:
        read_remotely(*others, {b"__name__": b"m"} | odd)
    one_line(caught)


def test_exported_lines_and_streamed_series_with_labels_that_are_texts_are_taken() -> None:
    assert exported(LINE)
    assert read_remotely(GOOD)


def written(labels: dict[bytes, bytes]) -> bytes:
    pairs = b"".join(field(1, field(1, name) + field(2, value)) for name, value in sorted(labels.items()))
    return pairs + field(2, chunk([(1_000, bits_of(1.0))]))


@pytest.mark.parametrize(
    "body", [rb'{"error":"no \ud800\nthere"}', b"no \xed\xa0\x80\xff there"], ids=["JSON", "bytes"]
)
def test_a_reason_that_is_no_text_is_told_as_a_line(body: bytes) -> None:
    with (
        misbehaving(Answer(422, body)) as server,
        pytest.raises(SourceRejected, match=r"\(422\): no .+ there") as caught,
    ):
        connect(server.url, StillClock()).vector("m", 1_000)
    one_line(caught)


def test_a_warning_that_is_no_text_is_told_as_a_line() -> None:
    told: list[str] = []
    with misbehaving(data([], "vector", warnings=["cut \ud800\nthere"])) as server:
        endpoint = PrometheusEndpoint(url=server.url)
        PrometheusServer(endpoint, HttpSettings(), {}, StillClock(), told.append).vector("m", 1_000)
    assert told == [r"cut \ud800 there"]


def test_a_vector_is_counted_by_its_labels_whatever_they_are() -> None:
    """They are compared and shown, never stored."""
    with misbehaving(data([{"metric": {"a": "\ud800"}, "value": [1.0, "2"]}], "vector")) as server:
        assert connect(server.url, StillClock()).vector("m", 1_000) == [({"a": "\ud800"}, 2.0)]
