"""What energy came to: joules as kWh, with PUE, and in grams; side by side with the period before."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any


@dataclass(frozen=True)
class Amounts:
    """What some energy came to. Null is not known, never 0.

    Attributes:
        energy_kwh: IT energy, as metered.
        facility_energy_kwh: with PUE, of the energy whose PUE is known.
        emissions_gco2e: grams of the energy that has any.
        unpriced_energy_kwh: IT energy without grams.
        priced_energy_kwh: IT energy with grams.
        priced_facility_kwh: facility energy of that.
        pue_ratio: facility over IT energy, of energy with grams.
        carbon_intensity_g_per_kwh: grams over facility energy, of energy with grams.
    """

    energy_kwh: float
    facility_energy_kwh: float | None
    emissions_gco2e: float | None
    unpriced_energy_kwh: float
    priced_energy_kwh: float
    priced_facility_kwh: float
    pue_ratio: float | None
    carbon_intensity_g_per_kwh: float | None


def amounts_of(row: Mapping[str, Any], prefix: str = "") -> Amounts:
    """The amounts of a row of sums."""
    priced, facility = (row[f"{prefix}priced_{name}"] or 0.0 for name in ("energy_kwh", "facility_kwh"))
    grams = row[f"{prefix}emissions_gco2e"]
    return Amounts(
        energy_kwh=row[f"{prefix}energy_kwh"] or 0.0,
        facility_energy_kwh=row[f"{prefix}facility_energy_kwh"],
        emissions_gco2e=grams,
        unpriced_energy_kwh=row[f"{prefix}unpriced_energy_kwh"] or 0.0,
        priced_energy_kwh=priced,
        priced_facility_kwh=facility,
        pue_ratio=facility / priced if priced else None,
        carbon_intensity_g_per_kwh=grams / facility if facility and grams is not None else None,
    )


@dataclass(frozen=True)
class Line:
    """The amounts of one thing in both periods; None where it had none.

    Attributes:
        change_gco2e: grams now less grams before, 0 g where it was not there; null where one of them is not known, or
            where nothing is stored of the period before.
    """

    now: Amounts | None
    before: Amounts | None
    change_gco2e: float | None
    cluster: str | None = None
    namespace: str | None = None
    team: str | None = None
    kind: str | None = None
    workload_kind: str | None = None
    workload: str | None = None


@dataclass(frozen=True)
class DayLine:
    """The amounts of one UTC day, by cluster and kind."""

    day_utc: date
    cluster: str
    kind: str
    amounts: Amounts
