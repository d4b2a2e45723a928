"""One day of a churning fleet in a real Prometheus, and the whole product run over it once."""

import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.config import load
from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import (
    PrometheusBinary,
    RunningServer,
    free_port,
    start_prometheus,
    start_victoria_metrics,
)
from pipeline.job import Job
from pipeline.report import RunReport
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock

DAY = datetime(2026, 11, 3, tzinfo=UTC)
WINDOW = Window(DAY, DAY + 24 * HOUR)
PUE = 1.25
ZONE = "XX"
CLUSTER = "e2e"


def intensity_g_per_kwh(hour: datetime) -> float:
    """The grid of the tests: another figure each hour."""
    return 100.0 + 13.0 * hour.hour


def write_config(folder: Path, prometheus: str, stores: dict[str, str]) -> Path:
    """A configuration with an hourly CSV grid, in `folder`."""
    lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh"]
    for index in range(24):
        hour = DAY + index * HOUR
        lines.append(f"{ZONE},{hour.isoformat()},{(hour + HOUR).isoformat()},{intensity_g_per_kwh(hour)}")
    (folder / "grid.csv").write_text("\n".join(lines) + "\n")
    config = folder / "carbon-etl.toml"
    written = "".join(
        f'[[remote_write]]\nname = "{name}"\nurl = "{url}/api/v1/write"\n' for name, url in stores.items()
    )
    config.write_text(f"""
[warehouse]
path = "{folder / "warehouse"}"
[[clusters]]
name = "{CLUSTER}"
prometheus_url = "{prometheus}"
grid_zone = "{ZONE}"
pue = {PUE}
[intensity]
providers = ["csv"]
csv = {{ path = "{folder / "grid.csv"}" }}
[http]
retry_seconds = 5
{written}""")
    return config


RUNS = itertools.count(1)


def job(settings: Settings, now: datetime) -> Job:
    """A run of those settings at about that moment: no two at the same, or their own series would clash."""
    return Job(settings, os.environ, FixedClock(now + timedelta(seconds=next(RUNS))))


@dataclass(frozen=True)
class PublishedDay:
    """A day as the product left it."""

    fleet: Fleet
    prometheus: RunningServer
    victoria: RunningServer
    settings: Settings
    config: Path
    report: RunReport
    now: datetime

    @property
    def warehouse(self) -> Path:
        return Path(self.settings.warehouse.path)

    @property
    def stores(self) -> dict[str, str]:
        return {"prometheus": self.prometheus.url, "victoria": self.victoria.url}


@pytest.fixture(scope="session")
def day_fleet() -> Fleet:
    """Two nodes, one day, jobs and rollouts, one exporter restart; scraped every minute."""
    spec = churning(seed=5, start=DAY, hours=24, nodes=2, pods_per_node=4)
    return simulate(replace(spec, scrape_seconds=60, jobs_per_hour=4.0, kepler_restarts=1))


@pytest.fixture(scope="session")
def published_day(
    day_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PublishedDay]:
    """The day backfilled, priced and published to Prometheus and VictoriaMetrics."""
    folder = tmp_path_factory.mktemp("day")
    fill_blocks(day_fleet, prometheus_binary.promtool, folder / "prometheus")
    now = WINDOW.end + timedelta(minutes=13)
    clock = FixedClock(now)
    program = shutil.which("victoria-metrics")
    assert program, "victoria-metrics is not on PATH: apt-get install victoria-metrics"
    with (
        start_prometheus(prometheus_binary, folder / "prometheus", free_port(), clock, out_of_order="5y") as server,
        start_victoria_metrics(Path(program), folder / "victoria", free_port(), clock) as victoria,
    ):
        config = write_config(folder, server.url, {"prometheus": server.url, "victoria": victoria.url})
        settings = load(config, {})
        report = run(job(settings, now), [CLUSTER], WINDOW)
        yield PublishedDay(day_fleet, server, victoria, settings, config, report, now)
