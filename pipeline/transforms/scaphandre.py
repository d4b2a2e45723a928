"""Scaphandre's samples as energy: registers are what a node used, process gauges are who used it.

Scaphandre has no active counter: active is what its processes used, idle the rest of the registers. Active never
exceeds the registers; processes that do keep their joules, so that reconciliation sees the excess and judges it.
"""

from dataclasses import replace

import numpy as np

from pipeline.samples import Bools, Floats, Int64s, ScaphandreSamples
from pipeline.transforms.counters import Intervals
from pipeline.transforms.folded import Consumer, Folded, Marks, Name, Names
from pipeline.transforms.registers import CEILING_WATTS
from pipeline.transforms.scaphandre_hosts import COMPONENTS, fold_hosts
from pipeline.transforms.scaphandre_usage import Usage, measure
from pipeline.units import MS_PER_HOUR

HOST_PROCESSES = "host_processes"
VIRTUAL_MACHINE = "VirtualMachine"
ACCOUNTED = 2  # of COMPONENTS: psys holds the others

Meters = dict[tuple[int, int], int]  # (node, component) -> number of the meter


def fold_scaphandre(samples: ScaphandreSamples, max_gap_ms: int, started_ms: dict[str, int]) -> Folded:  # noqa: ARG001 # every meter's fold is called alike; a gauge needs no births
    """Scaphandre's samples folded; see `fold_usage`."""
    return fold_usage(measure(samples, max_gap_ms))


def fold_usage(usage: Usage) -> Folded:
    """Measured hosts and processes as what every meter's fold ends in."""
    number, meters = _meters(usage)
    spans = [np.flatnonzero(_read(usage, c)[usage.intervals.scrape]) for c in range(ACCOUNTED)]
    interval, component = np.concatenate(spans), np.repeat(range(ACCOUNTED), [len(span) for span in spans])
    code = np.concatenate([_of_meter(number, usage.node[span], c) for c, span in enumerate(spans)])
    used, filled = (
        np.stack([_per_interval(usage, chosen) * usage.per_joule[c] for c in range(ACCOUNTED)])
        for chosen in (np.ones(len(usage.filled), dtype=bool), usage.filled)
    )
    metered = usage.intervals.joules[component, interval]
    active = np.minimum(used[component, interval], metered)

    def intervals(joules: Floats) -> Intervals:
        return Intervals(code, usage.intervals.start_ms[interval], usage.intervals.end_ms[interval], joules)

    consumers, names, shares, tails = _consumers(usage, number)
    wrapped = usage.intervals.wrapped[component, interval]
    gaps = _marks(usage, number, np.where(usage.unknown, usage.scrape_node, -1))
    return Folded(
        meter="scaphandre",
        meters=meters,
        active=intervals(active),
        idle=intervals(metered - active),
        bridged=intervals(filled[component, interval]),
        consumers=consumers,
        used=shares,
        tails=tails,
        names=lambda _, hours: Names.always(names, len(consumers), hours),
        readings=_marks(usage, number, usage.reading_node),
        restarts=Marks(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)),
        wraps=Marks(code[wrapped], usage.intervals.end_ms[interval][wrapped]),
        unplaced=lambda start_ms, hours: _unplaced(gaps, len(meters), start_ms, hours),
        unmetered=lambda _hour_ms: usage.gauges.unmetered,
    )


def fold_registers(samples: ScaphandreSamples, max_gap_ms: int, ceiling_watts: float = CEILING_WATTS) -> Folded:
    """Hosts by their registers alone, called by their address: all is active and nobody's, idle is not told."""
    scrapes, spans = fold_hosts(samples, max_gap_ms, ceiling_watts)
    shown = scrapes.registers[:ACCOUNTED] > 0
    seen = {(scrapes.hosts[scrapes.host[at]], COMPONENTS[c]) for c, at in zip(*np.nonzero(shown), strict=True)}
    meters = sorted(seen)
    places = [[(host, component) for host in scrapes.hosts] for component in COMPONENTS[:ACCOUNTED]]
    number = np.array([[meters.index(p) if p in seen else -1 for p in row] for row in places], dtype=np.int64)

    def marks(chosen: Bools) -> Marks:
        component, at = np.nonzero(shown & chosen)
        meter, stamp_ms = number[component, scrapes.host[at]], scrapes.stamp_ms[at]
        order = np.lexsort((stamp_ms, meter))
        return Marks(meter[order], stamp_ms[order])

    component, at = np.nonzero(shown[:, spans.scrape])
    code, wrapped = number[component, spans.host[at]], spans.wrapped[component, at]
    none = np.zeros(0, dtype=np.int64)
    nothing, gaps = Intervals(none, none, none, np.zeros(0)), marks(scrapes.unknown)
    return Folded(
        meter="scaphandre",
        meters=meters,
        active=Intervals(code, spans.start_ms[at], spans.end_ms[at], spans.joules[component, at]),
        idle=nothing,
        bridged=nothing,
        consumers=[],
        used=nothing,
        names=lambda _, hours: Names.always({}, 0, hours),
        readings=marks(~scrapes.repeated),
        restarts=Marks(none, none),
        wraps=Marks(code[wrapped], spans.end_ms[at][wrapped]),
        unplaced=lambda start_ms, hours: _unplaced(gaps, len(meters), start_ms, hours),
    )


def _read(usage: Usage, component: int) -> Bools:
    """Scrapes that showed a component's registers."""
    return np.asarray(usage.scrapes.registers[component] > 0, dtype=bool)


def _meters(usage: Usage) -> tuple[Meters, list[tuple[str, str]]]:
    found: set[tuple[int, int]] = set()
    for component in range(ACCOUNTED):
        read = _read(usage, component)
        nodes = (usage.scrape_node[read], usage.reading_node[read], usage.node[read[usage.intervals.scrape]])
        found |= {(node, component) for node in np.unique(np.concatenate(nodes)).tolist() if node >= 0}
    named = sorted((usage.nodes[node], COMPONENTS[component]) for node, component in found)
    number = {(usage.nodes.index(node), COMPONENTS.index(part)): i for i, (node, part) in enumerate(named)}
    return number, named


def _of_meter(number: Meters, node: Int64s, component: int) -> Int64s:
    return np.array([number[n, component] for n in node.tolist()], dtype=np.int64)


def _per_interval(usage: Usage, chosen: Bools) -> Floats:
    """Joules of the chosen entries per interval, as the gauges speak of them."""
    sums = np.bincount(usage.spent.code[chosen], usage.spent.joules[chosen], minlength=len(usage.node))
    return sums.astype(np.float64)


def _consumers(usage: Usage, number: Meters) -> tuple[list[Consumer], dict[int, Name], Intervals, Intervals]:
    """Everybody who used energy, their names, their joined intervals by (consumer, end), and the estimated part."""
    container = np.where(usage.pod >= 0, -1, usage.container)  # whose pod is known is no container of its own
    pod = np.where(usage.guest >= 0, -1, usage.pod)
    container = np.where(usage.guest >= 0, -1, container)
    keys = np.stack((usage.node[usage.spent.code], usage.guest, pod, container))
    distinct, holder = np.unique(keys, axis=1, return_inverse=True)
    consumers: list[Consumer] = []
    names: dict[int, Name] = {}
    parts: list[tuple[Int64s, Int64s, Floats, Bools]] = []
    for component in range(ACCOUNTED):
        given = (usage.per_joule[component] > 0)[usage.spent.code]
        first = len(consumers)
        for node, *whose in distinct.T.tolist():
            if (node, component) in number:
                names[len(consumers)] = _name(usage, whose)
            consumers.append(_consumer(usage, number.get((node, component), -1), whose))
        joules = usage.spent.joules[given] * usage.per_joule[component, usage.spent.code[given]]
        parts.append((first + holder.ravel()[given], usage.spent.code[given], joules, usage.tail[given]))
    owner, interval, joules, tail = (np.concatenate([part[i] for part in parts]) for i in range(4))
    return _used(usage, consumers, names, owner * max(len(usage.node), 1) + interval, joules, tail)


def _used(
    usage: Usage, consumers: list[Consumer], names: dict[int, Name], place: Int64s, joules: Floats, tail: Bools
) -> tuple[list[Consumer], dict[int, Name], Intervals, Intervals]:
    """One entry a consumer and interval; consumers that used nothing anywhere are left out.

    Args:
        usage: what was measured.
        consumers: everybody there may be.
        names: theirs.
        place: consumer times the number of intervals, plus interval, of each entry.
        joules: of each entry.
        tail: which entries are estimated.
    """
    span = max(len(usage.node), 1)
    cell, where = np.unique(place, return_inverse=True)
    total, estimated = (
        np.bincount(where.ravel(), part, minlength=len(cell)).astype(np.float64) for part in (joules, joules * tail)
    )
    present, code = np.unique(cell // span, return_inverse=True)
    at = cell % span
    used = Intervals(code.ravel().astype(np.int64), usage.intervals.start_ms[at], usage.intervals.end_ms[at], total)
    tails = replace(used, joules=estimated).where(estimated > 0)
    order = np.lexsort((used.end_ms, used.code))
    kept = {old: new for new, old in enumerate(present.tolist())}
    return (
        [consumers[old] for old in kept],
        {new: names[old] for old, new in kept.items()},
        used.where(order),
        tails,
    )


def _consumer(usage: Usage, meter: int, whose: list[int]) -> Consumer:
    guest, pod, container = whose
    if guest >= 0:
        name = usage.gauges.guests[guest]
        return Consumer(meter, name, workload_kind=VIRTUAL_MACHINE, workload=name)
    if pod >= 0:
        uid, namespace, own = usage.gauges.pods[pod]
        return Consumer(meter, uid or f"{namespace}/{own}")
    if container >= 0:
        return Consumer(meter, usage.gauges.containers[container])
    return Consumer(meter, HOST_PROCESSES, kind="system")


def _name(usage: Usage, whose: list[int]) -> Name:
    return usage.gauges.pods[whose[1]][1:] if whose[1] >= 0 else (None, None)


def _marks(usage: Usage, number: Meters, node: Int64s) -> Marks:
    """Scrapes of every meter, sorted by (meter, stamp), given the node of each scrape; -1 for those left out."""
    parts = [np.flatnonzero((node >= 0) & _read(usage, component)) for component in range(ACCOUNTED)]
    meter = np.concatenate([_of_meter(number, node[at], c) for c, at in enumerate(parts)])
    stamp_ms = usage.scrapes.stamp_ms[np.concatenate(parts)]
    order = np.lexsort((stamp_ms, meter))
    return Marks(meter[order], stamp_ms[order])


def _unplaced(gaps: Marks, meters: int, start_ms: int, hours: int) -> Floats:
    """NaN where a gap ends, for registers wrap unseen in it: nobody knows its joules; 0 elsewhere."""
    result = np.zeros((meters, hours))
    hour = (gaps.stamp_ms - 1 - start_ms) // MS_PER_HOUR
    inside = (hour >= 0) & (hour < hours)
    result[gaps.meter[inside], hour[inside]] = np.nan
    return result
