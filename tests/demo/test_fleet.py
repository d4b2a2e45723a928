"""Fleets: truth adds up, equal seeds give equal fleets, the demo stays small."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, churning, demo_fleet, outages, restarting, simulate, steady
from pipeline.demo.nodes import ZONES
from pipeline.demo.power import PowerCurve
from pipeline.errors import ConfigError

Looped = Callable[[PowerCurve, float, float], float]
Maker = Callable[..., FleetSpec]

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
MAKERS = [steady, churning, restarting, outages]


@pytest.mark.parametrize("make", MAKERS)
def test_equal_specs_give_equal_fleets_and_another_seed_another(make: Maker) -> None:
    spec = make(seed=9, start=START, hours=2, nodes=2, pods_per_node=3)
    first, second, other = simulate(spec), simulate(spec), simulate(replace(spec, seed=10))
    assert first.truth_pods.equals(second.truth_pods)
    assert first.truth_nodes.equals(second.truth_nodes)
    for one, same in zip(first.blocks(), second.blocks(), strict=True):
        assert one.labels.equals(same.labels)
        assert np.array_equal(one.stamps_ms, same.stamps_ms)
        assert np.array_equal(one.values, same.values)
    assert not first.truth_nodes.equals(other.truth_nodes)


@pytest.mark.parametrize("make", MAKERS)
def test_pods_and_system_together_are_the_nodes_active_energy(make: Maker, looped_joules: Looped) -> None:
    fleet = simulate(make(seed=9, start=START, hours=2, nodes=2, pods_per_node=3))
    pods = fleet.truth_pods.to_pandas().groupby(["hour_utc", "node", "component"])["energy_joules"].sum()
    nodes = {node.name: node for node in fleet.nodes}
    rows = fleet.truth_nodes.to_pylist()
    assert len(rows) == 2 * 2 * len(ZONES)
    for row in rows:
        begin = (row["hour_utc"] - START).total_seconds() * 1000
        node, zone = nodes[row["node"]], row["component"]
        system = looped_joules(node.system[zone], begin, begin + 3_600_000)
        workloads = pods.loc[(row["hour_utc"], row["node"], zone)]
        assert workloads > 0
        assert workloads + system == pytest.approx(row["active_joules"], rel=1e-9)
        assert row["idle_joules"] == pytest.approx(looped_joules(node.idle[zone], begin, begin + 3_600_000), rel=1e-9)


def test_truth_of_a_pod_is_the_integral_of_its_power(churning_fleet: Fleet, looped_joules: Looped) -> None:
    pods = {pod.uid: pod for pod in churning_fleet.pods}
    rows = churning_fleet.truth_pods.to_pylist()
    for row in rows:
        begin = (row["hour_utc"] - START).total_seconds() * 1000
        curve = pods[row["pod_uid"]].zones[row["component"]]
        assert row["energy_joules"] == pytest.approx(looped_joules(curve, begin, begin + 3_600_000), rel=1e-9)
    keys = {(row["hour_utc"], row["component"], row["pod_uid"]) for row in rows}
    assert len(keys) == len(rows)


def test_truth_counts_what_is_used_while_kepler_is_away(restarting_fleet: Fleet, looped_joules: Looped) -> None:
    node = restarting_fleet.nodes[0]
    pauses = [(stop, start) for (_, stop), (start, _) in pairwise(node.kepler_runs_ms)]
    stop, start = next((a, b) for a, b in pauses if a > 0 and a // 3_600_000 == b // 3_600_000)
    away = looped_joules(restarting_fleet.active[node.name]["package"], stop, start)
    assert away > 0
    hour = stop // 3_600_000
    row = restarting_fleet.truth_nodes.to_pandas().query("node == @node.name and component == 'package'").iloc[hour]
    curve = restarting_fleet.active[node.name]["package"]
    around = looped_joules(curve, hour * 3_600_000, stop) + looped_joules(curve, start, (hour + 1) * 3_600_000)
    assert row["active_joules"] == pytest.approx(around + away, rel=1e-9)


def test_the_demo_is_two_recognisable_days_below_half_a_million_samples() -> None:
    fleet = simulate(demo_fleet(datetime(2026, 11, 20, 7, 41, tzinfo=UTC)))
    assert fleet.spec.window.end == datetime(2026, 11, 20, 7, tzinfo=UTC)
    assert fleet.spec.hours == 48
    samples = sum(len(block.values) for block in fleet.blocks())
    assert 200_000 < samples < 500_000
    latest = max(int(block.stamps_ms.max()) for block in fleet.blocks())
    assert latest < fleet.spec.window.end_ms + 12 * 60_000 + 31
    assert {pod.namespace for pod in fleet.pods} == {"shop", "llm", "batch", "monitoring", "kube-system"}
    kinds = {pod.owner.kind for pod in fleet.pods}
    assert kinds == {"Deployment", "StatefulSet", "DaemonSet", "CronJob"}
    nightly = fleet.truth_pods.to_pandas().query("pod.str.startswith('nightly-report')")
    assert set(nightly["hour_utc"].dt.hour) <= {1, 2, 3}
    assert 1 in set(nightly["hour_utc"].dt.hour)


def test_more_events_than_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not fit"):
        simulate(replace(steady(1, START, 1), kepler_restarts=20))


def test_a_start_within_an_hour_is_refused() -> None:
    with pytest.raises(ConfigError, match="whole UTC hour"):
        steady(1, START.replace(minute=5), 1)
