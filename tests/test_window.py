"""Windows of whole UTC hours, and times as people write them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.window import EPOCH, HOUR, Window, floor_hour, from_ms, parse_time, to_ms

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1))


@given(st.integers(0, 1 << 42))
def test_milliseconds_survive_the_way_to_a_moment_and_back(stamp_ms: int) -> None:
    assert to_ms(from_ms(stamp_ms)) == stamp_ms


def test_milliseconds_are_exact_and_count_from_the_epoch() -> None:
    assert to_ms(EPOCH) == 0
    assert to_ms(datetime(2026, 11, 3, 12, 0, 0, 1_999, tzinfo=UTC)) == to_ms(NOON) + 1
    assert from_ms(1_793_707_200_001) == NOON + timedelta(milliseconds=1)


def test_an_hour_is_floored_in_utc_whatever_the_zone() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    assert floor_hour(datetime(2026, 11, 3, 17, 45, tzinfo=india)) == NOON
    assert floor_hour(NOON) == NOON


@pytest.mark.parametrize(
    "text", ["2026-11-03T12:00Z", "2026-11-03T13:00+01:00", "2026-11-03T12:00:00+00:00", "2026-11-03 07:00-05:00"]
)
def test_a_time_with_a_zone_is_read_as_utc(text: str) -> None:
    moment = parse_time(text)
    assert moment == NOON
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "advised"), [("2026-11-03T12:00", "2026-11-03T12:00Z"), ("2026-11-03", "2026-11-03T00:00Z")]
)
def test_a_time_without_a_zone_is_an_error_that_says_what_to_write(text: str, advised: str) -> None:
    with pytest.raises(ConfigError, match=f"start '{text}' has no time zone: write {advised}"):
        parse_time(text, "start")
    parse_time(advised)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01T00:00Z", "03.11.2026"])
def test_what_is_no_iso_time_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not ISO 8601"):
        parse_time(text)


def test_a_window_is_half_open_and_knows_its_hours() -> None:
    window = Window(NOON, NOON + 3 * HOUR)
    assert list(window.hours()) == [NOON, NOON + HOUR, NOON + 2 * HOUR]
    assert window.hour_count == 3
    assert window.end_ms - window.start_ms == 3 * 3_600_000
    assert str(window) == "2026-11-03T12:00Z to 2026-11-03T15:00Z"
    assert Window.of_hour(NOON) == Window(NOON, NOON + HOUR)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (NOON, NOON, "ends .* before it begins"),
        (NOON + HOUR, NOON, "ends .* before it begins"),
        (NOON.replace(minute=1), NOON + HOUR, "not a whole UTC hour: use 2026-11-03T12:00Z"),
        (NOON, NOON + timedelta(microseconds=1) + HOUR, "end .* not a whole UTC hour"),
        (NOON.replace(tzinfo=None), NOON + HOUR, "start .* is not in UTC"),
        (NOON, (NOON + HOUR).replace(tzinfo=BERLIN), "end .* is not in UTC"),
    ],
)
def test_a_window_of_anything_but_whole_utc_hours_is_an_error(start: datetime, end: datetime, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Window(start, end)
