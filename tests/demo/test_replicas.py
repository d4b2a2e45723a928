"""A fleet in several servers: what happened is the same, what each shows is its own."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, churning, mixed, simulate
from pipeline.demo.replicas import Merged, replicas, shard
from pipeline.demo.series import METRIC
from pipeline.demo.spec import Replica
from pipeline.samples import Block

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
SPEC = replace(churning(7, START, 2, nodes=2, pods_per_node=3), jobs_per_hour=30.0)
DOWN_MS = (1_000_000, 2_500_000)


@pytest.fixture(scope="module")
def pair() -> tuple[Fleet, ...]:
    return replicas(SPEC, Replica(1, downtimes_ms=(DOWN_MS,)), Replica(2, clock_ms=-2_000))


def by_metric(fleet: Fleet | Merged) -> dict[str, Block]:
    return {str(block.labels[METRIC][0]): block for block in fleet.blocks()}


def stamps(fleet: Fleet | Merged, metric: str, node: str = "node-1") -> np.ndarray:
    block = by_metric(fleet)[metric]
    row = block.labels["node_name"].to_pylist().index(node)
    return block.stamps_ms[block.offsets[row] : block.offsets[row + 1]] - SPEC.start_ms


def ends_shown(fleet: Fleet) -> set[tuple[str, int]]:
    """Pods and true times of their last totals."""
    block = by_metric(fleet)["kepler_pod_cpu_joules_total"]
    clock_ms = fleet.spec.replica.clock_ms if fleet.spec.replica else 0
    return {
        (row["pod_id"], int(stamp) - clock_ms)
        for i, row in enumerate(block.labels.to_pylist())
        if row["state"] == "terminated"
        for stamp in block.stamps_ms[block.offsets[i] : block.offsets[i + 1]]
    }


def test_what_happened_is_the_same_for_all(pair: tuple[Fleet, ...]) -> None:
    alone = simulate(SPEC)
    for fleet in pair:
        for table in ("truth_pods", "truth_nodes", "truth_containers", "truth_processes"):
            assert getattr(fleet, table).equals(getattr(alone, table)), table


def test_each_has_stamps_of_its_own_clock_and_phase(pair: tuple[Fleet, ...]) -> None:
    metric = "kepler_node_cpu_active_joules_total"
    one, other = (stamps(fleet, metric) for fleet in pair)
    assert not set(one.tolist()) & set(other.tolist())
    right = simulate(replace(SPEC, replica=Replica(2)))
    assert (stamps(right, metric) - other == 2_000).all()
    mine, slow = by_metric(right)[metric], by_metric(pair[1])[metric]
    assert np.array_equal(mine.values, slow.values), "a clock changes stamps, not what was scraped"


def test_a_replica_that_is_down_shows_nothing_in_between_and_the_other_does(pair: tuple[Fleet, ...]) -> None:
    for metric in ("kepler_node_cpu_active_joules_total", "kepler_node_cpu_watts"):
        one, other = (stamps(fleet, metric) for fleet in pair)
        assert not ((one >= DOWN_MS[0]) & (one < DOWN_MS[1])).any()
        assert ((other >= DOWN_MS[0]) & (other < DOWN_MS[1])).sum() > 40
    assert not np.isin(by_metric(pair[0])["kube_node_info"].stamps_ms - SPEC.start_ms, np.arange(*DOWN_MS)).any()


def test_a_last_total_is_shown_to_the_first_that_scrapes_after_the_end(pair: tuple[Fleet, ...]) -> None:
    each = [simulate(replace(fleet.spec, replica=fleet.spec.replica)) for fleet in pair]
    one, other = (ends_shown(fleet) for fleet in pair)
    assert one | other <= ends_shown(each[0]) | ends_shown(each[1])
    assert 0.2 < len(one) / len(one | other) < 0.8
    first: dict[str, list[int]] = {}
    for shown in map(ends_shown, each):
        for pod, at in shown:
            first.setdefault(pod, []).append(at)
    single = {pod: min(found) for pod, found in first.items() if len(found) == 2}
    assert len(single) > 10
    for pod, at in single.items():
        assert [time for p, time in sorted(one | other) if p == pod] == [at], pod


def test_shards_are_the_fleet_cut_by_its_nodes() -> None:
    fleet = simulate(mixed(seed=5, start=START, hours=1, pods_per_node=2))
    parts = [shard(fleet, ["node-1", "node-3"], with_ksm=False), shard(fleet, ["node-2"], with_ksm=False)]
    parts.append(shard(fleet, [], with_ksm=True))
    whole = {(str(row), tuple(v)) for row, v in rows(fleet)}
    cut = [{(str(row), tuple(v)) for row, v in rows(part)} for part in parts]
    assert cut[0] | cut[1] | cut[2] == whole
    assert sum(map(len, cut)) == len(whole)
    assert all(part.truth_nodes.equals(fleet.truth_nodes) for part in parts)
    assert {row[METRIC] for row, _ in rows(parts[2])} == {m for m in by_metric(fleet) if m.startswith("kube_")}


def rows(fleet: Fleet) -> list[tuple[dict[str, str | None], list[float]]]:
    return [
        ({k: v for k, v in row.items() if v}, block.values[block.offsets[i] : block.offsets[i + 1]].tolist())
        for block in fleet.blocks()
        for i, row in enumerate(block.labels.to_pylist())
    ]


def test_a_merged_store_shows_one_replica_at_a_time(pair: tuple[Fleet, ...]) -> None:
    metric, turn = "kepler_node_cpu_active_joules_total", 3_000_000
    one, other = (stamps(fleet, metric) for fleet in pair)
    merged = stamps(Merged(pair, [turn, turn + 600_000]), metric)
    wanted = [*one[one < turn], *other[(other >= turn) & (other < turn + 600_000)], *one[one >= turn + 600_000]]
    assert merged.tolist() == wanted
    never = by_metric(Merged(pair, []))[metric]
    assert sorted(never.values.tolist()) == sorted(by_metric(pair[0])[metric].values.tolist())
