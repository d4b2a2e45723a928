"""What vendors answer is read strictly: JSON, times, numbers, and texts shown as one short line."""

from datetime import UTC, datetime

import pytest

from pipeline.errors import SourceMalformed
from pipeline.sources.grid.web import (
    LINE_CHARACTERS,
    document,
    figure,
    first_line,
    malformed,
    moment,
)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"a":', b"\xff\xfe{", b"[" * 100_000], ids=str)
def test_what_is_no_json_is_malformed_with_its_first_line(body: bytes) -> None:
    with pytest.raises(SourceMalformed, match=r"^vendor answers with something that is no JSON") as caught:
        document("vendor", body)
    assert len(str(caught.value)) < 500
    assert document("vendor", b'\n{"a": null}') == {"a": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T13:00:00.000Z", datetime(2026, 3, 1, 13, tzinfo=UTC)),
        ("2026-03-01T13:30Z", datetime(2026, 3, 1, 13, 30, tzinfo=UTC)),
        ("2026-03-01T05:30:00+05:30", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-29T03:00:00+02:00", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ],
)
def test_times_of_answers_are_utc_whatever_their_offset(text: str, expected: datetime) -> None:
    assert moment("vendor", text) == expected
    assert moment("vendor", text).tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2026-03-01T13:00", "2026-03-01", "noon", "", None, 1772370000, "0001-01-01T00:00+14", "9999-12-31T23:00Z"]
)
def test_a_time_without_a_zone_or_sense_is_malformed(text: object) -> None:
    with pytest.raises(SourceMalformed, match="where it documents a time with a zone"):
        moment("vendor", text)


def test_null_is_a_figure_that_is_not_known_and_zero_is_one_that_is() -> None:
    assert figure("vendor", None) is None
    assert figure("vendor", 0) == 0
    assert figure("vendor", 12.5) == 12.5


@pytest.mark.parametrize("value", ["12", True, [], {}, 10**400, "x" * 9999], ids=lambda value: repr(value)[:9])
def test_what_is_neither_number_nor_null_is_malformed(value: object) -> None:
    with pytest.raises(SourceMalformed, match="where it documents a number or null"):
        figure("vendor", value)


def test_somebody_elses_text_is_one_short_line() -> None:
    assert first_line(b"a\n\t b  \xff") == "a b �"
    assert len(first_line(b"x" * 10_000)) == LINE_CHARACTERS
    message = str(malformed("vendor", f"{'y' * 10_000}\n"))
    assert "\n" not in message
    assert len(message) < 500
