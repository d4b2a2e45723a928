"""The public tables, declared once: files, views, checks and docs all derive from these schemas.

Columns are only ever added, nullable, at the end. The unit ends the name. Partition columns (`cluster` of the replaced
tables, `date` of all) live in the path; `conform` is what every table passes through before it is written or returned.
"""

from typing import Any

import pyarrow as pa

from pipeline.errors import SchemaError
from pipeline.tables.books import CLOSINGS, HOURS, REVISIONS, RUNS, TEAMS
from pipeline.tables.columns import COUNT, NUMBER, STEPS, TEXT, TIMESTAMP
from pipeline.tables.energy import (
    EMISSIONS,
    EMISSIONS_DAILY,
    EMISSIONS_DAILY_KEY,
    EMISSIONS_KEY,
    NODE_ENERGY,
    NODE_ENERGY_KEY,
    PROCESSES,
    QUARANTINE,
)
from pipeline.tables.grid import CLUSTER_ZONES, FORECASTS, INTENSITY, INTENSITY_CHECKS, MARKET_FACTORS, PAYLOADS, PUE

__all__ = [
    "APPEND_ONLY_TABLES",
    "CLOSINGS",
    "CLUSTER_ZONES",
    "COMMITTED_TABLES",
    "COUNT",
    "EMISSIONS",
    "EMISSIONS_DAILY",
    "EMISSIONS_DAILY_KEY",
    "EMISSIONS_KEY",
    "FORECASTS",
    "HOURS",
    "INTENSITY",
    "INTENSITY_CHECKS",
    "MARKET_FACTORS",
    "METHOD_VERSION",
    "NODE_ENERGY",
    "NODE_ENERGY_KEY",
    "NUMBER",
    "PAYLOADS",
    "PROCESSES",
    "PUE",
    "QUARANTINE",
    "REPLACED_TABLES",
    "REVISIONS",
    "RUNS",
    "SCHEMA_VERSION",
    "STEPS",
    "TABLES",
    "TEAMS",
    "TEXT",
    "TIMESTAMP",
    "conform",
    "partition_column",
    "values",
]

METHOD_VERSION = "1"  # raised when the same samples would give other joules or grams
SCHEMA_VERSION = 3  # of all tables together, raised when one gets a column; files without one are of version 1

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
    "teams": TEAMS,
}
TABLES = REPLACED_TABLES | APPEND_ONLY_TABLES


def partition_column(table: str) -> str:
    """What the views call the date in a file's path: the day of its rows, or the day of writing them."""
    return "date" if table in REPLACED_TABLES else "written_date"


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
