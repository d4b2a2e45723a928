"""The warehouse at size: the shipped queries against a native .duckdb file, and transform and write against others.

    python -m benchmarks.warehouse [--quick] [--days 365] [--pods 1000] [--data FOLDER]

A seeded warehouse (`warehouse_rows`) is asked every query of `queries/` through the product's views, and the same rows
are asked in a native file: tables where the warehouse has files, the same views and macros over them. Then one day of
energy rows is priced and written by the product, by pandas and by DuckDB, each in a process of its own.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import duckdb
import pyarrow.parquet as pq

from benchmarks.accuracy_report import table
from benchmarks.page import Goal, document, finish, parser, versions
from benchmarks.rival_writers import OURS, WRITERS
from benchmarks.stopwatch import Cost, cost, middle, python
from benchmarks.warehouse_rows import FIRST_DAY, Size, energy_of, priced_day, write
from pipeline.demo.grid import write_grid
from pipeline.sinks import views
from pipeline.sinks.instances import create
from pipeline.sinks.questions import values
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.tables import TABLES
from pipeline.transforms.sheet import NODES
from pipeline.window import HOUR, Window

PAGE = Path(__file__).with_name("warehouse.md")
DAYS, PODS, QUICK_DAYS, QUICK_PODS = 365, 1_000, 3, 1_000
LONG_SECONDS = 20.0  # a query that takes longer is asked once
MOST_TIMES_NATIVE, MOST_OF_DETAIL = 2.0, 0.1
DAILY = "emissions_daily"
READING = f"""\
Seconds of CPU, of all threads, so that other work on the machine counts as little as it can. Each is asked in a
connection of its own, the file system's cache warm; one that takes longer than {LONG_SECONDS:.0f} s once. Every answer
begins with starting DuckDB, looking at each day's files and making views of them: some 0.05 s of CPU for a year,
whatever the number of pods, so that it weighs most where a native file answers in less. `emissions` and `processes`
are a file a day; `node_energy`, `emissions_daily` and `hours` are one a month, but for the last three days."""
WRITING = """\
Seconds from reading the energy rows to the last file, imports excluded. Pandas and DuckDB join the hour's intensity and
PUE, compute and write. The product chooses its price hour by hour, checks every table, sorts, compares with what is
stored, numbers revisions, and writes each file aside, synced and renamed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One query: seconds over the warehouse's views and in the native file, and how many rows it answers."""

    name: str
    ours: float
    native: float
    rows: int


def make_native(root: Path, path: Path) -> None:
    """A .duckdb file with the rows that the warehouse's views show, and with the views that are made of them."""
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with duckdb.connect(str(unfinished)) as connection:
        connection.execute("set TimeZone = 'UTC'")
        create(connection, views.definitions(root), {})
        for name in (*TABLES, "stored.hours"):  # the one view of files that others are made of beside the tables'
            plain = name.rpartition(".")[2]
            connection.execute(f"create table {name}_rows as from {name}; drop view {name}")
            connection.execute(f"alter table {name}_rows rename to {plain}")
    unfinished.rename(path)


def ask_native(path: Path, text: str) -> int:
    """The number of rows of an answer of the native file."""
    with duckdb.connect(str(path), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        return int(connection.execute(text, values(text, {})).to_arrow_table().num_rows)


def ask(root: Path, text: str) -> int:
    """The number of rows of an answer of the warehouse."""
    return run_query(root, text).num_rows


def timed(question: Callable[[], int], rounds: int) -> tuple[float, int]:
    """Median seconds of CPU, and what came out; long ones are asked once."""
    seconds: list[float] = []
    while len(seconds) < rounds and (not seconds or seconds[0] < LONG_SECONDS):
        began = time.process_time()
        rows = question()
        seconds.append(time.process_time() - began)
    return median(seconds), rows


def queries(root: Path, native: Path, rounds: int) -> list[Asked]:
    """Every shipped query in both."""
    found = []
    for name, text in shipped_queries().items():
        theirs, expected = timed(partial(ask_native, native, text), rounds)
        ours, rows = timed(partial(ask, root, text), rounds)
        if rows != expected:
            raise SystemExit(f"{name}: {rows} rows in the warehouse, {expected} in the native file")
        print(f"{name}: {ours:.2f} s, native {theirs:.2f} s", flush=True)
        found.append(Asked(name, ours, theirs, rows))
    return found


def daily(root: Path, rounds: int) -> list[tuple[str, float, float]]:
    """Two questions by the detail rows and by the daily roll-up: name, seconds, seconds; none without a roll-up."""
    if DAILY not in views.definitions(root):
        return []
    asked = {
        "joules by namespace and day": "select {day} as day, namespace, sum(energy_joules) from {source} group by all",
        "grams of the top 20 workloads": """select namespace, workload, sum(emissions_gco2e) as grams from {source}
            where kind = 'workload' group by all order by grams desc nulls last limit 20""",
    }
    found = []
    for name, text in asked.items():
        by_rows = text.format(source="emissions", day="date")
        by_day = text.format(source=DAILY, day="date_utc")
        pair = [timed(partial(ask, root, query), rounds)[0] for query in (by_rows, by_day)]
        print(f"{name}: {pair[0]:.2f} s, by {DAILY} {pair[1]:.2f} s", flush=True)
        found.append((name, pair[0], pair[1]))
    return found


def writing(folder: Path, pods: int, rounds: int) -> dict[str, Cost]:
    """Price and write one day of energy rows: medians of each writer."""
    day = priced_day(Size(pods), FIRST_DAY)
    pq.write_table(energy_of(day.emissions), folder / "energy.parquet")
    pq.write_table(day.node_energy.select(NODES.names), folder / "nodes.parquet")
    start = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=UTC)
    write_grid(folder / "grid.csv", "DE", Window(start, start + 24 * HOUR))
    found: dict[str, list[Cost]] = {way: [] for way in WRITERS}
    for number in range(rounds):
        for way in WRITERS:
            shutil.rmtree(folder / "written", ignore_errors=True)
            one = cost(python("benchmarks.rival_writers", way, str(folder)))
            found[way].append(Cost(json.loads(one.out)["seconds"], one.cpu_seconds, one.peak_mb))
            print(f"{way}, round {number + 1}: {found[way][-1].seconds:.2f} s", flush=True)
    return {way: middle(costs) for way, costs in found.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = parser(__doc__, "three days of 1,000 pods, one round")
    options.add_argument("--days", type=int, default=DAYS)
    options.add_argument("--pods", type=int, default=PODS)
    given = options.parse_args(arguments)
    days, pods, rounds = (QUICK_DAYS, QUICK_PODS, 1) if given.quick else (given.days, given.pods, given.rounds)
    with tempfile.TemporaryDirectory(prefix="warehouse-") as temporary:
        folder = given.data or Path(temporary)
        root, native = folder / f"warehouse-{days}-{pods}", folder / f"native-{days}-{pods}.duckdb"
        if not (root / views.DATABASE).exists():
            write(root, Size(pods), days)
        if not native.exists():
            make_native(root, native)
        found, roll_up = queries(root, native, rounds), daily(root, rounds)
        written = writing(Path(temporary), pods, rounds)
        size_mb = sum(path.stat().st_size for path in root.rglob("*.parquet")) / 1e6
        sizes = (f"{run_query(root, 'select count(*) as n from emissions').to_pylist()[0]['n']:,} emissions rows: "
                 f"{size_mb:,.0f} MB of parquet, {native.stat().st_size / 1e6:,.0f} MB native.")  # fmt: skip
    goals = [Goal(f"{one.name}, times native", MOST_TIMES_NATIVE, one.ours / one.native, at_most=True) for one in found]
    goals += [Goal(f"{name}, {DAILY} over detail", MOST_OF_DETAIL, by_day / by_rows, at_most=True)
              for name, by_rows, by_day in roll_up]  # fmt: skip
    text = document(
        f"Warehouse: {days} days of {pods:,} pods", f"python -m benchmarks.warehouse --days {days} --pods {pods}",
        versions("carbon-etl", "duckdb", "pandas", "pyarrow"), [] if given.quick else goals,
        [sizes, *parts(found, roll_up, written)], rounds)  # fmt: skip
    finish(PAGE, text, quick=given.quick)


def parts(found: Sequence[Asked], roll_up: Sequence[tuple[str, float, float]], written: dict[str, Cost]) -> list[str]:
    """The tables."""
    rows = [[one.name, f"{one.ours / one.native:.2f}", f"{one.ours:.2f}", f"{one.native:.2f}", f"{one.rows:,}"]
            for one in found]  # fmt: skip
    days = [[name, f"{by_day / by_rows:.2f}", f"{by_rows:.2f}", f"{by_day:.2f}"] for name, by_rows, by_day in roll_up]
    own = written[OURS].seconds
    writers = [[way, f"{one.seconds / own:.2f}", f"{one.seconds:.2f}", f"{one.cpu_seconds:.2f}", f"{one.peak_mb:.0f}"]
               for way, one in written.items()]  # fmt: skip
    return [
        "## Shipped queries", *table(["query", "times native", "seconds", "native", "rows"], rows),
        READING,
        *(["## Roll-up by day", *table(["question", "of the detail's", "detail s", DAILY], days)] if days else []),
        "## Price and write a day", *table(["", "times ours", "seconds", "CPU s", "peak MB"], writers),
        WRITING,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
