"""A vendor's API may answer anything at any pace: each way to go wrong is one clear error, and no secret gets out."""

import gzip
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.sources.grid.web import (
    LINE_CHARACTERS,
    NothingThere,
    NotInPlan,
    Refusal,
    Reply,
    Web,
)
from tests.misbehaving import REDIRECT, Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sinks.servers import free_port

FINE = Answer(body=b'{"zone":"DE"}')
SECRET = "s3cr3t+/ token"  # noqa: S105 # a made-up one
TRUNCATED = Answer(body=b'{"zone":', cut_bytes=5)
MEGABYTE = 1 << 20


def web(
    clock: StillClock | None = None,
    least_seconds: float = 0.0,
    refusal: Refusal = lambda _reply: None,
    **http: float,
) -> Web:
    limits = HttpSettings.model_validate({"timeout_seconds": 5.0, "retry_seconds": 60.0, "max_response_mb": 1} | http)
    return Web("vendor", limits, clock or StillClock(), least_seconds, refusal)


def later(status: int, retry_after: str) -> Answer:
    return Answer(status, b"slow down", {"Retry-After": retry_after})


def test_an_answer_comes_with_its_address_and_our_name_is_told() -> None:
    with misbehaving(FINE) as server:
        reply = web().get(f"{server.url}/v3/past", {"zone": "DE", "start": "2026-11-01T00:00Z"}, {"auth-token": "a"})
    assert reply == (200, FINE.body, f"{server.url}/v3/past?zone=DE&start=2026-11-01T00%3A00Z")
    (asked,) = server.asked
    assert asked.parameters == {"zone": "DE", "start": "2026-11-01T00:00Z"}
    assert asked.headers["user-agent"].startswith("carbon-etl")
    assert asked.headers["auth-token"] == "a"


def test_a_parameter_may_come_twice() -> None:
    with misbehaving(FINE) as server:
        reply = web().get(server.url, [("facets[]", "CISO"), ("facets[]", "PJM")])
    assert reply.url.count("facets") == 2


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Answer(400, b'{"error":\n "no such zone"}'), SourceRejected, 'answers 400: {"error": "no such zone"}'),
        (Answer(401, b"who?"), SourceRejected, "answers 401: who?: check the credentials of [intensity.vendor]"),
        (Answer(403, b""), SourceRejected, "answers 403: no reason given: check the credentials"),
        (Answer(404, b"nothing"), NothingThere, "answers 404: nothing: check zone and base_url of [intensity.vendor]"),
        (REDIRECT, SourceRejected, "redirects are not followed, write the final address into base_url"),
        (Answer(204, b""), SourceRejected, "answers 204"),
        (Answer(429, b"slow down"), SourceUnavailable, "answers 429: slow down"),
        (Answer(500, b"<html>\nbroken"), SourceUnavailable, "answers 500: <html> broken"),
        (Answer(503, b"x" * 9999), SourceUnavailable, "answers 503: " + "x" * LINE_CHARACTERS),
        (TRUNCATED, SourceUnavailable, "cannot reach vendor"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else None,
)
def test_each_refusal_is_one_line_of_its_own_kind(answer: Answer, kind: type[SourceError], says: str) -> None:
    with misbehaving(answer) as server, pytest.raises(SourceError) as caught:
        web(retry_seconds=0.0).get(f"{server.url}/past", {"zone": "DE"})
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert f"vendor ({server.url}/past)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < LINE_CHARACTERS + 150
    assert len(server.asked) == 1


def test_what_the_provider_means_by_a_status_comes_before_what_it_usually_means() -> None:
    heard: list[Reply] = []

    def refusal(reply: Reply) -> SourceError | None:
        heard.append(reply)
        return NotInPlan("not in this plan") if b"plan" in reply.body else None

    asking = web(refusal=refusal)
    with misbehaving(Answer(401, b"no plan"), Answer(401, b"no")) as server:
        with pytest.raises(NotInPlan, match=r"^not in this plan$"):
            asking.get(server.url)
        with pytest.raises(SourceRejected, match="check the credentials"):
            asking.get(server.url)
    assert [reply.body for reply in heard] == [b"no plan", b"no"]


def test_a_redirect_is_not_followed() -> None:
    with misbehaving(FINE) as elsewhere, misbehaving(Answer(301, b"", {"Location": elsewhere.url})) as server:
        with pytest.raises(SourceRejected):
            web().get(server.url, headers={"auth-token": SECRET})
        assert elsewhere.asked == []


@pytest.mark.parametrize("failing", [Answer(500), Answer(429), TRUNCATED], ids=["500", "429", "truncated"])
def test_what_passes_is_asked_again_at_doubled_distances(failing: Answer) -> None:
    clock = StillClock()
    with misbehaving(failing, failing, FINE) as server:
        assert web(clock).get(server.url).body == FINE.body
        assert len(server.asked) == 3
    assert clock.seconds == 1 + 2


def test_asking_again_ends_with_the_budget() -> None:
    clock = StillClock()
    with misbehaving(Answer(503, b"closed")) as server:
        with pytest.raises(SourceUnavailable, match="answers 503: closed"):
            web(clock, retry_seconds=60.0).get(server.url)
        assert len(server.asked) == 6
    assert clock.seconds == 1 + 2 + 4 + 8 + 16  # 32 more would be too long


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        ("7", 7.0),
        ("Mon, 02 Nov 2026 03:00:20 GMT", 20.0),  # the clock says 03:00:00
        ("Mon, 02 Nov 2026 02:00:00 GMT", 1.0),  # over already
        ("0", 1.0),
        ("soon", 1.0),
        ("-5", 1.0),
        ("\xb2", 1.0),
        ("Mon, 99 Nov 2026 99:00:00 GMT", 1.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_as_seconds_and_as_a_date(status: int, retry_after: str, seconds: float) -> None:
    clock = StillClock()
    with misbehaving(later(status, retry_after), FINE) as server:
        assert web(clock).get(server.url).status == 200
    assert clock.seconds == seconds


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    clock = StillClock()
    with misbehaving(later(429, "3600"), FINE) as server:
        with pytest.raises(SourceUnavailable, match="429") as caught:
            web(clock).get(server.url)
        assert len(server.asked) == 1
    assert clock.seconds == 0
    assert caught.value.retry_after_seconds == 3600


def test_a_refusal_is_not_asked_again() -> None:
    clock = StillClock()
    with misbehaving(Answer(400, b"no"), FINE) as server, pytest.raises(SourceRejected):
        web(clock).get(server.url)
    assert (len(server.asked), clock.seconds) == (1, 0)


def test_requests_keep_their_distance_also_when_asked_again() -> None:
    clock = StillClock()
    asking = web(clock, least_seconds=3.0)
    with misbehaving(FINE, FINE, Answer(500), FINE) as server:
        asking.get(server.url)
        assert clock.seconds == 0
        asking.get(server.url)
        assert clock.seconds == 3
        clock.sleep(10)
        asking.get(server.url)  # its failure waits one second, its pace two more
    assert clock.seconds == 13 + 3


def test_a_drip_ends_at_the_time_out_of_the_whole_answer() -> None:
    began = time.monotonic()
    drip = Answer(body=b"x" * 1000, drip_seconds=0.1)
    with misbehaving(drip) as server, pytest.raises(SourceUnavailable, match=r"within 0\.5 s \(http\.timeout_seconds"):
        web(timeout_seconds=0.5, retry_seconds=0.0).get(server.url)
    assert time.monotonic() - began < 3


def test_silence_ends_at_the_time_out() -> None:
    with (
        misbehaving(Answer(body=b"xx", drip_seconds=30.0)) as server,
        pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"),
    ):
        web(timeout_seconds=0.5, retry_seconds=0.0).get(server.url)


@contextmanager
def endless(beginning: bytes) -> Iterator[str]:
    """A server that says its beginning and holds the line."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(beginning)
                done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        done.set()
        thread.join()


def test_a_body_without_a_length_is_not_taken_for_whole_where_the_time_out_cuts_it() -> None:
    began = b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"data": []}'
    with endless(began) as url, pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
        web(timeout_seconds=0.5, retry_seconds=0.0).get(url)


def test_who_cannot_be_reached_is_unavailable() -> None:
    with pytest.raises(
        SourceUnavailable, match=r"^cannot reach vendor \(http://127\.0\.0\.1:\d+/past\): connection refused$"
    ):
        web(retry_seconds=0.0).get(f"http://127.0.0.1:{free_port()}/past", {"zone": "DE"})


def test_an_answer_above_the_limit_is_refused_also_when_it_came_compressed() -> None:
    bomb = Answer(body=gzip.compress(b" " * 3 * MEGABYTE), headers={"Content-Encoding": "gzip"})
    with misbehaving(Answer(body=b" " * (MEGABYTE + 1)), bomb, Answer(body=b" " * MEGABYTE)) as server:
        for _ in range(2):
            with pytest.raises(SourceRejected, match=r"more than 1 MB: raise http\.max_response_mb"):
                web().get(server.url)
        assert len(web().get(server.url).body) == MEGABYTE
        assert len(server.asked) == 3


def test_a_compressed_answer_that_is_none_is_unavailable() -> None:
    broken = Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"})
    with misbehaving(broken) as server, pytest.raises(SourceUnavailable, match="incorrect header check"):
        web(retry_seconds=0.0).get(server.url)


def test_a_secret_parameter_is_sent_and_shown_nowhere() -> None:
    echo = f'{{"request": "/data?api_key={SECRET}", "raw": "s3cr3t%2B%2F%20token"}}'.encode()
    with misbehaving(Answer(body=echo)) as server:
        asking = web()
        reply = asking.get(server.url, {"zone": "DE"}, secret_params={"api_key": SECRET})
        assert server.asked[0].parameters == {"zone": "DE", "api_key": SECRET}
    assert reply.url == f"{server.url}?zone=DE"
    assert reply.body == b'{"request": "/data?api_key=***", "raw": "***"}'
    assert "s3cr3t" not in repr(asking)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_a_secret_that_the_vendor_repeats_is_blotted_out(status: int) -> None:
    heard: list[Reply] = []

    def refusal(reply: Reply) -> SourceError | None:
        heard.append(reply)
        return None

    with misbehaving(Answer(status, f"token {SECRET} is bad".encode())) as server:
        try:
            reply = web(retry_seconds=0.0, refusal=refusal).get(
                server.url, headers={"auth-token": SECRET}, secrets=(SECRET,)
            )
            shown = str(reply)
        except SourceError as error:
            shown = "".join(traceback.format_exception(error)) + str(heard)
        assert server.asked[0].headers["auth-token"] == SECRET
    assert "token *** is bad" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("answer", [Answer(500, SECRET.encode()), TRUNCATED, REDIRECT], ids=["500", "cut", "redirect"])
def test_no_failure_shows_a_secret_parameter(answer: Answer) -> None:
    with misbehaving(answer) as server, pytest.raises(SourceError) as caught:
        web(retry_seconds=0.0).get(server.url, secret_params={"api_key": SECRET})
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_that_cannot_be_sent_is_refused_without_showing_it() -> None:
    with misbehaving(FINE) as server, pytest.raises(SourceRejected, match="its credentials are not ASCII") as caught:
        web().get(server.url, headers={"auth-token": f"{SECRET}-é"})
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
    assert server.asked == []


def test_an_empty_secret_blots_nothing_out() -> None:
    with misbehaving(FINE) as server:
        assert web().get(server.url, secrets=("",)).body == FINE.body


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(Answer(body=b"from the proxy")) as proxy, misbehaving(FINE) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        assert web().get(server.url).body == FINE.body
        assert proxy.asked == []
