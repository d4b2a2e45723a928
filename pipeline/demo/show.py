"""`carbon-etl demo`: two simulated days in a real Prometheus, then the product itself, then what it found."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table

from pipeline.books.periods import Period
from pipeline.config import load
from pipeline.demo.binaries import find_prometheus
from pipeline.demo.fleet import simulate
from pipeline.demo.grid import write_grid
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import RunningServer, free_port, start_prometheus
from pipeline.demo.spec import demo_fleet
from pipeline.errors import ConfigError
from pipeline.job import Job
from pipeline.period_report.formats import FORMATS, write_whole
from pipeline.period_report.gathering import gather
from pipeline.plan import last_closed
from pipeline.run import run
from pipeline.sinks.sql import run_query
from pipeline.window import HOUR, Clock, Window

MARKER = ".carbon-etl-demo"
REPORT = "report.html"
ZONE = "DEMO"
CONFIG = """\
# Written by `carbon-etl demo`. The grid intensity is made up; everything else is what a real cluster would use.
[warehouse]
path = "{warehouse}"

[[clusters]]
name = "demo"
prometheus_url = "{url}"
grid_zone = "{zone}"
pue = 1.25

[intensity]
providers = ["csv"]
[intensity.csv]
path = "{grid}"

[teams]
csv = "{teams}"

[[remote_write]]
name = "demo-prometheus"
url = "{url}/api/v1/write"
"""
TEAMS = """\
namespace,team
shop,storefront
llm,ai
batch,ai
monitoring,platform
kube-system,platform
(system),platform
(idle),platform
"""
AMOUNTS = """
select {name}, sum(energy_joules) / 3.6e6 as it_kwh, sum(facility_energy_kwh) as facility_kwh,
       sum(emissions_gco2e) as gco2e
from emissions_by_team group by all order by gco2e desc, {name}
"""
TOP_WORKLOADS = """
select namespace, workload_kind, workload, sum(energy_joules) / 3.6e6 as it_kwh, sum(emissions_gco2e) as gco2e
from emissions where kind = 'workload' group by all order by gco2e desc, workload limit 5
"""
BAR_WIDTH = 24


def show(folder: Path, *, keep: bool, env: Mapping[str, str], clock: Clock, console: Console) -> None:
    """Make the demo in `folder` (emptied first, if it is a demo's) and print what it shows.

    Raises:
        ConfigError: the folder holds something else, or no Prometheus can be found.
        CarbonEtlError: as the pipeline itself.
    """
    began = clock.monotonic()
    folder = _fresh(folder)

    def step(text: str) -> None:
        console.print(f"[dim]{clock.monotonic() - began:5.1f} s[/dim]  {text}", soft_wrap=True)

    binary = find_prometheus(_cache(env), env.get("PATH", ""))
    step(f"Prometheus: {binary.prometheus}")
    end = last_closed(clock.now(), 13 * HOUR / 60)
    fleet = simulate(demo_fleet(end))
    count = fill_blocks(fleet, binary.promtool, folder / "prometheus")
    window = Window(end - 48 * HOUR, end)
    step(f"{count:,} samples of three simulated nodes: {window}")
    with start_prometheus(binary, folder / "prometheus", free_port(), clock) as server:
        config = _configure(folder, server, window)
        step(f"a Prometheus with them at {server.url}")
        report = run(Job(load(config, env), env, clock), ["demo"], window)
        step("the pipeline: read, fold, reconcile, price, write, publish")
        _report(folder, Window(end - 24 * HOUR, end), clock)
        step("the report of the second day against the first")
        console.print()
        console.print(
            _amounts(folder / "warehouse", "team", "who answers for it, by teams.csv; (idle) is the platform's")
        )
        console.print(_amounts(folder / "warehouse", "namespace", "(system): host outside pods; (idle): nobody's"))
        console.print(_workloads(folder / "warehouse"))
        for line in report.summary():
            console.print(line, markup=False, soft_wrap=True)
        for error in report.errors:
            raise error
        _say_where(console, folder, server, keep=keep)
        if keep:
            _wait(server, clock.sleep)


def _fresh(folder: Path) -> Path:
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).exists():
        raise ConfigError(f"{folder} is not empty and no demo of ours: pass another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    return folder


def _cache(env: Mapping[str, str]) -> Path:
    base = env.get("XDG_CACHE_HOME") or (Path(env["HOME"]) / ".cache" if env.get("HOME") else Path(".cache"))
    return Path(base) / "carbon-etl"


def _configure(folder: Path, server: RunningServer, window: Window) -> Path:
    grid, teams, config = folder / "grid.csv", folder / "teams.csv", folder / "carbon-etl.toml"
    write_grid(grid, ZONE, window)
    teams.write_text(TEAMS, encoding="utf-8")
    places = {"warehouse": folder / "warehouse", "url": server.url, "zone": ZONE, "grid": grid, "teams": teams}
    config.write_text(CONFIG.format_map(places), encoding="utf-8")
    return config


def _amounts(warehouse: Path, name: str, caption: str) -> Table:
    rows = run_query(warehouse, AMOUNTS.format(name=name)).to_pylist()
    most = max((row["gco2e"] for row in rows), default=1.0)
    title = f"Two days by {name}"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column(name)
    for amount in ("IT kWh", "facility kWh", "gCO2e"):
        table.add_column(amount, justify="right")
    table.add_column("", no_wrap=True)
    for row in rows:
        bar = "█" * max(1, round(BAR_WIDTH * row["gco2e"] / most))
        numbers = (f"{row['it_kwh']:.3f}", f"{row['facility_kwh']:.3f}", f"{row['gco2e']:,.1f}")
        table.add_row(row[name], *numbers, bar, style="dim" if row[name].startswith("(") else None)
    sums = [pc.sum(pa.array([row[amount] for row in rows])).as_py() for amount in ("it_kwh", "facility_kwh", "gco2e")]
    table.add_section()
    table.add_row("all", f"{sums[0]:.3f}", f"{sums[1]:.3f}", f"{sums[2]:,.1f}", "", style="bold")
    return table


def _workloads(warehouse: Path) -> Table:
    table = Table(title="Its heaviest workloads", title_justify="left")
    for name in ("namespace", "kind", "workload"):
        table.add_column(name)
    for name in ("IT kWh", "gCO2e"):
        table.add_column(name, justify="right")
    for row in run_query(warehouse, TOP_WORKLOADS).to_pylist():
        table.add_row(
            row["namespace"], row["workload_kind"], row["workload"], f"{row['it_kwh']:.3f}", f"{row['gco2e']:,.1f}"
        )
    return table


def _report(folder: Path, day: Window, clock: Clock) -> None:
    figures = gather(folder / "warehouse", Period("demo", day), None, ["demo"], clock.now())
    write_whole(folder / REPORT, FORMATS["html"](figures))


def _say_where(console: Console, folder: Path, server: RunningServer, *, keep: bool) -> None:
    config = folder / "carbon-etl.toml"
    places = {
        "report": f"{folder / REPORT} (open it in a browser)",
        "parquet": folder / "warehouse",
        "DuckDB views": folder / "warehouse" / "carbon.duckdb",
        "config": config,
        "Prometheus": f"{server.url} (until Ctrl-C)"
        if keep
        else f"stopped; --keep leaves it up; data in {folder / 'prometheus'}",
        "dashboards": f"carbon-etl dashboards push --config {config} --url http://your-grafana, or export",
        "questions": f"carbon-etl sql --config {config} --list, then by name: chargeback, idle_share, what_changed ...",
    }
    console.print()
    for name, place in places.items():
        console.print(f"  {name:<13}{place}", markup=False, soft_wrap=True)


def _wait(server: RunningServer, sleep: Callable[[float], None]) -> None:
    """Until the person presses Ctrl-C or the server ends."""
    while server.process.poll() is None:
        try:
            sleep(0.5)
        except KeyboardInterrupt:
            return
