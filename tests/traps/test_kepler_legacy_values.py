"""Kepler 0.5 to 0.9: every way in which its labels and values mislead, as the sheet's tables list them."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

import pytest

from pipeline.transforms.energy import Energy
from tests.transforms.exposed import Exposed
from tests.transforms.made import Points, clock, line, only, scrapes, where
from tests.transforms.made_scaphandre import flat
from tests.traps.made_kepler import HOUR_SECONDS, SEEN, energies

TARGET = {"instance": "10.0.0.1:9102", "job": "kepler", "namespace": "kepler", "pod": "kepler-abc"}
WEB = {"container_id": "c1", "pod_name": "web", "container_name": "app", "container_namespace": "shop"}
NODE, CONTAINER = "kepler_node_{}_joules_total", "kepler_container_{}joules_total"
RESTART = clock("10:30")


def pseudo(name: str, namespace: str) -> dict[str, str]:
    return dict.fromkeys(("container_id", "pod_name", "container_name"), name) | {"container_namespace": namespace}


class OldKepler(Exposed):
    """One node, 60 W of package dynamic and 40 W idle, of which a pod has 20 W, the system 30 W, the kernel 10 W."""

    def __init__(self, **more: str) -> None:
        super().__init__(**(TARGET | {"source": "rapl-sysfs"} | more))

    def node(self, points: Points, mode: str = "dynamic", component: str = "package", **labels: str) -> Self:
        """One socket's counter."""
        told = {"package": "0", "exported_instance": "n1", "mode": mode} | labels
        return self.add(NODE.format(component), points, **told)

    def container(
        self, points: Points, who: dict[str, str], component: str = "package_", mode: str = "dynamic"
    ) -> Self:
        """One container's counter; component "" for the sum of all."""
        return self.add(CONTAINER.format(component), points, mode=mode, **who)

    def everybody(
        self, component: str = "package_", per_joule: float = 1.0, more: Mapping[str, str] | None = None
    ) -> Self:
        """The pod and both pseudo containers."""
        watts = (WEB, 20), (pseudo("system_processes", "system"), 30), (pseudo("kernel_processes", "kernel"), 10)
        for who, power in watts:
            self.container(line(power * per_joule, SEEN, 7_000.0), who | dict(more or {}), component)
        return self

    def version(self, version: str) -> Self:
        """What Kepler says of itself."""
        return self.add("kepler_exporter_build_info", flat(1, SEEN), version=version)

    def fold(self) -> Energy:
        """The hour from 10:00."""
        return self.booked("kepler_legacy")


def steady(**more: str) -> OldKepler:
    return OldKepler(**more).node(line(60, SEEN)).node(line(40, SEEN, 5e5), "idle")


@pytest.mark.parametrize(
    ("node", "container"),
    [
        ({"source": "intel_rapl"}, {"command": "sh", "source": ""}),
        ({"source": "intel_rapl"}, {"source": ""}),
        ({"source": "rapl-sysfs"}, {"source": "rapl-sysfs"}),
    ],
    ids=["0.5", "0.6 to 0.7.2", "0.7.3 to 0.9"],
)
def test_the_labels_of_every_version_give_the_same_rows(node: dict[str, str], container: dict[str, str]) -> None:
    """2.2, all three rows. Where processes are exposed they subdivide what the containers hold already."""
    kepler = OldKepler(source="").node(line(60, SEEN), **node).node(line(40, SEEN, 5e5), "idle", **node)
    kepler.everybody(more=container)
    for pid, power in (("7", 30), ("8", 20)):
        kepler.add("kepler_process_package_joules_total", line(power, SEEN), pid=pid, command="x", mode="dynamic")
    energy = kepler.fold()
    row = only(energy.rows, kind="workload")
    assert (row["node"], row["namespace"], row["pod"]) == ("n1", "shop", "web")
    assert row["energy_joules"] == pytest.approx(20 * HOUR_SECONDS)
    assert energies(energy, kind="system") == pytest.approx(40 * HOUR_SECONDS)
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)


def test_a_namespace_label_is_keplers_own_and_names_no_workload() -> None:
    """2.2. `namespace="kepler"` is on every series: no row may say so, with or without a workload's own."""
    kepler = steady().everybody().container(line(0.5, SEEN), {"container_id": "c9"})
    assert {row["namespace"] for row in kepler.fold().rows.to_pylist()} == {"shop", None}


@pytest.mark.parametrize("honored", [False, True])
def test_the_nodes_instance_is_stored_as_exported_instance_unless_labels_are_honored(honored: bool) -> None:  # noqa: FBT001 # a case
    """2.2. Either way the pod is on n1 and not on 10.0.0.1."""
    labels = {"exported_instance": "", "instance": "n1"} if honored else {}
    kepler = OldKepler().node(line(60, SEEN), **labels).node(line(40, SEEN), "idle", **labels).everybody()
    energy = kepler.fold()
    assert {row["node"] for row in energy.rows.to_pylist()} == {"n1"}
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)


def test_another_source_after_an_upgrade_is_the_same_counter() -> None:
    """2.2 and 8 (#1615). At 10:30 `intel_rapl` becomes `rapl-sysfs`: new series, nothing new."""
    kepler = OldKepler(source="")
    for begin, end, source in ((SEEN[0], RESTART, "intel_rapl"), (RESTART, SEEN[-1] + 1, "rapl-sysfs")):
        for watts, mode in ((60, "dynamic"), (40, "idle")):
            kepler.node([p for p in line(watts, SEEN, 9e5) if begin <= p[0] < end], mode, source=source)
        held = [p for p in line(20, SEEN, 9e5) if begin <= p[0] < end]
        kepler.container(held, WEB | {"source": source})
    energy = kepler.fold()
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)


def test_pseudo_containers_are_the_system_under_their_own_names() -> None:
    """2.2. They hold two thirds of what is dynamic here, and are nobody's namespace."""
    energy = steady().everybody().fold()
    system = {row["workload"]: row["energy_joules"] for row in where(energy.rows, kind="system")}
    assert system == {
        "system_processes": pytest.approx(30 * HOUR_SECONDS), "kernel_processes": pytest.approx(10 * HOUR_SECONDS),
    }  # fmt: skip


@pytest.mark.parametrize(("version", "unit"), [("v0.7.3", 1000.0), ("v0.7.4", 1.0)])
def test_container_totals_of_0_7_3_are_millijoules(version: str, unit: float) -> None:
    """2.3, first bullet. Only totals are left: a thousand times too much in exactly one release."""
    energy = steady().everybody("", unit).version(version).fold()
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)
    told = {check.name: check.passed for check in energy.faults}
    assert told["kepler_legacy_millijoules"] is (unit == 1.0)


def test_the_component_series_of_0_7_3_are_joules_already() -> None:
    """2.3, first bullet. Beside them the total is not read: nothing is divided."""
    energy = steady().everybody().everybody("", 1000).version("v0.7.3").fold()
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)


def test_container_totals_of_0_7_4_to_0_7_10_are_cut_to_whole_joules() -> None:
    """2.3, second bullet. A quiet pod of 0.01 W shows 0, 0, 0, 1: over the hour it lacks less than a joule."""
    cut = [(second, float(int(joules))) for second, joules in line(0.01, SEEN, 0.3)]
    kepler = steady().everybody("").container(cut, WEB | {"container_id": "c2", "pod_name": "quiet"}, "")
    energy = kepler.version("v0.7.8").fold()
    assert energies(energy, pod="quiet") == pytest.approx(0.01 * HOUR_SECONDS, abs=1.0)
    (told,) = [check for check in energy.faults if check.name == "kepler_legacy_whole_joules"]
    assert not told.passed


def test_container_totals_up_to_0_7_2_count_uncore_twice_and_are_withheld_where_they_exceed_the_node() -> None:
    """2.1. Of a pod's 55 W package 10 W are uncore: its total says 65 W of a node that is active with 60."""
    kepler = steady().container(line(65, SEEN), WEB, "").version("v0.7.2")
    energy = kepler.fold()
    assert {row["check"] for row in energy.nodes.to_pylist()} == {"workloads_exceed_active"}
    assert where(energy.rows, kind="workload") == []
    (told,) = [check for check in energy.faults if check.name == "kepler_legacy_uncore_twice"]
    assert "uncore twice" in told.detail


def test_idle_that_is_not_exposed_is_null_also_beside_totals_that_say_0() -> None:
    """2.3, third bullet. From 0.7.3 on the total with mode="idle" is always there, as 0: it means nothing."""
    kepler = OldKepler().node(line(60, SEEN)).everybody().container(flat(0, SEEN), WEB, "", "idle")
    energy = kepler.fold()
    node = only(energy.nodes)
    assert (node["idle_joules"], node["metered_joules"]) == (None, pytest.approx(60 * HOUR_SECONDS))
    assert where(energy.rows, kind="idle") == []


def test_what_a_skipped_wrap_lost_is_lacking_and_nothing_is_invented() -> None:
    """2.3, fourth bullet. At 10:30 three seconds of 60 W are not counted: the sum lacks 180 J, 0.08 %."""
    points = [(second, joules - (180.0 if second >= RESTART else 0.0)) for second, joules in line(60, SEEN)]
    node = only(OldKepler().node(points).node(line(40, SEEN), "idle").everybody().fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS - 180)
    assert (node["resets"], node["check"]) == (0, None)


def test_an_aggregate_that_overflows_to_0_counts_from_there() -> None:
    """2.3, fourth bullet. The node's dynamic counter is set to 0 while Kepler runs: a reset, no negative energy."""
    points = [*line(60, [s for s in SEEN if s < RESTART], 1.8e16), *line(60, [s for s in SEEN if s >= RESTART])]
    node = only(OldKepler().node(points).fold().nodes)
    assert node["metered_joules"] == pytest.approx(60 * (HOUR_SECONDS - 30), abs=4)  # float64 near 1.8e16 counts by 2
    assert node["resets"] == 1


def test_all_totals_restart_from_0_with_kepler_and_with_their_container() -> None:
    """2.3, last bullet. Kepler restarts at 10:30 and the pod's container at 10:45, each seen 10 s later."""

    def counter(watts: float, *starts: str) -> Points:
        edges = [-9e9, *(clock(start) for start in starts), 9e9]
        parts = [[s for s in SEEN if a < s <= b] for a, b in pairwise(edges)]
        first = line(watts, parts[0], 6e5)
        return [*first, *(p for part in parts[1:] for p in line(watts, part, watts * 10))]

    kepler = OldKepler().node(counter(60, "10:30")).node(counter(40, "10:30"), "idle")
    kepler.container(counter(20, "10:30", "10:45"), WEB)
    energy = kepler.fold()
    node = only(energy.nodes)
    assert (node["metered_joules"], node["resets"]) == (pytest.approx(100 * HOUR_SECONDS), 1)
    assert node["bridged_joules"] == pytest.approx(100 * 20)
    assert energies(energy, pod="web") == pytest.approx(20 * (HOUR_SECONDS - 20))  # the first restart is bridged


def test_platform_is_never_added_to_its_parts() -> None:
    """2.1 and 8 (#1932: platform below core). ACPI says 130 W of a node whose package and dram are 110."""
    kepler = steady().node(line(6, SEEN), component="dram").node(line(4, SEEN), "idle", "dram").everybody()
    kepler.node(line(130, SEEN), component="platform", package="sensor0", source="acpi")
    kepler.node(line(20, SEEN), component="other", package="")
    for inside in ("core", "uncore"):
        kepler.node(line(15, SEEN), component=inside)
    assert energies(kepler.fold()) == pytest.approx(110 * HOUR_SECONDS)


def test_containers_gpu_energy_of_either_kepler_is_told_apart_by_its_labels() -> None:
    """2.4. `kepler_container_gpu_joules_total` of old Kepler is in no sum of packages."""
    kepler = steady().everybody().container(line(50, SEEN), WEB, "gpu_")
    assert energies(kepler.fold()) == pytest.approx(100 * HOUR_SECONDS)


def test_idle_per_container_is_the_nodes_idle_and_given_to_nobody() -> None:
    """8 (#1194, #2149). Each container claims an idle share of its own: together more than there is."""
    kepler = steady().everybody()
    for component in ("package_", ""):
        kepler.container(line(40, SEEN), WEB, component, "idle")
    energy = kepler.fold()
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)
    assert energies(energy, kind="idle") == pytest.approx(40 * HOUR_SECONDS)


def test_a_system_of_a_megawatt_is_out_of_the_hour() -> None:
    """8 (#1074). One interval of `system_processes` at 1.2 MW."""
    leap = 1.2e6 * 30
    points = [(second, joules + (leap if second >= RESTART else 0.0)) for second, joules in line(30, SEEN)]
    kepler = steady().container(points, pseudo("system_processes", "system")).container(line(20, SEEN), WEB)
    energy = kepler.container(line(10, SEEN), pseudo("kernel_processes", "kernel")).fold()
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert node["quarantined_joules"] == pytest.approx(leap + 30 * 30)
    row = only(energy.withheld)
    assert (row["kind"], row["workload"], row["pod"]) == ("system", "system_processes", None)


def test_the_kernel_above_what_its_node_drew_is_withheld() -> None:
    """8 (#1279). 70 W of kernel on a node that is active with 60."""
    energy = steady().container(line(70, SEEN), pseudo("kernel_processes", "kernel")).fold()
    assert only(energy.nodes)["check"] == "residual"
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)


def test_scrapes_of_three_seconds_say_the_same_as_of_thirty() -> None:
    """2. The repository's own ServiceMonitor offers 3 s; counters do not care."""
    often = scrapes("09:45", "11:15", 3)
    kepler = OldKepler().node(line(60, often)).node(line(40, often), "idle").container(line(20, often), WEB)
    energy = kepler.fold()
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)
    assert energies(energy, pod="web") == pytest.approx(20 * HOUR_SECONDS)
