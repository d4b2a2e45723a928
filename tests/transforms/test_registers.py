"""What one register counted between two scrapes."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.transforms.registers import RegisterSteps, rises
from tests.transforms.made import AMD_RANGE, PACKAGE_RANGE

BOTH = (AMD_RANGE, PACKAGE_RANGE)
GAP_MS = 600_000


def steps_of(*readings: tuple[float, float], ranges: tuple[float, ...] = BOTH) -> RegisterSteps:
    """One register's readings, (second, joules)."""
    ms = np.array([round(second * 1000) for second, _ in readings], dtype=np.int64)
    shown = np.array([joules for _, joules in readings], dtype=np.float64)
    return RegisterSteps(
        np.zeros(len(ms) - 1, dtype=np.int64), ms[:-1], ms[1:], ms[:-1], shown[:-1], shown[1:], [ranges]
    )


@pytest.mark.parametrize(
    ("readings", "expected", "wraps"),
    [
        ([(0, 5), (30, 3_005), (60, 6_005)], [3_000, 3_000], []),
        ([(0, 259_000), (30, 262_000), (60, 2_856.67115)], [3_000, 3_000], [1]),
        ([(0, 62_400), (30, 65_400), (60, 2_867.389013)], [3_000, 3_000], [1]),  # the smaller range
        ([(0, 262_000), (30, 2_856.67115), (60, 5_856.67115)], [3_000, 3_000], [0]),  # only the power after it is known
        ([(0, 262_000), (30, 2_856.67115)], [np.nan], []),  # nothing around: a restart looks alike
        ([(0, 97_000), (30, 100_000), (60, 2_000)], [3_000, np.nan], []),  # no wrap of any range
        ([(0, 1_000), (30, 4_000), (60, 104_000)], [3_000, np.nan], []),  # 3.3 kW
        ([(0, 1_000), (30, 4_000), (500, 31_000)], [3_000, np.nan], []),  # 27 kJ or a whole small range more
        ([(0, 71_000), (30, 74_000), (500, 121_000)], [3_000, 47_000], []),  # it shows more than the small range holds
        ([(0, 400_000), (30, 403_000)], [3_000], []),  # a register of a range unknown to us counts all the same
        ([(0, 400_000), (30, 403_000), (60, 2_000)], [3_000, np.nan], []),  # until it wraps
    ],
)
def test_a_step_is_what_exactly_one_explanation_gives(
    readings: list[tuple[float, float]], expected: list[float], wraps: list[int]
) -> None:
    rise, wrapped = rises(steps_of(*readings), GAP_MS)
    assert rise == pytest.approx(expected, nan_ok=True)
    assert np.flatnonzero(wrapped).tolist() == wraps


@pytest.mark.parametrize(
    ("ceiling_watts", "expected"),
    [(2_000.0, [3_000, np.nan]), (4_000.0, [3_000, 100_000]), (3_333.0, [3_000, np.nan]), (3_334.0, [3_000, 100_000])],
)
def test_the_ceiling_decides_what_a_register_can_have_counted(ceiling_watts: float, expected: list[float]) -> None:
    leap = steps_of((0, 101_000), (30, 104_000), (60, 204_000), ranges=(PACKAGE_RANGE,))  # 100 kJ in 30 s: 3,333.3 W
    assert rises(leap, GAP_MS, ceiling_watts)[0] == pytest.approx(expected, nan_ok=True)


def test_only_what_lies_within_max_gap_explains_a_wrap() -> None:
    for silence, known in ((570, True), (571, False)):
        near = (60 - silence - 30, 100_000.0), (60 - silence, 103_000.0)
        steps = steps_of(*near, (30, 262_000), (60, 2_856.67115))
        kept = {name: getattr(steps, name)[[0, 2]] for name in RegisterSteps.__slots__ if name != "ranges_joules"}
        steps = replace(steps, **kept)  # the step across the silence is none
        rise, _ = rises(steps, GAP_MS)
        assert np.isfinite(rise[1]) == known


def test_registers_do_not_lend_each_other_their_power() -> None:
    one = steps_of((0, 5), (30, 3_005))
    two = steps_of((0, 262_000), (30, 2_856.67115))
    parts = ("start_ms", "end_ms", "known_ms", "first_joules", "last_joules")
    both = RegisterSteps(
        np.array([0, 1]), *(np.concatenate((getattr(one, n), getattr(two, n))) for n in parts), [BOTH, BOTH]
    )
    assert rises(both, GAP_MS)[0] == pytest.approx([3_000, np.nan], nan_ok=True)
