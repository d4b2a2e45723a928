"""Two simulated clusters over fifteen days in real Prometheus servers, put through the pipeline into a store.

Everything is dated, so that the same commit draws the same pages. The grid's figures are estimates for a day and settle
then, some hours have none, and one node keeps still for a while.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pipeline.config import load
from pipeline.demo.binaries import find_prometheus
from pipeline.demo.fleet import Fleet, FleetSpec, demo_fleet, mixed, simulate
from pipeline.demo.grid import intensity_g_per_kwh
from pipeline.demo.meters import GpuSpec
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import free_port, start_prometheus
from pipeline.job import Job
from pipeline.run import run
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window
from tests.clocks import FixedClock
from tests.prices.stored import learn, vintage

END = datetime(2026, 11, 16, tzinfo=UTC)
DAYS, LABORATORY_DAYS = 15, 8  # the second began a week ago
WINDOW = Window(END - timedelta(days=DAYS), END)
SETTLING = END - timedelta(days=4)  # from here on a run meets estimates of the day before it
NOW = END + timedelta(minutes=40)
FIRST_RUN = SETTLING + timedelta(days=1, minutes=14)
RUNS = tuple(FIRST_RUN + timedelta(hours=hours) for hours in range(0, 73, 12))
SCRAPE_SECONDS = 180
MARGINAL_ZONE = "CAISO_NORTH"
UNPRICED = Window(END - timedelta(days=6), END - timedelta(days=6) + 9 * HOUR)
CONFIG = """\
[warehouse]
path = "{folder}/warehouse"
[intensity]
providers = ["csv"]
csv = {{ path = "{folder}/grid.csv" }}
[marginal]
zones = {{ lab-us = "{marginal}" }}
[http]
retry_seconds = 10
[[remote_write]]
name = "carbon"
url = "{store}/api/v1/write"
"""
CLUSTER = """\
[[clusters]]
name = "{name}"
prometheus_url = "{url}"
grid_zone = "{zone}"
pue = {pue}
meters = {meters}
"""


class Place(NamedTuple):
    """Where a cluster stands, and what its grid has of the demo's intensity."""

    zone: str
    grid_share: float
    pue: float
    meters: str


PLACES = {
    "prod-eu": Place("DE", 1.0, 1.25, '["kepler"]'),
    "lab-us": Place("US-CAL-CISO", 0.6, 1.6, '["scaphandre", "kepler", "kepler_legacy"]'),
}


def _specs() -> tuple[FleetSpec, FleetSpec]:
    """A production cluster with Kepler, a laboratory with every meter."""
    laboratory = mixed(7, END - timedelta(days=LABORATORY_DAYS), LABORATORY_DAYS * 24, pods_per_node=3)
    both = (
        replace(demo_fleet(END), cluster="prod-eu", start=WINDOW.start, hours=DAYS * 24, silences=1),
        replace(laboratory, cluster="lab-us", jobs_per_hour=0.5, gpus=((), (), (GpuSpec(),))),
    )
    first, second = (replace(s, scrape_seconds=SCRAPE_SECONDS, ksm_scrape_seconds=SCRAPE_SECONDS) for s in both)
    return first, second


def _write_grid(path: Path, now: datetime) -> None:
    """The grid's hours as they are known by then: estimated for a day, and then some other figure."""
    lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh,quality,basis"]
    for place in PLACES.values():
        for hour in WINDOW.hours():
            if hour in UNPRICED.hours():
                continue
            estimated = hour >= max(SETTLING, now - timedelta(days=1))
            figure = intensity_g_per_kwh(hour) * place.grid_share * (1.12 if estimated else 1.0)
            quality = "estimated" if estimated else "measured"
            lines.append(
                f"{place.zone},{hour.isoformat()},{(hour + HOUR).isoformat()},{figure:.1f},{quality},consumption"
            )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _learn_marginal(warehouse: Warehouse) -> None:
    """What one more kWh would have caused, for one of the clusters: gas, and less of it at noon."""
    told = {"provider": "watttime", "zone": MARGINAL_ZONE, "signal": "marginal", "quality": "measured"}
    figures = ((hour, 300.0 + 0.4 * intensity_g_per_kwh(hour)) for hour in WINDOW.hours())
    learn(warehouse, *(vintage(hour, figure, FIRST_RUN) | told for hour, figure in figures))


@contextmanager
def filled_store(folder: Path) -> Iterator[str]:
    """Address of a Prometheus that the pipeline has published both clusters to, run after run.

    Raises:
        CarbonEtlError: as the pipeline itself.
    """
    binary, clock = find_prometheus(folder / "cache", os.environ.get("PATH", "")), FixedClock(FIRST_RUN)
    with ExitStack() as servers:

        def serve(name: str, fleet: Fleet | None = None) -> str:
            if fleet is not None:
                fill_blocks(fleet, binary.promtool, folder / name)
            return servers.enter_context(start_prometheus(binary, folder / name, free_port(), clock)).url

        fleets = [simulate(spec) for spec in _specs()]
        urls = {fleet.spec.cluster: serve(fleet.spec.cluster, fleet) for fleet in fleets}
        store, config = serve("store"), folder / "carbon-etl.toml"
        clusters = (CLUSTER.format(name=name, url=url, **PLACES[name]._asdict()) for name, url in urls.items())
        common = CONFIG.format(folder=folder, store=store, marginal=MARGINAL_ZONE)
        config.write_text("\n".join([common, *clusters]), encoding="utf-8")
        _learn_marginal(Warehouse(folder / "warehouse"))
        for clock.moment in RUNS:
            _write_grid(folder / "grid.csv", clock.now())
            report = run(Job(load(config, {}), os.environ, clock), list(urls), None)
            for error in report.errors:
                raise error
        yield store
