"""The workload that owns a pod: by Kubernetes' own word, else guessed from the pod's name and marked so."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from pipeline.samples import Floats, Int64s

SAFE = "[bcdfghjklmnpqrstvwxz2456789]"  # what Kubernetes draws generated suffixes from
GUESSES = (
    (re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}-{SAFE}{{5}}"), "Deployment"),
    (re.compile(rf"(?P<name>.+)-\d{{8,10}}-{SAFE}{{5}}"), "CronJob"),
    (re.compile(r"(?P<name>.+)-\d{1,4}"), "StatefulSet"),
    (re.compile(rf"(?P<name>.+)-{SAFE}{{5}}"), "(unknown)"),  # a DaemonSet, Job or ReplicaSet: the name does not tell
)
HASHED = re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}")

NONE = ("<none>", "")  # the kind of no owner
STATED, GUESSED = "kube-state-metrics", "guessed"

Key: TypeAlias = tuple[str | None, ...]
Controller: TypeAlias = tuple[str, str]  # kind and name
States: TypeAlias = tuple[pa.Table, Floats]  # label sets, and the value of each in each hour, NaN where it was not seen


class Owner(NamedTuple):
    """workload_kind, workload and how they are known: `kube-state-metrics` or `guessed`; all null for nameless pods."""

    workload_kind: str | None
    workload: str | None
    source: str | None


NOBODY = Owner(None, None, None)


class Owners:
    """Resolves pods to owners as they were known in one hour.

    Args:
        pods: kind and name of the owner of a pod, by its uid.
        named: the same by its namespace and name.
        parents: kind and name of what owns a ReplicaSet or a Job, by kind, then by its namespace and name.
    """

    def __init__(
        self,
        pods: Mapping[str, Controller],
        named: Mapping[Key, Controller],
        parents: Mapping[str, Mapping[Key, Controller]],
    ) -> None:
        self._pods, self._named, self._parents = pods, named, parents

    @classmethod
    def by_hour(cls, pods: States, replicasets: States, jobs: States) -> "list[Owners]":
        """The owners known in each hour; one and the same object in hours in which the same is known.

        Args:
            pods: kube_pod_owner.
            replicasets: kube_replicaset_owner.
            jobs: kube_job_owner.
        """
        ranked = _ranked(pods)
        series = [
            _Controllers.of(ranked, ("uid",)),
            _Controllers.of(ranked, ("namespace", "pod")),
            _Controllers.of(_ranked(replicasets), ("namespace", "replicaset")),
            _Controllers.of(_ranked(jobs), ("namespace", "job_name")),
        ]
        known: dict[bytes, Owners] = {}
        hours = []
        for hour in range(pods[1].shape[1]):
            which = b"".join(one.chosen[hour].tobytes() for one in series)
            if which not in known:
                uids, named, of_replicaset, of_job = (one.at(hour) for one in series)
                by_uid = {str(uid): owner for (uid,), owner in uids.items()}
                known[which] = cls(by_uid, named, {"ReplicaSet": of_replicaset, "Job": of_job})
            hours.append(known[which])
        return hours

    def of(self, uid: str, namespace: str | None, pod: str | None) -> Owner:
        """The owner of one pod."""
        if pod is None:
            return NOBODY
        owner = self._pods.get(uid) or self._named.get((namespace, pod))  # some meters know no uid
        if owner is None:
            return _guess(pod)
        kind, name = owner
        parents = self._parents.get(kind)
        return _owner(owner, parents.get((namespace, name)) if parents else None) or Owner("Pod", pod, STATED)


class _Controllers(NamedTuple):
    """One owner a key and hour.

    Attributes:
        keys: whatever is owned.
        owners: kind and name.
        chosen: (hours, keys), the owner of a key; `len(owners)` where none is known.
    """

    keys: list[Key]
    owners: list[Controller]
    chosen: Int64s

    @classmethod
    def of(cls, ranked: States, key: Sequence[str]) -> "_Controllers":
        """By those labels; label sets that have none of them are nobody's."""
        labels, values = ranked
        keys = list(zip(*(labels[one].to_pylist() for one in key), strict=True))
        number = {one: i for i, one in enumerate(dict.fromkeys(one for one in keys if any(one)))}
        code = np.array([number.get(one, -1) for one in keys], dtype=np.int64)
        order = np.argsort(code, kind="stable")
        first = np.searchsorted(code[order], np.arange(len(number)))
        place = np.where(np.isnan(values[order]), len(order), order[:, None])
        chosen = np.minimum.reduceat(place, first, axis=0).T if len(first) else np.zeros((values.shape[1], 0), np.int64)
        return cls(list(number), _owners_in(labels), np.ascontiguousarray(chosen))

    def at(self, hour: int) -> dict[Key, Controller]:
        """What is known in an hour."""
        known = np.flatnonzero(self.chosen[hour] < len(self.owners))
        chosen = self.chosen[hour, known].tolist()
        return {self.keys[key]: self.owners[owner] for key, owner in zip(known.tolist(), chosen, strict=True)}


def _ranked(states: States) -> States:
    """Those that count first first: a controller before a mere owner, an owner before none, ties by name."""
    labels, values = states
    owners, controls = _owners_in(labels), labels["owner_is_controller"].to_pylist()
    rank = sorted(range(len(owners)), key=lambda i: (controls[i] != "true", owners[i][0] in NONE, *owners[i][::-1]))
    order = np.array(rank, dtype=np.int64)
    return labels.take(order), values[order]


def _owners_in(labels: pa.Table) -> list[Controller]:
    kinds, names = (labels[name].to_pylist() for name in ("owner_kind", "owner_name"))
    return [(kind or "", name or "") for kind, name in zip(kinds, names, strict=True)]


@lru_cache(maxsize=1 << 16)
def _owner(owner: Controller, parent: Controller | None) -> Owner | None:
    """The workload by a pod's owner and what that belongs to, None where the pod itself is the workload."""
    kind, name = owner
    if kind in (*NONE, "Node"):
        return None
    if parent is not None and parent[0] not in NONE:
        return Owner(*parent, STATED)
    hashed = HASHED.fullmatch(name)
    if parent is None and kind == "ReplicaSet" and hashed:
        return Owner("Deployment", hashed["name"], GUESSED)
    return Owner(kind, name, STATED)


@lru_cache(maxsize=1 << 16)
def _guess(pod: str) -> Owner:
    for pattern, kind in GUESSES:
        match = pattern.fullmatch(pod)
        if match:
            return Owner(kind, match["name"], GUESSED)
    return Owner("Pod", pod, GUESSED)
