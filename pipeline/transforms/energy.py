"""Samples of a window become its energy rows: what each workload, the system and idleness used, node by node.

One row per (hour, node, component, kind, workload identity) and one `node_energy` row per (hour, node, component). Not
priced yet: `emissions.price` adds the rest of the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from pipeline.checks import Check, Remark
from pipeline.samples import Bools, Floats, Int64s, MeterSamples
from pipeline.starts import Starts
from pipeline.transforms.attribution import fold_outside, fold_workloads
from pipeline.transforms.counters import SPAN, Intervals, StepGrid, joined_intervals
from pipeline.transforms.coverage import Presence
from pipeline.transforms.folded import Consumer, Cross, Folded, Marks
from pipeline.transforms.metered import fold_meters, unplaced_joules
from pipeline.transforms.names import names_by_hour
from pipeline.transforms.node_rows import node_rows
from pipeline.transforms.owners import Owners
from pipeline.transforms.processes import PROCESS_ROWS
from pipeline.transforms.quarantine import implausible_joules, implausible_rows
from pipeline.transforms.readings import HOST_PROCESSES, Aligned, align, unmetered
from pipeline.transforms.reconciliation import reconcile
from pipeline.transforms.sheet import ENERGY, NODES, WITHHELD, FoldRules, Sheet
from pipeline.transforms.tails import estimate_tails
from pipeline.transforms.zones import accounting, component_of, whole_hours
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import Window, to_ms


@dataclass(frozen=True, slots=True)
class Energy:
    """What a fold yields.

    Attributes:
        rows: schema ENERGY, the emissions table before its price.
        nodes: schema NODES, the node_energy table before its commit.
        withheld: schema WITHHELD, workload rows of node-hours that failed their check.
        unmetered: hours of nodes whose workloads cannot be counted, as the node's own counters are missing; sorted.
        processes: schema PROCESS_ROWS, detail beside the rows and never summed with them.
        faults: what a meter is known to get wrong, looked for in its samples.
        remarks: what was decided about node-hours beyond their own samples.
    """

    rows: pa.Table
    nodes: pa.Table
    withheld: pa.Table
    unmetered: list[tuple[datetime, str]]
    processes: pa.Table = field(default_factory=PROCESS_ROWS.empty_table)
    faults: tuple[Check, ...] = ()
    remarks: tuple[Remark, ...] = ()


def join(parts: Sequence[Energy]) -> Energy:
    """Folds of different hours as one; at least one part."""
    return Energy(
        rows=pa.concat_tables([part.rows for part in parts]),
        nodes=pa.concat_tables([part.nodes for part in parts]),
        withheld=pa.concat_tables([part.withheld for part in parts]),
        unmetered=sorted({hour_and_node for part in parts for hour_and_node in part.unmetered}),
        processes=pa.concat_tables([part.processes for part in parts]),
        faults=tuple(fault for part in parts for fault in part.faults),
        remarks=tuple(remark for part in parts for remark in part.remarks),
    )


REGISTER = "kepler_node_cpu_joules_total"
NOTHING = Energy(ENERGY.empty_table(), NODES.empty_table(), WITHHELD.empty_table(), [])


def fold(
    samples: MeterSamples,
    window: Window,
    rules: FoldRules,
    owners: Sequence[Owners],
    started_ms: dict[str, int],
    presence: Presence | None,
) -> Energy:
    """Energy of all whole hours of `window` by a meter of counters, from samples `max_gap` beyond both its edges.

    Where `presence` did not see a node in an hour, the meter's own scrapes tell when it was there. `owners` are of each
    hour.
    """
    return book(fold_counters(samples, rules.max_gap_ms, Starts.always(started_ms)), window, rules, owners, presence)


def fold_counters(samples: MeterSamples, max_gap_ms: int, starts: Starts) -> Folded:
    """A meter of active, idle and workload counters, folded.

    Where the samples tell what runs outside workloads (`KeplerSamples`), that is a consumer of kind `system` in hours
    in which it was read throughout.
    """
    aligned = align(samples, starts)
    metered = fold_meters(aligned.readings, max_gap_ms)
    readings, restarted = metered.readings, metered.pair[metered.restarted] + 1
    read = Marks(readings.meter, readings.stamp_ms)
    counts = accounting(aligned.meters, metered.active, metered.idle, read)
    placed = fold_workloads(aligned.workloads, metered, max_gap_ms)
    host = fold_outside(aligned.outside, aligned.is_process, metered, placed.joules, max_gap_ms)
    tails = estimate_tails(aligned.workloads, aligned.final, metered, placed, host, max_gap_ms)
    active, idle = tails.out_of_bridge(metered, aligned.workloads.meter)
    throughout = whole_hours(host, metered.active, read, len(aligned.meters))
    consumers, used = _consumers(aligned, joined_intervals(placed.intervals, tails.all), throughout.clip(host))
    meter = np.array([consumer.meter for consumer in consumers], dtype=np.int64)
    estimated = aligned.by_consumer(tails.all)
    return Folded(
        meter=samples.meter,
        meters=[(node, component_of(zone)) for node, zone in aligned.meters],
        active=counts.clip(active),
        idle=counts.clip(idle),
        bridged=counts.clip(metered.bridged),
        consumers=consumers,
        used=counts.clip(used, meter),
        tails=counts.clip(estimated, meter),
        names=lambda start_ms, hours: names_by_hour(aligned, start_ms, hours, max_gap_ms),
        readings=counts.marks(read),
        restarts=counts.marks(Marks(readings.meter[restarted], readings.stamp_ms[restarted])),
        wraps=counts.marks(Marks(metered.wrapped.code, metered.wrapped.end_ms)),
        unplaced=lambda start_ms, hours: unplaced_joules(readings, metered, start_ms, hours, max_gap_ms),
        cross=Cross(REGISTER, *(counts.clip(part) for part in (metered.raw, metered.compared, metered.unknown))),
        unmetered=lambda hour_ms: unmetered(aligned, hour_ms, max_gap_ms),
    )


def _consumers(aligned: Aligned, used: Intervals, host: Intervals) -> tuple[list[Consumer], Intervals]:
    """Everybody who used energy, those outside workloads last, and their intervals."""
    used = aligned.by_consumer(used)
    if len(host.code) == 0:
        return aligned.consumers, used
    meters, code = np.unique(host.code, return_inverse=True)
    consumers = [*aligned.consumers, *(Consumer(meter, HOST_PROCESSES, kind="system") for meter in meters.tolist())]
    return consumers, joined_intervals(used, replace(host, code=code.astype(np.int64) + len(aligned.consumers)))


def book(
    folded: Folded,
    window: Window,
    rules: FoldRules,
    owners: Sequence[Owners],
    presence: Presence | None,
    anyone_ms: Int64s | None = None,
) -> Energy:
    """A folded meter's intervals as rows: spread over steps, reconciled, named by the owners of each hour.

    `anyone_ms` tells when the meter was read on any node, if `folded` is of some only.
    """
    hours = window.hour_count
    grid = StepGrid(window.start_ms, rules.step_minutes * MS_PER_MINUTE, hours * 60 // rules.step_minutes)
    by_hour = StepGrid(window.start_ms, MS_PER_HOUR, hours)
    meters, consumers = len(folded.meters), len(folded.consumers)
    active, idle, bridged = (grid.spread(part, meters) for part in (folded.active, folded.idle, folded.bridged))
    used, used_ms = grid.spread_and_cover(folded.used, consumers)
    used_ms = used_ms.reshape(consumers, hours, 60 // rules.step_minutes).sum(axis=2)
    result = reconcile(used, folded.consumer_meter, folded.is_system, _measured(folded, used_ms), active, idle, bridged)
    sheet = Sheet(
        folded, rules, window, owners,
        result=result,
        tail_joules=_tails(folded, grid, used, result.used_joules),
        covered_ms=by_hour.cover(folded.active, meters),
        idle_ms=by_hour.cover(folded.idle, meters),
        used_ms=used_ms,
        sightings=(*([presence] if presence else []), _own_presence(folded, anyone_ms)),
        implausible_joules=implausible_joules(folded, by_hour),
    )  # fmt: skip
    rows, withheld = sheet.rows()
    quarantined = pa.concat_tables([withheld, implausible_rows(sheet)])
    missing = [(hour, node) for hour in window.hours() for node in folded.unmetered(to_ms(hour))]
    return Energy(rows, node_rows(sheet, by_hour), quarantined, missing)


def _tails(folded: Folded, grid: StepGrid, used: Floats, kept: Floats) -> Floats:
    """The estimated part of what consumers are left with; shape (consumers, steps)."""
    if folded.tails is None:
        return np.zeros_like(used)
    share = np.divide(kept, used, out=np.zeros_like(used), where=used > 0)
    return grid.spread(folded.tails, len(folded.consumers)) * share


def _measured(folded: Folded, used_ms: Floats) -> Bools:
    """Hours in which a node meter has system consumers of its own; shape (meters, hours)."""
    measured = np.zeros((len(folded.meters), used_ms.shape[1]), dtype=bool)
    for consumer in np.flatnonzero(folded.is_system):
        measured[folded.consumers[consumer].meter] |= used_ms[consumer] > 0
    return measured


def _own_presence(folded: Folded, anyone_ms: Int64s | None) -> Presence:
    """Nodes as their own meters saw them."""
    names = sorted({node for node, _ in folded.meters})
    number = {name: i for i, name in enumerate(names)}
    node = np.array([number[name] for name, _ in folded.meters], dtype=np.int64)
    stamp_ms = folded.readings.stamp_ms
    first_ms = int(stamp_ms.min()) if len(stamp_ms) else 0
    keys = np.unique(node[folded.readings.meter] * SPAN + (stamp_ms - first_ms))
    edges = np.searchsorted(keys, np.arange(len(names) + 1) * SPAN)
    own = {name: keys[edges[i] : edges[i + 1]] - i * SPAN + first_ms for i, name in enumerate(names)}
    return Presence(own, {}, anyone_ms)
