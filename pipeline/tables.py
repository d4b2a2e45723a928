"""The public tables, declared once: files, views, checks and docs all derive from these schemas.

Columns are only ever added, nullable, at the end. The unit ends the name. Partition columns (`cluster` of the replaced
tables, `date` of all) live in the path; `conform` is what every table passes through before it is written or returned.
"""

from typing import Any

import pyarrow as pa

from pipeline.errors import SchemaError

METHOD_VERSION = "1"  # raised when the same samples would give other joules or grams

TIMESTAMP: pa.DataType = pa.timestamp("us", tz="UTC")
TEXT: pa.DataType = pa.string()
NUMBER: pa.DataType = pa.float64()
COUNT: pa.DataType = pa.int64()
STEPS: pa.DataType = pa.list_(pa.float64())


def _schema(*columns: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in columns])


EMISSIONS = _schema(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("node", TEXT),
    ("component", TEXT),
    ("kind", TEXT),
    ("namespace", TEXT),
    ("pod", TEXT),
    ("pod_uid", TEXT),
    ("container", TEXT),
    ("workload_kind", TEXT),
    ("workload", TEXT),
    ("owner_source", TEXT),
    ("energy_joules", NUMBER),
    ("step_joules", STEPS),
    ("tail_joules", NUMBER),
    ("pue_ratio", NUMBER),
    ("pue_source", TEXT),
    ("intensity_steps", COUNT),
    ("facility_energy_kwh", NUMBER),
    ("carbon_intensity_g_per_kwh", NUMBER),
    ("intensity_zone", TEXT),
    ("intensity_provider", TEXT),
    ("intensity_factor_type", TEXT),
    ("intensity_basis", TEXT),
    ("intensity_quality", TEXT),
    ("intensity_updated_utc", TIMESTAMP),
    ("emissions_gco2e", NUMBER),
    ("coverage_ratio", NUMBER),
    ("meter", TEXT),
    ("method_version", TEXT),
    ("run_id", TEXT),
    ("revision", COUNT),
    ("platform_scale", NUMBER),
)

EMISSIONS_KEY = (
    "hour_utc", "cluster", "node", "component", "kind", "workload_kind", "workload",
    "namespace", "pod", "pod_uid", "container",
)  # fmt: skip

EMISSIONS_DAILY = _schema(
    ("date_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("workload_kind", TEXT),
    ("workload", TEXT),
    ("component", TEXT),
    ("kind", TEXT),
    ("intensity_zone", TEXT),
    ("intensity_provider", TEXT),
    ("intensity_factor_type", TEXT),
    ("intensity_basis", TEXT),
    ("intensity_quality", TEXT),
    ("meter", TEXT),
    ("method_version", TEXT),
    ("energy_joules", NUMBER),
    ("facility_energy_kwh", NUMBER),
    ("emissions_gco2e", NUMBER),
    ("unpriced_energy_joules", NUMBER),
    ("hours", COUNT),
    ("unpriced_hours", COUNT),
    ("source_digest", TEXT),
)

EMISSIONS_DAILY_KEY = tuple(EMISSIONS_DAILY.names[:14])

NODE_ENERGY = _schema(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("node", TEXT),
    ("component", TEXT),
    ("metered_joules", NUMBER),
    ("workload_joules", NUMBER),
    ("system_joules", NUMBER),
    ("idle_joules", NUMBER),
    ("residual_joules", NUMBER),
    ("bridged_joules", NUMBER),
    ("unplaced_joules", NUMBER),
    ("quarantined_joules", NUMBER),
    ("workload_scale", NUMBER),
    ("coverage_ratio", NUMBER),
    ("expected_ratio", NUMBER),
    ("resets", COUNT),
    ("wraps", COUNT),
    ("skews", COUNT),
    ("meter", TEXT),
    ("cross_meter", TEXT),
    ("cross_ratio", NUMBER),
    ("check", TEXT),
    ("method_version", TEXT),
    ("run_id", TEXT),
    ("revision", COUNT),
    ("platform_scale", NUMBER),
)

NODE_ENERGY_KEY = ("hour_utc", "cluster", "node", "component")

PROCESSES = _schema(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("node", TEXT),
    ("exe", TEXT),
    ("cmdline", TEXT),
    ("energy_joules", NUMBER),
    ("meter", TEXT),
    ("method_version", TEXT),
    ("run_id", TEXT),
    ("revision", COUNT),
)

INTENSITY = _schema(
    ("zone", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("carbon_intensity_g_per_kwh", NUMBER),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("basis", TEXT),
    ("quality", TEXT),
    ("updated_utc", TIMESTAMP),
    ("model", TEXT),
    ("fetched_utc", TIMESTAMP),
    ("payload_id", TEXT),
)

INTENSITY_CHECKS = _schema(
    ("zone", TEXT),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("asked_utc", TIMESTAMP),
    ("outcome", TEXT),
    ("changed", COUNT),
)

FORECASTS = _schema(
    ("zone", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("carbon_intensity_g_per_kwh", NUMBER),
    ("provider", TEXT),
    ("signal", TEXT),
    ("factor_type", TEXT),
    ("issued_utc", TIMESTAMP),
    ("fetched_utc", TIMESTAMP),
    ("payload_id", TEXT),
)

PAYLOADS = _schema(
    ("payload_id", TEXT),  # SHA-256 of the body
    ("provider", TEXT),
    ("url", TEXT),
    ("fetched_utc", TIMESTAMP),
    ("body", pa.binary()),
)

PUE = _schema(
    ("cluster", TEXT),
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("pue_ratio", NUMBER),
    ("source", TEXT),
    ("updated_utc", TIMESTAMP),
    ("fetched_utc", TIMESTAMP),
)

MARKET_FACTORS = _schema(
    ("cluster", TEXT),
    ("zone", TEXT),  # of a line that is about all clusters of a zone
    ("start_utc", TIMESTAMP),
    ("end_utc", TIMESTAMP),
    ("g_per_kwh", NUMBER),
    ("instrument", TEXT),
    ("share_ratio", NUMBER),  # null: the residual mix, which prices the rest
    ("factor_type", TEXT),
    ("note", TEXT),
    ("fetched_utc", TIMESTAMP),
)

CLUSTER_ZONES = _schema(
    ("cluster", TEXT),
    ("signal", TEXT),
    ("provider", TEXT),
    ("zone", TEXT),
    ("factor_type", TEXT),
    ("fetched_utc", TIMESTAMP),
)

REVISIONS = _schema(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("component", TEXT),
    ("kind", TEXT),
    ("revision", COUNT),
    ("cause", TEXT),
    ("old_energy_joules", NUMBER),
    ("new_energy_joules", NUMBER),
    ("old_pue_ratio", NUMBER),
    ("new_pue_ratio", NUMBER),
    ("old_carbon_intensity_g_per_kwh", NUMBER),
    ("new_carbon_intensity_g_per_kwh", NUMBER),
    ("old_emissions_gco2e", NUMBER),
    ("new_emissions_gco2e", NUMBER),
    ("rows_changed", COUNT),
    ("run_id", TEXT),
    ("written_utc", TIMESTAMP),
)

QUARANTINE = _schema(
    ("hour_utc", TIMESTAMP),
    ("cluster", TEXT),
    ("node", TEXT),
    ("component", TEXT),
    ("namespace", TEXT),
    ("pod", TEXT),
    ("pod_uid", TEXT),
    ("container", TEXT),
    ("energy_joules", NUMBER),
    ("meter", TEXT),
    ("check", TEXT),
    ("evidence", TEXT),
    ("method_version", TEXT),
    ("run_id", TEXT),
    ("revision", COUNT),
    ("kind", TEXT),
    ("workload_kind", TEXT),
    ("workload", TEXT),
)

HOURS = _schema(
    ("cluster", TEXT),
    ("hour_utc", TIMESTAMP),
    ("store", TEXT),  # null: the fold-and-price row of a commit; else the store this row is about
    ("state", TEXT),  # complete, partial, empty, failed; of a store: yes, no, beyond_horizon
    ("run_id", TEXT),
    ("revision", COUNT),
    ("priced_utc", TIMESTAMP),
    ("config_digest", TEXT),
    ("samples", COUNT),
    ("reason", TEXT),
    ("written_utc", TIMESTAMP),
)

RUNS = _schema(
    ("run_id", TEXT),
    ("command", TEXT),
    ("version", TEXT),
    ("started_utc", TIMESTAMP),
    ("finished_utc", TIMESTAMP),
    ("exit_code", COUNT),
    ("report", TEXT),
)

CLOSINGS = _schema(
    ("period", TEXT),
    ("cluster", TEXT),
    ("namespace", TEXT),
    ("energy_joules", NUMBER),
    ("emissions_gco2e", NUMBER),
    ("method_version", TEXT),
    ("config_digest", TEXT),
    ("closed_utc", TIMESTAMP),
)

COMMITTED_TABLES = {"emissions": EMISSIONS, "node_energy": NODE_ENERGY, "processes": PROCESSES}
REPLACED_TABLES = COMMITTED_TABLES | {"emissions_daily": EMISSIONS_DAILY}  # one file a partition, written whole
APPEND_ONLY_TABLES = {
    "intensity": INTENSITY,
    "intensity_checks": INTENSITY_CHECKS,
    "forecasts": FORECASTS,
    "payloads": PAYLOADS,
    "pue": PUE,
    "market_factors": MARKET_FACTORS,
    "cluster_zones": CLUSTER_ZONES,
    "revisions": REVISIONS,
    "quarantine": QUARANTINE,
    "hours": HOURS,
    "runs": RUNS,
    "closings": CLOSINGS,
}
TABLES = REPLACED_TABLES | APPEND_ONLY_TABLES


def values(table: pa.Table, column: str) -> list[Any]:
    """A column as Python objects, null as None."""
    return table.column(column).to_pylist()


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with exactly the columns of `schema`, in its order and types.

    Raises:
        SchemaError: a column is missing, unknown, or does not cast without loss.
    """
    missing = sorted(set(schema.names) - set(table.column_names))
    unknown = sorted(set(table.column_names) - set(schema.names))
    if missing or unknown:
        raise SchemaError(f"columns missing {missing}, unknown {unknown}")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"a column does not have its type: {error}") from error
