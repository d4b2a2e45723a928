"""Servers that hold one fleet between them."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, churning
from pipeline.demo.openmetrics import HasBlocks, fill_blocks
from pipeline.demo.replicas import Merged, replicas
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.demo.spec import Replica
from pipeline.site import Site
from pipeline.units import MS_PER_MINUTE
from tests.conftest import RealClock
from tests.servers.several import DOWN_MS, HOURS, SLOW_MS, START, Serve, entry, site_of


@pytest.fixture(scope="session")
def serve(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[Serve]:
    """Starts a Prometheus with a fleet's samples; all end with the session."""
    with ExitStack() as stack:

        def start(fleet: HasBlocks) -> RunningServer:
            data = tmp_path_factory.mktemp("server") / "data"
            fill_blocks(fleet, prometheus_binary.promtool, data)
            return stack.enter_context(start_prometheus(prometheus_binary, data, free_port(), clock))

        yield start


@pytest.fixture(scope="session")
def spec() -> FleetSpec:
    return replace(churning(7, START, HOURS, nodes=2, pods_per_node=4), jobs_per_hour=40.0, missed_scrape_ratio=0.01)


@pytest.fixture(scope="session")
def fleets(spec: FleetSpec) -> tuple[Fleet, ...]:
    """Two replicas: the second's clock is 2 s slow, the first is down for half an hour."""
    return replicas(spec, Replica(1, downtimes_ms=(DOWN_MS,)), Replica(2, clock_ms=SLOW_MS))


@pytest.fixture(scope="session")
def pair(fleets: tuple[Fleet, ...], serve: Serve) -> list[str]:
    return [serve(fleet).url for fleet in fleets]


@pytest.fixture
def of_pair(pair: list[str], tmp_path: Path, clock: RealClock) -> Site:
    return site_of(tmp_path, [entry(url, "a") for url in pair], clock)


@pytest.fixture(scope="session")
def merged_fleet(spec: FleetSpec) -> Merged:
    """Turns every 11 minutes from a slow clock to a right one, or back; half of the turns go back in time."""
    slow = Replica(1, clock_ms=SLOW_MS, phase_ms=5_000)
    right = Replica(2, phase_ms=3_500)
    turns = [minute * MS_PER_MINUTE + 3_250 for minute in range(-10, 60 * HOURS + 10, 11)]
    return Merged(replicas(replace(spec, missed_scrape_ratio=0.0), slow, right), turns)


@pytest.fixture(scope="session")
def merged(merged_fleet: Merged, serve: Serve) -> str:
    return serve(merged_fleet).url
