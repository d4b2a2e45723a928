"""Kepler 0.5 to 0.9, folded: sockets into node meters, containers into pods.

Dynamic energy is active energy and idle energy is the node's: what containers show as idle is a share of that and is
not read. Pseudo containers are what Kepler itself measures outside workloads. A pod has no UID here: it is known by
namespace and name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from pipeline.samples import Bools, Int64s, LegacySamples, Samples
from pipeline.starts import Starts
from pipeline.transforms.containers import RESTART, SEEN, Used, containers_of, fold_containers
from pipeline.transforms.counters import Intervals, StampIndex, merge
from pipeline.transforms.folded import Consumer, Folded, Marks, Name, Names
from pipeline.transforms.legacy_totals import in_joules, shares
from pipeline.transforms.metered import Metered
from pipeline.transforms.sockets import Parts, Summed, fold_parts
from pipeline.transforms.tails import out_of_bridge, within_bridge

COMPONENTS = ("package", "dram")
SYSTEM = ("system_processes", "kernel_processes")

Meter: TypeAlias = tuple[str, str]  # node, component


def fold_legacy(samples: LegacySamples, max_gap_ms: int, starts: Starts) -> Folded:
    """Joined intervals of node meters and of their pods.

    Where a node's idle energy is not exposed, `idle` has no intervals on its meters: unknown is not 0.

    Args:
        samples: as read, `max_gap` beyond both edges of what is wanted.
        max_gap_ms: the longest joined interval.
        starts: of pods.
    """
    meters = [meter for meter in _dynamic(samples.sockets) if meter[1] in COMPONENTS]
    nodes = sorted({node for node, _ in meters})
    number = {meter: i for i, meter in enumerate(meters)}
    summed = _sum(samples.sockets, number, [nodes.index(node) for node, _ in meters], max_gap_ms)
    metered = summed.metered
    containers = containers_of(
        samples.containers, [number.get((key[0], key[1]), -1) for key in _keys(samples.containers)]
    )
    used = [fold_containers(containers, summed, max_gap_ms, starts, SYSTEM)]
    if len(samples.totals.code):
        used += _fold_totals(samples, number, nodes, max_gap_ms, starts)
    consumers, intervals, tail, names = _pods(used)
    intervals, hidden = _within_bridge(intervals, tail == RESTART, consumers, metered)
    active, idle = out_of_bridge(metered, hidden)
    readings, restarted = metered.readings, metered.pair[metered.restarted] + 1
    nothing = np.zeros(0, dtype=np.int64)
    return Folded(
        meter=samples.meter,
        meters=meters,
        active=active,
        idle=idle,
        bridged=metered.bridged,
        consumers=consumers,
        used=intervals,
        tails=intervals.where(tail != SEEN),
        names=lambda _, hours: Names.always(names, len(consumers), hours),
        readings=Marks(readings.meter, readings.stamp_ms),
        restarts=Marks(readings.meter[restarted], readings.stamp_ms[restarted]),
        wraps=Marks(nothing, nothing),
        unplaced=summed.unplaced,
        unmetered=lambda _hour_ms: _unmetered(samples, number),
    )


def _keys(samples: Samples) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in samples.identity.to_pylist()]


def _dynamic(sockets: Samples) -> list[Meter]:
    """Components of nodes that have dynamic counters, sorted."""
    return sorted({(node, component) for node, component, mode, _ in _keys(sockets) if mode == "dynamic"})


def _sum(sockets: Samples, number: Mapping[Meter, int], node: Sequence[int], max_gap_ms: int) -> Summed:
    """Node meters, to which `number` gives components; counters of other components are left out."""
    keys = _keys(sockets)
    own = sorted({key for key in keys if (key[0], key[1]) in number})
    part = {key: i for i, key in enumerate(own)}
    code = np.array([part.get(key, -1) for key in keys], dtype=np.int64)[sockets.code]
    kept = (code >= 0) & _beside_dynamic(sockets)
    parts = Parts(
        counters=merge(code[kept], sockets.stamp_ms[kept], sockets.value[kept], sockets.name[kept]),
        meter=np.array([number[key[0], key[1]] for key in own], dtype=np.int64),
        is_idle=np.array([key[2] == "idle" for key in own], dtype=bool),
        node=np.array(node, dtype=np.int64),
    )
    return fold_parts(parts, max_gap_ms)


def _beside_dynamic(sockets: Samples) -> Bools:
    """Dynamic samples, and idle ones at scrapes that hold a dynamic one of the same component."""
    keys = _keys(sockets)
    number = {meter: i for i, meter in enumerate(_dynamic(sockets))}
    component = np.array([number.get((key[0], key[1]), -1) for key in keys], dtype=np.int64)[sockets.code]
    dynamic = np.array([key[2] == "dynamic" for key in keys], dtype=bool)[sockets.code]
    scrapes = np.unique(np.stack((component[dynamic], sockets.stamp_ms[dynamic])), axis=1)
    return np.asarray(dynamic | (StampIndex.of(scrapes[0], scrapes[1]).find(component, sockets.stamp_ms) >= 0))


def _fold_totals(
    samples: LegacySamples,
    number: Mapping[Meter, int],
    nodes: list[str],
    max_gap_ms: int,
    starts: Starts,
) -> list[Used]:
    """Containers of which only the sum over all components is known: measured by the node's sum, then split."""
    every = [meter for meter in _dynamic(samples.sockets) if meter[0] in nodes]
    of_meter = {meter: i for i, meter in enumerate(every)}
    whole = _sum(samples.sockets, {m: nodes.index(m[0]) for m in every}, range(len(nodes)), max_gap_ms)
    parts = _sum(samples.sockets, of_meter, [nodes.index(node) for node, _ in every], max_gap_ms)
    totals = in_joules(samples.totals, samples.versions)
    held = [nodes.index(key[0]) if key[0] in nodes else -1 for key in _keys(totals)]
    used = fold_containers(containers_of(totals, held), whole, max_gap_ms, starts, SYSTEM)
    components = [*COMPONENTS, *sorted({component for _, component in every} - set(COMPONENTS))]
    of_node = np.array([[of_meter.get((node, c), -1) for node in nodes] for c in components], dtype=np.int64)
    found = []
    for component, share in zip(COMPONENTS, shares(used, of_node, parts.metered), strict=False):
        meter = np.array([number.get((node, component), -1) for node in nodes], dtype=np.int64)[used.meter]
        there = (meter >= 0) & np.isfinite(share)
        part = replace(used, intervals=replace(used.intervals, joules=used.intervals.joules * share), meter=meter)
        found.append(part.where(there))
    return found


def _within_bridge(
    intervals: Intervals, restarted: Bools, consumers: Sequence[Consumer], metered: Metered
) -> tuple[Intervals, Intervals]:
    """All intervals, and what restarts hid of each node meter: at most its bridge, also where totals were split.

    A total may have scrapes that a component lacks: what such an interval hid is not told.
    """
    meter = np.array([consumer.meter for consumer in consumers], dtype=np.int64)[intervals.code]
    index = StampIndex.of(metered.readings.meter, metered.readings.stamp_ms)
    first, last = (index.find(meter, stamp_ms) for stamp_ms in (intervals.start_ms, intervals.end_ms))
    known = restarted & (first >= 0) & (last == first + 1)
    hidden = within_bridge(intervals.where(known), meter[known], metered)
    joules = np.where(restarted, 0.0, intervals.joules)
    joules[known] = hidden.joules
    return replace(intervals, joules=joules), replace(hidden, code=meter[known])


def _pods(used: Sequence[Used]) -> tuple[list[Consumer], Intervals, Int64s, dict[int, Name]]:
    """Containers of one pod are one consumer; pseudo containers are system; nameless ones stand for themselves."""
    names: dict[Consumer, Name | None] = {}
    of_interval: list[Consumer] = []
    for one in used:
        triples, which = np.unique(np.stack((one.meter, one.intervals.code, one.label)), axis=1, return_inverse=True)
        known = [(*one.containers.names, None)[label] for label in triples[2]]  # -1 is the last
        keys = [
            _consumer(int(meter), one.containers.ids[code], name)
            for meter, code, name in zip(triples[0], triples[1], known, strict=True)
        ]
        names |= dict(zip(keys, known, strict=True))
        of_interval += [keys[i] for i in which]
    consumers = sorted(names, key=str)
    number = {consumer: i for i, consumer in enumerate(consumers)}
    columns = [np.concatenate([getattr(one.intervals, f) for one in used]) for f in ("start_ms", "end_ms", "joules")]
    every = Intervals(np.array([number[consumer] for consumer in of_interval], dtype=np.int64), *columns)
    order = np.lexsort((every.start_ms, every.end_ms, every.code))
    in_order = Intervals(every.code[order], every.start_ms[order], every.end_ms[order], every.joules[order])
    tail = np.concatenate([one.tail for one in used])[order]
    return consumers, in_order, tail, {number[c]: name for c, name in names.items() if name is not None}


def _consumer(meter: int, container_id: str, name: Name | None) -> Consumer:
    if container_id in SYSTEM:
        return Consumer(meter, container_id, "system", workload=container_id)
    return Consumer(meter, container_id if name is None else f"{name[0]}/{name[1]}")


def _unmetered(samples: LegacySamples, number: Mapping[Meter, int]) -> list[str]:
    """Nodes with containers whose component, or any component, has no node counter."""
    lacking = {key[0] for key in _keys(samples.containers) if (key[0], key[1]) not in number}
    nodes = {node for node, _ in number}
    return sorted(lacking | {key[0] for key in _keys(samples.totals) if key[0] not in nodes})
