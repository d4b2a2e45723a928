"""A change in grams is divided among its factors: exactly, in no order, and as it is worked by hand."""

import math
from dataclasses import astuple
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.period_report.decomposition import Cell, Effects, decompose

Cells = dict[str, Cell]
nothing = st.just(0.0)


def cell(kwh: float, pue: float = 1.0, intensity: float = 0.0, priced: float = 1.0) -> Cell:
    return Cell(kwh, kwh * priced, kwh * priced * pue, kwh * priced * pue * intensity)


def grams(cells: Cells) -> float:
    return math.fsum(one.emissions_gco2e for one in cells.values())


made = st.builds(
    cell, nothing | st.floats(1e-3, 1e6), st.floats(1, 3), nothing | st.floats(0.1, 1500), nothing | st.floats(1e-3, 1)
)
clusters = st.dictionaries(st.sampled_from("abc"), made, max_size=3)


def test_more_energy_from_a_cleaner_grid_as_worked_by_hand() -> None:
    effects = decompose({"a": cell(100, 1.25, 400)}, {"a": cell(120, 1.25, 300)})
    assert astuple(effects) == pytest.approx((20 * 1.25 * 350, 0, 0, 0, 110 * 1.25 * -100))


def test_more_energy_in_the_cleaner_cluster_as_worked_by_hand() -> None:
    before = {"a": cell(100, 1, 400), "b": cell(100, 1, 100)}
    now = {"a": cell(100, 1, 400), "b": cell(200, 1, 100)}
    assert astuple(decompose(before, now)) == pytest.approx((100 * 225, 250 * (200 - 250), 0, 0, 0))


def test_the_same_energy_moved_is_mix_alone() -> None:
    before = {"a": cell(100, 1, 400), "b": cell(100, 1, 100)}
    now = {"a": cell(50, 1, 400), "b": cell(150, 1, 100)}
    assert astuple(decompose(before, now)) == pytest.approx((0, -15_000, 0, 0, 0))


def test_another_pue_is_pue_alone() -> None:
    assert astuple(decompose({"a": cell(10, 1.2, 100)}, {"a": cell(10, 1.5, 100)})) == pytest.approx((0, 0, 0, 300, 0))


def test_a_new_cluster_like_the_old_one_is_usage_alone() -> None:
    old = {"a": cell(100, 1.2, 300)}
    assert astuple(decompose(old, old | {"b": cell(50, 1.2, 300)})) == pytest.approx((18_000, 0, 0, 0, 0))


def test_energy_that_loses_its_grams_is_no_saving_of_usage_or_grid() -> None:
    effects = decompose({"a": cell(100, 1.2, 300)}, {"a": cell(100, 1.2, 300, priced=0.75)})
    assert astuple(effects) == pytest.approx((0, 0, -9_000, 0, 0))


@pytest.mark.parametrize("absent", [{}, {"a": Cell()}])
def test_from_nothing_all_is_usage(absent: Cells) -> None:
    now = {"a": cell(100, 1.2, 300), "b": cell(10, 1.5, 100)}
    assert astuple(decompose(absent, now)) == pytest.approx((grams(now), 0, 0, 0, 0))
    assert astuple(decompose(now, absent)) == pytest.approx((-grams(now), 0, 0, 0, 0))


@given(before=clusters, now=clusters)
@settings(max_examples=60, deadline=None)
def test_the_effects_add_up_to_the_change_and_turn_with_it(before: Cells, now: Cells) -> None:
    there, back = decompose(before, now), decompose(now, before)
    bound = 1e-9 * max(grams(before), grams(now), *map(abs, astuple(there)))
    assert abs(math.fsum(astuple(there)) - (grams(now) - grams(before))) <= bound
    assert astuple(there) == pytest.approx([-effect for effect in astuple(back)], rel=1e-9, abs=bound)


@given(before=made, now=made)
@settings(max_examples=15, deadline=None)
def test_they_are_the_means_over_every_order_of_changing(before: Cell, now: Cell) -> None:
    """Of one cluster with energy and grams in both periods: no factor needs a convention. All orders, one by one."""
    if not all(one.priced_energy_kwh > 1e-3 and one.emissions_gco2e for one in (before, now)):
        return
    old, new = (
        (
            one.energy_kwh,
            1.0,
            one.priced_energy_kwh / one.energy_kwh,
            one.priced_facility_kwh / one.priced_energy_kwh,
            one.emissions_gco2e / one.priced_facility_kwh,
        )
        for one in (before, now)
    )
    steps: list[list[float]] = [[] for _ in old]
    for order in permutations(range(len(old))):
        present = list(old)
        for factor in order:
            was = math.prod(present)
            present[factor] = new[factor]
            steps[factor].append(math.prod(present) - was)
    expected = [math.fsum(of) / 120 for of in steps]
    bound = 1e-9 * max(before.emissions_gco2e, now.emissions_gco2e)
    assert astuple(decompose({"a": before}, {"a": now})) == pytest.approx(expected, rel=1e-9, abs=bound)


def test_a_factor_that_stayed_has_no_effect_at_all() -> None:
    thirds = {"a": Cell(3.0, 3.0, 3.0 * 1.1, 100 / 3)}
    assert decompose(thirds, {"a": Cell(0.1, 0.1, 0.1 * 1.1, 7 / 3)}).pue_gco2e == 0
    assert decompose(thirds, thirds) == Effects(0.0, 0.0, 0.0, 0.0, 0.0)
