"""How much memory extracting and folding takes when the range doubles, and when the series double.

    python -m benchmarks.memory [--quick] [--data FOLDER]

Each fold is a process of its own (`fold_process`, default install); what counts is the most that was ever resident. A
process that folds no hour tells what the program itself takes.
"""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.accuracy_report import table
from benchmarks.end_to_end import HOURS, QUICK_HOURS, QUICK_SERIES, SERIES, START_MS
from benchmarks.end_to_end_ways import DEFAULT_INSTALL
from benchmarks.extraction_store import store
from benchmarks.kepler_fleet import Size
from benchmarks.page import Goal, document, finish, parser, versions
from benchmarks.stopwatch import cost, python
from pipeline.units import MS_PER_HOUR

PAGE = Path(__file__).with_name("memory.md")
SELECTORS = {4: '{cluster="c1"}', 2: '{cluster=~"c1|c2"}', 1: "{}"}  # by which part of the store they select


@dataclass(frozen=True, slots=True)
class Said:
    """Of one fold: peak memory of its process, and how much of it are the rows that it returns."""

    title: str
    peak_mb: float
    rows_mb: float
    rows: int


def fold(url: str, part: int, series: int, hours: int, start_ms: int, rounds: int) -> Said:
    """The medians of some folds of a part of the store."""
    told = []
    for _ in range(rounds):
        command = python("benchmarks.fold_process", "--url", url, "--selector", SELECTORS[part], "--start-ms",
                         str(start_ms), "--hours", str(hours))  # fmt: skip
        told.append(json.loads(cost(command, DEFAULT_INSTALL).out))
    peak, rows = (median(one[name] for one in told) for name in ("peak_mb", "rows_mb"))
    print(f"{hours} h x {series // part:,}: {peak:.0f} MB", flush=True)
    return Said(f"{hours} h x {series // part:,}", peak, rows, told[0]["rows"])


def goals(bare: Said, ranges: Sequence[Said], series: Sequence[Said]) -> list[Goal]:
    """Flat and linear, as figures: how the first and the last of each compare, the rows and the program left out."""
    first, last = ranges[0], ranges[-1]
    flat = (last.peak_mb - last.rows_mb) / (first.peak_mb - first.rows_mb)
    few, many = (one.peak_mb - bare.peak_mb for one in (series[0], series[-1]))
    doublings = len(series) - 1
    return [
        Goal(f"{last.title} against {first.title}: peak without the rows", 1.1, flat, at_most=True),
        Goal("series doubled: peak above the program's own", 2.1, (many / few) ** (1 / doublings), at_most=True),
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "one round, a small store")
    given = options.parse_args(arguments)
    rounds, hours = (1, (1, 2)) if given.quick else (given.rounds, (6, 12, 24))
    size = Size(QUICK_SERIES if given.quick else SERIES, START_MS, QUICK_HOURS if given.quick else HOURS)
    begin_ms = START_MS + (0 if given.quick else MS_PER_HOUR)
    with tempfile.TemporaryDirectory() as folder, store(given.data or Path(folder), size) as server:
        bare = fold(server.url, 4, 0, 0, begin_ms, rounds)
        ranges = [fold(server.url, 4, size.series, n, begin_ms, rounds) for n in hours]
        series = [fold(server.url, part, size.series, 1, begin_ms, rounds) for part in SELECTORS]
    lines = [
        [one.title, f"{one.peak_mb:.0f}", f"{one.peak_mb - bare.peak_mb:.0f}", f"{one.rows_mb:.0f}", f"{one.rows:,}"]
        for one in (*ranges, *series)
    ]
    head = ["hours x series", "peak MB", "above the program's own", "of its rows (MB)", "rows"]
    told = f"The program itself, with no hour to fold, peaks at {bare.peak_mb:.0f} MB."
    setup = versions("carbon-etl", "numpy", "pyarrow", programs=["prometheus"])
    kept = [] if given.quick else goals(bare, ranges, series)
    text = document("Memory", "python -m benchmarks.memory", setup, kept, [told, *table(head, lines)], rounds)
    finish(PAGE, text, quick=given.quick)


if __name__ == "__main__":
    main()
