"""carbon-etl: energy counters in Prometheus become audited grams of CO2e."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import pandas as pd

__version__ = "0.1.0"
__all__ = ["read_emissions", "read_node_energy"]


def read_emissions(
    root: str | Path, start: datetime | str | None = None, end: datetime | str | None = None
) -> pd.DataFrame:
    """The `emissions` rows of a warehouse as a data frame, sorted by hour and key; null stays null.

    Args:
        root: the warehouse folder.
        start: first hour, a UTC-aware moment or ISO 8601 text with a zone; None for the beginning.
        end: the moment before which hours start (half-open); None for no end.

    Raises:
        ConfigError: a time without a zone.
    """
    return _read("emissions", root, start, end)


def read_node_energy(
    root: str | Path, start: datetime | str | None = None, end: datetime | str | None = None
) -> pd.DataFrame:
    """The `node_energy` rows of a warehouse as a data frame; arguments as of `read_emissions`."""
    return _read("node_energy", root, start, end)


def _read(table: str, root: str | Path, start: datetime | str | None, end: datetime | str | None) -> pd.DataFrame:
    from pathlib import Path  # noqa: PLC0415 # `import pipeline` stays cheap

    from pipeline.sinks.warehouse import Warehouse  # noqa: PLC0415 # likewise

    return Warehouse(Path(root)).read_table(table, start, end).to_pandas()
