"""A seeded store of counters at size: pods that come and go, restarts of their exporter, jitter, stale marks.

Loaded by remote write half an hour at a time, so that the server cuts its chunks and blocks as it would in life.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

METRIC = "kepler_container_cpu_joules_total"
SCRAPE_MS = 30_000
SLICE_MS = 30 * MS_PER_MINUTE
POWER_MS = 2 * MS_PER_MINUTE
SERIES_PER_NODE = 100
SERIES_PER_REQUEST = 170
RESTARTED = 0.23  # share of nodes whose exporter restarts once a day
JITTERED = 0.05
LIVES = ((0.75, 48 * 60), (0.20, 6 * 60), (0.05, 20))  # share of pods, mean minutes
STALE = struct.pack("<Q", 0x7FF0000000000002)
HEADERS = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}


@dataclass(frozen=True, slots=True)
class Pod:
    """One counter: its labels as they travel, its life, and the seed of its power."""

    labels: bytes
    start_ms: int
    end_ms: int
    seed: int


@dataclass(frozen=True, slots=True)
class Node:
    """One exporter: when it is scraped, when it was born anew (or never), and its pods."""

    offset_ms: int
    restart_ms: int
    pods: tuple[Pod, ...]


def nodes(seed: int, series: int, start_ms: int, hours: float) -> list[Node]:
    """Nodes with `series` counters at any time; the first quarter of the nodes is cluster `c1`, the rest `c2`."""
    rng = np.random.default_rng(seed)
    count = series // SERIES_PER_NODE
    end_ms = start_ms + round(hours * MS_PER_HOUR)
    return [_node(rng, number, "c1" if 4 * number < count else "c2", start_ms, end_ms) for number in range(count)]


def _node(rng: np.random.Generator, number: int, cluster: str, start_ms: int, end_ms: int) -> Node:
    pods = []
    for slot in range(SERIES_PER_NODE):
        mean_ms = rng.choice([m for _, m in LIVES], p=[share for share, _ in LIVES]) * MS_PER_MINUTE
        at_ms = start_ms - int(rng.integers(0, mean_ms))
        while at_ms < end_ms:
            stop_ms = at_ms + SCRAPE_MS + int(rng.exponential(mean_ms))
            if stop_ms > start_ms:
                pods.append(Pod(_labels(rng, number, slot, cluster), at_ms, stop_ms, int(rng.integers(1 << 62))))
            at_ms = stop_ms
    restart_ms = int(rng.integers(start_ms, end_ms)) if rng.random() < RESTARTED else end_ms * 2
    return Node(int(rng.integers(SCRAPE_MS)), restart_ms, tuple(pods))


def _labels(rng: np.random.Generator, node: int, slot: int, cluster: str) -> bytes:
    uid, container = rng.bytes(16).hex(), rng.bytes(32).hex()
    labels = {
        "__name__": METRIC, "cluster": cluster, "container_id": container, "container_name": f"app-{slot % 7}",
        "instance": f"10.0.{node // 250}.{node % 250}:28282", "job": "kepler", "node_name": f"node-{node:04d}",
        "pod_id": f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}", "pod_name": f"web-{slot}-{uid[:10]}",
        "pod_namespace": f"team-{slot % 40}", "runtime": "containerd", "state": "running", "zone": "package",
    }  # fmt: skip
    return b"".join(_field(1, _field(1, k.encode()) + _field(2, v.encode())) for k, v in sorted(labels.items()))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def requests(fleet: list[Node], start_ms: int, hours: float, seed: int) -> Iterator[bytes]:
    """Bodies of remote write, in time order; each series carries its joules from one to the next."""
    joules: dict[bytes, float] = {}
    for slice_ms in range(start_ms, start_ms + round(hours * MS_PER_HOUR), SLICE_MS):
        parts = []
        for number, node in enumerate(fleet):
            stamps = _scrapes(node, slice_ms, np.random.default_rng((seed, number, slice_ms)))
            for pod in node.pods:
                own = stamps[(stamps >= pod.start_ms) & (stamps < pod.end_ms)]
                if len(own):
                    values = _values(pod, node.restart_ms, own, joules)
                    parts.append(_series(pod, own, values, slice_ms + SLICE_MS))
                if len(parts) == SERIES_PER_REQUEST:
                    yield _request(parts)
                    parts = []
        if parts:
            yield _request(parts)


def _request(parts: list[bytes]) -> bytes:
    return bytes(pa.compress(b"".join(_field(1, part) for part in parts), codec="snappy", asbytes=True))


def _scrapes(node: Node, slice_ms: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Stamps of one slice: 5 % come 1 to 3 ms late, and a restart costs two."""
    stamps = np.arange(slice_ms + node.offset_ms, slice_ms + SLICE_MS, SCRAPE_MS, dtype=np.int64)
    late = rng.random(len(stamps)) < JITTERED
    stamps[late] += rng.integers(1, 4, int(late.sum()))
    away = (stamps >= node.restart_ms) & (stamps < node.restart_ms + 2 * SCRAPE_MS)
    return stamps[~away]


def _values(pod: Pod, restart_ms: int, stamps: NDArray[np.int64], joules: dict[bytes, float]) -> NDArray[np.float64]:
    """Microjoules are kept, so that values compress as badly as real ones."""
    power = 5 + pod.seed % 40
    first, last = int(stamps[0]) // POWER_MS, int(stamps[-1]) // POWER_MS
    levels = np.random.default_rng((pod.seed, first)).uniform(0.5, 1.5, last - first + 1)
    watts = power * levels[stamps // POWER_MS - first]
    rises = watts * np.diff(stamps, prepend=stamps[0] - SCRAPE_MS) / 1000
    held = joules.get(pod.labels, 0.0) + np.cumsum(rises)
    reborn = np.flatnonzero(stamps >= restart_ms)
    if len(reborn) and stamps[reborn[0]] < restart_ms + 3 * SCRAPE_MS:
        held[reborn] -= held[reborn[0]] - rises[reborn[0]]
    joules[pod.labels] = float(held[-1])
    return np.round(held, 6)


def _series(pod: Pod, stamps: NDArray[np.int64], values: NDArray[np.float64], slice_end_ms: int) -> bytes:
    packed = np.zeros((len(stamps), 18), dtype=np.uint8)
    packed[:, :3] = (0x12, 0x10, 0x09)
    packed[:, 3:11] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
    packed[:, 11] = 0x10
    for byte in range(6):
        packed[:, 12 + byte] = stamps >> 7 * byte & 0x7F | (0x80 if byte < 5 else 0)
    if pod.end_ms < slice_end_ms and stamps[-1] + SCRAPE_MS < slice_end_ms:
        gone = packed[-1:].copy()
        gone[0, 3:11] = np.frombuffer(STALE, np.uint8)
        for byte in range(6):
            gone[0, 12 + byte] = int(stamps[-1]) + SCRAPE_MS >> 7 * byte & 0x7F | (0x80 if byte < 5 else 0)
        packed = np.concatenate((packed, gone))
    return pod.labels + packed.tobytes()


def load(url: str, fleet: list[Node], start_ms: int, hours: float, seed: int) -> int:
    """Write the fleet into the server; the number of bytes sent."""
    sent = 0
    with httpx.Client(trust_env=False, timeout=60) as client:
        for body in requests(fleet, start_ms, hours, seed):
            answer = client.post(f"{url}/api/v1/write", content=body, headers=HEADERS)
            if answer.status_code >= 300:
                raise RuntimeError(f"{answer.status_code}: {answer.text[:200]}")
            sent += len(body)
    return sent
