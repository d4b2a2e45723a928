"""Which hours a run takes."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from pipeline.plan import due_hours, last_closed
from pipeline.tables import HOURS
from pipeline.window import HOUR

SETTLE = timedelta(minutes=12)
FIRST = datetime(2026, 11, 3, 10, tzinfo=UTC)


def known(**states: str) -> pa.Table:
    """`h2="partial"`: the hour two after `FIRST`."""
    rows = [{"hour_utc": FIRST + int(name[1:]) * HOUR, "state": state} for name, state in states.items()]
    return pa.Table.from_pylist(rows, HOURS)


def due(table: pa.Table, now: datetime) -> list[int]:
    return [(hour - FIRST) // HOUR for hour in due_hours(table, FIRST, now, SETTLE)]


@pytest.mark.parametrize(("minute", "second", "hour"), [(11, 59, 11), (12, 0, 12), (59, 59, 12), (0, 0, 11)])
def test_an_hour_is_closed_once_it_ended_settle_ago(minute: int, second: int, hour: int) -> None:
    assert last_closed(datetime(2026, 11, 3, 12, minute, second, tzinfo=UTC), SETTLE).hour == hour


def test_every_closed_hour_that_is_not_known_is_due_in_order() -> None:
    assert due(known(), FIRST + timedelta(hours=3, minutes=12)) == [0, 1, 2]
    assert due(known(), FIRST + timedelta(hours=3, minutes=11)) == [0, 1]


def test_nothing_is_due_before_the_first_hour_has_closed() -> None:
    assert due(known(), FIRST + timedelta(hours=1, minutes=11)) == []
    assert due(known(), FIRST - timedelta(days=1)) == []


def test_complete_hours_are_done_and_holes_between_them_are_due() -> None:
    assert due(known(h0="complete", h2="complete"), FIRST + timedelta(hours=4, minutes=12)) == [1, 3]


@pytest.mark.parametrize("state", ["partial", "empty"])
def test_partial_and_empty_hours_are_folded_again_until_they_are_48_hours_old(state: str) -> None:
    rest = {f"h{index}": "complete" for index in range(1, 60)}
    table = known(h0=state, **rest)
    ended = FIRST + HOUR
    assert due(table, ended + timedelta(hours=48)) == [0]
    assert due(table, ended + timedelta(hours=48, seconds=1)) == []


def test_failed_hours_are_due_however_old() -> None:
    rest = {f"h{index}": "complete" for index in range(1, 200)}
    assert due(known(h0="failed", **rest), FIRST + timedelta(hours=200)) == [0]


def test_a_newer_known_hour_does_not_hide_older_ones() -> None:
    assert due(known(h3="complete"), FIRST + timedelta(hours=4, minutes=12)) == [0, 1, 2]
