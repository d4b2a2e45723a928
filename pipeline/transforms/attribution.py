"""A node's active energy given to its workloads, and reconciled with the node's own meter.

Workload counters are scraped together with the node's, so each workload interval spans whole node intervals; where the
node's counter has a gap, its workloads have one too.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Counters, Intervals, StampIndex
from pipeline.transforms.metered import Metered

FIT_TOLERANCE = 1e-6  # relative: a pod alone on its node is the active energy, to the exporter's rounding
ROUNDING_JOULES = 1e-9
SCALE_TOLERANCE = 0.01  # workloads above active by more than this share are not believed


@dataclass(frozen=True, slots=True)
class Workloads:
    """Counters of workloads on metered nodes.

    Attributes:
        counters: samples, `code` numbering workloads (identity and component).
        meter: the node meter of each workload (indexed by workload).
        started_ms: when the workload started as Kubernetes knows it, NaN where it does not.
    """

    counters: Counters
    meter: Int64s
    started_ms: Floats


def fold_workloads(workloads: Workloads, metered: Metered, max_gap_ms: int) -> Intervals:
    """Joined intervals and accepted births of all workloads, sorted by (workload, end).

    Drops are resets to zero, however small; a restart of the node's exporter resets every workload of the node, also
    those that did not fall.
    """
    readings = metered.readings
    index = StampIndex.of(readings.meter, readings.stamp_ms)
    samples = workloads.counters
    at = index.find(workloads.meter[samples.code], samples.stamp_ms)
    seen = at >= 0
    unseen = _unseen(samples, max_gap_ms)[seen]
    code, stamp, value, at = samples.code[seen], samples.stamp_ms[seen], samples.value[seen], at[seen]
    gaps_before = _gaps_before(metered)

    k = np.flatnonzero(code[1:] == code[:-1])
    close = stamp[k + 1] - stamp[k] <= max_gap_ms
    joined = k[close & (gaps_before[at[k + 1]] == gaps_before[at[k]])]
    rise = value[joined + 1] - value[joined]
    restarted = metered.restarts.within(readings.node[workloads.meter[code[joined]]], stamp[joined], stamp[joined + 1])
    joules = np.where(restarted | (rise < 0), value[joined + 1], rise)
    steady = Intervals(code[joined], stamp[joined], stamp[joined + 1], joules)

    room = _room(metered, at[joined], at[joined + 1], joules)
    born = _births(unseen, at, value, stamp, workloads.started_ms[code], room, metered, max_gap_ms)
    births = Intervals(code[born], readings.stamp_ms[at[born] - 1], stamp[born], value[born])

    both = Intervals(*(np.concatenate((getattr(steady, f), getattr(births, f))) for f in Intervals.__slots__))
    return both.where(np.lexsort((both.end_ms, both.code)))  # type: ignore[arg-type] # an order selects like a mask


def _unseen(samples: Counters, max_gap_ms: int) -> Bools:
    """Whether no sample of the same workload lies in the `max_gap_ms` before a sample."""
    unseen = samples.first
    unseen[1:] |= samples.stamp_ms[1:] - samples.stamp_ms[:-1] > max_gap_ms
    return unseen


def _gaps_before(metered: Metered) -> Int64s:
    """For each node reading: how many unjoined edges stand before it, over all meters in order."""
    edge = np.ones(len(metered.readings.meter), dtype=np.int64)
    edge[metered.pair[metered.joined] + 1] = 0
    return np.cumsum(edge)


def _room(metered: Metered, first: Int64s, last: Int64s, joules: Floats) -> Floats:
    """Active joules left for births, per node reading that ends an interval; NaN where the interval is not joined."""
    readings = metered.readings
    room = np.full(len(readings.meter), np.nan)
    room[metered.pair[metered.joined] + 1] = metered.active.joules
    pieces = last - first
    owner = np.repeat(np.arange(len(first)), pieces)
    reading = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[owner] + 1
    length = readings.stamp_ms[reading] - readings.stamp_ms[reading - 1]
    share = joules[owner] * (length / (readings.stamp_ms[last] - readings.stamp_ms[first])[owner])
    return room - np.bincount(reading, share, minlength=len(room))


def _births(
    unseen: Bools,
    at: Int64s,
    value: Floats,
    stamp: Int64s,
    started_ms: Floats,
    room: Floats,
    metered: Metered,
    max_gap_ms: int,
) -> Int64s:
    """Samples that start a workload from zero at the node's previous scrape.

    A value that alone exceeds the room is a baseline and does not spoil the others; the rest are accepted only
    together. A workload that Kubernetes started more than `max_gap_ms` before its first sample was hidden, not born.
    """
    active = np.zeros(len(room))
    active[metered.pair[metered.joined] + 1] = metered.active.joules
    limit = room + FIT_TOLERANCE * active
    recent = np.isnan(started_ms) | (started_ms >= stamp - max_gap_ms)
    with np.errstate(invalid="ignore"):
        alone = np.flatnonzero(unseen & recent & (value <= limit[at]))
        together = np.bincount(at[alone], value[alone], minlength=len(room))
        return alone[together[at[alone]] <= limit[at[alone]]]
