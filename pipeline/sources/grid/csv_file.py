"""Intensity from a user's own CSV: provider `csv`.

Columns `zone,start_utc,end_utc,carbon_intensity_g_per_kwh`, optionally `quality,basis,updated_utc`. Half-open steps
of any length, times with a zone. An empty value is a withdrawn figure (no answer), not zero.
"""

import csv
import math
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings.intensity import CsvTable
from pipeline.sources.grid.contract import PLAUSIBLE_G_PER_KWH, SHORTEST_STEP, FactorType, Signal, touching
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
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            header = [name.strip() for name in reader.fieldnames or []]
            wrong = [n for n in REQUIRED if n not in header]
            wrong += [n for n in header if n not in (*REQUIRED, *OPTIONAL) or header.count(n) > 1]
            if wrong:
                raise ConfigError(
                    f"{path}: column {wrong[0]!r} is missing, unknown or there twice; "
                    f"the header is {','.join(REQUIRED)}"
                )
            rows = list(_rows(path, reader, factor_type, fetched_utc))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read the intensity file {path}: {error}") from error
    _refuse_overlaps(path, rows)
    return pa.Table.from_pylist(rows, INTENSITY)


def _rows(
    path: Path, reader: "csv.DictReader[str]", factor_type: str, fetched_utc: datetime
) -> Iterator[dict[str, object]]:
    for raw in reader:
        if None in raw:  # a decimal comma, most likely
            raise ConfigError(f"{path} line {reader.line_num}: more values than the header has columns")
        row = {(k or "").strip(): (v or "").strip() if isinstance(v, str | None) else "" for k, v in raw.items()}
        where = f"{path} line {reader.line_num}"
        if not row["zone"]:
            raise ConfigError(f"{where}: zone is empty")
        start, end = (parse_time(row[k], f"{where}: {k}") for k in ("start_utc", "end_utc"))
        if end - start < SHORTEST_STEP or (start - EPOCH) % SHORTEST_STEP or (end - EPOCH) % SHORTEST_STEP:
            raise ConfigError(f"{where}: a step runs from one whole 5 minutes to a later one, not {start} to {end}")
        quality, basis = row.get("quality") or "measured", row.get("basis") or "unknown"
        if quality not in QUALITIES or basis not in BASES:
            raise ConfigError(f"{where}: quality is one of {', '.join(QUALITIES)}, basis one of {', '.join(BASES)}")
        updated = row.get("updated_utc")
        yield {
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


def _refuse_overlaps(path: Path, rows: list[dict[str, Any]]) -> None:
    """Two figures for one moment are two answers, unless `updated_utc` tells which is the newer."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["zone"], row["updated_utc"] or EPOCH, row["start_utc"]

    for one, following in pairwise(sorted(rows, key=key)):
        if key(one)[:2] == key(following)[:2] and following["start_utc"] < one["end_utc"]:
            raise ConfigError(
                f"{path}: zone {one['zone']} has two figures at {following['start_utc']:%FT%H:%MZ}: "
                "remove one, or give both an updated_utc"
            )


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
