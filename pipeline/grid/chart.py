"""A chart of hours for a terminal: bars from zero in plain Unicode, without colour, at most 80 columns wide."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import fsum

from pipeline.window import HOUR

COLUMNS = 72  # with the scale before them a line has 80
ROWS = 8
EIGHTHS = " ▁▂▃▄▅▆▇█"
GAP = "·"
TICKS_HOURS = (1, 3, 6, 12, 24, 48, 168, 336, 720, 2160, 4320, 8640)
TICK_COLUMNS = 12

Values = Sequence[float | None]


def chart(start: datetime, hourly: Values) -> list[str]:
    """Lines of a bar chart with its scale and its times; `·` on the ground is an hour without a figure.

    Args:
        start: the first hour's left edge, UTC.
        hourly: a figure for each hour; more than fit are averaged, several to a column.
    """
    hours_a_bar = max(1, -(-len(hourly) // COLUMNS))
    bars = [_mean(hourly[i : i + hours_a_bar]) for i in range(0, len(hourly), hours_a_bar)]
    width = max(1, min(3, COLUMNS // max(1, len(bars))))
    top = max((bar for bar in bars if bar is not None), default=0.0)
    lines = [f"{scale:>6} ┤{row}".rstrip() for scale, row in zip(_scale(top), _rows(bars, top, width), strict=True)]
    lines.append(f"{'0':>6} ┼{_ground(bars, width)}")
    lines.append(" " * 8 + _times(start, len(bars), hours_a_bar * HOUR, width))
    if hours_a_bar > 1:
        lines.append(f"{'':8}a bar is the mean of {hours_a_bar} hours")
    return lines


def _mean(part: Values) -> float | None:
    known = [value for value in part if value is not None]
    return fsum(known) / len(known) if known else None


def _scale(top: float) -> list[str]:
    """The figure at the upper edge of each row, at every other one."""
    return [f"{top * row / ROWS:.0f}" if row % 2 == 0 else "" for row in range(ROWS, 0, -1)]


def _rows(bars: Values, top: float, width: int) -> Iterator[str]:
    eighths = [0 if bar is None or not top else round(bar / top * ROWS * 8) for bar in bars]
    for row in range(ROWS - 1, -1, -1):
        yield "".join(EIGHTHS[min(8, max(0, height - 8 * row))] * width for height in eighths)


def _ground(bars: Values, width: int) -> str:
    return "".join((GAP if bar is None else "─") * width for bar in bars)


def _times(start: datetime, bars: int, bar: timedelta, width: int) -> str:
    """The times under every so many columns; the day where the day is another than the one before."""
    step = next((n for n in TICKS_HOURS if n * HOUR / bar * width >= TICK_COLUMNS), TICKS_HOURS[-1]) * HOUR
    line, told = "", None
    for number in range(bars):
        at, column = start + number * bar, number * width
        into = (at - at.replace(month=1, day=1, hour=0)) % step
        if (into < bar or not number) and column >= len(line) + bool(line):
            is_day = step >= 24 * HOUR or (at.hour == 0 and number > 0)
            text = f"{at:%m-%d}" if is_day else f"{at:%H}h" if at.date() == told else f"{at:%m-%d %H}h"
            if column + len(text) <= COLUMNS:
                line, told = line.ljust(column) + text, at.date()
    return line
