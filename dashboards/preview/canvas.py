"""A page in pixels from its upper left corner: boxes, words that are measured, and axes for curves."""

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.textpath import text_to_path
from PIL import Image

from dashboards.preview.colours import CANVAS, FAINT, LINK, TEXT

DPI = 100
POINTS_PER_PIXEL = 72 / DPI
PACKED = np.array([1 << 16, 1 << 8, 1])
COLOURS = 256  # of a page's palette: flat areas and smooth letters need no more
LINE, SPACE = 1.5, 0.33  # of the height of letters
BEGINS = re.compile(r"\s*$|#|\s*[-*] ")  # a line that continues no paragraph
MARKS = re.compile(r"(\*\*.+?\*\*|`[^`]+`|\[[^\]]+\]\([^)]*\))")
FAMILY, CODE_FAMILY, CODE_COLOUR = "DejaVu Sans", "DejaVu Sans Mono", "#ffb357"


class Area(NamedTuple):
    """A rectangle of the page, in pixels."""

    x: float
    y: float
    width: float
    height: float

    def inset(self, left: float, top: float, right: float, bottom: float) -> "Area":
        """The area without a margin."""
        return Area(self.x + left, self.y + top, self.width - left - right, self.height - top - bottom)


@cache
def width_of(text: str, pixels: float, family: str = FAMILY, weight: str = "normal") -> float:
    """How wide a text is."""
    font = FontProperties(family=family, weight=weight, size=pixels)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) if text else 0.0


def cut(text: str, pixels: float, most: float) -> str:
    """The text, or as much of it as fits."""
    if width_of(text, pixels) <= most:
        return text
    while text and width_of(text + "…", pixels) > most:
        text = text[:-1]
    return text + "…" if text else ""


class Canvas:
    """One page."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=CANVAS)
        FigureCanvasAgg(self._figure)

    def box(self, area: Area, colour: str, edge: str | None = None, radius: float = 0.0) -> None:
        """A filled rectangle."""
        low = (area.x / self.width, 1 - (area.y + area.height) / self.height)
        size = (area.width / self.width, area.height / self.height)
        look = {"facecolor": colour, "edgecolor": edge or "none", "linewidth": 0.7 if edge else 0}
        if not radius:
            self._figure.add_artist(Rectangle(low, *size, transform=self._figure.transFigure, **look))  # type: ignore[arg-type]
            return
        rounded = FancyBboxPatch(
            (area.x, self.height - area.y - area.height),
            area.width,
            area.height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            transform=None,
            **look,  # type: ignore[arg-type]
        )
        self._figure.add_artist(rounded)

    def words(
        self, x: float, y: float, text: str, pixels: float, colour: str = TEXT, align: str = "left", *,
        weight: str = "normal", family: str = FAMILY,
    ) -> None:  # fmt: skip
        """A line of text whose middle is at `y`; no part of it is read as a formula."""
        self._figure.text(
            x / self.width, 1 - y / self.height, text, fontsize=pixels * POINTS_PER_PIXEL, color=colour, ha=align,
            va="center_baseline", family=family, weight=weight, parse_math=False,
        )  # fmt: skip

    def paragraph(self, area: Area, markdown: str, pixels: float) -> None:
        """Text with bold parts, code and links, wrapped; what does not fit is left out."""
        y = area.y + pixels
        for line, is_code in _lines(markdown):
            if is_code:
                self.words(area.x + pixels, y, cut(line, pixels, area.width), pixels, CODE_COLOUR, family=CODE_FAMILY)
                y += pixels * LINE
            else:
                y = self._line(area, y, line, pixels)
            if y > area.y + area.height:
                return

    def _line(self, area: Area, y: float, line: str, pixels: float) -> float:
        """One line of Markdown, wrapped; where the next begins."""
        x = area.x
        for word in _words(line):
            width = width_of(word.text, pixels, word.family, word.weight)
            x += pixels * SPACE if word.is_apart and x > area.x else 0
            if x + width > area.x + area.width and x > area.x:
                x, y = area.x, y + pixels * LINE
            if y > area.y + area.height:
                return y
            self.words(x, y, word.text, pixels, word.colour, family=word.family, weight=word.weight)
            x += width
        return y + pixels * (LINE if line.strip() else LINE / 2)

    def axes(self, area: Area) -> Axes:
        """Axes without a frame."""
        low = (area.x / self.width, 1 - (area.y + area.height) / self.height)
        axes = self._figure.add_axes((*low, area.width / self.width, area.height / self.height))
        axes.set_facecolor("none")
        axes.set_zorder(10)  # above the boxes of its panel
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.tick_params(length=0, labelsize=11 * POINTS_PER_PIXEL, labelcolor=FAINT, pad=4)
        return axes

    def write(self, path: Path) -> int:
        """The page as a PNG; its bytes."""
        drawn = io.BytesIO()
        self._figure.savefig(drawn, format="png", facecolor=CANVAS)
        drawn.seek(0)
        page = _with_palette(np.asarray(Image.open(drawn).convert("RGB"), dtype=np.int64))
        page.save(path, optimize=True)
        return path.stat().st_size


def _with_palette(rgb: npt.NDArray[np.int64]) -> Image.Image:
    """A page in the colours that it has most of, so that its surfaces stay what they are; others in the nearest."""
    packed = rgb @ PACKED
    colours, where, counts = np.unique(packed, return_inverse=True, return_counts=True)
    parts = colours[:, None] // PACKED % 256
    chosen = parts[np.argsort(-counts, kind="stable")[:COLOURS]]
    nearest = ((parts[:, None, :] - chosen[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)
    found = Image.fromarray(nearest[where].reshape(packed.shape).astype(np.uint8)).convert("P")
    found.putpalette(chosen.astype(np.uint8).tobytes())
    return found


def _lines(markdown: str) -> list[tuple[str, bool]]:
    """Lines as Markdown has them, those of one paragraph joined; and whether each is code."""
    found: list[tuple[str, bool]] = []
    is_code, is_open = False, False
    for line in markdown.split("\n"):
        if line.startswith("```"):
            is_code, is_open = not is_code, False
            continue
        if is_open and not is_code and not BEGINS.match(line):
            found[-1] = (f"{found[-1][0]} {line.strip()}", False)
        else:
            found.append((line, is_code))
        is_open = not is_code and bool(line.strip()) and not line.startswith("#")
    return found


class _Word(NamedTuple):
    """A word of a paragraph; `is_apart`: with a space before it."""

    text: str
    colour: str
    family: str
    weight: str
    is_apart: bool


def _words(line: str) -> Sequence[_Word]:
    """Words of a line of Markdown."""
    is_heading, found, is_apart = line.startswith("#"), list[_Word](), True
    for part in MARKS.split(re.sub(r"^#+ ", "", re.sub(r"^\s*[-*] ", "• ", line))):
        weight, family, colour, text = "bold" if is_heading else "normal", FAMILY, TEXT, part
        if part.startswith("**"):
            weight, text = "bold", part.strip("*")
        elif part.startswith("`"):
            family, colour, text = CODE_FAMILY, CODE_COLOUR, part.strip("`")
        elif part.startswith("[") and "](" in part:
            colour, text = LINK, part[1 : part.index("](")]
        for number, word in enumerate(text.replace("*", "").split()):
            found.append(_Word(word, colour, family, weight, is_apart or number > 0 or text[0].isspace()))
            is_apart = False
        is_apart = text[-1:].isspace()
    return found
