"""Which hours a run takes."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pyarrow as pa

from pipeline.window import HOUR, Window, floor_hour

YOUNG = timedelta(hours=48)  # a partial or empty hour may still gain samples
PRUNED = "pruned"  # the state of an hour of which only its day's sums are left


def last_closed(now: datetime, settle: timedelta) -> datetime:
    """Right edge of the newest hour that ended more than `settle` ago."""
    return floor_hour(now - settle)


def due_hours(known: pa.Table, first: datetime, now: datetime, settle: timedelta) -> list[datetime]:
    """Closed hours from `first` on that are not done.

    Done is complete or pruned, or partial or empty and older than 48 h; failed hours are always due.

    Args:
        known: newest fold rows of the cluster, schema HOURS.
        first: the first hour of the cluster.
        now: the present.
        settle: how long after its end an hour is left alone.
    """
    end = last_closed(now, settle)
    if first >= end:
        return []
    state = dict(zip(known["hour_utc"].to_pylist(), known["state"].to_pylist(), strict=True))
    return [hour for hour in Window(first, end).hours() if not is_done(state.get(hour), now - hour - HOUR)]


def unfinished(hours: Sequence[datetime], known: pa.Table, config_digest: str, now: datetime) -> list[datetime]:
    """Those of the hours that are not done, or were done under another configuration.

    Args:
        hours: closed ones.
        known: newest fold rows of the cluster, schema HOURS.
        config_digest: of the configuration that is asked about.
        now: the present.
    """
    names = ("hour_utc", "state", "config_digest")
    told = zip(*(known[name].to_pylist() for name in names), strict=True)
    state = {hour: state for hour, state, digest in told if digest == config_digest}
    return [hour for hour in hours if not is_done(state.get(hour), now - hour - HOUR)]


def is_done(state: str | None, age: timedelta) -> bool:
    """Whether no run takes an hour of that state up by itself, so long after its end."""
    return state in ("complete", PRUNED) or (state in ("partial", "empty") and age > YOUNG)
