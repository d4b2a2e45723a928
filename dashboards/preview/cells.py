"""Rows of coloured cells over time: heatmap, status history, state timeline."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from dashboards.preview.board import Panel, PreviewError
from dashboards.preview.canvas import Area, Canvas, cut, width_of
from dashboards.preview.colours import FAINT, mixed, of_series, on, on_scale
from dashboards.preview.fields import number_fields, shown, value_colour
from dashboards.preview.frames import Field, Frame, display_name
from dashboards.preview.intervals import TimeRange
from dashboards.preview.value_formats import formatted

LEGEND_HEIGHT, AXIS_HEIGHT, PIXELS = 30, 20, 11
STEPS = 64


class Row(NamedTuple):
    """One series as cells; None where there is none."""

    name: str
    stamps: list[float]
    column: Field
    tints: list[str | None]
    step: float


def _row(frame: Frame, one: Field, frames: Sequence[Frame], tints: list[str | None]) -> Row:
    times = next(other for other in frame.fields if other.kind == "time").numbers()
    stamps = [(stamp or 0.0) / 1000 for stamp in times]
    return Row(display_name(one, frames), stamps, one, tints, frame.step_seconds or 3600.0)


def draw_heatmap(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame], shown_range: TimeRange) -> None:
    """A row of cells a series, coloured from the least value to the greatest.

    Raises:
        PreviewError: a heatmap that counts samples into buckets, which is not known here.
    """
    options = panel.options
    if options.get("calculate"):
        raise PreviewError("a heatmap that calculates buckets is not drawn here")
    columns = number_fields(frames)
    there = [value for _, one in columns for value in one.numbers() if value is not None]
    low, high = min(there, default=0.0), max(there, default=1.0)
    scale = options.get("color") or {}
    scheme, reverse = str(scale.get("scheme", "Oranges")), bool(scale.get("reverse"))

    def tint(value: float) -> str:
        return on_scale((value - low) / ((high - low) or 1.0), scheme, reverse=reverse)

    # the first series lies lowest, as on any axis, unless the axis is turned over
    rows = columns if (options.get("yAxis") or {}).get("reverse") else columns[::-1]
    cells = options.get("cellValues") or {}
    unit, decimals = str(cells.get("unit") or columns[0][1].config.get("unit", "")), cells.get("decimals")
    plot = area.inset(0, 0, 0, LEGEND_HEIGHT if (options.get("legend") or {}).get("show", True) else 0)
    painted = [_row(frame, one, frames, [None if v is None else tint(v) for v in one.numbers()]) for frame, one in rows]
    _paint(canvas, plot, painted, shown_range, gap=float(options.get("cellGap", 1)))
    if plot.height < area.height:
        bar = Area(area.x + area.width / 2 - 150, area.y + area.height - 16, 300, 10)
        for index in range(STEPS):
            part = low + (high - low) * index / (STEPS - 1)
            canvas.box(Area(bar.x + index * bar.width / STEPS, bar.y, bar.width / STEPS + 0.5, bar.height), tint(part))
        canvas.words(bar.x - 8, bar.y + 5, formatted(low, unit, decimals), PIXELS, FAINT, "right")
        canvas.words(bar.x + bar.width + 8, bar.y + 5, formatted(high, unit, decimals), PIXELS, FAINT)


def draw_status(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame], shown_range: TimeRange) -> None:
    """A row of cells a series, coloured by mappings or thresholds, with what they say where it fits."""
    painted = []
    for number, (frame, one) in enumerate(number_fields(frames)):
        tints = [None if v is None else value_colour(one, v, of_series(number)) for v in one.numbers()]
        painted.append(_row(frame, one, frames, tints))
    is_told = panel.options.get("showValue", "auto") != "never"
    _paint(canvas, area, painted, shown_range, gap=2.0, is_told=is_told)


def _paint(
    canvas: Canvas,
    area: Area,
    rows: Sequence[Row],
    shown_range: TimeRange,
    *,
    gap: float,
    is_told: bool = False,
) -> None:
    names = min(area.width * 0.3, max(width_of(row.name, PIXELS) for row in rows) + 12)
    plot = area.inset(names, 0, 4, AXIS_HEIGHT)
    first, last = shown_range.start_ms / 1000, shown_range.end_ms / 1000
    stamps = sorted({stamp for row in rows for stamp in row.stamps})
    step = rows[0].step
    start, end = min(first, stamps[0]), max(last, stamps[-1] + step)
    height, every = plot.height / len(rows), max(1, round(14 / (plot.height / len(rows))))
    for number, row in enumerate(rows):
        y = plot.y + number * height
        if number % every == 0:
            canvas.words(plot.x - 8, y + height / 2, cut(row.name, PIXELS, names - 10), PIXELS, FAINT, "right")
        for stamp, value, tint in zip(row.stamps, row.column.values, row.tints, strict=True):
            if tint is None:
                continue
            x = plot.x + (stamp - start) / (end - start) * plot.width
            cell = Area(x, y, step / (end - start) * plot.width - gap, height - gap)
            canvas.box(cell, mixed(tint, 0.95))
            text = shown(row.column, value)
            if is_told and width_of(text, PIXELS) < cell.width - 4:
                canvas.words(cell.x + cell.width / 2, y + height / 2, text, PIXELS, on(tint), "center")
    _times(canvas, plot, stamps, start, end)


def _times(canvas: Canvas, plot: Area, stamps: Sequence[float], start: float, end: float) -> None:
    every = max(1, -(-len(stamps) // max(1, int(plot.width / 80))))
    is_daily = len(stamps) > 1 and (stamps[1] - stamps[0]) % 86400 == 0
    for stamp in stamps[::every]:
        text = datetime.fromtimestamp(stamp, UTC).strftime("%m/%d" if is_daily else "%m/%d %H:%M")
        x = plot.x + (stamp - start) / (end - start) * plot.width
        canvas.words(x, plot.y + plot.height + 11, text, PIXELS, FAINT)
