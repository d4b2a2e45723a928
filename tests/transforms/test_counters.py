"""Samples become counters, intervals become joules per step."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.transforms.counters import Intervals, StampIndex, StepGrid, merge

HOUR_MS = 3_600_000


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def intervals(*rows: tuple[int, int, int, float]) -> Intervals:
    code, start, end, joules = (list(column) for column in zip(*rows, strict=True))
    return Intervals(ints(*code), ints(*start), ints(*end), np.array(joules, dtype=np.float64))


def test_of_several_label_sets_at_one_stamp_the_greatest_value_counts() -> None:
    counters = merge(ints(0, 0, 0), ints(1000, 1000, 2000), np.array([5.0, 9.0, 3.0]), ints(7, 8, 7))
    assert counters.value.tolist() == [9.0, 3.0]
    assert counters.label.tolist() == [8, 7]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.001])
def test_what_is_not_a_finite_nonnegative_number_is_no_sample(value: float) -> None:
    counters = merge(ints(0, 0, 0), ints(1000, 2000, 3000), np.array([1.0, value, 2.0]), ints(0, 0, 0))
    assert counters.stamp_ms.tolist() == [1000, 3000]


def test_a_bad_value_does_not_hide_a_good_one_at_its_stamp() -> None:
    counters = merge(ints(0, 0), ints(1000, 1000), np.array([4.0, math.nan]), ints(0, 1))
    assert counters.value.tolist() == [4.0]


def test_duplicates_are_one_sample_and_order_does_not_matter() -> None:
    code, stamp, value = ints(1, 0, 1, 0, 1), ints(2, 5, 1, 4, 2), np.array([20.0, 5.0, 10.0, 4.0, 20.0])
    counters = merge(code, stamp, value, ints(0, 0, 0, 0, 0))
    assert counters.code.tolist() == [0, 0, 1, 1]
    assert counters.stamp_ms.tolist() == [4, 5, 1, 2]
    assert counters.first.tolist() == [True, False, True, False]


def test_no_samples_are_no_counters() -> None:
    counters = merge(ints(), ints(), np.zeros(0), ints())
    assert len(counters.code) == 0
    assert len(counters.first) == 0


def test_an_interval_that_ends_at_an_hour_edge_lies_wholly_before_it() -> None:
    grid = StepGrid(0, HOUR_MS, 2)
    before, after = (HOUR_MS - 30_000, HOUR_MS), (HOUR_MS, HOUR_MS + 30_000)
    assert grid.spread(intervals((0, *before, 30.0)), 1).tolist() == [[30.0, 0.0]]
    assert grid.spread(intervals((0, *after, 30.0)), 1).tolist() == [[0.0, 30.0]]


def test_an_interval_over_an_edge_is_split_by_time() -> None:
    # 40 s, of which 10 s lie before the edge: a quarter of 100 J
    grid = StepGrid(0, HOUR_MS, 2)
    assert grid.spread(intervals((0, HOUR_MS - 10_000, HOUR_MS + 30_000, 100.0)), 1).tolist() == [[25.0, 75.0]]


def test_an_interval_may_cross_several_steps_and_both_edges_of_the_window() -> None:
    # 20 min at 1 J a second over steps of 5 min; the window holds the middle 10 min
    grid = StepGrid(0, 300_000, 2)
    assert grid.spread(intervals((0, -300_000, 900_000, 1200.0)), 1).tolist() == [[300.0, 300.0]]
    assert grid.cover(intervals((0, -300_000, 900_000, 1200.0)), 1).tolist() == [[300_000.0, 300_000.0]]


def test_intervals_outside_the_window_count_nowhere() -> None:
    grid = StepGrid(0, HOUR_MS, 1)
    assert grid.spread(intervals((0, -60_000, 0, 5.0), (0, HOUR_MS, HOUR_MS + 1, 5.0)), 1).tolist() == [[0.0]]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 7_000_000), st.integers(1, 900_000), st.floats(0, 1e6)),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([300_000, 900_000, 1_800_000, 3_600_000]),
)
def test_spreading_loses_and_invents_nothing(rows: list[tuple[int, int, int, float]], step_ms: int) -> None:
    grid = StepGrid(0, step_ms, 3 * HOUR_MS // step_ms)
    spread = grid.spread(intervals(*((code, start, start + length, j) for code, start, length, j in rows)), 3)
    for code in range(3):
        assert math.fsum(spread[code]) == pytest.approx(
            math.fsum(j for owner, _, _, j in rows if owner == code), rel=1e-12, abs=1e-12
        )
    assert (spread >= 0).all()


def test_stamps_are_found_exactly_and_only_in_their_own_list() -> None:
    index = StampIndex.of(ints(0, 0, 2), ints(1_000_000, 1_030_000, 1_000_000))
    wanted = index.find(ints(0, 0, 1, 2, 2, -1), ints(1_030_000, 1_030_001, 1_000_000, 1_000_000, 0, 1_000_000))
    assert wanted.tolist() == [1, -1, -1, 2, -1, -1]


def test_stamps_between_two_instants_are_counted() -> None:
    index = StampIndex.of(ints(0, 0, 1), ints(10, 20, 15))
    assert index.count_to(ints(0, 0, 0, 1), ints(9, 10, 25, 15)).tolist() == [0, 1, 2, 3]


def test_an_empty_index_finds_nothing() -> None:
    assert StampIndex.of(ints(), ints()).find(ints(0), ints(5)).tolist() == [-1]
