"""What a product of averages gets wrong: a day's energy times the day's mean intensity, against hour by hour.

`python -m benchmarks.averages` writes docs/averages.svg. Grid: 380 g/kWh at night, a solar dip to 150 at noon.
"""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.transforms.emissions import Pue, price
from pipeline.transforms.selection import SLOTS, Answer
from pipeline.transforms.sheet import ENERGY
from pipeline.units import JOULES_PER_KWH
from pipeline.window import HOUR

PICTURE = Path(__file__).parents[1] / "docs" / "averages.svg"
DAY = datetime(2026, 6, 1, tzinfo=UTC)
NIGHT_G_PER_KWH, NOON_G_PER_KWH = 380.0, 150.0
SUN = [max(0.0, math.sin(math.pi * (hour + 0.5 - 6) / 12)) for hour in range(24)]
GRID_G_PER_KWH = [NIGHT_G_PER_KWH - (NIGHT_G_PER_KWH - NOON_G_PER_KWH) * sun for sun in SUN]
LOADS_KWH = {
    "flat": [1.0] * 24,
    "day-peaking": [1.0 + 0.935 * sun for sun in SUN],
    "night batch": [2.95 if hour < 6 or hour >= 20 else 1.0 for hour in range(24)],
}


class Comparison(NamedTuple):
    """Grams of one day by two ways, and how far the second is off."""

    hourly_gco2e: float
    averaged_gco2e: float

    @property
    def error(self) -> float:
        """Relative, of the product of averages."""
        return self.averaged_gco2e / self.hourly_gco2e - 1


def compare(load_kwh: Sequence[float]) -> Comparison:
    """A day priced by the product itself, and its energy times the mean intensity."""
    rows, answers = [], {}
    for index, (kwh, g_per_kwh) in enumerate(zip(load_kwh, GRID_G_PER_KWH, strict=True)):
        hour, row = DAY + index * HOUR, dict.fromkeys(ENERGY.names)
        rows.append(row | {"hour_utc": hour, "kind": "workload", "energy_joules": kwh * JOULES_PER_KWH})
        slots, same = np.full(SLOTS, g_per_kwh), np.zeros(SLOTS, dtype=np.int64)
        answers[hour] = Answer(slots, same, "example", "XX", "lifecycle", "consumption", "measured", None)
    table: list[dict[str, Any]] = rows
    priced = price(pa.Table.from_pylist(table, ENERGY), answers, dict.fromkeys(answers, Pue(1.0, "example")))
    hourly = math.fsum(priced["emissions_gco2e"].to_pylist())
    return Comparison(hourly, math.fsum(load_kwh) * math.fsum(GRID_G_PER_KWH) / 24)


FRAME = """\
<svg xmlns="http://www.w3.org/2000/svg" width="900" height="250" viewBox="0 0 900 250" \
font-family="DejaVu Sans, Verdana, Helvetica, Arial, sans-serif" role="img" aria-labelledby="title desc">
  <title id="title">A day priced by averages</title>
  <desc id="desc">Three loads on a grid with a solar dip: energy times mean intensity against the sum of hours.</desc>
  <rect width="900" height="250" fill="#fafbfb"/>
{panels}
  <text x="30" y="240" font-size="11.5" fill="#5b6b7a">bars: kWh in each hour of a day; line: grid intensity, \
380 g/kWh at night, 150 at noon</text>
</svg>
"""
PANEL = """\
  <text x="{left}" y="32" font-size="16" font-weight="bold" fill="#1f2a33">{name}</text>
  <text x="{left}" y="52" font-size="12.5" fill="#33414d">sum of hours {hourly:,.0f} g</text>
  <text x="{left}" y="70" font-size="12.5" fill="#33414d">energy x mean {averaged:,.0f} g: \
<tspan font-weight="bold" fill="#a3331f">{error:+.1%}</tspan></text>
{bars}
  <polyline fill="none" stroke="#2f7d4f" stroke-width="2" points="{line}"/>"""


def picture() -> str:
    """The figure of the docs."""
    return FRAME.format(panels="\n".join(_panel(30 + 295 * n, *load) for n, load in enumerate(LOADS_KWH.items())))


def _panel(left: int, name: str, load: Sequence[float]) -> str:
    found = compare(load)
    bars = "\n".join(_bar(left + 10 * hour, kwh) for hour, kwh in enumerate(load))
    return PANEL.format(
        left=left, name=name, hourly=found.hourly_gco2e, averaged=found.averaged_gco2e, error=found.error, bars=bars,
        line=_line(left),
    )  # fmt: skip


def _bar(x: int, kwh: float) -> str:
    height = 40 * kwh
    return f'  <rect x="{x}" y="{215 - height:.1f}" width="8" height="{height:.1f}" fill="#c9d3da"/>'


def _line(left: int) -> str:
    return " ".join(f"{left + 10 * hour + 4},{215 - g / 3.2:.1f}" for hour, g in enumerate(GRID_G_PER_KWH))


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
