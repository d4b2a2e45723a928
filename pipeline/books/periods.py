"""Periods that can be closed: a UTC month, or any span of whole hours."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.errors import ConfigError
from pipeline.window import Window, parse_time

MONTH = re.compile(r"(\d{4})-(\d{2})")
DECEMBER = 12


@dataclass(frozen=True)
class Period:
    """A span with the name under which it is closed."""

    name: str
    window: Window


def period_of(month: str | None, start: str | None, end: str | None) -> Period:
    """The period of `--period`, or of `--start` and `--end`.

    Raises:
        ConfigError: none or both are given, or what is given is no month and no span of whole hours.
    """
    if (month is None) is (start is None and end is None):
        raise ConfigError("say which period: --period 2026-10, or --start and --end")
    if month is not None:
        return Period(month, _month(month))
    if start is None or end is None:
        raise ConfigError("--start and --end go together")
    window = Window(parse_time(start, "--start"), parse_time(end, "--end"))
    return Period(f"{window.start:%FT%HZ}/{window.end:%FT%HZ}", window)


def _month(text: str) -> Window:
    found = MONTH.fullmatch(text)
    year, month = (int(part) for part in found.groups()) if found else (0, 0)
    if not year or not 1 <= month <= DECEMBER:
        raise ConfigError(f"--period {text!r} is no month: write it like 2026-10, or give --start and --end")
    following = (year + 1, 1) if month == DECEMBER else (year, month + 1)
    return Window(datetime(year, month, 1, tzinfo=UTC), datetime(*following, 1, tzinfo=UTC))
