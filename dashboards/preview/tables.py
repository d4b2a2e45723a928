"""Tables: one row a label set, cells in their columns' units and colours."""

from collections.abc import Sequence

from dashboards.preview.board import Panel
from dashboards.preview.canvas import Area, Canvas, cut, width_of
from dashboards.preview.colours import BORDER, FAINT, LINK, TEXT, mixed, on
from dashboards.preview.fields import custom, shown, value_colour
from dashboards.preview.frames import Cell, Field, Frame, display_name
from dashboards.preview.reducers import reduced
from dashboards.preview.transformations import sorted_rows

ROW, HEAD, PIXELS, PADDING = 27, 28, 12, 9
LEAST_WIDTH = 46.0


def draw_table(canvas: Canvas, area: Area, panel: Panel, frames: Sequence[Frame]) -> None:
    """The first frame, in the panel's order; how many rows there are below the edge is told."""
    frame = _sorted(frames[min(int(panel.options.get("frameIndex", 0)), len(frames) - 1)], panel)
    fields = [one for one in frame.fields if not custom(one, "hidden")]
    cells = [[shown(one, value) for value in one.values] for one in fields]
    footer = panel.options.get("footer") or {}
    foot = [_total(one, footer) for one in fields] if footer.get("show") else []
    names = [display_name(one, [frame]) for one in fields]
    rows = max(1, int((area.height - HEAD - (ROW if foot else 0)) / ROW))
    widths = _widths(area.width, fields, names, [column[:rows] for column in cells])
    left = area.x
    for index, one in enumerate(fields):
        column = Area(left, area.y, widths[index], area.height)
        _cell(canvas, column._replace(height=HEAD), names[index], FAINT, _align(one), weight="bold")
        for row in range(min(rows, len(frame))):
            place = Area(left, area.y + HEAD + row * ROW, widths[index], ROW)
            _value(canvas, place, one, one.values[row], cells[index][row])
        if foot:
            place = Area(left, area.y + area.height - ROW, widths[index], ROW)
            _cell(canvas, place, foot[index], TEXT, _align(one), weight="bold")
        left += widths[index]
    for row in range(min(rows, len(frame)) + 1):
        canvas.box(Area(area.x, area.y + HEAD + row * ROW, area.width, 0.6), BORDER)
    if len(frame) > rows:
        more = f"{len(frame) - rows} more rows"
        canvas.words(area.x + area.width, area.y - 14, more, 10, FAINT, "right")


def _sorted(frame: Frame, panel: Panel) -> Frame:
    for order in reversed(panel.options.get("sortBy") or []):
        keys = [one for one in frame.fields if display_name(one, [frame]) == order["displayName"]]
        if keys:
            frame = sorted_rows(frame, keys[0], descending=bool(order.get("desc")))
    return frame


def _total(one: Field, footer: dict[str, object]) -> str:
    wanted = footer.get("fields") or []
    is_wanted = one.kind == "number" and (not wanted or one.name in wanted)  # type: ignore[operator]
    calculations = footer.get("reducer") or ["sum"]
    return shown(one, reduced(str(calculations[0]), one.numbers())) if is_wanted else ""  # type: ignore[index]


def _align(one: Field) -> str:
    wanted = custom(one, "align", "auto")
    return ("right" if one.kind == "number" else "left") if wanted == "auto" else str(wanted)


def _widths(room: float, fields: Sequence[Field], names: Sequence[str], cells: Sequence[Sequence[str]]) -> list[float]:
    """As wide as their contents where those fit; what is left, or lacks, shared out by them."""
    wanted = []
    for one, name, column in zip(fields, names, cells, strict=True):
        content = max([width_of(name, PIXELS) * 1.1, *(width_of(text, PIXELS) for text in column)]) + 2 * PADDING
        wanted.append(max(LEAST_WIDTH, float(custom(one, "width") or content)))
    return [width * room / sum(wanted) for width in wanted]


def _value(canvas: Canvas, place: Area, one: Field, value: Cell, text: str) -> None:
    kind = (custom(one, "cellOptions") or {}).get("type", custom(one, "displayMode", "auto"))
    tint = value_colour(one, value, TEXT)
    colour = LINK if one.config.get("links") else TEXT
    if kind == "color-background":
        canvas.box(place.inset(1, 1, 1, 1), mixed(tint, 0.7), radius=1)
        colour = on(mixed(tint, 0.7))
    elif kind == "color-text":
        colour = tint
    elif kind in ("gauge", "gradient-gauge", "lcd-gauge", "basic"):
        place = _gauge(canvas, place, one, value, tint)
    _cell(canvas, place, text, colour, _align(one))


def _gauge(canvas: Canvas, place: Area, one: Field, value: Cell, tint: str) -> Area:
    """A bar in the cell; what is left of it for the text."""
    numbers = [number for number in one.numbers() if number is not None]
    high = float(one.config.get("max", max(numbers, default=1.0))) or 1.0
    bar = place.inset(PADDING, 7, place.width * 0.4, 7)
    if isinstance(value, float) and value > 0:
        canvas.box(bar._replace(width=max(1.0, bar.width * min(1.0, value / high))), tint, radius=1)
    return place.inset(bar.width + PADDING, 0, 0, 0)


def _cell(canvas: Canvas, place: Area, text: str, colour: str, align: str, *, weight: str = "normal") -> None:
    x = {"left": place.x + PADDING, "right": place.x + place.width - PADDING}.get(align, place.x + place.width / 2)
    written = cut(text.replace("\n", " "), PIXELS, place.width - 2 * PADDING + 2)
    canvas.words(x, place.y + place.height / 2, written, PIXELS, colour, align, weight=weight)
