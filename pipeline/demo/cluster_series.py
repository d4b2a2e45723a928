"""The series kube-state-metrics would have shown for a simulated cluster: who owns which pod, and since when."""

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.demo.nodes import Node
from pipeline.demo.pods import Pod
from pipeline.demo.series import METRIC, Series
from pipeline.samples import Int64s
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND

TARGET = {"instance": "10.0.0.5:8080", "job": "kube-state-metrics"}
NONE = "<none>"  # what kube-state-metrics writes for an object without an owner
NODE_AGE_MS = 90 * 24 * MS_PER_HOUR
NODE_SOFTWARE = {
    "kernel_version": "6.1.0-28-amd64",
    "os_image": "Debian GNU/Linux 12 (bookworm)",
    "container_runtime_version": "containerd://1.7.24",
    "kubelet_version": "v1.31.4",
}


class ClusterSeries:
    """All kube-state-metrics series of one fleet."""

    def __init__(self, scrapes_ms: Int64s, start_ms: int) -> None:
        self.scrapes_ms = scrapes_ms
        self.start_ms = start_ms

    def all(self, nodes: Sequence[Node], pods: Sequence[Pod]) -> Iterator[Series]:
        """Every series, empty ones left out."""
        made = [
            *(one for number, node in enumerate(nodes) for one in self._node(number, node)),
            *(one for number, pod in enumerate(pods) for one in self._pod(number, pod, nodes)),
            *self._controllers(pods),
        ]
        yield from (one for one in made if len(one.stamps_ms))

    def _series(self, metric: str, labels: dict[str, str], life_ms: tuple[int, int], value: float = 1.0) -> Series:
        begin, end = np.searchsorted(self.scrapes_ms, life_ms)
        stamps = self.scrapes_ms[begin:end] + self.start_ms
        return Series({METRIC: metric} | labels | TARGET, stamps, np.full(len(stamps), value))

    def _seconds(self, at_ms: int) -> float:
        return float((self.start_ms + at_ms) // MS_PER_SECOND)

    def _always(self) -> tuple[int, int]:
        return (-NODE_AGE_MS, int(self.scrapes_ms[-1]) + 1) if len(self.scrapes_ms) else (0, 0)

    def _node(self, number: int, node: Node) -> Iterator[Series]:
        who = {"node": node.name}
        info = NODE_SOFTWARE | {"internal_ip": node.instance.split(":")[0], "provider_id": f"demo:///rack/{number}"}
        yield self._series("kube_node_info", who | info, self._always())
        yield self._series("kube_node_created", who, self._always(), self._seconds(-NODE_AGE_MS))

    def _pod(self, number: int, pod: Pod, nodes: Sequence[Node]) -> Iterator[Series]:
        who = {"namespace": pod.namespace, "pod": pod.name, "uid": pod.uid}
        life = (pod.created_ms, pod.removed_ms)
        kind, name = pod.owner.controller_kind or NONE, pod.owner.controller or NONE
        host = next(node.instance.split(":")[0] for node in nodes if node.name == pod.node)
        place = {"node": pod.node, "host_ip": host, "pod_ip": f"10.42.{number // 250 % 250}.{number % 250 + 2}"}
        made_by = {"created_by_kind": kind, "created_by_name": name, "host_network": "false"}
        yield self._series("kube_pod_info", who | place | made_by, life)
        yield self._series("kube_pod_owner", who | _owned_by(kind, name), life)
        yield self._series("kube_pod_start_time", who, life, self._seconds(pod.created_ms))

    def _controllers(self, pods: Sequence[Pod]) -> Iterator[Series]:
        """ReplicaSets and Jobs, each for as long as any of its pods is there."""
        lives: dict[tuple[str, str, str], tuple[int, int]] = {}
        above: dict[tuple[str, str, str], tuple[str, str]] = {}
        for pod in pods:
            owner = pod.owner
            if owner.controller_kind not in ("ReplicaSet", "Job") or owner.controller is None:
                continue
            key = (owner.controller_kind, pod.namespace, owner.controller)
            begin, end = lives.get(key, (pod.created_ms, pod.removed_ms))
            lives[key] = (min(begin, pod.created_ms), max(end, pod.removed_ms))
            above[key] = (NONE, NONE) if owner.kind == "Job" else (owner.kind, owner.name)
        for key, life in lives.items():
            kind, namespace, name = key
            metric, label = ("kube_job_owner", "job_name") if kind == "Job" else ("kube_replicaset_owner", "replicaset")
            yield self._series(metric, {"namespace": namespace, label: name} | _owned_by(*above[key]), life)


def _owned_by(kind: str, name: str) -> dict[str, str]:
    return {
        "owner_kind": kind,
        "owner_name": name,
        "owner_is_controller": NONE if kind == NONE else "true",
    }
