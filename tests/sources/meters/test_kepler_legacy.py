"""What old Kepler's labels mean: whose node, whose namespace, which socket, and what is one counter."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.demo.fleet import simulate, steady
from pipeline.demo.meters import LegacyMeter, Meters
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, LegacySamples
from pipeline.sources.meters import kepler_legacy as legacy
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.meters.test_kepler import Told, counters

Labels = dict[str, str | None]
PACKAGE, DRAM, TOTAL = (legacy.CONTAINER.format("package"), legacy.CONTAINER.format("dram"), legacy.TOTAL)
NODE = legacy.NODE.format("package")
TARGET: Labels = {"instance": "10.0.0.1:9102", "job": "kepler", "namespace": "kepler", "pod": "kepler-abc"}


def socket(**labels: str | None) -> Labels:
    return TARGET | {"exported_instance": "n1", "package": "0", "mode": "dynamic", "source": "rapl-sysfs"} | labels


def container(**labels: str | None) -> Labels:
    own: Labels = {"container_id": "c1", "container_name": "api", "container_namespace": "shop", "pod_name": "web"}
    return TARGET | own | {"mode": "dynamic", "source": "rapl-sysfs"} | labels


def read(**series: list[Labels]) -> LegacySamples:
    return legacy.read(Told(series), [], 0, 1)


def test_the_namespace_is_the_containers_and_never_keplers_own() -> None:
    samples = read(**{NODE: [socket()], PACKAGE: [container()]}).containers
    assert samples.names.to_pylist() == [{"namespace": "shop", "pod": "web"}]
    nameless = read(**{NODE: [socket()], PACKAGE: [container(container_namespace=None, pod_name="")]}).containers
    assert nameless.names.to_pylist() == [{"namespace": None, "pod": None}]


def test_a_container_is_on_the_node_whose_series_share_its_scrape_target() -> None:
    other: Labels = {"instance": "10.0.0.2:9102", "pod": "kepler-xyz"}
    samples = read(**{
        NODE: [socket(), socket(**other, exported_instance="n2")],
        PACKAGE: [container(), container(**other)],
    })  # fmt: skip
    assert [row["node"] for row in samples.containers.identity.to_pylist()] == ["n1", "n2"]


def test_with_honor_labels_the_rest_of_the_target_tells_the_node() -> None:
    other: Labels = {"pod": "kepler-xyz"}
    kept = {"exported_instance": None}
    samples = read(**{
        NODE: [socket(**kept, instance="n1"), socket(**kept, **other, instance="n2")],
        PACKAGE: [container(), container(**other, instance="10.0.0.2:9102")],
    })  # fmt: skip
    assert [row["node"] for row in samples.containers.identity.to_pylist()] == ["n1", "n2"]


def test_an_instance_relabelled_to_the_node_is_the_node() -> None:
    samples = read(**{NODE: [socket(instance="n1")], PACKAGE: [container(instance="n1"), container(instance="n7")]})
    assert [row["node"] for row in samples.containers.identity.to_pylist()] == ["n1", "n7"]


def test_a_target_that_fits_several_nodes_is_known_by_its_host_and_not_guessed() -> None:
    kept: Labels = {"exported_instance": None, "pod": None}
    samples = read(**{
        NODE: [socket(**kept, instance="n1"), socket(**kept, instance="n2")], PACKAGE: [container(pod=None)],
    })  # fmt: skip
    assert samples.containers.identity.to_pylist()[0]["node"] == "10.0.0.1"


@pytest.mark.parametrize("change", [{"source": "intel_rapl"}, {"instance": "10.9.9.9:9102"}, {"pod": "kepler-new"}])
def test_a_socket_keeps_its_counter_when_source_or_target_change(change: dict[str, str]) -> None:
    samples = read(**{NODE: [socket(), socket(**change)]}).sockets
    assert samples.identity.to_pylist() == [{"node": "n1", "component": "package", "mode": "dynamic", "socket": "0"}]
    assert samples.code.tolist() == [0, 0]


@pytest.mark.parametrize("change", [{"package": "1"}, {"mode": "idle"}, {"exported_instance": "n2"}])
def test_another_socket_mode_or_node_is_another_counter(change: dict[str, str]) -> None:
    assert read(**{NODE: [socket(), socket(**change)]}).sockets.identity.num_rows == 2


@pytest.mark.parametrize("change", [{"command": "sh"}, {"source": "intel_rapl"}, {"pod_name": None}])
def test_a_container_keeps_its_counter_when_command_source_or_names_change(change: dict[str, str | None]) -> None:
    samples = read(**{NODE: [socket()], PACKAGE: [container(), container(**change)]}).containers
    assert samples.identity.to_pylist() == [{"node": "n1", "component": "package", "container_id": "c1"}]


@pytest.mark.parametrize("label", ["container_id", "pod_name", "container_name"])
def test_pseudo_containers_are_known_by_any_of_their_names(label: str) -> None:
    nothing: Labels = {"container_id": "", "pod_name": "", "container_name": "", "container_namespace": "system"}
    samples = read(**{NODE: [socket()], PACKAGE: [container(**(nothing | {label: "system_processes"}))]}).containers
    assert samples.identity.to_pylist()[0]["container_id"] == "system_processes"


def test_only_dynamic_energy_of_containers_is_asked_for_with_the_users_selector() -> None:
    transport = Told({NODE: [socket()], PACKAGE: [container()]})
    legacy.read(transport, [Matcher("cluster", "=", "a")], 5, 9)
    asked = {selector.partition("{")[0]: selector.partition("{")[2] for selector, *_ in transport.asked}
    assert {edges for _, *edges in map(tuple, transport.asked) for edges in [tuple(edges)]} == {(5, 9)}
    assert asked[PACKAGE] == asked[DRAM] == 'mode="dynamic",cluster="a"}'
    assert asked[NODE] == 'mode=~"dynamic|idle",cluster="a"}'
    assert not {"kepler_process_joules_total", "kepler_node_platform_joules_total"} & set(asked)


def test_totals_are_not_even_read_where_components_are_there() -> None:
    transport = Told({NODE: [socket()], PACKAGE: [container()], TOTAL: [container(source="")]})
    assert len(legacy.read(transport, [], 0, 1).totals.code) == 0
    assert TOTAL not in {selector.partition("{")[0] for selector, *_ in transport.asked}


class Parts:
    """n1 shows components at 0 s only and totals at 0 s and 1 s."""

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        metric = selector.partition("{")[0]
        for second in {NODE: (0, 1), PACKAGE: (0,), TOTAL: (0, 1)}.get(metric, ()):
            (block,) = Told({metric: [socket() if metric == NODE else container()]}).blocks(selector, start_ms, end_ms)
            yield replace(block, stamps_ms=np.array([1_000 * second]))


def test_totals_count_only_at_scrapes_without_component_series() -> None:
    assert legacy.read(Parts(), [], 0, 1_000).totals.stamp_ms.tolist() == [1_000]


def test_versions_are_those_of_the_nodes_exporter() -> None:
    build = TARGET | {"version": "v0.7.3", "revision": "a", "branch": "main", "goversion": "go1.21"}
    samples = read(**{NODE: [socket()], legacy.BUILD: [build]}).versions
    assert samples.identity.to_pylist() == [{"node": "n1", "version": "v0.7.3"}]


def test_nothing_there_gives_empty_tables_of_the_right_shape() -> None:
    samples = read()
    assert samples.meter == "kepler_legacy"
    for part, identity in (
        (samples.sockets, legacy.SOCKET_IDENTITY), (samples.containers, legacy.CONTAINER_IDENTITY),
        (samples.totals, legacy.TOTAL_IDENTITY), (samples.versions, legacy.VERSION_IDENTITY),
    ):  # fmt: skip
        assert (part.identity.schema, part.identity.num_rows, len(part.value)) == (identity, 0, 0)
        assert (part.code.dtype, part.stamp_ms.dtype, part.value.dtype) == ("int64", "int64", "float64")


@pytest.mark.parametrize("meter", [LegacyMeter(), LegacyMeter(version="0.5.2", build_info=False, honor_labels=True)])
def test_a_simulated_fleet_is_understood_whole_and_in_parts(meter: LegacyMeter) -> None:
    spec = steady(3, datetime(2026, 11, 3, 10, tzinfo=UTC), 1, nodes=2, pods_per_node=3)
    fleet = simulate(replace(spec, meters=(Meters(legacy=meter),) * 2))
    samples, parts = (
        legacy.read(FleetTransport(fleet, size), [], spec.start_ms, spec.start_ms + 3_600_000) for size in (None, 50)
    )
    for name in ("sockets", "containers", "totals", "versions"):
        assert sorted(counters(getattr(samples, name)), key=str) == sorted(counters(getattr(parts, name)), key=str)
    sockets = {tuple(row.values()) for row in samples.sockets.identity.to_pylist()}
    assert {node for node, *_ in sockets} == {"node-1", "node-2"}
    assert {socket for node, component, _, socket in sockets if (node, component) == ("node-2", "package")} == {
        "0",
        "1",
    }
    assert {row["node"] for row in samples.containers.identity.to_pylist()} == {"node-1", "node-2"}
    named = {(row["namespace"], row["pod"]) for row in samples.containers.names.to_pylist()}
    assert {(pod.namespace, pod.name) for pod in fleet.pods} <= named
    assert {row["version"] for row in samples.versions.identity.to_pylist()} == (
        {"v0.7.12"} if meter.build_info else set()
    )
