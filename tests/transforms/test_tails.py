"""Unseen tails: estimated from the last known power, taken from where they sit; numbers worked out beside each test.

The node draws 100 W active and 50 W idle, scraped every 30 s.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet, churning, restarting, simulate
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, KeplerSamples, MeterSamples, Samples, Transport
from pipeline.sources.meters import kepler
from pipeline.starts import UNKNOWN
from pipeline.transforms.energy import Energy, fold, fold_counters
from pipeline.transforms.sheet import FoldRules
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    Made,
    Points,
    clock,
    fold_both_ways,
    joules,
    line,
    only,
    scrapes,
    stamp_ms,
    unowned,
)

AT = scrapes("09:45", "12:15")
GAP_MS = MAX_GAP_SECONDS * 1000
NAMES = pa.schema([*kepler.POD_NAMES, ("state", pa.string())])


class Stated(Made):
    """As Kepler's samples are read: every pod sample has a state, `running` unless its uid is among `ended`."""

    def __init__(self, ended: Iterable[tuple[str, float]] = ()) -> None:
        super().__init__()
        self.ended = set(ended)

    def samples(self, start_ms: int = 0, end_ms: int = 1 << 60) -> MeterSamples:
        made = super().samples(start_ms, end_ms)
        pods, uids = made.workloads, made.workloads.identity["pod_uid"].to_pylist()
        rows = [row | {"state": state} for row in pods.names.to_pylist() for state in ("running", "terminated")]
        last = np.array(
            [(uids[code], stamp) in self._ended_ms() for code, stamp in zip(pods.code, pods.stamp_ms, strict=True)],
            dtype=np.int64,
        )
        none = np.zeros(0, dtype=np.int64)

        def empty(identity: pa.Schema) -> Samples:
            return Samples(identity.empty_table(), pa.schema([]).empty_table(), none, none, none, np.zeros(0))

        return KeplerSamples(
            made.meter, made.active, made.idle, made.raw,
            replace(pods, names=pa.Table.from_pylist(rows, NAMES), name=2 * pods.name + last),
            made.raw_ranges_joules, empty(kepler.GUEST_IDENTITY), empty(kepler.OUTSIDE_IDENTITY),
        )  # fmt: skip

    def _ended_ms(self) -> set[tuple[str, int]]:
        return {(uid, stamp_ms(second)) for uid, second in self.ended}


def node(ended: Iterable[tuple[str, float]] = ()) -> Stated:
    made = Stated(ended)
    made.node(line(100, AT), line(50, AT, 9_000))
    return made


def life(watts: float, begin: str, end: str, first: float = 0.0) -> Points:
    return line(watts, [s for s in AT if clock(begin) <= s <= clock(end)], first)


def tail(energy: Energy, uid: str, hour: int = 0) -> float:
    return float(only(energy.rows, pod_uid=uid, hour_utc=_hour(hour))["tail_joules"])


def _hour(hour: int) -> datetime:
    return datetime(2026, 11, 3, 10 + hour, tzinfo=UTC)


def test_a_pod_gone_at_the_next_scrape_used_its_last_power_for_half_of_the_interval() -> None:
    # 40 W from 10:10 to 10:20 are 24 kJ; then 40 W x 15 s
    energy = node().pod("uid", life(40, "10:10", "10:20")).fold()
    assert joules(energy, "uid") == pytest.approx(24_000 + 600)
    assert tail(energy, "uid") == pytest.approx(600)
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(360_000 - 24_600)
    assert only(energy.rows, kind="system")["tail_joules"] == 0.0


def test_nothing_is_unseen_after_a_final_total() -> None:
    energy = node(ended=[("uid", clock("10:20"))]).pod("uid", life(40, "10:10", "10:20")).fold()
    assert joules(energy, "uid") == pytest.approx(24_000)
    assert tail(energy, "uid") == 0.0


def test_samples_that_tell_no_state_have_no_tails_at_deaths() -> None:
    made = Made().node(line(100, AT), line(50, AT, 9_000)).pod("uid", life(40, "10:10", "10:20"))
    assert joules(made.fold(), "uid") == pytest.approx(24_000)


def test_a_pod_seen_once_used_twice_its_value_over_the_interval_of_its_birth() -> None:
    # 300 J, born at some time in 30 s: 20 W, for another 15 s
    energy = node().pod("uid", [(clock("10:30"), 300.0)]).fold()
    assert joules(energy, "uid") == pytest.approx(300 + 300)


def test_a_pod_that_only_missed_scrapes_has_no_tail() -> None:
    points = [p for p in life(40, "10:10", "10:40") if not clock("10:20") < p[0] < clock("10:29")]
    made = node(ended=[("uid", clock("10:40"))]).pod("uid", points)
    assert tail(made.fold(), "uid") == 0.0


def test_a_crash_loop_has_a_tail_before_each_pause() -> None:
    # 40 W to 10:20; away for a minute; 100 J at 10:21, then still
    points = [*life(40, "10:10", "10:20"), *life(0, "10:21", "10:30", first=100)]
    energy = node(ended=[("uid", clock("10:30"))]).pod("uid", points).fold()
    assert tail(energy, "uid") == pytest.approx(600)
    assert joules(energy, "uid") == pytest.approx(24_000 + 600 + 100)


def test_tails_of_one_interval_share_what_no_pod_used_in_it() -> None:
    # two pods of 45 W die while one of 80 W goes on: 600 J are left of 3000 J, where 2 x 675 J are wanted
    made = node().pod("a", life(10, "10:10", "10:20")).pod("stays", line(80, AT))
    made.pod("b", life(45, "10:19", "10:20"))
    energy = made.fold()
    wanted = {"a": 150.0, "b": 675.0}
    for uid, joules_ in wanted.items():
        assert tail(energy, uid) == pytest.approx(joules_ * 600 / 825)


def test_a_tail_is_split_at_the_hour_it_crosses() -> None:
    # scrapes at 10:59:45 and 11:00:15: half of 40 W x 15 s on either side
    at = [second + 15 for second in AT]
    made = Stated()
    made.node(line(100, at), line(50, at)).pod("uid", line(40, [s for s in at if clock("10:50") < s < clock("11:00")]))
    energy = fold_both_ways(made, 0, 2)
    assert tail(energy, "uid") == pytest.approx(300)
    assert tail(energy, "uid", hour=1) == pytest.approx(300)


def test_a_tail_beyond_the_hour_is_still_its_pods() -> None:
    at = [second + 15 for second in AT]
    made = Stated()
    made.node(line(100, at), line(50, at)).pod("uid", line(40, [s for s in at if s < clock("11:00")]))
    rows = [row for row in fold_both_ways(made, 0, 2).rows.to_pylist() if row["pod_uid"] == "uid"]
    assert [(row["namespace"], row["pod"], row["workload"]) for row in rows] == [("shop", "web", "web")] * 2
    assert rows[1]["tail_joules"] == rows[1]["energy_joules"] > 0


def test_a_pod_seen_once_has_no_tail_across_the_hour_for_another_cut_may_take_it_for_born() -> None:
    # 600 s after the sample before: hour 11, whose extract begins at 10:50, sees one of 200 J alone
    at = [second + 15 for second in AT]
    made = Stated()
    made.node(line(100, at), line(50, at)).pod("uid", [(clock("10:49:45"), 100.0), (clock("10:59:45"), 200.0)])
    assert tail(fold_both_ways(made, 0, 2), "uid") == 0.0
    once = Stated()
    once.node(line(100, at), line(50, at)).pod("uid", [(clock("10:59:45"), 200.0)])
    assert tail(fold_both_ways(once, 0, 2), "uid") == 0.0


def test_nothing_is_unseen_where_the_node_was_not_seen_either() -> None:
    at = [*scrapes("09:45", "10:20"), *scrapes("10:40", "11:15")]
    made = Stated()
    made.node(line(100, at), line(50, at)).pod("uid", life(40, "10:10", "10:20"))
    assert tail(made.fold(), "uid") == 0.0


def restarted(pod_before: Points, pod_after: Points) -> Stated:
    """Kepler restarts between 10:10:00 and 10:10:30 and counts 20 s of it: 2000 J active; 100 W active, 50 W idle."""
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    made = Stated()
    made.node([*line(100, before, 7_000), *line(100, after, 2_000)], [*line(50, before, 9_000), *line(50, after, 20)])
    made.pod("uid", [*pod_before, *pod_after])
    return made


def test_what_a_restart_hid_of_a_pod_comes_out_of_the_bridge_and_not_out_of_the_system() -> None:
    # 4500 J in the interval, 2000 J counted again, 2500 J bridged; the pod's 60 W: 1800 J, of which 1200 J are counted
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    energy = restarted(line(60, before), line(60, after, 1_200)).fold()
    assert joules(energy, "uid") == pytest.approx(216_000)
    assert tail(energy, "uid") == pytest.approx(600)
    row = only(energy.nodes)
    assert row["metered_joules"] == pytest.approx(540_000)
    assert row["bridged_joules"] == pytest.approx(2_500)
    assert row["idle_joules"] == pytest.approx(3_570 * 50 + 2_500 - 600)
    assert row["system_joules"] == pytest.approx(3_570 * 40 + 2_000 - 1_200)


def test_a_restart_hides_no_more_than_its_bridge() -> None:
    # 90 W known, 0 J counted after: 2700 J wanted, 2500 J bridged
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    energy = restarted(line(90, before), line(0, after)).fold()
    assert tail(energy, "uid") == pytest.approx(2_500)
    assert only(energy.nodes)["idle_joules"] == pytest.approx(3_570 * 50)


def test_a_pod_that_used_more_after_a_restart_than_before_lost_nothing() -> None:
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    assert tail(restarted(line(20, before), line(60, after, 1_200)).fold(), "uid") == 0.0


class WithoutTotals:
    """A fleet as a second Prometheus sees it: without the totals that Kepler shows once."""

    def __init__(self, fleet: Fleet) -> None:
        self.inner = FleetTransport(fleet)

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterable[Block]:
        return self.inner.blocks(selector.replace("{", '{state!="terminated",'), start_ms, end_ms)


def errors_percent(fleet: Fleet, transport: Transport) -> tuple[float, float]:
    """Error of all pods' energy, without and with tails."""
    window = fleet.spec.window
    samples = kepler.read(transport, (), window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    started = {pod.uid: fleet.spec.start_ms + pod.created_ms for pod in fleet.pods}
    energy = fold(samples, window, FoldRules("demo", GAP_MS, 60), unowned(window), started, None)
    rows = energy.rows.to_pandas().query("kind == 'workload'")
    truth = fleet.truth_pods["energy_joules"].to_numpy().sum()
    whole, tails = rows["energy_joules"].sum(), rows["tail_joules"].sum()
    return 100 * ((whole - tails) / truth - 1), 100 * (whole / truth - 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_p8_tails_bring_pods_across_restarts_five_times_nearer_to_truth(seed: int) -> None:
    fleet = simulate(restarting(seed, _hour(0), 6))
    without, with_ = errors_percent(fleet, FleetTransport(fleet))
    assert without < -0.8
    assert abs(with_) < abs(without) / 5


@pytest.mark.parametrize("seed", [1, 2])
def test_p8_tails_bring_pods_whose_last_totals_were_missed_nearer_to_truth(seed: int) -> None:
    fleet = simulate(churning(seed, _hour(0), 6))
    without, with_ = errors_percent(fleet, WithoutTotals(fleet))
    assert without < -0.5
    assert abs(with_) < abs(without) / 2
    seen, seen_with = errors_percent(fleet, FleetTransport(fleet))
    assert abs(seen_with) <= abs(seen)


def test_the_estimated_part_is_handed_over_beside_the_whole() -> None:
    folded = fold_counters(node().pod("uid", life(40, "10:10", "10:20")).samples(), GAP_MS, UNKNOWN)
    assert folded.tails is not None
    assert folded.tails.joules.tolist() == pytest.approx([600])
    assert folded.used.joules.sum() == pytest.approx(24_600)
