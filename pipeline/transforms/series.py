"""One priced cluster-hour as the series that dashboards read: sums over its emissions rows, nothing more.

A series is a key `(metric, labels)` without the label `revision`, which only the publisher knows; labels are sorted by
name and never empty. The stamp is not here either: it follows from the hour. Null is not 0: a group in which any row
lacks an amount has no sample of that amount.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import NamedTuple, TypeAlias

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.units import JOULES_PER_KWH

Labels: TypeAlias = tuple[tuple[str, str], ...]
Key: TypeAlias = tuple[str, Labels]

SYSTEM, IDLE, UNKNOWN, OTHER = "(system)", "(idle)", "(unknown)", "(other)"


class _Row(NamedTuple):
    """The part of an emissions row that series are made of; field names are column names."""

    hour_utc: datetime
    cluster: str
    node: str | None
    component: str | None
    kind: str
    namespace: str | None
    pod: str | None
    workload_kind: str | None
    workload: str | None
    energy_joules: float
    pue_ratio: float | None
    facility_energy_kwh: float | None
    carbon_intensity_g_per_kwh: float | None
    intensity_zone: str | None
    intensity_provider: str | None
    intensity_factor_type: str | None
    intensity_quality: str | None
    emissions_gco2e: float | None

    @property
    def facility_energy_joules(self) -> float | None:
        return None if self.facility_energy_kwh is None else self.facility_energy_kwh * JOULES_PER_KWH


Amount: TypeAlias = Callable[[_Row], float | None]
Groups: TypeAlias = dict[Labels, list[_Row]]

WORKLOAD_AMOUNTS: tuple[tuple[str, Amount], ...] = (
    ("carbon_emissions_grams", lambda row: row.emissions_gco2e),
    ("carbon_energy_joules", lambda row: row.energy_joules),
    ("carbon_facility_energy_joules", lambda row: row.facility_energy_joules),
)
NODE_AMOUNTS: tuple[tuple[str, Amount], ...] = (
    ("carbon_node_emissions_grams", lambda row: row.emissions_gco2e),
    ("carbon_node_energy_joules", lambda row: row.energy_joules),
)
QUALITY_AMOUNTS: tuple[tuple[str, Amount], ...] = (("carbon_quality_energy_joules", lambda row: row.energy_joules),)


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
    rows = _rows(emissions)
    groups = _folded(_grouped(rows, _workload_labels), max_series)
    samples = dict(_sums(groups, WORKLOAD_AMOUNTS))
    samples |= _sums(_grouped(rows, _node_labels), NODE_AMOUNTS)
    samples |= _sums(_grouped(rows, _quality_labels), QUALITY_AMOUNTS)
    samples |= _intensities(rows)
    samples |= _pue(rows)
    return dict(sorted(samples.items()))


def _rows(emissions: pa.Table) -> list[_Row]:
    if not all(
        joules is not None and math.isfinite(joules) for joules in emissions.column("energy_joules").to_pylist()
    ):
        raise SchemaError("a row without finite energy_joules: a null must not become a 0 in a sum")
    rows = [_Row(*values) for values in zip(*(emissions.column(n).to_pylist() for n in _Row._fields), strict=True)]
    hours = sorted({(row.cluster, row.hour_utc.isoformat()) for row in rows})
    if len(hours) > 1:
        raise SchemaError(
            f"series are made of one cluster-hour at a time, got {len(hours)}: {hours[0]}, {hours[1]} ..."
        )
    return rows


def _labels(**names: str | None) -> Labels:
    """Sorted by name; a null or empty value would be an absent label, a blank row in every panel."""
    return tuple((name, names[name] or UNKNOWN) for name in sorted(names))


def _workload_labels(row: _Row) -> Labels:
    namespace, workload_kind, workload = row.namespace, row.workload_kind, row.workload
    aside = {"system": SYSTEM, "idle": IDLE}.get(row.kind)
    if aside is not None:
        namespace, workload_kind, workload = aside, workload_kind or aside, workload or aside
    elif not workload and row.pod:
        workload_kind, workload = "Pod", row.pod
    return _labels(
        cluster=row.cluster,
        namespace=namespace,
        workload_kind=workload_kind,
        workload=workload,
        component=row.component,
        kind=row.kind,
    )


def _node_labels(row: _Row) -> Labels:
    return _labels(cluster=row.cluster, node=row.node, component=row.component, kind=row.kind)


def _quality_labels(row: _Row) -> Labels:
    return _labels(cluster=row.cluster, intensity_quality=row.intensity_quality or "missing")


def _grouped(rows: Iterable[_Row], labels: Callable[[_Row], Labels]) -> Groups:
    groups: Groups = {}
    for row in rows:
        groups.setdefault(labels(row), []).append(row)
    return groups


def _folded(groups: Groups, max_series: int) -> Groups:
    """The first `max_series` groups as they are, the rows of the others regrouped under `(other)`."""
    if len(groups) <= max_series:
        return groups
    ranked = sorted(groups, key=lambda labels: (-math.fsum(row.energy_joules for row in groups[labels]), labels))
    folded = {labels: groups[labels] for labels in ranked[:max_series]}
    for labels in ranked[max_series:]:
        other = tuple((name, OTHER if name in ("workload", "workload_kind") else value) for name, value in labels)
        folded.setdefault(other, []).extend(groups[labels])
    return folded


def _sums(groups: Groups, amounts: tuple[tuple[str, Amount], ...]) -> Iterator[tuple[Key, float]]:
    """`fsum` is exactly rounded, so that the order of rows in the file cannot change a sample."""
    for labels, rows in groups.items():
        for metric, amount in amounts:
            values = [value for row in rows if (value := amount(row)) is not None]
            if len(values) == len(rows):
                yield (metric, labels), math.fsum(values)


def _intensities(rows: list[_Row]) -> Iterator[tuple[Key, float]]:
    def labels(row: _Row) -> Labels:
        return _labels(
            cluster=row.cluster,
            zone=row.intensity_zone,
            provider=row.intensity_provider,
            signal="average",
            factor_type=row.intensity_factor_type,
        )

    priced = [row for row in rows if row.carbon_intensity_g_per_kwh is not None]
    for names, group in _grouped(priced, labels).items():
        mean = _mean((row.carbon_intensity_g_per_kwh, row.facility_energy_joules) for row in group)
        if mean is not None:
            yield ("carbon_grid_intensity_grams_per_kwh", names), mean


def _pue(rows: list[_Row]) -> Iterator[tuple[Key, float]]:
    for names, group in _grouped(rows, lambda row: _labels(cluster=row.cluster)).items():
        mean = _mean((row.pue_ratio, row.energy_joules) for row in group if row.pue_ratio is not None)
        if mean is not None:
            yield ("carbon_pue_ratio", names), mean


def _mean(weighted: Iterable[tuple[float | None, float | None]]) -> float | None:
    """The energy-weighted mean, or the one value that all share; null without energy to weigh different values by."""
    pairs = [(value, weight or 0.0) for value, weight in weighted if value is not None]
    if len({value for value, _ in pairs}) == 1:
        return pairs[0][0]
    total = math.fsum(weight for _, weight in pairs)
    return math.fsum(value * weight for value, weight in pairs) / total if total > 0 else None
