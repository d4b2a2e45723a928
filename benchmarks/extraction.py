"""How fast raw samples leave a Prometheus: remote read, the query API, prometheus-api-client with pandas, and curl.

    python -m benchmarks.extraction [--quick] [--data FOLDER]

A seeded store (`extraction_store`) is loaded into a real Prometheus. Each way reads the same span in a process of its
own, the ways take turns, and medians of three are compared: time from the first request to the last sample (imports
excluded for all), peak memory of the process. Curl posts the same request and throws the bytes away: what the server
and the line need. Server and client share one machine, so only ratios mean something.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import pyarrow as pa

from benchmarks.extraction_report import markdown
from benchmarks.extraction_store import METRIC, load, nodes
from pipeline.cli import SystemClock
from pipeline.demo.servers import find_prometheus, free_port, start_prometheus
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.read_request import matchers_of, read_request
from pipeline.sources.prometheus.remote_read import HEADERS, PATH
from pipeline.units import MS_PER_HOUR
from pipeline.window import from_ms, to_ms

START_MS = to_ms(datetime(2026, 11, 1, tzinfo=UTC))
SEED = 1
ROUNDS = 3
PAGE = Path(__file__).with_name("extraction.md")
REMOTE_READ, QUERY, LIBRARY, CURL = "remote_read", "query", "prometheus-api-client + pandas", "curl"


@dataclass(frozen=True, slots=True)
class Span:
    """What is read: how many series at a time over how many hours, and by which ways."""

    title: str
    selector: str
    start_ms: int
    hours: float
    ways: tuple[str, ...]

    @property
    def end_ms(self) -> int:
        """Last stamp."""
        return self.start_ms + round(self.hours * MS_PER_HOUR)


@dataclass(frozen=True, slots=True)
class Said:
    """What one measurement gave: seconds, peak memory of its process, samples and series (of curl: none)."""

    seconds: float
    peak_mb: float
    samples: int
    series: int


def spans(series: int, hours: float) -> list[Span]:
    """Of a store with so many series over so many hours and one before and after."""
    every = f"{METRIC}{{}}"
    quarter = f'{METRIC}{{cluster="c1"}}'
    hour_ms = START_MS + round(min(12, hours / 2) * MS_PER_HOUR)
    one = Span(f"1 h x {series // 4:,}", quarter, hour_ms, 1, (REMOTE_READ, CURL, QUERY, LIBRARY))
    if hours <= 2:
        return [one]
    day = (REMOTE_READ, CURL)
    return [
        one,
        Span(f"1 h x {series:,}", every, hour_ms, 1, (REMOTE_READ, CURL, QUERY)),
        Span(f"{hours - 2:g} h x {series // 4:,}", quarter, START_MS + MS_PER_HOUR, hours - 2, day),
        Span(f"{hours - 2:g} h x {series:,}", every, START_MS + MS_PER_HOUR, hours - 2, day),
    ]


def measure(way: str, url: str, selector: str, start_ms: int, end_ms: int) -> Said:
    """Read in this process, once."""
    samples = series = 0
    if way == LIBRARY:
        from prometheus_api_client import MetricRangeDataFrame, PrometheusConnect  # noqa: PLC0415 # it is the rival

        client = PrometheusConnect(url=url)
        began = time.perf_counter()
        name, _, labels = selector.rstrip("}").partition("{")
        wanted = dict(pair.split("=") for pair in labels.replace('"', "").split(",") if pair)
        found = client.get_metric_range_data(name, wanted, from_ms(start_ms), from_ms(end_ms))
        frame = MetricRangeDataFrame(found)
        samples, series = len(frame), len(found)
    else:
        http = HttpSettings(timeout_seconds=600, max_response_mb=8_000)
        endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": way})
        server = BulkServer(endpoint, http, {}, SystemClock(), print)
        pa.array(np.arange(3)).take(pa.array([1]))  # imports pandas and pyarrow's functions, as any run has by then
        began = time.perf_counter()
        for block in server.blocks(selector, start_ms, end_ms):
            samples += len(block.values)
            series += block.labels.num_rows
    seconds = time.perf_counter() - began
    return Said(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, samples, series)


def elsewhere(way: str, url: str, span: Span) -> Said:
    """The same in a process of its own."""
    if way == CURL:
        return _curl(url, span)
    command = [sys.executable, "-m", "benchmarks.extraction", "--one", way, url, span.selector,
               str(span.start_ms), str(span.end_ms)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return Said(**json.loads(done.stdout.splitlines()[-1]))


def _curl(url: str, span: Span) -> Said:
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(read_request([matchers_of(span.selector)], span.start_ms, span.end_ms))
        headers = [part for name, value in HEADERS.items() for part in ("-H", f"{name}: {value}")]
        command = ["curl", "-sf", "-o", "/dev/null", "-w", "%{time_total}", "-X", "POST", *headers,
                   "--data-binary", f"@{body.name}", url + PATH]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Said(float(done.stdout), 0.0, 0, 0)


def compare(url: str, span: Span, rounds: int) -> dict[str, Said]:
    """The median of each way, all of which must have read the same."""
    said: dict[str, list[Said]] = {way: [] for way in span.ways}
    for number in range(rounds):
        for way in span.ways:
            said[way].append(elsewhere(way, url, span))
            print(f"{span.title}, round {number + 1}, {way}: {said[way][-1].seconds:.2f} s", file=sys.stderr)
    counts = {(one.samples, one.series) for way, own in said.items() for one in own if way in (REMOTE_READ, QUERY)}
    if len(counts) != 1:
        raise SystemExit(f"{span.title}: the transports disagree: {counts}")
    return {way: _median(own) for way, own in said.items()}


def _median(said: Sequence[Said]) -> Said:
    return Said(
        median(one.seconds for one in said), median(one.peak_mb for one in said), said[0].samples, said[0].series
    )


@contextmanager
def store(folder: Path, series: int, hours: float) -> Iterator[str]:
    """The address of a Prometheus with the seeded fleet; a folder that holds it already is used as it is."""
    binary = find_prometheus(folder / "programs", os.environ.get("PATH", ""))
    data_dir = folder / f"store-{series}-{hours:g}"
    with start_prometheus(binary, data_dir, free_port(), SystemClock(), out_of_order="5y") as running:
        if not (data_dir / "loaded").exists():
            load(running.url, nodes(SEED, series, START_MS, hours), START_MS, hours, SEED)
            (data_dir / "loaded").touch()
        yield running.url


def versions(url: str) -> Mapping[str, str]:
    """What was measured with."""
    build = httpx.get(f"{url}/api/v1/status/buildinfo", trust_env=False).json()["data"]["version"]
    return {"Prometheus": build, "Python": platform.python_version(), "numpy": np.__version__}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one hour of 5,000 series only; prints, writes nothing")
    parser.add_argument("--data", type=Path, help="keep the store here, and use it again")
    parser.add_argument("--one", nargs=5, metavar=("WAY", "URL", "SELECTOR", "START_MS", "END_MS"))
    given = parser.parse_args(arguments)
    if given.one:
        way, url, selector, start_ms, end_ms = given.one
        said = measure(way, url, selector, int(start_ms), int(end_ms))
        print(json.dumps({name: getattr(said, name) for name in said.__slots__}))
        return
    # a fourth of the series are cluster c1; --quick therefore loads 20,000, but two hours of them
    hours = 2.0 if given.quick else 26.0
    with tempfile.TemporaryDirectory() as temporary, store(given.data or Path(temporary), 20_000, hours) as url:
        results: list[tuple[Any, dict[str, Said]]] = [
            (span, compare(url, span, ROUNDS)) for span in spans(20_000, hours)
        ]
        text = markdown(results, versions(url))
    print(text)
    if not given.quick:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
