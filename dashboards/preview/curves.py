"""Time series: lines, bars, areas and points, alone or stacked, with axes and a legend."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dashboards.preview.board import Panel
from dashboards.preview.canvas import Area, Canvas, cut, width_of
from dashboards.preview.colours import FAINT, GRID_LINE, TEXT, of_series
from dashboards.preview.fields import custom, number_fields, shown, value_colour
from dashboards.preview.frames import Field, Frame, display_name
from dashboards.preview.intervals import TimeRange
from dashboards.preview.reducers import TITLES, reduced
from dashboards.preview.value_formats import formatted

HOURS_PER_TICK = (1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720)
SHORT_TICK_PIXELS, LONG_TICK_PIXELS, LABEL_PIXELS = 56, 96, 11
LEGEND_ROW = 19
NARROW_PIXELS = 12  # of a bar, which then stands without a gap
DRAWN_STEPS = {"stepAfter": "post", "stepBefore": "pre"}


class Curve(NamedTuple):
    """One series as it is drawn; stamps in seconds, values without one are gaps."""

    name: str
    colour: str
    column: Field
    stamps: list[float]
    values: list[float]
    step: float


def draw_time_series(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame], shown_range: TimeRange) -> None:
    """Every series of a panel over the range."""
    curves = _curves(frames)
    used = _legend(canvas, area, panel, curves)
    units = sorted({_unit(curve) for curve in curves})
    left = max(_label_room(curve) for curve in curves)
    right = 8.0 if len(units) == 1 else left
    plot = area.inset(left, 4, right, used + 24)
    bounds = (shown_range.start_ms / 1000, shown_range.end_ms / 1000)
    axes = canvas.axes(plot)
    axes.set_xlim(*bounds)
    _draw(axes, [curve for curve in curves if _unit(curve) == units[0]])
    _finish(axes, plot, [curve for curve in curves if _unit(curve) == units[0]])
    _time_axis(axes, plot, bounds)
    if len(units) > 1:
        second = axes.twinx()
        second.set_facecolor("none")
        _draw(second, [curve for curve in curves if _unit(curve) != units[0]])
        _finish(second, plot, [curve for curve in curves if _unit(curve) != units[0]], is_second=True)


def _curves(frames: Sequence[Frame]) -> list[Curve]:
    found = []
    for number, (frame, one) in enumerate(number_fields(frames)):
        stamps = next(other for other in frame.fields if other.kind == "time").numbers()
        values = [math.nan if value is None else value for value in one.numbers()]
        mode = (one.config.get("color") or {}).get("mode", "palette-classic")
        tint = value_colour(one, None, of_series(number)) if mode == "fixed" else of_series(number)
        seconds = [(stamp or 0) / 1000 for stamp in stamps]
        found.append(Curve(display_name(one, frames), tint, one, seconds, values, frame.step_seconds or 3600.0))
    return found


def _unit(curve: Curve) -> str:
    return str(curve.column.config.get("unit", ""))


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    """The curves, each stacked one upon those before it of its group."""
    stacks: dict[tuple[str, bool], defaultdict[float, float]] = {}
    for curve in curves:
        stacking = custom(curve.column, "stacking") or {}
        is_stacked = stacking.get("mode", "none") != "none"
        base = defaultdict[float, float](float)
        if is_stacked:
            below = any(value < 0 for value in curve.values)
            base = stacks.setdefault((str(stacking.get("group", "A")), below), base)
        floor = [base[stamp] for stamp in curve.stamps]
        top = [
            low + (0.0 if math.isnan(value) and is_stacked else value)
            for low, value in zip(floor, curve.values, strict=True)
        ]
        _draw_one(axes, curve, floor, top)
        if is_stacked:
            base.update(zip(curve.stamps, top, strict=True))


def _draw_one(axes: Axes, curve: Curve, floor: list[float], top: list[float]) -> None:
    one = curve.column
    opacity, width = float(custom(one, "fillOpacity", 0)) / 100, float(custom(one, "lineWidth", 1))
    style = custom(one, "drawStyle", "line")
    if style == "bars":
        _draw_bars(axes, curve, floor, [high - low for high, low in zip(top, floor, strict=True)])
        return
    if style == "points":
        axes.scatter(curve.stamps, top, s=float(custom(one, "pointSize", 5)) ** 2, color=curve.colour)
        return
    drawn = DRAWN_STEPS.get(custom(one, "lineInterpolation", "linear"))
    stamps, top, floor = _closed(curve.stamps, top, floor, curve.step, is_step=drawn == "post")
    if opacity:
        axes.fill_between(stamps, top, floor, step=drawn, color=curve.colour, alpha=opacity, lw=0)  # type: ignore[arg-type]
    dash = (custom(one, "lineStyle") or {}).get("fill") == "dash"
    axes.plot(
        stamps, top, color=curve.colour, linewidth=width, linestyle=(0, (5, 4)) if dash else "solid",
        drawstyle=f"steps-{drawn}" if drawn else "default",
        marker="o" if custom(one, "showPoints") == "always" else "", markersize=3,
    )  # fmt: skip
    if custom(one, "showPoints", "auto") == "auto":
        alone = _alone(curve.stamps, curve.step)
        axes.plot(alone, [top[stamps.index(stamp)] for stamp in alone], "o", color=curve.colour, markersize=4)


def _draw_bars(axes: Axes, curve: Curve, floor: list[float], heights: list[float]) -> None:
    one = curve.column
    pixels = axes.get_window_extent().width * curve.step / (axes.get_xlim()[1] - axes.get_xlim()[0])
    is_narrow = pixels < NARROW_PIXELS
    width = curve.step * float(custom(one, "barWidthFactor", 0.6)) * (1.0 if is_narrow else 0.92)
    shift = {-1: -width, 0: -width / 2, 1: 0.0}[int(custom(one, "barAlignment", 0))]
    axes.bar(
        [stamp + shift for stamp in curve.stamps], heights, width, floor, align="edge", color=curve.colour, lw=0,
        alpha=max(float(custom(one, "fillOpacity", 0)) / 100, 0.1), antialiased=not is_narrow,
    )  # fmt: skip


def _alone(stamps: list[float], step: float) -> list[float]:
    """Stamps without another one a step before or after, of which no line can be seen."""
    there = set(stamps)
    return [stamp for stamp in stamps if not {stamp - step, stamp + step} & there]


def _closed(
    stamps: list[float], top: list[float], floor: list[float], step: float, *, is_step: bool
) -> tuple[list[float], list[float], list[float]]:
    """A curve of steps with the last one as long as the others; gaps where stamps are missing."""
    gapped: list[tuple[float, float, float]] = []
    for stamp, high, low in zip(stamps, top, floor, strict=True):
        if gapped and stamp - gapped[-1][0] > step * 1.5:
            end = gapped[-1]
            gapped += (
                [(end[0] + step, end[1], end[2]), (end[0] + step, math.nan, math.nan)]
                if is_step
                else [(stamp, math.nan, math.nan)]
            )
        gapped.append((stamp, high, low))
    if is_step and gapped:
        gapped.append((gapped[-1][0] + step, gapped[-1][1], gapped[-1][2]))
    return [s for s, _, _ in gapped], [h for _, h, _ in gapped], [low for _, _, low in gapped]


def _finish(axes: Axes, plot: Area, curves: Sequence[Curve], *, is_second: bool = False) -> None:
    """Limits, ticks and labels of the values' axis."""
    configs = [curve.column.config for curve in curves]
    low, high = axes.get_ylim()
    if not any(value for curve in curves for value in curve.values if not math.isnan(value)):
        low, high = 0.0, 1.0
    if all(custom(curve.column, "drawStyle") == "bars" for curve in curves) and low > 0:
        low = 0.0
    soft_low, soft_high = (custom(curves[0].column, name) for name in ("axisSoftMin", "axisSoftMax"))
    low = min(low, float(soft_low)) if soft_low is not None else low
    high = max(high, float(soft_high)) if soft_high is not None else high
    lows = [float(config["min"]) for config in configs if config.get("min") is not None]
    highs = [float(config["max"]) for config in configs if config.get("max") is not None]
    axes.set_ylim(min(lows, default=low), max(highs, default=high))
    unit = _unit(curves[0])
    axes.yaxis.set_major_locator(MaxNLocator(max(2, min(6, int(plot.height / 38))), steps=[1, 2, 2.5, 5, 10]))
    ticks = [tick for tick in axes.get_yticks() if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, _tick_labels([float(tick) + 0.0 for tick in ticks], unit), parse_math=False)
    if is_second:
        axes.tick_params(length=0, labelsize=8, labelcolor=FAINT)
        for spine in axes.spines.values():
            spine.set_visible(False)
    else:
        axes.grid(axis="y", color=GRID_LINE, linewidth=0.7)
        axes.set_axisbelow(True)


def _tick_labels(ticks: list[float], unit: str) -> list[str]:
    """Texts of an axis, with as many decimals as tell its ticks apart."""
    for decimals in (None, 1, 2, 3, 4, 5):
        texts = [_trimmed(formatted(tick, unit, decimals)) for tick in ticks]
        if len(set(texts)) == len(texts):
            break
    return texts


def _trimmed(text: str) -> str:
    """An axis' label without decimals that say nothing."""
    return re.sub(r"^(-?\d+)(?:\.0+|(\.\d*?[1-9])0*)(?=\D|$)", r"\1\2", text)


def _label_room(curve: Curve) -> float:
    there = [abs(value) for value in curve.values if not math.isnan(value)]
    return max(46.0, width_of(_trimmed(formatted(round(max(there, default=1.0), 3), _unit(curve))), LABEL_PIXELS) + 12)


def _time_axis(axes: Axes, plot: Area, bounds: tuple[float, float]) -> None:
    hours = (bounds[1] - bounds[0]) / 3600
    pixels_per_hour = plot.width / hours

    def fits(every: int) -> bool:
        return every * pixels_per_hour >= (SHORT_TICK_PIXELS if every >= 24 or hours <= 24 else LONG_TICK_PIXELS)

    every = next((count for count in HOURS_PER_TICK if fits(count)), HOURS_PER_TICK[-1])
    form = "%H:%M" if hours <= 24 else "%m/%d %H:%M" if every < 24 else "%m/%d"
    first, last = math.ceil(bounds[0] / 3600 / every) * every, bounds[1] / 3600 - 20 / pixels_per_hour
    ticks = [3600.0 * hour for hour in range(first, int(last) + 1, every)]
    axes.set_xticks(ticks, [datetime.fromtimestamp(tick, UTC).strftime(form) for tick in ticks])
    axes.grid(axis="x", color=GRID_LINE, linewidth=0.5)


def _legend(canvas: Canvas, area: Area, panel: Panel, curves: Sequence[Curve]) -> float:
    """Names below the curves, with the calculations the panel wants; the pixels that they took."""
    wanted = panel.options.get("legend") or {}
    if not wanted.get("showLegend", True) or wanted.get("displayMode") == "hidden":
        return 0.0
    entries = [(curve, _entry(curve, wanted.get("calcs") or [])) for curve in curves]
    rows: list[list[tuple[float, Curve, str]]] = [[]]
    x = 0.0
    for curve, text in entries:
        width = min(width_of(text, LABEL_PIXELS) + 32, area.width)
        if x + width > area.width and rows[-1]:
            rows.append([])
            x = 0.0
        rows[-1].append((x, curve, text))
        x += width
    rows = rows[: max(1, int(area.height * 0.35 / LEGEND_ROW))]
    for number, row in enumerate(rows):
        y = area.y + area.height - (len(rows) - number - 0.5) * LEGEND_ROW
        for left, curve, text in row:
            canvas.box(Area(area.x + left, y - 2, 13, 4), curve.colour, radius=2)
            canvas.words(area.x + left + 18, y, cut(text, LABEL_PIXELS, area.width - 30), LABEL_PIXELS, TEXT)
    return len(rows) * LEGEND_ROW + 2.0


def _entry(curve: Curve, calculations: Sequence[str]) -> str:
    values = curve.column.numbers()
    told = [f"{TITLES.get(name, name)}: {shown(curve.column, reduced(name, values))}" for name in calculations]
    return "  ".join([curve.name, *told])
