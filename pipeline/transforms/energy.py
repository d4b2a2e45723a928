"""Samples of a window become its energy rows: what each workload, the system and idleness used, node by node.

One row per (hour, node, component, kind, workload identity) and one `node_energy` row per (hour, node, component). Not
priced yet: `emissions.price` adds the rest of the columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import MeterSamples
from pipeline.transforms.attribution import fold_workloads, reconcile
from pipeline.transforms.counters import StepGrid
from pipeline.transforms.coverage import Presence
from pipeline.transforms.metered import fold_meters
from pipeline.transforms.owners import Owners
from pipeline.transforms.readings import Aligned, align
from pipeline.transforms.sheet import ENERGY, NODES, WITHHELD, FoldRules, Sheet
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import Window


@dataclass(frozen=True, slots=True)
class Energy:
    """What a fold yields.

    Attributes:
        rows: schema ENERGY, the emissions table before its price.
        nodes: schema NODES, the node_energy table before its commit.
        withheld: schema WITHHELD, workload rows of node-hours that failed their check.
        unmetered: nodes whose workloads cannot be counted, because the node's own counters are missing.
    """

    rows: pa.Table
    nodes: pa.Table
    withheld: pa.Table
    unmetered: list[str]


def join(parts: Sequence[Energy]) -> Energy:
    """Folds of different hours as one; at least one part."""
    return Energy(
        rows=pa.concat_tables([part.rows for part in parts]),
        nodes=pa.concat_tables([part.nodes for part in parts]),
        withheld=pa.concat_tables([part.withheld for part in parts]),
        unmetered=sorted({node for part in parts for node in part.unmetered}),
    )


NOTHING = Energy(ENERGY.empty_table(), NODES.empty_table(), WITHHELD.empty_table(), [])


def fold(
    samples: MeterSamples,
    window: Window,
    rules: FoldRules,
    owners: Owners,
    started_ms: dict[str, int],
    presence: Presence | None,
) -> Energy:
    """Energy of all whole hours of `window`, from samples that reach `max_gap` beyond both its edges.

    Where `presence` did not see a node in an hour, the meter's own scrapes tell when it was there.
    """
    aligned = align(samples, started_ms)
    metered = fold_meters(aligned.readings, rules.max_gap_ms)
    hours = window.hour_count
    grid = StepGrid(window.start_ms, rules.step_minutes * MS_PER_MINUTE, hours * 60 // rules.step_minutes)
    by_hour = StepGrid(window.start_ms, MS_PER_HOUR, hours)
    intervals = fold_workloads(aligned.workloads, metered, rules.max_gap_ms)
    meters = len(aligned.meters)
    active, idle, bridged = (grid.spread(part, meters) for part in (metered.active, metered.idle, metered.bridged))
    of_workloads = grid.spread(intervals, len(aligned.uids))
    result = reconcile(of_workloads, aligned.workloads.meter, active, idle, bridged, hours)
    covered_ms = by_hour.cover(metered.active, meters)
    sheet = Sheet(
        samples.meter, aligned, metered, result, rules, window, owners,
        covered_ms=covered_ms,
        workload_ms=by_hour.cover(intervals, len(aligned.uids)),
        sightings=(*([presence] if presence else []), _own_presence(aligned)),
    )  # fmt: skip
    energy, withheld = sheet.rows()
    return Energy(energy, sheet.nodes(by_hour), withheld, aligned.unmetered)


def _own_presence(aligned: Aligned) -> Presence:
    """Nodes as their own meters saw them."""
    seen = np.unique(np.stack((aligned.readings.node[aligned.readings.meter], aligned.readings.stamp_ms)), axis=1)
    edges = np.searchsorted(seen[0], np.arange(len(aligned.nodes) + 1))
    return Presence({node: seen[1, edges[i] : edges[i + 1]] for i, node in enumerate(aligned.nodes)}, {})
