"""The columnar fold says what a plain loop with exact fractions says, on whole fleets and on hostile counters."""

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, churning, outages, restarting, simulate, steady
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, Transport
from pipeline.sources.meters import kepler
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_MINUTE
from pipeline.window import HOUR, Window, to_ms
from tests.transforms.made import unowned
from tests.transforms.oracle import NodeHour, Result, loop

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
GAP_MS = 10 * MS_PER_MINUTE
STEP_MINUTES = (60, 30, 15, 5)
ENOUGH_DIGITS = 1e-9
LEAST_JOULES = (
    1e-6  # differences of counters near 3e5 J carry their rounding: 1e-9 of a smaller figure cannot be asked for
)


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
    return fold(samples, window, rules, unowned(window), dict(started_ms), None)


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


@pytest.mark.parametrize("seed", range(1, 6))
@pytest.mark.parametrize(
    ("make", "step_minutes", "max_gap_minutes"),
    [(steady, 60, 10), (churning, 15, 10), (restarting, 30, 5), (outages, 5, 10), (everything, 15, 10)],
)
def test_the_fold_of_a_fleet_is_the_plain_loop(
    make: Callable[..., FleetSpec], step_minutes: int, max_gap_minutes: int, seed: int
) -> None:
    options = {} if make is everything else {"nodes": 2, "pods_per_node": 3}
    fleet = simulate(make(seed, START, 2, **options))
    transport, gap_ms = FleetTransport(fleet), max_gap_minutes * MS_PER_MINUTE
    energy = folded(transport, fleet.spec.window, gap_ms, step_minutes, started(fleet))
    exact = loop(transport, fleet.spec.window, gap_ms, step_minutes * MS_PER_MINUTE, started(fleet))
    assert energy.rows.num_rows > 20
    assert_equal(energy, exact, step_minutes)


SPACINGS_MS = (15_000, 30_000, 30_017, 60_000, 299_999, GAP_MS, GAP_MS + 1, 720_000)
RANGE_JOULES = 65_532.610987


class InMemory:
    """Series by metric, as a `Transport` for the selectors that the meter writes."""

    def __init__(self) -> None:
        self.metrics: dict[str, list[Series]] = {}

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        for series in self.metrics.get(selector.split("{", maxsplit=1)[0], []):
            inside = (series.stamps_ms >= start_ms) & (series.stamps_ms <= end_ms)
            if inside.any():
                yield block_of([Series(series.labels, series.stamps_ms[inside], series.values[inside])])

    def put(self, metric: str, labels: dict[str, str], stamps: list[int], values: list[float]) -> None:
        columns = np.array(stamps, dtype=np.int64), np.array(values, dtype=np.float64)
        self.metrics.setdefault(metric, []).append(Series({METRIC: metric} | labels, *columns))


class Hostile(InMemory):
    """Counters of one or two nodes with everything that may go wrong.

    `torn`: a node's counters may miss a scrape, or be NaN in it, one without the other.
    """

    def __init__(self, seed: int, *, torn: bool) -> None:
        super().__init__()
        self.rng = random.Random(seed)  # noqa: S311 # no secret
        self.torn = torn
        self.started_ms: dict[str, int] = {}
        for node in ("n1", "n2")[: self.rng.randint(1, 2)]:
            stamps = self._stamps()
            pods = [f"{node}-{number}" for number in range(self.rng.randint(0, 4))]
            for zone in ("package", "dram")[: self.rng.randint(1, 2)]:
                self._node(node, zone, stamps)
                for pod in pods:
                    self._pod(node, zone, pod, stamps)
            self.started_ms |= {
                pod: self.rng.choice(stamps) - self.rng.choice((0, 60_000, GAP_MS)) for pod in pods[::2]
            }

    def _stamps(self) -> list[int]:
        stamp = to_ms(START) - GAP_MS - self.rng.randint(-30_000, 30_000)
        stamps: list[int] = []
        while len(stamps) < 30 and stamp < to_ms(START) + 2 * 3_600_000 + 2 * GAP_MS:
            stamps.append(stamp)
            stamp += self.rng.choice(SPACINGS_MS)
        return stamps

    def _counter(self, stamps: list[int], watts: float, nan_ratio: float = 0.02) -> list[float]:
        """Rises at up to about `watts`, stands still, falls to something small, is NaN."""
        value, values, last = self.rng.uniform(0, 500), [], stamps[0]
        for stamp in stamps:
            rise = watts * self.rng.uniform(0, 1) * (stamp - last) / 1000
            event = self.rng.random()
            value = self.rng.uniform(0, 1) * rise if event < 0.1 else value if event < 0.2 else value + rise
            values.append(math.nan if event > 1 - nan_ratio else value)
            last = stamp
        return values

    def _put(self, metric: str, labels: dict[str, str], stamps: list[int], values: list[float], *, torn: bool) -> None:
        missed_ratio = 0.05 if torn else 0.0
        kept = [pair for pair in zip(stamps, values, strict=True) if self.rng.random() >= missed_ratio]
        if kept:
            self.put(metric, labels, [stamp for stamp, _ in kept], [value for _, value in kept])

    def _node(self, node: str, zone: str, stamps: list[int]) -> None:
        labels = {"node_name": node, "zone": zone}
        nan_ratio = 0.02 if self.torn else 0.0
        for metric, watts in ((kepler.ACTIVE, 120.0), (kepler.IDLE, 60.0)):
            self._put(metric, labels, stamps, self._counter(stamps, watts, nan_ratio), torn=self.torn)
        self._put(kepler.RAW, labels, stamps, [v % RANGE_JOULES for v in self._counter(stamps, 180.0)], torn=True)

    def _pod(self, node: str, zone: str, pod: str, stamps: list[int]) -> None:
        """One pod that lives for some of the scrapes, under up to three label sets."""
        first = self.rng.choice((0, 3, 4, 9, 10)) % len(stamps)  # few, so that pods are born together
        lived = stamps[first : first + self.rng.randint(1, len(stamps))]
        values = self._counter(lived, self.rng.choice((5.0, 30.0, 90.0)))
        born = self.rng.choice((0.0, self.rng.uniform(0, 1_500), self.rng.uniform(0, 20_000)))
        values = [value - values[0] + born if value >= values[0] else value for value in values]
        for state in ("running", "terminated", "running"):
            labels = {"node_name": node, "zone": zone, "pod_id": pod, "state": state}
            named = {"pod_name": pod, "pod_namespace": "shop"} if self.rng.random() < 0.7 else {}
            if self.rng.random() < 0.6:
                self._put(kepler.PODS, labels | named, lived, values, torn=True)
            cut = self.rng.randrange(len(lived))
            lived, values = lived[cut:], values[cut:]


def assert_same(hostile: Hostile, step_minutes: int) -> None:
    window = Window(START, START + 2 * HOUR)
    energy = folded(hostile, window, GAP_MS, step_minutes, hostile.started_ms)
    exact = loop(hostile, window, GAP_MS, step_minutes * MS_PER_MINUTE, hostile.started_ms)
    assert_equal(energy, exact, step_minutes)


@pytest.mark.parametrize("seed", range(120))
def test_the_fold_of_hostile_counters_is_the_plain_loop(seed: int) -> None:
    assert_same(Hostile(seed, torn=False), STEP_MINUTES[seed % 4])


@pytest.mark.parametrize("seed", range(120))
def test_the_fold_is_the_plain_loop_where_a_nodes_counters_miss_different_scrapes(seed: int) -> None:
    assert_same(Hostile(seed, torn=True), STEP_MINUTES[seed % 4])


def test_a_restart_counts_where_one_component_shows_it_in_a_longer_interval_that_holds_anothers() -> None:
    made = InMemory()
    stamps = [to_ms(START) + minute * MS_PER_MINUTE for minute in range(10)]
    active = [900.0, 1_000.0, 1_100.0, 1_200.0, 1_300.0, 50.0, 150.0, 250.0, 350.0, 450.0]
    for component, missed in (("package", ()), ("dram", (4, 5))):
        kept = [minute for minute in range(10) if minute not in missed]
        for metric in (kepler.ACTIVE, kepler.IDLE):
            labels = {"node_name": "n1", "zone": component}
            made.put(metric, labels, [stamps[i] for i in kept], [active[i] for i in kept])
    window = Window(START, START + HOUR)
    energy = folded(made, window, GAP_MS, 60, {})
    exact = loop(made, window, GAP_MS, 60 * MS_PER_MINUTE, {})
    assert [float(sum(node.active)) for node in exact.nodes.values()] == pytest.approx([750.0, 850.0])
    assert_equal(energy, exact, 60)
