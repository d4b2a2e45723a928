"""Charts in coordinates: the floor is zero, columns stand on each other, lines break where nothing is known."""

from dataclasses import replace
from datetime import date

import pytest

from pipeline.period_report.day_section import by_day
from pipeline.period_report.document import Chart, Column, Series, Table
from pipeline.period_report.drawing import FLOOR, LEFT, RIGHT, TOP, WIDTH, draw
from pipeline.period_report.figures import Figures
from pipeline.period_report.writer import Writer

DAYS = ("2026-10-01", "2026-10-02", "2026-10-03", "2026-10-04")
NO_TABLE = Table("", (Column(""),), ())


def chart(kind: str, *values: tuple[float | None, ...], unknown: frozenset[int] = frozenset()) -> Chart:
    series = tuple(Series(str(number), one) for number, one in enumerate(values))
    return Chart("columns" if kind == "columns" else "lines", "", "", DAYS, series, unknown, NO_TABLE)


def test_columns_stand_on_each_other_to_their_scale() -> None:
    drawn = draw(chart("columns", (10.0, 20.0, None, 0.0), (30.0, 20.0, 5.0, None)))
    per_unit = (FLOOR - TOP) / 40
    tops = {(one.series, round(one.x)): (one.y, one.height) for one in drawn.columns}
    assert len(tops) == len(drawn.columns) == 5  # nothing is drawn where nothing is
    (first, second) = [one for one in drawn.columns if one.x < LEFT + 100]
    assert (first.y + first.height, first.height) == pytest.approx((FLOOR, 10 * per_unit))
    assert (second.y + second.height, second.y) == pytest.approx((first.y, FLOOR - 40 * per_unit))
    assert [tick.text for tick in drawn.ticks] == ["0", "10", "20", "30", "40"]
    assert (drawn.ticks[0].at, drawn.ticks[-1].at) == pytest.approx((FLOOR, TOP))


def test_everything_lies_inside() -> None:
    drawn = draw(chart("columns", (1.0, 2.0, 3.0, 4.7), unknown=frozenset({3})))
    for one in (*drawn.columns, *drawn.unknown):
        assert one.x >= LEFT
        assert one.x + one.width <= WIDTH - RIGHT + 1e-9
        assert one.y >= TOP - 1e-9
        assert one.y + one.height <= FLOOR + 1e-9
    (mark,) = drawn.unknown
    assert mark.x > drawn.columns[2].x


def test_a_line_breaks_where_nothing_is_known_and_a_lone_day_is_a_dot() -> None:
    (track,) = draw(chart("lines", (100.0, 200.0, None, 300.0))).tracks
    assert len(track.pieces) == 1
    assert track.pieces[0].count("L") == 1
    assert len(track.dots) == 1
    assert track.dots[0][1] == pytest.approx(TOP)


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0.0, ["0", "1"]),
        (1.0, ["0", "0.25", "0.5", "0.75", "1"]),
        (62.0, ["0", "20", "40", "60", "80"]),
        (1234.5, ["0", "500", "1,000", "1,500"]),
        (0.0123, ["0", "0.005", "0.01", "0.015"]),
    ],
)
def test_ticks_are_round_numbers_that_hold_what_is_drawn(highest: float, ticks: list[str]) -> None:
    assert [tick.text for tick in draw(chart("lines", (highest, None, None, None))).ticks] == ticks


def test_days_say_their_year_only_where_there_are_two() -> None:
    assert draw(chart("lines", (1.0,) * 4)).days[0].text == "10-01"
    across = replace(chart("lines", (1.0,) * 4), days=("2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02"))
    assert [day.text for day in draw(across).days] == list(across.days)


def test_the_day_that_lacks_hours_is_marked_and_told(told: Figures) -> None:
    section = by_day(Writer(told, told.parts[0]))
    emitted, clean = section.charts
    assert (emitted.days, emitted.unknown) == (("2026-11-01",), frozenset({0}))
    assert [(one.name, one.values) for one in clean.series] == [
        ("prod-eu", (pytest.approx(160),)), ("prod-us", (pytest.approx(50),)),
    ]  # fmt: skip
    assert section.paragraphs[0].startswith("Hatched")
    whole = replace(told, lacking_days=(), parts=(replace(told.parts[0], days=told.parts[0].days[:3]),))
    assert by_day(Writer(whole, whole.parts[0])).paragraphs == ()


def test_a_day_without_energy_is_a_gap(told: Figures) -> None:
    later = replace(told.spans, until_utc=told.spans.until_utc.replace(day=4))
    section = by_day(Writer(replace(told, spans=later, lacking_days=(date(2026, 11, 3),)), told.parts[0]))
    assert section.charts[0].unknown == {0, 2}
    assert section.charts[1].series[0].values[1:] == (None, None)
    assert section.charts[1].table.rows[1] == ("2026-11-02", "\N{EN DASH}", "\N{EN DASH}")
