"""Section 5 of the design as a plain loop: one sample at a time, exact fractions, no arrays.

Written from the text, not from the transforms, and deliberately slow; what the fold says must be this to rounding.
Where the text leaves a choice, a comment here names the reading.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from pipeline.samples import Transport
from pipeline.window import Window
from tests.transforms.oracle_nodes import HOUR_MS, Meter, MeterId, meters_of, restarts_of
from tests.transforms.oracle_pods import Spans, add_tails, pods_of, workload_spans

SCALED_DOWN_TO = Fraction(1, 100)
ROUNDING = Fraction(1, 10**9)  # joules: an excess of nothing but float rounding is none


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
    meters = meters_of(transport, begin, end)
    pods, final = pods_of(transport, begin, end)
    restarts = {node: restarts_of([m for (n, _), m in meters.items() if n == node], max_gap_ms) for node, _ in meters}
    result = Result()
    for key, meter in meters.items():
        meter.fold(restarts[key[0]], max_gap_ms)
        own = {uid: samples for (*place, uid), samples in pods.items() if tuple(place) == key}
        spans = workload_spans(own, meter, restarts[key[0]], max_gap_ms, started_ms)
        last_totals = {uid: stamps for (*place, uid), stamps in final.items() if tuple(place) == key}
        add_tails(own, last_totals, spans, meter, restarts[key[0]], max_gap_ms)
        for hour_ms in range(window.start_ms, window.end_ms, HOUR_MS):
            _book(result, key, meter, spans, hour_ms, step_ms, max_gap_ms)
    return result


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
