"""Files of Electricity Maps' data portal: provider `electricity_maps_csv`, one file or a folder of them.

Hours are measured or estimated as the files say. The mean of a day or a month only estimates its hours; that of a year
is `yearly_zone`. Where a folder has rows of several lengths for one moment, the shorter counts and the longer is left.
"""

from bisect import bisect_left
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings.intensity import PortalTable
from pipeline.sources.grid.contract import FactorType, Signal
from pipeline.sources.grid.portal_file import LENGTHS, Length, Reading, readings, zones
from pipeline.sources.grid.steps import touching
from pipeline.tables import INTENSITY
from pipeline.window import Window

NAME = "electricity_maps_csv"


class ElectricityMapsCsv:
    """See `contract.FileProvider`."""

    name = NAME
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "lifecycle"), ("average", "direct")})

    def __init__(self, table: PortalTable) -> None:
        self._table = table

    def zone_of(self, grid_zone: str) -> str:
        """Electricity Maps' name of the zone, as in column `Zone id`."""
        return self._table.zone or grid_zone

    def knows(self, zone: str) -> bool:
        """Whether any file has a row of that zone."""
        return any(zone in zones(path) for path in self._paths())

    def read(self, zone: str, window: Window, factor_type: FactorType, fetched_utc: datetime) -> pa.Table:
        """The files' figures that touch a window, schema INTENSITY."""
        placed: dict[Length, dict[datetime, Reading]] = {length: {} for length in LENGTHS}
        for path in self._paths():
            length, found = readings(path, zone, factor_type)
            _place(placed[length], found)
        rows = [
            {
                "zone": zone,
                "start_utc": reading.start_utc,
                "end_utc": reading.end_utc,
                "carbon_intensity_g_per_kwh": reading.g_per_kwh,
                "provider": NAME,
                "signal": "average",
                "factor_type": factor_type,
                "basis": "consumption",
                "quality": _quality(length, reading),
                "updated_utc": None,
                "model": reading.method,
                "fetched_utc": fetched_utc,
                "payload_id": None,
            }
            for length, reading in _shortest(placed)
        ]
        return touching(pa.Table.from_pylist(rows, INTENSITY), zone, window)

    def _paths(self) -> list[Path]:
        path = self._table.path
        paths = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not paths:
            raise ConfigError(f"{path} holds no .csv file: put those of the data portal there, or correct the path")
        return paths


def _place(placed: dict[datetime, Reading], found: Iterable[Reading]) -> None:
    """Add a file's rows; two different ones for one step are two releases of a file, and nobody says which is newer."""
    for reading in found:
        known = placed.setdefault(reading.start_utc, reading)
        if known._replace(where=reading.where) != reading:
            raise ConfigError(
                f"{reading.where}: another figure for {reading.start_utc:%FT%H:%MZ} than in {known.where}: "
                "keep one release of each file"
            )


def _shortest(placed: dict[Length, dict[datetime, Reading]]) -> list[tuple[Length, Reading]]:
    """All rows but those that a row of a shorter length lies in."""
    kept: list[tuple[Length, Reading]] = []
    starts: list[datetime] = []
    for length in LENGTHS:
        free = [
            reading
            for reading in placed[length].values()
            if bisect_left(starts, reading.start_utc) == bisect_left(starts, reading.end_utc)
        ]
        kept += [(length, reading) for reading in free]
        starts = sorted([*starts, *(reading.start_utc for reading in free)])
    return kept


def _quality(length: Length, reading: Reading) -> str:
    if length == "yearly":
        return "yearly_zone"
    return "measured" if length == "hourly" and reading.estimated is False else "estimated"
