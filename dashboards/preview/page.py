"""A dashboard as one page: every panel in its place, drawn by its type."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dashboards.preview.board import COLUMNS, Board, Panel, PreviewError
from dashboards.preview.canvas import Area, Canvas, cut
from dashboards.preview.cells import draw_heatmap, draw_status
from dashboards.preview.colours import BORDER, FAINT, PANEL, TEXT
from dashboards.preview.curves import draw_time_series
from dashboards.preview.fields import configured
from dashboards.preview.figures import draw_bar_gauge, draw_stat
from dashboards.preview.frames import Frame
from dashboards.preview.intervals import TimeRange
from dashboards.preview.tables import draw_table

WIDTH, MARGIN, CELL, GAP, TOP = 1400, 12, 30, 8, 62
TITLE_HEIGHT, PADDING = 30, 10
Drawer = Callable[[Canvas, Area, Panel, Sequence[Frame]], None]
TimedDrawer = Callable[[Canvas, Area, Panel, Sequence[Frame], TimeRange], None]

DRAWERS: Mapping[str, Drawer] = {"stat": draw_stat, "bargauge": draw_bar_gauge, "table": draw_table}
TIMED: Mapping[str, TimedDrawer] = {
    "timeseries": draw_time_series,
    "heatmap": draw_heatmap,
    "status-history": draw_status,
    "state-timeline": draw_status,
}
KINDS = frozenset({*DRAWERS, *TIMED, "text", "row"})


def is_empty(frames: Sequence[Frame]) -> bool:
    """Whether a panel has nothing to show: no number in any column of numbers."""
    return all(
        value is None for frame in frames for one in frame.fields if one.kind == "number" for value in one.values
    )


class Page:
    """The page of one dashboard."""

    def __init__(self, board: Board, shown_range: TimeRange, chosen: str) -> None:
        self._range, panels = shown_range, board.panels()
        rows = max(panel.place.y + panel.place.height for panel in panels)
        self._canvas = Canvas(WIDTH, TOP + rows * (CELL + GAP) + MARGIN)
        self._canvas.words(MARGIN + 4, 24, board.title, 20, TEXT, weight="bold")
        self._canvas.words(MARGIN + 4, 48, cut(chosen, 11, WIDTH - 2 * MARGIN), 11, FAINT)

    def row(self, panel: Panel) -> None:
        """The title of a row."""
        area = self._area(panel)
        self._canvas.words(area.x + 4, area.y + area.height / 2, f"⌄  {panel.title}", 14, TEXT, weight="bold")

    def text(self, panel: Panel, words: str) -> None:
        """A panel of words."""
        self._canvas.paragraph(self._frame(panel), words, 12)

    def draw(self, panel: Panel, frames: Sequence[Frame]) -> None:
        """A panel of data.

        Raises:
            PreviewError: it wants what this tool does not know.
        """
        area, inner = self._area(panel), self._frame(panel)
        shown = configured(panel, frames)
        if is_empty(shown):
            text = str(((panel.model.get("fieldConfig") or {}).get("defaults") or {}).get("noValue", "No data"))
            self._canvas.words(area.x + area.width / 2, area.y + area.height / 2, text, 14, FAINT, "center")
        elif panel.kind in DRAWERS:
            DRAWERS[panel.kind](self._canvas, inner, panel, shown)
        elif panel.kind in TIMED:
            range_ = self._range.over(panel.model.get("timeFrom"), panel.model.get("timeShift"))
            TIMED[panel.kind](self._canvas, inner, panel, shown, range_)
        else:
            raise PreviewError(f"panels of the type {panel.kind!r} are not drawn here")

    def write(self, path: Path) -> int:
        """The page as a PNG; its bytes."""
        return self._canvas.write(path)

    def _frame(self, panel: Panel) -> Area:
        """The panel's surface and title; what is left for its content."""
        area = self._area(panel)
        self._canvas.box(area, PANEL, BORDER, radius=2)
        self._canvas.words(area.x + PADDING, area.y + 16, cut(panel.title, 13, area.width - 20), 13, TEXT)
        return area.inset(PADDING, TITLE_HEIGHT if panel.title else PADDING, PADDING, 8)

    def _area(self, panel: Panel) -> Area:
        column = (WIDTH - 2 * MARGIN + GAP) / COLUMNS
        place = panel.place
        return Area(
            MARGIN + place.x * column,
            TOP + place.y * (CELL + GAP),
            place.width * column - GAP,
            place.height * (CELL + GAP) - GAP,
        )
