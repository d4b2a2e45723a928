"""Scaphandre's traps, each with numbers that can be checked on paper."""

import numpy as np
import pytest

from pipeline.sources.meters import scaphandre
from tests.transforms.made import AMD_RANGE, PACKAGE_RANGE, clock, joules, only, owners_of, scrapes, where
from tests.transforms.made_scaphandre import INSTANCE, POD, MadeScaphandre, flat, fold_both_ways, register

NODE = "10.0.0.1"
AT = scrapes("09:45", "12:15")  # two hours and what lies around them
DRAM_RANGE = 65_712.999613


def steady(package: float = 100.0, dram: float = 20.0) -> MadeScaphandre:
    """A node of 100 W packages and 20 W dram; a pod takes 24 W of them, the host's own processes 12 W."""
    made = MadeScaphandre().socket(register(package, AT)).version(1.02, AT)
    made.process(1, flat(12.0, AT), "kubelet").process(2, flat(24.0, AT), **POD)
    return made.dram(register(dram, AT, wraps=DRAM_RANGE)) if dram else made


def test_a_process_power_splits_over_package_and_dram_as_the_host_used_them() -> None:
    energy = fold_both_ways(steady(), 0, 2)
    assert joules(energy, "shop/web") == pytest.approx(24 * 3600 * 100 / 120)
    assert joules(energy, "shop/web", component="dram") == pytest.approx(24 * 3600 * 20 / 120)
    for component, metered, share in (("package", 360_000.0, 100 / 120), ("dram", 72_000.0, 20 / 120)):
        row = only(energy.nodes, hour=0, component=component)
        assert row["metered_joules"] == pytest.approx(metered)
        assert row["system_joules"] == pytest.approx(12 * 3600 * share)
        assert row["idle_joules"] == pytest.approx(metered - 36 * 3600 * share)
        assert row["residual_joules"] == pytest.approx(0, abs=1e-6)
        assert (row["coverage_ratio"], row["check"], row["meter"]) == (1.0, None, "scaphandre")
    assert only(energy.rows, hour=0, kind="system", component="package")["workload"] == "host_processes"


def test_up_to_0_5_processes_are_part_of_the_packages_alone() -> None:
    made = MadeScaphandre().socket(register(100, AT)).dram(register(20, AT, wraps=DRAM_RANGE)).version(0.50, AT)
    energy = fold_both_ways(made.process(2, flat(24.0, AT), **POD), 0, 2)
    assert joules(energy, "shop/web") == pytest.approx(24 * 3600)
    assert where(energy.rows, component="dram", kind="workload") == []
    assert only(energy.nodes, hour=0, component="dram")["idle_joules"] == pytest.approx(72_000)


@pytest.mark.parametrize(("sums_dram", "package_joules"), [(True, 72_000.0), (False, 86_400.0)])
def test_without_a_version_the_host_counter_tells_what_it_sums(*, sums_dram: bool, package_joules: float) -> None:
    package, dram = register(100, AT), register(20, AT, wraps=DRAM_RANGE)
    made = MadeScaphandre().socket(package).dram(dram).process(2, flat(24.0, AT), **POD)
    host = [(second, a + (b if sums_dram else 0)) for (second, a), (_, b) in zip(package, dram, strict=True)]
    assert joules(made.add(scaphandre.HOST, host, 1e6).fold(), "shop/web") == pytest.approx(package_joules)


def test_power_as_a_share_of_psys_is_scaled_to_the_registers_inside_it() -> None:
    made = steady().add(scaphandre.HOST, register(150, AT), 1e6, value_source="powercap_rapl_psys")
    energy = fold_both_ways(made, 0, 2)
    assert joules(energy, "shop/web") == pytest.approx(24 / 150 * 360_000)
    assert joules(energy, "shop/web", component="dram") == pytest.approx(24 / 150 * 72_000)
    assert {row["component"] for row in energy.nodes.to_pylist()} == {"package", "dram"}


def test_the_host_counter_is_never_energy_and_each_register_wraps_alone() -> None:
    """Two sockets of 95 W; their sum falls by a range at each wrap, which PromQL takes for a restart."""
    made = MadeScaphandre().version(1.02, AT).process(1, flat(10, AT))
    made.socket(register(95, AT, PACKAGE_RANGE - 100_000)).socket(register(95, AT, PACKAGE_RANGE - 300_000), "1")
    energy = fold_both_ways(made, 0, 2)
    nodes = [only(energy.nodes, hour=hour) for hour in (0, 1)]
    assert [row["metered_joules"] for row in nodes] == [pytest.approx(684_000), pytest.approx(684_000)]
    assert [row["wraps"] for row in nodes] == [3, 2]


def test_a_register_of_the_smaller_range_is_known_by_what_it_never_exceeds() -> None:
    made = MadeScaphandre().version(1.02, AT).process(1, flat(10, AT)).socket(register(150, AT, 65_000, AMD_RANGE))
    energy = fold_both_ways(made, 0, 2)
    assert only(energy.nodes, hour=0)["metered_joules"] == pytest.approx(540_000)
    assert only(energy.nodes, hour=0)["wraps"] == 8


def test_the_scrape_of_a_wrap_lacks_all_process_power_and_is_given_the_mean_of_its_neighbours() -> None:
    wrap = clock("10:20")
    at = [second for second in AT if second != wrap]
    made = MadeScaphandre().version(1.02, AT)
    made.socket(register(100, AT, PACKAGE_RANGE - 100 * (wrap - AT[0]) + 500))
    before, after = [s for s in at if s < wrap], [s for s in at if s > wrap]
    made.process(2, flat(20, before), **POD).process(2, flat(30, after), **POD)
    row = only(fold_both_ways(made, 0, 2).nodes, hour=0)
    assert row["bridged_joules"] == pytest.approx(25 * 30)
    seconds = len([s for s in before if s > 0]) * 30, len([s for s in after if s <= 3600]) * 30
    assert row["workload_joules"] == pytest.approx(20 * seconds[0] + 30 * seconds[1] + 25 * 30)
    assert (row["coverage_ratio"], row["wraps"], row["metered_joules"]) == (1.0, 1, pytest.approx(360_000))


def test_two_wraps_in_a_row_leave_two_holes_and_both_are_carried() -> None:
    holes = [clock("10:20"), clock("10:20:30")]
    made = MadeScaphandre().version(1.02, AT).process(1, flat(10, [s for s in AT if s not in holes]))
    for number, hole in enumerate(holes):
        made.socket(register(50, AT, PACKAGE_RANGE - 50 * (hole - AT[0]) + 700), str(number))
    row = only(fold_both_ways(made, 0, 2).nodes, hour=0)
    assert (row["bridged_joules"], row["coverage_ratio"], row["wraps"]) == (pytest.approx(10 * 60), 1.0, 2)


def test_a_process_only_one_neighbour_of_the_hole_knows_is_given_half_of_its_power() -> None:
    hole = clock("10:20")
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT))
    made.process(1, flat(10, [s for s in AT if s != hole]))
    made.process(2, flat(40, [s for s in AT if s < hole]), **POD)
    assert only(made.fold().nodes, hour=0)["bridged_joules"] == pytest.approx((10 + 20) * 30)


def test_two_scrapes_without_processes_are_a_gap_and_not_idleness() -> None:
    at = [s for s in AT if s not in (clock("10:20"), clock("10:20:30"))]
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(1, flat(10, at))
    row = only(fold_both_ways(made, 0, 2).nodes, hour=0)
    assert row["metered_joules"] == pytest.approx(360_000 - 60 * 100)
    assert row["coverage_ratio"] == pytest.approx(1 - 60 / 3600)
    assert row["unplaced_joules"] is None


def test_a_long_gap_is_not_joined_and_nobody_knows_its_joules() -> None:
    at = [s for s in AT if not clock("10:20") < s < clock("10:31")]
    made = MadeScaphandre().version(1.02, at).socket(register(100, at)).process(1, flat(10, at))
    row = only(fold_both_ways(made, 0, 2).nodes, hour=0)
    assert row["coverage_ratio"] == pytest.approx(1 - 11 / 60)
    assert row["unplaced_joules"] is None
    assert only(made.fold(0, 2).nodes, hour=1)["unplaced_joules"] == 0


def frozen(begin: str, end: str) -> MadeScaphandre:
    """Every value of the scrapes from `begin` until before `end` is that of `begin`."""

    def held(second: float) -> float:
        return clock(begin) if clock(begin) <= second < clock(end) else second

    truth = dict(register(100, AT))
    made = MadeScaphandre().version(1.02, AT).socket([(s, truth[held(s)]) for s in AT])
    thaw = clock(end)
    return made.process(2, [(s, 40.0 if s == thaw else 20.0) for s in AT], **POD)


def test_a_short_standstill_is_one_long_interval() -> None:
    """Five minutes: the first fresh gauge is the mean of all of them."""
    row = only(fold_both_ways(frozen("10:20", "10:25"), 0, 2).nodes, hour=0)
    assert (row["coverage_ratio"], row["metered_joules"]) == (1.0, pytest.approx(360_000))
    assert row["workload_joules"] == pytest.approx(20 * 3300 + 40 * 300)


@pytest.mark.parametrize("begin", ["10:20", "10:49:30", "10:50", "10:51"])
def test_a_long_standstill_is_a_gap_and_does_not_pile_up_where_it_ends(begin: str) -> None:
    """Begun around 10:50 and ended at 11:01:30, its first scrape is where the next hour's extract begins."""
    end = "10:45" if begin == "10:20" else "11:01:30"
    energy = fold_both_ways(frozen(begin, end), 0, 2)
    metered = sum(row["metered_joules"] for row in where(energy.nodes))
    assert metered == pytest.approx(720_000 - 100 * (clock(end) - clock(begin)))


def test_labels_that_come_late_hold_for_the_process_first_samples() -> None:
    born = clock("10:30")
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(1, flat(10, AT))
    late = [s for s in AT if s >= born + 60]
    made.process(7, flat(30, [s for s in AT if born <= s < born + 60]), container_id="c1")
    made.process(7, flat(30, late), **POD)
    energy = fold_both_ways(made, 0, 2)
    assert joules(energy, "shop/web") == pytest.approx(30 * (1800 + 30 + 15))  # 15 s before its first power
    assert len(where(energy.rows, hour=0, kind="workload")) == 1


def test_another_container_of_a_pod_is_the_same_workload() -> None:
    made = steady(dram=0).process(3, flat(6, AT), **POD | {"container_id": "c2"})
    assert joules(made.fold(), "shop/web") == pytest.approx(30 * 3600)


def test_a_reused_pid_does_not_inherit_the_pod_of_another_program() -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT))
    made.process(7, flat(30, [s for s in AT if s <= clock("10:30")]), **POD)
    made.process(7, flat(30, [s for s in AT if s > clock("10:30")]), "cron")
    energy = fold_both_ways(made, 0, 2)
    assert joules(energy, "shop/web") == pytest.approx(30 * 1800)
    assert only(energy.nodes, hour=0)["system_joules"] == pytest.approx(30 * 1800)


def test_an_unlabelled_container_is_named_by_kubernetes_with_its_pod_uid() -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(24, AT), container_id="c9")
    told = {
        "container_id": "containerd://c9",
        "uid": "u-1",
        "namespace": "shop",
        "pod": "web-0",
        "instance": "ksm:8080",
    }
    made.add(scaphandre.CONTAINERS, flat(1, AT), **told)
    owners = owners_of({"u-1": ("StatefulSet", "web")})
    (row,) = where(made.fold(owners=owners).rows, kind="workload")
    assert (row["pod_uid"], row["namespace"], row["pod"]) == ("u-1", "shop", "web-0")
    assert (row["workload_kind"], row["workload"], row["owner_source"]) == ("StatefulSet", "web", "kube-state-metrics")
    assert row["energy_joules"] == pytest.approx(24 * 3600)


def test_a_container_that_nobody_names_is_a_workload_by_its_id() -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(24, AT), container_id="c9")
    (row,) = where(made.fold().rows, kind="workload")
    assert (row["pod_uid"], row["pod"], row["workload"]) == ("c9", None, None)


def test_a_qemu_guest_is_a_virtual_machine() -> None:
    energy = steady(dram=0).process(9, flat(30, AT), "qemu-system-x86_64", vmname="db-vm").fold()
    row = only(energy.rows, hour=0, workload="db-vm")
    assert (row["kind"], row["workload_kind"], row["owner_source"]) == ("workload", "VirtualMachine", "meter")
    assert row["energy_joules"] == pytest.approx(30 * 3600)
    assert only(energy.nodes, hour=0)["workload_joules"] == pytest.approx(54 * 3600)


def test_the_node_is_called_as_its_pods_say_also_where_registers_cannot() -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(1, flat(5, AT))
    made.process(2, flat(24, AT), **POD | {"kubernetes_node_name": "worker-1"})
    energy = fold_both_ways(made, 0, 2)
    assert {row["node"] for table in (energy.rows, energy.nodes) for row in table.to_pylist()} == {"worker-1"}


@pytest.mark.parametrize(("watts", "check"), [(130.0, "workloads_exceed_active"), (101.0 - 1e-6, None)])
def test_pods_above_the_registers_by_more_than_one_percent_are_withheld(watts: float, check: str | None) -> None:
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(2, flat(watts, AT), **POD)
    energy = fold_both_ways(made, 0, 2)
    row = only(energy.nodes, hour=0)
    assert (row["check"], row["metered_joules"]) == (check, pytest.approx(360_000))
    assert row["idle_joules"] == 0
    assert energy.withheld.num_rows == (2 if check else 0)
    assert row["quarantined_joules"] == pytest.approx(watts * 3600 if check else 0)


def test_pods_and_host_processes_above_the_registers_show_as_residual_and_beyond_5_percent_are_withheld() -> None:
    for host_watts, check in ((13.0, None), (30.0, "residual")):
        made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(1, flat(host_watts, AT))
        row = only(made.process(2, flat(90, AT), **POD).fold().nodes, hour=0)
        assert row["check"] == check
        if check is None:
            assert row["residual_joules"] == pytest.approx(-3 * 3600)


def test_a_register_that_comes_or_goes_leaves_a_gap_and_no_jump() -> None:
    second = [s for s in AT if s >= clock("10:30")]
    made = MadeScaphandre().version(1.02, AT).process(1, flat(10, AT)).socket(register(100, AT))
    row = only(made.socket(register(50, second, 40_000), "1").fold().nodes, hour=0)
    assert row["metered_joules"] == pytest.approx(100 * 3570 + 50 * 1800)
    assert row["coverage_ratio"] == pytest.approx(1 - 30 / 3600)


@pytest.mark.parametrize("down", [30, 180])
def test_a_machine_that_started_again_is_a_gap_and_no_wrap(down: int) -> None:
    """Its register begins at 0: taken for a wrap, half a day's fall would be 126 kJ in 30 s or three minutes."""
    stop, start = clock("10:30"), clock("10:30") + down
    at = [s for s in AT if s <= stop or s >= start]
    points = [(s, 1_000 + 50 * (s - AT[0]) if s <= stop else 50 * (s - start)) for s in at]
    made = MadeScaphandre().version(1.02, at).process(1, flat(10, at)).socket(points)
    row = only(fold_both_ways(made, 0, 2).nodes, hour=0)
    assert row["metered_joules"] == pytest.approx(50 * (3600 - down))
    assert row["unplaced_joules"] is None


def test_processes_of_a_host_without_registers_are_named_as_unmetered() -> None:
    made = steady().process(5, flat(9, AT), instance="10.0.0.9:8080")
    energy = made.fold()
    assert [node for _, node in energy.unmetered] == ["10.0.0.9"]
    assert {row["node"] for row in energy.nodes.to_pylist()} == {NODE}


def test_nothing_there_folds_to_nothing() -> None:
    energy = MadeScaphandre().fold()
    assert (energy.rows.num_rows, energy.nodes.num_rows, energy.unmetered) == (0, 0, [])


def test_two_scrape_jobs_of_one_exporter_count_once() -> None:
    made = steady(dram=0)
    for job in ("a", "b"):
        made.add(scaphandre.PROCESSES, flat(24.0, AT), 1e6, pid="2", exe="app", cmdline="x", job=job, **POD)
        made.add(scaphandre.SOCKETS, register(100, AT), 1e6, socket_id="0", job=job, instance=INSTANCE)
    row = only(made.fold().nodes, hour=0)
    assert (row["metered_joules"], row["workload_joules"]) == (pytest.approx(360_000), pytest.approx(24 * 3600))


def test_values_that_are_no_power_give_no_energy() -> None:
    strange = [(s, np.nan if s == clock("10:30") else 24.0) for s in AT]
    made = MadeScaphandre().version(1.02, AT).socket(register(100, AT)).process(1, flat(1, AT))
    assert joules(made.process(2, strange, **POD).fold(), "shop/web") == pytest.approx(24 * 3570)
