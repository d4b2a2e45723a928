"""What the demo's tests share: reading a fleet's series, and energy by a plain loop."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, churning, mixed, restarting, simulate, steady
from pipeline.demo.meters import GpuSpec, Meters
from pipeline.demo.power import PowerCurve
from pipeline.demo.series import Series
from pipeline.demo.transport import FleetTransport

START = datetime(2026, 11, 3, 10, tzinfo=UTC)


def _series_of(fleet: Fleet, selector: str) -> list[Series]:
    found = []
    for block in FleetTransport(fleet).blocks(selector, 0, 2**62):
        for index, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[index], block.offsets[index + 1])
            present = {name: value for name, value in labels.items() if value is not None}
            found.append(Series(present, block.stamps_ms[own], block.values[own]))
    return found


def _looped_joules(curve: PowerCurve, begin_ms: float, end_ms: float) -> float:
    """Energy piece by piece from the powers, without any cumulative sum."""
    total = 0.0
    for left, right, watts in zip(curve.edges_ms, curve.edges_ms[1:], curve.watts, strict=False):
        total += watts * max(0.0, min(end_ms, right) - max(begin_ms, left)) / 1000
    return total


@pytest.fixture(scope="session")
def series_of() -> Callable[[Fleet, str], list[Series]]:
    """All series of a fleet that match a selector."""
    return _series_of


@pytest.fixture(scope="session")
def looped_joules() -> Callable[[PowerCurve, float, float], float]:
    """Energy of a curve between two instants by an independent loop."""
    return _looped_joules


@pytest.fixture(scope="session")
def steady_fleet() -> Fleet:
    return simulate(steady(seed=3, start=START, hours=3, nodes=2, pods_per_node=5))


@pytest.fixture(scope="session")
def churning_fleet() -> Fleet:
    return simulate(churning(seed=4, start=START, hours=3, nodes=2, pods_per_node=5))


@pytest.fixture(scope="session")
def restarting_fleet() -> Fleet:
    return simulate(restarting(seed=5, start=START, hours=6, nodes=2, pods_per_node=5))


@pytest.fixture(scope="session")
def restart_gaps() -> Callable[[Fleet, int], list[tuple[int, int, int]]]:
    """For one node, each restart that samples show: index of the last scrape before, of the first after, its start."""

    def gaps(fleet: Fleet, number: int) -> list[tuple[int, int, int]]:
        node = fleet.nodes[number]
        starts = np.array([start for start, _ in node.kepler_runs_ms])
        epoch = np.searchsorted(starts, node.scrapes_ms, side="right") - 1
        changed = np.flatnonzero(np.diff(epoch)) + 1
        return [(int(i) - 1, int(i), int(starts[epoch[i]])) for i in changed]

    return gaps


@pytest.fixture(scope="session")
def mixed_fleet() -> Fleet:
    return simulate(mixed(seed=7, start=START, hours=3))


def _lone(meters: Meters, boards: tuple[GpuSpec, ...] = (), sockets: int = 1, **changes: object) -> Fleet:
    spec = FleetSpec(5, START, 3, sockets=(sockets,), pods_per_node=4, jobs_per_hour=8.0, gpus=(boards,))
    return simulate(replace(spec, meters=(meters,), **changes))  # type: ignore[arg-type] # names of its fields


@pytest.fixture(scope="session")
def lone() -> Callable[..., Fleet]:
    """Makes a fleet of one node with these meters, GPUs and sockets; more fields of the spec by name."""
    return _lone
