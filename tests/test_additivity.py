"""P2: how a range is cut does not matter. Whole against piecewise, over simulated fleets and over hostile counters."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import Fleet, FleetSpec, churning, outages, restarting, simulate, steady
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, Transport
from pipeline.sources.meters import kepler
from pipeline.tables import values
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.examples import examples
from tests.transforms.made import Made, Points, differences, joined, shuffled, unowned

MAX_GAP_MS = 600_000
HOURS = 5
KINDS = {"steady": steady, "churning": churning, "restarting": restarting, "outages": outages}
QUICK = settings(
    max_examples=examples(8),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow],
)


class Mangled:
    """A fleet's samples in parts, blocks in any order, one node's pods exaggerated."""

    def __init__(self, fleet: Fleet, part_samples: int | None, seed: int, exaggeration: float) -> None:
        self.inner = FleetTransport(fleet, part_samples)
        self.seed = seed
        self.exaggeration = exaggeration

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        for block in shuffled(self.inner.blocks(selector, start_ms, end_ms), self.seed):
            if kepler.PODS not in selector:
                yield block
                continue
            factors = [self.exaggeration if n == "node-1" else 1.0 for n in block.labels["node_name"].to_pylist()]
            yield replace(block, values=block.values * np.repeat(factors, np.diff(block.offsets)))


def presence_of(transport: Transport, start_ms: int, end_ms: int) -> Presence | None:
    """As kube-state-metrics tells it within the extract."""
    seen: dict[str, list[np.ndarray]] = {}
    for block in transport.blocks("kube_node_info", start_ms, end_ms):
        for row, node in enumerate(values(block.labels, "node")):
            seen.setdefault(node, []).append(block.stamps_ms[block.offsets[row] : block.offsets[row + 1]])
    return Presence({node: np.unique(np.concatenate(parts)) for node, parts in seen.items()}, {}) if seen else None


def starts_of(transport: Transport) -> dict[str, int]:
    """`kube_pod_start_time` in milliseconds, by pod uid."""
    found = {}
    for block in transport.blocks("kube_pod_start_time", 0, 1 << 60):
        for row, uid in enumerate(values(block.labels, "uid")):
            found[uid] = round(block.values[block.offsets[row]] * 1000)
    return found


def fold_extract(transport: Transport, window: Window, step_minutes: int, started_ms: dict[str, int]) -> Energy:
    """As a run folds a window: from an extract that reaches `max_gap` beyond both edges."""
    start_ms, end_ms = window.start_ms - MAX_GAP_MS - 1, window.end_ms + MAX_GAP_MS
    return fold(
        kepler.read(transport, [], start_ms, end_ms),
        window,
        FoldRules("demo", MAX_GAP_MS, step_minutes),
        unowned(window),
        started_ms,
        presence_of(transport, start_ms, end_ms),
    )


def pieces(cuts: Sequence[int], hours: int) -> list[tuple[int, int]]:
    """(first hour, number of hours) of each piece between the cuts."""
    edges = [0, *sorted(set(cuts)), hours]
    return [(begin, end - begin) for begin, end in pairwise(edges)]


def spec_of(kind: str, seed: int) -> FleetSpec:
    start = datetime(2026, 11, 3, 22, tzinfo=UTC)  # so that midnight lies inside
    spec = KINDS[kind](seed, start, HOURS, nodes=2, pods_per_node=4)
    if kind == "outages":  # everything at once
        return replace(
            spec, kepler_restarts=4, double_restarts=1, dram_resets=2, late_name_ratio=0.5, crash_loops=1,
            rollout_ratio=0.5, missed_scrape_ratio=0.05,
        )  # fmt: skip
    return spec


CUTS = st.lists(st.integers(1, HOURS - 1), max_size=HOURS - 1)


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(QUICK, max_examples=examples(3))
@given(
    seed=st.integers(0, 10_000),
    step_minutes=st.sampled_from([60, 5]),
    cuts=CUTS,
    order=st.randoms(use_true_random=False),
    part_samples=st.sampled_from([None, 7, 100]),
    exaggeration=st.sampled_from([1.0, 1.0, 1.03, 2.0]),
    with_starts=st.booleans(),
)
def test_p2_a_fleet_folded_in_pieces_gives_the_tables_of_the_whole(
    kind: str, seed: int, step_minutes: int, cuts: list[int], order: Random, part_samples: int | None,
    exaggeration: float, *, with_starts: bool,
) -> None:  # fmt: skip
    fleet = simulate(spec_of(kind, seed))
    first = fleet.spec.window.start
    started_ms = starts_of(FleetTransport(fleet)) if with_starts else {}
    whole = fold_extract(Mangled(fleet, None, 0, exaggeration), fleet.spec.window, step_minutes, started_ms)
    mangled = Mangled(fleet, part_samples, seed, exaggeration)
    windows = [Window(first + HOUR * begin, first + HOUR * (begin + hours)) for begin, hours in pieces(cuts, HOURS)]
    order.shuffle(windows)
    parts = joined([fold_extract(mangled, window, step_minutes, started_ms) for window in windows])
    event(f"withheld: {whole.withheld.num_rows > 0}")
    assert whole.rows.num_rows > 0
    assert differences(whole, parts) == []
    assert whole.unmetered == parts.unmetered == []


class Hostile:
    """Counters without manners: any spacing, any drop, any gap, any name, from one seed."""

    SPACINGS = (15, 30, 30, 30, 60, 60, 299.5, 300, 599.999, 600, 600.001, 1_300, 3_600, 4_000)
    ODDS = (3, 8, 8, 8, 8, 8, 1, 1, 1, 1, 1, 0.4, 0.3, 0.2)

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.made = Made()
        for node in range(int(self.rng.integers(1, 3))):
            at = self._scrapes()
            for component in ("package", "dram")[: int(self.rng.integers(1, 3))]:
                self._node(f"n{node}", component, at)

    def _scrapes(self) -> np.ndarray:
        spacings = self.rng.choice(self.SPACINGS, size=400, p=np.array(self.ODDS) / sum(self.ODDS))
        at = np.cumsum(spacings) - 1_200 - self.rng.integers(0, 60)
        at = at[at < 4 * 3_600 + 900]
        return np.unique(np.concatenate((at, [0, 3_600, 7_200]))) if self.rng.random() < 0.5 else at

    def _counter(self, at: np.ndarray, watts: float, drops: float, start: float = 0.0) -> Points:
        value, last, points = start, at[0], []
        for second in at:
            value += watts * self.rng.uniform(0, 2) * (second - last) * (self.rng.random() > 0.05)
            last = second
            if self.rng.random() < drops:
                value = self.rng.uniform(0, start + 50)
            if self.rng.random() < 0.98:
                points.append((float(second), round(value, 6) if self.rng.random() < 0.99 else float("nan")))
        return points

    def _node(self, node: str, component: str, at: np.ndarray) -> None:
        drops = float(self.rng.choice([0, 0, 0.01, 0.05]))
        raw = [(s, v % 65_532.610987) for s, v in self._counter(at, 140, drops / 2, 2e5)]
        self.made.node(self._counter(at, 80, drops), self._counter(at, 60, drops, 1e5), raw, node, component)
        for index in range(int(self.rng.integers(1, 5))):
            watts, falls = float(self.rng.choice([1, 5, 10, 25])), float(self.rng.choice([0, 0, 0.02, 0.1]))
            points = self._counter(at, watts, falls)
            begin, end = sorted(self.rng.integers(0, len(points) + 1, 2).tolist())
            points = points[begin:end] if self.rng.random() < 0.7 else points
            named = int(self.rng.integers(0, len(points) + 1))
            unnamed_until = min(len(points), named + int(self.rng.integers(0, 3)))  # both names for a while
            uid = f"u-{node}-{index}"
            self.made.pod(uid, points[:unnamed_until], node, component, None, None)
            self.made.pod(uid, points[named:], node, component, f"p-{index}")


@QUICK
@given(
    seed=st.integers(0, 1_000_000),
    step_minutes=st.sampled_from([60, 30, 15, 5]),
    cuts=st.lists(st.integers(1, 3), max_size=3),
)
def test_p2_hostile_counters_folded_in_pieces_give_the_tables_of_the_whole(
    seed: int, step_minutes: int, cuts: list[int]
) -> None:
    made = Hostile(seed).made
    whole = made.fold(0, 4, step_minutes)
    parts = [made.fold(first, hours, step_minutes) for first, hours in pieces(cuts, 4)]
    event(f"withheld: {whole.withheld.num_rows > 0}")
    assert differences(whole, joined(parts[::-1])) == []


@QUICK
@given(seed=st.integers(0, 1_000_000), step_minutes=st.sampled_from([60, 5]))
def test_p1_hostile_counters_add_up_and_give_nothing_negative(seed: int, step_minutes: int) -> None:
    energy = Hostile(seed).made.fold(0, 4, step_minutes)
    joules = energy.rows["energy_joules"].to_numpy()
    assert (joules >= 0).all()
    assert np.isfinite(joules).all()
    for row in energy.nodes.to_pylist():
        parts = [row[f"{part}_joules"] for part in ("workload", "system", "idle")]
        if row["metered_joules"] is None:
            assert parts == [None] * 3
        else:
            assert sum(parts) == pytest.approx(row["metered_joules"], rel=1e-9, abs=1e-9)
        assert (row["quarantined_joules"] > 0) <= (row["check"] is not None)


def test_the_comparison_itself_sees_a_changed_cell_a_missing_row_and_a_null() -> None:
    made = Hostile(3).made
    energy = made.fold(0, 2)
    fewer = replace(energy, rows=energy.rows.slice(1))
    assert len(differences(energy, fewer)) == 1
    other = values(energy.nodes, "metered_joules")
    for value in (None, other[0] * (1 + 1e-8)):
        index = energy.nodes.schema.get_field_index("metered_joules")
        cells = energy.nodes.set_column(index, energy.nodes.schema.field(index), [[value, *other[1:]]])
        assert len(differences(energy, replace(energy, nodes=cells))) == 1


def test_pieces_between_cuts_are_the_whole_range() -> None:
    assert pieces([3, 1, 3], 5) == [(0, 1), (1, 2), (3, 2)]
