"""Real servers come up, answer, fail clearly, and are gone afterwards."""

import socket
import struct
from datetime import datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.errors import ConfigError
from pipeline.window import EPOCH, Clock
from tests.loopback import LOOPBACK

pytestmark = pytest.mark.real


def test_prometheus_answers_while_the_context_lasts_and_not_after(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: Clock
) -> None:
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as server:
        flags = LOOPBACK.get(f"{server.url}/api/v1/status/flags").json()["data"]
        assert flags["web.enable-remote-write-receiver"] == "true"
        assert flags["web.listen-address"].startswith("127.0.0.1:")
        config = LOOPBACK.get(f"{server.url}/api/v1/status/config").json()["data"]["yaml"]
        assert "out_of_order_time_window: 30d" in config
    assert server.process.returncode is not None
    with pytest.raises(httpx.ConnectError):
        LOOPBACK.get(server.url)


def test_an_error_inside_the_context_still_ends_the_server(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: Clock
) -> None:
    with (
        pytest.raises(ValueError, match="inside"),
        start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as server,
    ):
        raise ValueError("inside")
    assert server.process.poll() is not None


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: Clock
) -> None:
    with (
        pytest.raises(ConfigError, match=r"Prometheus ended with 2: .*not a valid duration string"),
        start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock, out_of_order="30 bananas"),
    ):
        pass


def test_a_taken_port_is_refused_before_its_owner_could_answer(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: Clock
) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = owner.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"),
            start_prometheus(prometheus_binary, tmp_path / "data", port, clock),
        ):
            pass


def test_a_program_that_never_answers_meets_the_deadline(tmp_path: Path) -> None:
    class Impatient:
        """A clock whose waits take no time."""

        def __init__(self) -> None:
            self.seconds = 0.0

        def now(self) -> datetime:
            return EPOCH

        def monotonic(self) -> float:
            return self.seconds

        def sleep(self, seconds: float) -> None:
            self.seconds += 10

    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\necho still thinking\nexec sleep 60\n")
    silent.chmod(0o755)
    with (
        pytest.raises(ConfigError, match="did not become ready"),
        start_prometheus(PrometheusBinary(silent, silent), tmp_path / "data", free_port(), Impatient()),
    ):
        pass


def test_victoria_metrics_runs_with_deduplication(victoria_metrics: RunningServer) -> None:
    metrics = LOOPBACK.get(f"{victoria_metrics.url}/metrics").text
    assert 'flag{name="dedup.minScrapeInterval", value="1ms"' in metrics


def test_the_receiver_takes_samples_within_the_hours_of_an_old_fleet(
    small_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path: Path, clock: Clock
) -> None:
    data = tmp_path / "data"
    fill_blocks(small_fleet, prometheus_binary.promtool, data)
    with start_prometheus(prometheus_binary, data, free_port(), clock, out_of_order="5y") as server:
        for hour in (1, 2, -1, 30 * 24, 2):
            stamp = small_fleet.spec.start_ms + hour * 3_600_000
            assert _write(server.url, f"h{hour}", stamp, 1.5) == 204
        when = (small_fleet.spec.start_ms + 2 * 3_600_000) / 1000
        answer = LOOPBACK.get(f"{server.url}/api/v1/query", params={"query": "written", "time": when}).json()
        assert [item["value"][1] for item in answer["data"]["result"] if item["metric"]["of"] == "h2"] == ["1.5"]


def _write(url: str, of: str, stamp_ms: int, value: float) -> int:
    """One sample by remote write 1.0, encoded by hand."""

    def varint(number: int) -> bytes:
        out = b""
        while number > 127:
            out, number = out + bytes([number & 127 | 128]), number >> 7
        return out + bytes([number])

    def field(number: int, payload: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(payload)) + payload

    labels = b"".join(field(1, field(1, k) + field(2, v)) for k, v in ((b"__name__", b"written"), (b"of", of.encode())))
    sample = field(2, varint(1 << 3 | 1) + struct.pack("<d", value) + varint(2 << 3) + varint(stamp_ms))
    body = pa.compress(field(1, labels + sample), codec="snappy", asbytes=True)
    headers = {"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"}
    return LOOPBACK.post(f"{url}/api/v1/write", content=body, headers=headers).status_code


def test_a_program_that_is_not_there_is_a_config_error(tmp_path: Path, clock: Clock) -> None:
    gone = tmp_path / "gone"
    with (
        pytest.raises(ConfigError, match="Prometheus cannot be started"),
        start_prometheus(PrometheusBinary(gone, gone), tmp_path / "data", free_port(), clock),
    ):
        pass
