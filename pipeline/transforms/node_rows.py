"""Folded arrays become node_energy rows: what each node meter measured in each hour, and how it adds up."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import METHOD_VERSION
from pipeline.transforms.counters import StepGrid
from pipeline.transforms.folded import Marks
from pipeline.transforms.sheet import NODES, Sheet, filled
from pipeline.units import MS_PER_HOUR


def node_rows(sheet: Sheet, by_hour: StepGrid) -> pa.Table:
    """node_energy rows: of every meter read in an hour; joules are null where nothing could be joined."""
    read, restarted, wrapped = (
        _count(sheet, marks) for marks in (sheet.folded.readings, sheet.folded.restarts, sheet.folded.wraps)
    )
    hour, m = np.nonzero(((sheet.covered_ms > 0) | (read > 0)).T)
    places = list(zip(m.tolist(), hour.tolist(), strict=True))
    names = [sheet.folded.meters[meter] for meter, _ in places]
    unplaced = sheet.folded.unplaced(sheet.window.start_ms, sheet.window.hour_count)[m, hour]
    ratio = _cross_ratio(sheet, by_hour)[m, hour]
    crossed = ratio >= 0
    cross_name = sheet.folded.cross.name if sheet.folded.cross else None
    columns: dict[str, Any] = {
        "hour_utc": sheet.hours(hour),
        "cluster": pa.repeat(sheet.rules.cluster, len(m)),
        "node": [node for node, _ in names],
        "component": [component for _, component in names],
        **_balance(sheet, m, hour),
        "unplaced_joules": _where(unplaced, ~np.isnan(unplaced)),
        "coverage_ratio": sheet.covered_ms[m, hour] / MS_PER_HOUR,
        "expected_ratio": [
            _expected_ratio(sheet, sheet.folded.meters[meter][0], sheet.window.start_ms + index * MS_PER_HOUR)
            for meter, index in places
        ],
        "resets": restarted[m, hour].astype(np.int64),
        "wraps": wrapped[m, hour].astype(np.int64),
        "skews": np.zeros(len(m), dtype=np.int64),
        "meter": pa.repeat(sheet.folded.meter, len(m)),
        "cross_meter": [cross_name if one else None for one in crossed.tolist()],
        "cross_ratio": _where(ratio, crossed),
        "check": [sheet.check(meter, index) for meter, index in places],
        "method_version": pa.repeat(METHOD_VERSION, len(m)),
    }
    return filled(NODES, columns, len(m))


def _expected_ratio(sheet: Sheet, node: str, hour_ms: int) -> float:
    """By the first presence that saw the node in the hour: kube-state-metrics may itself have been silent."""
    seen = (p.expected_ratio(node, hour_ms, sheet.rules.max_gap_ms) for p in sheet.sightings if p.saw(node, hour_ms))
    return next(seen, 0.0)


def _balance(sheet: Sheet, m: Int64s, hour: Int64s) -> dict[str, "pa.Array[Any]"]:
    """The joules of node-hours, null where nothing was metered."""
    result, of = sheet.result, sheet.folded.consumer_meter
    parts = (result.active_joules, result.idle_joules, result.system_joules, result.bridged_joules)
    active, idle, system, bridged = (sheet.joules(part, m, hour).sum(axis=1) for part in parts)
    seen = sheet.covered_ms[m, hour] > 0
    workloads = _of_meters(sheet, result.used_joules[~sheet.folded.is_system], of[~sheet.folded.is_system])
    withheld = _of_meters(sheet, result.withheld_joules, of)
    residual = sheet.joules(result.residual_joules, m, hour).sum(axis=1)
    return {
        "metered_joules": _where(active + idle, seen),
        "workload_joules": _where(workloads[m, hour], seen),
        "system_joules": _where(system, seen),
        "idle_joules": _where(idle, sheet.idle_ms[m, hour] > 0),
        "residual_joules": _where(residual, seen & result.measured[m, hour]),  # null where system is the remainder
        "bridged_joules": pa.array(bridged),
        "quarantined_joules": pa.array(withheld[m, hour] + sheet.implausible_joules[m, hour]),
        "workload_scale": pa.array(result.scale[m, hour]),
    }


def _of_meters(sheet: Sheet, per_step: Floats, meter: Int64s) -> Floats:
    """Sums over consumers of each node meter; shape (meters, hours)."""
    hours = sheet.window.hour_count
    by_hour = per_step.reshape(len(per_step), hours, sheet.steps_per_hour).sum(axis=2)
    cell = meter[:, None] * hours + np.arange(hours)
    sums = np.bincount(cell.ravel(), by_hour.ravel(), minlength=len(sheet.folded.meters) * hours)
    return np.asarray(sums, dtype=np.float64).reshape(-1, hours)


def _cross_ratio(sheet: Sheet, by_hour: StepGrid) -> Floats:
    """Second meter over accounting meter per (meter, hour), NaN where they cannot be compared."""
    shape = sheet.covered_ms.shape
    cross = sheet.folded.cross
    if cross is None:
        return np.full(shape, np.nan)
    measured, compared = by_hour.spread(cross.measured, shape[0]), by_hour.spread(cross.compared, shape[0])
    known = (compared > 0) & (by_hour.cover(cross.unknown, shape[0]) == 0)
    ratio: Floats = np.divide(measured, compared, out=np.full(shape, np.nan), where=known)
    return ratio


def _count(sheet: Sheet, marks: Marks) -> Floats:
    """Marks per (meter, hour), a mark at an hour's end being of that hour."""
    meters, hours = sheet.covered_ms.shape
    hour = (marks.stamp_ms - 1 - sheet.window.start_ms) // MS_PER_HOUR
    inside = (hour >= 0) & (hour < hours)
    cell = marks.meter[inside] * hours + hour[inside]
    return np.bincount(cell, minlength=meters * hours).reshape(meters, hours).astype(np.float64)


def _where(values: Floats, known: Bools) -> "pa.Array[Any]":
    """Null where it is not known."""
    return pa.array(values, mask=~known)
