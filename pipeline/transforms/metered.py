"""What a node's own meter says: active and idle joules per step, honest across restarts, wraps and gaps.

The accounting counters are `active` (starts at 0 with its exporter) and `idle` (starts anywhere with its exporter);
beside them stands the raw register, which outlives the exporter and wraps. Facts: the energy sensors' sheet, Kepler
1.4.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Counters, Intervals, StampIndex
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND

MAX_SOCKETS = 8
SURGE = 4  # how many times the last known power a restart interval may show before it is not believed


@dataclass(frozen=True, slots=True)
class NodeReadings:
    """Scrapes at which both accounting counters of a meter were seen, sorted by (meter, stamp).

    Attributes:
        meter: number of the (node, component) pair.
        stamp_ms: milliseconds since the epoch.
        active_joules: counter that starts at 0 with its exporter.
        idle_joules: counter whose value at its exporter's start means nothing.
        raw_joules: the wrapping register beside them, NaN where it was not seen.
        node: node number of each meter (indexed by meter).
        ranges_joules: at which values a socket's register of each meter may wrap (indexed by meter); none: it does not.
    """

    meter: Int64s
    stamp_ms: Int64s
    active_joules: Floats
    idle_joules: Floats
    raw_joules: Floats
    node: Int64s
    ranges_joules: list[tuple[float, ...]]

    @property
    def meters(self) -> int:
        """Number of (node, component) pairs."""
        return len(self.node)


@dataclass(frozen=True, slots=True)
class Metered:
    """A node meter folded: one entry per pair of neighbouring readings, `(start, end]`, of one meter.

    `active`, `idle`, `bridged` have the same intervals: those joined. `raw` and `compared` hold the register and the
    accounting energy over the intervals in which the two can be compared; `unknown` those in which they cannot.
    """

    readings: NodeReadings
    pair: Int64s  # index of the interval's first reading
    joined: Bools
    restarted: Bools
    active: Intervals
    idle: Intervals
    bridged: Intervals
    raw: Intervals
    compared: Intervals
    unknown: Intervals
    wrapped: Intervals
    restarts: "Restarts"


@dataclass(frozen=True, slots=True)
class Restarts:
    """Intervals in which a node's exporter is known to have restarted, whichever of its counters showed it."""

    starts: StampIndex
    ends: StampIndex

    def within(self, node: Int64s, start_ms: Int64s, end_ms: Int64s) -> Bools:
        """Whether a restart lies wholly inside `(start_ms, end_ms]` of that node."""
        return self.ends.count_to(node, end_ms) > self.starts.count_to(node, start_ms - 1)


def fold_meters(readings: NodeReadings, max_gap_ms: int) -> Metered:
    """Join neighbouring readings into energy.

    Two readings strictly further apart than `max_gap_ms` are not joined. A drop of either counter of any component is a
    restart of the node's exporter: active then counts from zero, idle is bridged.
    """
    pair = np.flatnonzero(readings.meter[1:] == readings.meter[:-1])
    meter, start, end = readings.meter[pair], readings.stamp_ms[pair], readings.stamp_ms[pair + 1]
    joined = end - start <= max_gap_ms
    active_rise = readings.active_joules[pair + 1] - readings.active_joules[pair]
    idle_rise = readings.idle_joules[pair + 1] - readings.idle_joules[pair]
    restarts = _restarts(readings.node[meter], start, end, joined & ((active_rise < 0) | (idle_rise < 0)))
    restarted = joined & restarts.within(readings.node[meter], start, end)

    active = np.where(restarted, readings.active_joules[pair + 1], active_rise)
    idle = np.where(restarted, 0.0, idle_rise)
    steady_watts = np.where(joined & ~restarted, (active_rise + idle_rise) / (end - start) * MS_PER_SECOND, np.nan)
    for k in np.flatnonzero(restarted):
        idle[k] = _bridge(readings, pair, int(k), steady_watts, max_gap_ms)

    raw, unknown, wrapped = _register(readings, pair, joined & ~restarted, active + idle, max_gap_ms)
    comparable = joined & ~restarted & ~unknown & np.isfinite(raw)

    def intervals(joules: Floats, chosen: Bools) -> Intervals:
        return Intervals(meter, start, end, joules).where(chosen)

    return Metered(
        readings=readings,
        pair=pair,
        joined=joined,
        restarted=restarted,
        active=intervals(active, joined),
        idle=intervals(idle, joined),
        bridged=intervals(np.where(restarted, idle, 0.0), joined),
        raw=intervals(raw, comparable),
        compared=intervals(active + idle, comparable),
        unknown=intervals(raw, joined & unknown),
        wrapped=intervals(raw, wrapped),
        restarts=restarts,
    )


def readings_of(samples: Counters, meter: Int64s, readings: NodeReadings) -> Int64s:
    """The position of the reading of a counter's node `meter` (indexed by counter) at each sample's stamp, or -1.

    A counter is mostly there at every reading from its first sample on: that is verified, and searched where it fails.
    """
    if len(samples.code) == 0:
        return samples.code
    index = StampIndex.of(readings.meter, readings.stamp_ms)
    (begin,) = samples.first.nonzero()
    own, lengths = meter[samples.code[begin]], np.diff(begin, append=len(samples.code))
    base = index.position(own, samples.stamp_ms[begin])
    inside = base + lengths <= np.searchsorted(readings.meter, own, side="right")
    at = np.repeat(base - begin, lengths) + np.arange(len(samples.code))
    np.minimum(at, len(readings.meter) - 1, out=at)
    found = readings.stamp_ms[at] == samples.stamp_ms if len(readings.meter) else np.zeros(len(at), dtype=bool)
    if not inside.all():
        found &= np.repeat(inside, lengths)
    if not found.all():
        (missed,) = (~found).nonzero()
        at[missed] = index.find(meter[samples.code[missed]], samples.stamp_ms[missed])
    return at


def _restarts(node: Int64s, start: Int64s, end: Int64s, evidence: Bools) -> Restarts:
    """Unique restart intervals a node, found in any of its components; of two that hold each other, the inner one.

    Then starts and ends rise together, and whether an interval lies within a span is a matter of counting both.
    """
    node, end, start = np.unique(np.stack((node[evidence], end[evidence], -start[evidence])), axis=1) * [[1], [1], [-1]]
    inner = np.diff(np.maximum.accumulate(StampIndex.of(node, start).keys), prepend=-1) > 0
    return Restarts(starts=StampIndex.of(node[inner], start[inner]), ends=StampIndex.of(node[inner], end[inner]))


def _bridge(readings: NodeReadings, pair: Int64s, k: int, steady_watts: Floats, max_gap_ms: int) -> float:
    """Joules of restart interval `k` that the new active counter lacks: idle, and active lost with the old exporter.

    First from the register: after a restart it is off by a whole number of sockets' ranges (by none at half of all
    two-socket restarts, by one at a quarter each way), and one of these is plausible. Else from the last known power.
    """
    first, second = pair[k], pair[k] + 1
    watts = _last(steady_watts, readings, pair, k, max_gap_ms)
    if watts is None:
        return 0.0
    expected = watts * (readings.stamp_ms[second] - readings.stamp_ms[first]) / MS_PER_SECOND
    active = readings.active_joules[second]
    raw_rise = readings.raw_joules[second] - readings.raw_joules[first]
    rise = _plausible(float(raw_rise), active, active + SURGE * expected, readings.ranges_joules[readings.meter[first]])
    if rise is not None:
        return float(rise - active)
    return float(expected - active) if expected > active else 0.0


def _last(of: Floats, readings: NodeReadings, pair: Int64s, k: int, max_gap_ms: int) -> float | None:
    """The last known value of a per-interval quantity before interval `k`, no older than locality allows."""
    oldest = readings.stamp_ms[pair[k] + 1] - max_gap_ms
    for j in range(k - 1, -1, -1):
        if readings.meter[pair[j]] != readings.meter[pair[k]] or readings.stamp_ms[pair[j]] < oldest:
            return None
        if np.isfinite(of[j]):
            return float(of[j])
    return None


def _register(
    readings: NodeReadings, pair: Int64s, steady: Bools, accounted_joules: Floats, max_gap_ms: int
) -> tuple[Floats, Bools, Bools]:
    """Joules by the raw register in steady intervals, which of them it cannot tell, and which of them wrapped.

    A drop is one wrap of a range that is known only from the drop itself: of the ranges that hardware has, times the
    fewest sockets that fit, exactly one must give a plausible power. An interval long enough to hide a whole range is
    unknown: more than one wrap is never assumed.
    """
    raw = readings.raw_joules[pair + 1] - readings.raw_joules[pair]
    seconds = (readings.stamp_ms[pair + 1] - readings.stamp_ms[pair]) / MS_PER_SECOND
    smallest = np.array([min(ranges, default=np.inf) for ranges in readings.ranges_joules])[readings.meter[pair]]
    unknown = steady & (accounted_joules >= smallest)
    wrapped = np.zeros(len(raw), dtype=bool)
    watts = np.where(steady & (raw >= 0), raw / seconds, np.nan)
    for k in np.flatnonzero(steady & (raw < 0)):
        before = _last(watts, readings, pair, int(k), max_gap_ms)
        limit = 0.0 if before is None else 2 * before * seconds[k]
        rise = _plausible(float(raw[k]), 0.0, limit, readings.ranges_joules[readings.meter[pair[k]]])
        if rise is None:
            unknown[k] = True
        else:
            raw[k], wrapped[k] = rise, True
    return raw, unknown, wrapped


def _plausible(rise: float, low: float, high: float, ranges: tuple[float, ...]) -> float | None:
    """The one value in `[low, high]` that is off `rise` by the ranges of the fewest sockets; None unless it is one."""
    for sockets in range(MAX_SOCKETS + 1):
        moved = {rise + sign * sockets * joules for joules in ranges for sign in (1, -1)}
        fits = [value for value in moved if low <= value <= high]
        if fits:
            return fits[0] if len(fits) == 1 else None
    return None


def unplaced_joules(readings: NodeReadings, metered: Metered, start_ms: int, hours: int, max_gap_ms: int) -> Floats:
    """Joules between two readings too far apart to join, in the hour in which the meter returns; shape (meters, hours).

    0 where no gap ended, NaN where one ended whose first side lies more than `max_gap_ms` before that hour, or in which
    the exporter restarted: then nobody knows.
    """
    result = np.zeros((readings.meters, hours))
    opening = np.flatnonzero(np.diff(readings.meter, prepend=-1))
    for position in opening:
        hour = (readings.stamp_ms[position] - 1 - start_ms) // MS_PER_HOUR
        if 0 <= hour < hours:
            result[readings.meter[position], hour] = np.nan
    for k in np.flatnonzero(~metered.joined):
        first, second = metered.pair[k], metered.pair[k] + 1
        hour = (readings.stamp_ms[second] - 1 - start_ms) // MS_PER_HOUR
        if not 0 <= hour < hours:
            continue
        rises = [x[second] - x[first] for x in (readings.active_joules, readings.idle_joules)]
        seen = readings.stamp_ms[first] >= start_ms + hour * MS_PER_HOUR - max_gap_ms
        result[readings.meter[first], hour] += sum(rises) if seen and min(rises) >= 0 else np.nan
    return result
