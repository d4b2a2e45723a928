"""Which hours a DAG run is about.

Airflow 3's cron schedules have intervals of no width: hours are computed from the logical date, not read off
`data_interval_end`.
"""

from datetime import datetime, timedelta

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def month_before(logical_date: datetime) -> tuple[str, str, str]:
    """The UTC month before a DAG run's logical date: its name (`2026-10`), start and end in ISO 8601."""
    end = logical_date.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    start = (end - DAY).replace(day=1)
    return f"{start:%Y-%m}", start.isoformat(), end.isoformat()


def hour_before(logical_date: datetime) -> tuple[str, str]:
    """The hour that ended last before a logical date: its start and end in ISO 8601."""
    end = logical_date.replace(minute=0, second=0, microsecond=0)
    return (end - HOUR).isoformat(), end.isoformat()
