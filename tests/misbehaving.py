"""A local web server that answers as told, however wrong: what a Prometheus, a proxy or a stranger may say."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """One answer: status, body, headers; `cut_bytes` are announced but not sent; `drip_seconds` pass between bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_bytes: int = 0
    drip_seconds: float = 0.0


@dataclass(frozen=True)
class Asked:
    """One request as it came: method, path, parameters of address and body together, headers by small letters."""

    method: str
    path: str
    parameters: dict[str, str]
    authorization: str | None
    headers: dict[str, str] = field(default_factory=dict)


def data(result: object, result_type: str = "matrix", **beside: object) -> Answer:
    """A 200 with `result` where a Prometheus puts it, and `beside` next to `data`."""
    document = {"status": "success", "data": {"resultType": result_type, "result": result}} | beside
    return Answer(body=json.dumps(document).encode(), headers={"Content-Type": JSON})


def failure(status: int, error: str, **headers: str) -> Answer:
    """An error as a Prometheus words it; `Retry_After` becomes the header `Retry-After`."""
    document = {"status": "error", "errorType": "execution", "error": error}
    return Answer(status, json.dumps(document).encode(), {name.replace("_", "-"): v for name, v in headers.items()})


ONE_SERIES = data([{"metric": {"__name__": "m", "zone": "package"}, "values": [[1000.0, "1"], [1000.5, "2.5"]]}])
ONE_VALUE = data([{"metric": {}, "value": [1000.0, "1"]}], "vector")
HISTOGRAM = data([{"metric": {"__name__": "m"}, "histograms": [[1000.0, {"count": "1", "sum": "2", "buckets": []}]]}])
NOT_JSON = Answer(body=b"<html><body>Welcome</body></html>", headers={"Content-Type": "text/html"})
WITHOUT_DATA = Answer(body=b'{"status":"success"}', headers={"Content-Type": JSON})
CUT_OFF = Answer(body=ONE_SERIES.body[:40], headers={"Content-Type": JSON}, cut_bytes=len(ONE_SERIES.body) - 40)
REDIRECT = Answer(302, b"", {"Location": "http://127.0.0.1:9/login"})


class Misbehaving:
    """The server: each request takes the next of `answers`; the last one is repeated. Or `decide` answers each."""

    def __init__(self, *answers: Answer, decide: Callable[[Asked], Answer] | None = None) -> None:
        self.asked: list[Asked] = []
        self._answers, self._decide = list(answers), decide
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                owner._serve(self)

            def do_POST(self) -> None:
                owner._serve(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name of the base class
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def _serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0)).decode()
        parts = urlsplit(handler.path)
        parameters = {k: v[0] for text in (parts.query, body) for k, v in parse_qs(text).items()}
        with self._lock:
            headers = {name.lower(): value for name, value in handler.headers.items()}
            asked = Asked(handler.command, parts.path, parameters, headers.get("authorization"), headers)
            self.asked.append(asked)
            if self._decide is not None:
                answer = self._decide(asked)
            else:
                answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        handler.send_response(answer.status)
        for name, value in answer.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(answer.body) + answer.cut_bytes))
        handler.end_headers()
        try:
            self._send_body(handler, answer)
        except (BrokenPipeError, ConnectionResetError):  # the client has heard enough
            handler.close_connection = True

    def _send_body(self, handler: http.server.BaseHTTPRequestHandler, answer: Answer) -> None:
        if answer.drip_seconds:
            for byte in answer.body:
                handler.wfile.write(bytes([byte]))
                if self.stopped.wait(answer.drip_seconds):
                    break
        else:
            handler.wfile.write(answer.body)
        handler.close_connection = bool(answer.cut_bytes or answer.drip_seconds)

    @property
    def queries(self) -> list[str]:
        """The text of every query asked so far."""
        return [asked.parameters["query"] for asked in self.asked if "query" in asked.parameters]

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """End, dripping answers included."""
        self.stopped.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def misbehaving(*answers: Answer, decide: Callable[[Asked], Answer] | None = None) -> Iterator[Misbehaving]:
    """A running server that gives `answers` in turn, then the last one again and again; or what `decide` says."""
    server = Misbehaving(*answers, decide=decide)
    server.start()
    try:
        yield server
    finally:
        server.stop()
