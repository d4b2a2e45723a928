"""The golden case against products of averages, and its figure in the docs."""

import math

import pytest

from benchmarks.averages import GRID_G_PER_KWH, LOADS_KWH, PICTURE, compare, picture


@pytest.mark.parametrize(("load", "error_percent"), [("flat", 0.0), ("day-peaking", 8.7), ("night batch", -9.7)])
def test_a_product_of_averages_is_off_by_so_much_and_the_sum_of_hours_is_not(load: str, error_percent: float) -> None:
    found = compare(LOADS_KWH[load])
    assert found.error * 100 == pytest.approx(error_percent, abs=0.05)
    by_hand = math.fsum(kwh * g for kwh, g in zip(LOADS_KWH[load], GRID_G_PER_KWH, strict=True))
    assert found.hourly_gco2e == pytest.approx(by_hand, rel=1e-12)


def test_the_figure_in_the_docs_is_the_one_that_is_computed() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "run python -m benchmarks.averages"
