"""Which hours are reported, and which they are compared with."""

from datetime import UTC, datetime, timedelta

import pytest

from pipeline.books.periods import period_of
from pipeline.period_report.spans import spans_of

LATER = datetime(2028, 1, 1, tzinfo=UTC)


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "before", "title", "before_title"),
    [
        ("2026-10-01", "2026-11-01", "2026-09-01", "October 2026", "September 2026"),
        ("2026-01-01", "2026-02-01", "2025-12-01", "January 2026", "December 2025"),
        ("2026-04-01", "2026-07-01", "2026-01-01", "April 2026 to June 2026", "January 2026 to March 2026"),
        ("2026-01-01", "2027-01-01", "2025-01-01", "January 2026 to December 2026", "January 2025 to December 2025"),
        ("2026-10-05", "2026-10-12", "2026-09-28", "2026-10-05 to 2026-10-11", "2026-09-28 to 2026-10-04"),
        ("2026-10-05", "2026-10-06", "2026-10-04", "2026-10-05", "2026-10-04"),
        (
            "2026-10-05T06:00", "2026-10-05T09:00", "2026-10-05T03:00", "2026-10-05 06:00 to 2026-10-05 09:00 UTC",
            "2026-10-05 03:00 to 2026-10-05 06:00 UTC",
        ),
    ],
)  # fmt: skip
def test_the_period_before_is_as_many_months_or_as_many_hours(
    start: str, end: str, before: str, title: str, before_title: str
) -> None:
    period = period_of(None, day(start).isoformat(), day(end).isoformat())
    spans = spans_of(period, None, LATER)
    assert (spans.start_utc, spans.until_utc, spans.is_open) == (day(start), day(end), False)
    assert (spans.before_start_utc, spans.before_until_utc) == (day(before), day(start))
    assert (spans.title, spans.before_title) == (title, before_title)


def test_an_open_month_ends_with_its_newest_hour_and_is_compared_with_as_many_hours() -> None:
    spans = spans_of(period_of("2026-10", None, None), day("2026-10-09T13:00"), day("2026-10-09T14:20"))
    assert (spans.until_utc, spans.is_open) == (day("2026-10-09T14:00"), True)
    assert (spans.before_start_utc, spans.before_until_utc) == (day("2026-09-01"), day("2026-09-09T14:00"))
    assert [f"{day}" for day in spans.edge_days] == ["2026-09-09", "2026-10-09"]


def test_the_last_days_of_an_open_long_month_have_the_whole_short_one_before_them() -> None:
    spans = spans_of(period_of("2026-03", None, None), day("2026-03-30T23:00"), day("2026-03-31T00:10"))
    assert spans.before_until_utc == day("2026-03-01")


@pytest.mark.parametrize("now", ["2026-10-01T00:20", "2026-09-01"])
def test_a_period_that_has_hardly_or_not_begun_has_an_hour_all_the_same(now: str) -> None:
    spans = spans_of(period_of("2026-10", None, None), None, day(now))
    assert spans.until_utc - spans.start_utc == timedelta(hours=1)
