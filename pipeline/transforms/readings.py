"""A meter's samples lined up: node counters scrape by scrape, workload counters beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Int64s, MeterSamples, Samples
from pipeline.transforms.attribution import Workloads
from pipeline.transforms.counters import Counters, StampIndex, merge
from pipeline.transforms.metered import NodeReadings
from pipeline.units import MS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Aligned:
    """Everything a fold reads, numbered consistently.

    Attributes:
        nodes: node names, sorted; `readings.node` points into it.
        meters: (node, component) of each meter, sorted.
        readings: the node counters.
        workloads: the workload counters on metered nodes.
        uids: workload uid of each workload.
        names: (namespace, pod) rows that `workloads.counters.label` points into.
        unmetered: nodes that have workload counters but no readable node counters, sorted.
    """

    nodes: list[str]
    meters: list[tuple[str, str]]
    readings: NodeReadings
    workloads: Workloads
    uids: list[str]
    names: list[tuple[str | None, str | None]]
    unmetered: list[str]


def align(samples: MeterSamples, started_ms: Mapping[str, int]) -> Aligned:
    """Number meters and workloads in sorted order and merge each counter's label sets.

    A scrape counts for a meter only if both its accounting counters were seen: metered energy is their sum.
    """
    pairs = set(_keys(samples.active)) & set(_keys(samples.idle))
    meters = sorted((str(node), str(component)) for node, component in pairs)
    nodes = sorted({node for node, _ in meters})
    meter_of: dict[tuple[str, ...], int] = {key: i for i, key in enumerate(meters)}
    readings = _readings(samples, meter_of, np.array([nodes.index(node) for node, _ in meters], dtype=np.int64))

    workload_keys = _keys(samples.workloads)
    metered = sorted((k for k in workload_keys if k[:2] in meter_of), key=str)
    workload_of = {key: i for i, key in enumerate(metered)}
    names, workloads = _ranked_names(samples.workloads)
    counters = _merge(workloads, [workload_of.get(key, -1) for key in workload_keys])
    uids = [str(key[2]) for key in metered]
    return Aligned(
        nodes=nodes,
        meters=meters,
        readings=readings,
        workloads=Workloads(
            counters=counters,
            meter=np.array([meter_of[key[:2]] for key in metered], dtype=np.int64),
            started_ms=np.array([started_ms.get(uid, np.nan) for uid in uids], dtype=np.float64),
        ),
        uids=uids,
        names=names,
        unmetered=sorted({str(k[0]) for k in workload_keys if k[:2] not in meter_of}),
    )


def _keys(samples: Samples) -> list[tuple[str, ...]]:
    return [tuple(row.values()) for row in samples.identity.to_pylist()]


def _ranked_names(samples: Samples) -> tuple[list[tuple[str | None, str | None]], Samples]:
    """Names numbered by what they say, not by arrival, full ones last: of equal values at a stamp the last counts."""
    names = [(row["namespace"], row["pod"]) for row in samples.names.to_pylist()]
    order = sorted(range(len(names)), key=lambda i: (None not in names[i], str(names[i])))
    rank = np.argsort(np.array(order, dtype=np.int64))
    return [names[i] for i in order], replace(samples, name=rank[samples.name])


def _merge(samples: Samples, renumber: list[int]) -> Counters:
    """One counter a new number; samples renumbered to -1 are left out."""
    code = np.array(renumber, dtype=np.int64)[samples.code] if renumber else samples.code
    kept = code >= 0
    return merge(code[kept], samples.stamp_ms[kept], samples.value[kept], samples.name[kept])


def _readings(samples: MeterSamples, meter_of: Mapping[tuple[str, ...], int], node: Int64s) -> NodeReadings:
    active, idle, raw = (
        _merge(part, [meter_of.get(key, -1) for key in _keys(part)])
        for part in (samples.active, samples.idle, samples.raw)
    )
    idle_at = StampIndex.of(idle.code, idle.stamp_ms).find(active.code, active.stamp_ms)
    both = idle_at >= 0
    code, stamp = active.code[both], active.stamp_ms[both]
    raw_at = StampIndex.of(raw.code, raw.stamp_ms).find(code, stamp)
    raw_value = np.append(raw.value, np.nan)  # position -1 reads the NaN
    return NodeReadings(
        meter=code,
        stamp_ms=stamp,
        active_joules=active.value[both],
        idle_joules=idle.value[idle_at[both]],
        raw_joules=raw_value[raw_at],
        node=node,
        ranges_joules=[tuple(samples.raw_ranges_joules[component]) for _, component in meter_of],
    )


def names_by_hour(aligned: Aligned, hour_end_ms: int, max_gap_ms: int) -> dict[int, tuple[str | None, str | None]]:
    """(namespace, pod) of each workload as of an hour: the latest full names seen up to `max_gap_ms` after it.

    Workloads none of whose samples in `(hour start, hour end + max_gap]` carry names are (None, None).
    """
    counters = aligned.workloads.counters
    inside = (counters.stamp_ms > hour_end_ms - MS_PER_HOUR) & (counters.stamp_ms <= hour_end_ms + max_gap_ms)
    full = np.array([namespace is not None and pod is not None for namespace, pod in aligned.names], dtype=bool)
    named = np.flatnonzero(inside & full[counters.label]) if len(full) else np.zeros(0, dtype=np.int64)
    last = named[np.append(counters.code[named][1:] != counters.code[named][:-1], True)] if len(named) else named
    return {int(counters.code[i]): aligned.names[counters.label[i]] for i in last}
