"""Every expression of a dashboard file, and the request that Grafana makes of it.

Restates what Grafana's Prometheus data source does: `$__range` rounded to seconds, instant queries evaluated at the
range's end to the millisecond, range queries at steps aligned down to multiples of the step in the reader's time zone.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

DASHBOARDS = sorted((Path(__file__).parents[2] / "dashboards").glob("*.json"))
HOUR, DAY = 3600, 86400
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EVERYTHING = ".+"
CHOICES = dict.fromkeys(("cluster", "team", "namespace", "workload", "node"), EVERYTHING) | {"budget_kg": "0.001"}


@dataclass(frozen=True)
class TimeRange:
    """What a reader chose: both ends inside, milliseconds since the epoch; `now_ms` where it is relative to now."""

    start_ms: int
    end_ms: int
    now_ms: int | None = None
    utc_offset_seconds: int = 0

    @classmethod
    def between(cls, start: str, end: str, now: str | None = None, utc_offset_seconds: int = 0) -> "TimeRange":
        """From ISO 8601 times with a zone."""
        stamps = [
            None if text is None else round(datetime.fromisoformat(text).timestamp() * 1000)
            for text in (start, end, now)
        ]
        assert stamps[0] is not None
        assert stamps[1] is not None
        return cls(stamps[0], stamps[1], stamps[2], utc_offset_seconds)

    @property
    def seconds(self) -> int:
        """`$__range`: rounded, so that 23:59:59.999 - 00:00 is a day."""
        return round((self.end_ms - self.start_ms) / 1000)


@dataclass(frozen=True)
class PanelExpression:
    """One target of one panel."""

    board: str
    panel_id: int
    panel: str
    panel_type: str
    ref_id: str
    expr: str
    instant: bool
    min_step_seconds: int
    time_from: str | None

    def __str__(self) -> str:
        return f"{self.board}/{self.panel}/{self.ref_id}"

    def request(self, chosen: TimeRange, step_seconds: int = 3600, **choices: str) -> tuple[str, dict[str, str]]:
        """Path and parameters of the query API call; `choices` are values of the dashboard's variables.

        A panel with a time override is asked for the override's range up to now, as Grafana does for relative ranges.
        """
        step = max(step_seconds, self.min_step_seconds)
        if self.time_from is not None and chosen.now_ms is not None:
            chosen = TimeRange(chosen.now_ms - seconds(self.time_from) * 1000, chosen.now_ms, chosen.now_ms)
        query = substituted(self.expr, chosen.seconds, step, **choices)
        if self.instant:
            return "/api/v1/query", {"query": query, "time": f"{chosen.end_ms / 1000:.3f}"}
        first, last = (aligned(ms // 1000, step, chosen.utc_offset_seconds) for ms in (chosen.start_ms, chosen.end_ms))
        return "/api/v1/query_range", {"query": query, "start": str(first), "end": str(last), "step": str(step)}


def seconds(duration: str) -> int:
    """Seconds of a duration such as 1h or 7d."""
    return int(duration[:-1]) * SECONDS[duration[-1]]


def aligned(moment_seconds: int, step_seconds: int, utc_offset_seconds: int = 0) -> int:
    """`moment_seconds` down to a multiple of the step in local time."""
    return (moment_seconds + utc_offset_seconds) // step_seconds * step_seconds - utc_offset_seconds


def duration_text(span_seconds: int) -> str:
    """As Grafana writes `$__interval`: 1h, 1d."""
    unit = next(unit for unit in "dhms" if span_seconds % SECONDS[unit] == 0)
    return f"{span_seconds // SECONDS[unit]}{unit}"


def substituted(expr: str, range_seconds: int, step_seconds: int, **choices: str) -> str:
    """`expr` with Grafana's variables replaced; one not in `choices` is All, and the budget 1 g a month.

    Raises:
        ValueError: a variable that no dashboard has.
    """
    known = {"__range": f"{range_seconds}s", "__interval": duration_text(step_seconds)}
    values = CHOICES | choices | known

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in values:
            raise ValueError(f"${name} is not a variable: {expr}")
        return values[name]

    return re.sub(r"\$(?:([A-Za-z_]\w*)|\{(\w+)\})", value, expr)


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All panels, also those inside collapsed rows, without the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panels({"panels": panel.get("panels", [])})
        else:
            yield panel


def panel_expressions() -> list[PanelExpression]:
    """Every expression of every dashboard, in the order of its panels."""
    return [found for path in DASHBOARDS for found in _expressions(path)]


def _expressions(path: Path) -> Iterator[PanelExpression]:
    for panel in panels(json.loads(path.read_text(encoding="utf-8"))):
        for target in panel.get("targets", []):
            yield PanelExpression(
                board=path.stem,
                panel_id=panel["id"],
                panel=panel["title"],
                panel_type=panel["type"],
                ref_id=target["refId"],
                expr=target["expr"],
                instant=bool(target.get("instant")),
                min_step_seconds=seconds(target["interval"]),
                time_from=panel.get("timeFrom"),
            )
