"""Grafana's dark theme: surfaces, named colours, the palette of series, and scales of a heatmap."""

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb

CANVAS, PANEL, BORDER, GRID_LINE = "#111217", "#181b1f", "#2a2c31", "#2c2e33"
TEXT, FAINT, LINK = "#ccccdc", "#8e8e9a", "#6e9fff"
SHADES = ("dark", "semi-dark", "", "light", "super-light")
HUES = {
    "red": ("#C4162A", "#E02F44", "#F2495C", "#FF7383", "#FFA6B0"),
    "orange": ("#FA6400", "#FF780A", "#FF9830", "#FFB357", "#FFCB7D"),
    "yellow": ("#E0B400", "#F2CC0C", "#FADE2A", "#FFEE52", "#FFF899"),
    "green": ("#37872D", "#56A64B", "#73BF69", "#96D98D", "#C8F2C2"),
    "blue": ("#1F60C4", "#3274D9", "#5794F2", "#8AB8FF", "#C0D8FF"),
    "purple": ("#8F3BB8", "#A352CC", "#B877D9", "#CA95E5", "#DEB6F2"),
}
NAMED = {
    f"{shade}-{hue}".removeprefix("-"): value
    for hue, values in HUES.items()
    for shade, value in zip(SHADES, values, strict=True)
} | {"text": TEXT, "transparent": PANEL, "gray": "#8e8e9a", "white": "#ffffff", "black": "#000000"}
PALETTE = (
    "#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A",
    "#447EBC", "#C15C17", "#FFA6B0", "#96D98D", "#C0D8FF", "#DEB6F2", "#FFCB7D", "#3274D9", "#E02F44", "#FFF899",
)  # fmt: skip


def colour(name: str) -> str:
    """A colour by Grafana's name, or as it is written."""
    return NAMED.get(name, name)


def of_series(number: int) -> str:
    """The colour of the series with that number."""
    return PALETTE[number % len(PALETTE)]


def mixed(over: str, share: float, under: str = PANEL) -> str:
    """One colour laid over another."""
    (a, b, c), (d, e, f) = to_rgb(over), to_rgb(under)
    return to_hex((a * share + d * (1 - share), b * share + e * (1 - share), c * share + f * (1 - share)))


def on(background: str) -> str:
    """A text colour that can be read there."""
    red, green, blue = to_rgb(background)
    return "#111217" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.55 else "#ffffff"


def on_scale(share: float, scheme: str, *, reverse: bool) -> str:
    """A colour of a heatmap's scheme, from its low end at 0 to its high end at 1."""
    maps = {"RdYlGn": "RdYlGn", "Spectral": "Spectral", "Turbo": "turbo"}
    name = maps.get(scheme, scheme if scheme in mpl.colormaps else "Oranges")
    # dark surfaces: Grafana runs single-hued schemes from dark to light
    one_hued = name not in maps.values()
    return to_hex(mpl.colormaps[name](1 - share if reverse != one_hued else share))
