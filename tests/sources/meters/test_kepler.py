"""What Kepler's labels mean: one counter a node and zone, one a pod and zone, whatever scraped it in which state."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, Samples
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
    assert samples.names.to_pylist() == [{"namespace": "", "pod": ""}, {"namespace": "a", "pod": "p"}]


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


def test_only_zones_that_do_not_contain_each_other_are_asked_for_with_the_users_selector() -> None:
    transport = Told({})
    kepler.read(transport, [Matcher("cluster", "=", 'a"b')], 5, 9)
    conditions = '{zone=~"package|dram",cluster="a\\"b"}'
    metrics = (kepler.ACTIVE, kepler.IDLE, kepler.RAW, kepler.PODS)
    assert transport.asked == [(metric + conditions, 5, 9) for metric in metrics]


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
