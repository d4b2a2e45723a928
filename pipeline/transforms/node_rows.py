"""Folded arrays become node_energy rows: what each node meter measured in each hour, and how it adds up."""

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import StepGrid
from pipeline.transforms.folded import Marks
from pipeline.transforms.identities import texts
from pipeline.transforms.sheet import NODES, Sheet, filled
from pipeline.units import MS_PER_HOUR


def node_rows(sheet: Sheet, by_hour: StepGrid) -> pa.Table:
    """node_energy rows: of every meter read in an hour; joules are null where nothing could be joined."""
    read, restarted, wrapped = (
        _count(sheet, marks) for marks in (sheet.folded.readings, sheet.folded.restarts, sheet.folded.wraps)
    )
    hour, m = np.nonzero(((sheet.covered_ms > 0) | (read > 0)).T)
    unplaced = sheet.folded.unplaced(sheet.window.start_ms, sheet.window.hour_count)[m, hour]
    ratio = _cross_ratio(sheet, by_hour)[m, hour]
    crossed = ratio >= 0
    cross_name = sheet.folded.cross.name if sheet.folded.cross else None
    columns: dict[str, Any] = {
        **sheet.places(hour, m),
        **_balance(sheet, m, hour),
        "unplaced_joules": _where(unplaced, ~np.isnan(unplaced)),
        "coverage_ratio": sheet.covered_ms[m, hour] / MS_PER_HOUR,
        "expected_ratio": _expected_ratios(sheet)[m, hour],
        "resets": restarted[m, hour].astype(np.int64),
        "wraps": wrapped[m, hour].astype(np.int64),
        "skews": np.zeros(len(m), dtype=np.int64),
        "cross_meter": texts([cross_name], np.where(crossed, 0, -1)),
        "cross_ratio": _where(ratio, crossed),
        "check": sheet.checks(m, hour),
    }
    return filled(NODES, columns, len(m))


def _expected_ratios(sheet: Sheet) -> Floats:
    """By the first presence that saw a node in an hour: kube-state-metrics may itself have been silent.

    Shape (meters, hours).
    """
    hours_ms = sheet.window.start_ms + MS_PER_HOUR * np.arange(sheet.window.hour_count)
    of_node: dict[str, Floats] = {}
    for node in {node for node, _ in sheet.folded.meters}:
        ratios = np.full(len(hours_ms), np.nan)
        for sighting in sheet.sightings:
            ratios = np.where(
                np.isnan(ratios), sighting.expected_ratios(node, hours_ms, sheet.rules.max_gap_ms), ratios
            )
        of_node[node] = np.nan_to_num(ratios)
    return np.array([of_node[node] for node, _ in sheet.folded.meters]).reshape(-1, len(hours_ms))


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
