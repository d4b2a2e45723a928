"""A seeded fleet of Kepler nodes at size: which pods run where, and what they and their nodes count at each scrape.

Counters are whole microjoules, so a node's active energy is exactly that of its pods and its system, and its register
that of active and idle. Power is constant between two scrapes. Pods come and go between scrapes; some nodes' Kepler
restarts once: two scrapes are missed, all counters begin anew, and only the register (which wraps) outlives it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

POWER_MS = 2 * MS_PER_MINUTE
PODS_PER_NODE = 50
ZONES: Mapping[str, float] = {"package": 1.0, "dram": 0.2}  # times a pod's watts
REGISTER_MICROJOULES: Mapping[str, int] = {"package": 262_143_328_850, "dram": 65_712_999_613}
SERIES_PER_NODE = PODS_PER_NODE * len(ZONES)
SYSTEM_SHARE, IDLE_WATTS = 0.04, 60.0
RESTARTED = 0.23  # share of nodes
JITTERED = 0.05  # share of scrapes that come 1 to 3 ms late
COUNTED_SHARE = 1 / 3  # of a restart's gap: what the new Kepler saw of it
LIVES = ((0.75, 48 * 60), (0.20, 6 * 60), (0.05, 20))  # share of pods, mean minutes

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a fleet is, and when.

    Attributes:
        series: counters of pods at any time, in all zones.
        start_ms: a whole hour.
        hours: how long; a multiple of `slice_ms`.
        scrape_ms: from one scrape to the next.
        slice_ms: what is made at a time; divides an hour.
        seed: of everything random.
    """

    series: int
    start_ms: int
    hours: float
    scrape_ms: int = 30_000
    slice_ms: int = 30 * MS_PER_MINUTE
    seed: int = 1

    @property
    def end_ms(self) -> int:
        """After the last scrape."""
        return self.start_ms + round(self.hours * MS_PER_HOUR)


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one node, one entry each."""

    uids: tuple[str, ...]
    slots: Int64s
    start_ms: Int64s  # whole seconds
    end_ms: Int64s
    watts: Floats


@dataclass(frozen=True, slots=True)
class Node:
    """One machine: when it is scraped, when its Kepler restarts (or never), and its pods."""

    number: int
    cluster: str
    offset_ms: int
    restart_ms: int
    pods: Pods

    @property
    def name(self) -> str:
        """As in `node_name`."""
        return f"node-{self.number:04d}"


@dataclass(frozen=True, slots=True)
class Counters:
    """What one zone of a node shows at the scrapes of a slice, in microjoules: (pods, scrapes), and (scrapes)."""

    pods: Int64s
    active: Int64s
    idle: Int64s
    register: Int64s
    before: Floats  # physical energy of each pod in this slice's first interval before `begin_ms`
    after: Floats  # and after it, up to the last scrape


@dataclass(frozen=True, slots=True)
class Slice:
    """Half an hour, or so, of one node.

    Attributes:
        begin_ms: its left edge.
        stamps_ms: of its scrapes.
        here: which of the node's pods lived since the scrape before; rows of all that follows.
        alive: whether each was there at each scrape.
        was_alive: whether it was there at the scrape before.
        zones: what was counted.
    """

    begin_ms: int
    stamps_ms: Int64s
    here: Int64s
    alive: Bools
    was_alive: Bools
    zones: Mapping[str, Counters]


def fleet(size: Size) -> list[Node]:
    """All nodes; the first quarter is cluster `c1`, the second `c2`, the rest `c3`."""
    rng = np.random.default_rng(size.seed)
    count = size.series // SERIES_PER_NODE
    return [_node(rng, number, _cluster(number, count), size) for number in range(count)]


def _cluster(number: int, count: int) -> str:
    return "c1" if 4 * number < count else "c2" if 2 * number < count else "c3"


def _node(rng: np.random.Generator, number: int, cluster: str, size: Size) -> Node:
    uids, slots, starts, ends = [], [], [], []
    for slot in range(PODS_PER_NODE):
        mean_ms = rng.choice([m for _, m in LIVES], p=[share for share, _ in LIVES]) * MS_PER_MINUTE
        at_ms = (size.start_ms - int(rng.integers(0, mean_ms))) // 1000 * 1000
        while at_ms < size.end_ms:
            stop_ms = at_ms + size.scrape_ms + int(rng.exponential(mean_ms)) // 1000 * 1000
            if stop_ms > size.start_ms:
                hexes = rng.bytes(16).hex()
                uids.append(f"{hexes[:8]}-{hexes[8:12]}-{hexes[12:16]}-{hexes[16:20]}-{hexes[20:]}")
                slots.append(slot)
                starts.append(at_ms)
                ends.append(stop_ms)
            at_ms = stop_ms
    restart_ms = int(rng.integers(size.start_ms, size.end_ms)) if rng.random() < RESTARTED else size.end_ms * 2
    whole = [np.array(column, dtype=np.int64) for column in (slots, starts, ends)]
    pods = Pods(tuple(uids), whole[0], whole[1], whole[2], rng.uniform(0.5, 4.5, len(uids)))
    return Node(number, cluster, int(rng.integers(size.scrape_ms)), restart_ms, pods)


def slices(node: Node, size: Size) -> Iterator[Slice]:
    """The node's counters in time order, each going on where the last slice ended."""
    totals = {zone: _Totals(len(node.pods.uids), node.number) for zone in ZONES}
    last_ms = size.start_ms + node.offset_ms - size.scrape_ms
    pods = node.pods
    for begin_ms in range(size.start_ms, size.end_ms, size.slice_ms):
        rng = np.random.default_rng((size.seed, node.number, begin_ms // 1000))
        stamps = _scrapes(node, begin_ms, size, rng)
        edges = np.concatenate(([last_ms], stamps))
        here = np.flatnonzero((pods.end_ms > last_ms) & (pods.start_ms <= stamps[-1]))
        starts, ends = pods.start_ms[here, None], pods.end_ms[here, None]
        lived_ms = np.clip(np.minimum(stamps, ends) - np.maximum(edges[:-1], starts), 0, None)
        slot = stamps // POWER_MS - stamps[0] // POWER_MS
        watts = pods.watts[here, None] * rng.uniform(0.5, 1.5, (len(here), int(slot[-1]) + 1))[:, slot]
        early_ms = np.clip(np.minimum(begin_ms, ends[:, 0]) - np.maximum(last_ms, starts[:, 0]), 0, None)
        early = np.divide(early_ms, lived_ms[:, 0], out=np.zeros(len(here)), where=lived_ms[:, 0] > 0)
        reborn = np.flatnonzero((edges[:-1] < node.restart_ms) & (node.restart_ms <= stamps))
        zones = {
            zone: totals[zone].count(zone, here, watts * lived_ms * share * 1000, np.diff(edges) * share, early, reborn)
            for zone, share in ZONES.items()
        }
        alive = (starts <= stamps) & (stamps < ends)
        was_alive = (starts[:, 0] <= last_ms) & (last_ms < ends[:, 0])
        last_ms = int(stamps[-1])
        yield Slice(begin_ms, stamps, here, alive, was_alive, zones)


def _scrapes(node: Node, begin_ms: int, size: Size, rng: np.random.Generator) -> Int64s:
    stamps = np.arange(begin_ms + node.offset_ms, begin_ms + size.slice_ms, size.scrape_ms, dtype=np.int64)
    late = rng.random(len(stamps)) < JITTERED
    stamps[late] += rng.integers(1, 4, int(late.sum()))
    away = (stamps >= node.restart_ms) & (stamps < node.restart_ms + 2 * size.scrape_ms)
    return stamps[~away]


class _Totals:
    """What one zone of a node has counted so far."""

    def __init__(self, pods: int, number: int) -> None:
        self.pods = np.zeros(pods, dtype=np.int64)
        self.active = number * 1_000_000_007
        self.idle = number * 2_000_000_011
        self.register = number * 3_000_000_019

    def count(self, zone: str, here: Int64s, used: Floats, idle_ms: Floats, early: Floats, reborn: Int64s) -> Counters:
        """Go on by one slice: microjoules of each pod in each interval, the share before the slice, a restart."""
        rises = np.rint(used).astype(np.int64)
        of_pods = rises.sum(axis=0)
        active_rises = of_pods + np.rint(of_pods * SYSTEM_SHARE).astype(np.int64)
        idle_rises = np.rint(idle_ms * IDLE_WATTS * 1000).astype(np.int64)
        span = REGISTER_MICROJOULES[zone]
        register = (self.register + np.cumsum(active_rises + idle_rises)) % span
        pods = self.pods[here, None] + np.cumsum(rises, axis=1)
        active, idle = self.active + np.cumsum(active_rises), self.idle + np.cumsum(idle_rises)
        for at in reborn.tolist():
            seen = np.floor(rises[:, at] * COUNTED_SHARE).astype(np.int64)
            seen_active = int(seen.sum()) + int(active_rises[at] - of_pods[at]) // 3
            seen_idle = int(idle_rises[at] * COUNTED_SHARE)
            first_reading = (int(register[at]) - seen_active - seen_idle) % span  # booked as idle whole
            pods[:, at:] -= (pods[:, at] - seen)[:, None]
            active[at:] -= active[at] - seen_active
            idle[at:] -= idle[at] - seen_idle - first_reading
        self.pods[here] = pods[:, -1]
        self.active, self.idle, self.register = int(active[-1]), int(idle[-1]), int(register[-1])
        before = rises[:, 0] * early
        return Counters(pods, active, idle, register, before, rises.sum(axis=1) - before)


def true_joules(nodes: list[Node], size: Size) -> dict[tuple[int, str, str, str], float]:
    """Physical joules by (hour's start in ms, node, zone, pod uid), up to each node's last scrape."""
    found: dict[tuple[int, str, str, str], float] = {}
    for node in nodes:
        for part in slices(node, size):
            hour = part.begin_ms // MS_PER_HOUR * MS_PER_HOUR
            earlier = (part.begin_ms - 1) // MS_PER_HOUR * MS_PER_HOUR
            for zone, counted in part.zones.items():
                for row, pod in enumerate(part.here.tolist()):
                    for at_ms, amount in ((earlier, counted.before[row]), (hour, counted.after[row])):
                        if amount:
                            key = (at_ms, node.name, zone, node.pods.uids[pod])
                            found[key] = found.get(key, 0.0) + amount / 1e6
    return found
