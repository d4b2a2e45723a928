"""Real stores on private ports, filled with samples: what the dashboards' expressions are run on."""

import shutil
import socket
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.dashboards.fleet import Sample

READY_WITHIN_SECONDS = 60


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _series(sample: Sample) -> str:
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.metric}{{{labels}}}"


def openmetrics(samples: Iterable[Sample]) -> str:
    """OpenMetrics text: one family a metric, each series in time order."""
    families: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        families[sample.metric].append(sample)
    lines = []
    for metric, members in sorted(families.items()):
        lines.append(f"# TYPE {metric} gauge")
        lines += [f"{_series(sample)} {sample.value!r} {sample.stamp_seconds}" for sample in sorted(members)]
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def _running(command: list[str], ready_url: str, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        while not _answers(ready_url):
            assert process.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < deadline, f"{command[0]} not ready: {log.read_text(errors='replace')}"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@contextmanager
def prometheus(folder: Path, samples: Iterable[Sample]) -> Iterator[str]:
    """Address of a Prometheus that holds `samples` as blocks."""
    text, data = folder / "fleet.om", folder / "data"
    text.write_text(openmetrics(samples), encoding="utf-8")
    create = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
    subprocess.run([*create, str(text), str(data)], check=True, capture_output=True)
    config = folder / "prometheus.yml"
    config.write_text("global: {scrape_interval: 1m}\n", encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=50y",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    with _running(command, f"http://{address}/-/ready", folder / "prometheus.log"):
        yield f"http://{address}"


@contextmanager
def victoria_metrics(folder: Path, samples: list[Sample]) -> Iterator[str]:
    """Address of a VictoriaMetrics that holds `samples`."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        "victoria-metrics", f"-storageDataPath={folder / 'vm'}", f"-httpListenAddr={address}", "-retentionPeriod=50y",
        "-dedup.minScrapeInterval=1ms", "-memory.allowedBytes=64MB",
    ]  # fmt: skip
    with _running(command, f"http://{address}/health", folder / "victoria-metrics.log"):
        lines = [f"{_series(sample)} {sample.value!r} {sample.stamp_seconds}000" for sample in samples]
        httpx.post(f"http://{address}/api/v1/import/prometheus", content="\n".join(lines)).raise_for_status()
        httpx.get(f"http://{address}/internal/force_flush").raise_for_status()
        yield f"http://{address}"


def installed(binary: str) -> bool:
    """Whether `binary` is on PATH."""
    return shutil.which(binary) is not None
