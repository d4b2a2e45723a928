"""Real exporters on made registers, scraped by a real Prometheus, and read back as the product reads."""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from pipeline.demo.binaries import PrometheusBinary
from pipeline.demo.servers import free_port, start_prometheus
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.window import Clock

HOST = "127.0.0.1"
DEADLINE_SECONDS = 120.0
POLL_SECONDS = 0.2
CPU_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BUSY = "while True: pass"

Labels = dict[str, str]


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something to become true.

    Raises:
        TimeoutError: it did not.
    """
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {DEADLINE_SECONDS:g} s")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Exporter:
    """A command line that exposes /metrics on `port`, started and stopped at will."""

    command: Sequence[str]
    port: int
    env: Mapping[str, str]
    log: Path

    @contextmanager
    def running(self) -> Iterator[None]:
        """The exporter runs and listens while the context lasts; a scrape is not what is awaited, for it counts."""
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self.command, env=os.environ | self.env, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            until(lambda: process.poll() is not None or self._listens(), f"{self.command[0]} listens")
            assert process.poll() is None, self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
            yield
        finally:
            process.terminate()
            process.wait(20)

    def body(self) -> str:
        """One scrape."""
        return httpx.get(f"http://{HOST}:{self.port}/metrics", timeout=20.0).raise_for_status().text

    def _listens(self) -> bool:
        table = "".join(Path(f"/proc/net/{family}").read_text(encoding="ascii") for family in ("tcp", "tcp6"))
        rows = [line.split() for line in table.splitlines()]
        return any(row[1].endswith(f":{self.port:04X}") and row[3] == "0A" for row in rows if len(row) > 3)


@dataclass(frozen=True, slots=True)
class Series:
    """One series as Prometheus holds it."""

    labels: Labels
    stamps_ms: NDArray[np.int64]
    values: NDArray[np.float64]

    def at(self, stamps_ms: NDArray[np.int64]) -> "Series":
        """Its samples of these scrapes."""
        own = np.isin(self.stamps_ms, stamps_ms)
        return Series(self.labels, self.stamps_ms[own], self.values[own])


class Scraper:
    """A Prometheus that scrapes, and the product's own transport to what it holds."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.start_ms = round(time.time() * 1_000)
        self.transport = PrometheusServer(PrometheusEndpoint(url=url), HttpSettings(), {}, clock)

    def series(self, selector: str) -> list[Series]:
        """All samples of all matching series so far."""
        found = []
        for block in self.transport.blocks(selector, self.start_ms, round(time.time() * 1_000)):
            for row, labels in enumerate(block.labels.to_pylist()):
                own = slice(int(block.offsets[row]), int(block.offsets[row + 1]))
                kept = {k: v for k, v in labels.items() if v is not None}
                found.append(Series(kept, block.stamps_ms[own], block.values[own]))
        return found

    def scrapes(self) -> int:
        """How many scrapes have succeeded."""
        return sum(int(one.values.sum()) for one in self.series("up{}"))

    def middle_seconds(self, interval_seconds: int, after_seconds: float) -> float:
        """How long from now to the middle between two scrapes, at least `after_seconds`; the target may be down."""
        until(lambda: bool(self.series("up{}")), "the first scrape")
        now = time.time()
        middle = int(self.series("up{}")[0].stamps_ms[0]) / 1_000 + interval_seconds / 2
        return middle - now + interval_seconds * math.ceil((now + after_seconds - middle) / interval_seconds)

    def await_scrapes(self, count: int) -> None:
        """Wait for so many more."""
        wanted = self.scrapes() + count
        until(lambda: self.scrapes() >= wanted, f"{count} more scrapes")


@contextmanager
def scraping(
    prometheus: PrometheusBinary, folder: Path, port: int, interval_seconds: int, clock: Clock
) -> Iterator[Scraper]:
    """A Prometheus that scrapes the exporter on `port`."""
    with start_prometheus(prometheus, folder, free_port(), clock) as server:
        scraper = Scraper(server.url, clock)
        job = f"{{job_name: meters, scrape_interval: {interval_seconds}s, scrape_timeout: {interval_seconds}s,"
        targets = f"static_configs: [{{targets: ['{HOST}:{port}']}}]}}"
        config = folder / "prometheus.yml"
        config.write_text(f"scrape_configs: [{job} {targets}]\n", encoding="utf-8")
        server.process.send_signal(signal.SIGHUP)
        yield scraper


@dataclass(frozen=True, slots=True)
class Burner:
    """A process that is always busy."""

    pid: int

    def cpu_seconds(self) -> float:
        """CPU time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CPU_TICKS_PER_SECOND


@contextmanager
def burner(*arguments: str) -> Iterator[Burner]:
    """A busy process with these words at the end of its command line."""
    with ExitStack() as stack:
        process = subprocess.Popen([sys.executable, "-c", BUSY, *arguments])
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield Burner(process.pid)
