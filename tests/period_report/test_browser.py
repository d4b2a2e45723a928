"""The page as a browser shows it: nothing to complain of, nothing beyond its edge, on a desk, a phone and paper."""

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image

from pipeline.period_report.figures import Figures
from pipeline.period_report.formats import FORMATS
from pipeline.period_report.page import TEMPLATES
from tests.period_report import browser

LONG = "a-name-of-" + "very-" * 40 + "great-length"
CONTRAST = 4.5
PAPER_PIXELS = 688  # A4 less its margins
TEXTS = ("ink", "quiet", "good", "note", "warning")
DRAWN = ("series-0", "series-1", "series-2", "series-3", "more", "less")


def with_long_names(told: Figures) -> Figures:
    part = told.parts[0]
    lines = tuple(replace(line, namespace=LONG, workload=LONG) for line in part.largest)
    return replace(told, absent_clusters=(LONG,), parts=(replace(part, largest=lines),))


@pytest.fixture(scope="module")
def page(told: Figures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(FORMATS["html"](with_long_names(told)), encoding="utf-8")
    return path


def as_printed(page: Path) -> Path:
    """The page with the rules of paper, for a screen to measure."""
    text = page.read_text(encoding="utf-8").replace("@media print", "@media all")
    path = page.with_name("printed.html")
    path.write_text(re.sub(r"<meta http-equiv[^>]*>", "", text), encoding="utf-8")
    return path


def test_nothing_lies_beyond_the_edge_on_a_desk_a_phone_or_paper(page: Path, tmp_path: Path) -> None:
    widths = [(page, 1280), (page, 390), (as_printed(page), PAPER_PIXELS)]
    desk, phone, paper = browser.measured(widths, tmp_path)
    for one in (desk, phone, paper):
        assert one["heading"] == "Carbon report, 2026-11-01"
        assert (one["needed"], one["beyond"]) == (one["width"], [])
    assert max(paper["tables"]) <= paper["width"]


def test_it_is_a_picture_of_something(page: Path, tmp_path: Path) -> None:
    browser.picture(page, tmp_path / "desk.png", 1100, 1800)
    pixels = (image.imread(tmp_path / "desk.png")[..., :3] * 255).round().astype(int)
    assert pixels.shape[:2] == (1800, 1100)
    colours = {f"#{colour:06x}" for colour in np.unique(pixels @ [1 << 16, 1 << 8, 1])}
    light = palettes()[0]
    assert {light[name] for name in ("paper", "ink", "panel", "rule", "series-0", "more", "less")} <= colours
    rows = (pixels != pixels[0, 0]).any(axis=(1, 2))
    assert rows[:1000].mean() > 0.5


def test_it_prints_to_several_pages_with_text(page: Path, tmp_path: Path) -> None:
    browser.paper(page, tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 12
    streams = [unpacked(part) for part in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)]
    assert sum(stream.count(b"Tj") + stream.count(b"TJ") for stream in streams) > 200


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(stream)
    except zlib.error:
        return b""


def palettes() -> list[dict[str, str]]:
    """The colours of the page by name: in the light, and in the dark."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    found = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(found) == 2
    assert found[0].keys() == found[1].keys()
    return found


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("number", [0, 1], ids=["light", "dark"])
def test_every_text_can_be_read_and_every_drawing_seen(number: int) -> None:
    colours = palettes()[number]
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    for ground in ("paper", "panel"):
        assert {
            name: round(contrast(colours[name], colours[ground]), 2)
            for name in TEXTS
            if contrast(colours[name], colours[ground]) < CONTRAST
        } == {}
    assert contrast(colours["series-0"], colours["panel"]) >= CONTRAST  # the number that stands out
    assert {name for name in DRAWN if contrast(colours[name], colours["paper"]) < 3} == set()
    assert {
        name
        for name in ("plain", "more", "less")
        if contrast(colours[name if name != "plain" else "series-0"], colours["track"]) < 3
    } == set()


def test_every_colour_is_one_of_the_palettes() -> None:
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    rules = re.sub(r":root \{.*?\}", "", css, flags=re.DOTALL)
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", rules)
