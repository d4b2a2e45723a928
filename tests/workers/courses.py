"""A day and its neighbours, backfilled twice, and how two such courses compare."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.config import load
from pipeline.demo.servers import RunningServer
from pipeline.job import Job, Workers
from pipeline.report import ClusterOutcome, RunReport
from pipeline.run import run
from pipeline.sinks.sql import run_query
from pipeline.terminal import SystemEnvironment
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.workers.worker_traps import CLUSTER

START = datetime(2026, 11, 1, 22, tzinfo=UTC)
LONG = Window(START, START + 27 * HOUR)  # two hours, a whole day, one hour
SHORT = Window(START, START + 4 * HOUR)  # two hours of each of two days
FIRST_DAY, WHOLE_DAY, LAST_DAY = "2026-11-01", "2026-11-02", "2026-11-03"
NOW = LONG.end + timedelta(hours=1)
TABLES = {
    "emissions": "select * exclude (run_id) from emissions order by all",
    "node_energy": "select * exclude (run_id) from node_energy order by all",
    "processes": "select * exclude (run_id) from processes order by all",
    "quarantine": "select * exclude (run_id, written_date) from quarantine order by all",
    "hours": "select hour_utc, state, revision, reason from hours where store is null order by all",
    "revisions": "select * exclude (run_id, written_utc, written_date) from revisions order by all",
}

Figures = dict[str, pa.Table]


@dataclass(frozen=True)
class Course:
    """Two backfills: what the tables held after each, and what each told of the cluster."""

    figures: tuple[Figures, Figures]
    told: tuple[dict[str, object], dict[str, object]]


def backfill(window: Window, *more: str) -> tuple[str, ...]:
    """The command line."""
    return ("backfill", "--start", f"{window.start:%FT%H:%MZ}", "--end", f"{window.end:%FT%H:%MZ}", "--json", *more)


def configured(server: RunningServer, folder: Path, more: str = "") -> Path:
    """A configuration whose grid has another figure each hour."""
    lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh"]
    for index, hour in enumerate(LONG.hours()):
        lines.append(f"XX,{hour.isoformat()},{(hour + HOUR).isoformat()},{100 + 3.5 * index}")
    (folder / "grid.csv").write_text("\n".join(lines) + "\n")
    config = folder / "carbon-etl.toml"
    config.write_text(f"""
[warehouse]
path = "{folder / "warehouse"}"
[[clusters]]
name = "{CLUSTER}"
prometheus_url = "{server.url}"
grid_zone = "XX"
pue = 1.25
[intensity]
providers = ["csv"]
csv = {{ path = "{folder / "grid.csv"}" }}
[http]
retry_seconds = 0
{more}""")
    return config


def change_the_grid(folder: Path) -> None:
    """Another figure for an hour of each day."""
    text = (folder / "grid.csv").read_text()
    for old, new in ((",103.5", ",203.5"), (",107.0", ",50.0"), (",191.0", ",1.0")):
        assert old in text
        text = text.replace(old, new)
    (folder / "grid.csv").write_text(text)


def done(config: Path, workers: Workers, window: Window = SHORT, now: datetime = NOW, **more: object) -> RunReport:
    job = Job(load(config, {}), SystemEnvironment(), FixedClock(now), workers=workers, **more)  # type: ignore[arg-type]
    return run(job, [CLUSTER], window)


def course(server: RunningServer, folder: Path, workers: Workers, window: Window) -> Course:
    """A first backfill, and one after the grid's figures changed."""
    config = configured(server, folder)
    first = done(config, workers, window)
    assert (first.exit_code, first.clusters[0].states) == (0, {"complete": window.hour_count}), first.summary()
    before = figures(folder)
    change_the_grid(folder)
    second = done(config, workers, window, NOW + timedelta(minutes=5))
    changed = 3 if window == LONG else 2
    assert (second.exit_code, second.clusters[0].hours_rewritten) == (0, changed), second.summary()
    return Course((before, figures(folder)), (told(first.clusters[0]), told(second.clusters[0])))


def figures(folder: Path) -> Figures:
    return {name: run_query(folder / "warehouse", query) for name, query in TABLES.items()}


def told(outcome: ClusterOutcome) -> dict[str, object]:
    return {name: value for name, value in vars(outcome).items() if name != "stores"}


def assert_equal(mine: Figures, theirs: Figures) -> None:
    """Cell by cell, every digit: nothing may depend on who ended first."""
    for name in TABLES:
        assert mine[name].equals(theirs[name]), name
    assert mine["emissions"].num_rows > 40


def assert_same_course(mine: Course, theirs: Course) -> None:
    for before, after in zip(mine.figures, theirs.figures, strict=True):
        assert_equal(before, after)
    assert mine.figures[1]["revisions"].num_rows > 10
    assert mine.told == theirs.told
