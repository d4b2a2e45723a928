"""Intensity from a user's own CSV: provider `csv`.

Columns `zone,start_utc,end_utc,carbon_intensity_g_per_kwh`, optionally `quality,basis,updated_utc`. Half-open steps
of any length, times with a zone. An empty value is a withdrawn figure (no answer), not zero.
"""

import math
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings.intensity import CsvTable
from pipeline.sources.csv_rows import csv_rows, refuse_overlaps
from pipeline.sources.grid.contract import FactorType, Signal
from pipeline.sources.grid.steps import PLAUSIBLE_G_PER_KWH, SHORTEST_STEP, touching
from pipeline.tables import INTENSITY, values
from pipeline.window import EPOCH, Window, parse_time

NAME = "csv"
REQUIRED = ("zone", "start_utc", "end_utc", "carbon_intensity_g_per_kwh")
OPTIONAL = ("quality", "basis", "updated_utc")
QUALITIES = ("measured", "estimated", "forecast")
BASES = ("consumption", "production", "unknown")


class CsvFile:
    """The file of `[intensity.csv]`; see `contract.FileProvider`."""

    name = NAME

    def __init__(self, table: CsvTable) -> None:
        if table.path is None:
            raise ConfigError('provider csv needs [intensity.csv] path = "..."')
        self._path, self._factor_type = table.path, table.factor_type
        self.offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", table.factor_type)})

    def zone_of(self, grid_zone: str) -> str:
        """The cluster's own zone."""
        return grid_zone

    def knows(self, zone: str) -> bool:
        """Whether the file has any figure of that zone."""
        return zone in set(values(read(self._path, self._factor_type, EPOCH), "zone"))

    def read(self, zone: str, window: Window, factor_type: FactorType, fetched_utc: datetime) -> pa.Table:
        """The file's figures that touch a window, schema INTENSITY; none of another factor type than it declares."""
        rows = read(self._path, self._factor_type, fetched_utc)
        return touching(rows, zone, window) if factor_type == self._factor_type else INTENSITY.empty_table()


def read(path: Path, factor_type: str, fetched_utc: datetime) -> pa.Table:
    """All vintages of the file, schema INTENSITY.

    Quality defaults to `measured` (the file states figures), basis to `unknown`.

    Raises:
        ConfigError: names the file, the line and what to write instead.
    """
    rows = [
        _row(where, row, factor_type, fetched_utc) for where, row in csv_rows(path, REQUIRED, OPTIONAL, "intensity")
    ]
    refuse_overlaps(path, rows, "zone")
    return pa.Table.from_pylist(rows, INTENSITY)


def _row(where: str, row: dict[str, str], factor_type: str, fetched_utc: datetime) -> dict[str, object]:
    if not row["zone"]:
        raise ConfigError(f"{where}: zone is empty")
    start, end = (parse_time(row[k], f"{where}: {k}") for k in ("start_utc", "end_utc"))
    if end - start < SHORTEST_STEP or (start - EPOCH) % SHORTEST_STEP or (end - EPOCH) % SHORTEST_STEP:
        raise ConfigError(f"{where}: a step runs from one whole 5 minutes to a later one, not {start} to {end}")
    quality, basis = row.get("quality") or "measured", row.get("basis") or "unknown"
    if quality not in QUALITIES or basis not in BASES:
        raise ConfigError(f"{where}: quality is one of {', '.join(QUALITIES)}, basis one of {', '.join(BASES)}")
    updated = row.get("updated_utc")
    return {
        "zone": row["zone"],
        "start_utc": start,
        "end_utc": end,
        "carbon_intensity_g_per_kwh": intensity(row["carbon_intensity_g_per_kwh"], where),
        "provider": NAME,
        "signal": "average",
        "factor_type": factor_type,
        "basis": basis,
        "quality": quality,
        "updated_utc": parse_time(updated, f"{where}: updated_utc") if updated else None,
        "model": None,
        "fetched_utc": fetched_utc,
        "payload_id": None,
    }


def intensity(text: str, where: str) -> float | None:
    """A figure in g/kWh as a file writes it; empty is None.

    Raises:
        ConfigError: neither.
    """
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= PLAUSIBLE_G_PER_KWH:
        raise ConfigError(f"{where}: {text!r} is not an intensity in g/kWh (0 to {PLAUSIBLE_G_PER_KWH:g})")
    return value
