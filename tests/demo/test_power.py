"""Power curves: their energy against a plain loop."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.power import Demand, PowerCurve

Looped = Callable[[PowerCurve, float, float], float]

HOUR_MS = 3_600_000


def test_energy_between_any_two_instants_equals_a_plain_sum_over_the_pieces(looped_joules: Looped) -> None:
    curve = Demand(8.0).curve(np.random.default_rng(1), -HOUR_MS, 2 * HOUR_MS, -HOUR_MS)
    moments = np.random.default_rng(2).uniform(-1.2 * HOUR_MS, 2.2 * HOUR_MS, size=(50, 2))
    for begin, end in np.sort(moments, axis=1):
        both = curve.energy_joules(np.array([begin, end]))
        assert both[1] - both[0] == pytest.approx(looped_joules(curve, begin, end), rel=1e-11, abs=1e-9)


def test_segments_last_minutes_and_end_off_the_scrape_grid() -> None:
    curve = Demand(8.0).curve(np.random.default_rng(1), 0, 6 * HOUR_MS, 0)
    lengths = np.diff(curve.edges_ms)[:-1]
    assert lengths.min() >= 60_000
    assert lengths.max() < 420_000
    assert len(np.unique(curve.edges_ms % 30_000)) > 0.9 * (len(curve.edges_ms) - 2)


def test_a_sum_of_curves_has_the_energy_of_all_of_them() -> None:
    rng = np.random.default_rng(5)
    curves = [Demand(w).curve(rng, begin, HOUR_MS, 0) for w, begin in ((2.0, 0), (3.0, 1_234_567), (5.0, -99))]
    at_ms = rng.uniform(-200, HOUR_MS + 200, 100)
    total = sum(curve.energy_joules(at_ms) for curve in curves)
    assert PowerCurve.sum(curves).energy_joules(at_ms) == pytest.approx(total, rel=1e-12)


def test_a_silenced_span_has_no_energy_and_the_rest_keeps_its_own(looped_joules: Looped) -> None:
    curve = Demand(4.0).curve(np.random.default_rng(6), 0, HOUR_MS, 0)
    silent = curve.silenced([(100_001, 700_003), (HOUR_MS - 5, HOUR_MS + 5)])
    assert looped_joules(silent, 100_001, 700_003) == 0
    assert looped_joules(silent, 0, 100_001) == pytest.approx(looped_joules(curve, 0, 100_001))
    late = (700_003, HOUR_MS - 5)
    assert looped_joules(silent, *late) == pytest.approx(looped_joules(curve, *late))
    assert np.all(np.diff(silent.edges_ms) > 0)


def test_a_swinging_demand_peaks_at_its_hour() -> None:
    curve = Demand(10.0, swing=0.6, peak_hour=19).curve(np.random.default_rng(7), 0, 24 * HOUR_MS, 0)
    hourly = np.diff(curve.energy_joules(np.arange(25) * HOUR_MS))
    assert hourly[17:21].mean() > 2 * hourly[5:9].mean()


def test_a_weighted_curve_has_its_factor_inside_each_span_and_nothing_outside(looped_joules: Looped) -> None:
    curve = Demand(6.0).curve(np.random.default_rng(8), -HOUR_MS, HOUR_MS, 0)
    weighted = curve.weighted([-HOUR_MS / 2, 12_345, HOUR_MS / 3], [0.25, 2.0])
    assert looped_joules(weighted, -HOUR_MS / 2, 12_345) == pytest.approx(
        looped_joules(curve, -HOUR_MS / 2, 12_345) / 4
    )
    later = (12_345, HOUR_MS / 3)
    assert looped_joules(weighted, *later) == pytest.approx(2 * looped_joules(curve, *later))
    assert looped_joules(weighted, -HOUR_MS, -HOUR_MS / 2) == 0
    assert looped_joules(weighted, HOUR_MS / 3, HOUR_MS) == 0
    # beyond the curve itself there is nothing to weigh
    wide = curve.weighted([-9 * HOUR_MS, 9 * HOUR_MS], [1.0])
    assert wide.joules[-1] == pytest.approx(curve.joules[-1])
