"""Numbers as a person reads them: null is never 0, and what is little is never nothing."""

import pytest

from pipeline.period_report.numbers import NOT_KNOWN, Scale, percent, ratio_of, signed_percent


@pytest.mark.parametrize(
    ("greatest", "value", "text"),
    [
        (123_456.0, 1234.5, "1,234"),
        (1501.0, 1501.0, "1,501.0"),
        (1501.0, 0.01, "<0.1"),
        (1501.0, -0.01, ">\N{MINUS SIGN}0.1"),
        (1501.0, 0.0, "0.0"),
        (12.3, 1.234, "1.23"),
        (0.5, 0.0123, "0.0123"),
        (12.3, -1.234, "\N{MINUS SIGN}1.23"),
        (12.3, None, NOT_KNOWN),
    ],
)
def test_a_column_is_written_by_its_greatest_number(greatest: float, value: float | None, text: str) -> None:
    assert Scale.of([greatest, None, 0.0]).text(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2.0, "+2.0"), (-2.0, "\N{MINUS SIGN}2.0"), (0.0, "0.0"), (0.01, "<0.1"), (None, NOT_KNOWN)]
)
def test_a_change_has_its_sign(value: float | None, text: str) -> None:
    assert Scale(1).signed(value) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.1234, "12.3 %"), (0.0, "0.0 %"), (0.0001, "<0.1 %"), (0.99999, ">99.9 %"), (1.0, "100.0 %"), (None, NOT_KNOWN)],
)
def test_a_share_that_is_neither_nothing_nor_all_does_not_look_so(ratio: float | None, text: str) -> None:
    assert percent(ratio) == text


def test_a_change_as_a_share_has_its_sign_too() -> None:
    told = [signed_percent(ratio) for ratio in (0.5, -0.5, -0.00001, None)]
    assert told == ["+50.0 %", "\N{MINUS SIGN}50.0 %", "0.0 %", NOT_KNOWN]


def test_a_quotient_of_nothing_is_not_known() -> None:
    assert (ratio_of(1.0, 0.0), ratio_of(None, 1.0), ratio_of(1.0, None), ratio_of(1.0, 4.0)) == (
        None,
        None,
        None,
        0.25,
    )
