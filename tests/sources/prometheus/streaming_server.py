"""A server that answers remote reads as told: `misbehaving` with ears for binary bodies."""

import http.server
import io
from collections.abc import Iterator
from contextlib import contextmanager

from tests.misbehaving import Answer, Misbehaving

STREAM = {"Content-Type": "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"}


class StreamingServer(Misbehaving):
    """Its `bodies` are those of the requests, as they came."""

    def __init__(self, *answers: Answer) -> None:
        self.bodies: list[bytes] = []
        super().__init__(*answers)

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        line, body = handler.rfile, handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.bodies.append(body)
        is_form = (handler.headers.get("Content-Type") or "").startswith("application/x-www-form-urlencoded")
        handler.rfile = io.BytesIO(body if is_form else b"-" * len(body))
        try:
            super()._serve(handler)
        finally:
            handler.rfile = line


@contextmanager
def streaming(*answers: Answer) -> Iterator[StreamingServer]:
    """A running server that gives `answers` in turn, then the last one again and again."""
    server = StreamingServer(*answers)
    server.start()
    try:
        yield server
    finally:
        server.stop()
