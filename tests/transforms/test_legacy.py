"""Kepler 0.5 to 0.9: each known trap with numbers that add up on paper."""

import pytest

from pipeline.transforms.legacy_totals import findings, known_faults
from tests.transforms.made import (
    Points,
    clock,
    joules,
    line,
    only,
    where,
)
from tests.transforms.made_legacy import HOUR_SECONDS, SEEN, Made, machine, restarted


def test_dynamic_is_active_and_idle_is_the_nodes() -> None:
    node = only(machine().fold().nodes, component="package")
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert node["idle_joules"] == pytest.approx(40 * HOUR_SECONDS)
    assert (node["meter"], node["coverage_ratio"], node["check"]) == ("kepler_legacy", 1.0, None)


def test_sockets_are_summed_scrape_by_scrape() -> None:
    made = machine().node(line(30, SEEN, 5_000), socket="1").node(line(20, SEEN), "idle", socket="1")
    node = only(made.fold().nodes)
    assert node["metered_joules"] == pytest.approx(150 * HOUR_SECONDS)
    assert node["idle_joules"] == pytest.approx(60 * HOUR_SECONDS)


def test_a_socket_missing_from_one_scrape_is_neither_a_drop_nor_a_rise_of_the_sum() -> None:
    missed = clock("10:20")
    made = machine().node([p for p in line(30, SEEN, 5_000) if p[0] != missed], socket="1")
    made.node(line(20, SEEN), "idle", socket="1")
    node = only(made.both_ways(0, 1).nodes)
    assert node["metered_joules"] == pytest.approx(150 * HOUR_SECONDS)
    assert (node["resets"], node["coverage_ratio"]) == (0, 1.0)


def test_a_socket_missing_for_longer_than_max_gap_makes_a_hole_and_not_less_energy() -> None:
    silent = [s for s in SEEN if not clock("10:20") < s < clock("10:40")]
    made = machine().node(line(30, silent), socket="1").node(line(20, silent), "idle", socket="1")
    node = only(made.both_ways(0, 1).nodes)
    assert node["coverage_ratio"] == pytest.approx(40 / 60)
    assert node["metered_joules"] == pytest.approx(150 * 2400)
    assert node["unplaced_joules"] == pytest.approx(150 * 1200)


def test_a_socket_that_goes_for_good_leaves_a_hole_of_max_gap_and_then_what_is_left() -> None:
    until = [s for s in SEEN if s <= clock("10:20")]
    made = machine().node(line(30, until), socket="1").node(line(20, until), "idle", socket="1")
    node = only(made.both_ways(0, 1).nodes)
    assert node["coverage_ratio"] == pytest.approx(50 / 60)
    assert node["metered_joules"] == pytest.approx(150 * 1200 + 100 * 1800)


def test_sockets_renamed_at_a_restart_cost_one_interval_and_no_phantom() -> None:
    before, after = [s for s in SEEN if s <= clock("10:20")], [s for s in SEEN if s > clock("10:20")]
    made = Made()
    for mode, watts in (("dynamic", 60), ("idle", 40)):
        made.node(line(watts, before, 9_000), mode, "0").node(line(watts, after, 700), mode, "estimator0")
    node = only(made.both_ways(0, 1).nodes)
    assert node["coverage_ratio"] == pytest.approx(1 - 30 / HOUR_SECONDS)
    assert node["metered_joules"] == pytest.approx(100 * (HOUR_SECONDS - 30))


def test_idle_that_is_not_exposed_is_unknown_and_not_zero() -> None:
    made = (
        Made().node(line(60, SEEN)).node(line(40, SEEN), "idle", component="dram").node(line(5, SEEN), component="dram")
    )
    folded = made.folded()
    of_idle, of_active = ({folded.meters[m][1] for m in part.code} for part in (folded.idle, folded.active))
    assert (of_idle, of_active) == ({"dram"}, {"package", "dram"})
    assert only(made.fold().nodes, component="package")["metered_joules"] == pytest.approx(60 * HOUR_SECONDS)


def test_idle_that_appears_with_a_restart_counts_from_there() -> None:
    restart = clock("10:20")
    before, after = [s for s in SEEN if s <= restart], [s for s in SEEN if s > restart]
    made = Made().node(line(60, before, 90_000)).node(line(60, after, 600)).node(line(40, after, 400), "idle")
    node = only(made.both_ways(0, 1).nodes)
    assert node["coverage_ratio"] == pytest.approx(1 - 30 / HOUR_SECONDS)  # the restart's own interval lacks idle
    assert node["idle_joules"] == pytest.approx(40 * (2400 - 30))


def test_idle_resets_to_zero_with_kepler_and_what_both_lost_is_bridged() -> None:
    after, dynamic = restarted(600)
    idle = [*line(40, [s for s in SEEN if s not in after], 70_000), *line(40, after, 400)]
    node = only(Made().node(dynamic).node(idle, "idle").both_ways(0, 1).nodes)
    assert node["resets"] == 1
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)  # as INCREASE never says: 1,000 J + bridge
    assert node["bridged_joules"] == pytest.approx(100 * 30 - 1_000)
    assert node["idle_joules"] == pytest.approx(40 * (HOUR_SECONDS - 30) + 400 + 2_000)


def test_without_idle_nothing_is_bridged() -> None:
    _, dynamic = restarted(600)
    node = only(Made().node(dynamic).both_ways(0, 1).nodes)
    assert node["metered_joules"] == pytest.approx(60 * (HOUR_SECONDS - 30) + 600)
    assert node["bridged_joules"] == 0


def test_keplers_restart_resets_every_container_also_those_that_rose() -> None:
    after, dynamic = restarted(600)
    made = Made().node(dynamic).node(line(40, SEEN), "idle")
    made.container("c1", [*line(10, [s for s in SEEN if s not in after], 0), *line(50, after, 500)])
    made.container("c2", [(s, 1.0) for s in SEEN if s not in after] + line(1, after, 5.0), pod="quiet")
    energy = made.both_ways(0, 1)
    assert joules(energy, "shop/quiet") == pytest.approx(
        5 + (HOUR_SECONDS - 1230)
    )  # 5 J and not 4: c2 rose from 1 to 5
    assert joules(energy, "shop/web") == pytest.approx(10 * 1200 + 500 + 50 * (HOUR_SECONDS - 1230))


def test_containers_of_one_pod_are_added() -> None:
    energy = machine().container("c1", line(10, SEEN)).container("c2", line(5, SEEN, 77)).fold()
    row = only(energy.rows, kind="workload")
    assert row["energy_joules"] == pytest.approx(15 * HOUR_SECONDS)
    assert (row["namespace"], row["pod"], row["pod_uid"], row["container"]) == ("shop", "web", "shop/web", None)


def test_pods_of_one_name_in_two_namespaces_or_on_two_nodes_stay_apart() -> None:
    made = machine().container("c1", line(10, SEEN)).container("c2", line(5, SEEN), namespace="lab")
    made.node(line(60, SEEN), node="n2").node(line(4, SEEN), "idle", node="n2").container(
        "c3", line(3, SEEN), node="n2"
    )
    rows = made.fold().rows
    assert only(rows, node="n1", pod_uid="shop/web")["energy_joules"] == pytest.approx(10 * HOUR_SECONDS)
    assert only(rows, node="n1", pod_uid="lab/web")["energy_joules"] == pytest.approx(5 * HOUR_SECONDS)
    assert only(rows, node="n2", pod_uid="shop/web")["energy_joules"] == pytest.approx(3 * HOUR_SECONDS)


def test_a_containers_own_reset_counts_from_zero() -> None:
    points = [
        *line(10, [s for s in SEEN if s <= clock("10:20")]),
        *line(10, [s for s in SEEN if s > clock("10:20")], 100),
    ]
    energy = machine().container("c1", points).both_ways(0, 1)
    assert joules(energy, "shop/web") == pytest.approx(10 * (HOUR_SECONDS - 30) + 100)
    assert only(energy.nodes)["resets"] == 0


def test_pseudo_containers_are_system_and_the_rest_is_residual() -> None:
    made = machine().container("c1", line(30, SEEN))
    made.container("system_processes", line(20, SEEN), "system_processes", "system")
    made.container("kernel_processes", line(8.5, SEEN), "kernel_processes", "kernel")
    energy = made.fold()
    rows = where(energy.rows, kind="system")
    assert {row["workload"]: round(row["energy_joules"]) for row in rows} == {
        "system_processes": 20 * HOUR_SECONDS, "kernel_processes": round(8.5 * HOUR_SECONDS),
    }  # fmt: skip
    assert {row["namespace"] for row in rows} == {None}
    node = only(energy.nodes)
    assert node["residual_joules"] == pytest.approx(1.5 * HOUR_SECONDS)
    parts = sum(node[f"{part}_joules"] for part in ("workload", "system", "idle", "residual"))
    assert parts == pytest.approx(node["metered_joules"], rel=1e-9)


def test_a_container_that_learns_its_name_late_is_one_counter_of_its_pod() -> None:
    late = clock("10:05")
    made = machine().container("c1", [p for p in line(10, SEEN) if p[0] <= late], None, None)
    made.container("c1", [p for p in line(10, SEEN) if p[0] > late])
    assert joules(made.both_ways(0, 1), "shop/web") == pytest.approx(10 * HOUR_SECONDS)


def test_a_container_nobody_names_stands_for_itself() -> None:
    energy = machine().container("c1", line(10, SEEN), None, None).fold()
    row = only(energy.rows, kind="workload")
    assert (row["pod_uid"], row["pod"], row["namespace"]) == ("c1", None, None)


def born(at: str, watts: float = 10, first_joules: float = 100) -> Points:
    return line(watts, [s for s in SEEN if s >= clock(at)], first_joules)


def test_a_new_container_starts_from_zero_and_one_that_was_hidden_does_not() -> None:
    made = machine().container("c1", born("10:20"))
    seconds = HOUR_SECONDS - 1200
    assert joules(made.both_ways(0, 1), "shop/web") == pytest.approx(100 + 10 * seconds)
    hidden = made.fold(started={"shop/web": clock("09:00")})
    assert joules(hidden, "shop/web") == pytest.approx(10 * seconds)
    too_much = machine().container("c1", born("10:20", first_joules=1_900))  # the node used 1,800 J meanwhile
    assert joules(too_much.fold(), "shop/web") == pytest.approx(10 * seconds)


def test_a_container_started_again_in_an_old_pod_is_new() -> None:
    made = machine().container("c1", [p for p in line(10, SEEN) if p[0] <= clock("10:19")])
    made.container("c2", born("10:20"))
    energy = made.fold(started={"shop/web": clock("08:00")})
    tail = 10 * 30 / 2  # of the first container
    assert joules(energy, "shop/web") == pytest.approx(10 * 1140 + tail + 100 + 10 * (HOUR_SECONDS - 1200))


def test_workloads_on_a_node_without_counters_are_named_and_not_guessed() -> None:
    energy = machine().container("c9", line(1, SEEN), node="n9").fold()
    assert [node for _, node in energy.unmetered] == ["n9"]
    assert where(energy.rows, node="n9") == []


def totals(per_joule: float = 1.0) -> Made:
    """Package 60 W and dram 20 W, of which web uses a quarter and system_processes the rest; only totals of those."""
    made = machine().node(line(20, SEEN), component="dram").node(line(10, SEEN), "idle", component="dram")
    made.total("c1", line(20 * per_joule, SEEN))
    return made.total("system_processes", line(60 * per_joule, SEEN), "system_processes", "system")


def test_where_only_totals_are_left_they_are_split_by_the_nodes_components() -> None:
    energy = totals().both_ways(0, 1)
    assert joules(energy, "shop/web", component="package") == pytest.approx(15 * HOUR_SECONDS)
    assert joules(energy, "shop/web", component="dram") == pytest.approx(5 * HOUR_SECONDS)
    assert [row["residual_joules"] for row in energy.nodes.to_pylist()] == pytest.approx([0, 0], abs=1e-6)
    assert findings(totals().samples()) == []


def test_the_part_of_a_total_that_is_gpu_energy_is_left_to_the_gpu() -> None:
    made = machine().node(line(40, SEEN), component="gpu").total("c1", line(50, SEEN))
    energy = made.fold()
    assert joules(energy, "shop/web") == pytest.approx(30 * HOUR_SECONDS)
    assert where(energy.rows, component="gpu") == []


def test_totals_of_the_millijoule_release_are_corrected_by_its_declaration() -> None:
    made = totals(1000).version("v0.7.3", SEEN)
    assert joules(made.both_ways(0, 1), "shop/web", component="package") == pytest.approx(15 * HOUR_SECONDS)
    (finding,) = findings(made.samples())
    assert (finding.node, finding.problem) == ("n1", "millijoules")
    assert "0.7.3" in finding.evidence
    assert "divided by 1000" in finding.evidence


@pytest.mark.parametrize("version", [None, "v0.7.3-14-gdeadbee", "unknown"])
def test_totals_a_thousand_times_too_great_of_no_declared_release_are_withheld_with_evidence(
    version: str | None,
) -> None:
    made = totals(1000)
    if version:
        made.version(version, SEEN)
    energy = made.fold()
    assert {row["check"] for row in energy.nodes.to_pylist()} == {"workloads_exceed_active"}
    assert where(energy.rows, kind="workload") == []
    assert all("workloads exceed the node's active" in row["evidence"] for row in energy.withheld.to_pylist())
    (finding,) = findings(made.samples())
    assert finding.problem == "millijoules_suspected"
    assert "1000 times" in finding.evidence


def test_an_upgrade_from_the_millijoule_release_changes_the_unit_at_that_scrape() -> None:
    before, after = [s for s in SEEN if s <= clock("10:20")], [s for s in SEEN if s > clock("10:20")]
    made = Made().version("v0.7.3", before).version("v0.7.4", after)
    for mode, watts in (("dynamic", 60), ("idle", 40)):
        made.node([*line(watts, before, 5e4), *line(watts, after, 10 * watts)], mode)
    made.total("c1", [*line(20_000, before, 5e6), *line(20, after, 200)])
    tail = 20 * 30 - 200  # what the restart hid
    assert joules(made.both_ways(0, 1), "shop/web") == pytest.approx(20 * (HOUR_SECONDS - 30) + 200 + tail)
    assert [finding.problem for finding in findings(made.samples())] == ["millijoules", "whole_joules"]
    told = {check.name: check.detail for check in known_faults(made.samples()) if not check.passed}
    assert set(told) == {"kepler_legacy_millijoules", "kepler_legacy_whole_joules"}
    assert "0.7.3" in told["kepler_legacy_millijoules"]


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("v0.7.2", "uncore_twice"), ("v0.5.0", "uncore_twice"), ("v0.7.3", "millijoules"), ("v0.7.4", "whole_joules"),
        ("v0.7.10", "whole_joules"), ("v0.7.11", None), ("v0.9.0", None), ("v0.8", None),
    ],
)  # fmt: skip
def test_it_is_said_which_total_would_have_been_wrong(version: str, problem: str | None) -> None:
    found = findings(machine().container("c1", line(1, SEEN)).version(version, SEEN).samples())
    assert [(one.node, one.problem) for one in found] == ([("n1", problem)] if problem else [])
    assert all("component series are used" in one.evidence for one in found)


def test_nothing_at_all_folds_into_nothing() -> None:
    energy = Made().fold()
    assert (energy.rows.num_rows, energy.nodes.num_rows, energy.unmetered) == (0, 0, [])


def test_containers_without_any_node_counter_are_unmetered_and_do_not_fail() -> None:
    made = Made().container("c1", line(1, SEEN)).total("c2", line(1, SEEN))
    assert (made.fold().rows.num_rows, [node for _, node in made.fold().unmetered]) == (0, ["n1"])
