"""A node's active energy given to its workloads, and reconciled with the node's own meter.

Workload counters are scraped together with the node's, so each workload interval spans whole node intervals; where the
node's counter has a gap, its workloads have one too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Counters, Intervals, StampIndex
from pipeline.transforms.metered import Metered, readings_of

FIT_TOLERANCE = 1e-6  # relative: a pod alone on its node is the active energy, to the exporter's rounding
ROUNDING_JOULES = 1e-9


@dataclass(frozen=True, slots=True)
class Workloads:
    """Counters of workloads on metered nodes.

    Attributes:
        counters: samples, `code` numbering workloads (identity and component).
        meter: the node meter of each workload (indexed by workload).
        started_ms: when workloads (numbers) that have first intervals (starts, ends) were started as Kubernetes knows
            it, NaN where it does not.
    """

    counters: Counters
    meter: Int64s
    started_ms: Callable[[Int64s, Int64s, Int64s], Floats]


class Placed(NamedTuple):
    """Energy of workloads, and where it lies between the readings of their nodes.

    Attributes:
        intervals: joined intervals and accepted births, sorted by (workload, end).
        sample: the sample that each of them ends with, rising.
        anew: numbers of those in which a counter began at zero, rising: their joules are its value, not its rise.
        at: of each sample the node reading at its stamp, -1 where there is none.
        joules: the energy of all intervals, per node reading that ends one.
    """

    intervals: Intervals
    sample: Int64s
    anew: Int64s
    at: Int64s
    joules: Floats


def fold_workloads(workloads: Workloads, metered: Metered, max_gap_ms: int) -> Placed:
    """Joined intervals and accepted births of all workloads.

    Drops are resets to zero, however small; a restart of the node's exporter resets every workload of the node, also
    those that did not fall. A birth starts a workload from zero at the node's previous scrape: one that Kubernetes
    started more than `max_gap_ms` before its first sample was hidden, not born.
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
    placed = _fold(outside, metered, max_gap_ms, taken, jumps_believed=False)
    seen = np.zeros(len(readings.meter), dtype=bool)
    seen[placed.at[(placed.at >= 0) & is_process[outside.counters.code]]] = True
    end = metered.pair[metered.joined] + 1
    end = end[seen[end]]
    return Intervals(readings.meter[end], readings.stamp_ms[end - 1], readings.stamp_ms[end], placed.joules[end])


class _Seen(NamedTuple):
    """Samples of workloads at readings of their nodes; `unseen` where none lies near before."""

    code: Int64s
    stamp_ms: Int64s
    value: Floats
    at: Int64s
    unseen: Bools

    def where(self, chosen: Int64s) -> "_Seen":
        """Some of them."""
        return _Seen(self.code[chosen], self.stamp_ms[chosen], self.value[chosen], self.at[chosen], self.unseen[chosen])


def _fold(workloads: Workloads, metered: Metered, max_gap_ms: int, taken: Floats, *, jumps_believed: bool) -> Placed:
    """See `fold_workloads`; `taken` joules per node reading are no room for births."""
    samples, readings = workloads.counters, metered.readings
    at = readings_of(samples, workloads.meter, readings)
    near = _near(samples.code, samples.stamp_ms, max_gap_ms)
    seen, position, joined = _Seen(samples.code, samples.stamp_ms, samples.value, at, ~near), None, near
    if (at < 0).any():
        (position,) = (at >= 0).nonzero()
        seen = seen.where(position)
        joined = _near(seen.code, seen.stamp_ms, max_gap_ms)

    # of each sample: what lies between it and the one before
    joined &= _without_gap(seen, metered)
    joules, next_reading = np.diff(seen.value, prepend=0.0), np.diff(seen.at, prepend=-1) == 1
    anew = joined & ((joules < 0) | _restarted(seen, metered, next_reading))
    joules[anew] = seen.value[anew]
    if not jumps_believed:
        most = np.diff(np.cumsum(_active(metered))[seen.at], prepend=0.0)
        joined &= joules <= most * (1 + FIT_TOLERANCE) + ROUNDING_JOULES
    laid = _laid_at(seen, metered, joined, joules, next_reading)
    born = _births(workloads, seen, _active(metered, np.nan) - laid - taken, metered, max_gap_ms)
    laid += np.bincount(seen.at[born], seen.value[born], minlength=len(laid))

    start_ms = np.concatenate((seen.stamp_ms[:1], seen.stamp_ms[:-1]))
    start_ms[born] = readings.stamp_ms[seen.at[born] - 1]
    joules[born], joined[born], anew[born] = seen.value[born], True, True
    (end,) = joined.nonzero()
    intervals = Intervals(seen.code[end], start_ms[end], seen.stamp_ms[end], joules[end])
    return Placed(intervals, end if position is None else position[end], anew[end].nonzero()[0], at, laid)


def _near(code: Int64s, stamp_ms: Int64s, max_gap_ms: int) -> Bools:
    """Whether the sample before one is of the same counter and no further away."""
    near = np.zeros(len(code), dtype=bool)
    np.less_equal(stamp_ms[1:] - stamp_ms[:-1], max_gap_ms, out=near[1:])
    near[1:] &= code[1:] == code[:-1]
    return near


def _without_gap(seen: _Seen, metered: Metered) -> Bools | bool:
    """Whether no gap of their node lies between a sample and the one before, if both are of one counter."""
    if metered.joined.all():
        return True
    gaps_before = _gaps_before(metered)[seen.at]
    return np.concatenate(([False], gaps_before[1:] == gaps_before[:-1]))


def _restarted(seen: _Seen, metered: Metered, next_reading: Bools) -> Bools | bool:
    """Whether a counter that stood above zero began anew with its node's exporter, between a sample and the one before.

    From zero it rises by its value all the same. Most samples are of the `next_reading` after the one before, and what
    lies between two readings is found once for all of them.
    """
    readings, restarts = metered.readings, metered.restarts
    if len(restarts.ends.keys) == 0:
        return False
    node, restarted = readings.node[readings.meter], np.zeros(len(seen.code), dtype=bool)
    begun = restarts.starts.count_to(node, readings.stamp_ms - 1)
    over = restarts.ends.count_to(node, readings.stamp_ms)
    (some,) = (np.append(True, over[1:] > begun[:-1])[seen.at] | ~next_reading).nonzero()
    some = some[some > 0]
    restarted[some] = (over[seen.at[some]] > begun[seen.at[some - 1]]) & (seen.value[some - 1] > 0)
    return restarted


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


def _laid_at(seen: _Seen, metered: Metered, joined: Bools, joules: Floats, next_reading: Bools) -> Floats:
    """Joules of the joined samples per node reading, as `_laid`: most have risen since the reading before."""
    single = joined & next_reading
    laid = np.bincount(seen.at, np.where(single, joules, 0.0), minlength=len(metered.readings.meter))
    (longer,) = (joined & ~single).nonzero()
    return laid + _laid(metered, seen.at[longer - 1], seen.at[longer], joules[longer])


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


def _births(workloads: Workloads, seen: _Seen, room: Floats, metered: Metered, max_gap_ms: int) -> Int64s:
    """Samples whose whole value is what a workload used since its node's previous reading.

    A value that alone exceeds the room is a baseline and does not spoil the others; the rest are accepted only
    together.
    """
    (new,) = seen.unseen.nonzero()
    begin_ms = metered.readings.stamp_ms[seen.at[new] - 1]
    started_ms = workloads.started_ms(seen.code[new], begin_ms, seen.stamp_ms[new])
    new = new[np.isnan(started_ms) | (started_ms >= seen.stamp_ms[new] - max_gap_ms)]
    limit = room + FIT_TOLERANCE * _active(metered)
    with np.errstate(invalid="ignore"):
        alone = new[seen.value[new] <= limit[seen.at[new]]]
        together = np.bincount(seen.at[alone], seen.value[alone], minlength=len(room))
        return alone[together[seen.at[alone]] <= limit[seen.at[alone]]]
