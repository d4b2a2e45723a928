"""When a grid's figures are asked for again."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tables import INTENSITY_CHECKS
from pipeline.transforms.settling import due_windows, milestone, spans
from pipeline.window import HOUR, Window

H0 = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def check(asked: datetime, first: int = 0, last: int = 1, outcome: str = "ok") -> dict[str, Any]:
    span = {"start_utc": H0 + first * HOUR, "end_utc": H0 + last * HOUR}
    return {"zone": "DE", "provider": "p", "signal": "average", "factor_type": "direct"} | span | {
        "asked_utc": asked, "outcome": outcome, "changed": 0,
    }  # fmt: skip


def due(hours: int, now: datetime, *checks: dict[str, Any]) -> list[Window]:
    return due_windows([H0 + n * HOUR for n in range(hours)], pa.Table.from_pylist(list(checks), INTENSITY_CHECKS), now)


def is_due(now: datetime, *checks: dict[str, Any]) -> bool:
    return bool(due(1, now, *checks))


def test_an_hour_never_asked_for_is_due_at_any_age() -> None:
    assert is_due(H0 + HOUR)
    assert is_due(H0 + 400 * DAY)


END = H0 + HOUR


@pytest.mark.parametrize(
    ("asked", "now", "expected"),
    [
        (END, END + timedelta(minutes=9), False),  # at once again, or another cluster of the same zone
        (END, END + timedelta(minutes=10), True),
        (END + 47 * HOUR, END + 48 * HOUR, True),  # never asked since it left its youth
        (END + 48 * HOUR, END + 7 * DAY - HOUR, False),
        (END + 48 * HOUR, END + 7 * DAY, True),
        (END + 7 * DAY, END + 29 * DAY, False),
        (END + 7 * DAY, END + 30 * DAY, True),
        (END + 8 * DAY, END + 31 * DAY, True),
        (END + 30 * DAY, END + 89 * DAY, False),
        (END + 30 * DAY, END + 90 * DAY, True),
        (END + 90 * DAY, END + 4000 * DAY, False),
    ],
)
def test_an_hour_is_asked_for_while_young_and_once_at_7_30_and_90_days(
    asked: datetime, now: datetime, *, expected: bool
) -> None:
    assert is_due(now, check(asked)) is expected


@pytest.mark.parametrize(
    ("outcome", "expected"), [("ok", False), ("nothing", False), ("failed", True), ("not in plan", True)]
)
def test_only_an_answer_counts_as_asked(outcome: str, *, expected: bool) -> None:
    assert is_due(END + 100 * DAY, check(END + 95 * DAY, outcome=outcome)) is expected


def test_the_newest_of_several_checks_counts_whatever_their_order() -> None:
    late, early = check(END + 95 * DAY), check(END)
    assert not is_due(END + 100 * DAY, late, early)
    assert not is_due(END + 100 * DAY, early, late)


def test_a_check_speaks_of_the_hours_it_wholly_covers() -> None:
    checks = check(END + 95 * DAY, 1, 3)
    assert due(4, END + 100 * DAY, checks) == [Window(H0, H0 + HOUR), Window(H0 + 3 * HOUR, H0 + 4 * HOUR)]
    half = checks | {"start_utc": H0 + timedelta(minutes=30), "end_utc": H0 + timedelta(minutes=90)}
    assert due(2, END + 100 * DAY, half) == [Window(H0, H0 + 2 * HOUR)]


@given(st.sets(st.integers(0, 100)))
def test_spans_hold_their_hours_and_no_other_and_never_touch(numbers: set[int]) -> None:
    windows = spans(H0 + n * HOUR for n in sorted(numbers))
    assert [hour for window in windows for hour in window.hours()] == [H0 + n * HOUR for n in sorted(numbers)]
    assert all(one.end < other.start for one, other in pairwise(windows))


def test_milestones_are_passed_one_after_another() -> None:
    ages = [timedelta(0), timedelta(hours=48), 7 * DAY, 30 * DAY, 90 * DAY]
    assert [milestone(H0, END + age) for age in ages] == [0, 1, 2, 3, 4]
