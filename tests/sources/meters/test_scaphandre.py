"""What Scaphandre's labels mean, and that nothing else of it is asked for."""

import numpy as np
import pytest

from pipeline.sources.meters import scaphandre
from pipeline.sources.prometheus.selectors import Matcher
from tests.sources.meters.test_kepler import Labels, Told

AT_HOST: Labels = {"instance": "10.0.0.1:8080", "job": "scaphandre"}


def process(**labels: str | None) -> Labels:
    return AT_HOST | {"pid": "7", "exe": "sh", "cmdline": "sh-c"} | labels


def test_micro_units_end_at_the_sources_edge() -> None:
    told = Told({scaphandre.SOCKETS: [AT_HOST | {"socket_id": "0"}] * 2, scaphandre.PROCESSES: [process()] * 2})
    samples = scaphandre.read(told, [], 0, 1)
    assert samples.registers.value.tolist()[:2] == [0.0, 1e-6]
    assert samples.processes.value.tolist() == [0.0, 1e-6]


def test_sockets_and_their_memory_are_registers_of_their_own_and_cores_are_not_asked_for() -> None:
    domain = AT_HOST | {"domain_name": "dram", "domain_id": "1", "socket_id": "0"}
    told = Told({
        scaphandre.SOCKETS: [AT_HOST | {"socket_id": "0"}, AT_HOST | {"socket_id": "1"}],
        scaphandre.DOMAINS: [domain, domain | {"socket_id": "1"}],
    })  # fmt: skip
    assert scaphandre.read(told, [], 0, 1).registers.identity.to_pylist() == [
        {"host": "10.0.0.1", "component": "package", "register": "0"},
        {"host": "10.0.0.1", "component": "package", "register": "1"},
        {"host": "10.0.0.1", "component": "dram", "register": "0/1"},
        {"host": "10.0.0.1", "component": "dram", "register": "1/1"},
    ]


def test_every_series_is_asked_for_with_the_users_selector_and_only_what_energy_needs() -> None:
    told = Told({})
    scaphandre.read(told, [Matcher("cluster", "=", 'a"b')], 5, 9)
    user = 'cluster="a\\"b"'
    assert {asked for asked, start_ms, end_ms in told.asked if (start_ms, end_ms) == (5, 9)} == {
        f"scaph_socket_energy_microjoules{{{user}}}",
        f'scaph_domain_energy_microjoules{{domain_name="dram",{user}}}',
        f'scaph_host_energy_microjoules{{value_source=~".*psys.*",{user}}}',
        f'scaph_host_energy_microjoules{{value_source!~".*psys.*",{user}}}',
        f"scaph_process_power_consumption_microwatts{{{user}}}",
        f"scaph_process_cpu_usage_percentage{{{user}}}",
        f"scaph_self_version{{{user}}}",
        f"kube_pod_container_info{{{user}}}",
    }


def test_a_process_and_its_pods_names_are_told_apart() -> None:
    late = {"container_id": "c1", "kubernetes_pod_name": "web", "kubernetes_pod_namespace": "shop",
            "kubernetes_node_name": "worker-1", "vmname": "vm"}  # fmt: skip
    samples = scaphandre.read(Told({scaphandre.PROCESSES: [process(), process(**late)]}), [], 0, 1).processes
    assert [(row["pid"], row["container_id"], row["guest"], row["node"]) for row in samples.identity.to_pylist()] == [
        ("7", None, None, None), ("7", "c1", "vm", "worker-1"),
    ]  # fmt: skip
    assert samples.names.to_pylist() == [{"namespace": None, "pod": None}, {"namespace": "shop", "pod": "web"}]


@pytest.mark.parametrize(
    ("instance", "host"),
    [("10.0.0.1:8080", "10.0.0.1"), ("[fd00::1]:8080", "[fd00::1]"), ("host.example:80", "host.example"), ("h", "h")],
)
def test_a_host_is_its_instance_without_the_port(instance: str, host: str) -> None:
    assert scaphandre.host_of({"instance": instance}) == host


def test_busy_cores_are_added_up_over_all_processes_of_a_host_and_stamp() -> None:
    told = Told({scaphandre.BUSY: [process(pid=str(pid)) for pid in range(4)]}, parts=2)
    busy = scaphandre.read(told, [], 0, 1).busy
    assert (busy.stamp_ms.tolist(), busy.value.tolist()) == ([0, 1000], [0.06, pytest.approx(4.06)])
    assert busy.identity.to_pylist() == [{"host": "10.0.0.1"}]


def test_kubernetes_container_ids_lose_their_runtime() -> None:
    row = {"container_id": "containerd://c1", "uid": "u", "namespace": "a", "pod": "p", "container": "main"}
    pods = scaphandre.read(Told({scaphandre.CONTAINERS: [row]}), [], 0, 1).pods
    assert pods.identity.to_pylist() == [{"container_id": "c1", "pod_uid": "u", "namespace": "a", "pod": "p"}]


def test_nothing_there_gives_empty_samples_of_the_right_types() -> None:
    samples = scaphandre.read(Told({}), [], 0, 1)
    for part in (samples.registers, samples.totals, samples.processes, samples.busy, samples.versions, samples.pods):
        assert (part.identity.num_rows, len(part.value)) == (0, 0)
        assert (part.code.dtype, part.stamp_ms.dtype, part.value.dtype) == (np.int64, np.int64, np.float64)
