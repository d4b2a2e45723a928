"""How fast raw samples leave a Prometheus: remote read, the query API, prometheus-api-client with pandas, and curl.

    python -m benchmarks.extraction [--quick] [--data FOLDER]

A seeded store (`extraction_store`) is loaded into a real Prometheus. Each way reads the same span in a process of its
own, the ways take turns, and medians of three are compared: time from the first request to the last sample (imports
excluded for all), peak memory of the process. Curl posts the same request and throws the bytes away: what the server
and the line need.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.end_to_end import HOURS, QUICK_HOURS, QUICK_SERIES, SERIES, START_MS
from benchmarks.end_to_end_ways import DEFAULT_INSTALL
from benchmarks.extraction_report import CURL, FAST, LIBRARY, QUERY, REMOTE_READ, Said, goals, part
from benchmarks.extraction_store import METRIC, store
from benchmarks.kepler_fleet import Size
from benchmarks.page import document, finish, parser, versions
from benchmarks.stopwatch import cost, imported, own_peak_mb, python
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.read_request import matchers_of, read_request
from pipeline.sources.prometheus.remote_read import HEADERS, PATH
from pipeline.terminal import SystemClock
from pipeline.units import MS_PER_HOUR
from pipeline.window import from_ms

PAGE = Path(__file__).with_name("extraction.md")
TRANSPORTS = {REMOTE_READ: "remote_read", FAST: "remote_read", QUERY: "query"}


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


def spans(series: int, hours: float) -> list[Span]:
    """Of a store with so many series over so many hours and one before and after."""
    every, quarter = f"{METRIC}{{}}", f'{METRIC}{{cluster="c1"}}'
    hour_ms = START_MS + round(min(13, hours / 2) * MS_PER_HOUR)
    bare = (REMOTE_READ, FAST, CURL)
    one = Span(f"1 h x {series // 4:,}", quarter, hour_ms, 1, (*bare, QUERY, LIBRARY))
    if hours < 26:
        return [one]
    return [
        one,
        Span(f"1 h x {series:,}", every, hour_ms, 1, (*bare, QUERY)),
        Span(f"24 h x {series // 4:,}", quarter, START_MS + MS_PER_HOUR, 24, bare),
        Span(f"24 h x {series:,}", every, START_MS + MS_PER_HOUR, 24, bare),
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
        endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": TRANSPORTS[way]})
        server = BulkServer(endpoint, http, {}, SystemClock(), print)
        imported()
        began = time.perf_counter()
        for block in server.blocks(selector, start_ms, end_ms):
            samples += len(block.values)
            series += block.labels.num_rows
    return Said(time.perf_counter() - began, own_peak_mb(), samples, series)


def elsewhere(way: str, url: str, span: Span) -> Said:
    """The same in a process of its own."""
    if way == CURL:
        return _curl(url, span)
    command = python("benchmarks.extraction", "--one", way, url, span.selector, str(span.start_ms), str(span.end_ms))
    done = cost(command, {} if way == FAST else DEFAULT_INSTALL)
    return Said(**json.loads(done.out.splitlines()[-1]))


def _curl(url: str, span: Span) -> Said:
    with tempfile.NamedTemporaryFile() as body:
        Path(body.name).write_bytes(read_request([matchers_of(span.selector)], span.start_ms, span.end_ms))
        headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
        done = cost(["curl", "-sf", "-o", "/dev/null", "-w", "%{time_total}", "-X", "POST", *headers,
                     "--data-binary", f"@{body.name}", url + PATH])  # fmt: skip
    return Said(float(done.out), done.peak_mb, 0, 0)


def compare(url: str, span: Span, rounds: int) -> dict[str, Said]:
    """The median of each way, all of which must have read the same."""
    ways = [way for way in span.ways if way != FAST or find_spec("numba")]
    said: dict[str, list[Said]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            said[way].append(elsewhere(way, url, span))
            print(f"{span.title}, round {number + 1}, {way}: {said[way][-1].seconds:.2f} s", flush=True)
    counts = {(one.samples, one.series) for way, own in said.items() for one in own if way in TRANSPORTS}
    if len(counts) != 1:
        raise SystemExit(f"{span.title}: the transports disagree: {counts}")
    return {way: Said.middle(own) for way, own in said.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "one round, an hour of a small store")
    options.add_argument("--one", nargs=5, metavar=("WAY", "URL", "SELECTOR", "START_MS", "END_MS"))
    given = options.parse_args(arguments)
    if given.one:
        way, url, selector, start_ms, end_ms = given.one
        print(json.dumps(measure(way, url, selector, int(start_ms), int(end_ms)).figures()))
        return
    size = Size(QUICK_SERIES if given.quick else SERIES, START_MS, QUICK_HOURS if given.quick else HOURS)
    with tempfile.TemporaryDirectory() as temporary, store(given.data or Path(temporary), size) as server:
        results = [
            (span.title, compare(server.url, span, 1 if given.quick else given.rounds))
            for span in spans(size.series, size.hours)
        ]
    setup = versions(
        "carbon-etl", "numpy", "pandas", "pyarrow", "prometheus-api-client", programs=["prometheus", "curl"]
    )
    kept = [] if given.quick else goals(results)
    text = document("Extraction", "python -m benchmarks.extraction", setup, kept, part(results), given.rounds)
    finish(PAGE, text, quick=given.quick)


if __name__ == "__main__":
    main()
