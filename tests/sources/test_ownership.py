"""Owners, start times and nodes as kube-state-metrics told them, read from a real Prometheus."""

from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources import ownership
from pipeline.sources.presence import read_presence, united
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from tests.conftest import RealClock
from tests.sources.series import fill, written

START_MS = 1_793_606_400_000
END_MS = START_MS + MS_PER_HOUR
OURS = Matcher("cluster", "=", "ours")


def owned(metric: str, kind: str, name: str, controller: str = "true", **labels: str) -> str:
    return written(metric, cluster="ours", **labels, owner_kind=kind, owner_name=name, owner_is_controller=controller)


WHOLE_HOUR = [(START_MS + i * MS_PER_MINUTE, 1.0) for i in range(60)]
SERIES = {
    owned("kube_pod_owner", "ReplicaSet", "web-1", uid="u1", namespace="a", pod="web-1-x"): WHOLE_HOUR,
    owned("kube_pod_owner", "ReplicaSet", "web-1", uid="u1", namespace="a", pod="web-1-x", instance="moved:80"): [
        (START_MS + 30_000, 1.0)
    ],
    owned("kube_pod_owner", "Job", "batch", uid="brief", namespace="a", pod="batch-y"): [(START_MS + 1, 1.0)],
    owned("kube_pod_owner", "Job", "batch", uid="at-the-end", namespace="a", pod="batch-z"): [(END_MS, 1.0)],
    owned("kube_pod_owner", "Job", "batch", uid="too-early", namespace="a", pod="batch-q"): [(START_MS - 1, 1.0)],
    owned("kube_pod_owner", "Job", "batch", uid="too-late", namespace="a", pod="batch-r"): [(END_MS + 1, 1.0)],
    written("kube_pod_owner", cluster="theirs", uid="u9", namespace="a", pod="p"): WHOLE_HOUR,
    owned("kube_replicaset_owner", "Deployment", "web", namespace="a", replicaset="web-1"): WHOLE_HOUR,
    owned("kube_job_owner", "CronJob", "nightly", namespace="a", job_name="batch"): WHOLE_HOUR,
    written("kube_pod_start_time", cluster="ours", uid="u1", pod="web-1-x"): [(START_MS + 5, 1_793_606_000.0)],
    written("kube_pod_start_time", cluster="ours", pod="no-uid"): [(START_MS + 5, 7.0)],
    written("kube_node_info", cluster="ours", node="n1"): [(START_MS + i * MS_PER_MINUTE, 1.0) for i in range(3)],
    written("kube_node_info", cluster="ours", node="n1", instance="moved:80"): [(START_MS + 2 * MS_PER_MINUTE, 1.0)],
    written("kube_node_info", cluster="theirs", node="n2"): WHOLE_HOUR,
    written("kube_node_created", cluster="ours", node="n1"): [(START_MS + 5, 1_700_000_000.0)],
}


@pytest.fixture(scope="module")
def server(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[PrometheusServer]:
    data_dir = tmp_path_factory.mktemp("owners") / "data"
    fill(prometheus_binary.promtool, data_dir, SERIES)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield PrometheusServer(PrometheusEndpoint(url=running.url), HttpSettings(retry_seconds=0), {}, clock)


def test_owners_seen_at_any_time_in_the_range_are_read_once_each(server: PrometheusServer) -> None:
    owners = ownership.read(server, [OURS], START_MS, END_MS)
    # START_MS - 1: a Prometheus 2 range is closed on the left, so a millisecond more is looked at
    assert sorted(pod["uid"] for pod in owners.pods) == ["at-the-end", "brief", "too-early", "u1"]
    assert [pod for pod in owners.pods if pod["uid"] == "u1"] == [
        {"uid": "u1", "namespace": "a", "pod": "web-1-x", "owner_kind": "ReplicaSet", "owner_name": "web-1",
         "owner_is_controller": "true"}
    ]  # fmt: skip


def test_the_chain_above_pods_is_read(server: PrometheusServer) -> None:
    owners = ownership.read(server, [OURS], START_MS, END_MS)
    assert [(r["replicaset"], r["owner_kind"], r["owner_name"]) for r in owners.replicasets] == [
        ("web-1", "Deployment", "web")
    ]
    assert [(j["job_name"], j["owner_kind"], j["owner_name"]) for j in owners.jobs] == [("batch", "CronJob", "nightly")]


def test_start_times_are_milliseconds_by_uid(server: PrometheusServer) -> None:
    assert ownership.read(server, [OURS], START_MS, END_MS).started_ms == {"u1": 1_793_606_000_000}


def test_without_kube_state_metrics_all_is_empty(server: PrometheusServer) -> None:
    nobody = [Matcher("cluster", "=", "nobody")]
    owners = ownership.read(server, nobody, START_MS, END_MS)
    assert (owners.pods, owners.replicasets, owners.jobs, owners.started_ms) == ([], [], [], {})
    assert read_presence(server, nobody, START_MS, END_MS) == ({}, {})


def test_nodes_are_seen_at_their_stamps_though_their_series_change(server: PrometheusServer) -> None:
    seen, created = read_presence(server, [OURS], START_MS, END_MS)
    assert list(seen) == ["n1"]
    assert np.array_equal(seen["n1"], START_MS + MS_PER_MINUTE * np.arange(3))
    assert created == {"n1": 1_700_000_000_000}


def test_what_several_servers_saw_is_one_answer_and_the_later_start_counts() -> None:
    one = ownership.OwnerSeries([{"uid": "u1"}], [{"replicaset": "r"}], [], {"u1": 1, "u2": 9})
    other = ownership.OwnerSeries([{"uid": "u1"}, {"uid": "u3"}], [], [{"job_name": "j"}], {"u1": 2, "u2": 8, "u3": 3})
    both = ownership.united([one, other])
    assert both.pods == [{"uid": "u1"}, {"uid": "u1"}, {"uid": "u3"}]
    assert (both.replicasets, both.jobs) == ([{"replicaset": "r"}], [{"job_name": "j"}])
    assert both.started_ms == {"u1": 2, "u2": 9, "u3": 3}
    assert ownership.united([]) == ownership.OwnerSeries([], [], [], {})


def test_a_node_is_there_whenever_any_server_saw_it() -> None:
    one = ({"n1": np.array([10, 20]), "n2": np.array([5])}, {"n1": 1})
    stamps, created = united([one, ({"n1": np.array([15, 20])}, {"n1": 2, "n2": 3})])
    assert {node: at.tolist() for node, at in stamps.items()} == {"n1": [10, 15, 20], "n2": [5]}
    assert created == {"n1": 2, "n2": 3}
    assert united([]) == ({}, {})
