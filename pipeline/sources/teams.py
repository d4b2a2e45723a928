"""Which team answers for a namespace, and from when to when: a file of the user's, line by line.

Columns `namespace,team` and optionally `cluster` (a pattern such as `prod-*`; empty: every cluster), `from` and `to`
(UTC days, half-open; empty: open). What belongs to no namespace is named `(idle)`, `(system)` or `(unknown)`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError
from pipeline.settings.teams import NO_TEAM
from pipeline.sources.csv_rows import csv_rows

REQUIRED = ("namespace", "team")
OPTIONAL = ("cluster", "from", "to")
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

Line = dict[str, Any]


def read(path: Path, clusters: Sequence[str]) -> list[Line]:
    """The lines of a file as TEAMS rows without `fetched_utc`, one for each cluster that a line is about.

    Args:
        path: the file.
        clusters: the names in the configuration.

    Raises:
        ConfigError: names the file, the line and what to write instead; of two lines that overlap, both.
    """
    found: list[tuple[str, Line]] = []
    for where, row in csv_rows(path, REQUIRED, OPTIONAL, "teams"):
        pattern = row.get("cluster") or "*"
        named = [name for name in clusters if fnmatchcase(name, pattern)]
        if not named:
            raise ConfigError(f"{where}: cluster {pattern!r} is none of {', '.join(clusters)}")
        line = _line(where, row)
        found += [(where, {"cluster": name, **line}) for name in named]
    _refuse_overlaps(found)
    return [line for _, line in found]


def _line(where: str, row: dict[str, str]) -> Line:
    for key in REQUIRED:
        if not row[key]:
            raise ConfigError(f"{where}: {key} is empty: leave the line out where a namespace has no team")
    if row["team"] == NO_TEAM:
        raise ConfigError(f"{where}: {NO_TEAM} is what namespaces without a line are shown as: leave the line out")
    start, end = (_day(row.get(key, ""), f"{where}: {key}") for key in ("from", "to"))
    if start is not None and end is not None and end <= start:
        raise ConfigError(f"{where}: it ends on {end:%F}, before it begins: `to` is the first day that is outside")
    return {"namespace": row["namespace"], "team": row["team"], "start_utc": start, "end_utc": end}


def _day(text: str, where: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC) if text else None
    except ValueError:
        raise ConfigError(f"{where} {text!r} is not a UTC day: write 2026-11-01") from None


def _refuse_overlaps(found: Sequence[tuple[str, Line]]) -> None:
    """One namespace has one team at a time, whatever lines it is named by."""
    for (one, line), (other, following) in pairwise(sorted(found, key=_order)):
        same = all(line[name] == following[name] for name in ("cluster", "namespace"))
        if same and (following["start_utc"] or FIRST) < (line["end_utc"] or LAST):
            raise ConfigError(
                f"{one} and {other.rpartition(' ')[2]}: namespace {line['namespace']} of {line['cluster']} has two "
                f"teams at a time, {line['team']} and {following['team']}: end one line where the other begins"
            )


def _order(told: tuple[str, Line]) -> tuple[str, str, datetime]:
    line = told[1]
    return line["cluster"], line["namespace"], line["start_utc"] or FIRST
