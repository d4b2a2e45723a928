"""The ways from samples to joules and grams that `end_to_end` compares, each as one process (or two) and its cost."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.end_to_end_report import (
    CURL,
    FAST,
    FOLD,
    INCREASE,
    LIBRARY,
    PRODUCT,
    PRODUCT_FAST,
    QUERY,
    RULES,
    SCRIPT,
)
from benchmarks.extraction_store import INTENSITY_METRIC, METRIC
from benchmarks.fold_process import CLUSTER
from benchmarks.stopwatch import Cost, cost, python
from pipeline.demo.servers import RunningServer
from pipeline.sources.prometheus.read_request import matchers_of, read_request
from pipeline.sources.prometheus.remote_read import HEADERS, PATH
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import HOUR, Window, from_ms, to_ms

PUE_RATIO = 1.25
GAP_MS = 10 * MS_PER_MINUTE  # what a fold reads on both sides
DEFAULT_INSTALL = {"PYTHONPATH": str(Path(__file__).with_name("default_install"))}
CONFIG = """\
[warehouse]
path = "{warehouse}"
[[clusters]]
name = "{cluster}"
grid_zone = "DE"
pue = {pue}
[[clusters.prometheus]]
url = "{url}"
selector = '{selector}'
[intensity]
providers = ["csv"]
[intensity.csv]
path = "{grid}"
[http]
timeout_seconds = 600
"""
RULE = """\
groups:
- name: carbon
  rules:
  - record: pod:emissions_gco2e:1h
    expr: increase({metric}{selector}[1h]) * ({pue} / 3.6e6) * on () group_left () {intensity}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """What is read: whole hours of one of the store's clusters or of all, and by which ways."""

    title: str
    selector: str
    start_ms: int
    hours: int
    ways: tuple[str, ...]

    @property
    def window(self) -> Window:
        """The hours."""
        return Window(from_ms(self.start_ms), from_ms(self.start_ms + self.hours * MS_PER_HOUR))


@dataclass(frozen=True, slots=True)
class Bench:
    """One server with the store, and a folder that is emptied afterwards."""

    server: RunningServer
    folder: Path

    @property
    def rows(self) -> Path:
        """Where a fold leaves its workloads' joules."""
        return self.folder / "rows.parquet"


def _fold(bench: Bench, span: Span, transport: str = "auto", env: Mapping[str, str] = DEFAULT_INSTALL) -> Cost:
    command = python("benchmarks.fold_process", "--url", bench.server.url, "--selector", span.selector, "--start-ms",
                     str(span.start_ms), "--hours", str(span.hours), "--transport", transport, "--rows",
                     str(bench.rows))  # fmt: skip
    found = cost(command, env)
    return replace(found, seconds=json.loads(found.out)["seconds"])


def _product(bench: Bench, span: Span, env: Mapping[str, str] = DEFAULT_INSTALL) -> Cost:
    warehouse, config = bench.folder / "warehouse", bench.folder / "carbon-etl.toml"
    shutil.rmtree(warehouse, ignore_errors=True)
    config.write_text(
        CONFIG.format(warehouse=warehouse, cluster=CLUSTER, pue=PUE_RATIO, url=bench.server.url,
                      selector=span.selector, grid=bench.folder / "grid.csv"), encoding="utf-8"
    )  # fmt: skip
    command = python("pipeline", "backfill", "--config", str(config), "--start", span.window.start.isoformat(),
                     "--end", span.window.end.isoformat(), "--json")  # fmt: skip
    found = cost(command, env)
    if not any(warehouse.glob("emissions/*/*/emissions.parquet")):
        raise SystemExit(f"the product wrote nothing: {found.out[-2000:]}")
    return found


def _script(bench: Bench, span: Span, *more: str) -> Cost:
    """By the hour: of a day one hour is measured, and said to be scaled."""
    cluster, start, folder = span.selector.split('"')[1], span.window.start, bench.folder / "script"
    shutil.rmtree(folder, ignore_errors=True)
    found = cost(python("benchmarks.rival_script", bench.server.url, cluster, start.isoformat(),
                        (start + HOUR).isoformat(), str(bench.folder / "grid.csv"), str(folder), *more))  # fmt: skip
    one = json.loads(found.out)["seconds"]
    return replace(found, seconds=one * span.hours, cpu_seconds=found.cpu_seconds * span.hours)


def _rules(bench: Bench, span: Span) -> Cost:
    rules, blocks = bench.folder / "rules.yml", bench.folder / "blocks"
    shutil.rmtree(blocks, ignore_errors=True)
    text = RULE.format(metric=METRIC, selector=span.selector, pue=PUE_RATIO, intensity=INTENSITY_METRIC)
    rules.write_text(text, encoding="utf-8")
    start, end = (to_ms(edge) // 1000 for edge in (span.window.start, span.window.end))
    found = cost(["promtool", "tsdb", "create-blocks-from", "rules", "--quiet", f"--start={start}",
                  f"--end={end}", f"--url={bench.server.url}", f"--output-dir={blocks}", "--eval-interval=1h",
                  str(rules)])  # fmt: skip
    if not any(blocks.glob("*/index")):
        raise SystemExit(f"promtool made no block: {found.out}")
    return found


def _increase(bench: Bench, span: Span) -> Cost:
    ends = (span.window.start + HOUR, span.window.end)
    query = {
        "query": f"increase({METRIC}{span.selector}[1h])",
        "start": ends[0].timestamp(),
        "end": ends[1].timestamp(),
    }
    fields = [
        word for name, value in {**query, "step": "1h"}.items() for word in ("--data-urlencode", f"{name}={value}")
    ]
    return cost(["curl", "-sSf", "-o", "/dev/null", *fields, f"{bench.server.url}/api/v1/query_range"])


def _curl(bench: Bench, span: Span) -> Cost:
    body = bench.folder / "request"
    labels = span.selector.strip("{}")
    every = f'{{__name__=~"kepler_(pod|node)_cpu_.*joules_total"{"," + labels if labels else ""}}}'
    end_ms = span.start_ms + span.hours * MS_PER_HOUR
    body.write_bytes(read_request([matchers_of(every)], span.start_ms - GAP_MS - 1, end_ms + GAP_MS))
    headers = [word for name, value in HEADERS.items() for word in ("-H", f"{name}: {value}")]
    return cost(["curl", "-sSf", "-o", "/dev/null", "-X", "POST", *headers, "--data-binary", f"@{body}",
                 bench.server.url + PATH])  # fmt: skip


WAYS: Mapping[str, Callable[[Bench, Span], Cost]] = {
    FOLD: _fold,
    FAST: lambda bench, span: _fold(bench, span, env={}),
    QUERY: lambda bench, span: _fold(bench, span, transport="query"),
    PRODUCT: _product,
    PRODUCT_FAST: lambda bench, span: _product(bench, span, {}),
    CURL: _curl,
    INCREASE: _increase,
    RULES: _rules,
    LIBRARY: lambda bench, span: _script(bench, span, "--extract-only"),
    SCRIPT: _script,
}
