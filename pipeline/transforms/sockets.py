"""Node counters that come in parts, one a socket and mode, summed into one node meter.

Each part is folded alone (resets, gaps and restarts as for any counter) and laid onto the intervals between the node's
scrapes. An interval counts only if every part that was there in the same run of the exporter, up to `max_gap` away, is
joined over it: a sum without one of its sockets would be less energy and look like all of it. So the set of sockets may
change with a restart of the exporter, at the price of that one interval, and never silently.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Counters, Intervals, StampIndex
from pipeline.transforms.metered import Metered, NodeReadings, fold_meters, unplaced_joules
from pipeline.units import MS_PER_HOUR

NOTHING = np.zeros(0, dtype=np.int64)
NO_INTERVALS = Intervals(NOTHING, NOTHING, NOTHING, np.zeros(0))


@dataclass(frozen=True, slots=True)
class Parts:
    """Counters that start at 0 with their exporter and add up to node meters.

    Attributes:
        counters: samples, `code` numbering parts; of idle parts only at scrapes that hold an active one.
        meter: the node meter of each part (indexed by part).
        is_idle: whether a part counts energy that nobody used (indexed by part).
        node: node number of each meter (indexed by meter).
    """

    counters: Counters
    meter: Int64s
    is_idle: Bools
    node: Int64s


@dataclass(frozen=True, slots=True)
class Summed:
    """Node meters made of parts.

    Attributes:
        metered: as of any node meter; `idle` and `bridged` have intervals only where idle parts are joined.
        lenient: the same, also joined where a part is missing, which is not for those to know who only span it:
            workloads are folded on this, and then `outside_holes` takes away what they used there.
        unplaced: joules in no interval per (meter, hour), given a window's first stamp and its number of hours.
    """

    metered: Metered
    lenient: Metered
    unplaced: Callable[[int, int], Floats]

    def outside_holes(self, intervals: Intervals, meter: Int64s) -> tuple[Intervals, Int64s]:
        """Intervals from scrape to scrape cut at each scrape between; pieces that lack a part are left out.

        Returns:
            The pieces, and which interval each is from.
        """
        readings = self.metered.readings
        index = StampIndex.of(readings.meter, readings.stamp_ms)
        first, last = (index.find(meter, stamp_ms) for stamp_ms in (intervals.start_ms, intervals.end_ms))
        piece, owner, share = _lay(readings.stamp_ms, first, last)
        whole = np.zeros(len(readings.meter), dtype=bool)
        whole[self.metered.pair[self.metered.joined]] = True
        kept = whole[piece]
        piece, owner, share = piece[kept], owner[kept], share[kept]
        stamps = readings.stamp_ms[piece], readings.stamp_ms[piece + 1]
        return Intervals(intervals.code[owner], *stamps, intervals.joules[owner] * share), owner


@dataclass(frozen=True, slots=True)
class _Scrapes:
    """Scrapes of node meters, sorted by (meter, stamp), and the intervals that begin at each of them."""

    meter: Int64s
    stamp_ms: Int64s
    index: StampIndex

    @classmethod
    def of(cls, meter: Int64s, stamp_ms: Int64s) -> "_Scrapes":
        meter, stamp_ms = np.unique(np.stack((meter, stamp_ms)), axis=1)
        return cls(meter, stamp_ms, StampIndex.of(meter, stamp_ms))

    @property
    def pair(self) -> Int64s:
        """Scrapes that another one of the same meter follows."""
        return np.flatnonzero(self.meter[1:] == self.meter[:-1])


def fold_parts(parts: Parts, max_gap_ms: int) -> Summed:
    """Sum parts into node meters.

    At a restart of the exporter each part counts from zero. What it lacks to its last known power is bridged and, as of
    every meter, booked as idle: where idle is not metered there is nowhere to book it and it is not guessed.
    """
    alone = fold_meters(_readings(parts), max_gap_ms)
    samples, own = alone.readings, alone.pair[alone.joined]
    scrapes = _Scrapes.of(parts.meter[samples.meter], samples.stamp_ms)
    at = scrapes.index.find(parts.meter[samples.meter], samples.stamp_ms)
    piece, owner, share = _lay(scrapes.stamp_ms, at[own], at[own + 1])
    is_idle = parts.is_idle[samples.meter[own]]

    def total(joules: Floats, chosen: Bools) -> Floats:
        return np.bincount(piece, (joules * chosen)[owner] * share, minlength=len(scrapes.meter)).astype(np.float64)

    bridged = total(alone.bridged.joules, np.ones(len(own), dtype=bool))
    active, idle = total(alone.active.joules, ~is_idle), total(alone.active.joules, is_idle) + bridged
    has_active, has_idle = (total(np.ones(len(own)), chosen) > 0 for chosen in (~is_idle, is_idle))
    restarted = _restarted(scrapes, alone, parts.node)
    exchanged = _exchanged(scrapes, alone, at)
    whole = has_active & ~_holes(scrapes, alone, at, restarted | exchanged, max_gap_ms)
    k = scrapes.pair

    def intervals(joules: Floats, chosen: Bools) -> Intervals:
        return Intervals(scrapes.meter[k], scrapes.stamp_ms[k], scrapes.stamp_ms[k + 1], joules[k]).where(chosen[k])

    metered = Metered(
        readings=_summed(parts, scrapes, samples, at),
        pair=k,
        joined=whole[k],
        restarted=(restarted & whole)[k],
        active=intervals(active, whole),
        idle=intervals(idle, whole & has_idle),
        bridged=intervals(bridged, whole & has_idle),
        raw=NO_INTERVALS,
        compared=NO_INTERVALS,
        unknown=NO_INTERVALS,
        wrapped=NO_INTERVALS,
        restarts=alone.restarts,
    )
    left = intervals(active + idle - bridged, ~whole)
    close = (scrapes.stamp_ms[k + 1] - scrapes.stamp_ms[k] <= max_gap_ms) & ~exchanged[k]
    spanned = np.zeros(len(scrapes.meter), dtype=bool)
    spanned[k] = close
    lenient = replace(metered, joined=close, active=intervals(active, spanned))
    return Summed(metered, lenient, partial(_unplaced, parts, alone, left, max_gap_ms))


def _readings(parts: Parts) -> NodeReadings:
    """Each part as a meter of its own, without idle and register."""
    samples = parts.counters
    return NodeReadings(
        meter=samples.code,
        stamp_ms=samples.stamp_ms,
        active_joules=samples.value,
        idle_joules=np.zeros(len(samples.code)),
        raw_joules=np.full(len(samples.code), np.nan),
        node=parts.node[parts.meter],
        ranges_joules=[(np.inf,)] * len(parts.meter),
    )


def _summed(parts: Parts, scrapes: _Scrapes, samples: NodeReadings, at: Int64s) -> NodeReadings:
    """What the parts of each node meter show together at its scrapes, `at` which each of their samples is."""
    is_idle, count = parts.is_idle[samples.meter], len(scrapes.meter)
    active, idle = (np.bincount(at, samples.active_joules * part, minlength=count) for part in (~is_idle, is_idle))
    return NodeReadings(
        meter=scrapes.meter,
        stamp_ms=scrapes.stamp_ms,
        active_joules=active.astype(np.float64),
        idle_joules=idle.astype(np.float64),
        raw_joules=np.full(count, np.nan),
        node=parts.node,
        ranges_joules=[(np.inf,)] * len(parts.node),
    )


def _lay(stamp_ms: Int64s, first: Int64s, last: Int64s) -> tuple[Int64s, Int64s, Floats]:
    """Which pieces between scrapes each interval consists of: piece, interval, and the piece's share of its time."""
    owner = np.repeat(np.arange(len(first)), last - first)
    piece = np.arange(len(owner)) - np.repeat(np.cumsum(last - first) - (last - first), last - first) + first[owner]
    return piece, owner, (stamp_ms[piece + 1] - stamp_ms[piece]) / (stamp_ms[last] - stamp_ms[first])[owner]


def _restarted(scrapes: _Scrapes, alone: Metered, node: Int64s) -> Bools:
    """Intervals in which the node's exporter is known to have restarted, by the scrape that begins them."""
    k = scrapes.pair
    found = np.zeros(len(scrapes.meter), dtype=bool)
    found[k] = alone.restarts.within(node[scrapes.meter[k]], scrapes.stamp_ms[k], scrapes.stamp_ms[k + 1])
    return found


def _exchanged(scrapes: _Scrapes, alone: Metered, at: Int64s) -> Bools:
    """Intervals no part of which was seen at both ends, by the scrape that begins them."""
    seen = alone.pair[at[alone.pair + 1] == at[alone.pair] + 1]
    return np.asarray(np.bincount(at[seen], minlength=len(scrapes.meter)) == 0)


def _holes(scrapes: _Scrapes, alone: Metered, at: Int64s, border: Bools, max_gap_ms: int) -> Bools:
    """Intervals that lack a part, by the scrape that begins them.

    A part is missed up to `max_gap` after its last sample and before its first one, as far as the first `border`: an
    interval in which the exporter restarted or all its parts were exchanged for others.
    """
    count = len(at)
    ends, begins = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    ends[alone.pair[alone.joined]] = False
    begins[alone.pair[alone.joined] + 1] = False

    numbers = np.arange(len(border))
    after = np.minimum.accumulate(np.where(border, numbers, len(border))[::-1])[::-1]
    before = np.append(-1, np.maximum.accumulate(np.where(border, numbers, -1))[:-1])

    left, right = at[ends], at[begins]
    left_end = np.minimum(
        scrapes.index.count_to(scrapes.meter[left], scrapes.stamp_ms[left] + max_gap_ms) - 1, after[left] + 1
    )
    right_begin = np.maximum(
        scrapes.index.count_to(scrapes.meter[right], scrapes.stamp_ms[right] - max_gap_ms - 1), before[right]
    )
    edges = np.zeros(len(border) + 2, dtype=np.int64)
    for begin, end in ((left, left_end), (np.maximum(right_begin, 0), right)):
        np.add.at(edges, begin[begin < end], 1)
        np.add.at(edges, end[begin < end], -1)
    return np.asarray(np.cumsum(edges)[: len(border)] > 0)


def _unplaced(parts: Parts, alone: Metered, left: Intervals, max_gap_ms: int, start_ms: int, hours: int) -> Floats:
    """Joules of the parts' own gaps, and of joined parts in intervals that lack another; shape (meters, hours)."""
    result = np.zeros((len(parts.node), hours))
    np.add.at(result, parts.meter, unplaced_joules(alone.readings, alone, start_ms, hours, max_gap_ms))
    hour = (left.end_ms - 1 - start_ms) // MS_PER_HOUR
    inside = (hour >= 0) & (hour < hours)
    np.add.at(result, (left.code[inside], hour[inside]), left.joules[inside])
    return result
