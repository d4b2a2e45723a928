"""Which hours a DAG run is about."""

from datetime import UTC, datetime

from pipeline.airflow.ranges import hour_before, month_before


def test_the_hour_is_the_one_that_ended_last() -> None:
    at = datetime(2026, 11, 1, 0, 10, 3, tzinfo=UTC)
    assert hour_before(at) == ("2026-10-31T23:00:00+00:00", "2026-11-01T00:00:00+00:00")
    assert hour_before(at.replace(minute=0, second=0))[1] == "2026-11-01T00:00:00+00:00"


def test_the_month_is_the_one_that_ended_last_whatever_the_year() -> None:
    january = datetime(2027, 1, 3, 6, tzinfo=UTC)
    assert month_before(january) == ("2026-12", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00")
    march = datetime(2028, 3, 31, tzinfo=UTC)
    assert month_before(march) == ("2028-02", "2028-02-01T00:00:00+00:00", "2028-03-01T00:00:00+00:00")
