"""From samples in a Prometheus to joules and to priced parquet: the product and what a user would pick instead.

    python -m benchmarks.end_to_end [--quick] [--data FOLDER]

On one seeded store (`extraction_store`), in turns, each in a process of its own: the product's fold, and the product
whole (`carbon-etl backfill` into a fresh warehouse); a script of prometheus-api-client and pandas (`rival_script`); a
recording rule backfilled by promtool; `increase()` asked of the server; and curl of the bytes that the fold reads.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
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
    Result,
    errors,
    goals,
    parts,
)
from benchmarks.end_to_end_ways import WAYS, Bench, Span
from benchmarks.extraction_store import METRIC, store
from benchmarks.kepler_fleet import Size, fleet, true_joules
from benchmarks.page import document, finish, parser, versions
from benchmarks.stopwatch import Cost, cpu_seconds, middle
from pipeline.demo.grid import write_grid
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window, from_ms, to_ms

START_MS = to_ms(datetime(2026, 10, 31, 23, tzinfo=UTC))
SERIES, HOURS = 20_000, 26.0
QUICK_SERIES, QUICK_HOURS = 2_000, 3.0
PAGE = Path(__file__).with_name("end_to_end.md")


def spans(series: int, hours: float) -> list[Span]:
    """Of a store with so many series; a day where it holds one."""
    quarter, ways = '{cluster="c1"}', (FOLD, FAST, QUERY, PRODUCT, PRODUCT_FAST, CURL, INCREASE, RULES, LIBRARY, SCRIPT)
    noon_ms = START_MS + MS_PER_HOUR * (13 if hours > 25 else 1)
    hour = Span(f"1 h x {series // 4:,}", quarter, noon_ms, 1, ways)
    if hours < 26:
        return [hour]
    day = tuple(way for way in ways if way not in (QUERY, LIBRARY))
    bare = (FOLD, FAST, CURL, INCREASE)
    midnight_ms = START_MS + MS_PER_HOUR
    return [
        hour,
        Span(f"24 h x {series // 4:,}", quarter, midnight_ms, 24, day),
        Span(f"24 h x {series:,}", "{}", midnight_ms, 24, bare),
    ]


def compare(bench: Bench, span: Span, rounds: int) -> dict[str, Result]:
    """The medians of each way; every fold must have found the same joules."""
    ways = [way for way in span.ways if find_spec("numba") or way not in (FAST, PRODUCT_FAST)]
    found: dict[str, list[tuple[Cost, float]]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            before = cpu_seconds(bench.server.process.pid)
            one = WAYS[way](bench, span)
            found[way].append((one, cpu_seconds(bench.server.process.pid) - before))
            print(f"{span.title}, round {number + 1}, {way}: {one.seconds:.2f} s, {one.peak_mb:.0f} MB", flush=True)
    kernels = {way: json.loads(found[way][0][0].out)["kernels"] for way in (FOLD, FAST) if way in found}
    if kernels.get(FAST, "numba") != "numba" or kernels[FOLD] != "numpy":
        raise SystemExit(f"{span.title}: not the installs that were meant: {kernels}")
    joules = [json.loads(one.out)["joules"] for way in (FOLD, FAST, QUERY) if way in found for one, _ in found[way]]
    if max(joules) - min(joules) > 1e-9 * max(joules):
        raise SystemExit(f"{span.title}: folds disagree: {joules}")
    return {
        way: Result(middle([one for one, _ in told]), sorted(server for _, server in told)[len(told) // 2],
                    span.hours if way == SCRIPT and span.hours > 1 else 1)
        for way, told in found.items()
    }  # fmt: skip


@contextmanager
def prepared(data: Path | None, size: Size) -> Iterator[Bench]:
    """The store served, and a folder with the grid's figures."""
    with tempfile.TemporaryDirectory(prefix="end-to-end-") as folder, store(data or Path(folder), size) as server:
        write_grid(Path(folder) / "grid.csv", "DE", Window(from_ms(size.start_ms), from_ms(size.end_ms)))
        yield Bench(server, Path(folder))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "one round, an hour of a small store")
    given = options.parse_args(arguments)
    size = Size(QUICK_SERIES if given.quick else SERIES, START_MS, QUICK_HOURS if given.quick else HOURS)
    with prepared(given.data, size) as bench:
        chosen, results, exact = spans(size.series, size.hours), {}, ""
        for span in chosen:
            results[span.title] = compare(bench, span, 1 if given.quick else given.rounds)
            if span.title == chosen[min(1, len(chosen) - 1)].title:  # the rows that lie there are this span's
                nodes = [node for node in fleet(size) if node.cluster == "c1"]
                truth = true_joules(nodes, size)
                exact = errors(bench.rows, truth, bench.server.url, span.window, METRIC + span.selector)
    setup = versions(
        "carbon-etl", "numpy", "pandas", "pyarrow", "prometheus-api-client", programs=["prometheus", "curl"]
    )
    kept = [] if given.quick else goals(results, size.series)
    text = document(
        "End to end", "python -m benchmarks.end_to_end", setup, kept, [*parts(results), exact], given.rounds
    )
    finish(PAGE, text, quick=given.quick)


if __name__ == "__main__":
    main()
