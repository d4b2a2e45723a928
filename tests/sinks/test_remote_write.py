"""What each answer of a receiver means, and what a real one takes."""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import httpx
import pytest

from pipeline.errors import RemoteWriteError
from pipeline.settings import StoreSettings
from pipeline.sinks.batches import Sample
from pipeline.sinks.remote_write import HEADERS, UnsettledWriteError, send
from pipeline.sinks.store_client import open_client
from tests.sinks.servers import free_port, real_prometheus
from tests.sinks.test_write_request import NOW_MS, body_of


@contextmanager
def receiver(
    status: int,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    drip_seconds: float = 0.0,
    heard: list[Message] | None = None,
) -> Iterator[str]:
    """A local HTTP server that answers every request alike, byte by byte where it drips, and keeps what it heard."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if heard is not None:
                heard.append(self.headers)
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                for start in range(0, len(body), 1 if drip_seconds else 4096):
                    self.wfile.write(body[start : start + 1] if drip_seconds else body[start : start + 4096])
                    self.wfile.flush()
                    time.sleep(drip_seconds)
            except OSError:
                pass  # the client hung up, which is what a dripping server is for

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1/write"
    finally:
        server.shutdown()
        server.server_close()


def failure_of(url: str, timeout_seconds: float = 10.0) -> RemoteWriteError:
    with httpx.Client(trust_env=False) as client, pytest.raises(RemoteWriteError) as failed:
        send(client, url, {}, (), body_of(Sample("good", (), NOW_MS, 1.0)), timeout_seconds)
    assert "\n" not in str(failed.value)
    return failed.value


@pytest.mark.parametrize(
    ("status", "body", "cause", "advice"),
    [
        (400, b"out of bounds\n", "out_of_bounds", "out_of_order_time_window"),
        (400, b"out of order sample", "out_of_order", "out_of_order_time_window"),
        (400, b"err-mimir-sample-timestamp-too-old", "too_old", "out_of_order_time_window"),
        (400, b"duplicate sample for timestamp", "duplicate", "one publisher"),
        (500, b"too old sample", "too_old", "out_of_order_time_window"),
        (400, b"no idea", "rejected", "remote write address"),
        (401, b"", "unauthorized", "credentials"),
        (404, b"", "not_found", "--web.enable-remote-write-receiver"),
        (409, b"store conflict", "conflict", "one publisher"),
    ],
)
def test_a_final_refusal_names_its_cause_and_what_to_do(status: int, body: bytes, cause: str, advice: str) -> None:
    with receiver(status, body) as url:
        error = failure_of(url)
    assert not isinstance(error, UnsettledWriteError)
    assert error.cause == cause
    assert advice in str(error)


@pytest.mark.parametrize(("status", "cause"), [(429, "throttled"), (500, "unavailable"), (503, "unavailable")])
def test_a_passing_failure_carries_the_servers_retry_after(status: int, cause: str) -> None:
    with receiver(status, b"busy", {"Retry-After": "7"}) as url:
        error = failure_of(url)
    assert isinstance(error, UnsettledWriteError)
    assert (error.cause, error.retry_after_seconds) == (cause, 7.0)


def test_a_request_has_the_headers_of_the_protocol_and_its_own() -> None:
    heard: list[Message] = []
    with receiver(204, heard=heard) as url, open_client(StoreSettings(url=url)) as client:
        send(client, url, {"X-Scope-OrgID": "team"}, (), body_of(Sample("good", (), NOW_MS, 1.0)), 10)
    (headers,) = heard
    assert {name: headers[name] for name in (*HEADERS, "X-Scope-OrgID")} == {
        "Accept-Encoding": "identity",
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "User-Agent": "carbon-etl",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
        "X-Scope-OrgID": "team",
    }
    assert headers["Host"] == url.split("/")[2]


def test_redirects_are_not_followed() -> None:
    with receiver(307, headers={"Location": "http://127.0.0.1:9/"}) as url:
        assert failure_of(url).cause == "redirect"


def test_a_refused_connection_is_told_from_a_lost_answer() -> None:
    assert failure_of(f"http://127.0.0.1:{free_port()}/api/v1/write").cause == "unreachable"


def test_an_answer_that_drips_is_cut_at_the_timeout() -> None:
    began = time.monotonic()
    with receiver(200, b"x" * 200, drip_seconds=0.1) as url:
        error = failure_of(url, timeout_seconds=2)
    assert isinstance(error, UnsettledWriteError)
    assert error.cause == "unclear"
    assert time.monotonic() - began < 15  # the drip itself lasts 20 s, and never pauses as long as the timeout


@pytest.mark.real
def test_prometheus_takes_a_request_and_says_when_a_sample_is_out_of_bounds(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    with real_prometheus(tmp_path / "p", window=None) as store, httpx.Client(trust_env=False) as client:
        url = f"{store.url}/api/v1/write"
        odd = Sample("carbon_etl_rows", (("cluster", 'a"b\\ü\n'),), now_ms, 7.0)
        send(client, url, {}, (), body_of(odd, now_ms=now_ms), 10)
        assert store.query("carbon_etl_rows", now_ms / 1000) == {"": 7.0}
        late = body_of(Sample("old", (), now_ms - 7_200_000, 1.0), now_ms=now_ms)
        with pytest.raises(RemoteWriteError) as refused:
            send(client, url, {}, (), late, 10)
    assert refused.value.cause == "out_of_bounds"
