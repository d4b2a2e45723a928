"""Real stores that a test may kill and start again on the same port and data, and a line to one that loses answers."""

import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.loopback import LOOPBACK

READY_WITHIN_SECONDS = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealStore:
    """A server process; `kill` is kill -9, and `start` after it continues on the same data."""

    def __init__(self, command: list[str], port: int, ready_path: str, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._ready_url = self.url + ready_path
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Start the process and return at once."""
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT)

    def start(self) -> None:
        """Start the process and wait until it answers."""
        self.launch()
        ends = time.monotonic() + READY_WITHIN_SECONDS
        while not self._ready():
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text(errors="replace")
            assert time.monotonic() < ends, "not ready: " + self._log.read_text(errors="replace")
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the process, if there is one, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def show(self) -> None:
        """See `show`."""
        show(self.url)

    def query(self, expression: str, at_seconds: float) -> dict[str, float]:
        """An instant query: the value of each series, by its label `namespace` ("" where it has none)."""
        params = {"query": expression, "time": f"{at_seconds:.3f}", "nocache": "1"}
        answer = LOOPBACK.get(f"{self.url}/api/v1/query", params=params)
        assert answer.status_code == 200, answer.text
        return {one["metric"].get("namespace", ""): float(one["value"][1]) for one in answer.json()["data"]["result"]}

    def _ready(self) -> bool:
        try:
            return LOOPBACK.get(self._ready_url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.fail(f"no {name} on PATH: `make test` puts it there")
    return found


@contextmanager
def real_prometheus(folder: Path, *, window: str | None = "30d", retention: str | None = "10y") -> Iterator[RealStore]:
    """Prometheus with its receiver on; `window` and `retention` null leave its defaults (0 and 15d)."""
    folder.mkdir()
    config = folder / "prometheus.yml"
    config.write_text("{}" if window is None else f"storage: {{tsdb: {{out_of_order_time_window: {window}}}}}\n")
    port = free_port()
    command = [
        _program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        "--log.level=warn",
    ]
    command += [f"--storage.tsdb.retention.time={retention}"] if retention else []
    yield from _running(RealStore(command, port, "/-/ready", folder / "log"))


@contextmanager
def real_victoria(folder: Path, *, dedup: str | None = "1ms", retention: str = "10y") -> Iterator[RealStore]:
    """VictoriaMetrics single node."""
    folder.mkdir()
    port = free_port()
    command = [
        _program("victoria-metrics"),
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-retentionPeriod={retention}",
        "-search.latencyOffset=1s",
        "-loggerLevel=ERROR",
    ]
    command += [f"-dedup.minScrapeInterval={dedup}"] if dedup else []
    yield from _running(RealStore(command, port, "/health", folder / "log"))


def _running(store: RealStore) -> Iterator[RealStore]:
    store.start()
    try:
        yield store
    finally:
        store.kill()


def show(url: str) -> None:
    """Let VictoriaMetrics show at once what it has taken, which it does about ten seconds late by itself."""
    LOOPBACK.get(f"{url}/internal/force_flush")  # a Prometheus has no such address, nor anything to show late


class LossyLine:
    """A TCP line to a store: requests pass, and the answers to the first `lose` writes are cut off."""

    def __init__(self, target_url: str, lose: int) -> None:
        self.lose = lose
        self.asked: list[str] = []
        self._target_url = target_url
        host, port = target_url.removeprefix("http://").split(":")
        self._target = (host, int(port))
        line = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                line._carry(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def writes(self) -> int:
        """How many arrived."""
        return self.asked.count("write")

    def _carry(self, near: socket.socket) -> None:
        """One request per connection (our client keeps none alive); its answer is passed on whole or not at all."""
        request = near.makefile("rb")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = request.readline()
            if not line:
                return
            head += line
        lines = head.lower().split(b"\r\n")
        length = next((int(one.split(b":")[1]) for one in lines if one.startswith(b"content-length:")), 0)
        body = request.read(length)
        is_write = head.startswith(b"POST")
        answer = self._ask(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
        self.asked.append("write" if is_write else "read")
        if is_write and self.writes <= self.lose:
            show(self._target_url)  # what was taken without an answer can be seen by whoever looks before writing again
            return
        near.sendall(answer)

    def _ask(self, request: bytes) -> bytes:
        answer = bytearray()
        with socket.create_connection(self._target) as far:
            far.sendall(request)
            while part := far.recv(65536):
                answer += part
        return bytes(answer)

    def __enter__(self) -> "LossyLine":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
