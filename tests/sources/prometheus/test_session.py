"""Every way in which an answer can go wrong is one clear error of the right kind, within its limits."""

import gzip
import socket
import threading
import time
from pathlib import Path

import pytest
import requests

from pipeline.errors import SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.sources.wording import LINE_CHARACTERS, line
from tests.conftest import RealClock
from tests.misbehaving import (
    CUT_OFF,
    NOT_JSON,
    ONE_SERIES,
    REDIRECT,
    WITHOUT_DATA,
    Answer,
    data,
    failure,
    misbehaving,
)
from tests.sinks.servers import free_port


def session(warnings: list[str] | None = None, timeout_seconds: float = 5.0, max_mb: int = 1) -> BoundedSession:
    heard = [] if warnings is None else warnings
    return BoundedSession(RealClock(), timeout_seconds, max_mb * BYTES_PER_MB, heard.append)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (failure(401, "no"), SourceRejected, "refuses these credentials (401): set bearer_token_env"),
        (failure(403, "no"), SourceRejected, "refuses these credentials (403)"),
        (Answer(404, b"404 page not found"), SourceRejected, "has no Prometheus API (404): check the address"),
        (REDIRECT, SourceRejected, "has no Prometheus API (302): check the address and its path prefix"),
        (failure(400, "parse error\nat char 3"), SourceRejected, "refuses the query (400): parse error at char 3"),
        (failure(422, "too many samples"), SourceRejected, "refuses the query (422): too many samples"),
        (failure(429, "slow down"), SourceUnavailable, "answers 429: slow down"),
        (failure(503, "starting"), SourceUnavailable, "answers 503: starting"),
        (Answer(500, b""), SourceUnavailable, "answers 500: no reason given"),
        (Answer(502, b"<html>\nbad gateway"), SourceUnavailable, "answers 502: <html> bad gateway"),
        (Answer(503, b'["a list"]'), SourceUnavailable, 'answers 503: ["a list"]'),
        (CUT_OFF, SourceUnavailable, "its answer broke off"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
def test_each_refusal_is_one_line_of_its_own_kind(answer: Answer, kind: type[SourceError], says: str) -> None:
    with misbehaving(answer) as server, pytest.raises(kind) as caught:
        session().request("GET", f"{server.url}/api/v1/query")
    assert server.url in str(caught.value)
    assert "/api/v1" not in str(caught.value)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    with (
        misbehaving(ONE_SERIES) as elsewhere,
        misbehaving(Answer(302, b"", {"Location": f"{elsewhere.url}/api/v1/query"})) as server,
        pytest.raises(SourceRejected),
    ):
        session().request("GET", f"{server.url}/api/v1/query", headers={"Authorization": "Bearer s3cret"})
    assert elsewhere.asked == []


def test_a_drip_ends_at_the_time_out_of_the_whole_answer() -> None:
    began = time.monotonic()
    drip = Answer(body=b"x" * 1000, drip_seconds=0.1)
    with misbehaving(drip) as server, pytest.raises(SourceUnavailable, match="did not finish within 2 s"):
        session(timeout_seconds=2).request("GET", server.url)
    assert time.monotonic() - began < 30, "the drip itself lasts 100 s"


def test_silence_ends_at_the_time_out() -> None:
    with (
        misbehaving(Answer(body=b"xx", drip_seconds=30.0)) as server,
        pytest.raises(SourceUnavailable, match=r"within 0\.5 s \(http\.timeout_seconds\)"),
    ):
        session(timeout_seconds=0.5).request("GET", server.url)


def test_an_answer_above_the_limit_is_refused_and_names_the_setting() -> None:
    huge = Answer(body=b" " * (BYTES_PER_MB + 1))
    with (
        misbehaving(huge) as server,
        pytest.raises(SourceRejected, match=r"more than 1 MB: raise http\.max_response_mb"),
    ):
        session().request("GET", server.url)


def test_the_limit_holds_for_what_a_small_compressed_answer_becomes() -> None:
    bomb = Answer(body=gzip.compress(b" " * 3 * BYTES_PER_MB), headers={"Content-Encoding": "gzip"})
    assert len(bomb.body) < 10_000
    with misbehaving(bomb) as server, pytest.raises(SourceRejected, match="more than 1 MB"):
        session().request("GET", server.url)


def test_an_answer_of_exactly_the_limit_comes_whole_though_compressed() -> None:
    text = b"0123456789abcdef" * (BYTES_PER_MB // 16)
    with misbehaving(
        Answer(body=text), Answer(body=gzip.compress(text), headers={"Content-Encoding": "gzip"})
    ) as server:
        assert session().request("GET", server.url).content == text
        assert session().request("GET", server.url).content == text


def test_warnings_beside_the_data_are_told_once_each_as_one_line() -> None:
    told: list[str] = []
    with misbehaving(data([], warnings=["store a\nis away", "b" * 1000])) as server:
        session(told).request("GET", server.url)
    assert told == ["store a is away", "b" * LINE_CHARACTERS]


def test_a_partial_answer_is_no_answer() -> None:
    with misbehaving(data([], isPartial=True), data([], isPartial=False)) as server:
        with pytest.raises(SourceUnavailable, match="in part only"):
            session().request("GET", server.url)
        assert session().request("GET", server.url).status_code == 200


def test_warnings_in_something_that_is_no_json_are_a_malformed_answer() -> None:
    with misbehaving(Answer(body=b'<a "warnings">')) as server, pytest.raises(SourceMalformed, match="not as a Prom"):
        session().request("GET", server.url)


@pytest.mark.parametrize("answer", [NOT_JSON, WITHOUT_DATA], ids=["html", "without data"])
def test_whether_a_200_is_a_prometheus_is_left_to_the_reader(answer: Answer) -> None:
    with misbehaving(answer) as server:
        assert session().request("GET", server.url).content == answer.body


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [("7", 7.0), ("0", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("\xb2", None), ("-1", None)],
)
def test_retry_after_is_read_in_seconds_and_otherwise_left_to_us(seconds: str, expected: float | None) -> None:
    with misbehaving(failure(503, "later", Retry_After=seconds)) as server, pytest.raises(SourceUnavailable) as caught:
        session().request("GET", server.url)
    assert caught.value.retry_after_seconds == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:{port}", "connection refused"), ("http://no-such-host.invalid:9090", "resolve")],
)
def test_who_cannot_be_reached_is_named_with_the_reason(url: str, reason: str) -> None:
    url = url.format(port=free_port())
    with pytest.raises(SourceUnavailable, match=rf"^cannot reach {url}: .*{reason}") as caught:
        session().request("GET", f"{url}/api/v1/query")
    assert "HTTPConnectionPool" not in str(caught.value)


HEADS = tuple(
    b"HTTP/1.1 200 OK\r\nServer: any\r\n%b\r\n\r\n" % length
    for length in (b"Content-Length: 17", b"Transfer-Encoding: chunked")
)


@pytest.mark.parametrize("head", [head[:end] for head in HEADS for end in range(len(head) + 1)])
def test_a_server_that_hangs_up_is_unavailable_wherever_its_answer_breaks_off(head: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(head)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        says = r"closed the connection without an answer|connection reset|broke off|no HTTP|cannot reach"
        with pytest.raises(SourceUnavailable, match=says):
            session().request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_a_header_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    with misbehaving(ONE_SERIES) as server, pytest.raises(SourceRejected) as caught:
        session().request("GET", server.url, headers={"Authorization": "Bearer s3cret\nX: y"})
    assert "s3cret" not in str(caught.value)
    assert server.asked == []


def test_credentials_of_a_netrc_never_replace_the_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login thief password s3cret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with misbehaving(ONE_SERIES) as server:
        requests.get(server.url, timeout=5)
        session().request("GET", server.url, headers={"Authorization": "Bearer ours"})
        session().request("GET", server.url)
    assert [asked.authorization for asked in server.asked][1:] == ["Bearer ours", None]
    assert str(server.asked[0].authorization).startswith("Basic ")  # the trap is set


def test_a_line_of_somebody_elses_text_is_short_and_one() -> None:
    assert line("a\n\t b  c") == "a b c"
    assert len(line("x" * 10_000)) == LINE_CHARACTERS
