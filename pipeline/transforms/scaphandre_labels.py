"""What the labels of Scaphandre's process gauges say: which process, program, container, pod, guest and node."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from pipeline.samples import Floats, Int64s, Samples, ScaphandreSamples
from pipeline.transforms.counters import merge
from pipeline.transforms.sightings import Sightings

Pod: TypeAlias = tuple[str | None, str | None, str | None]  # uid where Kubernetes told it, namespace, name


class ProcessLabel(NamedTuple):
    """One label set of a process gauge."""

    host: str
    pid: str
    exe: str
    cmdline: str
    container_id: str | None
    guest: str | None
    node: str | None
    namespace: str | None
    pod: str | None


@dataclass(frozen=True, slots=True)
class ProcessGauges:
    """Power of processes on hosts with sockets, sorted by (process, stamp), one sample a stamp.

    Attributes:
        labels: label sets, numbered by what they say.
        host: number of the host, indexed by label, as are `program` (host, pid and executable: a pid may be used
            again), `container`, `pod` and `guest` (-1 where a label set names none).
        containers, pods, guests: what those numbers mean.
        label: label set of each sample.
        stamp_ms: when it was read.
        watts: mean since the exporter's previous refresh.
        unmetered: hosts whose processes cannot be counted, because they show no socket.
    """

    labels: list[ProcessLabel]
    host: Int64s
    program: Int64s
    container: Int64s
    pod: Int64s
    guest: Int64s
    containers: list[str]
    pods: list[Pod]
    guests: list[str]
    label: Int64s
    stamp_ms: Int64s
    watts: Floats
    unmetered: list[str]


def process_gauges(samples: ScaphandreSamples, hosts: list[str]) -> ProcessGauges:
    """The process samples with their labels understood."""
    labels, sample_label = _labels(samples.processes)
    number = {host: i for i, host in enumerate(hosts)}
    host = np.array([number.get(label.host, -1) for label in labels], dtype=np.int64)
    process = _numbers((label.host, label.pid) for label in labels)
    kept = host[sample_label] >= 0
    at = sample_label[kept]
    gauges = merge(process[at], samples.processes.stamp_ms[kept], samples.processes.value[kept], at)
    containers = sorted({label.container_id for label in labels if label.container_id})
    told: list[Pod] = [(None, label.namespace, label.pod) for label in labels if label.namespace and label.pod]
    pods = sorted({*told, *_told_pods(samples.pods)}, key=str)
    guests = sorted({label.guest for label in labels if label.guest})
    return ProcessGauges(
        labels=labels,
        host=host,
        program=_numbers((label.host, label.pid, label.exe) for label in labels),
        container=_places(containers, [label.container_id for label in labels]),
        pod=_places(pods, [(None, label.namespace, label.pod) for label in labels]),
        guest=_places(guests, [label.guest for label in labels]),
        containers=containers,
        pods=pods,
        guests=guests,
        label=gauges.label,
        stamp_ms=gauges.stamp_ms,
        watts=gauges.value,
        unmetered=sorted({label.host for label in labels} - set(hosts)),
    )


def _labels(processes: Samples) -> tuple[list[ProcessLabel], Int64s]:
    """Label sets sorted by what they say, those that say more last, and the one of each sample."""
    pairs, where = np.unique(np.stack((processes.code, processes.name)), axis=1, return_inverse=True)
    identity, names = processes.identity.to_pylist(), processes.names.to_pylist()
    told = [_label(identity[code], names[name]) for code, name in pairs.T.tolist()]
    order = sorted(range(len(told)), key=lambda i: (sum(part is not None for part in told[i]), str(told[i])))
    rank = np.argsort(np.array(order, dtype=np.int64))
    return [told[i] for i in order], rank[where.ravel()] if told else np.zeros(0, dtype=np.int64)


def _label(row: dict[str, str | None], names: dict[str, str | None]) -> ProcessLabel:
    return ProcessLabel(
        host=row["host"] or "", pid=row["pid"] or "", exe=row["exe"] or "", cmdline=row["cmdline"] or "",
        container_id=row["container_id"], guest=row["guest"], node=row["node"],
        namespace=names["namespace"], pod=names["pod"],
    )  # fmt: skip


def _told_pods(pods: Samples) -> list[Pod]:
    rows = pods.identity.to_pylist()
    return [(row["pod_uid"], row["namespace"], row["pod"]) for row in rows if row["namespace"] and row["pod"]]


def _numbers(keys: Iterable[tuple[str, ...]]) -> Int64s:
    held = list(keys)
    number = {key: i for i, key in enumerate(sorted(set(held)))}
    return np.array([number[key] for key in held], dtype=np.int64)


def _places(known: list, wanted: list) -> Int64s:  # type: ignore[type-arg] # texts or pods, the same in both
    number = {key: i for i, key in enumerate(known)}
    return np.array([number.get(key, -1) for key in wanted], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Holders:
    """Whose processes are: by their own labels, by those that they or their container carry a little later or earlier.

    A container's pod is taken from kube-state-metrics where it knows the container, so that its pod UID is known too.
    """

    gauges: ProcessGauges
    container_of_program: Sightings
    pod_of_program: Sightings
    pod_of_container: Sightings
    told_pod: Sightings

    @classmethod
    def of(cls, gauges: ProcessGauges, pods: Samples) -> "Holders":
        """Everything that was seen."""
        program, container, pod = (part[gauges.label] for part in (gauges.program, gauges.container, gauges.pod))
        rows = pods.identity.to_pylist()
        told_container = _places(gauges.containers, [row["container_id"] for row in rows])
        told_pod = _places(gauges.pods, [(row["pod_uid"], row["namespace"], row["pod"]) for row in rows])
        return cls(
            gauges,
            container_of_program=Sightings.of(program, gauges.stamp_ms, container),
            pod_of_program=Sightings.of(program, gauges.stamp_ms, pod),
            pod_of_container=Sightings.of(container, gauges.stamp_ms, pod),
            told_pod=Sightings.of(told_container[pods.code], pods.stamp_ms, told_pod[pods.code]),
        )

    def find(self, label: Int64s, start_ms: Int64s, end_ms: Int64s, max_gap_ms: int) -> tuple[Int64s, Int64s, Int64s]:
        """Guest, pod and container of label sets over intervals, -1 for none."""
        program, container, pod = (
            part[label] for part in (self.gauges.program, self.gauges.container, self.gauges.pod)
        )
        span = (start_ms, end_ms, max_gap_ms)
        container = np.where(container >= 0, container, self.container_of_program.find(program, *span))
        for known in (self.pod_of_container.find(container, *span), self.pod_of_program.find(program, *span)):
            pod = np.where(pod >= 0, pod, known)
        told = self.told_pod.find(container, *span)
        return self.gauges.guest[label], np.where(told >= 0, told, pod), container
