"""The loop of `oracle`, its second half: what each pod used between samples, at its birth and at its death."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction

from pipeline.samples import Transport
from tests.transforms.oracle_nodes import HOUR_MS, Counter, Meter, contains, put, series_of

TOLERANCE = Fraction(1, 10**6)
POD_COUNTER = "kepler_pod_cpu_joules_total"

PodId = tuple[str, str, str]  # node, zone, pod uid
Spans = list[tuple[int, int, Fraction]]  # (start, end], joules


def pods_of(transport: Transport, begin: int, end: int) -> tuple[dict[PodId, Counter], dict[PodId, set[int]]]:
    """By pod UID: neither the names nor the state are part of what a counter is. And the stamps of last totals.

    Of equal values at a stamp the one with full names counts, of those the terminated one.
    """
    pods: dict[PodId, Counter] = defaultdict(dict)
    best: dict[PodId, dict[int, tuple[object, ...]]] = defaultdict(dict)
    for labels, stamp, value in series_of(transport, POD_COUNTER, begin, end):
        pod = labels["node_name"], labels["zone"], labels["pod_id"]
        put(pods[pod], stamp, value)
        names = labels.get("pod_namespace"), labels.get("pod_name")
        told = (value, None not in names, str(names), labels.get("state") == "terminated")
        best[pod][stamp] = max(best[pod].get(stamp, told), told)
    return pods, {pod: {stamp for stamp, told in of_pod.items() if told[-1]} for pod, of_pod in best.items()}


def workload_spans(
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
                fell = samples[stamp] < samples[last] or contains(last, stamp, restarts)
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


def add_tails(
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
            if not _steady(pods[uid], own[number]) and meter.before[end] == start and contains(start, end, restarts):
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
    if there is None or there not in meter.active_joules or last in final or contains(last, there, restarts):
        return None
    following = min((stamp for stamp in samples if stamp > last), default=None)
    if following is None or following - last > max_gap_ms:
        return there
    return there if there < following and samples[following] < samples[last] else None
