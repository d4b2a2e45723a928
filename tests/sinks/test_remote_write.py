"""The bytes of a write request, read back by a decoder of its own, and what each answer of a receiver means."""

import http.server
import math
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RemoteWriteError
from pipeline.sinks.remote_write import Labels, Sample, UnsettledWriteError, encode, send, write_request
from tests.sinks.servers import free_port, real_prometheus

NOW_MS = 1_795_000_000_000


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """A protobuf message's fields, by the wire format's description and nothing else."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, wire = divmod(varint(), 8)
        if wire == 0:
            value = varint()
            yield number, value - (1 << 64) if value >> 63 else value
        elif wire == 1:
            yield number, struct.unpack("<d", message[at : at + 8])[0]
            at += 8
        else:
            assert wire == 2
            size = varint()
            yield number, message[at : at + size]
            at += size
    assert at == len(message)


def decoded(message: bytes) -> list[tuple[list[tuple[str, str]], list[tuple[int, float]]]]:
    series = []
    for number, one in fields(message):
        assert number == 1
        labels, points = [], []
        for kind, content in fields(one):
            part = dict(fields(content))
            if kind == 1:
                labels.append((part[1].decode(), part[2].decode()))
            else:
                points.append((part[2], part[1]))
        series.append((labels, points))
    return series


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,12}", fullmatch=True).filter(lambda name: name != "__name__")
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    series=st.dictionaries(
        st.tuples(
            st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,12}", fullmatch=True),
            st.dictionaries(names, texts, max_size=4).map(lambda labels: tuple(sorted(labels.items()))),
        ),
        st.dictionaries(
            st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=3
        ),
        max_size=5,
    )
)
def test_an_independent_decoder_reads_back_every_label_stamp_and_value(
    series: dict[tuple[str, Labels], dict[int, float]],
) -> None:
    samples = [
        Sample(metric, labels, stamp, value)
        for (metric, labels), points in series.items()
        for stamp, value in points.items()
    ]
    expected = [
        (sorted([("__name__", metric), *labels]), sorted(points.items())) for (metric, labels), points in series.items()
    ]
    assert decoded(encode(samples)) == expected


@settings(max_examples=100, deadline=None)
@given(
    points=st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.integers(0, 4), st.floats(-1e9, 1e9)), max_size=20
    ),
    begin_ms=st.sampled_from([NOW_MS, (1 << 35) - 2, (1 << 42) - 2]),
)
def test_samples_in_any_order_become_whole_series_in_the_order_of_their_stamps(
    points: list[tuple[str, str, int, float]], begin_ms: int
) -> None:
    """Around both ends of what six bytes hold of a stamp, too; labels are equal, never the same object."""
    samples = [Sample(name, (("cluster", text),), begin_ms + later, value) for name, text, later, value in points]
    expected: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for name, text, later, value in points:
        expected.setdefault((name, text), []).append((begin_ms + later, value))
    assert decoded(encode(samples)) == [
        ([("__name__", name), ("cluster", text)], sorted(told)) for (name, text), told in expected.items()
    ]


def test_a_request_is_a_snappy_block_of_the_message() -> None:
    samples = [Sample("carbon_energy_joules", (("cluster", "größe"),), NOW_MS, 1.5)]
    body = write_request(samples, NOW_MS)
    plain = encode(samples)
    assert bytes(pa.decompress(body, decompressed_size=len(plain), codec="snappy", asbytes=True)) == plain


def test_twenty_thousand_series_are_one_message() -> None:
    samples = [Sample("carbon_energy_joules", (("workload", f"w{n}"),), NOW_MS, float(n)) for n in range(20_000)]
    assert len(decoded(encode(samples))) == 20_000


@pytest.mark.parametrize(
    ("metric", "labels", "value"),
    [
        ("bad-name", (), 1.0),
        ("good", (("bad-label", "x"),), 1.0),
        ("good", (("empty", ""),), 1.0),
        ("good", (("b", "x"), ("a", "x")), 1.0),
        ("good", (("a", "x"), ("a", "y")), 1.0),
        ("good", (("a", "\ud800"),), 1.0),
        ("good", (), math.nan),
        ("good", (), math.inf),
    ],
)
def test_what_no_store_could_give_back_is_refused_before_it_is_sent(metric: str, labels: Labels, value: float) -> None:
    with pytest.raises(RemoteWriteError) as refused:
        write_request([Sample(metric, labels, NOW_MS, value)], NOW_MS)
    assert refused.value.cause == "invalid_sample"


def test_a_stamp_after_now_is_refused_before_it_is_sent() -> None:
    with pytest.raises(RemoteWriteError) as refused:
        write_request([Sample("good", (), NOW_MS + 1, 1.0)], NOW_MS)
    assert refused.value.cause == "future"
    assert write_request([Sample("good", (), NOW_MS, 1.0)], NOW_MS)


@contextmanager
def receiver(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, drip_seconds: float = 0.0
) -> Iterator[str]:
    """A local HTTP server that answers every request alike, byte by byte where it drips."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
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
        send(client, url, {}, write_request([Sample("good", (), NOW_MS, 1.0)], NOW_MS), timeout_seconds)
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


def test_redirects_are_not_followed() -> None:
    with receiver(307, headers={"Location": "http://127.0.0.1:9/"}) as url:
        assert failure_of(url).cause == "redirect"


def test_a_refused_connection_is_told_from_a_lost_answer() -> None:
    assert failure_of(f"http://127.0.0.1:{free_port()}/api/v1/write").cause == "unreachable"


def test_an_answer_that_drips_is_cut_at_the_timeout() -> None:
    began = time.monotonic()
    with receiver(200, b"x" * 200, drip_seconds=0.1) as url:
        error = failure_of(url, timeout_seconds=0.5)
    assert isinstance(error, UnsettledWriteError)
    assert error.cause == "unclear"
    assert time.monotonic() - began < 5  # the drip itself lasts 20 s, and never pauses as long as the timeout


@pytest.mark.real
def test_prometheus_takes_a_request_and_says_when_a_sample_is_out_of_bounds(tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    with real_prometheus(tmp_path / "p", window=None) as store, httpx.Client(trust_env=False) as client:
        url = f"{store.url}/api/v1/write"
        odd = Sample("carbon_etl_rows", (("cluster", 'a"b\\ü\n'),), now_ms, 7.0)
        send(client, url, {}, write_request([odd], now_ms), 10)
        assert store.query("carbon_etl_rows", now_ms / 1000) == {"": 7.0}
        with pytest.raises(RemoteWriteError) as refused:
            send(client, url, {}, write_request([Sample("old", (), now_ms - 7_200_000, 1.0)], now_ms), 10)
    assert refused.value.cause == "out_of_bounds"
