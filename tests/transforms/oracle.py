"""Section 5 of the design as a plain loop: one sample at a time, exact fractions, no arrays.

Written from the text, not from the transforms, and deliberately slow; what the fold says must be this to rounding.
Where the text leaves a choice, a comment here names the reading.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isfinite

from pipeline.samples import Transport
from pipeline.window import Window

HOUR_MS = 3_600_000
TOLERANCE = Fraction(1, 10**6)
SCALED_DOWN_TO = Fraction(1, 100)
ROUNDING = Fraction(1, 10**9)  # joules: an excess of nothing but float rounding is none
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
POD_COUNTER = "kepler_pod_cpu_joules_total"

MeterId = tuple[str, str]  # node, zone
PodId = tuple[str, str, str]  # node, zone, pod uid
Counter = dict[int, Fraction]  # stamp to value
Spans = list[tuple[int, int, Fraction]]  # (start, end], joules


@dataclass
class NodeHour:
    """One node meter in one hour: joules per step, and what the node_energy table says beside them."""

    active: list[Fraction]
    idle: list[Fraction]
    bridged: list[Fraction]
    system: list[Fraction]
    coverage: Fraction
    resets: int
    unplaced: Fraction | None
    withheld: bool = False
    scale: Fraction = Fraction(1)


@dataclass
class Result:
    """Everything that is compared; keys begin with the hour's left edge in milliseconds since the epoch."""

    nodes: dict[tuple[int, str, str], NodeHour] = field(default_factory=dict)
    pods: dict[tuple[int, str, str, str], list[Fraction]] = field(default_factory=dict)
    withheld: dict[tuple[int, str, str, str], list[Fraction]] = field(default_factory=dict)


def loop(transport: Transport, window: Window, max_gap_ms: int, step_ms: int, started_ms: Mapping[str, int]) -> Result:
    """Energy of all hours of `window` from the samples up to `max_gap_ms` beyond its edges."""
    begin, end = window.start_ms - max_gap_ms - 1, window.end_ms + max_gap_ms
    meters = _meters(transport, begin, end)
    pods, final = _pods(transport, begin, end)
    restarts = {node: _restarts([m for (n, _), m in meters.items() if n == node], max_gap_ms) for node, _ in meters}
    result = Result()
    for key, meter in meters.items():
        meter.fold(restarts[key[0]], max_gap_ms)
        own = {uid: samples for (*place, uid), samples in pods.items() if tuple(place) == key}
        spans = _workload_spans(own, meter, restarts[key[0]], max_gap_ms, started_ms)
        last_totals = {uid: stamps for (*place, uid), stamps in final.items() if tuple(place) == key}
        _add_tails(own, last_totals, spans, meter, restarts[key[0]], max_gap_ms)
        for hour_ms in range(window.start_ms, window.end_ms, HOUR_MS):
            _book(result, key, meter, spans, hour_ms, step_ms, max_gap_ms)
    return result


# ---- reading -------------------------------------------------------------------------------------------------------


def _series(transport: Transport, metric: str, begin: int, end: int) -> Iterable[tuple[dict[str, str], int, float]]:
    for block in transport.blocks(metric, begin, end):
        for row, labels in enumerate(block.labels.to_pylist()):
            for i in range(int(block.offsets[row]), int(block.offsets[row + 1])):
                value = float(block.values[i])
                if labels["zone"] in RANGES_JOULES and isfinite(value) and value >= 0:
                    yield labels, int(block.stamps_ms[i]), value


def _put(counter: Counter, stamp: int, value: float) -> None:
    counter[stamp] = max(counter.get(stamp, Fraction(0)), Fraction(value))  # label sets of one counter: the maximum


def _meters(transport: Transport, begin: int, end: int) -> dict[MeterId, "Meter"]:
    read: dict[str, dict[MeterId, Counter]] = {name: defaultdict(dict) for name in NODE_COUNTERS}
    for name, metric in NODE_COUNTERS.items():
        for labels, stamp, value in _series(transport, metric, begin, end):
            _put(read[name][labels["node_name"], labels["zone"]], stamp, value)
    keys = read["active"].keys() & read["idle"].keys()
    return {key: Meter(key[1], read["active"][key], read["idle"][key], read["raw"][key]) for key in sorted(keys)}


def _pods(transport: Transport, begin: int, end: int) -> tuple[dict[PodId, Counter], dict[PodId, set[int]]]:
    """By pod UID: neither the names nor the state are part of what a counter is. And the stamps of last totals.

    Of equal values at a stamp the one with full names counts, of those the terminated one.
    """
    pods: dict[PodId, Counter] = defaultdict(dict)
    best: dict[PodId, dict[int, tuple[object, ...]]] = defaultdict(dict)
    for labels, stamp, value in _series(transport, POD_COUNTER, begin, end):
        pod = labels["node_name"], labels["zone"], labels["pod_id"]
        _put(pods[pod], stamp, value)
        names = labels.get("pod_namespace"), labels.get("pod_name")
        told = (value, None not in names, str(names), labels.get("state") == "terminated")
        best[pod][stamp] = max(best[pod].get(stamp, told), told)
    return pods, {pod: {stamp for stamp, told in of_pod.items() if told[-1]} for pod, of_pod in best.items()}


# ---- the node's own meter ------------------------------------------------------------------------------------------


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
            if _contains(start, end, restarts):
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


def _restarts(meters: list[Meter], max_gap_ms: int) -> set[tuple[int, int]]:
    """Intervals in which any accounting counter of the node fell."""
    return {
        (start, end)
        for meter in meters
        for end, start in meter.before.items()
        if end - start <= max_gap_ms
        and (meter.active[end] < meter.active[start] or meter.idle[end] < meter.idle[start])
    }


def _contains(start: int, end: int, spans: set[tuple[int, int]]) -> bool:
    return any(start <= first and last <= end for first, last in spans)


# ---- workloads -----------------------------------------------------------------------------------------------------


def _workload_spans(
    pods: Mapping[str, Counter],
    meter: Meter,
    restarts: set[tuple[int, int]],
    max_gap_ms: int,
    started_ms: Mapping[str, int],
) -> dict[str, Spans]:
    spans: dict[str, Spans] = {uid: [] for uid in pods}
    room = dict(meter.active_joules)  # active energy of each joined interval that no living workload has taken
    newcomers: dict[int, list[str]] = defaultdict(list)
    for uid, samples in pods.items():
        last: int | None = None  # the last sample beside a reading of the node
        seen: int | None = None  # the last sample at all: what was seen needs no reading beside it
        for stamp in sorted(samples):
            unseen = seen is None or stamp - seen > max_gap_ms
            seen = stamp
            if stamp not in meter.active or stamp not in meter.idle:
                continue
            if last is not None and stamp - last <= max_gap_ms:
                fell = samples[stamp] < samples[last] or _contains(last, stamp, restarts)
                joules = samples[stamp] if fell else samples[stamp] - samples[last]
                spans[uid].append((last, stamp, joules))
                _take(room, meter, last, stamp, joules)
            started = started_ms.get(uid)
            if unseen and stamp in meter.active_joules and (started is None or started >= stamp - max_gap_ms):
                newcomers[stamp].append(uid)
            last = stamp
    for stamp, uids in newcomers.items():
        limit = room[stamp] + TOLERANCE * meter.active_joules[stamp]
        fitting = [uid for uid in uids if pods[uid][stamp] <= limit]
        if sum(pods[uid][stamp] for uid in fitting) <= limit:
            for uid in fitting:
                spans[uid].append((meter.before[stamp], stamp, pods[uid][stamp]))
    return spans


def _take(room: Counter, meter: Meter, start: int, end: int, joules: Fraction) -> None:
    """What a workload used over several node intervals is taken from each in proportion to time."""
    for position in range(bisect_left(meter.stamps, start) + 1, bisect_left(meter.stamps, end) + 1):
        stamp = meter.stamps[position]
        if stamp in room:
            room[stamp] -= joules * Fraction(stamp - meter.stamps[position - 1], end - start)


# ---- unseen tails --------------------------------------------------------------------------------------------------


def _add_tails(
    pods: Mapping[str, Counter],
    final: Mapping[str, set[int]],
    spans: dict[str, Spans],
    meter: Meter,
    restarts: set[tuple[int, int]],
    max_gap_ms: int,
) -> None:
    """Estimates beside the spans: at deaths out of what no pod used, at restarts out of the bridge."""
    room = dict(meter.active_joules)
    deaths: dict[int, list[tuple[str, int, Fraction]]] = defaultdict(list)
    lost: dict[int, list[tuple[str, int, Fraction]]] = defaultdict(list)
    for uid, own in spans.items():
        own.sort(key=lambda span: span[1])
        for number, (start, end, joules) in enumerate(own):
            _take(room, meter, start, end, joules)
            there = _death(pods[uid], final.get(uid, set()), end, meter, restarts, max_gap_ms)
            if there is not None:
                power = _power(pods[uid], own[: number + 1], there, max_gap_ms, steady=True)
                if power is None and end // HOUR_MS == (there - 1) // HOUR_MS:  # births are told by what lies before
                    power = _power(pods[uid], own[: number + 1], there, max_gap_ms, steady=False)
                deaths[there].append((uid, end, (power or Fraction(0)) * (there - end) / 2))
            if not _steady(pods[uid], own[number]) and meter.before[end] == start and _contains(start, end, restarts):
                power = _power(pods[uid], own[:number], end, max_gap_ms, steady=True)
                lost[end].append((uid, start, max((power or Fraction(0)) * (end - start) - joules, Fraction(0))))
    for end, tails in lost.items():
        given = _give(spans, tails, end, meter.bridged_joules.get(end, Fraction(0)))
        meter.active_joules[end] += given
        meter.idle_joules[end] -= given
    for end, tails in deaths.items():
        _give(spans, tails, end, max(room[end], Fraction(0)))


def _give(spans: dict[str, Spans], tails: list[tuple[str, int, Fraction]], end: int, most: Fraction) -> Fraction:
    wanted = sum((joules for *_, joules in tails), Fraction(0))
    share = most / wanted if wanted > most else Fraction(1)
    for uid, start, joules in tails:
        if joules > 0:
            spans[uid].append((start, end, joules * share))
    return wanted * share


def _steady(samples: Counter, span: tuple[int, int, Fraction]) -> bool:
    start, end, joules = span
    return start in samples and samples[end] - samples[start] == joules


def _power(samples: Counter, spans: Spans, until: int, max_gap_ms: int, *, steady: bool) -> Fraction | None:
    """Joules per ms of the last span of that kind; a counter that began within its span did so at half of it."""
    for start, end, joules in reversed(spans):
        if _steady(samples, (start, end, joules)) == steady:
            return joules / (end - start) * (1 if steady else 2) if start >= until - max_gap_ms else None
    return None


def _death(
    samples: Counter, final: set[int], last: int, meter: Meter, restarts: set[tuple[int, int]], max_gap_ms: int
) -> int | None:
    """The node's next reading, if the pod is gone there and its counter does not go on later."""
    position = bisect_left(meter.stamps, last) + 1
    there = meter.stamps[position] if position < len(meter.stamps) else None
    if there is None or there not in meter.active_joules or last in final or _contains(last, there, restarts):
        return None
    following = min((stamp for stamp in samples if stamp > last), default=None)
    if following is None or following - last > max_gap_ms:
        return there
    return there if there < following and samples[following] < samples[last] else None


# ---- hours ---------------------------------------------------------------------------------------------------------


def _book(
    result: Result, key: MeterId, meter: Meter, spans: Mapping[str, Spans], hour_ms: int, step_ms: int, max_gap_ms: int
) -> None:
    """Lay everything of one meter and hour onto its steps, and reconcile."""
    edges = [(t, t + step_ms) for t in range(hour_ms, hour_ms + HOUR_MS, step_ms)]
    read = [stamp for stamp in meter.stamps if hour_ms < stamp <= hour_ms + HOUR_MS]
    covered = sum(_overlap(meter.before[end], end, hour_ms, hour_ms + HOUR_MS) for end in meter.active_joules)
    if not read and not covered:
        return
    active, idle, bridged = (
        [_within([(meter.before[end], end, joules) for end, joules in part.items()], *edge) for edge in edges]
        for part in (meter.active_joules, meter.idle_joules, meter.bridged_joules)
    )
    laid = {
        uid: [_within(own, *edge) for edge in edges]
        for uid, own in spans.items()
        if any(_overlap(start, end, hour_ms, hour_ms + HOUR_MS) for start, end, _ in own)
    }
    used = [sum((steps[i] for steps in laid.values()), Fraction(0)) for i in range(len(edges))]
    excess = sum(max(u - a, Fraction(0)) for u, a in zip(used, active, strict=True))
    withheld = excess > SCALED_DOWN_TO * sum(active) + ROUNDING
    factors = [a / u if u > a else Fraction(1) for u, a in zip(used, active, strict=True)]
    kept = [Fraction(0) if withheld else u * f for u, f in zip(used, factors, strict=True)]
    total, total_kept = sum(used, Fraction(0)), sum((u * f for u, f in zip(used, factors, strict=True)), Fraction(0))
    result.nodes[hour_ms, *key] = NodeHour(
        active, idle, bridged,
        system=[a - k for a, k in zip(active, kept, strict=True)],
        coverage=Fraction(covered, HOUR_MS),
        resets=sum(stamp in meter.restarted for stamp in read),
        unplaced=meter.unplaced(hour_ms, max_gap_ms),
        withheld=withheld,
        scale=total_kept / total if total > 0 else Fraction(1),
    )  # fmt: skip
    for uid, steps in laid.items():
        if withheld:
            result.withheld[hour_ms, *key, uid] = steps
        else:
            result.pods[hour_ms, *key, uid] = [j * f for j, f in zip(steps, factors, strict=True)]


def _overlap(start: int, end: int, left: int, right: int) -> int:
    return max(0, min(end, right) - max(start, left))


def _within(spans: Spans, left: int, right: int) -> Fraction:
    """Joules of the spans in `[left, right)`: what straddles an edge is split in proportion to time."""
    parts = ((_overlap(start, end, left, right), end - start, joules) for start, end, joules in spans)
    return sum((joules * Fraction(inside, length) for inside, length, joules in parts if inside), Fraction(0))
