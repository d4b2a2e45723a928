"""Pages: every type of panel that the dashboards use is drawn, and their texts keep to their places."""

import itertools
from pathlib import Path

import pytest
from PIL import Image

from dashboards.preview.board import Board, Panel, PreviewError, boards
from dashboards.preview.canvas import Area, Canvas, _lines, cut, width_of
from dashboards.preview.colours import CANVAS, PALETTE, PANEL, on
from dashboards.preview.curves import _alone, _tick_labels
from dashboards.preview.frames import Field, Frame
from dashboards.preview.intervals import TimeRange
from dashboards.preview.page import KINDS, Page, is_empty
from dashboards.preview.transformations import STEPS
from dashboards.preview.value_formats import formatted
from tests.preview.panels import panel

DASHBOARDS = boards(Path(__file__).parents[2] / "dashboards")


def test_texts_are_measured_and_cut() -> None:
    assert width_of("iiii", 12) < width_of("WWWW", 12)
    assert cut("a long line of words", 12, 60).endswith("…")
    assert width_of(cut("a long line of words", 12, 60), 12) <= 60
    assert cut("short", 12, 600) == "short"


def test_text_can_be_read_on_every_colour_of_the_palette() -> None:
    assert {on(tint) for tint in PALETTE} == {"#111217", "#ffffff"}


def test_every_type_transformation_and_unit_in_use_is_known() -> None:
    panels = list(itertools.chain.from_iterable(board.panels() for board in DASHBOARDS))
    assert {one.kind for one in panels} <= KINDS
    assert {step["id"] for one in panels for step in one.model.get("transformations") or []} <= STEPS.keys()
    units = {"none"}
    for one in panels:
        model = one.model.get("fieldConfig") or {}
        units.add((model.get("defaults") or {}).get("unit", "none"))
        properties = (p for override in model.get("overrides") or [] for p in override["properties"])
        units |= {p["value"] for p in properties if p["id"] == "unit"}
    assert all(formatted(1.5, unit) for unit in units)


SERIES = [
    Frame(
        "A",
        (Field("Time", "time", tuple(3600e3 * hour for hour in range(24))),
         Field("Value", "number", tuple(float(hour % 7) if hour != 5 else None for hour in range(24)), {"ns": name})),
        3600.0,
    )
    for name in ("a", "b")
]  # fmt: skip
DRAWN = {
    "stat": [panel("stat", {"colorMode": "background", "graphMode": "area"}), panel("stat", {"textMode": "name"})],
    "bargauge": [panel("bargauge")],
    "table": [
        panel("table", {"footer": {"show": True}, "sortBy": [{"displayName": "Value", "desc": True}]}),
        panel("table", defaults={"custom": {"cellOptions": {"type": "gauge"}}}),
        panel("table", defaults={"custom": {"cellOptions": {"type": "color-background"}}}),
    ],
    "timeseries": [
        panel("timeseries", {"legend": {"showLegend": True, "calcs": ["sum"]}}, defaults={"custom": custom})
        for custom in (
            {"drawStyle": "bars", "stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 80},
            {"drawStyle": "line", "lineInterpolation": "stepAfter", "lineStyle": {"fill": "dash"}},
            {"drawStyle": "line", "fillOpacity": 20, "stacking": {"mode": "normal"}},
            {"drawStyle": "points"},
        )
    ],
    "heatmap": [panel("heatmap", {"color": {"scheme": "RdYlGn", "reverse": True}, "legend": {"show": True}})],
    "status-history": [panel("status-history")],
    "state-timeline": [panel("state-timeline", {"showValue": "never"})],
}  # fmt: skip
CASES = [pytest.param(one, id=f"{kind}-{number}") for kind, found in DRAWN.items() for number, one in enumerate(found)]
DAY = TimeRange(0, 86_400_000, 86_400_000)


def page_of(one: Panel) -> Page:
    return Page(
        Board("b", {"title": "b", "panels": [one.model | {"gridPos": {"x": 0, "y": 0, "w": 12, "h": 8}}]}), DAY, ""
    )


@pytest.mark.parametrize("one", CASES)
def test_every_type_draws_something_on_its_surface(one: Panel, tmp_path: Path) -> None:
    page = page_of(one)
    page.draw(one, SERIES)
    assert page.write(tmp_path / "page.png") < 200 << 10
    with Image.open(tmp_path / "page.png") as drawn:
        inside = drawn.convert("RGB").crop((30, 110, 660, 340))
        assert drawn.width == 1400
    found = {rgb for _, rgb in inside.getcolors(1 << 20) or []}
    assert len(found) > 5, "an empty surface"


def test_every_known_type_has_a_case() -> None:
    assert {*DRAWN, "text", "row"} == KINDS


def test_an_empty_panel_says_so_and_keeps_its_surface(tmp_path: Path) -> None:
    one = panel("timeseries", defaults={"noValue": "nothing"})
    empty = [Frame("A", (Field("Time", "time", (0.0,)), Field("Value", "number", (None,))), 60.0)]
    assert not is_empty(SERIES)
    page = page_of(one)
    page.draw(one, [])
    page.write(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as drawn:
        assert "#{:02x}{:02x}{:02x}".format(*drawn.convert("RGB").getpixel((40, 120))) == PANEL  # type: ignore[misc]
        assert "#{:02x}{:02x}{:02x}".format(*drawn.convert("RGB").getpixel((1390, 120))) == CANVAS  # type: ignore[misc]
    assert is_empty([])
    assert is_empty(empty)


def test_an_unknown_type_is_refused() -> None:
    one = panel("geomap")
    with pytest.raises(PreviewError, match="'geomap' are not drawn here"):
        page_of(one).draw(one, SERIES)


def test_lines_of_a_paragraph_are_one_and_lists_headings_and_code_are_not() -> None:
    markdown = "# Title\none\ntwo\n\n- a\n- b\n```sh\nx\n  y\n```\nthree"
    assert _lines(markdown) == [
        ("# Title", False), ("one two", False), ("", False), ("- a", False), ("- b", False),
        ("x", True), ("  y", True), ("three", False),
    ]  # fmt: skip


def test_words_are_wrapped_and_end_at_the_edge(tmp_path: Path) -> None:
    canvas = Canvas(200, 100)
    canvas.box(Area(0, 0, 200, 100), PANEL)
    canvas.paragraph(Area(10, 10, 100, 40), "**Bold** `code` [a link](x) " + "words " * 40 + "\n```\nverbatim\n```", 12)
    canvas.write(tmp_path / "words.png")
    with Image.open(tmp_path / "words.png") as drawn:
        page = drawn.convert("RGB")
        right, below, inside = page.crop((130, 0, 200, 100)), page.crop((0, 70, 200, 100)), page.crop((10, 10, 110, 50))
    assert [len(part.getcolors(1 << 16) or []) for part in (right, below)] == [1, 1]
    assert len(inside.getcolors(1 << 16) or []) > 5


def test_an_axis_tells_its_ticks_apart_and_drops_decimals_that_say_nothing() -> None:
    assert _tick_labels([0.0, 500.0, 1000.0, 1500.0], "massg") == ["0 g", "500 g", "1 kg", "1.5 kg"]
    assert _tick_labels([-0.1074, -0.1072], "percentunit") == ["-10.74%", "-10.72%"]
    assert _tick_labels([0.0, 0.5, 1.0], "percentunit") == ["0%", "50%", "100%"]


def test_points_that_stand_alone_are_seen() -> None:
    assert _alone([0.0, 3600.0, 7200.0, 36000.0], 3600.0) == [36000.0]
