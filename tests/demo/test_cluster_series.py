"""kube-state-metrics series of a simulated cluster."""

from collections.abc import Callable
from dataclasses import replace

from pipeline.demo.fleet import Fleet, simulate
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]


def labels_of(series_of: SeriesOf, fleet: Fleet, metric: str, *names: str) -> set[tuple[str, ...]]:
    return {tuple(s.labels[name] for name in names) for s in series_of(fleet, metric)}


def test_a_pod_starts_2_to_90_seconds_before_its_first_energy(churning_fleet: Fleet, series_of: SeriesOf) -> None:
    starts = {s.labels["uid"]: s.values for s in series_of(churning_fleet, "kube_pod_start_time")}
    assert len(starts) > 60
    for pod in churning_fleet.pods:
        if pod.uid in starts:
            first = (churning_fleet.spec.start_ms + pod.runs_ms[0][0]) / 1000
            assert len(set(starts[pod.uid])) == 1
            assert starts[pod.uid][0] == int(starts[pod.uid][0])
            assert 2 <= first - starts[pod.uid][0] <= 91


def test_every_kind_of_owner_is_there(churning_fleet: Fleet, series_of: SeriesOf) -> None:
    owned = labels_of(series_of, churning_fleet, "kube_pod_owner", "owner_kind", "owner_is_controller")
    assert owned == {
        ("ReplicaSet", "true"), ("StatefulSet", "true"), ("DaemonSet", "true"), ("Job", "true"), ("<none>", "<none>"),
    }  # fmt: skip
    above = labels_of(series_of, churning_fleet, "kube_job_owner", "owner_kind")
    assert above == {("CronJob",), ("<none>",)}
    assert labels_of(series_of, churning_fleet, "kube_replicaset_owner", "owner_kind") == {("Deployment",)}


def test_the_controller_of_each_pod_has_its_own_owner_series(churning_fleet: Fleet, series_of: SeriesOf) -> None:
    sets = labels_of(series_of, churning_fleet, "kube_replicaset_owner", "namespace", "replicaset")
    jobs = labels_of(series_of, churning_fleet, "kube_job_owner", "namespace", "job_name")
    for series in series_of(churning_fleet, "kube_pod_owner"):
        key = (series.labels["namespace"], series.labels["owner_name"])
        kind = series.labels["owner_kind"]
        assert kind not in ("ReplicaSet", "Job") or key in (sets if kind == "ReplicaSet" else jobs)
        assert kind == "<none>" or series.labels["pod"].startswith(series.labels["owner_name"] + "-")


def test_pod_series_live_as_long_as_their_object(churning_fleet: Fleet, series_of: SeriesOf) -> None:
    pods = {pod.uid: pod for pod in churning_fleet.pods}
    start_ms = churning_fleet.spec.start_ms
    for series in series_of(churning_fleet, "kube_pod_info"):
        pod = pods[series.labels["uid"]]
        assert (series.labels["pod"], series.labels["node"]) == (pod.name, pod.node)
        assert series.stamps_ms[0] >= pod.created_ms + start_ms
        assert series.stamps_ms[-1] < pod.removed_ms + start_ms
    short = [pod for pod in churning_fleet.pods if pod.removed_ms < churning_fleet.spec.end_ms]
    assert len(short) > 20


def test_a_stateful_pod_that_is_replaced_keeps_its_name_under_a_new_uid(churning_fleet: Fleet) -> None:
    names = [(pod.namespace, pod.name) for pod in churning_fleet.pods if pod.owner.kind == "StatefulSet"]
    assert len(set(names)) < len(names)
    assert len({pod.uid for pod in churning_fleet.pods}) == len(churning_fleet.pods)


def test_without_kube_state_metrics_only_kepler_is_left(steady_fleet: Fleet) -> None:
    fleet = simulate(replace(steady_fleet.spec, with_ksm=False))
    names = {str(block.labels["__name__"][0]) for block in fleet.blocks()}
    assert names
    assert all(name.startswith("kepler_") for name in names)
    assert fleet.truth_pods.equals(steady_fleet.truth_pods)
