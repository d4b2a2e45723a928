"""Which Deployment, StatefulSet, Job ... a pod belongs to, as kube-state-metrics tells it, and when pods started."""

from collections.abc import Sequence
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
        starts: kube_pod_start_time: uid, namespace, pod; seconds since the epoch; in each hour, then around each edge.
    """

    pods: States
    replicasets: States
    jobs: States
    starts: States


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
    return OwnerSeries(*at_once(questions, server.concurrency if span.window.hour_count <= FEW_HOURS else 1))


def united(answers: Sequence[OwnerSeries]) -> OwnerSeries:
    """What several servers saw, as one; what more than one saw counts once where it is looked up."""
    return OwnerSeries(*(together(states) for states in zip(*answers, strict=True)))


def starts(owned: OwnerSeries, first_ms: int) -> Starts:
    """Of pods by UID and by `namespace/pod`; of those that had one name after the other, the later's.

    Args:
        owned: of some hours.
        first_ms: left edge of the first.
    """
    pods, row = _told(owned.starts)
    number = {pod: code for code, pod in enumerate(dict.fromkeys(pods))}
    code = np.array([number[pod] for pod in pods], dtype=np.int64)
    order = np.argsort(code, kind="stable")
    row, begin = row[order], np.searchsorted(code[order], np.arange(len(number)))
    hours = owned.starts.values.shape[1] // 2
    in_turn = (hours + look // 2 if look % 2 == 0 else look // 2 for look in range(2 * hours + 1))
    return Starts(first_ms, number, (_latest_ms(owned.starts.values[row, look], begin) for look in in_turn))


def _latest_ms(seconds: Floats, begin: Int64s) -> Floats:
    """The greatest from each `begin` on; NaN where there is none."""
    return np.rint(np.fmax.reduceat(seconds, begin) * 1000) if len(begin) else seconds


def _told(states: States) -> tuple[list[str], Int64s]:
    """Whom the rows speak of, each under every name it has, and which rows those are."""
    uids, namespaces, pods = (states.labels[name].to_pylist() for name in POD_LABELS)
    names = [f"{space}/{pod}" if space and pod else None for space, pod in zip(namespaces, pods, strict=True)]
    told = [one is not None for one in (*uids, *names)]
    row = np.tile(np.arange(len(uids)), 2)[np.array(told, dtype=np.bool_)]
    return [one for one in (*uids, *names) if one is not None], row
