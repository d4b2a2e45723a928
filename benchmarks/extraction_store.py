"""The fleet of `kepler_fleet` in a server: Kepler's and kube-state-metrics' series, staleness marks included.

Loaded by remote write a slice at a time, so that the server cuts its chunks and blocks as it would in life.
"""

import os
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa

from benchmarks.kepler_fleet import PODS_PER_NODE, Floats, Int64s, Node, Size, Slice, fleet, slices
from benchmarks.stopwatch import await_idle
from pipeline.demo.grid import intensity_g_per_kwh
from pipeline.demo.servers import RunningServer, find_prometheus, free_port, start_prometheus
from pipeline.terminal import SystemClock
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import from_ms

METRIC = "kepler_pod_cpu_joules_total"
NODE_METRICS = (
    "kepler_node_cpu_active_joules_total",
    "kepler_node_cpu_idle_joules_total",
    "kepler_node_cpu_joules_total",
)
INTENSITY_METRIC = "grid_intensity_grams_per_kwh"  # what a recording rule of a rival joins
KUBE_MS = 4 * MS_PER_MINUTE
SAMPLES_PER_REQUEST = 10_000
PODS_PER_WORKLOAD, NAMESPACES = 5, 40
SAMPLE_BYTES = 18
STALE = struct.pack("<Q", 0x7FF0000000000002)
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
KUBE = {"instance": "10.9.9.9:8080", "job": "kube-state-metrics"}

Part = tuple[bytes, int]  # one encoded series and its number of samples


def labels(metric: str, names: dict[str, str]) -> bytes:
    """A series' labels as they travel, sorted."""
    pairs = sorted({"__name__": metric, **names}.items())
    return b"".join(_field(1, _field(1, k.encode()) + _field(2, v.encode())) for k, v in pairs)


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def packed(values: Floats, stamps_ms: Int64s) -> list[bytes]:
    """Rows of values at common stamps as protobuf samples of 18 bytes each."""
    rows = np.zeros((len(values), len(stamps_ms), SAMPLE_BYTES), dtype=np.uint8)
    rows[..., :3] = (0x12, 0x10, 0x09)
    rows[..., 3:11] = np.ascontiguousarray(values, dtype="<f8").view(np.uint8).reshape(*values.shape, 8)
    rows[..., 11] = 0x10
    for byte in range(6):
        rows[..., 12 + byte] = stamps_ms >> 7 * byte & 0x7F | (0x80 if byte < 5 else 0)
    return [row.tobytes() for row in rows]


class NodeSeries:
    """One node's series as they travel; labels are made once."""

    def __init__(self, node: Node, size: Size) -> None:
        self._node, self._size = node, size
        self._target = {
            "cluster": node.cluster, "instance": f"10.{node.number // 62500}.{node.number // 250 % 250}."
            f"{node.number % 250}:28282", "job": "kepler", "node_name": node.name,
        }  # fmt: skip
        kube, first = KUBE | {"cluster": node.cluster}, node.number * PODS_PER_NODE // PODS_PER_WORKLOAD
        workloads = range(first, first + PODS_PER_NODE // PODS_PER_WORKLOAD)
        self._always = [labels("kube_node_info", kube | {"node": node.name})] + [
            labels("kube_replicaset_owner", kube | _owned("Deployment", f"web-{n}")
                   | {"namespace": f"team-{n % NAMESPACES}", "replicaset": replicaset(n)})
            for n in workloads
        ]  # fmt: skip
        self._counters: dict[tuple[str, int], bytes] = {}
        self._kube: dict[tuple[str, int], bytes] = {}

    def parts(self) -> Iterator[list[Part]]:
        """What is sent of each slice."""
        for part in slices(self._node, self._size):
            yield [*self._kepler(part), *self._kube_state(part)]

    def _kepler(self, part: Slice) -> Iterator[Part]:
        count = part.alive.sum(axis=1)
        last = np.where(count > 0, part.alive.argmax(axis=1) + count, np.where(part.was_alive, 0, -1)).tolist()
        gone = packed(np.frombuffer(STALE * len(part.stamps_ms), "<f8")[None, :], part.stamps_ms)[0]
        for zone, counted in part.zones.items():
            rows = packed(counted.pods / 1e6, part.stamps_ms)
            for row, (pod, end, alive) in enumerate(zip(part.here.tolist(), last, count.tolist(), strict=True)):
                if end < 0:
                    continue  # it lived between two scrapes
                begin, stop = (end - alive) * SAMPLE_BYTES, end * SAMPLE_BYTES
                body = rows[row][begin:stop] + gone[stop : stop + SAMPLE_BYTES]
                yield self._pod_labels(zone, pod) + body, len(body) // SAMPLE_BYTES
            held = np.stack((counted.active, counted.idle, counted.register)) / 1e6
            path = {"zone": zone, "path": f"/sys/class/powercap/{zone}"}
            for metric, body in zip(NODE_METRICS, packed(held, part.stamps_ms), strict=True):
                yield labels(metric, self._target | path) + body, len(part.stamps_ms)

    def _pod_labels(self, zone: str, pod: int) -> bytes:
        known = self._counters.get((zone, pod))
        if known is None:
            who = {"pod_id": self._node.pods.uids[pod], "pod_name": self._name(pod), "pod_namespace": self._space(pod)}
            made = labels(METRIC, self._target | who | {"state": "running", "zone": zone})
            known = self._counters.setdefault((zone, pod), made)
        return known

    def _workload(self, pod: int) -> int:
        return (self._node.number * PODS_PER_NODE + int(self._node.pods.slots[pod])) // PODS_PER_WORKLOAD

    def _space(self, pod: int) -> str:
        return f"team-{self._workload(pod) % NAMESPACES}"

    def _name(self, pod: int) -> str:
        return f"{replicaset(self._workload(pod))}-{self._node.pods.uids[pod][:5]}"

    def _kube_state(self, part: Slice) -> Iterator[Part]:
        """Owner and start of each pod, the owner of that, and the node's being there."""
        at = kube_stamps(part.begin_ms, self._size)
        one = packed(np.ones((1, len(at))), at)[0]
        for always in self._always:
            yield always + one, len(at)
        seconds = self._node.pods.start_ms[part.here, None] / 1000 * np.ones(len(at))
        for pod, start in zip(part.here.tolist(), packed(seconds, at), strict=True):
            alive = np.searchsorted(at, (self._node.pods.start_ms[pod], self._node.pods.end_ms[pod])) * SAMPLE_BYTES
            for metric, body in (("kube_pod_owner", one), ("kube_pod_start_time", start)):
                if alive[0] < alive[1]:
                    own = body[alive[0] : alive[1]]
                    yield self._kube_labels(metric, pod) + own, len(own) // SAMPLE_BYTES

    def _kube_labels(self, metric: str, pod: int) -> bytes:
        known = self._kube.get((metric, pod))
        if known is None:
            who = {"namespace": self._space(pod), "pod": self._name(pod), "uid": self._node.pods.uids[pod]}
            owned = metric == "kube_pod_owner"
            owner = _owned("ReplicaSet", replicaset(self._workload(pod))) if owned else {}
            made = labels(metric, KUBE | {"cluster": self._node.cluster} | who | owner)
            known = self._kube.setdefault((metric, pod), made)
        return known


def replicaset(workload: int) -> str:
    """The only one that each workload has."""
    return f"web-{workload}-6d4b75cb6d"


def _owned(kind: str, name: str) -> dict[str, str]:
    return {"owner_kind": kind, "owner_name": name, "owner_is_controller": "true"}


def kube_stamps(begin_ms: int, size: Size) -> Int64s:
    """When kube-state-metrics is scraped in a slice."""
    first = -(-(begin_ms - 7_000) // KUBE_MS) * KUBE_MS + 7_000
    return np.arange(first, begin_ms + size.slice_ms, KUBE_MS, dtype=np.int64)


def _grid(begin_ms: int, size: Size) -> Part:
    """The grid's intensity as a series, for those who join it in the server."""
    at = kube_stamps(begin_ms, size)
    hourly = np.array([intensity_g_per_kwh(from_ms(stamp // MS_PER_HOUR * MS_PER_HOUR)) for stamp in at.tolist()])
    return labels(INTENSITY_METRIC, {"zone": "DE"}) + packed(hourly[None, :], at)[0], len(at)


def requests(nodes: Sequence[Node], size: Size) -> Iterator[tuple[bytes, int]]:
    """Bodies of remote write in time order, and how many samples each has."""
    begins = range(size.start_ms, size.end_ms, size.slice_ms)
    walks = [NodeSeries(node, size).parts() for node in nodes]
    for begin_ms in begins:
        waiting: list[Part] = [_grid(begin_ms, size)]
        held = 0
        for walk in walks:
            for part in next(walk):
                waiting.append(part)
                held += part[1]
                if held >= SAMPLES_PER_REQUEST:
                    yield _request(waiting), held
                    waiting, held = [], 0
        if waiting:
            yield _request(waiting), held


def _request(parts: Sequence[Part]) -> bytes:
    return bytes(pa.compress(b"".join(_field(1, body) for body, _ in parts), codec="snappy", asbytes=True))


def load(url: str, nodes: Sequence[Node], size: Size) -> int:
    """Write the fleet into the server; the number of samples. The next request is made while one is on its way."""
    total = 0
    with httpx.Client(trust_env=False, timeout=120) as client, ThreadPoolExecutor(1) as line:

        def send(body: bytes) -> None:
            answer = client.post(f"{url}/api/v1/write", content=body, headers=HEADERS)
            if answer.status_code >= 300:
                raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")

        pending = line.submit(lambda: None)
        for body, samples in requests(nodes, size):
            pending.result()
            pending = line.submit(send, body)
            total += samples
        pending.result()
    return total


@contextmanager
def store(folder: Path, size: Size) -> Iterator[RunningServer]:
    """A Prometheus with the seeded fleet; a folder that holds it already is used as it is.

    Loading stops when the server has done all that it does with new samples, so that it is quiet when measured.
    """
    binary = find_prometheus(folder / "programs", os.environ.get("PATH", ""))
    name = f"kepler-{size.series}-{size.hours:.2f}h-{size.scrape_ms // 1000}s-{size.seed}"
    data_dir = folder / name
    loaded = data_dir / "loaded"
    with start_prometheus(binary, data_dir, free_port(), SystemClock(), out_of_order="5y") as running:
        if not loaded.exists():
            began = time.monotonic()
            samples = load(running.url, fleet(size), size)
            print(f"{name}: {samples:,} samples loaded in {time.monotonic() - began:.0f} s", file=sys.stderr)
            loaded.write_text(str(samples), encoding="utf-8")
        await_idle(running.process.pid)
        yield running
