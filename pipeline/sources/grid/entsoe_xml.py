"""ENTSO-E's documents of generation, read safely: no document type and no entity is let in."""

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from pipeline.sources.grid.web import first_line, malformed, moment
from pipeline.window import EPOCH, HOUR, floor_hour

QUARTER = timedelta(minutes=15)
RESOLUTIONS = {"PT15M": QUARTER, "PT30M": 2 * QUARTER, "PT60M": HOUR, "PT1H": HOUR}
UNIT = "MAW"
FIXED, VARIABLE = "A01", "A03"  # curve types: every position stands there; a missing one repeats the one before

Mixes = dict[tuple[datetime, datetime], dict[str, float]]


def tree(provider: str, body: bytes) -> Element:
    """The root of a document, names without their namespaces, which change with versions.

    Raises:
        SourceMalformed: not XML, or with a document type, through which entities grow without bound.
    """

    def refuse(*_: object) -> NoReturn:
        raise malformed(provider, "with a document type, which it does not document")

    builder, parser = TreeBuilder(), expat.ParserCreate(namespace_separator="}")
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, _attributes: builder.start(name.rpartition("}")[2], {})
    parser.EndElementHandler = lambda name: builder.end(name.rpartition("}")[2])
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(body, True)  # noqa: FBT003 # expat takes no keyword
    except (expat.ExpatError, LookupError, ValueError):  # the last two: encodings that nobody knows
        raise malformed(provider, f"with something that is no XML: {first_line(body)!r}") from None
    return builder.close()


def text(element: Element, path: str) -> str:
    """What stands there, empty where nothing does."""
    return (element.findtext(path) or "").strip()


def generation(provider: str, body: bytes, zone: str, start: datetime, end: datetime) -> Mixes:
    """Mean power in MW by production type for every step within `[start, end)`; consumption left out.

    Raises:
        SourceMalformed: another document, zone or unit, a step that is none of 15, 30 and 60 minutes, no number.
    """
    root = tree(provider, body)
    if root.tag != "GL_MarketDocument":
        raise malformed(provider, f"a {root.tag} where it documents a GL_MarketDocument")
    quarters: dict[datetime, dict[str, float]] = {}
    finest: dict[datetime, timedelta] = {}
    for series in root.findall("TimeSeries"):
        into, out = text(series, "inBiddingZone_Domain.mRID"), text(series, "outBiddingZone_Domain.mRID")
        if (into or out) != zone:
            raise malformed(provider, f"for the zone {into or out!r}, though {zone!r} was asked")
        if not into:
            continue
        kind, unit = text(series, "MktPSRType/psrType"), text(series, "quantity_Measure_Unit.name")
        if unit != UNIT or not kind:
            raise malformed(provider, f"generation of type {kind!r} in {unit!r} where it documents MW ({UNIT})")
        repeats = text(series, "curveType") == VARIABLE
        for step_start, resolution, power in _points(provider, series, start, end, repeats=repeats):
            finest[floor_hour(step_start)] = min(resolution, finest.get(floor_hour(step_start), HOUR))
            for n in range(resolution // QUARTER):
                quarters.setdefault(step_start + n * QUARTER, {})[kind] = power
    return {
        (quarter, quarter + length): mix
        for quarter, mix in quarters.items()
        if (quarter - EPOCH) % (length := finest[floor_hour(quarter)]) == timedelta(0)
    }


def _points(
    provider: str, series: Element, start: datetime, end: datetime, *, repeats: bool
) -> Iterator[tuple[datetime, timedelta, float]]:
    """(start, length, MW) of a series' steps that lie within `[start, end)`."""
    for period in series.findall("Period"):
        first, last = (moment(provider, text(period, f"timeInterval/{edge}")) for edge in ("start", "end"))
        resolution = RESOLUTIONS.get(text(period, "resolution"))
        if resolution is None or (first - EPOCH) % resolution:
            raise malformed(provider, f"steps of {text(period, 'resolution')!r} from {first:%FT%H:%MZ}")
        powers = dict(sorted(_position_and_power(provider, point) for point in period.findall("Point")))
        positions = list(powers)
        if not positions:  # nothing said is nothing known
            continue
        count = (last - first) // resolution
        if positions[-1] > count:
            raise malformed(provider, f"the position {positions[-1]} of {count} from {first:%FT%H:%MZ}")
        for position, following in zip(positions, [*positions[1:], count + 1], strict=True):
            until = following if repeats else position + 1
            first_asked = max(position, 1 + (start - first) // resolution)
            for held in range(first_asked, min(until, 1 + (end - first) // resolution)):
                yield first + (held - 1) * resolution, resolution, powers[position]


def _position_and_power(provider: str, point: Element) -> tuple[int, float]:
    try:
        position, power = int(text(point, "position")), float(text(point, "quantity"))
    except ValueError:
        position, power = 0, math.nan
    if position < 1 or not math.isfinite(power):
        raise malformed(provider, f"the point {text(point, 'position')!r}: {text(point, 'quantity')!r}")
    return position, power
