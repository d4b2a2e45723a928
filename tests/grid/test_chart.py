"""The chart is plain text that says no more than the figures."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid.chart import EIGHTHS, ROWS, chart

START = datetime(2026, 11, 1, 5, tzinfo=UTC)
FIGURES = st.none() | st.floats(0, 2000, allow_subnormal=False)


def heights(lines: list[str], columns: int, width: int) -> list[int]:
    """Each bar's height in eighths of a row, read back from the picture."""
    rows = [line.partition("┤")[2].ljust(columns * width) for line in lines[:ROWS]]
    return [sum(EIGHTHS.index(row[n * width]) for row in rows) for n in range(columns)]


def test_a_day_as_it_is_printed() -> None:
    hourly = [100.0 + 25 * n for n in range(12)] + [None, None] + [400.0 - 25 * n for n in range(10)]
    assert (
        "\n".join(chart(START, hourly))
        == """\
   400 ┤                                 ▄▄▄      ███▄▄▄
       ┤                           ▄▄▄██████      █████████▄▄▄
   300 ┤                     ▄▄▄████████████      ███████████████▄▄▄
       ┤               ▄▄▄██████████████████      █████████████████████▄▄▄
   200 ┤         ▄▄▄████████████████████████      ███████████████████████████▄▄▄
       ┤   ▄▄▄██████████████████████████████      ██████████████████████████████
   100 ┤████████████████████████████████████      ██████████████████████████████
       ┤████████████████████████████████████      ██████████████████████████████
     0 ┼────────────────────────────────────······──────────────────────────────
        11-01 05h            12h               18h               11-02"""
    )


def test_every_bar_is_as_high_as_its_figure_is_to_the_greatest() -> None:
    figures = [0.0, 12.5, 25.0, 50.0, 100.0]
    assert heights(chart(START, figures), 5, 3) == [0, 8, 16, 32, 64]


def test_an_hour_without_a_figure_is_no_zero() -> None:
    lines = chart(START, [0.0, None, 5.0])
    assert lines[ROWS] == "     0 ┼───···───"


@given(st.lists(FIGURES, min_size=1, max_size=2000))
def test_no_line_is_wider_than_a_terminal_and_none_has_colour(figures: list[float | None]) -> None:
    for line in chart(START, figures):
        assert len(line) <= 80
        assert "\x1b" not in line


def test_more_hours_than_columns_are_averaged_and_it_says_so() -> None:
    lines = chart(START, [100.0, 300.0] * 70 + [None] * 4)
    assert lines[-1].strip() == "a bar is the mean of 2 hours"
    assert lines[0].startswith("   200 ┤" + "█" * 70)
    assert lines[ROWS] == "     0 ┼" + "─" * 70 + "··"


@pytest.mark.parametrize("hours", [1, 24, 72, 168, 8760])
def test_times_stand_under_their_bars(hours: int) -> None:
    lines = chart(START, [1.0] * hours)
    times = next(line for line in lines if "11-01" in line)
    assert times[8:13] == "11-01"
