"""Which Deployment, StatefulSet, Job ... a pod belongs to, as kube-state-metrics tells it, and when pods started."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.kube_state import Span, States, read_states, together
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.starts import Starts

OWNER_LABELS = ("owner_kind", "owner_name", "owner_is_controller")
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
    return OwnerSeries(
        pods=read_states(server, "kube_pod_owner", (*POD_LABELS, *OWNER_LABELS), span.hours),
        replicasets=read_states(
            server, "kube_replicaset_owner", ("namespace", "replicaset", *OWNER_LABELS), span.hours
        ),
        jobs=read_states(server, "kube_job_owner", ("namespace", "job_name", *OWNER_LABELS), span.hours),
        starts=read_states(server, "kube_pod_start_time", POD_LABELS, span.hours),
        starts_at_edges=read_states(server, "kube_pod_start_time", POD_LABELS, span.edges),
    )


def united(answers: Sequence[OwnerSeries]) -> OwnerSeries:
    """What several servers saw, as one; what more than one saw counts once where it is looked up."""
    return OwnerSeries(*(together(states) for states in zip(*answers, strict=True)))


def starts(owned: OwnerSeries, first_ms: int) -> Starts:
    """Of pods by UID and by `namespace/pod`; of those that had one name after the other, the later's.

    Args:
        owned: of some hours.
        first_ms: left edge of the first.
    """
    told = [_told(states) for states in (owned.starts_at_edges, owned.starts)]
    number = {pod: row for row, pod in enumerate(dict.fromkeys(pod for pods, _ in told for pod in pods))}
    ms = np.full((len(number), 2 * owned.starts.values.shape[1] + 1), np.nan)
    for first, states, (pods, row) in zip((0, 1), (owned.starts_at_edges, owned.starts), told, strict=True):
        if pods:
            code = np.array([number[pod] for pod in pods], dtype=np.int64)
            order = np.argsort(code, kind="stable")
            own, begin = np.unique(code[order], return_index=True)
            ms[own, first::2] = np.rint(np.fmax.reduceat(states.values[row[order]], begin, axis=0) * 1000)
    return Starts(first_ms, number, ms)


def _told(states: States) -> tuple[list[str], Int64s]:
    """Whom the rows speak of, each under every name it has, and which rows those are."""
    uids, namespaces, pods = (states.labels[name].to_pylist() for name in POD_LABELS)
    names = (f"{space}/{pod}" if space and pod else None for space, pod in zip(namespaces, pods, strict=True))
    told = [(one, row) for column in (uids, names) for row, one in enumerate(column) if one is not None]
    return [one for one, _ in told], np.array([row for _, row in told], dtype=np.int64)
