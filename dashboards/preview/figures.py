"""Panels of few numbers: stat and bar gauge."""

from collections.abc import Sequence
from typing import NamedTuple

from dashboards.preview.board import Panel, PreviewError
from dashboards.preview.canvas import Area, Canvas, cut, width_of
from dashboards.preview.colours import FAINT, GRID_LINE, PANEL, TEXT, mixed, of_series, on
from dashboards.preview.fields import number_fields, shown, value_colour
from dashboards.preview.frames import Field, Frame, display_name
from dashboards.preview.reducers import reduced

GAP = 8
MOST_PIXELS, LEAST_PIXELS = 44, 12


class Figure(NamedTuple):
    """One number that is shown."""

    name: str
    text: str
    colour: str
    value: float | None
    column: Field


def figures(panel: Panel, frames: Sequence[Frame]) -> list[Figure]:
    """The numbers of a panel by its reduce options.

    Raises:
        PreviewError: a calculation that this tool does not know.
    """
    wanted = panel.options.get("reduceOptions") or {}
    calculation = (wanted.get("calcs") or ["lastNotNull"])[0]
    found = []
    for number, (_, one) in enumerate(number_fields(frames)):
        name = display_name(one, frames)
        values = one.numbers() if wanted.get("values") else [reduced(calculation, one.numbers())]
        for value in values:
            palette = (one.config.get("color") or {}).get("mode", "").startswith("palette")
            tint = of_series(number) if palette else value_colour(one, value, TEXT)
            found.append(Figure(name, shown(one, value), tint, value, one))
    return found


def draw_stat(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame]) -> None:
    """Each number as large as it fits, side by side or one below the other."""
    found = figures(panel, frames)
    options = panel.options
    mode = options.get("textMode", "auto")
    is_named = mode in ("value_and_name", "name") or (mode == "auto" and len(found) > 1)
    is_filled = options.get("colorMode", "value").startswith("background")
    vertical = options.get("orientation", "auto") == "horizontal" or area.height > area.width
    tiles = _tiles(area, len(found), vertical=vertical)
    for one, tile in zip(found, tiles, strict=True):
        if is_filled:
            canvas.box(tile, mixed(one.colour, 0.85), radius=2)
        if options.get("graphMode") == "area" and len(one.column.values) > 1:
            _sparkline(canvas, tile, one)
        colour = on(one.colour) if is_filled else TEXT if options.get("colorMode") == "none" else one.colour
        _number(canvas, tile, one, colour, is_named=is_named, is_valued=mode not in ("name", "none"))


def _number(canvas: Canvas, tile: Area, one: Figure, colour: str, *, is_named: bool, is_valued: bool) -> None:
    name_pixels = 12.0 if is_named else 0.0
    room = tile.height - (name_pixels + 6 if is_named else 0)
    text = one.text if is_valued else ""
    pixels = min(MOST_PIXELS, room * 0.7, (tile.width - 12) / max(width_of(text, 1.0), 1e-9))
    pixels = max(pixels, LEAST_PIXELS)
    middle = tile.y + tile.height / 2 + (name_pixels + 4) / 2
    centre = tile.x + tile.width / 2
    if is_named:
        top = middle - pixels / 2 - name_pixels / 2 - 5
        canvas.words(centre, top, cut(one.name, name_pixels, tile.width - 8), name_pixels, FAINT, "center")
    canvas.words(centre, middle, cut(text, pixels, tile.width - 4), pixels, colour, "center")


def _tiles(area: Area, count: int, *, vertical: bool) -> list[Area]:
    if vertical:
        height = (area.height - GAP * (count - 1)) / max(count, 1)
        return [Area(area.x, area.y + i * (height + GAP), area.width, height) for i in range(count)]
    width = (area.width - GAP * (count - 1)) / max(count, 1)
    return [Area(area.x + i * (width + GAP), area.y, width, area.height) for i in range(count)]


def _sparkline(canvas: Canvas, tile: Area, one: Figure) -> None:
    values = [value for value in one.column.numbers() if value is not None]
    axes = canvas.axes(Area(tile.x, tile.y + tile.height * 0.6, tile.width, tile.height * 0.4))
    axes.fill_between(range(len(values)), values, min(values), color=one.colour, alpha=0.2, lw=0)
    axes.plot(values, color=one.colour, linewidth=1)
    axes.set_axis_off()


def draw_bar_gauge(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame]) -> None:
    """A bar for each number, from the columns' least to their greatest.

    Raises:
        PreviewError: bars that stand, which are not known here.
    """
    if panel.options.get("orientation") == "vertical":
        raise PreviewError("a bar gauge is drawn here with lying bars only")
    found = figures(panel, frames)
    there = [one.value for one in found if one.value is not None]
    row = min(44.0, area.height / max(len(found), 1))
    names = min(area.width * 0.35, max((width_of(one.name, 12) for one in found), default=0) + 12)
    texts = max((width_of(one.text, 14) for one in found), default=0) + 12
    for index, one in enumerate(found):
        low = float(one.column.config.get("min", min(0.0, *there) if there else 0.0))
        high = float(one.column.config.get("max", max(there, default=1.0)))
        middle = area.y + (index + 0.5) * row
        canvas.words(area.x, middle, cut(one.name, 12, names - 8), 12)
        bar = Area(area.x + names, middle - row * 0.32, area.width - names - texts, row * 0.64)
        canvas.box(bar, mixed(GRID_LINE, 0.6, PANEL), radius=2)
        share = 0.0 if one.value is None or high == low else min(1.0, max(0.0, (one.value - low) / (high - low)))
        if share:
            canvas.box(bar._replace(width=max(2.0, bar.width * share)), mixed(one.colour, 0.8), radius=2)
        canvas.words(area.x + area.width, middle, one.text, 14, one.colour, "right")
