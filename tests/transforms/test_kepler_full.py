"""Kepler 0.10+ beyond package and pods: other zones, the host's own processes, guests, containers."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, churning, outages, restarting, simulate
from pipeline.demo.meters import KeplerMeter, Meters
from pipeline.demo.transport import FleetTransport
from pipeline.samples import KeplerSamples, MeterSamples, Transport
from pipeline.sources.meters import kepler
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window
from tests.transforms.made import (
    START,
    Counter,
    Made,
    Points,
    clock,
    differences,
    fold_both_ways,
    joined,
    joules,
    line,
    only,
    scrapes,
    unowned,
    where,
)

AT = scrapes("09:45", "12:15")
GAP_MS = 600_000
LEVELS = ("node", "pod", "container", "process", "vm")


class Full(Made):
    """Also processes of the host, stray containers and guests."""

    def __init__(self) -> None:
        super().__init__()
        self.outside, self.guests = Counter(), Counter()

    def host(self, points: Points, pid: str = "1", level: str = "process", component: str = "package") -> "Full":
        self.outside.add(("n1", component, level, pid), (), points)
        return self

    def guest(self, name: str, vm_id: str, points: Points) -> "Full":
        self.guests.add(("n1", "package", vm_id, name), (), points)
        return self

    def samples(self, start_ms: int = 0, end_ms: int = 1 << 60) -> MeterSamples:
        made = super().samples(start_ms, end_ms)
        none = pa.schema([])
        return KeplerSamples(
            made.meter, made.active, made.idle, made.raw, made.workloads, made.raw_ranges_joules,
            self.guests.samples(kepler.GUEST_IDENTITY, none, start_ms, end_ms),
            self.outside.samples(kepler.OUTSIDE_IDENTITY, none, start_ms, end_ms),
        )  # fmt: skip


def node(made: Made | None = None) -> Full:
    """100 W active, 50 W idle."""
    full = made if isinstance(made, Full) else Full()
    full.node(line(100, AT), line(50, AT))
    return full


def between(begin: str, end: str) -> list[float]:
    return [second for second in AT if clock(begin) <= second <= clock(end)]


# ---- zones ---------------------------------------------------------------------------------------------------------


def test_r1_psys_accounts_where_there_is_no_package_and_then_dram_is_inside_it() -> None:
    made = Made().node(line(90, AT), line(30, AT), component="psys").node(line(9, AT), line(3, AT), component="dram")
    energy = made.pod("uid", line(45, AT), component="psys").pod("uid", line(4, AT), component="dram").fold()
    assert only(energy.nodes)["component"] == "psys"
    assert only(energy.nodes)["metered_joules"] == pytest.approx(432_000)
    assert only(energy.rows, kind="workload")["energy_joules"] == pytest.approx(162_000)


def test_r1_package_and_dram_account_beside_psys() -> None:
    made = Made().node(line(90, AT), line(30, AT), component="psys").node(line(9, AT), line(3, AT), component="dram")
    energy = made.node(line(60, AT), line(20, AT)).pod("uid", line(45, AT), component="psys").fold()
    assert {row["component"] for row in energy.nodes.to_pylist()} == {"package", "dram"}
    assert where(energy.rows, kind="workload") == []


def test_dram_alone_accounts() -> None:
    assert only(Made().node(line(9, AT), line(3, AT), component="dram").fold().nodes)["component"] == "dram"


def test_a_zone_that_vanishes_is_followed_by_another_at_an_hours_edge_however_the_range_is_cut() -> None:
    # package until 10:58, psys from 10:05: package covers 58 minutes of hour 0, psys 55; of hour 1 psys all
    made = Made().node(line(60, between("09:45", "10:58")), line(20, between("09:45", "10:58")))
    made.node(line(90, between("10:05", "12:15")), line(30, between("10:05", "12:15")), component="psys")
    made.pod("uid", line(45, between("10:05", "12:15")), component="psys")
    energy = fold_both_ways(made, 0, 2)
    assert only(energy.nodes, hour=0)["component"] == "package"
    assert only(energy.nodes, hour=0)["metered_joules"] == pytest.approx(58 * 60 * 80)
    assert only(energy.nodes, hour=1)["component"] == "psys"
    assert only(energy.nodes, hour=1)["metered_joules"] == pytest.approx(432_000)
    assert joules(energy, "uid", hour=0, component="psys") == 0
    assert joules(energy, "uid", hour=1, component="psys") == pytest.approx(162_000)


def test_the_zone_that_covers_an_hour_clearly_better_accounts() -> None:
    made = Made().node(line(60, between("09:45", "10:30")), line(20, between("09:45", "10:30")))
    made.node(line(90, AT), line(30, AT), component="psys")
    energy = fold_both_ways(made, 0, 2)
    assert [row["component"] for row in energy.nodes.to_pylist()] == ["psys", "psys"]


def test_an_interval_over_an_edge_between_zones_is_cut_there() -> None:
    # scrapes at 10:59:40 and 11:00:10: package is last seen at 10:59:40 of hour 0, psys was there before
    at = [second + 10 for second in AT]
    early = [second for second in at if second < 3_600]
    made = Made().node(line(60, early), line(20, early)).node(line(90, at), line(30, at), component="psys")
    energy = fold_both_ways(made, 0, 2)
    assert only(energy.nodes, hour=0)["metered_joules"] == pytest.approx(80 * 3_580)
    assert only(energy.nodes, hour=1)["metered_joules"] == pytest.approx(120 * 3_600)
    assert only(energy.nodes, hour=1)["component"] == "psys"


def test_of_sensors_that_may_hold_each_other_the_greatest_accounts_as_other() -> None:
    made = Made().node(line(70, AT), line(30, AT), component="other/cpu power")
    made.node(line(90, AT), line(40, AT), line(130, AT), component="other/socket power")
    made.pod("uid", line(45, AT), component="other/socket power").pod("uid", line(44, AT), component="other/cpu power")
    energy = fold_both_ways(made, 0, 2)
    row = only(energy.nodes, hour=0)
    assert (row["component"], row["metered_joules"]) == ("other", pytest.approx(468_000))
    assert row["cross_ratio"] == pytest.approx(1.0)
    assert joules(energy, "uid", component="other") == pytest.approx(162_000)


def test_a_sensors_register_that_falls_is_unknown_because_its_range_is() -> None:
    raw = [(s, v if s < 1_800 else v - 100_000) for s, v in line(130, AT, 500_000)]
    made = Made().node(line(90, AT), line(40, AT), raw, component="other/socket power")
    assert only(made.fold().nodes)["cross_ratio"] is None


# ---- what runs outside workloads -----------------------------------------------------------------------------------


def test_processes_of_the_host_are_the_system_and_the_rest_is_residual() -> None:
    # pods 60 W, processes 30 W and 8 W: 2 W of 100 W are in neither
    energy = node().host(line(30, AT)).host(line(8, AT), pid="2").pod("uid", line(60, AT)).fold()
    row = only(energy.nodes)
    assert row["system_joules"] == pytest.approx(38 * 3_600)
    assert row["residual_joules"] == pytest.approx(2 * 3_600)
    assert row["check"] is None
    system = only(energy.rows, kind="system")
    assert system["energy_joules"] == pytest.approx(38 * 3_600)
    assert row["workload_joules"] + row["system_joules"] + row["residual_joules"] == pytest.approx(360_000, rel=1e-9)


def test_a_container_outside_pods_is_system_too() -> None:
    energy = node().host(line(30, AT)).host(line(10, AT), pid="c", level="container").pod("uid", line(60, AT)).fold()
    assert only(energy.nodes)["residual_joules"] == pytest.approx(0, abs=1e-6)


def test_a_residual_above_five_percent_is_withheld_with_its_evidence() -> None:
    energy = node().host(line(30, AT)).pod("uid", line(60, AT)).fold()
    assert only(energy.nodes)["check"] == "residual"
    assert where(energy.rows, kind="workload") == []


def test_an_hour_whose_processes_were_not_read_throughout_has_system_as_the_remainder() -> None:
    seen = between("09:45", "11:10")
    energy = fold_both_ways(node().host(line(40, seen)).pod("uid", line(60, AT)), 0, 2)
    assert only(energy.nodes, hour=0)["residual_joules"] == pytest.approx(0, abs=1e-6)
    assert only(energy.nodes, hour=1)["residual_joules"] is None
    assert only(energy.nodes, hour=1)["system_joules"] == pytest.approx(40 * 3_600)


def test_r9_a_reused_pid_that_jumps_is_refused_and_counts_on() -> None:
    jump = [(s, v + (9.2e14 if s >= 1_800 else 0)) for s, v in line(38, AT)]
    row = only(node().host(jump).pod("uid", line(60, AT)).fold().nodes)
    # one interval of 30 s x 38 W is missing
    assert row["system_joules"] == pytest.approx(38 * 3_570)
    assert row["check"] is None


def test_a_pid_that_begins_anew_below_its_old_value_counts_from_zero() -> None:
    points = [*line(38, [s for s in AT if s < 1_800]), *line(38, [s for s in AT if s >= 1_800], 500)]
    assert only(node().host(points).pod("uid", line(60, AT)).fold().nodes)["system_joules"] == pytest.approx(
        38 * 3_570 + 500
    )


def test_a_process_that_kepler_first_shows_late_brings_no_history() -> None:
    # 5 MJ at its first sample: more than the 1200 J that the pod leaves
    late = line(38, [s for s in AT if s >= 300], 5e6)
    made = node().host(line(2, AT), pid="2").host(late).pod("uid", line(60, AT))
    assert only(made.fold().nodes)["system_joules"] == pytest.approx(2 * 3_600 + 38 * 3_300)


def test_births_of_processes_have_only_the_room_that_pods_leave() -> None:
    # 3000 J in 30 s, 1980 J of them of a running pod: a new pod's 1000 J fit, beside them no process' 900 J
    made = node().host(line(30, AT)).host([(600.0, 900.0)], pid="2")
    energy = made.pod("stays", line(66, AT)).pod("new", [(600.0, 1_000.0)]).fold()
    assert joules(energy, "new") == pytest.approx(1_000)
    assert only(energy.nodes)["system_joules"] == pytest.approx(30 * 3_600)


def test_a_guest_is_a_virtual_machine_by_its_name_under_whatever_id() -> None:
    made = node().guest("db", "id-1", line(20, between("09:45", "10:30")))
    made.guest("db", "id-2", line(20, between("10:30", "12:15"))).guest("mail", "id-3", line(5, AT))
    energy = made.pod("uid", line(60, AT)).fold()
    row = only(energy.rows, workload="db")
    assert row["energy_joules"] == pytest.approx(72_000)
    assert (row["kind"], row["workload_kind"], row["owner_source"]) == ("workload", "VirtualMachine", "meter")
    assert only(energy.rows, workload="mail")["energy_joules"] == pytest.approx(18_000)
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(15 * 3_600)


# ---- simulated fleets ----------------------------------------------------------------------------------------------


def fold_fleet(
    fleet: Fleet, transport: Transport, window: Window, level: kepler.Level = "pod", step_minutes: int = 60
) -> Energy:
    samples = kepler.read(transport, (), window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS, level)
    started = {pod.uid: fleet.spec.start_ms + pod.created_ms for pod in fleet.pods}
    return fold(samples, window, FoldRules("demo", GAP_MS, step_minutes), unowned(window), started, None)


def with_kepler(spec: FleetSpec, **options: object) -> FleetSpec:
    return replace(spec, meters=(Meters(kepler=KeplerMeter(**options)),) * len(spec.sockets))  # type: ignore[arg-type] # by name


KINDS = {"churning": churning, "restarting": restarting}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("level", ["pod", "container"])
def test_p1_all_levels_of_a_fleet_close_and_are_near_truth(kind: str, level: kepler.Level) -> None:
    fleet = simulate(
        replace(with_kepler(KINDS[kind](3, START, 3, nodes=2, pods_per_node=4), levels=LEVELS), guests=(1, 0))
    )
    energy = fold_fleet(fleet, FleetTransport(fleet), fleet.spec.window, level)
    nodes = energy.nodes.to_pandas()
    parts = nodes[["workload_joules", "system_joules", "idle_joules", "residual_joules"]]
    full = nodes["coverage_ratio"] > 0.99
    assert full.sum() >= 4
    assert nodes["check"].isna().all()
    assert nodes.loc[full, "residual_joules"].notna().all()
    assert parts[full].sum(axis=1).to_numpy() == pytest.approx(nodes.loc[full, "metered_joules"].to_numpy(), rel=1e-9)
    truth = fleet.truth_nodes.to_pandas()
    truth["truth"] = truth["active_joules"] + truth["idle_joules"]
    key = ["hour_utc", "node", "component"]
    both = nodes[full].merge(truth, on=key)
    assert ((both["metered_joules"] / both["truth"] - 1).abs() < 0.005).all()


@pytest.mark.parametrize("level", ["pod", "container"])
def test_p2_all_levels_of_a_fleet_are_equal_however_the_range_is_cut(level: kepler.Level) -> None:
    spec = replace(
        outages(5, START, 4, nodes=2, pods_per_node=3), crash_loops=1, late_name_ratio=0.5, kepler_restarts=4,
        guests=(1, 0), platform_shares=(0.2, 0.2), jobs_per_hour=20.0,
        meters=(
            Meters(kepler=KeplerMeter(zones=("psys",), levels=LEVELS, named=False)),
            Meters(kepler=KeplerMeter(zones=("package", "dram", "psys"), levels=LEVELS)),
        ),
    )  # fmt: skip
    fleet = simulate(spec)
    transport, whole = FleetTransport(fleet), spec.window
    hour = timedelta(hours=1)
    parts = [
        fold_fleet(fleet, transport, Window(START + i * hour, START + (i + 1) * hour), level, 15) for i in range(4)
    ]
    energy = fold_fleet(fleet, transport, whole, level, 15)
    assert differences(energy, joined(parts)) == []
    assert {row["component"] for row in energy.nodes.to_pylist()} == {"psys", "package", "dram"}
    assert sum(energy.rows["tail_joules"].to_pylist()) > 0


def test_containers_are_rows_of_their_pod_and_as_much_as_it() -> None:
    fleet = simulate(with_kepler(churning(2, START, 3, nodes=1, pods_per_node=4), levels=LEVELS))
    pods, containers = (
        fold_fleet(fleet, FleetTransport(fleet), fleet.spec.window, level) for level in ("pod", "container")
    )

    def by_pod(energy: Energy) -> Mapping[str, float]:
        rows = energy.rows.to_pandas().query("kind == 'workload'")
        return rows.groupby("pod_uid")["energy_joules"].sum().to_dict()

    of_pods, of_containers = by_pod(pods), by_pod(containers)
    assert len(of_containers) > 10
    steady = [
        pod.uid for pod in fleet.pods if pod.runs_ms[0][0] < 0 and pod.runs_ms[-1][1] > fleet.spec.hours * 3_600_000
    ]
    assert len(steady) >= 2
    for uid in steady:
        assert of_containers[uid] == pytest.approx(of_pods[uid], rel=1e-6)
    rows = [row for row in containers.rows.to_pylist() if row["kind"] == "workload"]
    assert all(row["container"] and row["pod"] and row["namespace"] for row in rows)
    key = [(row["hour_utc"], row["component"], row["pod_uid"], row["container"]) for row in rows]
    assert len(set(key)) == len(key)


def test_psys_only_nodes_are_within_half_a_percent_of_truth() -> None:
    spec = with_kepler(replace(churning(4, START, 3, nodes=2), platform_shares=(0.2, 0.3)), zones=("psys",))
    fleet = simulate(spec)
    nodes = fold_fleet(fleet, FleetTransport(fleet), spec.window).nodes.to_pandas()
    assert set(nodes["component"]) == {"psys"}
    truth = fleet.truth_nodes.to_pandas()
    truth = truth[truth["component"].isin(["package", "dram"])]
    below = (truth["active_joules"] + truth["idle_joules"]).groupby([truth["hour_utc"], truth["node"]]).sum()
    shares = np.array([{"node-1": 1.2, "node-2": 1.3}[name] for name in nodes["node"]])
    expected = np.array([below[hour, name] for hour, name in zip(nodes["hour_utc"], nodes["node"], strict=True)])
    assert nodes["metered_joules"].to_numpy() == pytest.approx(expected * shares, rel=0.005)
