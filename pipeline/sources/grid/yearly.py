"""The embedded yearly averages by zone, and the cloud regions that point into them: provider `static`.

Lifecycle, production-based averages of whole years (sources, licences and releases: NOTICE and docs/sources.md). Better
than nothing and never mistaken for an hour's own figure: quality says `yearly_zone`, `yearly_country` or `world`.
"""

import csv
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.tables import INTENSITY
from pipeline.window import Window

NAME = "static"
FACTOR_TYPE = "lifecycle"
DATA = Path(__file__).parents[2] / "data"
WORLD = "WORLD"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cluster's power comes from.

    Attributes:
        zone: the zone asked of live providers (Electricity Maps' names).
        yearly_code: the code looked up in the yearly table.
    """

    zone: str
    yearly_code: str


@dataclass(frozen=True, slots=True)
class YearlyAverage:
    """One row of the yearly table."""

    code: str
    year: int
    g_per_kwh: float
    unverified: bool
    release: int


@cache
def _table() -> dict[str, list[YearlyAverage]]:
    table: dict[str, list[YearlyAverage]] = {}
    with (DATA / "zone_yearly.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            average = YearlyAverage(
                row["code"],
                int(row["year"]),
                float(row["gco2e_per_kwh"]),
                "unverified" in row["basis"],
                int(row["vintage"]),
            )
            table.setdefault(average.code, []).append(average)
    return {code: sorted(rows, key=lambda r: r.year) for code, rows in table.items()}


@cache
def _regions() -> dict[tuple[str, str], dict[str, str]]:
    with (DATA / "cloud_regions.csv").open(encoding="utf-8", newline="") as file:
        return {(row["provider"], row["region"]): row for row in csv.DictReader(file)}


def place(grid_zone: str | None, cloud: str | None, region: str | None) -> Place:
    """The zone of a cluster, given directly or by its cloud region.

    Raises:
        ConfigError: a cloud region that the table does not list, with the nearest that it does.
    """
    if grid_zone is not None:
        return Place(grid_zone, grid_zone)
    row = cloud_region(cloud, region)
    if row is None:
        known = [r for c, r in _regions() if c == cloud]
        near = difflib.get_close_matches(str(region), known, n=1)
        raise ConfigError(
            f"unknown {cloud} region {region!r}"
            + (f": did you mean {near[0]!r}?" if near else ": give grid_zone instead")
        )
    area = row["grid_area"]
    return Place(row["em_zone"], area if area in _table() else row["em_zone"])


def cloud_region(cloud: str | None, region: str | None) -> Mapping[str, str] | None:
    """A cloud's region as the embedded table has it; None where it does not."""
    return _regions().get((str(cloud), str(region)))


def code_of(zone: str) -> tuple[str, str] | None:
    """The table's code for a zone and the quality it answers with; None where it has none.

    A code listed exactly is `yearly_zone`; else the part before the first `-` is `yearly_country`; `WORLD` only by
    name.
    """
    if zone == WORLD:
        return WORLD, "world"
    if zone in _table():
        return zone, "yearly_zone"
    country = zone.split("-", maxsplit=1)[0]
    return (country, "yearly_country") if country in _table() and country != WORLD else None


def nearest_zones(zone: str) -> list[str]:
    """Codes of the table that look like `zone`."""
    return difflib.get_close_matches(zone, list(_table()), n=3, cutoff=0.3)


def is_unverified(zone: str) -> bool:
    """Whether the figures of this zone are lifecycle only by assumption (US and Indian states)."""
    code = code_of(zone)
    return code is not None and _table()[code[0]][-1].unverified


def fetch(zone: str, window: Window) -> pa.Table:
    """Yearly averages over the calendar years that `window` touches, schema INTENSITY; no row where there is none.

    An hour takes the newest year not after its own.
    """
    return pa.Table.from_pylist(list(_rows(zone, window)), INTENSITY)


def _rows(zone: str, window: Window) -> Iterator[dict[str, object]]:
    found = code_of(zone)
    if found is None:
        return
    code, quality = found
    for year in range(window.start.year, window.end.year + 1):
        rows = [row for row in _table()[code] if row.year <= year]
        if rows:
            released = datetime(rows[-1].release, 1, 1, tzinfo=UTC)
            yield {
                "zone": code,
                "start_utc": datetime(year, 1, 1, tzinfo=UTC),
                "end_utc": datetime(year + 1, 1, 1, tzinfo=UTC),
                "carbon_intensity_g_per_kwh": rows[-1].g_per_kwh,
                "provider": NAME,
                "signal": "average",
                "factor_type": FACTOR_TYPE,
                "basis": "production",
                "quality": quality,
                "updated_utc": released,
                "model": f"{code} {rows[-1].year}, release {rows[-1].release}",
                "fetched_utc": released,
                "payload_id": None,
            }
