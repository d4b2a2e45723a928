"""One CSV file of Electricity Maps' data portal: hours, days, months or years of a zone, in UTC without saying so.

Of its header there are two generations: capitals, `LCA` or `Life cycle`, and the two of CO2 as a subscript or not.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import MAXYEAR, UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args

from pipeline.errors import ConfigError
from pipeline.sources.grid.contract import FactorType
from pipeline.sources.grid.csv_file import intensity
from pipeline.window import HOUR

Length: TypeAlias = Literal["hourly", "daily", "monthly", "yearly"]

LENGTHS: tuple[Length, ...] = get_args(Length)
DAY = timedelta(days=1)
LONGEST: dict[Length, timedelta] = {"hourly": HOUR, "daily": DAY, "monthly": 31 * DAY, "yearly": 366 * DAY}
SHORTEST: dict[Length, timedelta] = {"hourly": HOUR, "daily": DAY, "monthly": 28 * DAY, "yearly": 365 * DAY}
TIME, ZONE, ESTIMATED, METHOD = "datetime (utc)", "zone id", "data estimated", "data estimation method"
WORDS: dict[FactorType, tuple[str, ...]] = {"lifecycle": ("life cycle", "lca"), "direct": ("direct",)}
FLAGS = {"true": True, "false": False, "": None}


class Reading(NamedTuple):
    """One row; `estimated` is None where the file does not say, `g_per_kwh` where it is empty."""

    where: str
    start_utc: datetime
    end_utc: datetime
    g_per_kwh: float | None
    estimated: bool | None
    method: str | None


def zones(path: Path) -> set[str]:
    """The zones that a file has rows of.

    Raises:
        ConfigError: it is not one of the portal's.
    """
    return {row[ZONE] for _, row in _rows(path)}


def readings(path: Path, zone: str, factor_type: FactorType) -> tuple[Length, list[Reading]]:
    """How long a row of the file is, and its rows of one zone; `hourly` where it has none.

    Raises:
        ConfigError: names the file, the line and what is wrong with it.
    """
    rows = [(where, _moment(row[TIME], where), row) for where, row in _rows(path) if row[ZONE] == zone]
    if not rows:
        return "hourly", []
    length = _length(path, {start for _, start, _ in rows})
    column = _column(path, rows[0][2], factor_type)
    return length, [
        Reading(
            where=where,
            start_utc=start,
            end_utc=_end(start, length, where),
            g_per_kwh=intensity(row[column], where),
            estimated=_flag(row.get(ESTIMATED, ""), where),
            method=row.get(METHOD) or None,
        )
        for where, start, row in rows
    ]


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row with its place in the file, by the plain names of columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [_plain(name) for name in next(reader, [])]
            for name in (TIME, ZONE):
                if name not in header:
                    raise ConfigError(f"{path}: column {name!r} is missing: is it a file of the data portal?")
            if len(set(header)) < len(header):
                raise ConfigError(f"{path}: its header names a column twice")
            for cells in reader:
                where = f"{path} line {reader.line_num}"
                if len(cells) not in (0, len(header)):
                    raise ConfigError(f"{where}: {len(cells)} values where the header has {len(header)} columns")
                if cells:
                    yield where, dict(zip(header, (cell.strip() for cell in cells), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"cannot read the intensity file {path}: {error}") from error


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _column(path: Path, names: Iterable[str], factor_type: FactorType) -> str:
    """The column of a factor type, by its name: the first of carbon intensity is the direct one."""
    wanted = [f"carbon intensity gco2eq/kwh ({word})" for word in WORDS[factor_type]]
    found = [name for name in names if name in wanted]
    if len(found) != 1:
        raise ConfigError(f"{path}: {len(found)} columns of {factor_type} intensity, one like {wanted[0]!r} is needed")
    return found[0]


def _moment(text: str, where: str) -> datetime:
    stamp = None
    with suppress(ValueError, OverflowError):
        stamp = datetime.fromisoformat(text)
        stamp = stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp.astimezone(UTC)
    if stamp is None or stamp.year == MAXYEAR:
        raise ConfigError(f"{where}: {text!r} is not a time like 2025-01-31 23:00:00")
    return stamp


def _flag(text: str, where: str) -> bool | None:
    if text.casefold() not in FLAGS:
        raise ConfigError(f"{where}: data estimated is true or false, not {text!r}")
    return FLAGS[text.casefold()]


def _length(path: Path, starts: set[datetime]) -> Length:
    """By the file's name (`DE_2025_hourly.csv`) and by how far apart its rows are, which must not disagree."""
    apart = min((following - one for one, following in pairwise(sorted(starts))), default=None)
    spaced = [name for name in LENGTHS if apart is not None and SHORTEST[name] <= apart <= LONGEST[name]]
    named = [name for name in LENGTHS if re.search(rf"(?<![a-z]){name}(?![a-z])", path.stem.lower())]
    if len(named) > 1 or (named and spaced and named != spaced):
        rows = f", its rows are {spaced[0]}" if spaced else ""
        raise ConfigError(f"{path}: its name says {' and '.join(named)}{rows}: rename it")
    for name in (*named, *spaced):
        return name
    raise ConfigError(f"{path}: cannot tell how long a row is: name it like DE_2025_hourly.csv")


def _end(start: datetime, length: Length, where: str) -> datetime:
    """Where a row ends.

    Raises:
        ConfigError: a row of that length cannot begin there.
    """
    if _begin(start, length) != start:
        raise ConfigError(f"{where}: no {length} row begins at {start:%F %T}")
    return _begin(start + LONGEST[length], length)


def _begin(moment: datetime, length: Length) -> datetime:
    """The start of the hour, day, month or year that a moment lies in."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if length == "hourly":
        return hour
    day = hour.replace(hour=0)
    if length == "daily":
        return day
    return day.replace(day=1) if length == "monthly" else day.replace(month=1, day=1)
