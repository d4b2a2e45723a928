"""Pods find the workload that owns them."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from pipeline.transforms.owners import Owner, Owners, States, alike

KSM = "kube-state-metrics"

Labels = dict[str, str]


def pod_owner(kind: str, name: str, controller: str = "true", uid: str = "u") -> Labels:
    return {"uid": uid, "owner_kind": kind, "owner_name": name, "owner_is_controller": controller}


def replicaset_owner(kind: str, name: str, replicaset: str = "web-7d9f5c8b6", namespace: str = "shop") -> Labels:
    return {
        "namespace": namespace, "replicaset": replicaset,
        "owner_kind": kind, "owner_name": name, "owner_is_controller": "true",
    }  # fmt: skip


def job_owner(kind: str, name: str, job: str = "backup-29384756", namespace: str = "shop") -> Labels:
    return {
        "namespace": namespace, "job_name": job,
        "owner_kind": kind, "owner_name": name, "owner_is_controller": "true",
    }  # fmt: skip


def states(rows: Sequence[Labels], *key: str, seen: Sequence[Sequence[bool]] = (), hours: int = 1) -> States:
    """Label sets, seen in all hours or in those told of each."""
    names = (*key, "owner_kind", "owner_name", "owner_is_controller")
    table = pa.table({name: pa.array([row.get(name) for row in rows], pa.string()) for name in names})
    return table, np.where(seen or np.ones((len(rows), hours), dtype=np.bool_), 1.0, np.nan)


def owners_of(
    pods: Sequence[Labels],
    replicasets: Sequence[Labels] = (),
    jobs: Sequence[Labels] = (),
    seen: Sequence[Sequence[bool]] = ((True,),),
) -> list[Owners]:
    """The owners of each hour; `seen` tells in which of them a pod was."""
    hours = len(seen[0])
    return Owners.by_hour(
        states(pods, "uid", "namespace", "pod", seen=seen if hours > 1 else ()),
        states(replicasets, "namespace", "replicaset", hours=hours),
        states(jobs, "namespace", "job_name", hours=hours),
    )


def of(
    pods: list[Labels], replicasets: list[Labels] | None = None, jobs: list[Labels] | None = None, pod: str = "a-pod"
) -> Owner:
    return owners_of(pods, replicasets or [], jobs or [])[0].of("u", "shop", pod)


def test_a_replicaset_leads_to_its_deployment() -> None:
    found = of([pod_owner("ReplicaSet", "web-7d9f5c8b6")], [replicaset_owner("Deployment", "web")])
    assert found == Owner("Deployment", "web", KSM)


def test_a_replicaset_leads_to_whatever_made_it() -> None:
    found = of([pod_owner("ReplicaSet", "web-7d9f5c8b6")], [replicaset_owner("Rollout", "web")])
    assert found == Owner("Rollout", "web", KSM)


def test_a_bare_replicaset_is_a_workload_itself() -> None:
    found = of([pod_owner("ReplicaSet", "web-7d9f5c8b6")], [replicaset_owner("<none>", "<none>")])
    assert found == Owner("ReplicaSet", "web-7d9f5c8b6", KSM)


def test_a_replicaset_nobody_describes_is_guessed_and_marked() -> None:
    assert of([pod_owner("ReplicaSet", "web-7d9f5c8b6")]) == Owner("Deployment", "web", "guessed")
    assert of([pod_owner("ReplicaSet", "web")]) == Owner("ReplicaSet", "web", KSM)


def test_a_replicaset_of_another_namespace_is_another_one() -> None:
    found = of([pod_owner("ReplicaSet", "web-7d9f5c8b6")], [replicaset_owner("Deployment", "other", namespace="x")])
    assert found == Owner("Deployment", "web", "guessed")


def test_a_job_leads_to_its_cronjob_and_a_lone_job_is_itself() -> None:
    pods = [pod_owner("Job", "backup-29384756")]
    assert of(pods, jobs=[job_owner("CronJob", "backup")]) == Owner("CronJob", "backup", KSM)
    assert of(pods, jobs=[job_owner("<none>", "<none>")]) == Owner("Job", "backup-29384756", KSM)
    assert of(pods) == Owner("Job", "backup-29384756", KSM)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Workflow"])
def test_other_controllers_are_workloads(kind: str) -> None:
    assert of([pod_owner(kind, "db")]) == Owner(kind, "db", KSM)


@pytest.mark.parametrize("kind", ["<none>", "", "Node"])
def test_bare_and_static_pods_are_their_own_workload(kind: str) -> None:
    assert of([pod_owner(kind, "worker-1")], pod="etcd-worker-1") == Owner("Pod", "etcd-worker-1", KSM)


@pytest.mark.parametrize(
    ("pod", "owner"),
    [
        ("web-7d9f5c8b6-x2lqk", Owner("Deployment", "web", "guessed")),
        ("my-api-v2-6b8fdc5bd9-zt4kq", Owner("Deployment", "my-api-v2", "guessed")),
        ("backup-29384756-x2lqk", Owner("CronJob", "backup", "guessed")),
        ("db-0", Owner("StatefulSet", "db", "guessed")),
        ("db-12", Owner("StatefulSet", "db", "guessed")),
        ("node-exporter-x2lqk", Owner("(unknown)", "node-exporter", "guessed")),
    ],
)
def test_without_an_owner_series_the_name_is_read_and_marked(pod: str, owner: Owner) -> None:
    assert of([], pod=pod) == owner


def test_a_name_that_tells_nothing_is_a_guessed_pod() -> None:
    assert of([], pod="runner") == Owner("Pod", "runner", "guessed")


def test_a_pod_without_a_name_has_no_owner() -> None:
    assert owners_of([pod_owner("StatefulSet", "db")])[0].of("u", None, None) == Owner(None, None, None)


def test_an_owner_that_appears_later_wins_over_none_before_it() -> None:
    before, after = pod_owner("<none>", "<none>", ""), pod_owner("StatefulSet", "db")
    assert of([before, after]) == of([after, before]) == Owner("StatefulSet", "db", KSM)


def test_of_several_owners_the_controller_counts() -> None:
    mere, controller = pod_owner("ConfigMap", "a", "false"), pod_owner("StatefulSet", "db", "true")
    assert of([mere, controller]) == of([controller, mere]) == Owner("StatefulSet", "db", KSM)


def test_series_of_two_replicas_of_kube_state_metrics_are_one_answer() -> None:
    pods = [pod_owner("ReplicaSet", "web-7d9f5c8b6") | {"instance": i} for i in ("a", "b")]
    sets = [replicaset_owner("Deployment", "web") | {"instance": i} for i in ("a", "b")]
    assert of(pods, sets) == Owner("Deployment", "web", KSM)


def test_equal_claims_are_settled_by_name_whatever_the_order() -> None:
    one, other = pod_owner("StatefulSet", "a"), pod_owner("StatefulSet", "b")
    assert of([one, other]) == of([other, one]) == Owner("StatefulSet", "a", KSM)


def test_where_the_uid_is_unknown_namespace_and_name_tell() -> None:
    pod = {"namespace": "shop", "pod": "db-0", "owner_kind": "StatefulSet", "owner_name": "database"}
    assert owners_of([pod])[0].of("another", "shop", "db-0") == Owner("StatefulSet", "database", KSM)
    assert owners_of([pod])[0].of("another", "bank", "db-0") == Owner("StatefulSet", "db", "guessed")


def test_a_series_without_a_uid_is_no_pod_without_a_uid() -> None:
    assert owners_of([pod_owner("StatefulSet", "db", uid="")])[0].of("", "shop", "x") == Owner("Pod", "x", "guessed")


def test_an_hour_knows_what_was_seen_in_it_and_nothing_else() -> None:
    pods = [pod_owner("StatefulSet", "db"), pod_owner("<none>", "<none>", ""), pod_owner("Job", "batch", uid="v")]
    seen = [[False, True, True, True], [True, True, True, False], [False, False, False, True]]
    hours = owners_of(pods, seen=seen)
    database = Owner("StatefulSet", "db", KSM)
    assert [one.of("u", "shop", "p") for one in hours] == [Owner("Pod", "p", KSM), database, database, database]
    assert [one.of("v", "shop", "p").workload for one in hours] == ["p", "p", "p", "batch"]


def test_of_two_owners_of_one_kind_of_series_each_hour_takes_the_best_it_saw() -> None:
    mere, controller = pod_owner("ConfigMap", "a", "false"), pod_owner("StatefulSet", "db", "true")
    hours = owners_of([mere, controller], seen=[[True, True], [True, False]])
    assert [one.of("u", "shop", "p").workload for one in hours] == ["db", "a"]


def test_pods_that_are_told_alike_have_the_same_owner_and_no_others_are() -> None:
    chance = np.random.default_rng(4)
    kinds, uids = ("ReplicaSet", "Job", "StatefulSet", "<none>", "Node"), [f"u{i}" for i in range(8)]
    names = [*((f"ns{i % 2}", f"web-{i % 3}") for i in range(6)), (None, None)]
    pods = [
        pod_owner(kinds[chance.integers(5)], f"o{chance.integers(3)}", uid=uids[chance.integers(6)])
        | dict(zip(("namespace", "pod"), names[chance.integers(6)], strict=True))
        for _ in range(30)
    ]
    sets = [replicaset_owner("Deployment", f"d{i}", f"o{i % 3}", f"ns{i % 2}") for i in range(4)]
    jobs = [job_owner("CronJob", "c", "o1", "ns0")]
    seen = (chance.random((len(pods), 3)) < 0.3).tolist()
    hours = [*owners_of(pods, sets, jobs, seen=seen), *owners_of(pods[:9], sets[:2])]
    hour, uid, name = (part.ravel() for part in np.indices((len(hours), len(uids), len(names))))
    number = alike(hours, hour, uids, uid, names, name)
    found: dict[int, set[Owner]] = {}
    for one, h, u, n in zip(number.tolist(), hour.tolist(), uid.tolist(), name.tolist(), strict=True):
        found.setdefault(one, set()).add(hours[h].of(uids[u], *names[n]))
    assert all(len(owners) == 1 for owners in found.values())
    assert 10 < len(found) < len(number) / 3, "not each by itself"
