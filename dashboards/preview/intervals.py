"""What a reader has chosen of time, and the steps at which Grafana's Prometheus data source asks for it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dashboards.preview.board import PreviewError

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 2592000, "y": 31536000}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwMy])")
RELATIVE = re.compile(r"now(?:([+-])(\d+)([smhdwMy]))?(?:/([hdwMy]))?")
# Up to each limit the step that is taken, in seconds: `roundInterval` of Grafana.
ROUNDED = (
    (0.010, 0.001), (0.015, 0.010), (0.035, 0.020), (0.075, 0.050), (0.150, 0.100), (0.350, 0.200), (0.750, 0.500),
    (1.5, 1), (3.5, 2), (7.5, 5), (12.5, 10), (17.5, 15), (25, 20), (45, 30), (90, 60), (210, 120), (450, 300),
    (750, 600), (1050, 900), (1500, 1200), (2700, 1800), (5400, 3600), (9000, 7200), (16200, 10800), (32400, 21600),
    (86400, 43200), (604800, 86400), (1814400, 604800), (3628800, 2592000),
)  # fmt: skip
SAFE_POINTS = 11_000  # Prometheus gives no more
SCRAPED_SECONDS = 15.0  # where a data source does not say otherwise


@dataclass(frozen=True)
class TimeRange:
    """Both ends in milliseconds since the epoch, and now."""

    start_ms: int
    end_ms: int
    now_ms: int

    @property
    def seconds(self) -> int:
        """`$__range_s`, rounded."""
        return (self.end_ms - self.start_ms + 500) // 1000

    def over(self, time_from: str | None, time_shift: str | None) -> "TimeRange":
        """The range of a panel with its own."""
        start_ms, end_ms = self.start_ms, self.end_ms
        if time_from:
            start_ms, end_ms = self.now_ms - round(duration_seconds(time_from) * 1000), self.now_ms
        back_ms = round(duration_seconds(time_shift) * 1000) if time_shift else 0
        return TimeRange(start_ms - back_ms, end_ms - back_ms, self.now_ms)


def time_range(chosen: dict[str, str], now: datetime) -> TimeRange:
    """The range of a dashboard's `time`, in UTC."""
    ends = (_moment(chosen["from"], now, is_end=False), _moment(chosen["to"], now, is_end=True))
    return TimeRange(*(round(end.timestamp() * 1000) for end in (*ends, now)))


def _moment(text: str, now: datetime, *, is_end: bool) -> datetime:
    match = RELATIVE.fullmatch(text)
    if match is None:
        raise PreviewError(f"the time {text!r} is not understood")
    sign, count, unit, whole = match.groups()
    moment = now + timedelta(seconds=(1 if sign == "+" else -1) * int(count or 0) * SECONDS[unit or "s"])
    return _edge(moment, whole, is_end=is_end) if whole else moment


def _edge(moment: datetime, unit: str, *, is_end: bool) -> datetime:
    """The first or last millisecond of the hour, day, week, month or year of `moment`."""
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    first = {
        "h": hour,
        "d": day,
        "w": day - timedelta(days=day.weekday()),
        "M": day.replace(day=1),
        "y": day.replace(month=1, day=1),
    }[unit]
    if not is_end:
        return first
    following = {
        "M": datetime(first.year + first.month // 12, first.month % 12 + 1, 1, tzinfo=UTC),
        "y": datetime(first.year + 1, 1, 1, tzinfo=UTC),
    }
    return following.get(unit, first + timedelta(seconds=SECONDS[unit])) - timedelta(milliseconds=1)


def duration_seconds(text: str) -> float:
    """Seconds of a duration such as 1h, 7d or >1h."""
    match = DURATION.fullmatch(text.removeprefix(">"))
    if match is None:
        raise PreviewError(f"the duration {text!r} is not understood")
    return float(match[1]) * SECONDS[match[2]]


def duration_text(seconds: float) -> str:
    """As `$__interval` is written: 1h, 1d, 90s."""
    for unit in ("d", "h", "m", "s"):
        if seconds % SECONDS[unit] == 0:
            return f"{seconds / SECONDS[unit]:.0f}{unit}"
    return f"{seconds * 1000:.0f}ms"


def step_seconds(chosen: TimeRange, least_seconds: float, points: int) -> float:
    """How far the points of a range query lie apart, of which a panel wants `points` at most."""
    span = (chosen.end_ms - chosen.start_ms) / 1000
    wanted = span / points
    step = least_seconds if wanted < least_seconds else rounded(wanted)
    return max(step, rounded(span / SAFE_POINTS))


def rounded(seconds: float) -> float:
    """A step that a person would choose."""
    return next((step for limit, step in ROUNDED if seconds <= limit), SECONDS["y"])


def rate_interval_seconds(step: float, scraped_seconds: float) -> float:
    """`$__rate_interval`: four scrapes at least."""
    return max(step + scraped_seconds, 4 * scraped_seconds)


def aligned_seconds(moment_ms: int, step: float) -> float:
    """The moment down to a multiple of the step, in UTC."""
    return moment_ms / 1000 // step * step
