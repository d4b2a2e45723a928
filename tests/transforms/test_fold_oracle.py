"""The columnar fold says what a plain loop with exact fractions says, on whole fleets and on hostile little counters."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import Fleet, FleetSpec, churning, outages, restarting, simulate, steady
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Transport
from pipeline.sources.meters import kepler
from pipeline.transforms.energy import Energy, FoldRules, fold
from pipeline.transforms.owners import Owners
from pipeline.units import MS_PER_MINUTE
from pipeline.window import EPOCH, HOUR, Window, to_ms
from tests.transforms.oracle import HOUR_MS, NodeHour, Result, loop

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
GAP_MS = 10 * MS_PER_MINUTE
ENOUGH_DIGITS = 1e-9
LEAST_JOULES = 1e-6  # differences of counters near 3e5 J carry their rounding: 1e-9 of a smaller figure cannot be asked for


def everything(seed: int, start: datetime, hours: int) -> FleetSpec:
    """All traps at once."""
    calm = outages(seed, start, hours, nodes=2, pods_per_node=3)
    return replace(
        calm, rollout_ratio=0.5, jobs_per_hour=12.0, crash_loops=2, late_name_ratio=0.4,
        kepler_restarts=max(hours, 2), double_restarts=1, dram_resets=2,
    )  # fmt: skip


def folded(
    transport: Transport, window: Window, max_gap_ms: int, step_minutes: int, started_ms: Mapping[str, int]
) -> Energy:
    samples = kepler.read(transport, (), window.start_ms - max_gap_ms - 1, window.end_ms + max_gap_ms)
    rules = FoldRules("demo", max_gap_ms, step_minutes)
    return fold(samples, window, rules, Owners([], [], []), dict(started_ms), None)


def assert_near(found: float, exact: object, scale: float, what: object) -> None:
    assert math.isclose(found, float(exact), rel_tol=ENOUGH_DIGITS, abs_tol=ENOUGH_DIGITS * scale + 1e-12), (  # type: ignore[arg-type] # a Fraction
        what, found, exact,
    )  # fmt: skip


def assert_equal(energy: Energy, exact: Result, step_minutes: int) -> None:
    rows, withheld = energy.rows.to_pylist(), energy.withheld.to_pylist()
    pods = {(*place(row), row["pod_uid"]): row for row in rows if row["kind"] == "workload"}
    assert pods.keys() == exact.pods.keys()
    for key, row in pods.items():
        scale = float(sum(exact.nodes[key[:3]].active)) + LEAST_JOULES
        steps = row["step_joules"] if step_minutes < 60 else [row["energy_joules"]]
        for found, wanted in zip(steps, exact.pods[key], strict=True):
            assert_near(found, wanted, scale, key)
    held = {(*place(row), row["pod_uid"]): row["energy_joules"] for row in withheld}
    assert held.keys() == exact.withheld.keys()
    for key, joules in held.items():
        assert_near(joules, sum(exact.withheld[key]), float(sum(exact.withheld[key])) + LEAST_JOULES, key)
    assert_nodes_equal(energy, exact.nodes)


def assert_nodes_equal(energy: Energy, exact: Mapping[tuple[int, str, str], NodeHour]) -> None:
    nodes = {place(row): row for row in energy.nodes.to_pylist()}
    assert nodes.keys() == exact.keys()
    for key, row in nodes.items():
        wanted = exact[key]
        metered = float(sum(wanted.active) + sum(wanted.idle))
        if wanted.coverage == 0:
            assert row["metered_joules"] is None
        else:
            scale = metered + LEAST_JOULES
            assert_near(row["metered_joules"], metered, scale, key)
            assert_near(row["idle_joules"], sum(wanted.idle), scale, key)
            assert_near(row["system_joules"], sum(wanted.system), scale, key)
            assert_near(row["bridged_joules"], sum(wanted.bridged), scale, key)
            assert_near(row["workload_scale"], wanted.scale, 1.0, key)
        assert_near(row["coverage_ratio"], wanted.coverage, 1.0, key)
        assert row["resets"] == wanted.resets, key
        assert (row["check"] is not None) == wanted.withheld, key
        assert (row["unplaced_joules"] is None) == (wanted.unplaced is None), (key, row["unplaced_joules"])
        if wanted.unplaced is not None:
            assert_near(row["unplaced_joules"], wanted.unplaced, float(wanted.unplaced) + LEAST_JOULES, key)


def place(row: Mapping[str, object]) -> tuple[int, str, str]:
    hour = row["hour_utc"]
    assert isinstance(hour, datetime)
    return to_ms(hour), str(row["node"]), str(row["component"])


def started(fleet: Fleet) -> dict[str, int]:
    return {pod.uid: fleet.spec.start_ms + pod.created_ms for pod in fleet.pods}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(
    ("make", "step_minutes", "max_gap_minutes"),
    [(steady, 60, 10), (churning, 15, 10), (restarting, 30, 5), (outages, 5, 10), (everything, 15, 10)],
)
def test_the_fold_of_a_fleet_is_the_plain_loop(
    make: type[FleetSpec], step_minutes: int, max_gap_minutes: int, seed: int
) -> None:
    options = {} if make is everything else {"nodes": 2, "pods_per_node": 3}
    fleet = simulate(make(seed, START, 2, **options))
    transport, gap_ms = FleetTransport(fleet), max_gap_minutes * MS_PER_MINUTE
    energy = folded(transport, fleet.spec.window, gap_ms, step_minutes, started(fleet))
    exact = loop(transport, fleet.spec.window, gap_ms, step_minutes * MS_PER_MINUTE, started(fleet))
    assert energy.rows.num_rows > 20
    assert_equal(energy, exact, step_minutes)
