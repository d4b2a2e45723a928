"""`carbon-etl grid zones`: the embedded tables as lines for people."""

import re
from collections.abc import Iterator, Sequence

from pipeline.errors import ConfigError
from pipeline.sources.grid import gazetteer, yearly
from pipeline.sources.grid.gazetteer import Region, ZoneYear

NEAREST = 8
COORDINATES = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*,\s*([-+]?\d+(?:\.\d+)?)\s*")
APPROXIMATE = (
    "distances are to the city a region is called by, to about 10 km; a region near you is not always on your grid: "
    "look at its zone"
)


def look_up(text: str, near: str | None, cloud: str | None, region: str | None) -> Iterator[str]:
    """Zones and regions that a text, a place or a cloud names.

    Raises:
        ConfigError: nothing is called so, or that is no place.
    """
    if near is not None:
        latitude, longitude = _coordinates(near)
        nearest = gazetteer.near(latitude, longitude, gazetteer.regions(text, cloud, region))[:NEAREST]
        yield from _table([("km", *HEADS), *((f"{km:,.0f}", *_cells(one)) for km, one in nearest)])
        yield APPROXIMATE
        return
    zones = gazetteer.zones(text) if cloud is None else []
    regions = gazetteer.regions(text, cloud, region) if text or cloud else []
    if not zones and not regions:
        close = yearly.nearest_zones(text.upper())
        raise ConfigError(f"nothing is called {text!r}" + (f": did you mean {' or '.join(close)}?" if close else ""))
    if zones:
        yield from _table([("zone", "name", "g/kWh", "year", "basis"), *map(_zone, zones)])
    if zones and regions:
        yield ""
    if regions:
        yield from _table([HEADS, *map(_cells, regions)])


HEADS = ("cloud", "region", "place", "grid zone", "g/kWh", "year", "PUE published")


def _coordinates(text: str) -> tuple[float, float]:
    match = COORDINATES.fullmatch(text)
    latitude, longitude = (float(part) for part in match.groups()) if match else (None, None)
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        raise ConfigError(f"--near {text!r} is no place: write latitude,longitude in degrees, as 52.5,13.4")
    return latitude, longitude


def _zone(zone: ZoneYear) -> tuple[str, ...]:
    return zone.code, zone.name, f"{zone.g_per_kwh:.1f}", str(zone.year), zone.basis.replace(";", ", ")


def _cells(region: Region) -> tuple[str, ...]:
    code = yearly.code_of(region.yearly_code)
    average = next((zone for zone in gazetteer.zones() if code and zone.code == code[0]), None)
    figure, year = ("-", "-") if average is None else (f"{average.g_per_kwh:.1f}", str(average.year))
    return region.cloud, region.region, region.location, region.grid_zone, figure, year, region.pue or "-"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as they need, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = [heading in ("km", "g/kWh") for heading in rows[0]]
    for row in rows:
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        )
        yield "  ".join(cells).rstrip()
