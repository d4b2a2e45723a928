"""carbon-etl: energy counters in Prometheus become audited grams of CO2e.

Its tables as frames: nulls stay null, times are in UTC, and a column's unit ends its name.
"""
# ruff: noqa: PLC0415 # `import pipeline` stays cheap

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

__version__ = "0.1.0"
__all__ = ["read_emissions", "read_node_energy", "read_query", "read_table"]


def read_emissions(
    root: str | Path,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    cluster: str | None = None,
    daily: bool = False,
) -> pd.DataFrame:
    """The `emissions` rows of a warehouse as a data frame, sorted by hour and key; null stays null.

    Args:
        root: the warehouse: a folder, or `s3://bucket/prefix`.
        start: first hour, a UTC-aware moment or ISO 8601 text with a zone; None for the beginning.
        end: the moment before which hours start (half-open); None for no end.
        columns: only these.
        cluster: only this one's.
        daily: the rows of `emissions_daily`, whole UTC days, which is many times less to read.

    Raises:
        ConfigError: a time without a zone, a column that does not exist.
    """
    return read_table(
        root, "emissions_daily" if daily else "emissions", start, end, columns=columns, cluster=cluster
    ).to_pandas()


def read_node_energy(
    root: str | Path,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    cluster: str | None = None,
) -> pd.DataFrame:
    """The `node_energy` rows of a warehouse as a data frame; arguments as of `read_emissions`."""
    return read_table(root, "node_energy", start, end, columns=columns, cluster=cluster).to_pandas()


def read_table(
    root: str | Path,
    table: str,
    start: datetime | str | None = None,
    end: datetime | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    cluster: str | None = None,
) -> pa.Table:
    """Rows of `emissions`, `emissions_daily`, `node_energy` or `processes` as an Arrow table, as polars takes it too.

    Arguments as of `read_emissions`.
    """
    import os

    from pipeline.sinks.opening import open_path
    from pipeline.sinks.reading import read_rows

    warehouse = open_path(root, os.environ)
    return read_rows(warehouse.root, table, start, end, columns, cluster)


def read_query(root: str | Path, query: str, **parameters: date | float | str) -> pd.DataFrame:
    """The answer to a shipped query by its name, or to one SQL statement, as a data frame; as `carbon-etl sql` asks.

    Args:
        root: the warehouse: a folder, or `s3://bucket/prefix`.
        query: `chargeback`, or `select ...`.
        parameters: values of its `$names`.

    Raises:
        ConfigError: DuckDB's complaint, a parameter that the query does not have.
    """
    import os

    from pipeline.sinks.opening import open_path
    from pipeline.sinks.sql import run_query, shipped_queries

    warehouse = open_path(root, os.environ)
    text = shipped_queries().get(query, query)
    return run_query(warehouse.root, text, {name: str(value) for name, value in parameters.items()}).to_pandas()
