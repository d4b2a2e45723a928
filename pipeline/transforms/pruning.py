"""What is left of a day's `emissions` when its hours, nodes and pods are pruned: rows that give the same sums."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import key_ids
from pipeline.tables import EMISSIONS, EMISSIONS_DAILY_KEY, conform

GROUP = EMISSIONS_DAILY_KEY[1:]
SUMS = ("energy_joules", "facility_energy_kwh", "emissions_gco2e")


def pruned_rows(emissions: pa.Table, run_id: str) -> pa.Table:
    """EMISSIONS rows at midnight, one a key of `emissions_daily`, and apart what has no PUE or no grams.

    Each sum is exactly rounded. What a day has no single value of is null: node, pod, PUE, intensity, steps, coverage,
    revision.

    Args:
        emissions: all EMISSIONS rows of one (cluster, day).
        run_id: who prunes.
    """
    if not emissions.num_rows:
        return emissions
    nulls = {f"{name} is null": pc.is_null(emissions[name]) for name in SUMS}
    grouped = emissions
    for name, column in nulls.items():
        grouped = grouped.append_column(name, column)
    (ids,) = key_ids([grouped], [*GROUP, *nulls])
    _, first = np.unique(ids, return_index=True)
    order = np.argsort(ids, kind="stable")
    edges = np.searchsorted(ids[order], np.arange(len(first) + 1)).tolist()
    chosen = emissions.take(first)
    columns: dict[str, Any] = {name: pa.nulls(len(first), EMISSIONS.field(name).type) for name in EMISSIONS.names}
    columns |= {name: chosen[name] for name in GROUP}
    columns |= {name: _sums(emissions[name].to_numpy()[order].tolist(), edges) for name in SUMS}
    columns["hour_utc"] = pc.floor_temporal(chosen["hour_utc"], unit="day")
    columns["run_id"] = pa.array([run_id] * len(first), pa.string())
    rows = conform(pa.table(columns), EMISSIONS)
    return rows.sort_by([(name, "ascending") for name in ("hour_utc", *GROUP)])


def _sums(values: list[float], edges: list[int]) -> "pa.Array[Any]":
    """Of each group, whose values are all known or all null."""
    sums = [math.fsum(values[start:end]) for start, end in pairwise(edges)]
    column: pa.Array[Any] = pa.array(np.array(sums), from_pandas=True)
    return column
