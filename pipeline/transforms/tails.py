"""Unseen tails: what workloads used that no sample of theirs shows, estimated from their last known power.

A workload that is gone at the next reading of its node used energy for half of that interval on average; unless its
last sample is a final total, those joules are in no counter of it and sit in the node's system. Where the meter shows
its system, they are what is left beside that, which tells better than a half how long the workload lived. At a restart
of the exporter each workload's counter begins anew in the middle of an interval; what it used before that was filled in
with the node's bridge, which is booked as idle. All are capped by where they are taken from, interval by interval, so
that sums stay.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.attribution import Placed, Workloads, per_reading
from pipeline.transforms.counters import SPAN, Intervals, StampIndex, joined_intervals
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


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of each interval in which a workload used energy, all sorted by (workload, end)."""

    intervals: Intervals
    meter: Int64s
    watts: Floats  # joules per ms of a whole interval, NaN where the counter began in it
    began: Floats  # joules per ms where the counter began in it, at any time: half of it on average
    end: Int64s  # the node reading it ends at


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
        told: node readings before which `used` and `host` hold all that others used; None: nowhere.
    """
    used = placed.intervals
    known = _known(workloads, metered, used.where(_may_have_tails(workloads, placed, metered)[used.code]))
    restarts = _at_restarts(known, metered, max_gap_ms)
    lived = np.full(len(metered.readings.meter), 0.5) if told is None else np.where(told, 1.0, 0.5)
    deaths = _at_deaths(workloads, final, known, metered, lived, max_gap_ms)
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


def _may_have_tails(workloads: Workloads, placed: Placed, metered: Metered) -> Bools:
    """Which workloads can have any: not those in all readings of an unrestarted node, from their first to its last."""
    samples, at, readings = workloads.counters, placed.at, metered.readings
    may = np.ones(len(workloads.meter), dtype=bool)
    if len(at) == 0:
        return may
    (begin,) = samples.first.nonzero()
    end = np.append(begin[1:], len(at)) - 1
    code = samples.code[begin]
    throughout = (at[end] - at[begin] == end - begin) & (np.minimum.reduceat(at, begin) >= 0)
    last = np.append(readings.meter[1:] != readings.meter[:-1], True)[at[end]]
    restarted = np.isin(readings.node[workloads.meter[code]], metered.restarts.ends.keys // SPAN)
    may[code[throughout & last & ~restarted]] = False
    return may


def _known(workloads: Workloads, metered: Metered, used: Intervals) -> _Known:
    samples, meter = workloads.counters, workloads.meter[used.code]
    index = StampIndex.of(samples.code, samples.stamp_ms)
    first, last = index.find(used.code, used.start_ms), index.find(used.code, used.end_ms)
    rise = samples.value[last] - samples.value[first]
    steady = (first >= 0) & (rise == used.joules)
    power = used.joules / (used.end_ms - used.start_ms)
    readings = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)
    return _Known(
        intervals=used,
        meter=meter,
        watts=np.where(steady, power, np.nan),
        began=np.where(steady, np.nan, 2 * power),
        end=readings.find(meter, used.end_ms),
    )


def _last_power(known: _Known, upto: Int64s, end_ms: Int64s, max_gap_ms: int, power: Floats) -> Floats:
    """The last `power` of the same workload among intervals up to number `upto`, no older than locality allows."""
    numbers = np.where(np.isfinite(power), np.arange(len(power)), -1)
    last = np.maximum.accumulate(numbers)[upto]
    fits = (last >= 0) & (known.intervals.code[last] == known.intervals.code[upto])
    fits &= known.intervals.start_ms[last] >= end_ms - max_gap_ms
    return np.where(fits, power[last], np.nan)


def _at_restarts(known: _Known, metered: Metered, max_gap_ms: int) -> Intervals:
    """Last power times the whole interval, less what the new counter shows of it."""
    used, readings = known.intervals, metered.readings
    restarted = metered.restarts.within(readings.node[known.meter], used.start_ms, used.end_ms)
    single = readings.stamp_ms[known.end - 1] == used.start_ms
    at = np.flatnonzero(restarted & single & np.isfinite(known.began))
    power = _last_power(known, at, used.end_ms[at], max_gap_ms, known.watts)
    expected = power * (used.end_ms[at] - used.start_ms[at])
    lost = np.where(expected > used.joules[at], expected - used.joules[at], 0.0)
    found = Intervals(used.code[at], used.start_ms[at], used.end_ms[at], lost)
    return found.where(lost > 0)


def _at_deaths(
    workloads: Workloads, final: Bools, known: _Known, metered: Metered, lived: Floats, max_gap_ms: int
) -> Intervals:
    """Last power times what was `lived` (per node reading that ends it) of the interval after a run's last sample.

    Whether a counter began with its workload is told by the `max_gap_ms` before: not across an hour's edge, beyond
    which another cut would see less of them.
    """
    used, readings = known.intervals, metered.readings
    samples, count = workloads.counters, len(readings.meter)
    index = StampIndex.of(samples.code, samples.stamp_ms)
    sample = index.find(used.code, used.end_ms)
    after = np.minimum(sample + 1, len(samples.code) - 1)
    gap = samples.stamp_ms[after] - used.end_ms
    returns = (after > sample) & (samples.code[after] == used.code) & (gap <= max_gap_ms)
    following = np.minimum(known.end + 1, count - 1)
    there = readings.stamp_ms[following]
    joined = np.zeros(count, dtype=bool)
    joined[metered.pair[metered.joined] + 1] = True
    gone = joined[following] & (following > known.end) & (readings.meter[following] == known.meter)
    gone &= ~metered.restarts.within(readings.node[known.meter], used.end_ms, there)
    gone &= ~returns | ((there < samples.stamp_ms[after]) & (samples.value[after] < samples.value[sample]))
    at = np.flatnonzero(gone & ~final[samples.label[sample]])
    power = _last_power(known, at, there[at], max_gap_ms, known.watts)
    began = _last_power(known, at, there[at], max_gap_ms, known.began)
    within_hour = used.end_ms[at] // MS_PER_HOUR == (there[at] - 1) // MS_PER_HOUR
    power = np.where(np.isfinite(power) | ~within_hour, power, began)
    lost = power * (there[at] - used.end_ms[at]) * lived[following[at]]
    found = Intervals(used.code[at], used.end_ms[at], there[at], lost)
    return found.where(np.isfinite(lost) & (lost > 0))


def _capped(tails: Intervals, meter: Int64s, metered: Metered, most: Floats) -> Intervals:
    """All tails of one node interval together no more than `most` of it."""
    index = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)
    at = index.find(meter, tails.end_ms)
    wanted = np.bincount(at, tails.joules, minlength=len(most))
    share = np.divide(most, wanted, out=np.ones_like(most), where=wanted > most)
    return Intervals(tails.code, tails.start_ms, tails.end_ms, tails.joules * share[at])
