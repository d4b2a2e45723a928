"""A gate before a real Prometheus: what a managed service or a proxy asks of each request, and then the real answer."""

import http.client
import http.server
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.misbehaving import Answer


@dataclass(frozen=True)
class Knock:
    """A request as it came: method, path with query, headers by small letters, body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Gate:
    """Its `knocks` are all requests so far; `refuse` answers those that it does not let through."""

    def __init__(self, behind: str, refuse: Callable[[Knock], Answer | None], prefix: str = "") -> None:
        self.knocks: list[Knock] = []
        gate, host = self, urlsplit(behind).netloc

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                knock = Knock(self.command, self.path, headers, body)
                gate.knocks.append(knock)
                answer = refuse(knock)
                if answer is None and not self.path.startswith(prefix):
                    answer = Answer(404)
                if answer is None:
                    answer = _forwarded(host, knock, self.path.removeprefix(prefix))
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = _serve  # noqa: N815 # the names of the base class

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the name of the base class
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}{prefix}"

    @contextmanager
    def open(self) -> Iterator["Gate"]:
        """Let requests come, until the context ends."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _forwarded(host: str, knock: Knock, target: str) -> Answer:
    line = http.client.HTTPConnection(host, timeout=30)
    kept = ("content-type", "content-encoding", "x-prometheus-remote-read-version")
    headers = {name: value for name, value in knock.headers.items() if name in kept}
    try:
        line.request(knock.method, target, knock.body, headers)
        answer = line.getresponse()
        body = answer.read()
        return Answer(answer.status, body, {"Content-Type": answer.headers.get("Content-Type", "")})
    finally:
        line.close()
