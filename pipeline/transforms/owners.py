"""The workload that owns a pod: by Kubernetes' own word, else guessed from the pod's name and marked so."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

SAFE = "[bcdfghjklmnpqrstvwxz2456789]"  # what Kubernetes draws generated suffixes from
GUESSES = (
    (re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}-{SAFE}{{5}}"), "Deployment"),
    (re.compile(rf"(?P<name>.+)-\d{{8,10}}-{SAFE}{{5}}"), "CronJob"),
    (re.compile(r"(?P<name>.+)-\d{1,4}"), "StatefulSet"),
    (re.compile(rf"(?P<name>.+)-{SAFE}{{5}}"), "(unknown)"),  # a DaemonSet, Job or ReplicaSet: the name does not tell
)
HASHED = re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}")

Labels = Mapping[str, str]


class Owner(NamedTuple):
    """workload_kind, workload and how they are known: `kube-state-metrics` or `guessed`; all null for nameless pods."""

    workload_kind: str | None
    workload: str | None
    source: str | None


NOBODY = Owner(None, None, None)


class Owners:
    """Resolves pods to owners from the owner series of one hour.

    Args:
        pods: label sets of kube_pod_owner.
        replicasets: label sets of kube_replicaset_owner.
        jobs: label sets of kube_job_owner.
    """

    def __init__(self, pods: Iterable[Labels], replicasets: Iterable[Labels], jobs: Iterable[Labels]) -> None:
        rows = list(pods)
        self._pods = _controllers(rows, lambda row: row.get("uid", ""))
        self._named = _controllers(rows, lambda row: (row.get("namespace"), row.get("pod")))
        self._parents = {
            "ReplicaSet": _controllers(replicasets, lambda row: (row.get("namespace"), row.get("replicaset"))),
            "Job": _controllers(jobs, lambda row: (row.get("namespace"), row.get("job_name"))),
        }

    def of(self, uid: str, namespace: str | None, pod: str | None) -> Owner:
        """The owner of one pod."""
        if pod is None:
            return NOBODY
        owner = self._pods.get(uid) or self._named.get((namespace, pod))  # some meters know no uid
        if owner is None:
            return _guess(pod)
        kind, name = owner
        if kind in ("<none>", "", "Node"):
            return Owner("Pod", pod, "kube-state-metrics")
        parents = self._parents.get(kind, {})
        parent = parents.get((namespace, name))
        if parent is not None and parent[0] not in ("<none>", ""):
            return Owner(*parent, "kube-state-metrics")
        hashed = HASHED.fullmatch(name)
        if parent is None and kind == "ReplicaSet" and hashed:
            return Owner("Deployment", hashed["name"], "guessed")
        return Owner(kind, name, "kube-state-metrics")


def _controllers(rows: Iterable[Labels], key: Callable[[Labels], object]) -> dict[object, tuple[str, str]]:
    """One owner a key: a controller before a mere owner, an owner before none, ties by name."""
    chosen: dict[object, tuple[tuple[bool, bool, str], tuple[str, str]]] = {}
    for row in rows:
        owner = (row.get("owner_kind", ""), row.get("owner_name", ""))
        rank = (row.get("owner_is_controller") != "true", owner[0] in ("<none>", ""), owner[1])
        where = key(row)
        if where not in chosen or rank < chosen[where][0]:
            chosen[where] = (rank, owner)
    return {where: owner for where, (_, owner) in chosen.items()}


@lru_cache(maxsize=1 << 16)
def _guess(pod: str) -> Owner:
    for pattern, kind in GUESSES:
        match = pattern.fullmatch(pod)
        if match:
            return Owner(kind, match["name"], "guessed")
    return Owner("Pod", pod, "guessed")
