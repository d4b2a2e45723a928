"""Which hours a report is about, and which it compares them with."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from pipeline.books.periods import Period
from pipeline.window import HOUR, floor_hour

MONTHS = 12
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Spans:
    """A period and the one before it.

    Attributes:
        name: of the period, as it is closed under.
        start_utc: its first hour.
        end_utc: its end, itself outside.
        until_utc: where its figures end: the end, or of an open period the end of the newest stored hour.
        is_open: whether it was not over when the report was made.
        before_start_utc: where the period before begins: as many whole months earlier, else as many hours.
        before_until_utc: where what is compared of it ends: of an open period after as many hours as that has.
    """

    name: str
    start_utc: datetime
    end_utc: datetime
    until_utc: datetime
    is_open: bool
    before_start_utc: datetime
    before_until_utc: datetime

    @property
    def title(self) -> str:
        """The period as people say it."""
        return said(self.start_utc, self.end_utc)

    @property
    def before_title(self) -> str:
        """What it is compared with, as people say it."""
        return said(self.before_start_utc, self.before_until_utc)

    @property
    def edge_days(self) -> list[date]:
        """The UTC days within which one of them begins or ends."""
        edges = (self.start_utc, self.until_utc, self.before_start_utc, self.before_until_utc)
        return sorted({edge.date() for edge in edges if edge.hour})


def spans_of(period: Period, newest_hour: datetime | None, now: datetime) -> Spans:
    """The spans of a period.

    Args:
        period: what is reported.
        newest_hour: the newest hour of it that is stored; None where none is.
        now: the present.
    """
    start, end = period.window.start, period.window.end
    before_start = _earlier(start, end)
    is_open = end > now
    until = end
    if is_open:
        known = max(start + HOUR, min(end, floor_hour(now)))
        until = known if newest_hour is None else newest_hour + HOUR
    before_until = min(before_start + (until - start), start) if is_open else start
    return Spans(period.name, start, end, until, is_open, before_start, before_until)


def _earlier(start: datetime, end: datetime) -> datetime:
    """The start of the period before: by whole months where the period is some."""
    if not (_begins_month(start) and _begins_month(end)):
        return start - (end - start)
    months = (end.year - start.year) * MONTHS + end.month - start.month
    index = start.year * MONTHS + start.month - 1 - months
    return start.replace(year=index // MONTHS, month=index % MONTHS + 1)


def _begins_month(moment: datetime) -> bool:
    return moment.day == 1 and moment.hour == 0


def said(start: datetime, end: datetime) -> str:
    """A span as people say it: a month by its name, whole days by dates that both lie inside, else with hours."""
    if start.hour or end.hour:
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    last = end - DAY
    if _begins_month(start) and _begins_month(end):
        if (start.year, start.month) == (last.year, last.month):
            return f"{start:%B %Y}"
        return f"{start:%B %Y} to {last:%B %Y}"
    return f"{start:%Y-%m-%d}" if start == last else f"{start:%Y-%m-%d} to {last:%Y-%m-%d}"
