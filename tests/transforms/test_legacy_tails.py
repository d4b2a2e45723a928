"""Old Kepler's unseen tails: taken from what is left beside its own system, or from the bridge; then known joules.

The node's package draws 60 W dynamic and 40 W idle, scraped every 30 s.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.demo.fleet import Fleet, simulate
from pipeline.demo.meters import LegacyMeter, Meters
from pipeline.demo.spec import FleetSpec
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Transport
from pipeline.transforms.energy import Energy
from tests.transforms.made import Points, clock, joules, line, only, where
from tests.transforms.made_legacy import KINDS, SEEN, START_UTC, Made, OnlyTotals, folded_energy, machine, restarted

SYSTEM = {"system_processes": "system", "kernel_processes": "kernel"}


def until(end: str, watts: float) -> Points:
    return line(watts, [s for s in SEEN if s <= clock(end)])


def tail(energy: Energy, uid: str = "shop/web", component: str = "package") -> float:
    return float(only(energy.rows, pod_uid=uid, component=component)["tail_joules"])


def with_system(watts: float, extra: Callable[[float], float]) -> Made:
    """The node with pseudo containers of `watts`, a tenth of it the kernel's, and `extra` joules up to a second."""
    made = machine()
    for name, part in (("system_processes", 0.9), ("kernel_processes", 0.1)):
        points = [(s, value + part * extra(s)) for s, value in line(part * watts, SEEN)]
        made.container(name, points, name, SYSTEM[name])
    return made


def test_where_the_system_is_not_shown_a_dead_containers_tail_is_half_of_the_interval() -> None:
    energy = machine().container("c1", until("10:20", 40)).both_ways(0, 1)
    assert tail(energy) == pytest.approx(40 * 15)
    assert joules(energy, "shop/web") == pytest.approx(40 * 1_200 + 600)
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(60 * 3_600 - 40 * 1_200 - 600)


def system_after(end: str, lived: float) -> Callable[[float], float]:
    """Joules above 20 W: the system has all 60 W once a container of 40 W is gone `lived` seconds after `end`."""
    return lambda second: 40 * max(0.0, second - clock(end) - lived)


@pytest.mark.parametrize("lived", [2, 20, 29])
def test_where_the_system_is_shown_the_tail_is_what_is_left_beside_it(lived: int) -> None:
    made = with_system(20, system_after("10:20", lived)).container("c1", until("10:20", 40))
    energy = made.both_ways(0, 1)
    assert tail(energy) == pytest.approx(40 * lived)
    node = only(energy.nodes)
    assert node["residual_joules"] == pytest.approx(0, abs=1e-6)
    parts = sum(node[f"{part}_joules"] for part in ("workload", "system", "idle", "residual"))
    assert parts == pytest.approx(node["metered_joules"], rel=1e-9)


def test_what_is_left_beside_the_system_is_no_more_than_the_last_power_for_the_whole_interval() -> None:
    # the system has nothing for a minute after 10:20: 1800 J are left in each of two intervals
    later = system_after("10:20", 60)
    made = with_system(20, lambda s: later(s) - 20 * min(max(0.0, s - clock("10:20")), 60.0))
    energy = made.container("c1", until("10:20", 40)).fold()
    assert tail(energy) == pytest.approx(40 * 30)
    assert only(energy.nodes)["residual_joules"] == pytest.approx(3_600 - 1_200)


def test_two_that_die_in_one_interval_share_what_is_left() -> None:
    # 10 W and 30 W, gone after 9 s: 360 J are left where 300 J and 900 J are wanted
    made = with_system(20, system_after("10:20", 9))
    made.container("c1", until("10:20", 10), "one").container("c2", until("10:20", 30), "two")
    energy = made.fold()
    assert [tail(energy, uid) for uid in ("shop/one", "shop/two")] == pytest.approx([90, 270])


def test_a_container_of_which_scrapes_are_missing_has_no_tail() -> None:
    points = [p for p in line(40, SEEN) if not clock("10:20") < p[0] < clock("10:25")]
    assert tail(machine().container("c1", points).both_ways(0, 1)) == 0.0


def test_a_tail_across_the_hour_is_split_at_it_under_the_same_name() -> None:
    at = [second + 15 for second in SEEN]
    made = machine(at).container("c1", line(40, [s for s in at if s < clock("11:00")]))
    hours = made.both_ways(0, 2)
    rows = {row["hour_utc"].hour: row for row in where(hours.rows, pod_uid="shop/web")}
    assert [rows[hour]["tail_joules"] for hour in (10, 11)] == pytest.approx([300, 300])
    assert {(row["namespace"], row["pod"]) for row in rows.values()} == {("shop", "web")}


def bridged(container: float, system: float) -> Made:
    """Kepler restarts between 10:20:00 and 10:20:30 and counts 10 s of it: 60 W dynamic, 40 W idle, 2000 J bridged."""
    after, dynamic = restarted(600)
    before = [s for s in SEEN if s not in after]
    made = Made().node(dynamic).node([*line(40, before, 70_000), *line(40, after, 400)], "idle")
    for name, namespace, watts in (
        ("c1", "shop", container), ("system_processes", "system", 0.9 * system),
        ("kernel_processes", "kernel", 0.1 * system),
    ):  # fmt: skip
        made.container(name, [*line(watts, before, 9_000), *line(watts, after, 10 * watts)], name, namespace)
    return made


def test_what_a_restart_hid_of_pods_and_of_the_system_comes_out_of_the_bridge() -> None:
    energy = bridged(25, 35).both_ways(0, 1)
    assert tail(energy, "shop/c1") == pytest.approx(25 * 20)
    assert joules(energy, "shop/c1") == pytest.approx(25 * 3_600)
    system = where(energy.rows, kind="system")
    assert sum(row["energy_joules"] for row in system) == pytest.approx(35 * 3_600)
    assert sum(row["tail_joules"] for row in system) == pytest.approx(35 * 20)
    node = only(energy.nodes)
    assert (node["bridged_joules"], node["idle_joules"]) == (pytest.approx(2_000), pytest.approx(40 * 3_600))
    assert node["metered_joules"] == pytest.approx(100 * 3_600)
    assert node["residual_joules"] == pytest.approx(0, abs=1e-6)


def test_a_restart_hides_nothing_where_nothing_is_bridged() -> None:
    after, dynamic = restarted(600)
    points = [*line(25, [s for s in SEEN if s not in after], 9_000), *line(25, after, 250)]
    energy = Made().node(dynamic).container("c1", points).both_ways(0, 1)
    assert tail(energy) == 0.0
    assert joules(energy, "shop/web") == pytest.approx(25 * 3_570 + 250)


def of_totals(points: Points) -> Made:
    """Package 60 W and dram 20 W; idle 40 W and 10 W; of the container only the total of both is known."""
    made = machine().node(line(20, SEEN), component="dram").node(line(10, SEEN), "idle", component="dram")
    return made.total("c1", points)


def test_a_tail_of_a_total_is_split_as_the_total_is() -> None:
    energy = of_totals(until("10:20", 40)).both_ways(0, 1)
    assert tail(energy) == pytest.approx(0.75 * 40 * 15)
    assert tail(energy, component="dram") == pytest.approx(0.25 * 40 * 15)


def test_a_component_gives_no_more_of_a_total_than_its_own_bridge() -> None:
    """A restart that counts 10 s of package, and of dram as much as it lost: nothing is bridged there."""
    after, dynamic = restarted(600)
    before = [s for s in SEEN if s not in after]
    made = Made().node(dynamic).node([*line(40, before, 70_000), *line(40, after, 400)], "idle")
    for mode, watts in (("dynamic", 20), ("idle", 10)):
        made.node([*line(watts, before, 50_000), *line(watts, after, 30 * watts)], mode, component="dram")
    made.total("c1", [*line(40, before, 9_000), *line(40, after, 400)])
    energy = made.both_ways(0, 1)
    assert tail(energy, component="dram") == 0.0
    assert 0 < tail(energy) <= only(energy.nodes, component="package")["bridged_joules"]
    for row in energy.nodes.to_pylist():
        parts = sum(row[f"{part}_joules"] or 0.0 for part in ("workload", "system", "idle", "residual"))
        assert parts == pytest.approx(row["metered_joules"], rel=1e-9)


def test_a_restart_of_which_a_component_lacks_a_scrape_hides_nothing_of_it() -> None:
    """The total is read at 10:20, the memory's counter is not: only the package's part is known."""
    after, dynamic = restarted(600)
    before = [s for s in SEEN if s not in after]
    made = Made().node(dynamic).node([*line(40, before, 70_000), *line(40, after, 400)], "idle")
    for mode, watts in (("dynamic", 20), ("idle", 10)):
        seen = [p for p in line(watts, before, 50_000) if p[0] != clock("10:20")]
        made.node([*seen, *line(watts, after, 10 * watts)], mode, component="dram")
    made.total("c1", [*line(40, before, 9_000), *line(40, after, 400)])
    energy = made.both_ways(0, 1)
    assert tail(energy, component="dram") == 0.0
    assert tail(energy) > 0
    for row in energy.nodes.to_pylist():
        assert row["idle_joules"] <= {"package": 40, "dram": 10}[row["component"]] * 3_600 + row["bridged_joules"]
        assert row["metered_joules"] == pytest.approx(100 * 3_600 if row["component"] == "package" else 30 * 3_600)


def fleet_of(kind: str, seed: int, hours: int) -> Fleet:
    spec: FleetSpec = KINDS[kind](seed, START_UTC, hours, nodes=2, pods_per_node=4)
    return simulate(replace(spec, double_restarts=0, meters=(Meters(legacy=LegacyMeter("0.9.0")),) * 2))


def errors_percent(fleet: Fleet, transport: Transport) -> tuple[float, float]:
    """Error of all pods' energy, without and with tails."""
    rows = folded_energy(transport, fleet.spec.window).rows.to_pandas().query("kind == 'workload'")
    truth = fleet.truth_pods["energy_joules"].to_numpy().sum()
    whole, tails = rows["energy_joules"].sum(), rows["tail_joules"].sum()
    return 100 * ((whole - tails) / truth - 1), 100 * (whole / truth - 1)


@pytest.mark.parametrize("of", [FleetTransport, OnlyTotals])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("kind", "times"), [("restarting", 8), ("churning", 2)])
def test_p8_tails_bring_pods_of_old_kepler_nearer_to_truth(
    kind: str, times: int, seed: int, of: Callable[[Fleet], Transport]
) -> None:
    fleet = fleet_of(kind, seed, 6)
    without, with_ = errors_percent(fleet, of(fleet))
    assert without < -0.5
    assert abs(with_) < abs(without) / times
