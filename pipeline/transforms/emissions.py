"""Energy rows get their price: energy x PUE x intensity, step by step, summed to the hour."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.samples import Bools, Floats, Int64s
from pipeline.tables import COUNT, NUMBER, TEXT, TIMESTAMP
from pipeline.transforms.selection import SLOTS, Answer
from pipeline.units import JOULES_PER_KWH

FIGURES = ("facility_energy_kwh", "carbon_intensity_g_per_kwh", "emissions_gco2e")


class Alike(NamedTuple):
    """Rows of one hour whose energy is known in equally many steps.

    Attributes:
        hour_utc: their hour.
        rows: their numbers.
        totals: their energy_joules.
        joules: the same, one line a row, one column a step.
    """

    hour_utc: datetime
    rows: Int64s
    totals: Floats
    joules: Floats

    @property
    def slots(self) -> int:
        """Five-minute slots of a step."""
        return SLOTS // int(self.joules.shape[1])


def _alike(rows: pa.Table) -> Iterator[Alike]:
    hours: Any = rows.column("hour_utc").combine_chunks().dictionary_encode()
    codes = hours.indices.to_numpy(zero_copy_only=False)
    steps: Any = rows.column("step_joules").combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False)
    totals = rows.column("energy_joules").to_numpy()
    for code, hour in enumerate(hours.dictionary.to_pylist()):
        of_hour = np.flatnonzero(codes == code)
        for length in np.unique(lengths[of_hour]).tolist():
            chosen = of_hour[lengths[of_hour] == length]
            joules = pc.list_flatten(steps.take(chosen)).to_numpy() if length else totals[chosen]
            yield Alike(hour, chosen, totals[chosen], joules.reshape(-1, length or 1))


def slots_with_energy(rows: pa.Table) -> dict[datetime, Bools]:
    """For each hour in `rows`: which of its twelve five-minute slots lie in a step in which any row has energy."""
    needed: dict[datetime, Bools] = {}
    for part in _alike(rows):
        slots = np.repeat((part.joules > 0).any(axis=0), part.slots)
        needed[part.hour_utc] = slots | needed.get(part.hour_utc, False)
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
    figures = {name: np.full(rows.num_rows, np.nan) for name in FIGURES}
    provider_steps = np.full(rows.num_rows, np.nan)
    for part in _alike(rows):
        answer = answers[part.hour_utc]
        for name, column in zip(FIGURES, _price(part, answer, pues[part.hour_utc].ratio), strict=True):
            figures[name][part.rows] = column
        if answer.provider:
            vintages = answer.slot_vintage.reshape(-1, part.slots).tolist()
            provider_steps[part.rows] = max(len(set(slots)) for slots in vintages)
    hours: Any = rows.column("hour_utc").combine_chunks().dictionary_encode()
    known = hours.dictionary.to_pylist()

    def of_hour(value: Callable[[datetime], object], kind: pa.DataType) -> "pa.Array[Any]":
        return pa.array([value(hour) for hour in known], kind).take(hours.indices)

    columns: dict[str, pa.Array[Any]] = {
        "pue_ratio": of_hour(lambda hour: pues[hour].ratio, NUMBER),
        "pue_source": of_hour(lambda hour: pues[hour].source, TEXT),
        "intensity_steps": pa.array(provider_steps, from_pandas=True).cast(COUNT),
        "facility_energy_kwh": pa.array(figures["facility_energy_kwh"], from_pandas=True),
        "carbon_intensity_g_per_kwh": pa.array(figures["carbon_intensity_g_per_kwh"], from_pandas=True),
        "intensity_zone": of_hour(lambda hour: answers[hour].zone, TEXT),
        "intensity_provider": of_hour(lambda hour: answers[hour].provider, TEXT),
        "intensity_factor_type": of_hour(lambda hour: answers[hour].factor_type, TEXT),
        "intensity_basis": of_hour(lambda hour: answers[hour].basis, TEXT),
        "intensity_quality": of_hour(lambda hour: answers[hour].quality, TEXT),
        "intensity_updated_utc": of_hour(lambda hour: answers[hour].updated_utc, TIMESTAMP),
        "emissions_gco2e": pa.array(figures["emissions_gco2e"], from_pandas=True),
    }
    for name, cells in columns.items():
        rows = rows.append_column(name, cells)
    return rows


def _price(part: Alike, answer: Answer, pue_ratio: float | None) -> tuple[Floats, Floats, Floats]:
    """The FIGURES of rows: facility kWh, energy-weighted g/kWh, grams; NaN is null."""
    kwh = part.totals / JOULES_PER_KWH
    step_g_per_kwh = answer.slots_g_per_kwh.reshape(-1, part.slots).mean(axis=1)
    factor = 1.0 if pue_ratio is None else pue_ratio
    # a step without energy needs no intensity: null times nothing is nothing
    parts = np.where(part.joules > 0, part.joules / JOULES_PER_KWH * factor * step_g_per_kwh, 0.0)
    grams = parts.sum(axis=1)
    idle = part.totals == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        intensity = np.where(idle, step_g_per_kwh.mean(), grams / (kwh * factor))
    facility = kwh * (np.nan if pue_ratio is None else pue_ratio)
    return facility, intensity, np.where(idle, 0.0, np.nan if pue_ratio is None else grams)
