"""The intensity of a generation mix: the grams of every fuel over the energy of all, from cited factors.

What it does not see: imports, each plant's own efficiency, losses. Storage is no fuel: what it gives back was counted
when it was generated, so it is left out of the mix, as is all that consumes (negative generation).
"""

import csv
import math
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TypeAlias

from pipeline.sources.grid.contract import FactorType
from pipeline.sources.grid.steps import Step

FACTORS = Path(__file__).parents[2] / "data" / "fuel_factors.csv"
RELEASE = "2026-11"  # of the table of factors: vintages name it, so a changed table needs a new one
UNKNOWN = "unknown"
DAY = timedelta(days=1)
LEAD_DAYS = 3
LEAD = LEAD_DAYS * DAY  # what a provider asks before the span, for `_is_cut`
EXPECTED_SHARE = 0.05

Mix: TypeAlias = Mapping[str, float | None]
Generation: TypeAlias = Mapping[tuple[datetime, datetime], Mix]


@cache
def factors() -> dict[tuple[str, FactorType], float]:
    """Grams of CO2e per kWh generated, by fuel and factor type (docs/sources.md)."""
    with FACTORS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    kinds: dict[str, FactorType] = {"lifecycle": "lifecycle", "direct": "direct"}
    return {(row["fuel"], kinds[row["factor_type"]]): float(row["g_per_kwh"]) for row in rows}


def computed(generation: Generation, fuels: Mapping[str, str | None], factor_type: FactorType) -> Iterator[Step]:
    """The intensity of every interval, in time order; pure.

    Args:
        generation: energy or mean power by the vendor's code, one unit throughout; None where it is withdrawn.
        fuels: the fuel of each code, None for storage; any other code counts as `unknown`, and `model` names it.
        factor_type: which factors.

    An interval without generation has no step. One of a withdrawn figure is withdrawn. One that lacks a fuel which
    gave at least 5 % at this time of day in the three days before is cut short, and has no step either.
    """
    mixes = {start: _generated(mix, fuels) for (start, _), mix in generation.items()}
    for start, end in sorted(generation):
        mix = mixes[start]
        if _is_cut(start, mixes):
            continue
        known = {code: value for code, value in mix.items() if value is not None}
        if len(known) < len(mix):
            yield Step(start, end, None, "estimated", model=f"computed from mix, factors {RELEASE}")
        elif total := _total(known):
            by_code = {code: factors()[fuels.get(code) or UNKNOWN, factor_type] for code in known}
            grams = math.fsum(max(value, 0.0) * by_code[code] for code, value in known.items())
            unnamed = [code for code, value in sorted(known.items()) if value > 0 and _is_unknown(code, fuels)]
            told = f"; {', '.join(unnamed)} as {UNKNOWN}" if unnamed else ""
            yield Step(start, end, grams / total, "estimated", model=f"computed from mix, factors {RELEASE}{told}")


def _is_unknown(code: str, fuels: Mapping[str, str | None]) -> bool:
    return fuels.get(code, UNKNOWN) == UNKNOWN


def _generated(mix: Mix, fuels: Mapping[str, str | None]) -> Mix:
    """Without storage."""
    return {code: value for code, value in mix.items() if fuels.get(code, UNKNOWN) is not None}


def _total(mix: Mix) -> float:
    return math.fsum(max(value or 0.0, 0.0) for value in mix.values())


def _is_cut(start: datetime, mixes: Mapping[datetime, Mix]) -> bool:
    """Whether a fuel that matters is not reported yet: vendors publish fuel by fuel, the newest hours piecemeal."""
    for days in range(1, LEAD_DAYS + 1):
        before = mixes.get(start - days * DAY, {})
        least = EXPECTED_SHARE * _total(before)
        if any(
            (value or 0.0) > 0 and (value or 0.0) >= least for code, value in before.items() if code not in mixes[start]
        ):
            return True
    return False
