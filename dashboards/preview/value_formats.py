"""Numbers as Grafana writes them in its units, with as many decimals as it takes where a panel does not say."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from dashboards.preview.board import PreviewError

Format = Callable[[float, int | None], str]

SI = ("f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y")
NO_PREFIX = SI.index("")
SHORT = ("", " K", " Mil", " Bil", " Tri", " Quadr", " Quint", " Sext", " Sept")
DURATIONS = (
    ("year", 31536000.0), ("month", 2628000.0), ("week", 604800.0), ("day", 86400.0),
    ("hour", 3600.0), ("minute", 60.0), ("second", 1.0), ("millisecond", 0.001),
)  # fmt: skip
SECOND_LIMITS = (
    (60, 1, " s"), (3600, 60, " mins"), (86400, 3600, " hours"), (604800, 86400, " days"),
    (31536000, 604800, " weeks"), (math.inf, 31556900, " years"),
)  # fmt: skip


def decimals_of(value: float) -> int:
    """How many decimals a number is given: three significant digits or so, none of a whole number."""
    if value == 0 or not math.isfinite(value) or value % 1 == 0:
        return 0
    decimals = 1 - math.floor(math.log10(abs(value)))
    return max(0, decimals + (abs(value) / 10.0**-decimals > 2.25))


def fixed(value: float, decimals: int | None) -> str:
    """The number with so many decimals, halves rounded up."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: "-∞"}.get(value, "NaN")
    count = decimals_of(value) if decimals is None else decimals
    rounded = math.floor(value * 10.0**count + 0.5) / 10.0**count
    return f"{rounded + 0.0:.{count}f}"


def _scaled(suffixes: tuple[str, ...], offset: int) -> Format:
    def text(value: float, decimals: int | None) -> str:
        if not math.isfinite(value):
            return fixed(value, decimals)
        index = 0 if value == 0 else math.floor(math.log10(abs(value)) / 3)
        index = min(max(index, -offset), len(suffixes) - offset - 1)
        return fixed(value / 1000.0**index, decimals) + suffixes[offset + index]

    return text


def _si(unit: str, thousands: int = 0) -> Format:
    return _scaled(tuple(f" {prefix}{unit}" for prefix in SI), NO_PREFIX + thousands)


def _with(unit: str, factor: float = 1.0) -> Format:
    return lambda value, decimals: fixed(value * factor, decimals) + unit


def _seconds(value: float, decimals: int | None) -> str:
    if 0 < abs(value) < 1:
        return fixed(value * 1000, decimals) + " ms"
    _, per, unit = next(found for found in SECOND_LIMITS if abs(value) < found[0])
    return fixed(value / per, decimals) + unit


def _duration(value: float, decimals: int | None) -> str:
    """The largest part of a duration, and so many smaller ones."""
    if value == 0:
        return "0 seconds"
    if value < 0:
        return _duration(-value, decimals) + " ago"
    left, parts = value, list[str]()
    for name, seconds in DURATIONS:
        if left / seconds >= 1 or parts:
            count = math.floor(left / seconds)
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
            left %= seconds
        if len(parts) > (decimals or 0):
            break
    return ", ".join(parts)


def _moment(value: float, _decimals: int | None) -> str:
    return f"{datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%S}"


FORMATS: Mapping[str, Format] = {
    "none": fixed,
    "": fixed,
    "short": _scaled(SHORT, 0),
    "percent": _with("%"),
    "percentunit": _with("%", 100),
    "massmg": _si("g", -1),
    "massg": _si("g"),
    "masskg": _si("g", 1),
    "masst": _with(" t"),
    "watt": _si("W"),
    "kwatt": _si("W", 1),
    "watth": _si("Wh"),
    "kwatth": _si("Wh", 1),
    "joule": _si("J"),
    "s": _seconds,
    "dtdurations": _duration,
    "dateTimeAsIso": _moment,
}


def formatted(value: float, unit: str, decimals: int | None = None) -> str:
    """The number in that unit, as text.

    Raises:
        PreviewError: a unit that this tool does not know.
    """
    kind, found, own = unit.partition(":")
    if found and kind == "suffix":
        return f"{fixed(value, decimals)} {own.strip()}"
    if found and kind == "prefix":
        return own + fixed(value, decimals)
    if found and kind == "si":
        prefix = own[0] if own[0] in SI and len(own) > 1 else ""
        return _si(own.removeprefix(prefix), SI.index(prefix) - NO_PREFIX)(value, decimals)
    if unit not in FORMATS:
        raise PreviewError(f"the unit {unit!r} is not known here")
    return FORMATS[unit](value, decimals)
