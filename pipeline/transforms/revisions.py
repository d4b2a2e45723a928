"""Which figures a rewritten hour changes, from what to what, and why: the rows of `revisions`.

One row per (hour_utc, cluster, namespace, component, kind) of which any emissions row appeared, vanished or changed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import changed, close, key_ids, match_rows, rows_at
from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import EMISSIONS, EMISSIONS_KEY, REVISIONS, TIMESTAMP, conform, values

GROUP = ("hour_utc", "cluster", "namespace", "component", "kind")
WHO_AND_WHEN = ("run_id", "revision")
COMPARED = tuple(name for name in EMISSIONS.names if name not in EMISSIONS_KEY and name not in WHO_AND_WHEN)
PUE_COLUMNS = ("pue_ratio", "pue_source")
INTENSITY_COLUMNS = (
    "carbon_intensity_g_per_kwh", "intensity_steps", "intensity_zone", "intensity_provider", "intensity_factor_type",
    "intensity_basis", "intensity_quality", "intensity_updated_utc",
)  # fmt: skip
MEASURED_COLUMNS = ("tail_joules", "coverage_ratio", "meter")


@dataclass(frozen=True)
class _Side:
    """One table with the figures of its groups; arrays have one element per group, NaN where null or without rows."""

    rows: pa.Table
    groups: Int64s
    joules: Floats
    pue: Floats
    intensity: Floats
    grams: Floats


@dataclass(frozen=True)
class _Changes:
    """Per group: how many rows differ, and in which kind of column any of the rows that stayed does."""

    rows: Int64s
    method: Bools
    pue: Bools
    intensity: Bools
    measured: Bools


def revision_rows(
    old: pa.Table,
    new: pa.Table,
    revisions: Mapping[datetime, int],
    reconfigured: frozenset[datetime],
    run_id: str,
    written_utc: datetime,
) -> pa.Table:
    """The `revisions` rows of hours whose emissions rows are replaced.

    `cause` is the first that holds: `method` (another method_version), `energy` (the joules differ), `config` (the same
    joules under another config digest), `pue`, `intensity` (value or provenance), `energy` again (coverage, meter or
    tails differ under equal sums), else `ownership`: the sums are equal and the rows are not.

    Args:
        old: EMISSIONS rows that are replaced, all of those hours.
        new: EMISSIONS rows that replace them.
        revisions: the new revision of each of those hours.
        reconfigured: the hours whose earlier commit had another config digest.
        run_id: of the run that writes.
        written_utc: when it writes.

    Returns:
        REVISIONS rows in key order. Intensity is weighted by facility energy, PUE by energy; a sum with a null in it is
        null, and so is the side of a group that has no rows.
    """
    if not old.num_rows and not new.num_rows:
        return REVISIONS.empty_table()
    old_groups, new_groups = key_ids([old, new], GROUP)
    count = int(max(old_groups.max(initial=0), new_groups.max(initial=0))) + 1
    before, after = _side(old, old_groups, count), _side(new, new_groups, count)
    changes, keys = _changes(before, after, count), _keys(before, after)
    is_reconfigured = pc.is_in(keys.column("hour_utc"), pa.array(reconfigured, TIMESTAMP)).to_numpy()
    figures = {
        "cause": pa.array(_causes(before, after, changes, is_reconfigured), pa.string()),
        **_figures("old", before),
        **_figures("new", after),
        "rows_changed": pa.array(changes.rows),
        "revision": pa.array([revisions[hour] for hour in values(keys, "hour_utc")], pa.int64()),
        "run_id": pa.array([run_id] * count, pa.string()),
        "written_utc": pa.array([written_utc] * count, TIMESTAMP),
    }
    rows = conform(pa.table([*keys.columns, *figures.values()], [*GROUP, *figures]), REVISIONS)
    return rows.filter(pa.array(changes.rows > 0)).sort_by([(name, "ascending") for name in GROUP])


def _side(rows: pa.Table, groups: Int64s, count: int) -> _Side:
    order = np.argsort(groups, kind="stable")
    edges = np.searchsorted(groups[order], np.arange(count + 1))
    joules, pue, kwh, intensity, grams = (
        rows.column(name).to_numpy().astype(np.float64)[order]
        for name in (
            "energy_joules",
            "pue_ratio",
            "facility_energy_kwh",
            "carbon_intensity_g_per_kwh",
            "emissions_gco2e",
        )
    )
    figures = np.full((4, count), np.nan)
    for group in range(count):
        part = slice(edges[group], edges[group + 1])
        if part.start < part.stop:
            figures[:, group] = (
                math.fsum(joules[part]),
                _weighted(pue[part], joules[part]),
                _weighted(intensity[part], kwh[part]),
                math.fsum(grams[part]),
            )
    return _Side(rows, groups, *figures)


def _weighted(values: Floats, weights: Floats) -> float:
    """The mean of `values` by `weights`; the plain value where nothing weighs; NaN if a weighing one is null."""
    weighing = weights != 0
    if not weighing.any():
        return float(values[0]) if (values == values[0]).all() else math.nan
    values, weights = values[weighing], weights[weighing]
    if (values == values[0]).all():
        return float(values[0])  # no rounding where there is nothing to average
    return math.fsum(values * weights) / math.fsum(weights)


def _changes(before: _Side, after: _Side, count: int) -> _Changes:
    matching = match_rows(before.rows, after.rows, EMISSIONS_KEY)
    old, new = rows_at(before.rows, matching.old), rows_at(after.rows, matching.new)
    groups = before.groups[matching.old]
    different = groups[changed(old, new, COMPARED)]
    alone = np.concatenate([before.groups[matching.vanished], after.groups[matching.appeared]])

    def touched(columns: tuple[str, ...]) -> Bools:
        return np.bincount(groups[changed(old, new, columns)], minlength=count) > 0

    rows = np.bincount(np.concatenate([different, alone]), minlength=count).astype(np.int64)
    method = _method_differs(before, after, count)
    return _Changes(rows, method, touched(PUE_COLUMNS), touched(INTENSITY_COLUMNS), touched(MEASURED_COLUMNS))


def _method_differs(before: _Side, after: _Side, count: int) -> Bools:
    """Groups with rows on both sides, of different method_version (an hour is written by one method)."""
    versions = np.full((2, count), -1, dtype=np.int64)
    for version, side, ids in zip(
        versions, (before, after), key_ids([before.rows, after.rows], ["method_version"]), strict=True
    ):
        np.maximum.at(version, side.groups, ids)
    return np.asarray((versions[0] != versions[1]) & (versions >= 0).all(axis=0), dtype=np.bool_)


def _causes(before: _Side, after: _Side, changes: _Changes, reconfigured: Bools) -> list[str]:
    choices = (
        (changes.method, "method"),
        (~close(before.joules, after.joules), "energy"),
        (reconfigured, "config"),
        (changes.pue | ~close(before.pue, after.pue), "pue"),
        (changes.intensity | ~close(before.intensity, after.intensity), "intensity"),
        (changes.measured, "energy"),
    )
    conditions = [np.asarray(condition, dtype=np.bool_) for condition, _ in choices]
    return [str(cause) for cause in np.select(conditions, [cause for _, cause in choices], default="ownership")]


def _keys(before: _Side, after: _Side) -> pa.Table:
    """The key columns of each group, in the order of its number."""
    keys = pa.concat_tables([before.rows.select(GROUP), after.rows.select(GROUP)])
    groups = np.concatenate([before.groups, after.groups])
    _, first = np.unique(groups, return_index=True)
    return keys.take(first)


def _figures(prefix: str, side: _Side) -> "dict[str, pa.Array[Any]]":
    """The figures of one side as columns."""
    figures = {
        "energy_joules": side.joules,
        "pue_ratio": side.pue,
        "carbon_intensity_g_per_kwh": side.intensity,
        "emissions_gco2e": side.grams,
    }
    return {f"{prefix}_{name}": pa.array(column, from_pandas=True) for name, column in figures.items()}
