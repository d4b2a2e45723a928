"""A meter's samples lined up: node counters scrape by scrape, workload counters beside them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Bools, Floats, Int64s, KeplerSamples, MeterSamples, Samples
from pipeline.starts import UNKNOWN, Starts
from pipeline.transforms.attribution import Workloads
from pipeline.transforms.counters import Counters, Intervals, StampIndex, merge
from pipeline.transforms.folded import Consumer
from pipeline.transforms.metered import NodeReadings
from pipeline.units import MS_PER_HOUR

GUEST_KIND = "VirtualMachine"
HOST_PROCESSES = "host_processes"

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Aligned:
    """Everything a fold reads, numbered consistently.

    Attributes:
        nodes: node names, sorted; `readings.node` points into it.
        meters: (node, component) of each meter, sorted; a component may be `other/<zone>`.
        readings: the node counters.
        workloads: the workload counters on metered nodes.
        consumers: whose they are.
        consumer: the consumer of each workload counter: of several runs of one container, or of a guest, one.
        names: (namespace, pod) rows that `workloads.counters.label` points into.
        final: of those rows, which may belong to last totals: nothing of a workload is unseen after them.
        outside: the counters of what runs outside workloads on metered nodes, where the meter shows it.
        is_process: which of those are processes (indexed like them).
        bare: nodes that have workload counters but no readable node counters at all: when those were seen.
    """

    nodes: list[str]
    meters: list[tuple[str, str]]
    readings: NodeReadings
    workloads: Workloads
    consumers: list[Consumer]
    consumer: Int64s
    names: list[tuple[str | None, str | None]]
    final: Bools
    outside: Workloads
    is_process: Bools
    bare: Mapping[str, Int64s]

    def by_consumer(self, used: Intervals) -> Intervals:
        """Intervals of workload counters as those of consumers."""
        own = np.array_equal(self.consumer, np.arange(len(self.consumer)))
        return used if own else replace(used, code=self.consumer[used.code])


def align(samples: MeterSamples, starts: Starts) -> Aligned:
    """Number meters and workloads in sorted order and merge each counter's label sets.

    A scrape counts for a meter only if both its accounting counters were seen: metered energy is their sum.
    """
    pairs = set(_keys(samples.active)) & set(_keys(samples.idle))
    meters = sorted((str(node), str(component)) for node, component in pairs)
    nodes = sorted({node for node, _ in meters})
    meter_of: dict[Key, int] = {key: i for i, key in enumerate(meters)}
    readings = _readings(samples, meter_of, np.array([nodes.index(node) for node, _ in meters], dtype=np.int64))
    names, final, workloads = _ranked_names(samples.workloads)
    guests, outside = _beside_pods(samples, len(names))
    counted = _counted(workloads, meter_of, _pod_or_container, starts)
    counted_guests = _counted(guests, meter_of, _guest, UNKNOWN)
    counted_outside = _counted(outside, meter_of, _host, UNKNOWN)
    of_counter = counted.consumers + counted_guests.consumers
    consumers = list(dict.fromkeys(of_counter))
    number = {consumer: i for i, consumer in enumerate(consumers)}
    return Aligned(
        nodes=nodes,
        meters=meters,
        readings=readings,
        workloads=_one_after_the_other(counted.workloads, counted_guests.workloads),
        consumers=consumers,
        consumer=np.array([number[consumer] for consumer in of_counter], dtype=np.int64),
        names=[*names, (None, None)],
        final=np.array([*final, True], dtype=bool),  # of a guest's state nothing is known
        outside=counted_outside.workloads,
        is_process=np.array([key[2] == "process" for key in counted_outside.keys], dtype=bool),
        bare=_bare(samples.workloads, meter_of),
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """Counters on metered nodes: their keys and consumers, one a counter."""

    workloads: Workloads
    keys: list[Key]
    consumers: list[Consumer]


def _counted(
    samples: Samples,
    meter_of: Mapping[Key, int],
    consumer_of: Callable[[int, Key], Consumer],
    starts: Starts,
) -> _Counted:
    every = _keys(samples)
    keys = _ordered([key for key in every if key[:2] in meter_of])
    number = {key: i for i, key in enumerate(keys)}
    row = starts.rows([str(key[2]) for key in keys])
    workloads = Workloads(
        counters=_merge(samples, [number.get(key, -1) for key in every]),
        meter=np.array([meter_of[key[:2]] for key in keys], dtype=np.int64),
        started_ms=lambda code, start_ms, end_ms: starts.of(row[code], start_ms, end_ms),
    )
    return _Counted(workloads, keys, [consumer_of(meter_of[key[:2]], key) for key in keys])


def _ordered(keys: list[Key]) -> list[Key]:
    """Always in the same order, whatever they came in; some have nulls."""
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=str)


def _pod_or_container(meter: int, key: Key) -> Consumer:
    return Consumer(meter, str(key[2]), container=key[3] if len(key) > 3 else None)


def _guest(meter: int, key: Key) -> Consumer:
    """By its name: it stays when the hypervisor gives a new id."""
    return Consumer(meter, key[3], workload_kind=GUEST_KIND, workload=key[3])


def _host(meter: int, _key: Key) -> Consumer:
    return Consumer(meter, HOST_PROCESSES, kind="system")


def _beside_pods(samples: MeterSamples, nameless: int) -> tuple[Samples, Samples]:
    """Guests, under the name numbered `nameless`, and what is outside workloads; of neither any where none is shown."""
    if isinstance(samples, KeplerSamples):
        guests = samples.guests
        return replace(guests, name=np.full(len(guests.code), nameless, dtype=np.int64)), samples.outside
    none = np.zeros(0, dtype=np.int64)
    nothing = Samples(samples.workloads.identity.slice(0, 0), samples.workloads.names, none, none, none, np.zeros(0))
    return nothing, nothing


def _one_after_the_other(one: Workloads, other: Workloads) -> Workloads:
    first, second, count = one.counters, other.counters, len(one.meter)
    if len(other.meter) == 0:
        return one

    def started_ms(code: Int64s, start_ms: Int64s, end_ms: Int64s) -> Floats:
        found = np.full(len(code), np.nan)
        for part, own, begin in ((one, code < count, 0), (other, code >= count, count)):
            found[own] = part.started_ms(code[own] - begin, start_ms[own], end_ms[own])
        return found

    return Workloads(
        counters=Counters(
            code=np.concatenate((first.code, second.code + len(one.meter))),
            stamp_ms=np.concatenate((first.stamp_ms, second.stamp_ms)),
            value=np.concatenate((first.value, second.value)),
            label=np.concatenate((first.label, second.label)),
        ),
        meter=np.concatenate((one.meter, other.meter)),
        started_ms=started_ms,
    )


def _keys(samples: Samples) -> list[Key]:
    return list(zip(*(column.to_pylist() for column in samples.identity.columns), strict=True))


def _ranked_names(samples: Samples) -> tuple[list[tuple[str | None, str | None]], list[bool], Samples]:
    """Names numbered by what they say, not by arrival, full ones last: of equal values at a stamp the last counts."""
    rows = samples.names.to_pylist()
    names = [(row["namespace"], row["pod"]) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (None not in names[i], str(names[i]), str(rows[i])))
    rank = np.argsort(np.array(order, dtype=np.int64))
    final = [rows[i].get("state", "terminated") == "terminated" for i in order]  # where no state is told: perhaps
    return [names[i] for i in order], final, replace(samples, name=rank[samples.name])


def _merge(samples: Samples, renumber: list[int]) -> Counters:
    """One counter a new number; samples renumbered to -1 are left out."""
    code = np.array(renumber, dtype=np.int64)[samples.code] if renumber else samples.code
    if len(code) == 0 or code.min() >= 0:
        return merge(code, samples.stamp_ms, samples.value, samples.name)
    kept = code >= 0
    return merge(code[kept], samples.stamp_ms[kept], samples.value[kept], samples.name[kept])


def _readings(samples: MeterSamples, meter_of: Mapping[Key, int], node: Int64s) -> NodeReadings:
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
        ranges_joules=[tuple(samples.raw_ranges_joules.get(component, ())) for _, component in meter_of],
    )


def _bare(workloads: Samples, meter_of: Mapping[Key, int]) -> dict[str, Int64s]:
    keys = _keys(workloads)
    found = {str(key[0]) for key in keys if key[:2] not in meter_of}
    own = {
        node: [code for code, key in enumerate(keys) if key[0] == node and key[:2] not in meter_of] for node in found
    }
    return {node: workloads.stamp_ms[np.isin(workloads.code, codes)] for node, codes in own.items()}


def unmetered(aligned: Aligned, hour_ms: int, max_gap_ms: int) -> list[str]:
    """Nodes with workload counters, but without readings of their own, in an hour and `max_gap_ms` around it."""
    readings, counters = aligned.readings, aligned.workloads.counters
    first_ms, last_ms = hour_ms - max_gap_ms - 1, hour_ms + MS_PER_HOUR + max_gap_ms
    meters = np.arange(len(aligned.meters))
    index = StampIndex.of(readings.meter, readings.stamp_ms)
    before, upto = (index.count_to(meters, np.full(len(meters), edge)) for edge in (first_ms - 1, last_ms))
    silent = before == upto
    found = {node for node, at in aligned.bare.items() if ((at >= first_ms) & (at <= last_ms)).any()}
    for counter in np.flatnonzero(silent[aligned.workloads.meter]).tolist():
        node, _ = aligned.meters[aligned.workloads.meter[counter]]
        if node not in found:
            begin, end = np.searchsorted(counters.code, (counter, counter + 1))
            stamps = counters.stamp_ms[begin:end]
            if ((stamps >= first_ms) & (stamps <= last_ms)).any():
                found.add(node)
    return sorted(found)
