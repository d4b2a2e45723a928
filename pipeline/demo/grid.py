"""A made-up grid for the demo: hourly intensity with sun at noon, written as the CSV that the product reads."""

import math
from datetime import datetime
from pathlib import Path

from pipeline.window import HOUR, Window

NIGHT_G_PER_KWH, SUN_G_PER_KWH = 420.0, 270.0


def intensity_g_per_kwh(hour_utc: datetime) -> float:
    """Intensity of one hour: high at night, low at noon, a little different each day."""
    sun = max(0.0, math.sin(math.pi * (hour_utc.hour + 0.5 - 6) / 12))
    cloud = 0.75 + 0.25 * math.sin(hour_utc.toordinal() * 1.7)
    return round(NIGHT_G_PER_KWH - SUN_G_PER_KWH * sun * cloud, 1)


def write_grid(path: Path, zone: str, window: Window) -> None:
    """The window's hours as `zone,start_utc,end_utc,carbon_intensity_g_per_kwh,quality,basis`."""
    lines = ["zone,start_utc,end_utc,carbon_intensity_g_per_kwh,quality,basis"]
    lines += [
        f"{zone},{hour.isoformat()},{(hour + HOUR).isoformat()},{intensity_g_per_kwh(hour)},measured,consumption"
        for hour in window.hours()
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
