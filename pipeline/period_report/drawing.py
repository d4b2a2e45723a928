"""Where the parts of a chart lie: numbers become coordinates here, and the page's template draws them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from pipeline.period_report.document import Chart

WIDTH, HEIGHT = 720.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 8.0, 10.0, 28.0
FLOOR = HEIGHT - BOTTOM
MOST_LABELS = 8
WIDEST = 56.0  # a column: where days are few they would look like walls
TICKS = 4
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Rectangle:
    """A piece of a column; `series` says whose, None where it only marks a day."""

    x: float
    y: float
    width: float
    height: float
    series: int | None = None


@dataclass(frozen=True)
class Track:
    """A line through days, broken where a day has no number; a lone day is a dot."""

    series: int
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Label:
    """A text at a place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Drawing:
    """A chart in coordinates of a field of WIDTH by HEIGHT."""

    columns: tuple[Rectangle, ...]
    unknown: tuple[Rectangle, ...]
    tracks: tuple[Track, ...]
    ticks: tuple[Label, ...]
    days: tuple[Label, ...]


def draw(chart: Chart) -> Drawing:
    """A chart laid out: zero is the floor."""
    slot = (WIDTH - LEFT - RIGHT) / max(len(chart.days), 1)
    stacks = chart.kind == "columns"
    step, top = _axis(_highest(chart, stacks=stacks))

    def height(value: float) -> float:
        return (FLOOR - TOP) * value / top

    width = min(slot - min(3.0, slot * 0.2), WIDEST)
    columns = tuple(
        Rectangle(LEFT + (day + 0.5) * slot - width / 2, FLOOR - height(below + value), width, height(value), series)
        for day in range(len(chart.days))
        for series, below, value in (_stack(chart, day) if stacks else ())
    )
    marks = tuple(Rectangle(LEFT + day * slot, TOP, slot, FLOOR - TOP) for day in sorted(chart.unknown))
    points = [
        [
            (LEFT + (day + 0.5) * slot, None if value is None else FLOOR - height(value))
            for day, value in enumerate(one.values)
        ]
        for one in chart.series
    ]
    tracks = () if stacks else tuple(_track(number, places) for number, places in enumerate(points))
    ticks = tuple(Label(FLOOR - height(step * n), f"{step * n:,.10g}") for n in range(round(top / step) + 1))
    return Drawing(columns, marks, tracks, ticks, tuple(_labels(chart.days, slot)))


def _highest(chart: Chart, *, stacks: bool) -> float:
    days = zip(*(one.values for one in chart.series), strict=True)
    known = [[value for value in day if value is not None] for day in days]
    return max((sum(day) if stacks else max(day) for day in known if day), default=0.0)


def _axis(highest: float) -> tuple[float, float]:
    """The distance of ticks, and the last of them: round numbers that hold what is drawn."""
    if highest <= 0:
        return 1.0, 1.0
    power = 10.0 ** math.floor(math.log10(highest / TICKS))
    step = next(factor * power for factor in NICE if factor * power * TICKS >= highest * (1 - 1e-9))
    return step, step * math.ceil(highest / step * (1 - 1e-9))


def _stack(chart: Chart, day: int) -> Iterator[tuple[int, float, float]]:
    """(series, what lies below, value) of a day's column, from the floor up."""
    below = 0.0
    for number, one in enumerate(chart.series):
        value = one.values[day] or 0.0
        if value > 0:
            yield number, below, value
            below += value


def _track(number: int, places: Sequence[tuple[float, float | None]]) -> Track:
    known = [
        [(x, y) for x, y in run if y is not None]
        for is_known, run in groupby(places, lambda place: place[1] is not None)
        if is_known
    ]
    pieces = tuple("M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in run) for run in known if len(run) > 1)
    return Track(number, pieces, tuple(run[0] for run in known if len(run) == 1))


def _labels(days: Sequence[str], slot: float) -> Iterator[Label]:
    """Some of the days, without their year where all have one."""
    years = {day[:4] for day in days}
    every = max(1, math.ceil(len(days) / MOST_LABELS))
    for number in range(0, len(days), every):
        yield Label(LEFT + (number + 0.5) * slot, days[number][5:] if len(years) == 1 else days[number])
