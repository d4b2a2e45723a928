"""One priced cluster-hour as the series that dashboards read: sums over its emissions rows, nothing more.

A series is a key `(metric, labels)` without the label `revision`, which only the publisher knows; labels are sorted by
name and never empty. The stamp is not here either: it follows from the hour. Null is not 0: a group in which any row
lacks an amount has no sample of that amount.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import key_ids
from pipeline.errors import SchemaError
from pipeline.samples import Floats, Int64s
from pipeline.units import JOULES_PER_KWH

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, Labels]

SYSTEM, IDLE, UNKNOWN, OTHER = "(system)", "(idle)", "(unknown)", "(other)"
FACILITY = "facility_energy_joules"
NO_TEXT = pa.scalar(None, pa.string())
# Label names in order, and the metric of each amount: a column.
WORKLOAD = ("cluster", "component", "kind", "namespace", "workload", "workload_kind")
WORKLOAD_METRICS = {
    "carbon_emissions_grams": "emissions_gco2e",
    "carbon_energy_joules": "energy_joules",
    "carbon_facility_energy_joules": FACILITY,
}
NODE = ("cluster", "component", "kind", "node")
NODE_METRICS = {"carbon_node_emissions_grams": "emissions_gco2e", "carbon_node_energy_joules": "energy_joules"}
QUALITY = ("cluster", "intensity_quality")
QUALITY_METRICS = {"carbon_quality_energy_joules": "energy_joules"}
GRID = ("cluster", "factor_type", "provider", "signal", "zone")


def hour_series(emissions: pa.Table, max_series: int) -> dict[Key, float]:
    """The samples of one cluster-hour, sorted by key.

    Args:
        emissions: rows of `tables.EMISSIONS`, all of one cluster and one hour; no rows give no samples.
        max_series: how many label sets of `carbon_emissions_grams` keep their name: the first by the hour's
            energy_joules, ties by name. The tail is summed as workload `(other)` of its namespace.

    Returns:
        Key to value: joules and grams in the hour, g/kWh and a ratio for the two display series.

    Raises:
        SchemaError: rows of several clusters or hours, or a row without energy.
    """
    _refuse(emissions)
    if not emissions.num_rows:
        return {}
    rows = _labelled(emissions)
    quality = rows.set_column(
        rows.schema.get_field_index("intensity_quality"),
        "intensity_quality",
        _filled(rows.column("intensity_quality"), "missing"),
    )
    samples: dict[str, dict[Key, float]] = {}
    for source, names, metrics in (
        (_folded(rows, max_series), WORKLOAD, WORKLOAD_METRICS),
        (rows, NODE, NODE_METRICS),
        (quality, QUALITY, QUALITY_METRICS),
    ):
        groups = _grouped(source, names)
        labels = groups.labels()
        for metric, amount in metrics.items():
            samples[metric] = dict(_sums(metric, labels, groups.slices(amount)))
    samples["carbon_grid_intensity_grams_per_kwh"] = dict(_intensities(rows))
    samples["carbon_pue_ratio"] = dict(_means("carbon_pue_ratio", rows, ("cluster",), "pue_ratio", "energy_joules"))
    return {key: value for metric in sorted(samples) for key, value in samples[metric].items()}


def _refuse(emissions: pa.Table) -> None:
    energy = emissions.column("energy_joules")
    if energy.null_count or not np.isfinite(energy.to_numpy()).all():
        raise SchemaError("a row without finite energy_joules: a null must not become a 0 in a sum")
    found = emissions.select(["cluster", "hour_utc"]).group_by(["cluster", "hour_utc"]).aggregate([]).to_pylist()
    hours = sorted((str(row["cluster"]), row["hour_utc"].isoformat()) for row in found)
    if len(hours) > 1:
        raise SchemaError(
            f"series are made of one cluster-hour at a time, got {len(hours)}: {hours[0]}, {hours[1]} ..."
        )


def _labelled(emissions: pa.Table) -> pa.Table:
    """The rows with every label filled in: a null or empty one would be an absent label, a blank row in every panel."""
    kind, namespace, pod, workload_kind, workload = (
        _named(emissions.column(name)) for name in ("kind", "namespace", "pod", "workload_kind", "workload")
    )
    of_idle = pc.if_else(pc.equal(kind, pa.scalar("idle")), pa.scalar(IDLE), NO_TEXT)
    aside = pc.if_else(pc.equal(kind, pa.scalar("system")), pa.scalar(SYSTEM), of_idle)
    bare = pc.and_(pc.and_(pc.is_null(aside), pc.is_null(workload)), pc.is_valid(pod))
    labels = {
        "cluster": emissions.column("cluster"),
        "node": emissions.column("node"),
        "component": emissions.column("component"),
        "kind": kind,
        "namespace": pc.coalesce(aside, namespace),
        "workload_kind": pc.if_else(bare, "Pod", pc.coalesce(workload_kind, aside)),
        "workload": pc.if_else(bare, pod, pc.coalesce(workload, aside)),
        "zone": emissions.column("intensity_zone"),
        "provider": emissions.column("intensity_provider"),
        "factor_type": emissions.column("intensity_factor_type"),
        "signal": pa.repeat("average", emissions.num_rows),
    }
    amounts = ["energy_joules", "emissions_gco2e", "carbon_intensity_g_per_kwh", "pue_ratio", "intensity_quality"]
    filled = {name: _filled(column, UNKNOWN) for name, column in labels.items()}
    facility = pc.multiply(emissions.column("facility_energy_kwh"), JOULES_PER_KWH)
    return pa.table(filled | {name: emissions.column(name) for name in amounts} | {FACILITY: facility})


def _named(column: Any) -> Any:  # noqa: ANN401 # an Arrow column, chunked or not
    """Empty texts as null."""
    return pc.if_else(pc.equal(column, pa.scalar("")), NO_TEXT, column)


def _filled(column: Any, word: str) -> Any:  # noqa: ANN401 # likewise
    return pc.fill_null(_named(column), word)


@dataclass(frozen=True)
class _Groups:
    """Rows by their labels: groups in the order of their labels, rows of a group side by side."""

    rows: pa.Table
    keys: pa.Table
    edges: list[int]

    def labels(self) -> list[Labels]:
        """The labels of each group, a pair made once for all groups that share it."""
        columns = []
        for name in self.keys.column_names:
            encoded: Any = self.keys.column(name).combine_chunks().dictionary_encode()
            pairs = [(name, value) for value in encoded.dictionary.to_pylist()]
            columns.append([pairs[code] for code in encoded.indices.to_pylist()])
        return list(zip(*columns, strict=True))

    def slices(self, amount: str) -> Iterator[list[float | None]]:
        """The values of one column, group by group, null as None."""
        values = self.rows.column(amount).to_pylist()
        return (values[start:end] for start, end in zip(self.edges, self.edges[1:], strict=False))


def _grouped(rows: pa.Table, names: Sequence[str]) -> _Groups:
    (ids,) = key_ids([rows], names)
    _, first = np.unique(ids, return_index=True)
    keys = rows.select(names).take(first)
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in names]).to_numpy()
    rank: Int64s = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    ranks = rank[ids]
    edges = np.concatenate([[0], np.cumsum(np.bincount(ranks, minlength=len(order)))])
    return _Groups(rows.take(np.argsort(ranks, kind="stable")), keys.take(order), edges.tolist())


def _folded(rows: pa.Table, max_series: int) -> pa.Table:
    """The rows, those of all but the first `max_series` groups named `(other)`."""
    (ids,) = key_ids([rows], WORKLOAD)
    if ids.max() < max_series:
        return rows
    groups = _grouped(rows.append_column("row", pa.array(np.arange(rows.num_rows))), WORKLOAD)
    joules = np.array([math.fsum(values) for values in groups.slices("energy_joules")])  # type: ignore[arg-type] # none is null
    tail = np.argsort(-joules, kind="stable")[max_series:]
    is_tail = np.zeros(len(joules), dtype=np.bool_)
    is_tail[tail] = True
    folded = pa.array(np.repeat(is_tail, np.diff(groups.edges)))
    rows = groups.rows
    for name in ("workload", "workload_kind"):
        rows = rows.set_column(rows.schema.get_field_index(name), name, pc.if_else(folded, OTHER, rows.column(name)))
    return rows


def _sums(metric: str, labels: Sequence[Labels], slices: Iterator[list[float | None]]) -> Iterator[tuple[Key, float]]:
    """`fsum` is exactly rounded, so that the order of rows in the file cannot change a sample."""
    for names, values in zip(labels, slices, strict=True):
        if None not in values:
            yield (metric, names), math.fsum(values)  # type: ignore[arg-type] # none is null


def _intensities(rows: pa.Table) -> Iterator[tuple[Key, float]]:
    return _means("carbon_grid_intensity_grams_per_kwh", rows, GRID, "carbon_intensity_g_per_kwh", FACILITY)


def _means(metric: str, rows: pa.Table, names: Sequence[str], value: str, weight: str) -> Iterator[tuple[Key, float]]:
    known = rows.filter(pc.is_valid(rows.column(value)))
    if not known.num_rows:
        return
    groups = _grouped(known, names)
    for labels, values, weights in zip(groups.labels(), groups.slices(value), groups.slices(weight), strict=True):
        mean = _mean(np.array(values), np.array([0.0 if one is None else one for one in weights]))
        if mean is not None:
            yield (metric, labels), mean


def _mean(values: Floats, weights: Floats) -> float | None:
    """The energy-weighted mean, or the one value that all share; null without energy to weigh different values by."""
    if (values == values[0]).all():
        return float(values[0])
    total = math.fsum(weights)
    return math.fsum(values * weights) / total if total > 0 else None
