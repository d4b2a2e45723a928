"""Real time series servers on private ports, for the demo and the tests: started, awaited, and stopped again."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from pipeline.demo.binaries import PrometheusBinary, find_prometheus
from pipeline.errors import ConfigError
from pipeline.window import Clock

__all__ = [
    "PrometheusBinary",
    "RunningServer",
    "find_prometheus",
    "free_port",
    "start_prometheus",
    "start_victoria_metrics",
]

HOST = "127.0.0.1"
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers at `url`; what it says goes to `log`."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


def free_port() -> int:
    """A TCP port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


@contextmanager
def start_prometheus(
    binary: PrometheusBinary,
    data_dir: Path,
    port: int,
    clock: Clock,
    *,
    out_of_order: str = "30d",
    retention: str = "10y",
) -> Iterator[RunningServer]:
    """A Prometheus without targets that accepts remote writes; it ends with the context.

    Args:
        binary: the programs.
        data_dir: its storage, kept afterwards; may hold blocks already.
        port: on 127.0.0.1.
        clock: for waiting.
        out_of_order: how far behind the newest sample of the storage writes are accepted; `0s` for none.
        retention: how old samples may be.

    Raises:
        ConfigError: the port is taken, or the server did not come up within a minute; with its last words.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    config = data_dir / "prometheus.yml"
    config.write_text(f"storage: {{tsdb: {{out_of_order_time_window: {out_of_order}}}}}\n", encoding="utf-8")
    command = [
        str(binary.prometheus), f"--config.file={config}", f"--storage.tsdb.path={data_dir}",
        f"--storage.tsdb.retention.time={retention}", f"--web.listen-address={HOST}:{port}",
        "--web.enable-remote-write-receiver", "--log.level=warn",
    ]  # fmt: skip
    with _running("Prometheus", command, data_dir / "server.log", port, "/-/ready", clock) as server:
        yield server


@contextmanager
def start_victoria_metrics(
    binary: Path, data_dir: Path, port: int, clock: Clock, *, dedup: bool = True
) -> Iterator[RunningServer]:
    """A VictoriaMetrics single node with ten years of retention; it ends with the context.

    Args:
        binary: the program.
        data_dir: its storage, kept afterwards.
        port: on 127.0.0.1.
        clock: for waiting.
        dedup: whether equal samples count once, as a published store needs it.

    Raises:
        ConfigError: the port is taken, or the server did not come up within a minute; with its last words.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    command = [
        str(binary), f"-storageDataPath={data_dir}", f"-httpListenAddr={HOST}:{port}",
        "-retentionPeriod=10y", "-search.latencyOffset=1s", "-loggerLevel=WARN",
        *(["-dedup.minScrapeInterval=1ms"] if dedup else []),
    ]  # fmt: skip
    with _running("VictoriaMetrics", command, data_dir / "server.log", port, "/health", clock) as server:
        yield server


@contextmanager
def _running(
    name: str, command: Sequence[str], log: Path, port: int, health: str, clock: Clock
) -> Iterator[RunningServer]:
    _claim(name, port)
    # a session of its own: Ctrl-C reaches us alone, and the server is then stopped in order
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(  # noqa: S603 # our own command line, no shell
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise ConfigError(f"{name} cannot be started: {error}") from error
    try:
        server = RunningServer(f"http://{HOST}:{port}", log, process)
        _await_ready(name, server, health, clock)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _claim(name: str, port: int) -> None:
    """Refuse a taken port at once: its owner would answer in place of our server."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(f"{name} cannot listen on {HOST}:{port}: {error.strerror}") from error


def _await_ready(name: str, server: RunningServer, health: str, clock: Clock) -> None:
    deadline = clock.monotonic() + READY_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False, verify=False) as client:  # noqa: S501 # plain HTTP, to ourselves
        while server.process.poll() is None and clock.monotonic() < deadline:
            try:
                if client.get(server.url + health).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            clock.sleep(POLL_SECONDS)
    how = "did not become ready" if server.process.poll() is None else f"ended with {server.process.returncode}"
    raise ConfigError(f"{name} {how}: {_last_words(server.log)}")


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"nothing in {log}"
