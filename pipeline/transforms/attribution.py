"""A node's active energy given to its workloads, and reconciled with the node's own meter.

Workload counters are scraped together with the node's, so each workload interval spans whole node intervals; where the
node's counter has a gap, its workloads have one too.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Counters, Intervals, StampIndex, joined_intervals
from pipeline.transforms.metered import Metered

FIT_TOLERANCE = 1e-6  # relative: a pod alone on its node is the active energy, to the exporter's rounding
ROUNDING_JOULES = 1e-9


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


class Placed(NamedTuple):
    """Energy of workloads, and where it lies between the readings of their nodes.

    Attributes:
        intervals: joined intervals and accepted births, sorted by (workload, end).
        at: of each sample the node reading at its stamp, -1 where there is none.
        joules: the energy of all of them, per node reading that ends an interval.
    """

    intervals: Intervals
    at: Int64s
    joules: Floats


def fold_workloads(workloads: Workloads, metered: Metered, max_gap_ms: int) -> Placed:
    """Joined intervals and accepted births of all workloads.

    Drops are resets to zero, however small; a restart of the node's exporter resets every workload of the node, also
    those that did not fall.
    """
    return _fold(workloads, metered, max_gap_ms, np.zeros(len(metered.readings.meter)), jumps_believed=True)


def fold_outside(outside: Workloads, is_process: Bools, metered: Metered, taken: Floats, max_gap_ms: int) -> Intervals:
    """What ran outside workloads: one interval per joined node interval at whose end processes were seen.

    As workloads, but their births have only the room that workloads leave, and an interval that alone exceeds the
    node's active energy is refused: it is a reused PID, which sets Kepler's unsigned difference to anything.

    Args:
        outside: their counters.
        is_process: which of them are processes (indexed like them).
        metered: the node meters.
        taken: joules of workloads, per node reading that ends an interval.
        max_gap_ms: the longest joined interval.

    Returns:
        Intervals whose `code` is a node meter, sorted by (meter, end).
    """
    readings = metered.readings
    _, at, joules = _fold(outside, metered, max_gap_ms, taken, jumps_believed=False)
    samples = outside.counters
    seen = np.zeros(len(readings.meter), dtype=bool)
    seen[at[(at >= 0) & is_process[samples.code]]] = True
    end = metered.pair[metered.joined] + 1
    end = end[seen[end]]
    return Intervals(readings.meter[end], readings.stamp_ms[end - 1], readings.stamp_ms[end], joules[end])


def _fold(workloads: Workloads, metered: Metered, max_gap_ms: int, taken: Floats, *, jumps_believed: bool) -> Placed:
    """See `fold_workloads`; `taken` joules per node reading are no room for births."""
    readings = metered.readings
    index = StampIndex.of(readings.meter, readings.stamp_ms)
    samples = workloads.counters
    reading = at = index.find(workloads.meter[samples.code], samples.stamp_ms)
    seen = at >= 0
    unseen = _unseen(samples, max_gap_ms)[seen]
    code, stamp, value = samples.code, samples.stamp_ms, samples.value
    if not seen.all():
        code, stamp, value, at = code[seen], stamp[seen], value[seen], at[seen]
    gaps_before = _gaps_before(metered)

    k = np.flatnonzero(code[1:] == code[:-1])
    close = stamp[k + 1] - stamp[k] <= max_gap_ms
    joined = k[close & (gaps_before[at[k + 1]] == gaps_before[at[k]])]
    rise = value[joined + 1] - value[joined]
    restarted = metered.restarts.within(readings.node[workloads.meter[code[joined]]], stamp[joined], stamp[joined + 1])
    joules = np.where(restarted | (rise < 0), value[joined + 1], rise)
    if not jumps_believed:
        active = np.append(0.0, np.cumsum(_active(metered)))
        most = active[at[joined + 1] + 1] - active[at[joined] + 1]
        fits = joules <= most * (1 + FIT_TOLERANCE) + ROUNDING_JOULES
        joined, joules = joined[fits], joules[fits]
    steady = Intervals(code[joined], stamp[joined], stamp[joined + 1], joules)

    laid = _laid(metered, at[joined], at[joined + 1], joules)
    room = _active(metered, np.nan) - laid - taken
    born = _births(unseen, at, value, stamp, workloads.started_ms[code], room, metered, max_gap_ms)
    births = Intervals(code[born], readings.stamp_ms[at[born] - 1], stamp[born], value[born])
    laid += np.bincount(at[born], value[born], minlength=len(laid))
    return Placed(joined_intervals(steady, births).sorted(), reading, laid)


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


def _active(metered: Metered, elsewhere: float = 0.0) -> Floats:
    """Active joules of the joined interval that ends at each node reading, `elsewhere` where there is none."""
    active = np.full(len(metered.readings.meter), elsewhere)
    active[metered.pair[metered.joined] + 1] = metered.active.joules
    return active


def per_reading(metered: Metered, intervals: Intervals, meter: Int64s) -> Floats:
    """Joules of intervals between readings of their `meter`, per node reading that ends an interval."""
    index = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)
    first, last = index.find(meter, intervals.start_ms), index.find(meter, intervals.end_ms)
    return _laid(metered, first, last, intervals.joules)


def _laid(metered: Metered, first: Int64s, last: Int64s, joules: Floats) -> Floats:
    """Joules between two readings, in proportion to time over the node intervals in between."""
    readings = metered.readings
    sums = np.zeros(len(readings.meter))
    single = last == first + 1
    sums += np.bincount(last[single], joules[single], minlength=len(sums))
    (longer,) = (~single).nonzero()
    if len(longer):
        first, last, joules = first[longer], last[longer], joules[longer]
        pieces = last - first
        owner = np.repeat(np.arange(len(first)), pieces)
        reading = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[owner] + 1
        length = readings.stamp_ms[reading] - readings.stamp_ms[reading - 1]
        share = joules[owner] * (length / (readings.stamp_ms[last] - readings.stamp_ms[first])[owner])
        sums += np.bincount(reading, share, minlength=len(sums))
    return sums


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
    limit = room + FIT_TOLERANCE * _active(metered)
    recent = np.isnan(started_ms) | (started_ms >= stamp - max_gap_ms)
    with np.errstate(invalid="ignore"):
        alone = np.flatnonzero(unseen & recent & (value <= limit[at]))
        together = np.bincount(at[alone], value[alone], minlength=len(room))
        return alone[together[at[alone]] <= limit[at[alone]]]
