"""Which part of a change in grams is whose: of energy, of where it was used, of prices, of the PUE, of the grid.

Grams of a period are a product summed over clusters c:

    G = E x sum over c of (share_c x priced_c x pue_c x intensity_c)

with E all IT energy, share_c the cluster's part of it, priced_c the part of that which has grams, pue_c and intensity_c
of what has grams. The change between two periods is divided by Shapley's rule: each factor gets the mean, over all
orders in which the five can change one after the other, of what changing it does. So the effects add up to the change
exactly, and none depends on an order that somebody chose.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import TypeAlias

Factors: TypeAlias = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Cell:
    """One cluster in one period.

    Attributes:
        energy_kwh: IT energy.
        priced_energy_kwh: the part of it that has grams.
        priced_facility_kwh: facility energy of that part.
        emissions_gco2e: its grams.
    """

    energy_kwh: float = 0.0
    priced_energy_kwh: float = 0.0
    priced_facility_kwh: float = 0.0
    emissions_gco2e: float = 0.0


NOTHING = Cell()


@dataclass(frozen=True)
class Effects:
    """The parts of a change in grams, in the order of `Factors`; their sum is the change.

    Attributes:
        usage_gco2e: more or less IT energy in all.
        mix_gco2e: the same energy used in other clusters.
        pricing_gco2e: another part of the energy has grams.
        pue_gco2e: other facility energy for the same IT energy.
        intensity_gco2e: other grams for the same facility energy: the grid, and when power was drawn from it.
    """

    usage_gco2e: float
    mix_gco2e: float
    pricing_gco2e: float
    pue_gco2e: float
    intensity_gco2e: float


COUNT = len(fields(Effects))
NOISE = 1e-12  # of the grams: what rounding alone makes of a factor that stayed the same


def decompose(before: Mapping[str, Cell], now: Mapping[str, Cell]) -> Effects:
    """The effects that make of the grams before the grams now.

    A cluster without energy in one of the periods has that period's PUE and intensity from the other: what it brings or
    takes is usage and mix.

    Args:
        before: the clusters of the earlier period, by name; one that was not there may be left out.
        now: those of the later one.
    """
    totals = [math.fsum(cell.energy_kwh for cell in cells.values()) for cells in (before, now)]
    effects: list[list[float]] = [[] for _ in range(COUNT)]
    for name in sorted(before.keys() | now.keys()):
        told = [(cells.get(name, NOTHING), total) for cells, total in zip((before, now), totals, strict=True)]
        old, new = _factors(*told), _factors(*reversed(told))
        for factor in range(COUNT):
            effects[factor] += _steps(factor, old, new)
    greatest = max(math.fsum(cell.emissions_gco2e for cell in cells.values()) for cells in (before, now))
    totals = [math.fsum(steps) for steps in effects]
    return Effects(*(effect if abs(effect) > NOISE * greatest else 0.0 for effect in totals))


def _factors(told: tuple[Cell, float], other: tuple[Cell, float]) -> Factors:
    """The factors of a cluster in one period, out of its cell and the energy of all; untold ones as in the other."""
    cell, total_kwh = told
    of_all, in_all = told if total_kwh else other
    used = cell if cell.energy_kwh else other[0]
    priced = cell if cell.priced_energy_kwh else other[0]
    return (
        total_kwh,
        _ratio(of_all.energy_kwh, in_all),
        _ratio(used.priced_energy_kwh, used.energy_kwh),
        _ratio(priced.priced_facility_kwh, priced.priced_energy_kwh),
        _ratio(priced.emissions_gco2e, priced.priced_facility_kwh),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _steps(factor: int, old: Factors, new: Factors) -> list[float]:
    """What changing one factor does, weighted, for every set of the others that may have changed before it."""
    others = [index for index in range(COUNT) if index != factor]
    steps = []
    for size in range(COUNT):
        weight = 1 / (COUNT * math.comb(COUNT - 1, size))
        for changed in combinations(others, size):
            rest = math.prod(new[index] if index in changed else old[index] for index in others)
            steps.append(weight * rest * (new[factor] - old[factor]))
    return steps
