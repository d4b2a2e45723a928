"""Owners, start times and nodes as kube-state-metrics told them, read from a real Prometheus."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline.demo.servers import PrometheusBinary, free_port, start_prometheus
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources import ownership
from pipeline.sources.kube_state import Looks, Span, States, together
from pipeline.sources.presence import Sightings, created_ms, read_presence, united
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import Window, from_ms
from tests.conftest import RealClock
from tests.sources.series import fill, written

START_MS = 1_793_606_400_000
END_MS = START_MS + MS_PER_HOUR


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


HOUR = Span(Window(from_ms(START_MS), from_ms(END_MS)), 0)


@pytest.fixture(scope="module")
def url(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("owners") / "data"
    fill(prometheus_binary.promtool, data_dir, SERIES)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running.url


def asked(url: str, clock: RealClock, cluster: str = "ours") -> PrometheusServer:
    endpoint = PrometheusEndpoint(url=url, selector=f'{{cluster="{cluster}"}}')
    return PrometheusServer(endpoint, HttpSettings(retry_seconds=0), {}, clock)


@pytest.fixture
def server(url: str, clock: RealClock) -> PrometheusServer:
    return asked(url, clock)


def test_looks_show_the_greatest_of_their_samples_whatever_their_width() -> None:
    chance = np.random.default_rng(3)
    for width_ms, step_ms in ((40, 100), (100, 100), (130, 100), (333, 100)):
        looks = Looks(range(1_000, 2_000, step_ms), width_ms)
        sizes = chance.integers(0, 60, 40)
        stamps = [np.sort(chance.choice(np.arange(300, 2_300), size, replace=False)) for size in sizes]
        values = np.where(chance.random(sizes.sum()) < 0.1, np.nan, chance.normal(size=sizes.sum()))
        offsets = np.append(0, sizes.cumsum())
        block = Block(pa.table({"n": [str(row) for row in range(40)]}), offsets, np.concatenate(stamps), values)
        expected = np.full((40, 10), np.nan)
        for row, own in enumerate(stamps):
            for look, at in enumerate(looks.at_ms):
                near = [
                    value
                    for stamp, value in zip(own, values[offsets[row] :], strict=False)
                    if at - width_ms < stamp <= at and not np.isnan(value)
                ]
                expected[row, look] = max(near, default=np.nan)
        assert np.array_equal(looks.greatest(block), expected, equal_nan=True)
        assert 0 < np.isnan(expected).sum() < 400


def test_owners_seen_at_any_time_in_the_hour_are_read_once_each(server: PrometheusServer) -> None:
    pods = ownership.read(server, HOUR).pods
    # START_MS - 1 is the first stamp that is looked at
    assert sorted(pods.labels["uid"].to_pylist()) == ["at-the-end", "brief", "too-early", "u1"]
    assert [pod for pod in pods.labels.to_pylist() if pod["uid"] == "u1"] == [
        {"uid": "u1", "namespace": "a", "pod": "web-1-x", "owner_kind": "ReplicaSet", "owner_name": "web-1",
         "owner_is_controller": "true"}
    ]  # fmt: skip
    assert pods.values.tolist() == [[1.0]] * 4


def test_each_hour_has_what_was_seen_in_it(server: PrometheusServer) -> None:
    around = Span(Window(from_ms(START_MS - MS_PER_HOUR), from_ms(END_MS + MS_PER_HOUR)), 0)
    pods = ownership.read(server, around).pods
    seen = dict(zip(pods.labels["uid"].to_pylist(), (~np.isnan(pods.values)).tolist(), strict=True))
    assert seen == {
        "u1": [True, True, False],
        "brief": [False, True, False],
        "at-the-end": [False, True, True],
        "too-early": [True, True, False],
        "too-late": [False, False, True],
    }


def test_the_chain_above_pods_is_read(server: PrometheusServer) -> None:
    owners = ownership.read(server, HOUR)
    assert [(r["replicaset"], r["owner_kind"], r["owner_name"]) for r in owners.replicasets.labels.to_pylist()] == [
        ("web-1", "Deployment", "web")
    ]
    assert [(j["job_name"], j["owner_kind"], j["owner_name"]) for j in owners.jobs.labels.to_pylist()] == [
        ("batch", "CronJob", "nightly")
    ]


def test_start_times_are_milliseconds_by_uid(server: PrometheusServer) -> None:
    assert in_hours(ownership.read(server, HOUR), ["u1"]) == [{"u1": 1_793_606_000_000}]


def test_without_kube_state_metrics_all_is_empty(url: str, clock: RealClock) -> None:
    nobody = asked(url, clock, "nobody")
    owners, seen = ownership.read(nobody, HOUR), read_presence(nobody, HOUR)
    assert [states.labels.num_rows for states in (*owners, seen.created)] == [0] * 5
    assert [states.values.shape for states in (*owners, seen.created)] == [(0, 1)] * 3 + [(0, 3), (0, 1)]
    assert in_hours(owners, ["u1"]) == [{}]
    assert (seen.stamps_ms, created_ms(seen.created, HOUR.window)) == ({}, {})


def test_nodes_are_seen_at_their_stamps_though_their_series_change(server: PrometheusServer) -> None:
    seen = read_presence(server, HOUR)
    assert list(seen.stamps_ms) == ["n1"]
    assert np.array_equal(seen.stamps_ms["n1"], START_MS + MS_PER_MINUTE * np.arange(3))
    assert created_ms(seen.created, HOUR.window) == {("n1", START_MS): 1_700_000_000_000}


def in_hours(owned: ownership.OwnerSeries, pods: list[str]) -> list[dict[str, float]]:
    """What is known in each hour of the pods' starts, ms since the epoch."""
    starts, found = ownership.starts(owned, 0), []
    for hour in range(owned.starts.values.shape[1] // 2):
        begin = np.full(len(pods), hour * MS_PER_HOUR)
        ms = starts.of(starts.rows(pods), begin + 1, begin + 2).tolist()
        found.append({pod: value for pod, value in zip(pods, ms, strict=True) if not np.isnan(value)})
    return found


def states(*rows: tuple[dict[str, str], list[float | None]]) -> States:
    """Label sets and their values in each hour."""
    names = sorted({name for labels, _ in rows for name in labels})
    table = pa.table({name: pa.array([labels.get(name) for labels, _ in rows], pa.string()) for name in names})
    return States(table, np.array([values for _, values in rows], dtype=np.float64))


def test_of_several_starts_of_one_pod_the_latest_counts_in_each_hour() -> None:
    who = {"uid": "u1", "namespace": "a", "pod": "p"}
    at_edges = [None] * 4
    starts = states(
        (who, [1.0, None, 9.0, *at_edges]),
        (who, [2.0, None, 8.0, *at_edges]),
        ({**who, "uid": "u2"}, [None, None, 3.0005, *at_edges]),
    )
    nothing = states(({"uid": "u1"}, [None]))
    owned = ownership.OwnerSeries(nothing, nothing, nothing, starts)
    assert in_hours(owned, ["u1", "u2", "a/p"]) == [
        {"u1": 2_000, "a/p": 2_000},
        {},
        {"u1": 9_000, "u2": 3_000, "a/p": 9_000},  # to the nearest millisecond, halves to the even one
    ]


def test_states_of_several_servers_stand_one_after_the_other() -> None:
    one, other = states(({"node": "n1"}, [1.0])), states(({"node": "n1"}, [2.0]), ({"node": "n2"}, [None]))
    both = together([one, other])
    assert both.labels["node"].to_pylist() == ["n1", "n1", "n2"]
    assert np.array_equal(both.values, [[1.0], [2.0], [np.nan]], equal_nan=True)


def test_a_node_is_there_whenever_any_server_saw_it() -> None:
    one = Sightings({"n1": np.array([10, 20]), "n2": np.array([5])}, states(({"node": "n1"}, [1.0])))
    other = Sightings({"n1": np.array([15, 20])}, states(({"node": "n1"}, [2.0]), ({"node": "n2"}, [3.0])))
    both = united([one, other])
    assert {node: at.tolist() for node, at in both.stamps_ms.items()} == {"n1": [10, 15, 20], "n2": [5]}
    assert created_ms(both.created, HOUR.window) == {("n1", START_MS): 2_000, ("n2", START_MS): 3_000}


def test_a_node_made_anew_was_created_when_each_hour_says() -> None:
    window = Window(from_ms(START_MS), from_ms(END_MS + MS_PER_HOUR))
    told = created_ms(states(({"node": "n1"}, [1.0, None]), ({"node": "n1"}, [None, 2.0])), window)
    assert told == {("n1", START_MS): 1_000, ("n1", END_MS): 2_000}
