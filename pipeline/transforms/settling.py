"""When a grid's figures are asked for again: vendors revise for days, then at set ages, then hardly ever.

An hour younger than 48 h is read again by each run; an older one at 7, 30 and 90 days, once each; after that never.
What was asked when is told by `intensity_checks`, so an hour that cannot have changed costs no call.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Int64s
from pipeline.tables import values
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Window, from_ms, to_ms

YOUNG = timedelta(hours=48)
MILESTONES = (YOUNG, timedelta(days=7), timedelta(days=30), timedelta(days=90))
REST = timedelta(minutes=10)  # clusters of one zone, and a run repeated at once, ask once
ANSWERED = ("ok", "nothing")  # outcomes of a check after which there is no reason to ask at once again
NEVER = np.iinfo(np.int64).min // 4


def due_windows(hours: Sequence[datetime], checks: pa.Table, now: datetime) -> list[Window]:
    """Spans of whole hours to ask a provider about.

    Args:
        hours: left edges of the hours whose figures are wanted.
        checks: schema INTENSITY_CHECKS, of that provider, zone, signal and factor type.
        now: the present.
    """
    ordered = np.array(sorted({to_ms(hour) for hour in hours}), dtype=np.int64)
    due = ordered[_is_due(ordered + MS_PER_HOUR, _last_asked(ordered, checks), to_ms(now))]
    return spans(from_ms(stamp) for stamp in due.tolist())


def spans(hours: Iterable[datetime]) -> list[Window]:
    """Hours in time order as the fewest windows."""
    found: list[Window] = []
    for hour in hours:
        if found and found[-1].end == hour:
            found[-1] = Window(found[-1].start, hour + HOUR)
        else:
            found.append(Window.of_hour(hour))
    return found


def milestone(hour_utc: datetime, at: datetime) -> int:
    """How many milestones an hour had passed at a moment: 0 while it is young, 4 when it is settled."""
    return sum(at >= hour_utc + HOUR + age for age in MILESTONES)


def _last_asked(hours_ms: Int64s, checks: pa.Table) -> Int64s:
    asked = np.full(len(hours_ms), NEVER, dtype=np.int64)
    columns = ("start_utc", "end_utc", "asked_utc", "outcome")
    for start, end, when, outcome in zip(*(values(checks, name) for name in columns), strict=True):
        if outcome in ANSWERED:
            first, last = np.searchsorted(hours_ms, [to_ms(start), to_ms(end) - MS_PER_HOUR + 1])
            np.maximum(asked[first:last], to_ms(when), out=asked[first:last])
    return asked


def _is_due(ends_ms: Int64s, asked_ms: Int64s, now_ms: int) -> Bools:
    young, *older = (age // timedelta(milliseconds=1) for age in MILESTONES)
    was_young = (asked_ms < ends_ms + young) & (now_ms - asked_ms >= REST // timedelta(milliseconds=1))
    passed = [(now_ms >= ends_ms + age) & (asked_ms < ends_ms + age) for age in older]
    return np.asarray(np.logical_or.reduce([was_young, *passed]), dtype=np.bool_)
