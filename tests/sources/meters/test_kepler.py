"""What Kepler's labels mean: one counter a node and zone, one a pod and zone, whatever scraped it in which state."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, KeplerSamples, Samples
from pipeline.sources.meters import kepler
from pipeline.sources.prometheus.selectors import Matcher

Labels = dict[str, str | None]


class Told:
    """A transport that answers each metric with the series it is told, and remembers what was asked."""

    def __init__(self, series: dict[str, list[Labels]], parts: int = 1) -> None:
        self.asked: list[tuple[str, int, int]] = []
        self._series, self._parts = series, parts

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        self.asked.append((selector, start_ms, end_ms))
        rows = self._series.get(selector.partition("{")[0], [])
        names = sorted({name for row in rows for name in row})
        for part in range(self._parts if rows else 0):
            labels = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
            stamps = np.full(len(rows), 1_000 * part, dtype=np.int64)
            values = np.arange(len(rows), dtype=np.float64) + 100 * part
            yield Block(labels, np.arange(len(rows) + 1), stamps, values)


def counters(samples: Samples) -> list[tuple[object, ...]]:
    """(identity, names, stamp, value) of every sample."""
    identity, names = samples.identity.to_pylist(), samples.names.to_pylist()
    return [
        (*identity[code].values(), *(names[name].values() if names else ()), int(stamp), float(value))
        for code, name, stamp, value in zip(samples.code, samples.name, samples.stamp_ms, samples.value, strict=True)
    ]


def pod(**labels: str | None) -> Labels:
    return {"node_name": "n1", "zone": "package", "pod_id": "u1", "pod_name": "p", "pod_namespace": "a"} | labels


def test_a_pods_states_and_targets_are_one_counter() -> None:
    series = [pod(state="running", instance="a:1"), pod(state="terminated", instance="b:1", job="x", pod="kepler-z")]
    samples = kepler.read(Told({kepler.PODS: series}), [], 0, 1).workloads
    assert samples.identity.to_pylist() == [{"node": "n1", "component": "package", "pod_uid": "u1"}]
    assert samples.code.tolist() == [0, 0]


def test_names_that_come_late_change_the_name_and_not_the_counter() -> None:
    samples = kepler.read(Told({kepler.PODS: [pod(pod_name="", pod_namespace=""), pod()]}), [], 0, 1).workloads
    assert samples.identity.num_rows == 1
    assert samples.names.to_pylist() == [
        {"namespace": "", "pod": "", "state": None}, {"namespace": "a", "pod": "p", "state": None},
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"zone": "dram"}, {"pod_id": "u2"}, {"node_name": "n2"}])
def test_another_zone_pod_or_node_is_another_counter(change: dict[str, str]) -> None:
    samples = kepler.read(Told({kepler.PODS: [pod(), pod(**change)]}), [], 0, 1).workloads
    assert samples.identity.num_rows == 2


@pytest.mark.parametrize("pod_id", [None, ""])
def test_a_pod_without_an_id_is_known_by_namespace_and_name(pod_id: str | None) -> None:
    samples = kepler.read(
        Told({kepler.PODS: [pod(pod_id=pod_id), pod(pod_id=pod_id, pod_name="q")]}), [], 0, 1
    ).workloads
    assert [row["pod_uid"] for row in samples.identity.to_pylist()] == ["a/p", "a/q"]


def test_a_series_in_several_parts_is_one_counter() -> None:
    samples = kepler.read(Told({kepler.PODS: [pod(), pod(pod_id="u2")]}, parts=2), [], 0, 1).workloads
    assert samples.identity.num_rows == 2
    assert [(row[2], *row[-2:]) for row in counters(samples)] == [
        ("u1", 0, 0.0), ("u2", 0, 1.0), ("u1", 1000, 100.0), ("u2", 1000, 101.0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "node"),
    [
        ({"node_name": "n1", "instance": "10.0.0.1:28282"}, "n1"),
        ({"instance": "10.0.0.1:28282"}, "10.0.0.1"),
        ({"node_name": "", "instance": "host.example:9102"}, "host.example"),
        ({"instance": "[fd00::1]:28282"}, "[fd00::1]"),
        ({"instance": "host"}, "host"),
    ],
)
def test_a_node_is_known_by_its_name_or_by_its_exporters_host(labels: dict[str, str], node: str) -> None:
    assert kepler.node_of(labels) == node


def test_every_level_is_asked_for_with_the_users_selector_and_workloads_by_the_usual_zones_only() -> None:
    transport = Told({})
    kepler.read(transport, [Matcher("cluster", "=", 'a"b')], 5, 9)
    user, usual = 'cluster="a\\"b"', 'zone=~"package|dram"'
    assert transport.asked == [
        *((f'{metric}{{zone!~"core|uncore",{user}}}', 5, 9) for metric in (kepler.ACTIVE, kepler.IDLE, kepler.RAW)),
        (f"{kepler.PODS}{{{usual},{user}}}", 5, 9),
        (f"{kepler.GUESTS}{{{usual},{user}}}", 5, 9),
        (f'{kepler.PROCESSES}{{{usual},container_id="",{user}}}', 5, 9),
    ]


class Zoned(Told):
    """As `Told`, but minds the condition on the zone."""

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        condition = re.search(r'zone(=~|!~)"([^"]*)"', selector)
        assert condition is not None
        for block in super().blocks(selector, start_ms, end_ms):
            named = [condition[2].split("|").count(zone) > 0 for zone in block.labels["zone"].to_pylist()]
            kept = np.flatnonzero(np.array(named) == (condition[1] == "=~"))
            offsets = np.arange(len(kept) + 1)
            yield Block(block.labels.take(kept), offsets, block.stamps_ms[kept], block.values[kept])


def node_zones(*zones: str, node: str = "n1", **labels: str | None) -> list[Labels]:
    return [{"node_name": node, "zone": zone, **labels} for zone in zones]


def read_zones(*zones: str) -> KeplerSamples:
    """A node and a pod that show these zones."""
    nodes = node_zones(*zones)
    series = dict.fromkeys((kepler.ACTIVE, kepler.IDLE, kepler.RAW), nodes)
    return kepler.read(Zoned(series | {kepler.PODS: [pod(zone=zone) for zone in zones]}), [], 0, 1)


@pytest.mark.parametrize(
    ("zones", "components"),
    [
        (("psys",), {"psys"}),
        (("psys", "core", "uncore"), {"psys"}),
        (("package", "dram", "psys", "core"), {"package", "dram"}),
        (("CPU power",), {"other/CPU power"}),
        (("CPU power", "IO power"), {"other/CPU power", "other/IO power"}),
        (("package", "CPU power"), {"package"}),
        (("psys", "CPU power"), {"psys"}),
    ],
)
def test_r1_a_zone_always_seen_beside_one_that_holds_it_is_not_read(
    zones: tuple[str, ...], components: set[str]
) -> None:
    samples = read_zones(*zones)
    for part in (samples.active, samples.idle, samples.raw, samples.workloads):
        assert {row["component"] for row in part.identity.to_pylist()} == components
        assert len(part.value) == len(components)


def test_psys_of_one_node_does_not_hide_package_of_another() -> None:
    nodes = [*node_zones("psys"), *node_zones("package", "psys", node="n2")]
    series = dict.fromkeys((kepler.ACTIVE, kepler.IDLE), nodes)
    samples = kepler.read(Zoned(series), [], 0, 1)
    assert samples.active.identity.to_pylist() == [
        {"node": "n1", "component": "psys"}, {"node": "n2", "component": "package"},
    ]  # fmt: skip


def test_the_paths_and_targets_of_one_zone_are_one_counter_of_a_node_known_by_its_instance() -> None:
    rows = [
        *node_zones("package", node="", instance="10.0.0.7:28282", path="/sys/intel-rapl:0", job="a"),
        *node_zones("package", node="", instance="10.0.0.7:9102", path="aggregated-package", job="b"),
    ]
    samples = kepler.read(Told({kepler.ACTIVE: rows, kepler.IDLE: rows}), [], 0, 1)
    assert samples.active.identity.to_pylist() == [{"node": "10.0.0.7", "component": "package"}]
    assert samples.active.code.tolist() == [0, 0]


def process(**labels: str | None) -> Labels:
    return {"node_name": "n1", "zone": "package", "pid": "7", "comm": "sshd", "type": "regular"} | labels


def test_processes_of_the_host_are_known_by_pid_whatever_they_execute() -> None:
    series = [process(), process(comm="bash", exe="/bin/bash"), process(pid="8")]
    samples = kepler.read(Told({kepler.PROCESSES: series}), [], 0, 1).outside
    assert [(row["level"], row["id"]) for row in samples.identity.to_pylist()] == [("process", "7"), ("process", "8")]
    assert samples.code.tolist() == [0, 0, 1]


def test_what_has_a_container_or_a_counter_of_its_own_is_no_process_of_the_host() -> None:
    told = {
        kepler.PROCESSES: [process(), process(pid="8", container_id="c"), process(pid="9", vm_id="v1"),
                           process(pid="10", vm_id="v2")],
        kepler.GUESTS: [{"node_name": "n1", "zone": "package", "vm_id": "v1", "vm_name": "db"}],
    }  # fmt: skip
    samples = kepler.read(Told(told), [], 0, 1)
    assert [row["id"] for row in samples.outside.identity.to_pylist()] == ["7", "10"]
    assert [row["vm_name"] for row in samples.guests.identity.to_pylist()] == ["db"]


def container(**labels: str | None) -> Labels:
    return {
        "node_name": "n1",
        "zone": "package",
        "container_id": "c1",
        "container_name": "web",
        "pod_id": "u1",
    } | labels


def test_containers_without_a_pod_are_outside_where_processes_are_kept() -> None:
    stray = container(container_id="c2", pod_id=None)
    told = {kepler.CONTAINERS: [container(), stray]}
    assert kepler.read(Told(told), [], 0, 1).outside.identity.num_rows == 0
    samples = kepler.read(Told(told | {kepler.PROCESSES: [process()]}), [], 0, 1)
    assert [(row["level"], row["id"]) for row in samples.outside.identity.to_pylist()] == [
        ("process", "7"), ("container", "c2"),
    ]  # fmt: skip


def test_containers_are_named_by_the_pod_seen_in_the_same_scrape() -> None:
    told = Told({kepler.CONTAINERS: [container(), container(pod_id="u2", container_id="c2")], kepler.PODS: [pod()]}, 2)
    samples = kepler.read(told, [], 0, 1, level="container").workloads
    assert samples.identity.to_pylist() == [
        {"node": "n1", "component": "package", "pod_uid": "u1", "container": "web", "container_id": "c1"},
        {"node": "n1", "component": "package", "pod_uid": "u2", "container": "web", "container_id": "c2"},
    ]
    names = samples.names.to_pylist()
    assert [names[name] for name in samples.name] == 2 * [
        {"state": None, "namespace": "a", "pod": "p"}, {"state": None, "namespace": None, "pod": None},
    ]  # fmt: skip


def test_a_container_that_waits_for_its_pod_is_neither_a_workload_yet_nor_outside() -> None:
    told = {kepler.CONTAINERS: [container(), container(pod_id=None)], kepler.PROCESSES: [process()]}
    samples = kepler.read(Told(told), [], 0, 1, level="container")
    assert samples.workloads.identity.num_rows == 1
    assert [row["level"] for row in samples.outside.identity.to_pylist()] == ["process"]


def test_nothing_there_gives_empty_tables_of_the_right_shape() -> None:
    samples = kepler.read(Told({}), [], 0, 1)
    assert samples.meter == "kepler"
    for part, identity in ((samples.active, kepler.NODE_IDENTITY), (samples.workloads, kepler.POD_IDENTITY)):
        assert part.identity.schema == identity
        assert (part.identity.num_rows, len(part.value), part.code.dtype, part.value.dtype) == (
            0,
            0,
            "int64",
            "float64",
        )


def test_a_simulated_fleet_is_understood_whole(small_fleet: Fleet) -> None:
    start_ms = small_fleet.spec.start_ms
    samples = kepler.read(FleetTransport(small_fleet, part_samples=50), [], start_ms, start_ms + 3_600_000)
    whole = kepler.read(FleetTransport(small_fleet), [], start_ms, start_ms + 3_600_000)
    for part in ("active", "idle", "raw", "workloads"):
        assert sorted(counters(getattr(samples, part)), key=str) == sorted(counters(getattr(whole, part)), key=str)
    assert {row["component"] for row in samples.active.identity.to_pylist()} == {"package", "dram"}
    assert {row["node"] for row in samples.active.identity.to_pylist()} == {"node-1", "node-2"}
    assert samples.workloads.identity.num_rows > 10


def test_without_processes_neither_they_nor_containers_outside_pods_are_asked_for() -> None:
    series = {kepler.PODS: [pod()], kepler.PROCESSES: [pod(pid="7")]}
    told = Told(series)
    samples = kepler.read(told, [], 0, 1, processes=False)
    assert {selector.partition("{")[0] for selector, _, _ in told.asked}.isdisjoint(
        {kepler.PROCESSES, kepler.CONTAINERS}
    )
    assert (samples.outside.identity.num_rows, samples.workloads.identity.num_rows) == (0, 1)
    assert kepler.read(Told(series), [], 0, 1).outside.identity.num_rows == 1


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("level", ["pod", "container"])
def test_what_is_asked_for_is_known_before_it_is(level: kepler.Level, processes: bool) -> None:  # noqa: FBT001 # a parameter
    matchers, told = [Matcher("cluster", "=", 'a"b')], Told({})
    kepler.read(told, matchers, 5, 9, level, processes=processes)
    asked = [selector for selector, _, _ in told.asked]
    assert sorted(asked) == sorted(kepler.asked_for(matchers, level, processes=processes))
