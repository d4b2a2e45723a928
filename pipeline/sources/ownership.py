"""Which Deployment, StatefulSet, Job ... a pod belongs to, as kube-state-metrics tells it, and when pods started."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from pipeline.samples import Floats, Int64s
from pipeline.sources.concurrency import at_once
from pipeline.sources.kube_state import Span, States, read_states, together
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.starts import Starts

OWNER_LABELS = ("owner_kind", "owner_name", "owner_is_controller")
FEW_HOURS = 3
POD_LABELS = ("uid", "namespace", "pod")


class OwnerSeries(NamedTuple):
    """Owner series and pods' start times, hour by hour.

    Attributes:
        pods: kube_pod_owner: uid, namespace, pod and the owner labels.
        replicasets: kube_replicaset_owner: namespace, replicaset and the owner labels.
        jobs: kube_job_owner: namespace, job_name and the owner labels.
        starts: kube_pod_start_time: uid, namespace, pod; seconds since the epoch.
        starts_at_edges: the same around each edge of the hours.
    """

    pods: States
    replicasets: States
    jobs: States
    starts: States
    starts_at_edges: States


def read(server: PrometheusServer, span: Span) -> OwnerSeries:
    """Owner series of each hour; without rows where kube-state-metrics is not scraped.

    Raises:
        SourceError: the server did not give all of it.
    """
    of_owners = {
        "kube_pod_owner": POD_LABELS,
        "kube_replicaset_owner": ("namespace", "replicaset"),
        "kube_job_owner": ("namespace", "job_name"),
    }
    questions = [
        *(partial(read_states, server, m, (*of, *OWNER_LABELS), span.hours) for m, of in of_owners.items()),
        partial(read_states, server, "kube_pod_start_time", POD_LABELS, span.hours, span.edges),
    ]
    # each answer that is being read takes memory of its own, and those of many hours are large
    answers = at_once(questions, server.concurrency if span.window.hour_count <= FEW_HOURS else 1)
    return OwnerSeries(*(states for found in answers for states in found))


def united(answers: Sequence[OwnerSeries]) -> OwnerSeries:
    """What several servers saw, as one; what more than one saw counts once where it is looked up."""
    return OwnerSeries(*(together(states) for states in zip(*answers, strict=True)))


def starts(owned: OwnerSeries, first_ms: int) -> Starts:
    """Of pods by UID and by `namespace/pod`; of those that had one name after the other, the later's.

    Args:
        owned: of some hours.
        first_ms: left edge of the first.
    """
    parts = [(states, *_told(states)) for states in (owned.starts_at_edges, owned.starts)]
    number = {pod: row for row, pod in enumerate(dict.fromkeys(pod for _, pods, _ in parts for pod in pods))}
    columns = [_in_looks(states, np.array([number[pod] for pod in pods], np.int64), row, len(number))
               for states, pods, row in parts]  # fmt: skip
    in_turn = (next(columns[look % 2]) for look in range(2 * owned.starts.values.shape[1] + 1))
    return Starts(first_ms, number, in_turn)


def _in_looks(states: States, code: Int64s, row: Int64s, count: int) -> Iterator[Floats]:
    """The latest start of each of so many pods, look by look: what `code` says of which `row`; ms."""
    order = np.argsort(code, kind="stable")
    own, begin = np.unique(code[order], return_index=True)
    for look in range(states.values.shape[1]):
        ms = np.full(count, np.nan)
        if len(own):
            ms[own] = np.rint(np.fmax.reduceat(states.values[row[order], look], begin) * 1000)
        yield ms


def _told(states: States) -> tuple[list[str], Int64s]:
    """Whom the rows speak of, each under every name it has, and which rows those are."""
    uids, namespaces, pods = (states.labels[name].to_pylist() for name in POD_LABELS)
    names = (f"{space}/{pod}" if space and pod else None for space, pod in zip(namespaces, pods, strict=True))
    told = [(one, row) for column in (uids, names) for row, one in enumerate(column) if one is not None]
    return [one for one, _ in told], np.array([row for _, row in told], dtype=np.int64)
