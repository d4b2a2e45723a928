"""A store that merges replicas, in a real Prometheus: where it turns to a slower clock, nothing counts twice."""

import math
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pipeline.demo.replicas import Merged
from pipeline.tables import values
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.servers.several import HOURS, START, assert_conserved, entry, folded, node_errors, pod_error, site_of
from tests.transforms.made import differences


def test_a_store_that_turns_to_a_slower_replica_adds_no_counter_twice(
    merged: str, merged_fleet: Merged, tmp_path: Path, clock: RealClock
) -> None:
    undeclared = folded(site_of(tmp_path, [entry(merged)], clock))
    quarantined, metered = (
        math.fsum(values(undeclared.nodes, name)) for name in ("quarantined_joules", "metered_joules")
    )
    assert quarantined > 10 * metered, "the trap is there: whole counters, and only the ceiling keeps them out"
    site = site_of(tmp_path, [entry(merged, merges_replicas=True)], clock)
    energy = folded(site)
    assert set(values(energy.nodes, "quarantined_joules")) == {0.0}
    assert_conserved(energy)
    assert max(map(abs, node_errors(merged_fleet.fleets[0], energy).values())) < 0.005
    assert sum(values(energy.nodes, "resets")) == 0
    turned_back = [turn for turn in merged_fleet.switches_ms[::2] if 0 < turn <= HOURS * MS_PER_HOUR]
    of_node = [r["skews"] for r in energy.nodes.to_pylist() if (r["node"], r["component"]) == ("node-1", "package")]
    assert len(of_node) == HOURS
    assert sum(of_node) == len(turned_back)
    assert pod_error(merged_fleet.fleets[0], energy, list(Window(START, START + HOURS * HOUR).hours())) < 0.02


def test_p2_skews_are_the_same_however_a_range_is_cut(merged: str, tmp_path: Path, clock: RealClock) -> None:
    endpoints = [entry(merged, merges_replicas=True)]
    window = Window(START, START + HOURS * HOUR)
    one = site_of(tmp_path, endpoints, clock)
    whole = one.account(one.joined(window), window)
    for hour in (2, 0, 1):
        part = site_of(tmp_path, endpoints, clock).fold(Window.of_hour(START + HOUR * hour))
        mine = replace(whole, **{name: of_hour(getattr(whole, name), hour) for name in ("rows", "nodes", "withheld")})
        assert differences(mine, part) == []


def of_hour(table: pa.Table, hour: int) -> pa.Table:
    return table.filter(pa.array([one == START + HOUR * hour for one in values(table, "hour_utc")], pa.bool_()))
