"""Energy x PUE x intensity, step by step."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.tables import values
from pipeline.transforms.emissions import Pue, price, slots_with_energy
from pipeline.transforms.selection import MISSING, SLOTS, Answer
from pipeline.transforms.sheet import ENERGY
from tests.transforms.made import START


def answer(*g_per_kwh: float, quality: str = "measured") -> Answer:
    """An hour of equal provider steps."""
    width = SLOTS // len(g_per_kwh)
    return Answer(
        slots_g_per_kwh=np.repeat(np.array(g_per_kwh, dtype=np.float64), width),
        slot_vintage=np.repeat(np.arange(len(g_per_kwh)), width),
        provider="neso", zone="GB", factor_type="lifecycle", basis="production", quality=quality, updated_utc=START,
    )  # fmt: skip


def row(joules: float, steps: list[float] | None = None, **columns: object) -> dict[str, Any]:
    return {"hour_utc": START, "kind": "workload", "energy_joules": joules, "step_joules": steps} | columns


def priced(*rows: dict[str, Any], by: Answer, pue_ratio: float | None = 1.0) -> list[dict[str, Any]]:
    table = price(pa.Table.from_pylist(list(rows), ENERGY), {START: by}, {START: Pue(pue_ratio, "config")})
    return table.to_pylist()


NESO = answer(100.0, 300.0)


def test_f1_half_hours_are_priced_at_their_own_intensity() -> None:
    # 900 kJ at 100 g and 100 kJ at 300 g: 25 g + 8.333 g; mean x mean would give 55.6 g
    (found,) = priced(row(1e6, [9e5, 1e5]), by=NESO)
    assert found["emissions_gco2e"] == pytest.approx(33.3333, abs=1e-4)
    assert found["carbon_intensity_g_per_kwh"] == pytest.approx(120.0)
    assert found["intensity_steps"] == 1


def test_f1_an_hourly_row_is_priced_at_the_time_mean_and_says_so() -> None:
    (found,) = priced(row(1e6), by=NESO)
    assert found["emissions_gco2e"] == pytest.approx(55.5556, abs=1e-4)
    assert found["intensity_steps"] == 2


def test_steps_finer_than_the_providers_take_its_value() -> None:
    (found,) = priced(row(12e5, [1e5] * 12), by=NESO)
    assert found["emissions_gco2e"] == pytest.approx(1.2e6 / 3.6e6 * 200)
    assert found["intensity_steps"] == 1


def test_pue_raises_facility_energy_and_grams_not_the_intensity() -> None:
    (found,) = priced(row(3.6e6), by=answer(100.0), pue_ratio=1.5)
    assert found["facility_energy_kwh"] == pytest.approx(1.5)
    assert found["emissions_gco2e"] == pytest.approx(150.0)
    assert found["carbon_intensity_g_per_kwh"] == pytest.approx(100.0)
    assert (found["pue_ratio"], found["pue_source"]) == (1.5, "config")


def test_p5_every_row_says_what_priced_it() -> None:
    (found,) = priced(row(3.6e6), by=NESO)
    names = ("zone", "provider", "factor_type", "basis", "quality", "updated_utc")
    assert [found[f"intensity_{name}"] for name in names] == [
        "GB", "neso", "lifecycle", "production", "measured", START,
    ]  # fmt: skip


def test_p6_missing_keeps_the_energy_and_has_no_grams() -> None:
    (found,) = priced(row(3.6e6), by=MISSING, pue_ratio=1.5)
    assert found["emissions_gco2e"] is None
    assert found["carbon_intensity_g_per_kwh"] is None
    assert found["intensity_quality"] == "missing"
    assert found["intensity_steps"] is None
    assert found["energy_joules"] == 3.6e6
    assert found["facility_energy_kwh"] == pytest.approx(1.5)


def test_without_a_pue_there_are_no_grams() -> None:
    (found,) = priced(row(1e6, [9e5, 1e5]), by=NESO, pue_ratio=None)
    assert (found["emissions_gco2e"], found["facility_energy_kwh"], found["pue_ratio"]) == (None, None, None)
    assert found["carbon_intensity_g_per_kwh"] == pytest.approx(120.0), "what is known of the grid stays"
    assert found["intensity_quality"] == "measured"
    (idle,) = priced(row(0.0), by=NESO, pue_ratio=None)
    assert (idle["emissions_gco2e"], idle["facility_energy_kwh"]) == (0.0, None)


def test_f27_no_energy_is_no_grams_at_the_time_mean() -> None:
    (found,) = priced(row(0.0, [0.0, 0.0]), by=NESO)
    assert (found["emissions_gco2e"], found["carbon_intensity_g_per_kwh"]) == (0.0, 200.0)
    (found,) = priced(row(0.0), by=MISSING)
    assert (found["emissions_gco2e"], found["carbon_intensity_g_per_kwh"]) == (0.0, None)


def test_f27_a_step_with_energy_but_no_intensity_makes_the_row_null_not_partial() -> None:
    half = answer(100.0, float("nan"))
    busy, quiet = priced(row(1e6, [9e5, 1e5]), row(9e5, [9e5, 0.0]), by=half)
    assert busy["emissions_gco2e"] is None
    assert quiet["emissions_gco2e"] == pytest.approx(25.0)


def test_p6_energy_summed_over_qualities_is_all_energy() -> None:
    rows = [row(1.0), row(2.0), row(4.0)]
    table = price(pa.Table.from_pylist(rows, ENERGY), {START: MISSING}, {START: Pue(1.2, "config")})
    assert table.num_rows == 3
    assert sum(values(table, "energy_joules")) == 7.0
    assert set(table["intensity_quality"].to_pylist()) == {"missing"}


def test_slots_are_needed_where_any_row_has_energy() -> None:
    rows = [row(5.0, [5.0, 0.0, 0.0, 0.0]), row(5.0, [0.0, 0.0, 0.0, 5.0])]
    needed = slots_with_energy(pa.Table.from_pylist(rows, ENERGY))
    assert needed[START].tolist() == [True] * 3 + [False] * 6 + [True] * 3


def test_an_hourly_row_needs_the_whole_hour_unless_it_has_no_energy() -> None:
    assert slots_with_energy(pa.Table.from_pylist([row(5.0)], ENERGY))[START].all()
    assert not slots_with_energy(pa.Table.from_pylist([row(0.0)], ENERGY))[START].any()
