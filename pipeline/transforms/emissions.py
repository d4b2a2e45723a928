"""Energy rows get their price: energy x PUE x intensity, step by step, summed to the hour."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats
from pipeline.tables import values
from pipeline.transforms.selection import SLOTS, Answer
from pipeline.units import JOULES_PER_KWH


def slots_with_energy(rows: pa.Table) -> dict[datetime, Bools]:
    """For each hour in `rows`: which of its twelve five-minute slots lie in a step in which any row has energy."""
    needed: dict[datetime, Bools] = {}
    for hour, total, steps in zip(
        values(rows, "hour_utc"), values(rows, "energy_joules"), values(rows, "step_joules"), strict=True
    ):
        joules = np.array(steps if steps is not None else [total])
        slots = np.repeat(joules > 0, SLOTS // len(joules))
        needed[hour] = needed[hour] | slots if hour in needed else slots
    return needed


class Pue(NamedTuple):
    """Facility energy over IT energy of an hour and where it comes from; both null when unknown."""

    ratio: float | None
    source: str | None


NO_PUE = Pue(None, None)


def price(rows: pa.Table, answers: Mapping[datetime, Answer], pues: Mapping[datetime, Pue]) -> pa.Table:
    """`rows` with their price columns.

    A row whose steps have energy but no intensity, or whose hour has no PUE, has null grams; the quality of its
    intensity stays what it is. No energy: grams 0.

    Args:
        rows: energy rows, each priced at its own step.
        answers: what prices each hour in `rows`.
        pues: the PUE of each hour in `rows`.
    """
    priced = [
        _price(total, steps, answers[hour], pues[hour].ratio)
        for hour, total, steps in zip(
            values(rows, "hour_utc"),
            values(rows, "energy_joules"),
            values(rows, "step_joules"),
            strict=True,
        )
    ]
    hours = values(rows, "hour_utc")
    of_row = [answers[hour] for hour in hours]

    def column(value: Callable[[Answer], object], kind: pa.DataType) -> "pa.Array[Any]":
        return pa.array([value(answer) for answer in of_row], kind)

    columns: dict[str, pa.Array[Any]] = {
        "pue_ratio": pa.array([pues[hour].ratio for hour in hours], pa.float64()),
        "pue_source": pa.array([pues[hour].source for hour in hours], pa.string()),
        "intensity_steps": pa.array([p[0] for p in priced], pa.int64()),
        "facility_energy_kwh": pa.array([p[1] for p in priced], pa.float64()),
        "carbon_intensity_g_per_kwh": pa.array([p[2] for p in priced], pa.float64()),
        "intensity_zone": column(lambda a: a.zone, pa.string()),
        "intensity_provider": column(lambda a: a.provider, pa.string()),
        "intensity_factor_type": column(lambda a: a.factor_type, pa.string()),
        "intensity_basis": column(lambda a: a.basis, pa.string()),
        "intensity_quality": column(lambda a: a.quality, pa.string()),
        "intensity_updated_utc": column(lambda a: a.updated_utc, pa.timestamp("us", tz="UTC")),
        "emissions_gco2e": pa.array([p[3] for p in priced], pa.float64()),
    }
    for name, cells in columns.items():
        rows = rows.append_column(name, cells)
    return rows


def _price(
    total: float, steps: list[float] | None, answer: Answer, pue_ratio: float | None
) -> tuple[int | None, float | None, float | None, float | None]:
    """(intensity_steps, facility kWh, energy-weighted g/kWh, grams) of one row."""
    joules = np.array(steps if steps is not None else [total])
    facility_kwh = None if pue_ratio is None else total / JOULES_PER_KWH * pue_ratio
    slots = SLOTS // len(joules)
    step_g_per_kwh = answer.slots_g_per_kwh.reshape(len(joules), slots).mean(axis=1)
    vintages = answer.slot_vintage.reshape(len(joules), slots)
    provider_steps = max(len(set(row)) for row in vintages.tolist()) if answer.provider else None
    if total == 0:
        mean = float(np.mean(step_g_per_kwh))
        return provider_steps, facility_kwh, None if np.isnan(mean) else mean, 0.0
    factor = 1.0 if pue_ratio is None else pue_ratio
    grams = _grams(joules, step_g_per_kwh, factor)
    intensity = None if grams is None else grams / (total / JOULES_PER_KWH * factor)
    return provider_steps, facility_kwh, intensity, None if pue_ratio is None else grams


def _grams(joules: Floats, step_g_per_kwh: Floats, pue_ratio: float) -> float | None:
    has_energy = joules > 0
    if np.isnan(step_g_per_kwh[has_energy]).any():
        return None
    return float((joules[has_energy] / JOULES_PER_KWH * pue_ratio * step_g_per_kwh[has_energy]).sum())
