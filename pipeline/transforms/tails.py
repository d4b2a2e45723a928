"""Unseen tails: what workloads used that no sample of theirs shows, estimated from their last known power.

A workload that is gone at the next reading of its node used energy for half of that interval on average; unless its
last sample is a final total, those joules are in no counter of it and sit in the node's system. Where the meter shows
its system, they are what is left beside that, which tells better than a half how long the workload lived. At a restart
of the exporter each workload's counter begins anew in the middle of an interval; what it used before that was filled in
with the node's bridge, which is booked as idle. All are capped by where they are taken from, interval by interval, so
that sums stay.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.attribution import Placed, Workloads, per_reading
from pipeline.transforms.counters import Intervals, StampIndex, joined_intervals
from pipeline.transforms.metered import Metered
from pipeline.units import MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Tails:
    """Estimated energy of workloads (`code` numbers their counters), by where it is taken from.

    `deaths` was metered as active and is in no workload; `restarts` is part of the bridge.
    """

    deaths: Intervals
    restarts: Intervals

    @property
    def all(self) -> Intervals:
        """Both, deaths first."""
        return joined_intervals(self.deaths, self.restarts)

    def out_of_bridge(self, metered: Metered, meter: Int64s) -> tuple[Intervals, Intervals]:
        """Active and idle energy of node meters with what restarts hid moved from idle to active; `meter` of a code."""
        return out_of_bridge(metered, replace(self.restarts, code=meter[self.restarts.code]))


def estimate_tails(
    workloads: Workloads,
    final: Bools,
    metered: Metered,
    placed: Placed,
    host: Intervals,
    max_gap_ms: int,
    told: Bools | None = None,
) -> Tails:
    """Tails at deaths and at restarts.

    Args:
        workloads: the counters.
        final: labels of samples that are last totals.
        metered: the node meters.
        placed: what the counters show.
        host: what the meter itself shows outside workloads (`code` numbers node meters).
        max_gap_ms: how far back a power may lie from the end of an interval it is used for (locality).
        told: node readings before which `placed` and `host` hold all that others used; None: nowhere.
    """
    known = _Known(workloads, metered, placed, max_gap_ms)
    lived = np.full(len(metered.readings.meter), 0.5) if told is None else np.where(told, 1.0, 0.5)
    deaths, restarts = _at_deaths(known, final, lived), _at_restarts(known)
    active = per_reading(metered, metered.active, metered.active.code)
    room = active - placed.joules - per_reading(metered, host, host.code)
    return Tails(
        deaths=_capped(deaths, workloads.meter[deaths.code], metered, np.maximum(room, 0.0)),
        restarts=within_bridge(restarts, workloads.meter[restarts.code], metered),
    )


def within_bridge(hidden: Intervals, meter: Int64s, metered: Metered) -> Intervals:
    """What restarts hid, all of one interval of its node `meter` together no more than its bridge."""
    return _capped(hidden, meter, metered, per_reading(metered, metered.bridged, metered.bridged.code))


def out_of_bridge(metered: Metered, hidden: Intervals) -> tuple[Intervals, Intervals]:
    """Active and idle energy of node meters with what restarts hid of each (`code`) moved from idle to active."""
    moved = per_reading(metered, hidden, hidden.code)
    index = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)

    def plus(part: Intervals, sign: int) -> Intervals:
        joules = part.joules + sign * moved[index.find(part.code, part.end_ms)]
        return replace(part, joules=np.maximum(joules, 0.0))

    return plus(metered.active, 1), plus(metered.idle, -1)


class _Known(NamedTuple):
    """What tails are estimated from; intervals are numbered as in `placed`."""

    workloads: Workloads
    metered: Metered
    placed: Placed
    max_gap_ms: int

    def node(self, numbers: Int64s) -> Int64s:
        """Of intervals."""
        return self.metered.readings.node[self.workloads.meter[self.placed.intervals.code[numbers]]]

    def reading(self, numbers: Int64s) -> Int64s:
        """The node readings that intervals end at."""
        return self.placed.at[self.placed.sample[numbers]]

    def power(self, upto: Int64s, end_ms: Int64s) -> Floats:
        """Joules per ms in the last interval of the same workload up to number `upto` that a counter had at both ends.

        NaN where it is older than locality allows, seen from `end_ms`.
        """
        last = upto.copy()
        while (hit := _within(self.placed.anew, last)).any():
            last[hit] -= 1
        return self._power(last, upto, end_ms)

    def began(self, upto: Int64s, end_ms: Int64s) -> Floats:
        """The same of the last interval in which a counter began, at any time: half of it on average."""
        place = np.searchsorted(self.placed.anew, upto, side="right") - 1
        return 2 * self._power(np.append(self.placed.anew, -1)[place], upto, end_ms)

    def _power(self, last: Int64s, upto: Int64s, end_ms: Int64s) -> Floats:
        used = self.placed.intervals
        fits = (last >= 0) & (used.code[last] == used.code[upto]) & (used.start_ms[last] >= end_ms - self.max_gap_ms)
        return np.where(fits, used.joules[last] / (used.end_ms[last] - used.start_ms[last]), np.nan)


def _within(rising: Int64s, wanted: Int64s) -> Bools:
    """Which of the wanted numbers are among others."""
    if len(rising) == 0:
        return np.zeros(len(wanted), dtype=bool)
    place = np.minimum(np.searchsorted(rising, wanted), len(rising) - 1)
    return np.asarray(rising[place] == wanted)


def _at_restarts(known: _Known) -> Intervals:
    """Last power times the whole interval, less what the new counter shows of it."""
    used, readings, numbers = known.placed.intervals, known.metered.readings, known.placed.anew
    start_ms, end_ms = used.start_ms[numbers], used.end_ms[numbers]
    restarted = known.metered.restarts.within(known.node(numbers), start_ms, end_ms)
    numbers = numbers[restarted & (readings.stamp_ms[known.reading(numbers) - 1] == start_ms)]
    found = used.where(numbers)
    expected = known.power(numbers, found.end_ms) * (found.end_ms - found.start_ms)
    lost = np.where(expected > found.joules, expected - found.joules, 0.0)
    return replace(found, joules=lost).where(lost > 0)


def _at_deaths(known: _Known, final: Bools, lived: Floats) -> Intervals:
    """Last power times what was `lived` (per node reading that ends it) of the interval after a run's last sample.

    Whether a counter began with its workload is told by the `max_gap_ms` before: not across an hour's edge, beyond
    which another cut would see less of them.
    """
    used, readings, samples = known.placed.intervals, known.metered.readings, known.workloads.counters
    numbers, count = _ended(known), len(readings.meter)
    sample, reading = known.placed.sample[numbers], known.reading(numbers)
    end_ms = used.end_ms[numbers]
    after = np.minimum(sample + 1, len(samples.code) - 1)
    returns = (after > sample) & (samples.code[after] == used.code[numbers])
    returns &= samples.stamp_ms[after] - end_ms <= known.max_gap_ms
    following = np.minimum(reading + 1, count - 1)
    there = readings.stamp_ms[following]
    joined = np.zeros(count, dtype=bool)
    joined[known.metered.pair[known.metered.joined] + 1] = True
    gone = joined[following] & (following > reading) & (readings.meter[following] == readings.meter[reading])
    gone &= ~known.metered.restarts.within(known.node(numbers), end_ms, there)
    gone &= ~returns | ((there < samples.stamp_ms[after]) & (samples.value[after] < samples.value[sample]))
    gone &= ~final[samples.label[sample]]
    numbers, end_ms, there, lived = numbers[gone], end_ms[gone], there[gone], lived[following[gone]]
    power = known.power(numbers, there)
    within_hour = end_ms // MS_PER_HOUR == (there - 1) // MS_PER_HOUR
    power = np.where(np.isfinite(power) | ~within_hour, power, known.began(numbers, there))
    lost = power * (there - end_ms) * lived
    return Intervals(used.code[numbers], end_ms, there, lost).where(np.isfinite(lost) & (lost > 0))


def _ended(known: _Known) -> Int64s:
    """Intervals after which their workload is not in the very next reading of its node."""
    code, at = known.workloads.counters.code, known.placed.at
    gone = np.ones(len(at), dtype=bool)
    np.not_equal(at[1:], at[:-1] + 1, out=gone[:-1])
    gone[:-1] |= code[1:] != code[:-1]
    (last,) = gone.nonzero()
    number = np.searchsorted(known.placed.sample, last)
    return np.asarray(number[_within(known.placed.sample, last)], dtype=np.int64)


def _capped(tails: Intervals, meter: Int64s, metered: Metered, most: Floats) -> Intervals:
    """All tails of one node interval together no more than `most` of it."""
    index = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)
    at = index.find(meter, tails.end_ms)
    wanted = np.bincount(at, tails.joules, minlength=len(most))
    share = np.divide(most, wanted, out=np.ones_like(most), where=wanted > most)
    return Intervals(tails.code, tails.start_ms, tails.end_ms, tails.joules * share[at])
