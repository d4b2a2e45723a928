"""The required checks of the tables themselves: what stops a whole partition from being written.

Only faults of our own arithmetic are here (unique keys, sums, provenance). Faults of one node's data withhold that node
before its rows come this far.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.equality import RELATIVE_TOLERANCE, key_ids
from pipeline.errors import SchemaError
from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import EMISSIONS_KEY, NODE_ENERGY_KEY

SUM_FLOOR_JOULES = 1e-9
PROCESSES_KEY = ("hour_utc", "cluster", "node", "exe", "cmdline")
KEYS = {"emissions": EMISSIONS_KEY, "node_energy": NODE_ENERGY_KEY, "processes": PROCESSES_KEY}
COMPONENTS = ("package", "dram", "psys", "gpu", "other")
KINDS = ("workload", "system", "idle")
MISSING = "missing"

ALWAYS_KNOWN = {
    "emissions": (
        "hour_utc", "cluster", "node", "component", "kind", "energy_joules", "coverage_ratio", "intensity_quality",
        "meter", "method_version",
    ),
    "node_energy": ("hour_utc", "cluster", "node", "component", "meter", "method_version"),
    "processes": ("hour_utc", "cluster", "node", "exe", "energy_joules", "meter", "method_version"),
    "quarantine": ("hour_utc", "cluster", "node", "check", "evidence", "method_version"),
}  # fmt: skip
KNOWN_BY_INTENSITY = (
    "intensity_steps", "intensity_zone", "intensity_provider", "intensity_factor_type", "intensity_basis",
)  # fmt: skip
KNOWN_BY_PUE = ("pue_source", "facility_energy_kwh")


def check_provenance(name: str, rows: pa.Table) -> None:
    """Every row says what made it, and no number is NaN or infinite: missing is null.

    Raises:
        SchemaError: naming the first offending row.
    """
    for column in ALWAYS_KNOWN[name]:
        _refuse(name, rows, _nulls(rows, column), f"has no {column}")
    for field in rows.schema:
        if pa.types.is_floating(field.type):
            values = rows.column(field.name).to_numpy()
            # A null reads as NaN here, so a NaN that is not a null is one that was stored.
            _refuse(
                name, rows, ~np.isfinite(values) & ~_nulls(rows, field.name), f"has a {field.name} that is no number"
            )
    if name == "emissions":
        _check_priced(rows)


def check_keys(name: str, rows: pa.Table, key: Sequence[str]) -> None:
    """No two rows share a key, nulls equal.

    Raises:
        SchemaError: naming the first row that comes twice.
    """
    if not rows.num_rows:
        return
    (ids,) = key_ids([rows], key)
    _, first = np.unique(ids, return_index=True)
    twice = np.ones(rows.num_rows, dtype=np.bool_)
    twice[first] = False
    _refuse(name, rows, twice, f"comes twice: rows are unique in {', '.join(key)}")


def check_conservation(emissions: pa.Table, node_energy: pa.Table) -> None:
    """Workloads + system + idle + residual = metered per (hour, node, component), in both tables, to 1e-9 (P1).

    Raises:
        SchemaError: naming the first node-hour whose sums differ.
    """
    if not emissions.num_rows and not node_energy.num_rows:
        return
    emission_ids, node_ids = key_ids([emissions, node_energy], NODE_ENERGY_KEY)
    orphan = ~np.isin(emission_ids, node_ids)
    _refuse("emissions", emissions, orphan, "has no row in node_energy")
    metered = _joules(node_energy, "metered_joules")
    parts = [_joules(node_energy, f"{part}_joules") for part in ("workload", "system", "idle", "residual")]
    _refuse("node_energy", node_energy, _apart(sum(parts, np.zeros_like(metered)), metered, metered), "breaks P1")
    kinds = emissions.column("kind")
    energy = emissions.column("energy_joules").to_numpy()
    for kind in KINDS:
        chosen = pc.equal(kinds, pa.scalar(kind)).to_numpy()
        stored = _sums(emission_ids[chosen], energy[chosen], node_ids)
        wrong = _apart(stored, _joules(node_energy, f"{kind}_joules"), metered)
        _refuse("node_energy", node_energy, wrong, f"has {kind}_joules that are not the sum of its emissions rows")


def check_tables(tables: Mapping[str, pa.Table]) -> None:
    """All required checks of one day's new rows, by table.

    Raises:
        SchemaError: the first that fails; nothing may be written then.
    """
    for name, rows in tables.items():
        check_provenance(name, rows)
        if name in KEYS:
            check_keys(name, rows, KEYS[name])
    check_conservation(tables["emissions"], tables["node_energy"])


def _check_priced(rows: pa.Table) -> None:
    for column, allowed in (("component", COMPONENTS), ("kind", KINDS)):
        unknown = ~pc.is_in(rows.column(column), pa.array(allowed)).to_numpy()
        _refuse("emissions", rows, unknown, f"has a {column} that is none of {', '.join(allowed)}")
    missing = pc.equal(rows.column("intensity_quality"), pa.scalar(MISSING)).to_numpy()
    energetic = rows.column("energy_joules").to_numpy() != 0
    without_pue = _nulls(rows, "pue_ratio")
    required = {
        **dict.fromkeys(KNOWN_BY_INTENSITY, ~missing),
        **dict.fromkeys(KNOWN_BY_PUE, ~without_pue),
        "carbon_intensity_g_per_kwh": energetic & ~missing,
        "emissions_gco2e": ~missing & ~without_pue,
    }
    for column, known in required.items():
        _refuse("emissions", rows, _nulls(rows, column) & known, f"is priced but has no {column}")
    invented = ~_nulls(rows, "emissions_gco2e") & energetic
    _refuse("emissions", rows, invented & missing, "has grams although its intensity is missing")
    _refuse("emissions", rows, invented & without_pue, "has grams although it has no PUE")


def _refuse(name: str, rows: pa.Table, wrong: Bools, what: str) -> None:
    if not wrong.any():
        return
    index = int(np.flatnonzero(wrong)[0])
    row = rows.slice(index, 1).to_pylist()[0]
    key = KEYS.get(name, NODE_ENERGY_KEY)
    shown = ", ".join(f"{column}={row[column]}" for column in key if row[column] is not None)
    count = int(wrong.sum())
    raise SchemaError(f"{name}: the row {shown} {what} ({count} such row{'s' * (count > 1)}); nothing was written")


def _nulls(rows: pa.Table, column: str) -> Bools:
    return np.asarray(pc.is_null(rows.column(column)).to_numpy(), dtype=np.bool_)


def _joules(rows: pa.Table, column: str) -> Floats:
    """A column as numbers where null adds nothing: a meter without idle, a residual that is not measured."""
    return np.nan_to_num(np.asarray(rows.column(column).to_numpy(), dtype=np.float64))


def _sums(ids: Int64s, values: Floats, wanted: Int64s) -> Floats:
    """Sum of `values` per id, for the `wanted` ids in their order."""
    length = int(max(ids.max(initial=0), wanted.max(initial=0))) + 1
    return np.asarray(np.bincount(ids, weights=values, minlength=length)[wanted], dtype=np.float64)


def _apart(left: Floats, right: Floats, metered: Floats) -> Bools:
    """Further apart than 1e-9 of what the node metered."""
    scale = np.maximum(np.abs(metered), np.maximum(np.abs(left), np.abs(right)))
    return np.asarray(np.abs(left - right) > RELATIVE_TOLERANCE * scale + SUM_FLOOR_JOULES, dtype=np.bool_)
