"""Promise P8: how near the fold comes to the simulator's physical joules, and how near `increase()` does."""

import math
from collections.abc import Iterator

import pandas as pd
import pytest

from benchmarks.accuracy import KINDS, START, Comparison, measure, with_truth
from benchmarks.accuracy_report import STEADY_SHARE, errors_percent, targets, totals_percent
from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.servers import PrometheusBinary
from pipeline.demo.transport import FleetTransport
from pipeline.sources.meters import kepler
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_MINUTE
from pipeline.window import Clock
from tests.transforms.made import unowned

SEEDS = range(1, 5)
HOURS = 12
GAP_MS = 10 * MS_PER_MINUTE


def folded(fleet: Fleet) -> Energy:
    window = fleet.spec.window
    samples = kepler.read(FleetTransport(fleet), (), window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    started_ms = {pod.uid: fleet.spec.start_ms + pod.created_ms for pod in fleet.pods}
    return fold(samples, window, FoldRules("demo", GAP_MS, 60), unowned(window), started_ms, None)


def compared(kind: str) -> Iterator[Comparison]:
    for seed in SEEDS:
        fleet = simulate(KINDS[kind](seed, START, HOURS))
        energy = folded(fleet)
        found = with_truth(fleet, energy.rows, energy.nodes)
        yield Comparison(found.pods.assign(kind=kind, seed=seed), found.nodes.assign(kind=kind, seed=seed))


@pytest.fixture(scope="module", params=[*KINDS])
def comparison(request: pytest.FixtureRequest) -> Comparison:
    """All seeds of one kind of fleet."""
    found = list(compared(request.param))
    return Comparison(pd.concat([c.pods for c in found]), pd.concat([c.nodes for c in found]))


def test_node_hours_are_within_their_targets(comparison: Comparison) -> None:
    reached = targets(comparison.pods, comparison.nodes)
    assert [target.what.split(":")[0] for target in reached] == ["node-hour error, worst", "node-hour error, median"]
    assert [target for target in reached if not target.met] == []
    assert not comparison.nodes["ours"].isna().any()


def test_the_median_steady_pod_hour_is_right_to_the_digits_that_kepler_shows(comparison: Comparison) -> None:
    steady = comparison.pods[comparison.pods["steady"]]
    assert len(steady) > 50
    assert errors_percent(steady, "ours").abs().median() < 1e-6


def test_total_pod_energy_lacks_only_what_no_sample_shows(comparison: Comparison) -> None:
    # tails of pods that die, and at each of one restart an hour what ran from the last scrape to the new Kepler's start
    most_percent = {"steady": 0.02, "churning": 0.15, "restarting": 1.6}[comparison.pods["kind"].iloc[0]]
    errors = totals_percent(comparison.pods, "ours")
    assert errors.abs().max() < most_percent
    assert len(errors) == len(SEEDS)


def test_the_errors_are_those_of_the_figures() -> None:
    frame = pd.DataFrame({"truth": [100.0, 50.0, 10.0], "ours": [110.0, 25.0, math.nan], "seed": [1, 1, 2]})
    assert errors_percent(frame, "ours").tolist() == pytest.approx([10.0, -50.0, -100.0])
    assert totals_percent(frame, "ours").to_dict() == pytest.approx({1: -10.0, 2: -100.0})


@pytest.mark.real
def test_increase_on_the_same_prometheus_is_a_hundred_times_less_exact(
    prometheus_binary: PrometheusBinary, clock: Clock
) -> None:
    fleet = simulate(churning(1, START, 6))
    found = measure(fleet, prometheus_binary, clock)
    pods = found.pods.assign(seed=1)
    steady = pods[pods["steady"]]
    ours, rival = (errors_percent(steady, method).abs().median() for method in ("ours", "increase"))
    assert ours <= STEADY_SHARE * rival
    assert abs(totals_percent(pods, "ours")[1]) < abs(totals_percent(pods, "increase")[1])
    assert pods["ours"].isna().sum() < pods["increase"].isna().sum()
    energy = folded(fleet)
    in_memory = with_truth(fleet, energy.rows, energy.nodes)
    assert pods["ours"].tolist() == pytest.approx(in_memory.pods["ours"].tolist(), rel=1e-9, nan_ok=True)
    assert found.nodes["ours"].tolist() == pytest.approx(in_memory.nodes["ours"].tolist(), rel=1e-9)
