"""Kepler 0.10 and newer: every way in which its values mislead, as the sheet's tables list them."""

import pytest

from tests.transforms.made import PACKAGE_RANGE, Points, clock, line, only, where
from tests.transforms.made_scaphandre import flat, register
from tests.traps.made_kepler import HOUR_SECONDS, SEEN, Kepler, counter_increase, energies, steady

RESTART = clock("10:30")
BEFORE = [second for second in SEEN if second < RESTART]
AFTER = [second for second in SEEN if second >= RESTART]
PHANTOM = 150_000.0  # what a register may hold when a new Kepler first reads it


def restarted(watts: float, before: float, after: float) -> Points:
    """A counter that shows `after` at 10:30, the first scrape of a new Kepler."""
    return [*line(watts, BEFORE, before), *line(watts, AFTER, after)]


def test_a_single_sockets_raw_register_wraps_and_goes_on_through_a_restart() -> None:
    """1.4, first row. It wraps at 10:10:15 and 10:53:57, Kepler restarts at 10:30: no joule is lost or doubled."""
    raw = register(100, SEEN, at=PACKAGE_RANGE - 100 * (clock("10:10:15") - SEEN[0]))
    kepler = Kepler().zone(restarted(60, 500.0, 600.0), restarted(40, 9_000.0, raw[len(BEFORE)][1]), raw)
    node = only(kepler.fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert (node["wraps"], node["resets"], node["cross_ratio"]) == (2, 1, pytest.approx(1.0))


@pytest.mark.parametrize("jump", [-PACKAGE_RANGE, 0.0, PACKAGE_RANGE])
def test_several_sockets_raw_counter_jumps_by_whole_ranges_at_a_restart(jump: float) -> None:
    """1.4, second row. Two sockets: their sum is off by a whole range after the restart, which PromQL believes."""
    raw = [*line(100, BEFORE, 270_000.0), *line(100, AFTER, 270_000.0 + 100 * (RESTART - SEEN[0]) + jump)]
    node = only(Kepler().zone(restarted(60, 500.0, 600.0), restarted(40, 9_000.0, PHANTOM), raw).fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert node["bridged_joules"] == pytest.approx(100 * 30 - 600)
    inside = [point for point in raw if 0 <= point[0] <= HOUR_SECONDS]
    assert jump == 0 or abs(counter_increase(inside) - 100 * HOUR_SECONDS) > 170_000


def test_the_active_counter_resets_to_zero_and_counts_what_it_shows() -> None:
    """1.4, third row. Of the restart's 30 s the new Kepler saw 10: 600 J, the first value after the drop."""
    energy = Kepler().zone(restarted(60, 70_000.0, 600.0), restarted(40, 9_000.0, PHANTOM)).fold()
    node = only(energy.nodes)
    assert node["metered_joules"] - node["idle_joules"] == pytest.approx(60 * (HOUR_SECONDS - 30) + 600)


@pytest.mark.parametrize("begun", [200_000.0, 9_000.0], ids=["falls", "rises"])
def test_the_idle_counter_starts_with_the_whole_register_at_a_restart(begun: float) -> None:
    """1.4, fourth row. 150 kJ of nothing, whether the counter falls or rises to it: PromQL adds at least 30 kJ."""
    idle = restarted(40, begun, PHANTOM)
    inside = [point for point in idle if 0 <= point[0] <= HOUR_SECONDS]
    assert counter_increase(inside) > 40 * HOUR_SECONDS + 30_000
    node = only(Kepler().zone(restarted(60, 70_000.0, 600.0), idle).fold().nodes)
    assert node["idle_joules"] == pytest.approx(40 * (HOUR_SECONDS - 30) + 100 * 30 - 600)


def test_active_and_idle_part_from_the_total_at_its_first_wrap_and_are_believed() -> None:
    """1.4, fifth row. Four wraps in an hour at 250 W: the total says little, the other two all."""
    raw = register(250, SEEN)
    node = only(Kepler().zone(line(150, SEEN), line(100, SEEN, 9.0), raw).fold().nodes)
    assert node["metered_joules"] == pytest.approx(250 * HOUR_SECONDS)
    assert (node["wraps"], node["cross_ratio"]) == (4, pytest.approx(1.0))


def test_a_workloads_counter_set_back_to_zero_in_mid_life_goes_on_from_there() -> None:
    """1.4, sixth row. dram stood still for one interval, so the pod's 5 kJ became 0: nothing is lost or doubled."""
    held = line(10, BEFORE)
    node = [*held, *line(10, AFTER, held[-1][1])]
    pod = [*line(4, BEFORE, 5_000.0), (RESTART, 0.0), *line(4, AFTER[1:], 4 * 30.0)]
    kepler = Kepler().zone(node, line(2, SEEN), zone="dram").pod(pod, zone="dram")
    energy = kepler.fold()
    assert energies(energy, kind="workload") == pytest.approx(4 * (HOUR_SECONDS - 30))
    assert only(energy.nodes)["metered_joules"] == pytest.approx(10 * (HOUR_SECONDS - 30) + 2 * HOUR_SECONDS)


def test_a_reused_pid_that_jumps_by_an_unsigned_overflow_is_no_energy() -> None:
    """1.4, seventh row. A negative difference in uint64 microjoules: 2^64 uJ, 1.8e13 J."""
    points = [(second, joules + (2.0**64 / 1e6 if second >= RESTART else 0.0)) for second, joules in line(20, SEEN)]
    energy = steady().process(points, "77").process(line(39, SEEN), "1").fold()
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert node["system_joules"] == pytest.approx(59 * HOUR_SECONDS - 20 * 30)
    assert node["check"] is None


def test_a_pod_in_a_crash_loop_ends_and_starts_again_from_zero_under_its_id() -> None:
    """1.4, eighth row. 20 W until 10:20, its last total 200 J later, and from 10:30 on again from 0."""
    until = [second for second in SEEN if second <= clock("10:20")]
    first = line(20, until, 80_000.0)
    last = [(clock("10:20:30"), first[-1][1] + 200.0)]
    again = line(20, AFTER, 100.0)
    energy = steady().pod(first).pod(last, state="terminated").pod(again).fold({"uid-web": clock("09:00")})
    row = only(energy.rows, kind="workload")
    assert row["energy_joules"] - row["tail_joules"] == pytest.approx(20 * 1200 + 200 + 100 + 20 * 1800)


def test_a_last_total_that_is_seen_once_counts_and_one_that_nobody_saw_stays_with_the_system() -> None:
    """1.4, ninth row. A job of 900 J between two scrapes: its last total is a row; without it no pod is named."""
    seen = steady().pod([(RESTART, 900.0)], state="terminated").fold()
    assert energies(seen, kind="workload") == pytest.approx(900)
    unseen = steady().fold()
    assert where(unseen.rows, kind="workload") == []
    for energy in (seen, unseen):
        assert energies(energy, kind="workload") + energies(energy, kind="system") == pytest.approx(60 * HOUR_SECONDS)


def test_watts_that_speak_of_five_seconds_of_a_minute_are_not_energy() -> None:
    """1.4, tenth row. The gauges happen to catch 700 W at every scrape of a node of 100 W."""
    kepler = steady().pod(line(20, SEEN))
    for metric in ("kepler_node_cpu_watts", "kepler_node_cpu_active_watts", "kepler_node_cpu_idle_watts"):
        kepler.add(metric, flat(700, SEEN), zone="package")
    kepler.add("kepler_pod_cpu_watts", flat(700, SEEN), zone="package", pod_id="uid-web", state="running")
    assert energies(kepler.fold()) == pytest.approx(100 * HOUR_SECONDS)


def test_a_fake_meter_is_followed_through_a_register_that_wraps_at_one_joule() -> None:
    """1.6. 3e-5 W, two fifths idle; the register wraps at 1 J, which no hardware does: no ratio is told."""
    raw = [(second, (0.95 + 3e-5 * (second - SEEN[0])) % 1.0) for second in SEEN]
    assert min(joules for _, joules in raw) < 0.06, "it wraps"
    energy = Kepler().zone(line(1.8e-5, SEEN), line(1.2e-5, SEEN), raw).pod(line(1e-5, SEEN)).fold()
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(3e-5 * HOUR_SECONDS)
    assert (node["cross_ratio"], node["check"]) == (None, None)
    assert energies(energy, kind="workload") == pytest.approx(1e-5 * HOUR_SECONDS)


def test_a_machine_without_any_sensor_has_no_row_and_its_pods_are_named_as_unmetered() -> None:
    """1.6 and 8 (no power in VMs). Kepler without node counters: nothing is 0, the node is told."""
    energy = Kepler().pod(line(20, SEEN)).fold()
    assert (energy.rows.num_rows, energy.nodes.num_rows, [node for _, node in energy.unmetered]) == (0, 0, ["n1"])


def test_all_zeros_are_zeros_and_not_null_and_nobody_gets_a_share() -> None:
    """8 (#897, #707: all zeros). A sensor that stands still is metered as 0; that is not the same as none."""
    energy = Kepler().zone(flat(0, SEEN), flat(0, SEEN)).pod(flat(0, SEEN)).fold()
    node = only(energy.nodes)
    assert (node["metered_joules"], node["coverage_ratio"]) == (0.0, 1.0)
    assert energies(energy) == 0.0


def test_peta_joules_on_a_pod_are_in_quarantine_by_name_and_in_no_sum() -> None:
    """8 (#897). 9.2e14 J at one scrape of one pod."""
    points = [(second, joules + (9.2e14 if second >= RESTART else 0.0)) for second, joules in line(20, SEEN)]
    energy = steady().pod(points).fold()
    row = only(energy.withheld)
    assert (row["kind"], row["namespace"], row["pod"], row["pod_uid"]) == ("workload", "shop", "web", "uid-web")
    assert row["energy_joules"] == pytest.approx(9.2e14)
    assert energies(energy, kind="workload") == pytest.approx(20 * (HOUR_SECONDS - 30))
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)


@pytest.mark.parametrize(("sockets", "believed"), [(1, False), (5, True)])
def test_nine_kilowatts_are_too_much_for_one_socket_and_not_for_five(sockets: int, believed: bool) -> None:  # noqa: FBT001 # a case
    """8 (#1344: 9 kW on 35 W machines). `kepler_node_cpu_info` says how many sockets there are."""
    leap = 8_900 * 30.0
    active = [(second, joules + (leap if second >= RESTART else 0.0)) for second, joules in line(60, SEEN)]
    kepler = Kepler().zone(active, line(40, SEEN))
    for socket in range(sockets):
        kepler.add("kepler_node_cpu_info", flat(1, SEEN), physical_id=str(socket), processor=str(socket), node_name="")
    node = only(kepler.fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS + leap if believed else 100 * (HOUR_SECONDS - 30))
    assert node["check"] == (None if believed else "implausible")


def test_workloads_above_their_node_are_withheld_and_their_energy_is_the_systems() -> None:
    """8 (#1344: more than the node). Two pods of 40 W where the node is active with 60."""
    kepler = steady().pod(line(40, SEEN)).pod(line(40, SEEN), pod_id="uid-db", pod_name="db")
    energy = kepler.fold()
    assert {row["check"] for row in energy.withheld.to_pylist()} == {"workloads_exceed_active"}
    assert where(energy.rows, kind="workload") == []
    assert energies(energy, kind="system") == pytest.approx(60 * HOUR_SECONDS)
    assert only(energy.nodes)["quarantined_joules"] == pytest.approx(80 * HOUR_SECONDS)


def test_idle_that_goes_to_zero_under_load_takes_nothing_from_the_nodes_sum() -> None:
    """8 (#2465). From 10:30 on all 100 W are active: Kepler's idle is what utilisation leaves, not a base load."""
    active = [*line(60, BEFORE), *line(100, AFTER, 60 * (RESTART - SEEN[0]))]
    idle = [*line(40, BEFORE), *flat(40 * (RESTART - SEEN[0]), AFTER)]
    node = only(Kepler().zone(active, idle).fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert node["idle_joules"] == pytest.approx(40 * 1800)


def test_dram_has_rows_of_its_own_beside_package() -> None:
    """8 (#2363: where is dram). One pod, both zones."""
    kepler = steady().pod(line(20, SEEN)).pod(line(3, SEEN), zone="dram")
    energy = kepler.zone(line(6, SEEN), line(4, SEEN), zone="dram").fold()
    assert energies(energy, component="dram", pod="web") == pytest.approx(3 * HOUR_SECONDS)
    assert energies(energy, pod="web") == pytest.approx(23 * HOUR_SECONDS)
    assert energies(energy) == pytest.approx(110 * HOUR_SECONDS)


def test_a_nodes_energy_is_its_workloads_and_system_and_idle() -> None:
    """8 (#1958, #1849: node against its containers). The line that users miss, in one row."""
    node = only(steady().pod(line(20, SEEN)).fold().nodes)
    parts = [node[f"{part}_joules"] for part in ("workload", "system", "idle")]
    assert parts == pytest.approx([20 * HOUR_SECONDS, 40 * HOUR_SECONDS, 40 * HOUR_SECONDS])
    assert node["metered_joules"] == pytest.approx(sum(parts), rel=1e-12)


def test_what_totals_lose_at_a_restart_is_not_lost_to_the_hour() -> None:
    """8 (#575, #305: totals do not survive). A restart within the hour takes nothing out of it."""
    kepler = Kepler().zone(restarted(60, 500.0, 600.0), restarted(40, 9_000.0, PHANTOM))
    kepler.pod(restarted(20, 777.0, 200.0))
    energy = kepler.fold()
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)
    assert energies(energy, kind="workload") == pytest.approx(20 * HOUR_SECONDS, rel=0.01)
