"""The loop of `oracle`, its first half: what is read of each node meter, and its joules interval by interval."""

from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction
from math import isfinite

from pipeline.samples import Transport

HOUR_MS = 3_600_000
NODE_COUNTERS = {
    "active": "kepler_node_cpu_active_joules_total",
    "idle": "kepler_node_cpu_idle_joules_total",
    "raw": "kepler_node_cpu_joules_total",
}
RANGES_JOULES = {  # of one socket's register, on any processor
    "package": (Fraction(65_532.610987), Fraction(262_143.328850)),
    "dram": (Fraction(65_712.999613), Fraction(262_143.328850)),
}
MOST_SOCKETS = 8

MeterId = tuple[str, str]  # node, zone
Counter = dict[int, Fraction]  # stamp to value


def series_of(transport: Transport, metric: str, begin: int, end: int) -> Iterable[tuple[dict[str, str], int, float]]:
    for block in transport.blocks(metric, begin, end):
        for row, labels in enumerate(block.labels.to_pylist()):
            for i in range(int(block.offsets[row]), int(block.offsets[row + 1])):
                value = float(block.values[i])
                if labels["zone"] in RANGES_JOULES and isfinite(value) and value >= 0:
                    yield labels, int(block.stamps_ms[i]), value


def put(counter: Counter, stamp: int, value: float) -> None:
    counter[stamp] = max(counter.get(stamp, Fraction(0)), Fraction(value))  # label sets of one counter: the maximum


def meters_of(transport: Transport, begin: int, end: int) -> dict[MeterId, "Meter"]:
    read: dict[str, dict[MeterId, Counter]] = {name: defaultdict(dict) for name in NODE_COUNTERS}
    for name, metric in NODE_COUNTERS.items():
        for labels, stamp, value in series_of(transport, metric, begin, end):
            put(read[name][labels["node_name"], labels["zone"]], stamp, value)
    keys = read["active"].keys() & read["idle"].keys()
    return {key: Meter(key[1], read["active"][key], read["idle"][key], read["raw"][key]) for key in sorted(keys)}


class Meter:
    """One node meter: its scrapes, and after `fold` the joules of each joined interval, keyed by the interval's end."""

    def __init__(self, zone: str, active: Counter, idle: Counter, raw: Counter) -> None:
        self.active, self.idle, self.raw, self.ranges = active, idle, raw, RANGES_JOULES[zone]
        self.stamps = sorted(active.keys() & idle.keys())  # metered = active + idle: a scrape needs both
        self.before = dict(zip(self.stamps[1:], self.stamps, strict=False))
        self.active_joules: Counter = {}
        self.idle_joules: Counter = {}
        self.bridged_joules: Counter = {}
        self.restarted: set[int] = set()

    def fold(self, restarts: set[tuple[int, int]], max_gap_ms: int) -> None:
        """Interval by interval, forward in time."""
        for end, start in self.before.items():
            if end - start > max_gap_ms:
                continue
            if contains(start, end, restarts):
                self.restarted.add(end)
                self.active_joules[end] = self.active[end]
                self.idle_joules[end] = self.bridged_joules[end] = self._bridge(start, end, max_gap_ms)
            else:
                self.active_joules[end] = self.active[end] - self.active[start]
                self.idle_joules[end] = self.idle[end] - self.idle[start]

    def _bridge(self, start: int, end: int, max_gap_ms: int) -> Fraction:
        """What the new active counter lacks: by the register, else by the last power, else nothing.

        A restart leaves the register off by whole ranges of some sockets, so of all such values the plausible one with
        the fewest sockets is meant, if it is the only one.
        """
        joules_per_ms = self._last_power(start, end, max_gap_ms)
        if joules_per_ms is None:
            return Fraction(0)
        expected = joules_per_ms * (end - start)
        if start in self.raw and end in self.raw:
            bridge = self.raw[end] - self.raw[start] - self.active[end]
            for sockets in range(MOST_SOCKETS + 1):
                moved = {bridge + turn * sockets * joules for joules in self.ranges for turn in (-1, 1)}
                plausible = [value for value in moved if 0 <= value <= 4 * expected]
                if plausible:
                    if len(plausible) == 1:
                        return plausible[0]
                    break
        return max(expected - self.active[end], Fraction(0))

    def _last_power(self, start: int, end: int, max_gap_ms: int) -> Fraction | None:
        """Of the last interval without a restart, all of it within `max_gap` of the restart's end (locality)."""
        while start in self.before and self.before[start] >= end - max_gap_ms:
            if start not in self.restarted:
                return (self.active_joules[start] + self.idle_joules[start]) / (start - self.before[start])
            start = self.before[start]
        return None

    def unplaced(self, hour_ms: int, max_gap_ms: int) -> Fraction | None:
        """Joules of the gaps that end in this hour; None where one of them cannot be told."""
        total = Fraction(0)
        for stamp in self.stamps:
            if not hour_ms < stamp <= hour_ms + HOUR_MS:
                continue
            last = self.before.get(stamp)
            if last is None:
                return None  # it returned from nobody knows where
            if stamp in self.active_joules:
                continue
            rises = self.active[stamp] - self.active[last], self.idle[stamp] - self.idle[last]
            if last < hour_ms - max_gap_ms or min(rises) < 0:
                return None
            total += sum(rises)
        return total


def restarts_of(meters: list[Meter], max_gap_ms: int) -> set[tuple[int, int]]:
    """Intervals in which any accounting counter of the node fell."""
    return {
        (start, end)
        for meter in meters
        for end, start in meter.before.items()
        if end - start <= max_gap_ms
        and (meter.active[end] < meter.active[start] or meter.idle[end] < meter.idle[start])
    }


def contains(start: int, end: int, spans: set[tuple[int, int]]) -> bool:
    return any(start <= first and last <= end for first, last in spans)
