"""One hour of 100,000 pods in two zones, scraped each minute, end to end: does it fit, and where does the time go?

    python -m benchmarks.fleet [--quick] [--pods 100000] [--data FOLDER]

200,000 series with 80 samples each (the hour and ten minutes on both sides) and what kube-state-metrics shows of the
pods are loaded into a real Prometheus. Then the stages of a run, one after the other in one process, and the command
itself (`carbon-etl backfill` into a fresh warehouse) in another.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.accuracy_report import table
from benchmarks.end_to_end_report import PRODUCT
from benchmarks.end_to_end_ways import DEFAULT_INSTALL, GAP_MS, WAYS, Bench, Span
from benchmarks.extraction_store import METRIC, NODE_METRICS, store
from benchmarks.fold_process import opened
from benchmarks.kepler_fleet import ZONES, Size
from benchmarks.page import Goal, document, finish, parser, versions
from benchmarks.rival_writers import commit, price
from benchmarks.stopwatch import cost, imported, own_peak_mb, python
from pipeline.demo.grid import write_grid
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import from_ms, to_ms

PAGE = Path(__file__).with_name("fleet.md")
HOUR_MS = to_ms(datetime(2026, 11, 1, 12, tzinfo=UTC))
PODS, QUICK_PODS = 100_000, 2_000
MOST_MB = 2_000
READ, FOLD, PRICE, COMMIT = "read the samples (and throw them away)", "read and fold", "price", "commit to parquet"


def size_of(pods: int) -> Size:
    """The hour with ten minutes on both sides."""
    return Size(pods * len(ZONES), HOUR_MS - GAP_MS, 1 + 2 * GAP_MS / MS_PER_HOUR, 60_000, 10 * MS_PER_MINUTE)


class Laps:
    """Seconds from mark to mark, the peak of this process until then (MB), and a count."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[float, float, int]] = {}
        self._began = time.perf_counter()

    def mark(self, name: str, count: int) -> None:
        """The end of a stage and the beginning of the next."""
        now = time.perf_counter()
        self.found[name] = (now - self._began, own_peak_mb(), count)
        self._began = now


def stages(url: str, folder: Path) -> dict[str, tuple[float, float, int]]:
    """The stages of a run, with their samples or rows."""
    site, end_ms = opened(url, "{}"), HOUR_MS + MS_PER_HOUR + GAP_MS
    imported()
    laps = Laps()
    selectors = [f"{metric}{{}}" for metric in (METRIC, *NODE_METRICS)]
    blocks = (block for one in selectors for block in site.server.blocks(one, HOUR_MS - GAP_MS - 1, end_ms))
    laps.mark(READ, sum(len(block.values) for block in blocks))
    energy = site.fold_hours([from_ms(HOUR_MS)], HOUR_MS - MS_PER_HOUR)
    laps.mark(FOLD, energy.rows.num_rows)
    priced = price(energy.rows, folder)
    laps.mark(PRICE, priced.num_rows)
    commit(priced, energy.nodes, folder)
    laps.mark(COMMIT, priced.num_rows)
    return laps.found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "2,000 pods")
    options.add_argument("--pods", type=int, default=PODS)
    options.add_argument("--stages", nargs=2, metavar=("URL", "FOLDER"), help="the stages alone, of a store that runs")
    given = options.parse_args(arguments)
    if given.stages:
        print(json.dumps(stages(given.stages[0], Path(given.stages[1]))))
        return
    pods = QUICK_PODS if given.quick else given.pods
    size = size_of(pods)
    with (
        tempfile.TemporaryDirectory(prefix="fleet-") as temporary,
        store(given.data or Path(temporary), size) as server,
    ):
        folder = Path(temporary)
        span = Span("", "{}", HOUR_MS, 1, ())
        write_grid(folder / "grid.csv", "DE", span.window)
        told = cost(python("benchmarks.fleet", "--stages", server.url, str(folder)), DEFAULT_INSTALL)
        whole = WAYS[PRODUCT](Bench(server, folder), span)
    found = json.loads(told.out)
    rows = [[name, f"{seconds:.1f}", f"{peak:.0f}", f"{count:,}"] for name, (seconds, peak, count) in found.items()]
    rows.append(["carbon-etl backfill, the whole process", f"{whole.seconds:.1f}", f"{whole.peak_mb:.0f}", ""])
    goals = [Goal("peak memory of the whole process", MOST_MB, whole.peak_mb, at_most=True, unit="MB")]
    text = document(
        f"One hour of {pods:,} pods", f"python -m benchmarks.fleet --pods {pods}",
        versions("carbon-etl", "numpy", "pyarrow", programs=["prometheus"]), [] if given.quick else goals,
        [*table(["stage", "seconds", "peak MB until then", "samples or rows"], rows)], 1)  # fmt: skip
    finish(PAGE, text, quick=given.quick)


if __name__ == "__main__":
    main()
