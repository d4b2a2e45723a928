"""Power becomes energy backwards: each sample over the time before it."""

import numpy as np
import pytest

from pipeline.transforms.gauges import backward_steps, previous_readings

CODE = np.array([0, 0, 0, 1, 1])
STAMP = np.array([0, 30_000, 90_000, 10_000, 710_001])


def test_each_sample_counts_over_the_time_since_the_one_before() -> None:
    steps = backward_steps(CODE, previous_readings(CODE, STAMP), STAMP, np.array([7.0, 10, 20, 5, 5]), 600_000)
    assert steps.code.tolist() == [0, 0]  # neither a first sample nor one after a gap
    assert (steps.start_ms.tolist(), steps.end_ms.tolist()) == ([0, 30_000], [30_000, 90_000])
    assert steps.joules == pytest.approx([300, 1200])


@pytest.mark.parametrize(("span_ms", "count"), [(600_000, 1), (600_001, 0), (0, 0)])
def test_a_gap_is_strictly_longer_than_max_gap(span_ms: int, count: int) -> None:
    steps = backward_steps(np.array([0]), np.array([0]), np.array([span_ms]), np.array([1.0]), 600_000)
    assert len(steps.joules) == count


@pytest.mark.parametrize("watts", [np.nan, np.inf, -1.0])
def test_what_is_no_power_is_no_energy(watts: float) -> None:
    assert len(backward_steps(np.array([0]), np.array([0]), np.array([1000]), np.array([watts]), 600_000).joules) == 0


def test_a_backward_step_sum_of_means_is_exact_where_a_trapezoid_is_not() -> None:
    """Power that changes at every reading: the gauge is the mean of each span."""
    stamps = np.arange(0, 300_001, 30_000)
    watts = np.array([0.0, *np.tile([10.0, 90.0], 5)])
    steps = backward_steps(
        np.zeros(11, dtype=np.int64), previous_readings(np.zeros(11), stamps), stamps, watts, 600_000
    )
    assert steps.joules.sum() == pytest.approx(50 * 300)
    assert np.trapezoid(watts, stamps / 1000) != pytest.approx(50 * 300, rel=0.01)


def test_nothing_gives_nothing() -> None:
    empty = np.zeros(0, dtype=np.int64)
    assert len(backward_steps(empty, previous_readings(empty, empty), empty, np.zeros(0), 600_000).code) == 0
