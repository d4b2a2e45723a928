"""Looking up grid zones and cloud regions in the embedded tables: by name, by cloud, by distance."""

import csv
from collections.abc import Iterator
from functools import cache
from math import asin, cos, radians, sin, sqrt
from typing import NamedTuple

from pipeline.errors import ConfigError
from pipeline.settings import nearest
from pipeline.sources.grid import yearly

EARTH_KM = 6371.0  # mean radius


class ZoneYear(NamedTuple):
    """A code of the yearly table with its newest year."""

    code: str
    name: str
    year: int
    g_per_kwh: float
    basis: str


class Region(NamedTuple):
    """A cloud's region.

    Attributes:
        grid_zone: as `grid_zone` and providers of Electricity Maps' names have it.
        yearly_code: its code in the yearly table.
        pue: what the cloud publishes, with the scope and year of it; None where it does not.
        latitude, longitude: of the place it is called by, not of its buildings; None where that is not known.
    """

    cloud: str
    region: str
    location: str
    grid_zone: str
    yearly_code: str
    pue: str | None
    latitude: float | None
    longitude: float | None


def zones(text: str = "") -> list[ZoneYear]:
    """Codes whose code or name contains a text, in order of code; their newest year."""
    wanted = text.casefold()
    return [zone for zone in _zones() if wanted in zone.code.casefold() or wanted in zone.name.casefold()]


def regions(text: str = "", cloud: str | None = None, region: str | None = None) -> list[Region]:
    """Cloud regions whose name, place or zone contains a text, of one cloud or all.

    Raises:
        ConfigError: a region that the cloud does not have, with the nearest that it does.
    """
    wanted = text.casefold()
    of_cloud = [one for one in _regions() if cloud in (None, one.cloud)]
    if region is not None:
        found = [one for one in of_cloud if one.region == region]
        if not found:
            raise ConfigError(f"no {cloud} region {region!r}{nearest(region, [one.region for one in of_cloud])}")
        return found
    return [
        one for one in of_cloud if any(wanted in part.casefold() for part in (one.region, one.location, one.grid_zone))
    ]


def near(latitude: float, longitude: float, known: list[Region]) -> list[tuple[float, Region]]:
    """Regions with a known place by their distance in km, the nearest first."""
    by_distance = [
        (_distance_km(latitude, longitude, one.latitude, one.longitude), one)
        for one in known
        if one.latitude is not None and one.longitude is not None
    ]
    return sorted(by_distance, key=lambda pair: (pair[0], pair[1].cloud, pair[1].region))


def _distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Great circle on a sphere (haversine): within 0.6 % of the ellipsoid's."""
    phi, other_phi = radians(latitude), radians(other_latitude)
    half_chord = (
        sin((other_phi - phi) / 2) ** 2 + cos(phi) * cos(other_phi) * sin(radians(other_longitude - longitude) / 2) ** 2
    )
    return 2 * EARTH_KM * asin(min(1.0, sqrt(half_chord)))


@cache
def _zones() -> tuple[ZoneYear, ...]:
    newest: dict[str, ZoneYear] = {}
    for row in _rows("zone_yearly.csv"):
        zone = ZoneYear(row["code"], row["name"], int(row["year"]), float(row["gco2e_per_kwh"]), row["basis"])
        if zone.code not in newest or zone.year > newest[zone.code].year:
            newest[zone.code] = zone
    return tuple(newest[code] for code in sorted(newest))


@cache
def _regions() -> tuple[Region, ...]:
    places = {(row["provider"], row["region"]): row for row in _rows("region_places.csv")}
    found = []
    for row in _rows("cloud_regions.csv"):
        here = places.get((row["provider"], row["region"]))
        place = yearly.place(None, row["provider"], row["region"])
        found.append(
            Region(
                row["provider"],
                row["region"],
                row["location"],
                place.zone,
                place.yearly_code,
                f"{row['pue']} ({row['pue_scope']}, {row['pue_year']})" if row["pue"] else None,
                float(here["latitude"]) if here else None,
                float(here["longitude"]) if here else None,
            )
        )
    return tuple(found)


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (yearly.DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
