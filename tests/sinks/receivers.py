"""Receivers that answer as the documentation of others says: they take, conflict, throttle and can be asked again."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tests.sinks.test_write_request import decoded

Told = tuple[int, str, dict[str, str]]  # status, body, headers
Stored = dict[tuple[tuple[tuple[str, str], ...], int], float]


class Receiver:
    """A store in memory. `judge` says of each sample why it is refused, or nothing; `answer` what that is called.

    Attributes:
        keeps_others: whether the samples of a refused request that are in order are kept.
        gate: asked before anything is looked at; its answer is given instead, if there is one.
    """

    def __init__(self, answer: Told, *, keeps_others: bool) -> None:
        self.samples: Stored = {}
        self.writes = 0
        self.reads = 0
        self.answer = answer
        self.keeps_others = keeps_others
        self.judge: Callable[[Stored, tuple[tuple[str, str], ...], int, float], bool] = conflicts
        self.gate: Callable[[int], Told | None] = lambda _write: None
        self.url = ""

    def write(self, body: bytes) -> Told:
        self.writes += 1
        if told := self.gate(self.writes):
            return told
        size = _uncompressed(body)
        message = bytes(pa.decompress(body, decompressed_size=size, codec="snappy", asbytes=True))
        sent = [(tuple(labels), stamp, value) for labels, points in decoded(message) for stamp, value in points]
        good = [one for one in sent if not self.judge(self.samples, *one)]
        if len(good) == len(sent) or self.keeps_others:
            self.samples |= {(labels, stamp): value for labels, stamp, value in good}
        return (204, "", {}) if len(good) == len(sent) else self.answer

    def query(self) -> dict[str, Any]:
        series: dict[tuple[tuple[str, str], ...], list[list[object]]] = {}
        for (labels, stamp), value in self.samples.items():
            series.setdefault(labels, []).append([stamp / 1000, repr(value)])
        result = [{"metric": dict(labels), "values": values} for labels, values in series.items()]
        return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def conflicts(stored: Stored, labels: tuple[tuple[str, str], ...], stamp: int, value: float) -> bool:
    """Whether another value is held there."""
    return stored.get((labels, stamp), value) != value


def _uncompressed(body: bytes) -> int:
    """The length that a snappy block begins with, a varint."""
    end = next(at for at, byte in enumerate(body) if byte < 0x80)
    return sum((byte & 0x7F) << 7 * at for at, byte in enumerate(body[: end + 1]))


def mimir() -> Receiver:
    """It keeps what is in order, and answers 400 for the rest."""
    text = "failed pushing to ingester: user=x: err-mimir-sample-duplicate-timestamp: the sample has been rejected"
    return Receiver((400, text, {}), keeps_others=True)


def thanos() -> Receiver:
    """Thanos Receive: 409 for conflicts, the others are kept."""
    text = "store locally for endpoint: conflict: add 1 samples: duplicate sample for timestamp"
    return Receiver((409, text, {}), keeps_others=True)


def all_or_nothing() -> Receiver:
    """As Prometheus does it."""
    return Receiver((400, "duplicate sample for timestamp", {}), keeps_others=False)


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    """It on a port of its own; a query is answered with all that it holds of what the expression's names match."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._tell(*receiver.write(self.rfile.read(int(self.headers["Content-Length"]))))

        def do_GET(self) -> None:
            receiver.reads += 1
            if not self.path.startswith("/api/v1/query"):
                self._tell(404, "", {})
                return
            answer = receiver.query()
            is_probe = "carbon_etl_probe" in self.path
            answer["data"]["result"] = [
                one
                for one in answer["data"]["result"]
                if (one["metric"]["__name__"] == "carbon_etl_probe") == is_probe
                and (not is_probe or one["metric"]["run"] in self.path)
            ]
            self._tell(200, json.dumps(answer), {})

        def _tell(self, status: int, text: str, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
