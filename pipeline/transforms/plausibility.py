"""Energy that no machine can have used is taken out before anything is summed, and shown with its evidence.

A node interval above a physical ceiling becomes a gap: its node meter and everybody on it have nothing there. A
consumer above the ceiling, or far above what its whole node used, is taken out alone. Nothing is clamped.

A verdict on `(t1, t2]` needs the interval itself and the sockets seen from `t2 - max_gap` to `t1 + max_gap`.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Bools, Floats, Int64s, SocketStamps
from pipeline.transforms.counters import Intervals, StampIndex
from pipeline.transforms.evidence import Shown, shown_samples
from pipeline.transforms.folded import Cross, Folded, Implausible, Marks
from pipeline.units import MS_PER_SECOND
from pipeline.window import from_ms

MAX_SOCKETS = 8
MAX_GPUS = 16  # of one machine
SHORTEST_SECONDS = 15.0  # exporters refresh every few seconds: less time between two scrapes says nothing of power
TIMES_ACTIVE = 2.0  # a share of the node that is merely too great is the reconciliation's to judge, hour by hour
LEAST_EXCESS_WATTS = 1.0
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The most one device can draw, in watts."""

    socket_watts: float
    gpu_watts: float

    def of(self, component: str) -> float:
        """The ceiling of one device of a component."""
        return self.gpu_watts if component == "gpu" else self.socket_watts


def suspects(folded: Folded, ceilings: Ceilings) -> dict[str, tuple[int, int]]:
    """Nodes that some interval puts above one socket's ceiling, so that their number of sockets decides.

    Returns:
        By node: from the first such interval's start to the last one's end, in milliseconds.
    """
    metered, found = _metered(folded), dict[str, tuple[int, int]]()
    limits = np.array([ceilings.of(component) for _, component in folded.meters])
    seconds = _seconds(metered, metered.code, folded.readings)
    for k in np.flatnonzero(metered.joules > limits[metered.code] * seconds).tolist():
        node, component = folded.meters[metered.code[k]]
        if component == "gpu":
            continue
        start, end = found.get(node, (int(metered.start_ms[k]), 0))
        found[node] = (min(start, int(metered.start_ms[k])), max(end, int(metered.end_ms[k])))
    return found


def screen(
    folded: Folded, ceilings: Ceilings, sockets: SocketStamps, max_gap_ms: int, samples: object = None
) -> Folded:
    """`folded` without what is above its ceiling.

    Args:
        folded: any meter's fold.
        ceilings: of one device.
        sockets: when which sockets of a node were seen; a node that nobody knows may have eight.
        max_gap_ms: how far around an interval sockets count.
        samples: what was folded, to show counters in the evidence; None shows stamps and joules only.
    """
    metered, shown = _metered(folded), shown_samples(samples)
    seconds = _seconds(metered, metered.code, folded.readings)
    one_socket = metered.joules > ceilings.socket_watts * seconds
    devices = _devices(folded, metered, one_socket, sockets, max_gap_ms)
    ceiling_watts = np.array([ceilings.of(component) for _, component in folded.meters])
    bad = metered.joules > ceiling_watts[metered.code] * devices * seconds
    gaps = _Gaps.of(metered.where(bad))
    kept = replace(
        folded,
        active=gaps.outside(folded.active),
        idle=gaps.outside(folded.idle),
        bridged=gaps.outside(folded.bridged),
        used=gaps.outside(folded.used, folded.consumer_meter),
        cross=_cross(folded.cross, gaps),
    )
    doubtful = _doubtful(kept, ceiling_watts)
    most, excess = _consumer_limits(kept, doubtful, ceiling_watts)
    over = kept.used.joules[doubtful] > np.fmin(most, excess)
    wrong = np.zeros(len(kept.used.code), dtype=bool)
    wrong[doubtful[over]] = True
    if not bad.any() and not wrong.any():
        return folded
    node_lines = [
        _evidence(folded, metered, int(k), None, shown)
        + f", above {devices[k]} {_device(folded, metered.code[k])} x {ceiling_watts[metered.code[k]]:g} W"
        for k in np.flatnonzero(bad)
    ]
    used_lines = [
        _consumer_evidence(kept, k, limit, shown)
        for k, limit in zip(doubtful[over].tolist(), most[over].tolist(), strict=True)
    ]
    implausible = Implausible(metered.where(bad), kept.used.where(wrong), node_lines, used_lines)
    return replace(kept, used=kept.used.where(~wrong), implausible=_both(folded.implausible, implausible))


def _both(first: Implausible | None, second: Implausible) -> Implausible:
    """What the meter's own fold took out already, and what was taken out here."""
    if first is None:
        return second
    return Implausible(
        _concatenated(first.metered, second.metered),
        _concatenated(first.used, second.used),
        first.metered_evidence + second.metered_evidence,
        first.used_evidence + second.used_evidence,
    )


def _concatenated(one: Intervals, other: Intervals) -> Intervals:
    return Intervals(*(np.concatenate((getattr(one, f), getattr(other, f))) for f in Intervals.__slots__))


@dataclass(frozen=True, slots=True)
class _Gaps:
    """Disjoint intervals of node meters that count no more."""

    starts: StampIndex
    ends: StampIndex

    @classmethod
    def of(cls, bad: Intervals) -> "_Gaps":
        order = np.lexsort((bad.start_ms, bad.code))
        code = bad.code[order]
        return cls(StampIndex.of(code, bad.start_ms[order]), StampIndex.of(code, bad.end_ms[order]))

    def outside(self, intervals: Intervals, meter: Int64s | None = None) -> Intervals:
        """Intervals that touch no gap of their node meter; `meter` by code, where the code is not it."""
        if len(self.starts.keys) == 0:
            return intervals
        code = intervals.code if meter is None else meter[intervals.code]
        begun = self.starts.count_to(code, intervals.end_ms - 1)
        return intervals.where(begun == self.ends.count_to(code, intervals.start_ms))


def _metered(folded: Folded) -> Intervals:
    """Active and idle energy together, per interval of the node meters, sorted by (meter, end)."""
    active = folded.active.sorted()
    index = StampIndex.of(active.code, active.end_ms)
    at = index.find(folded.idle.code, folded.idle.end_ms)
    idle = np.bincount(at[at >= 0], folded.idle.joules[at >= 0], minlength=len(active.code))
    return replace(active, joules=active.joules + idle)


def _seconds(intervals: Intervals, meter: Int64s, readings: Marks) -> Floats:
    """Over how long the joules of intervals were used: their length, and more where two scrapes were very close.

    Args:
        intervals: parts of the time between two readings of their node meter.
        meter: the node meter of each.
        readings: of all node meters.
    """
    length = (intervals.end_ms - intervals.start_ms) / MS_PER_SECOND
    order = np.lexsort((readings.stamp_ms, readings.meter))
    stamps, owner = (np.append(part[order], -1) for part in (readings.stamp_ms, readings.meter))
    if not np.any((np.diff(stamps) < SHORTEST_SECONDS * MS_PER_SECOND) & (owner[1:] == owner[:-1])):
        return np.asarray(length)
    index = StampIndex.of(owner[:-1], stamps[:-1])
    before = index.count_to(meter, intervals.start_ms) - 1
    after = index.count_to(meter, intervals.end_ms - 1)
    start = np.where(owner[before] == meter, stamps[before], intervals.start_ms)
    end = np.where(owner[after] == meter, stamps[after], intervals.end_ms)
    between = np.maximum((end - start) / MS_PER_SECOND, 1e-3)
    return np.asarray(length * np.maximum(1.0, SHORTEST_SECONDS / between))


def _devices(folded: Folded, metered: Intervals, one_socket: Bools, sockets: SocketStamps, max_gap_ms: int) -> Int64s:
    """How many sockets or GPUs each interval's machine may have; counted only where the number may matter."""
    most = np.array([MAX_GPUS if component == "gpu" else MAX_SOCKETS for _, component in folded.meters], dtype=np.int64)
    devices = most[metered.code]
    for k in np.flatnonzero(one_socket).tolist():
        node, component = folded.meters[metered.code[k]]
        first, last = metered.end_ms[k] - max_gap_ms, metered.start_ms[k] + max_gap_ms
        seen = [((stamps >= first) & (stamps <= last)).any() for stamps in sockets.get(node, {}).values()]
        if component != "gpu" and any(seen):
            devices[k] = sum(seen)
    return devices


def _cross(cross: Cross | None, gaps: _Gaps) -> Cross | None:
    if cross is None:
        return None
    return Cross(cross.name, *(gaps.outside(part) for part in (cross.measured, cross.compared, cross.unknown)))


def _doubtful(kept: Folded, ceiling_watts: Floats) -> Int64s:
    """Consumers' intervals that may be above a limit: those above what the least of all intervals would allow."""
    active, used = kept.active, kept.used
    least_watts = np.full(len(kept.meters), np.inf)
    np.minimum.at(least_watts, active.code, active.joules / (active.end_ms - active.start_ms) * MS_PER_SECOND)
    watts = np.minimum(TIMES_ACTIVE * least_watts + LEAST_EXCESS_WATTS, ceiling_watts) * (1 - ROUNDING)
    most = (watts / MS_PER_SECOND)[kept.consumer_meter]  # joules a millisecond
    return np.flatnonzero(used.joules > most[used.code] * (used.end_ms - used.start_ms))


def _consumer_limits(kept: Folded, chosen: Int64s, ceiling_watts: Floats) -> tuple[Floats, Floats]:
    """Joules that a consumer's chosen interval cannot exceed: by the ceiling, and by its node (NaN where unknown).

    The node is known where the consumer's interval runs from one reading of the node meter to another, without a gap.
    """
    used, active = kept.used.where(chosen), kept.active.sorted()
    meter = kept.consumer_meter[used.code]
    most_devices = np.array([MAX_GPUS if c == "gpu" else MAX_SOCKETS for _, c in kept.meters], dtype=np.float64)
    seconds = _seconds(used, meter, kept.readings)
    ceiling = (ceiling_watts * most_devices)[meter] * seconds
    first = StampIndex.of(active.code, active.start_ms).find(meter, used.start_ms)
    last = StampIndex.of(active.code, active.end_ms).find(meter, used.end_ms)
    known = (first >= 0) & (last >= first)
    joules = np.concatenate(([0.0], np.cumsum(active.joules)))
    length = np.concatenate(([0], np.cumsum(active.end_ms - active.start_ms)))
    known &= length[last + 1] - length[first] == used.end_ms - used.start_ms
    least = LEAST_EXCESS_WATTS * seconds
    return ceiling, np.where(known, TIMES_ACTIVE * (joules[last + 1] - joules[first]) + least, np.nan)


def _device(folded: Folded, meter: int) -> str:
    return "GPUs" if folded.meters[meter][1] == "gpu" else "sockets"


def _evidence(folded: Folded, of: Intervals, k: int, uid: str | None, shown: Shown) -> str:
    """Which samples, how many joules and watts."""
    meter = int(of.code[k]) if uid is None else folded.consumers[of.code[k]].meter
    node, component = folded.meters[meter]
    start, end = int(of.start_ms[k]), int(of.end_ms[k])
    samples = " and ".join(
        f"{from_ms(at):%FT%T.%f}"[:-3] + f"Z{shown(node, component, uid, at)}" for at in (start, end)
    )
    watts = of.joules[k] / (end - start) * MS_PER_SECOND
    return f"{of.joules[k]:.6g} J between the samples at {samples}: {watts:.6g} W"


def _consumer_evidence(kept: Folded, k: int, most_joules: float, shown: Shown) -> str:
    line = _evidence(kept, kept.used, k, kept.consumers[kept.used.code[k]].uid, shown)
    if kept.used.joules[k] > most_joules:
        return f"{line}, above any machine"
    return f"{line}, more than {TIMES_ACTIVE:g} times its node's active energy"
