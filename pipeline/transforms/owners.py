"""The workload that owns a pod: by Kubernetes' own word, else guessed from the pod's name and marked so."""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.samples import Floats, Int64s
from pipeline.transforms.folded import Name

SAFE = "[bcdfghjklmnpqrstvwxz2456789]"  # what Kubernetes draws generated suffixes from
GUESSES = (
    (re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}-{SAFE}{{5}}"), "Deployment"),
    (re.compile(rf"(?P<name>.+)-\d{{8,10}}-{SAFE}{{5}}"), "CronJob"),
    (re.compile(r"(?P<name>.+)-\d{1,4}"), "StatefulSet"),
    (re.compile(rf"(?P<name>.+)-{SAFE}{{5}}"), "(unknown)"),  # a DaemonSet, Job or ReplicaSet: the name does not tell
)
HASHED = re.compile(rf"(?P<name>.+)-{SAFE}{{8,10}}")

NONE = ("<none>", "")  # the kind of no owner
BARE = (*NONE, "Node")  # of pods that nothing but themselves stands for
OWNER_LABELS = ("owner_kind", "owner_name", "owner_is_controller")
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


class _Told(NamedTuple):
    """One owner a key and hour.

    Attributes:
        number: of each key, whatever is owned.
        owners: those told of, those that count first first; then None.
        chosen: (keys, hours), position in `owners`; one row more, of any other key.
    """

    number: Mapping[Key, int]
    owners: Sequence[Controller | None]
    chosen: NDArray[np.int32]

    @classmethod
    def of(cls, states: States, *keys: Sequence[str]) -> "_Told":
        """By each of those keys, some labels; label sets that have none of them are nobody's."""
        labels, values = states
        owners, rank = _ranked(labels)
        own = [enumerate(zip(*(labels[one].to_pylist() for one in key), strict=True)) for key in keys]
        told = [(key, row) for rows in own for row, key in rows if any(key)]
        number = {key: i for i, key in enumerate(dict.fromkeys(key for key, _ in told))}
        code = np.array([number[key] for key, _ in told], dtype=np.int64)
        order = np.argsort(code, kind="stable")
        row = np.array([row for _, row in told], dtype=np.int64)[order]
        chosen = np.full((len(number) + 1, values.shape[1]), len(owners) - 1, dtype=np.int32)
        if len(row):
            place = np.where(np.isnan(values)[row], chosen[-1], rank[row][:, None])
            np.minimum.reduceat(place, np.searchsorted(code[order], np.arange(len(number))), axis=0, out=chosen[:-1])
        return cls(number, owners, chosen)

    @property
    def nobody(self) -> int:
        """The position of no owner."""
        return len(self.owners) - 1

    def rows(self, keys: Iterable[Key]) -> Int64s:
        """Of `chosen`."""
        return np.array([self.number.get(key, len(self.number)) for key in keys], dtype=np.int64)

    def one(self, key: Key, hour: int) -> Controller | None:
        """The owner known in an hour."""
        return self.owners[int(self.chosen[self.number.get(key, -1), hour])]


class History(NamedTuple):
    """What is known of owners in some hours.

    Attributes:
        pods: by their uid, and by their namespace and name.
        parents: what owns a ReplicaSet or a Job, by kind, namespace and name.
    """

    pods: _Told
    parents: _Told


class Owners(NamedTuple):
    """Resolves pods to owners as they were known in one hour of a history."""

    history: History
    hour: int

    @classmethod
    def by_hour(cls, pods: States, replicasets: States, jobs: States) -> "list[Owners]":
        """The owners known in each hour.

        Args:
            pods: kube_pod_owner.
            replicasets: kube_replicaset_owner.
            jobs: kube_job_owner.
        """
        parts = [_of_kind("ReplicaSet", "replicaset", replicasets), _of_kind("Job", "job_name", jobs)]
        tables, values = zip(*parts, strict=True)
        parents = _Told.of((pa.concat_tables(tables), np.concatenate(values)), ("kind", "namespace", "name"))
        history = History(_Told.of(pods, ("uid",), ("namespace", "pod")), parents)
        return [cls(history, hour) for hour in range(pods[1].shape[1])]

    def of(self, uid: str, namespace: str | None, pod: str | None) -> Owner:
        """The owner of one pod."""
        if pod is None:
            return NOBODY
        pods, parents = self.history
        owner = pods.one((uid,), self.hour) or pods.one((namespace, pod), self.hour)  # some meters know no uid
        if owner is None:
            return _guess(pod)
        kind, name = owner
        return _owner(owner, parents.one((kind, namespace, name), self.hour)) or Owner("Pod", pod, STATED)


def alike(
    owners: Sequence[Owners], hour: Int64s, uids: Sequence[str], uid: Int64s, names: Sequence[Name], name: Int64s
) -> Int64s:
    """A number for each pod and hour, by positions: where it is equal, so is `owners[hour].of(uid, *name)`."""
    number = np.zeros(len(hour), dtype=np.int64)
    for history in {id(one.history): one.history for one in owners}.values():
        (rows,) = np.array([one.history is history for one in owners], dtype=np.bool_)[hour].nonzero()
        at = np.array([one.hour for one in owners], dtype=np.int64)[hour[rows]]
        own, parent, by_name = _looked_at(history, at, uids, uid[rows], names, name[rows])
        looked_at = (own * len(history.parents.owners) + parent) * (len(names) + 1) + by_name
        number[rows] = np.unique(looked_at, return_inverse=True)[1] + number.max(initial=-1) + 1
    return number


def _looked_at(
    history: History, hour: Int64s, uids: Sequence[str], uid: Int64s, names: Sequence[Name], name: Int64s
) -> tuple[Int64s, Int64s, Int64s]:
    """What decides in `Owners.of`: the owner, what that belongs to, and, from 1, the pod's name where it matters."""
    pods, parents = history
    own = pods.chosen[pods.rows((one,) for one in uids)[uid], hour].astype(np.int64)
    unknown = own == pods.nobody
    if unknown.any():
        own[unknown] = pods.chosen[pods.rows(names)[name[unknown]], hour[unknown]]
    own[np.array([pod is None for _, pod in names], dtype=np.bool_)[name]] = pods.nobody
    pairs, place = np.unique(own * len(names) + name, return_inverse=True)
    told = [(pods.owners[o] or NONE, names[n][0]) for o, n in (divmod(pair, len(names)) for pair in pairs.tolist())]
    above = parents.rows((kind, namespace, called) for (kind, called), namespace in told)
    by_name = np.array([kind in BARE for (kind, _), _ in told], dtype=np.bool_)[place]
    return own, parents.chosen[above[place], hour].astype(np.int64), np.where(by_name, name + 1, 0)


def _of_kind(kind: str, name: str, states: States) -> States:
    """What owns objects of a kind that are called by a label."""
    labels, values = states
    own = labels.select([name, "namespace", *OWNER_LABELS]).rename_columns(["name", "namespace", *OWNER_LABELS])
    return own.append_column("kind", pa.repeat(kind, labels.num_rows)), values


def _ranked(labels: pa.Table) -> tuple[list[Controller | None], NDArray[np.int32]]:
    """Owners told of, and which of them each row tells of; those that count first first.

    A controller before a mere owner, an owner before none, ties by name.
    """
    kinds, names, controls = (labels[one].to_pylist() for one in OWNER_LABELS)
    claims = [(one != "true", kind or "", name or "") for kind, name, one in zip(kinds, names, controls, strict=True)]
    distinct = sorted(set(claims), key=lambda claim: (claim[0], claim[1] in NONE, claim[2], claim[1]))
    rank = {claim: i for i, claim in enumerate(distinct)}
    owners = [(kind, name) for _, kind, name in distinct]
    return [*owners, None], np.array([rank[claim] for claim in claims], dtype=np.int32)


@lru_cache(maxsize=1 << 16)
def _owner(owner: Controller, parent: Controller | None) -> Owner | None:
    """The workload by a pod's owner and what that belongs to, None where the pod itself is the workload."""
    kind, name = owner
    if kind in BARE:
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
