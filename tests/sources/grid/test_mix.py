"""The intensity of a mix is that of a calculation by hand, and a mix that is not whole has none."""

import csv
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sources.grid.contract import FactorType
from pipeline.sources.grid.mix import FACTORS, RELEASE, computed, factors
from pipeline.sources.grid.steps import Step
from pipeline.window import HOUR
from tests.sources.grid.asking import utc

START = utc("11-01T12:00")
DAY = timedelta(days=1)
FUELS = {name: name for name in ("coal", "gas", "nuclear", "hydro", "wind", "solar")} | {"battery": None}
PLAIN = f"computed from mix, factors {RELEASE}"


def steps(mixes: Mapping[int, Mapping[str, float | None]], factor_type: FactorType = "lifecycle") -> dict[int, Step]:
    """Of mixes by hours from START."""
    generation = {(START + n * HOUR, START + (n + 1) * HOUR): mix for n, mix in mixes.items()}
    return {(step.start_utc - START) // HOUR: step for step in computed(generation, FUELS, factor_type)}


def step(mix: Mapping[str, float | None], factor_type: FactorType = "lifecycle") -> Step:
    return steps({0: mix}, factor_type)[0]


def test_a_mix_is_the_grams_of_every_fuel_over_the_energy_of_all() -> None:
    mix = {"coal": 100.0, "gas": 300.0, "nuclear": 500.0, "wind": 100.0}
    # (100 x 820 + 300 x 490 + 500 x 12 + 100 x 11) / 1000 and (100 x 760 + 300 x 370) / 1000
    assert step(mix).g_per_kwh == pytest.approx(236.1, abs=1e-12)
    assert step(mix, "direct").g_per_kwh == pytest.approx(187.0, abs=1e-12)


def test_a_step_says_how_it_was_made() -> None:
    made = step({"gas": 1.0})
    assert (made.start_utc, made.end_utc, made.quality, made.model) == (START, START + HOUR, "estimated", PLAIN)
    assert made.updated_utc is None


def test_a_fuel_without_a_factor_counts_as_unknown_and_is_named() -> None:
    made = step({"nuclear": 50.0, "peat": 30.0, "magma": 20.0})
    assert made.g_per_kwh == pytest.approx((50 * 12 + 50 * 717) / 100, abs=1e-12)
    assert made.model == f"{PLAIN}; magma, peat as unknown"
    assert step({"nuclear": 50.0, "magma": 0.0}).model == PLAIN


def test_consumption_and_storage_are_no_part_of_the_mix() -> None:
    alone = step({"gas": 60.0, "wind": 40.0})
    with_storage = step({"gas": 60.0, "wind": 40.0, "battery": 500.0, "hydro": -30.0})
    assert with_storage.g_per_kwh == alone.g_per_kwh == pytest.approx((60 * 490 + 40 * 11) / 100)


@pytest.mark.parametrize("mix", [{}, {"gas": 0.0}, {"gas": -3.0, "solar": 0.0}, {"battery": 10.0}])
def test_a_mix_without_generation_has_no_intensity(mix: dict[str, float | None]) -> None:
    assert steps({0: mix}) == {}


def test_a_withdrawn_fuel_withdraws_the_intensity_unless_it_is_storage() -> None:
    assert step({"gas": None, "wind": 40.0}).g_per_kwh is None
    assert step({"battery": None, "wind": 40.0}).g_per_kwh == 11.0


def test_a_mix_that_lacks_what_mattered_at_that_time_of_a_day_before_is_cut() -> None:
    whole = {"coal": 50.0, "wind": 40.0, "solar": 10.0}
    for days in (1, 2, 3):
        assert 0 not in steps({-24 * days: whole, 0: {"wind": 40.0, "solar": 10.0}}), days
        assert 0 not in steps({-24 * days: whole, 0: {"coal": 50.0, "wind": 40.0}}), days
    assert 0 in steps({-24 * 4: whole, 0: {"wind": 40.0}})
    assert 0 in steps({-23: whole, 0: {"wind": 40.0}})


def test_a_mix_may_lack_what_hardly_mattered() -> None:
    assert 0 in steps({-24: {"coal": 4.9, "wind": 95.1}, 0: {"wind": 95.0}})
    assert 0 not in steps({-24: {"coal": 5.0, "wind": 95.0}, 0: {"wind": 95.0}})


def test_a_sun_that_is_not_named_at_night_is_no_gap() -> None:
    night, noon = {"wind": 40.0}, {"wind": 40.0, "solar": 30.0}
    made = steps({-24: noon, -12: night, 0: noon, 12: night})
    assert set(made) == {-24, -12, 0, 12}


def test_where_a_span_is_cut_does_not_change_its_steps() -> None:
    mixes: dict[int, dict[str, float | None]] = {n: {"coal": 50.0 + n, "wind": 40.0} for n in range(-72, 24)}
    del mixes[5]["coal"], mixes[6]
    whole = steps(mixes)
    for n in range(24):
        alone = steps({k: v for k, v in mixes.items() if n - 72 <= k <= n})
        assert alone.get(n) == whole.get(n)
    assert 5 not in whole


ENERGIES = st.dictionaries(st.sampled_from([f for f in FUELS if f != "battery"]), st.floats(0.1, 1e5), min_size=1)


@given(ENERGIES, st.floats(1e-3, 1e3))
def test_an_intensity_lies_between_its_fuels_and_knows_no_unit(mix: dict[str, float], scale: float) -> None:
    value = step(mix).g_per_kwh
    of_fuels = [factors()[fuel, "lifecycle"] for fuel in mix]
    assert value is not None
    assert min(of_fuels) - 1e-9 <= value <= max(of_fuels) + 1e-9
    assert step({fuel: energy * scale for fuel, energy in mix.items()}).g_per_kwh == pytest.approx(value)


def test_the_shipped_factors_are_those_of_the_release() -> None:
    """By hand from the sources; whoever changes one names a new release and changes it here."""
    assert RELEASE == "2026-11"
    by_fuel = {fuel: (factors()[fuel, "lifecycle"], factors()[fuel, "direct"]) for fuel, _ in factors()}
    assert by_fuel == {
        "coal": (820, 760), "gas": (490, 370), "oil": (840, 733), "biomass": (230, 0), "solar": (48, 0),
        "hydro": (24, 0), "ocean": (17, 0), "nuclear": (12, 0), "wind": (11, 0), "wind_offshore": (12, 0),
        "geothermal": (38, 0), "unknown": (717, 621),
    }  # fmt: skip


def test_a_factor_that_is_worked_out_is_what_its_source_says() -> None:
    assert factors()["oil", "direct"] == round(77.4 * 3.6 / 0.38)  # kg/GJ are g/MJ, 3.6 MJ are a kWh of fuel
    for kind in ("lifecycle", "direct"):
        assert factors()["unknown", kind] == round(sum(factors()[fuel, kind] for fuel in ("coal", "gas", "oil")) / 3)


def test_direct_is_never_more_than_lifecycle_and_every_row_has_its_source() -> None:
    with FACTORS.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(factors()) == 2 * len({line["fuel"] for line in lines})
    assert all(line["source"] and line["url"].startswith("https://") and line["licence"] for line in lines)
    assert all(factors()[fuel, "direct"] <= factors()[fuel, "lifecycle"] for fuel, _ in factors())
