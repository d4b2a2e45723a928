"""Which Deployment, StatefulSet, Job ... a pod belongs to, as kube-state-metrics tells it.

Owner series are state, not counters: what was seen at any time in an hour, or within `max_gap` of it, holds for the
hour, so that pods that lived for seconds still find their owner.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher, selector

OWNER_LABELS = "owner_kind, owner_name, owner_is_controller"

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class OwnerSeries:
    """Label sets of the owner series of one hour, and pods' start times.

    Attributes:
        pods: kube_pod_owner: uid, namespace, pod and the owner labels.
        replicasets: kube_replicaset_owner: namespace, replicaset and the owner labels.
        jobs: kube_job_owner: namespace, job_name and the owner labels.
        started_ms: kube_pod_start_time by pod uid and by `namespace/pod`, milliseconds since the epoch.
    """

    pods: list[Labels]
    replicasets: list[Labels]
    jobs: list[Labels]
    started_ms: dict[str, int]


def read(server: PrometheusServer, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> OwnerSeries:
    """Owner series seen with `start_ms <= stamp <= end_ms`; empty lists where kube-state-metrics is not scraped."""

    def seen(metric: str, by: str) -> list[tuple[Labels, float]]:
        series = selector(metric, *matchers)
        return server.vector(f"max by ({by}) (last_over_time({series}[{end_ms - start_ms + 1}ms]))", end_ms)

    return OwnerSeries(
        pods=[labels for labels, _ in seen("kube_pod_owner", f"uid, namespace, pod, {OWNER_LABELS}")],
        replicasets=[labels for labels, _ in seen("kube_replicaset_owner", f"namespace, replicaset, {OWNER_LABELS}")],
        jobs=[labels for labels, _ in seen("kube_job_owner", f"namespace, job_name, {OWNER_LABELS}")],
        started_ms=_started_ms(seen("kube_pod_start_time", "uid, namespace, pod")),
    )


def united(answers: Sequence[OwnerSeries]) -> OwnerSeries:
    """What several servers saw, as one; what more than one saw counts once where it is looked up."""
    started: dict[str, int] = {}
    for answer in answers:
        started |= {key: max(ms, started.get(key, 0)) for key, ms in answer.started_ms.items()}
    pods, replicasets, jobs = (
        [row for answer in answers for row in getattr(answer, name)] for name in ("pods", "replicasets", "jobs")
    )
    return OwnerSeries(pods, replicasets, jobs, started)


def _started_ms(answer: Sequence[tuple[Labels, float]]) -> dict[str, int]:
    """Start by pod uid and by `namespace/pod`; of pods that had one name after the other, the later."""
    started: dict[str, int] = {}
    for labels, seconds in answer:
        namespace, pod = labels.get("namespace"), labels.get("pod")
        for key in (labels.get("uid"), f"{namespace}/{pod}" if namespace and pod else None):
            if key is not None:
                started[key] = max(round(seconds * 1000), started.get(key, 0))
    return started
