"""Counters of containers folded as workloads, and told apart into pods by the names they carry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Bools, Int64s, Samples
from pipeline.starts import Starts
from pipeline.transforms.attribution import Workloads, fold_workloads, per_reading
from pipeline.transforms.counters import Counters, Intervals, StampIndex, joined_intervals, merge
from pipeline.transforms.folded import Name
from pipeline.transforms.sockets import NO_INTERVALS, Summed
from pipeline.transforms.tails import estimate_tails

SEEN, DEATH, RESTART = range(3)


@dataclass(frozen=True, slots=True)
class Containers:
    """Counters of containers on node meters.

    Attributes:
        counters: samples, `code` numbering containers.
        meter: the node meter of each container (indexed by container).
        ids: container id of each container.
        names: (namespace, pod) that `counters.label` points into.
    """

    counters: Counters
    meter: Int64s
    ids: list[str]
    names: list[Name]

    @property
    def full(self) -> Bools:
        """Which names name a pod (indexed by name)."""
        return np.array([None not in name for name in self.names], dtype=bool)


@dataclass(frozen=True, slots=True)
class Used:
    """Energy of containers, `intervals.code` numbering `containers`.

    Attributes:
        containers: who used it.
        intervals: when and how much.
        meter: the node meter of each interval.
        label: which of the containers' names held in each interval, -1 where none is known.
        tail: `SEEN`, or why no sample shows an interval's energy: `DEATH` or `RESTART`.
    """

    containers: Containers
    intervals: Intervals
    meter: Int64s
    label: Int64s
    tail: Int64s

    def where(self, chosen: Bools) -> "Used":
        """The chosen intervals."""
        parts = self.meter[chosen], self.label[chosen], self.tail[chosen]
        return Used(self.containers, self.intervals.where(chosen), *parts)


def containers_of(samples: Samples, meter: Sequence[int]) -> Containers:
    """Containers, numbered by (meter, id); names are numbered by what they say, full ones last.

    Args:
        samples: identity ending with container_id; names (namespace, pod).
        meter: node meter of each row of the identity, -1 where it has none: those are left out.
    """
    ids = [str(container_id) for container_id in samples.identity["container_id"].to_pylist()]
    held = list(zip(meter, ids, strict=True))
    keys = sorted({key for key in held if key[0] >= 0})
    number = {key: i for i, key in enumerate(keys)}
    names = [(row["namespace"], row["pod"]) for row in samples.names.to_pylist()]
    order = sorted(range(len(names)), key=lambda i: (None not in names[i], str(names[i])))
    rank = np.argsort(np.array(order, dtype=np.int64))
    code = np.array([number.get(key, -1) for key in held], dtype=np.int64)[samples.code]
    own = code >= 0
    return Containers(
        counters=merge(code[own], samples.stamp_ms[own], samples.value[own], rank[samples.name[own]]),
        meter=np.array([key[0] for key in keys], dtype=np.int64),
        ids=[key[1] for key in keys],
        names=[names[i] for i in order],
    )


def fold_containers(
    containers: Containers, summed: Summed, max_gap_ms: int, starts: Starts, outside: Sequence[str] = ()
) -> Used:
    """Containers are workloads as any, tails included; each of their sightings (what no gap cuts) may be a birth.

    Args:
        containers: counters that start at 0 with their container and with their exporter.
        summed: their node meters.
        max_gap_ms: the longest joined interval.
        starts: of pods.
        outside: ids under which the meter shows what ran outside containers, if it shows it.
    """
    samples = containers.counters
    begins = samples.first
    begins[1:] |= (np.diff(samples.code) == 0) & (np.diff(samples.stamp_ms) > max_gap_ms)
    owner = samples.code[begins]
    pod = _pods(containers, begins, max_gap_ms, starts)
    sightings = Workloads(
        counters=replace(samples, code=np.cumsum(begins) - 1),
        meter=containers.meter[owner],
        started_ms=lambda code, start_ms, end_ms: starts.of(pod[code], start_ms, end_ms),
    )
    placed = fold_workloads(sightings, summed.lenient, max_gap_ms)
    found = placed.intervals
    never = np.zeros(len(containers.names), dtype=bool)
    told = _told(containers, replace(found, code=owner[found.code]), summed, outside)
    tails = estimate_tails(sightings, never, summed.metered, placed, NO_INTERVALS, max_gap_ms, told)
    tail = np.repeat([SEEN, DEATH, RESTART], [len(part.code) for part in (found, tails.deaths, tails.restarts)])
    found = joined_intervals(found, tails.all)
    found = replace(found, code=owner[found.code])
    kept, source = summed.outside_holes(found, containers.meter[found.code])
    label = _label_at(found, containers, max_gap_ms)[source]
    return Used(containers, kept, containers.meter[kept.code], label, tail[source])


def _told(containers: Containers, found: Intervals, summed: Summed, outside: Sequence[str]) -> Bools:
    """Node readings before which everything `outside` containers was counted: then nobody else used anything."""
    told = np.full(len(summed.metered.readings.meter), len(outside) > 0)
    for one in outside:
        own = found.where(np.array([held == one for held in containers.ids], dtype=bool)[found.code])
        lengths = replace(own, joules=(own.end_ms - own.start_ms).astype(np.float64))
        told &= per_reading(summed.metered, lengths, containers.meter[own.code]) > 0
    return told


def _pods(containers: Containers, begins: Bools, max_gap_ms: int, starts: Starts) -> Int64s:
    """The pod of each sighting as `starts` numbers them; nobody where its start does not matter.

    A container that appears in a pod seen within `max_gap_ms` was started again: its pod's age says nothing about it.
    """
    samples = containers.counters
    if len(samples.code) == 0:
        return samples.code
    pod = containers.meter[samples.code] * len(containers.names) + samples.label
    seen = StampIndex.of(*np.unique(np.stack((pod, samples.stamp_ms)), axis=1))
    own, stamp_ms = pod[begins], samples.stamp_ms[begins]
    again = seen.count_to(own, stamp_ms - 1) > seen.count_to(own, stamp_ms - max_gap_ms - 1)
    rows = starts.rows([f"{namespace}/{pod}" for namespace, pod in containers.names])
    return np.where(again, starts.nobody, rows[samples.label[begins]])


def _label_at(intervals: Intervals, containers: Containers, max_gap_ms: int) -> Int64s:
    """The latest full names of each interval's container that the interval may know of, -1 where there are none."""
    samples = containers.counters
    named = containers.full[samples.label] if len(samples.code) else np.zeros(0, dtype=bool)
    code, stamp_ms, label = samples.code[named], samples.stamp_ms[named], samples.label[named]
    if len(code) == 0:
        return np.full(len(intervals.code), -1, dtype=np.int64)
    last = StampIndex.of(code, stamp_ms).count_to(intervals.code, intervals.start_ms + max_gap_ms) - 1
    near = (last >= 0) & (code[last] == intervals.code) & (stamp_ms[last] >= intervals.end_ms - max_gap_ms)
    return np.where(near, label[last], -1)
