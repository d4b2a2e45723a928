"""A node's active energy given to its pods: births, resets, renames, excess; numbers worked out beside each test.

The node draws 100 W active and 50 W idle unless a test says otherwise: 3000 J of active energy in every 30 s.
"""

import pytest

from tests.transforms.made import (
    START,
    Made,
    Points,
    clock,
    fold_both_ways,
    joules,
    line,
    only,
    scrapes,
    where,
)

AT = scrapes("09:45", "11:15")
BIRTH = clock("10:30")
STARTED_BEFORE_SECONDS = [(90, True), (600, True), (600.001, False), (3_600, False)]


def node(watts: float = 100) -> Made:
    return Made().node(line(watts, AT), line(50, AT, 9_000))


def life(first: float, watts: float = 0.0, begin: float = BIRTH, end: float = clock("10:40")) -> Points:
    """A pod first seen at `begin` with `first` joules."""
    return line(watts, [second for second in AT if begin <= second <= end], first)


def quiet_node_with_150_joules_at_birth() -> Made:
    """5 W active: 150 J in the interval of the births."""
    return node(watts=5)


def test_f8_births_that_fit_alone_but_not_together_are_all_baselines() -> None:
    # 20 x 100 J against 150 J
    made = quiet_node_with_150_joules_at_birth()
    for index in range(20):
        made.pod(f"uid-{index:02}", life(100), name=f"job-{index}")
    energy = made.fold()
    assert sum(joules(energy, f"uid-{index:02}") for index in range(20)) == 0
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(18_000)
    assert only(energy.nodes)["check"] is None


def test_f8_births_that_fit_together_all_count() -> None:
    made = quiet_node_with_150_joules_at_birth()
    for index in range(3):
        made.pod(f"uid-{index}", life(50))
    energy = made.fold()
    assert [joules(energy, f"uid-{index}") for index in range(3)] == pytest.approx([50, 50, 50])
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(18_000 - 150)


def test_a_first_value_that_does_not_fit_alone_spoils_no_other_birth() -> None:
    made = quiet_node_with_150_joules_at_birth().pod("old", life(10_000)).pod("new", life(140))
    energy = made.fold()
    assert joules(energy, "old") == 0
    assert joules(energy, "new") == pytest.approx(140)


def test_births_have_only_the_room_that_running_pods_leave() -> None:
    # 5 W active, a running pod at 4 W: 30 J are left of 150 J
    at = [second for second in AT if second <= clock("10:40")]
    for first, expected in ((30.0, 30.0), (30.1, 0.0)):
        made = quiet_node_with_150_joules_at_birth().pod("runs", line(4, at)).pod("new", life(first))
        assert joules(made.fold(), "new") == pytest.approx(expected)


@pytest.mark.parametrize(("excess", "counted"), [(5e-7, True), (5e-6, False)])
def test_a_pod_alone_on_its_node_is_the_active_energy_to_a_millionth(excess: float, *, counted: bool) -> None:
    energy = node().pod("alone", life(3_000 * (1 + excess))).fold()
    assert joules(energy, "alone") == pytest.approx(3_000 if counted else 0, rel=1e-5)
    assert only(energy.nodes)["check"] is None


def test_r4_the_first_value_of_a_pod_that_fits_nowhere_is_a_baseline() -> None:
    # 50 kJ of an earlier life; then 10 W for ten minutes
    assert joules(node().pod("uid", life(50_000, watts=10)).fold(), "uid") == pytest.approx(6_000)


def test_a_birth_is_spread_from_the_previous_scrape_of_its_node_over_an_hour_edge() -> None:
    # scrapes at 10:59:40 and 11:00:10: 20 s of 30 s lie before the hour
    at = [second + 10 for second in AT]
    made = Made().node(line(100, at), line(50, at)).pod("uid", [(clock("11:00:10"), 900.0)])
    energy = fold_both_ways(made, 0, 2)
    assert joules(energy, "uid", hour=0) == pytest.approx(600)
    assert joules(energy, "uid", hour=1) == pytest.approx(300)


@pytest.mark.parametrize(("before_seconds", "born"), STARTED_BEFORE_SECONDS)
def test_g3_a_pod_is_born_unless_kubernetes_started_it_more_than_max_gap_before(
    before_seconds: float, *, born: bool
) -> None:
    energy = node().pod("uid", life(400)).fold(started={"uid": BIRTH - before_seconds})
    assert joules(energy, "uid") == pytest.approx(400 if born else 0)


def test_nothing_is_born_at_a_nodes_first_scrape_or_behind_its_gap() -> None:
    at = [*scrapes("10:05", "10:20"), *scrapes("10:40", "11:15")]
    made = Made().node(line(100, at), line(50, at))
    made.pod("first", life(100, begin=clock("10:05"))).pod("behind", life(100, begin=clock("10:40")))
    energy = made.fold()
    assert joules(energy, "first") == 0
    assert joules(energy, "behind") == 0


def test_a_gap_of_the_node_is_one_of_its_pods() -> None:
    # the node is not read from 10:20 to 10:31, its pod is, at 10:25: neither its own 5 minutes nor the rest are joined
    at = [*scrapes("09:45", "10:20"), *scrapes("10:31", "11:15")]
    made = Made().node(line(100, at), line(50, at)).pod("uid", line(10, sorted({*at, clock("10:25")})))
    energy = made.fold()
    assert joules(energy, "uid") == pytest.approx(10 * (1_200 + 1_740))
    assert only(energy.nodes)["workload_scale"] == 1.0


@pytest.mark.parametrize("after", [49.999, 30.0, 0.001])
def test_g1_a_drop_however_small_is_a_reset(after: float) -> None:
    # 50 J -> `after`: all of `after` is new
    falls = clock("10:30")
    points = [(s, 50.0) for s in AT if s < falls] + [(s, after) for s in AT if s >= falls]
    assert joules(node().pod("uid", points).fold(), "uid") == pytest.approx(after)


def test_a_workload_that_did_not_fall_at_a_restart_starts_from_zero_all_the_same() -> None:
    # Kepler restarts in the interval that ends at 10:30: the pod stood at 10 J, then shows 600 J of the new count
    restart = clock("10:30")
    before, after = [s for s in AT if s < restart], [s for s in AT if s >= restart]
    made = Made().node(
        [*line(100, before), *line(100, after, 2_000)], [*line(50, before, 9_000), *line(50, after, 100)]
    )
    made.pod("uid", [(s, 10.0) for s in before] + [(s, 600.0) for s in after])
    energy = made.fold()
    assert joules(energy, "uid") == pytest.approx(600)


def test_a_restart_seen_by_dram_resets_package_workloads_too() -> None:
    restart = clock("10:30")
    before, after = [s for s in AT if s < restart], [s for s in AT if s >= restart]
    made = node().node([*line(5, before, 70), *line(5, after, 10)], line(1, AT), component="dram")
    made.pod("uid", [(s, 10.0) for s in before] + [(s, 600.0) for s in after])
    assert joules(made.fold(), "uid") == pytest.approx(600)


def test_a_counter_set_to_zero_in_mid_life_goes_on_from_zero() -> None:
    # 10 W throughout; at 10:30 the exporter forgot it 15 s ago: 150 J are lost, not 18 kJ
    falls = clock("10:30")
    points = [*line(10, [s for s in AT if s < falls]), *line(10, [s for s in AT if s >= falls], 150)]
    assert joules(node().pod("uid", points).fold(), "uid") == pytest.approx(36_000 - 150)


def test_r3_running_and_terminated_at_one_stamp_are_the_greater_then_a_reset() -> None:
    # a crash loop: 500 J of the ended run and 20 J of the new one at 10:30, then 60 J
    end = clock("10:30")
    running = [(clock("10:29"), 0.0), (clock("10:29:30"), 300.0), (end, 20.0), (clock("10:30:30"), 60.0)]
    energy = node().pod("uid", running).pod("uid", [(end, 500.0)]).fold()
    assert joules(energy, "uid") == pytest.approx(500 + 60)


def test_r3_a_terminated_total_counts_once() -> None:
    # 0 to 600 J while running, then once more 620 J, the final total
    running = line(10, scrapes("10:30", "10:31"))
    energy = node().pod("uid", running).pod("uid", [(clock("10:31:30"), 620.0)]).fold()
    assert joules(energy, "uid") == pytest.approx(620)


def test_a_terminated_total_is_all_that_was_ever_seen_of_a_short_job() -> None:
    assert joules(node().pod("uid", [(BIRTH, 250.0)]).fold(), "uid") == pytest.approx(250)


def test_r4_a_late_name_continues_one_counter_and_names_the_whole_hour() -> None:
    late = clock("10:30")
    whole = line(10, AT, 70_000)
    made = node().pod("uid", [p for p in whole if p[0] < late], name=None, namespace=None)
    made.pod("uid", [p for p in whole if p[0] >= late])
    row = only(made.fold().rows, kind="workload")
    assert row["energy_joules"] == pytest.approx(36_000)
    assert (row["namespace"], row["pod"], row["pod_uid"]) == ("shop", "web", "uid")


def test_a_name_learnt_within_max_gap_after_the_hour_still_names_it() -> None:
    for late, known in (("11:10", "web"), ("11:10:30", None)):
        whole = line(10, AT, 0)
        made = node().pod("uid", [p for p in whole if p[0] < clock(late)], name=None, namespace=None)
        made.pod("uid", [p for p in whole if p[0] >= clock(late)])
        assert only(made.fold().rows, kind="workload")["pod"] == known


def test_a_name_wins_over_none_at_the_same_stamp_and_value_in_whatever_order_they_arrive() -> None:
    for unnamed_first in (True, False):
        made = node()
        for named in (not unnamed_first, unnamed_first):
            name, namespace = ("web", "shop") if named else (None, None)
            made.pod("uid", [(BIRTH, 100.0), (BIRTH + 30, 200.0)], name=name, namespace=namespace)
        assert only(made.fold().rows, kind="workload")["pod"] == "web"


def test_pods_of_one_name_are_apart_by_uid() -> None:
    # a StatefulSet pod deleted and made again within the hour
    made = node().pod("uid-1", life(100, begin=30, end=600), name="db-0").pod("uid-2", life(200), name="db-0")
    energy = made.fold()
    rows = where(energy.rows, pod="db-0")
    assert {(row["pod_uid"], row["energy_joules"]) for row in rows} == {("uid-1", 100.0), ("uid-2", 200.0)}


def test_a_pod_that_moved_nodes_is_two_rows() -> None:
    made = node().node(line(100, AT), line(50, AT), node="n2")
    made.pod("uid", life(100)).pod("uid", life(200), node="n2")
    energy = made.fold()
    assert {(row["node"], row["energy_joules"]) for row in where(energy.rows, pod_uid="uid")} == {
        ("n1", 100),
        ("n2", 200),
    }


def excessive(share: float) -> Made:
    """Two pods that together show `share` more than the node's 100 W, and none of it left for the system."""
    return node().pod("a", line(60 * (1 + share), AT)).pod("b", line(40 * (1 + share), AT))


def test_workloads_half_a_percent_above_active_are_scaled_down_to_it() -> None:
    energy = excessive(0.005).fold()
    assert joules(energy, "a") == pytest.approx(216_000)
    assert joules(energy, "b") == pytest.approx(144_000)
    row = only(energy.nodes)
    assert row["workload_scale"] == pytest.approx(1 / 1.005)
    assert row["system_joules"] == 0.0
    assert row["check"] is None
    assert energy.withheld.num_rows == 0


def test_workloads_five_percent_above_active_are_withheld_with_the_evidence() -> None:
    energy = excessive(0.05).fold()
    assert where(energy.rows, kind="workload") == []
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(360_000)
    row = only(energy.nodes)
    assert row["check"] == "workloads_exceed_active"
    assert row["quarantined_joules"] == pytest.approx(378_000)
    assert row["workload_joules"] == 0.0
    assert row["metered_joules"] == pytest.approx(360_000 + 180_000)
    held = only(energy.withheld, pod_uid="a")
    assert held["energy_joules"] == pytest.approx(226_800)
    assert (held["hour_utc"], held["node"], held["component"], held["pod"]) == (START, "n1", "package", "web")
    assert held["check"] == "workloads_exceed_active"
    assert held["evidence"] == "workloads exceed the node's active 360000.000 J by 18000.000 J"


def test_only_the_failing_hour_of_the_failing_node_is_withheld() -> None:
    at = scrapes("09:45", "12:15")
    pod = [*line(106, [s for s in at if s <= 3_600])]
    pod += line(90, [s for s in at if s > 3_600], pod[-1][1] + 90 * 30)
    made = Made().node(line(100, at), line(50, at)).pod("uid", pod)
    made.node(line(100, at), line(50, at), node="n2").pod("other", line(50, at), node="n2")
    energy = fold_both_ways(made, 0, 2)
    assert only(energy.nodes, hour=0, node="n1")["check"] is not None
    assert only(energy.nodes, hour=1, node="n1")["check"] is None
    assert joules(energy, "uid", hour=1) == pytest.approx(90 * 3_600)
    assert joules(energy, "other") == pytest.approx(50 * 3_600)


def test_r9_a_counter_that_jumps_by_petajoules_never_reaches_the_figures() -> None:
    points = [(s, v + (9.2e14 if s >= BIRTH else 0)) for s, v in line(10, AT)]
    energy = node().pod("broken", points).pod("healthy", line(20, AT)).fold()
    assert where(energy.rows, kind="workload") == []
    assert only(energy.nodes)["metered_joules"] == pytest.approx(540_000)
    assert only(energy.withheld, pod_uid="broken")["energy_joules"] > 9e14


def test_excess_is_scaled_in_its_own_step_only() -> None:
    # 100.5 W in the first five minutes, 50 W afterwards: the excess is 150 J of 360 kJ
    pod = line(100.5, [s for s in AT if s <= 300])
    pod = [*pod, *line(50, [s for s in AT if s > 300], pod[-1][1] + 50 * 30)]
    energy = node().pod("uid", pod).fold(step_minutes=5)
    row = only(energy.rows, pod_uid="uid")
    assert row["step_joules"] == pytest.approx([30_000, *[15_000] * 11])
    assert only(energy.rows, kind="system")["step_joules"] == pytest.approx([0, *[15_000] * 11])
    assert only(energy.nodes)["workload_scale"] == pytest.approx((30_000 + 165_000) / (30_150 + 165_000))


def test_a_step_without_active_energy_quarantines_nothing() -> None:
    # active stands still for five minutes while a pod shows 1 J: far below 1 % of the hour, scaled away
    active = [(s, 100.0 * max(0.0, s - 300)) for s in AT]
    pod = [(s, 0.0 if s < 60 else 1.0) for s in AT]
    energy = Made().node(active, line(50, AT)).pod("uid", pod).fold(step_minutes=5)
    row = only(energy.nodes)
    assert row["check"] is None
    assert row["quarantined_joules"] == 0.0
    assert row["system_joules"] == pytest.approx(330_000)
    assert energy.withheld.num_rows == 0


def test_pods_on_a_node_without_node_counters_are_reported_and_give_no_row() -> None:
    energy = node().pod("uid", life(100)).pod("lost", life(500), node="n9").fold()
    assert [node for _, node in energy.unmetered] == ["n9"]
    assert where(energy.rows, node="n9") == []
    assert where(energy.nodes, node="n9") == []


def test_bad_values_of_a_pod_are_no_samples() -> None:
    points = list(line(10, AT))
    for index, bad in ((40, float("nan")), (60, -5.0), (80, float("inf"))):
        points[index] = (points[index][0], bad)
    assert joules(node().pod("uid", points).fold(), "uid") == pytest.approx(36_000)


def test_a_pod_missing_from_some_scrapes_is_joined_across_them() -> None:
    seen = [s for s in AT if not clock("10:20") < s < clock("10:29")]
    assert joules(node().pod("uid", line(10, seen)).fold(), "uid") == pytest.approx(36_000)


@pytest.mark.parametrize(("back", "counted"), [(600.0, 36_000.0), (600.001, 30_000.0)])
def test_a_pod_hidden_for_longer_than_max_gap_is_not_joined(back: float, counted: float) -> None:
    # hidden from 10:20; the first value after it exceeds any interval's energy
    gone = clock("10:20")
    at = sorted({*AT, gone + back})
    points = line(10, [s for s in at if s <= gone or s >= gone + back], 50_000)
    energy = Made().node(line(100, at), line(50, at)).pod("uid", points).fold()
    assert joules(energy, "uid") == pytest.approx(counted, abs=0.02)


def test_a_pod_seen_again_after_exactly_max_gap_is_joined_and_not_also_born() -> None:
    # 10 J at 10:20, 100 J at 10:30: 90 J, though 100 J would fit as a birth
    made = node().pod("uid", [(clock("10:20"), 10.0), (clock("10:30"), 100.0)])
    assert joules(made.fold(), "uid") == pytest.approx(10 + 90)  # its first 10 J are a birth


def test_a_pod_seen_again_after_more_than_max_gap_is_born_again_if_it_fits_and_did_not_start_before() -> None:
    # nothing tells it from a new run unless Kubernetes does
    for started, expected in (({}, 10 + 100), ({"uid": clock("10:19")}, 10)):
        made = node().pod("uid", [(clock("10:20"), 10.0), (clock("10:30:30"), 100.0)])
        assert joules(made.fold(started=started), "uid") == pytest.approx(expected)
