"""Power that is constant piece by piece, so that the energy at any instant is known exactly, without a step size.

Times here are milliseconds relative to the fleet's start: small numbers, on which float64 loses nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Floats, Int64s
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND

SEGMENT_MS = (60_000, 420_000)
SPREAD = 0.35  # sigma of the log-normal around the mean: a busy pod doubles now and then, none turns negative


@dataclass(frozen=True, slots=True, eq=False)
class PowerCurve:
    """Cumulative energy as a broken line; flat before its first and after its last edge.

    Attributes:
        edges_ms: whole milliseconds, strictly rising.
        joules: energy used up to each edge, never falling.
    """

    edges_ms: Floats
    joules: Floats

    @classmethod
    def of_watts(cls, edges_ms: Floats, watts: Floats) -> "PowerCurve":
        """The curve with `watts[i]` from `edges_ms[i]` to `edges_ms[i + 1]`."""
        steps = watts * np.diff(edges_ms) / MS_PER_SECOND
        return cls(edges_ms, np.concatenate([[0.0], np.cumsum(steps)]))

    @classmethod
    def sum(cls, curves: Iterable["PowerCurve"]) -> "PowerCurve":
        """All curves together, exact at every edge of each."""
        parts = list(curves)
        edges_ms = np.unique(np.concatenate([part.edges_ms for part in parts]))
        total = np.zeros(len(edges_ms))
        for part in parts:
            total += part.energy_joules(edges_ms)
        return cls(edges_ms, total)

    @property
    def watts(self) -> Floats:
        """Power of each piece."""
        power: Floats = np.diff(self.joules) / np.diff(self.edges_ms) * MS_PER_SECOND
        return power

    def energy_joules(self, at_ms: Floats | Int64s) -> Floats:
        """Energy used up to each instant."""
        energy: Floats = np.interp(at_ms, self.edges_ms, self.joules)
        return energy

    def weighted(self, edges_ms: Sequence[float] | Floats, factors: Sequence[float] | Floats) -> "PowerCurve":
        """The power times `factors[i]` from `edges_ms[i]` to `edges_ms[i + 1]`, and none outside these edges."""
        bounds = np.asarray(edges_ms, dtype=np.float64)
        merged = np.unique(np.concatenate([self.edges_ms, bounds]))
        middles = (merged[:-1] + merged[1:]) / 2
        own = np.concatenate([[0.0], self.watts, [0.0]])[np.searchsorted(self.edges_ms, middles)]
        given = np.concatenate([[0.0], np.asarray(factors, dtype=np.float64), [0.0]])[np.searchsorted(bounds, middles)]
        return PowerCurve.of_watts(merged, own * given)

    def silenced(self, spans_ms: Iterable[tuple[int, int]]) -> "PowerCurve":
        """The same curve with no power inside the half-open `spans_ms`."""
        bounds = np.array(list(spans_ms), dtype=np.float64).reshape(-1, 2)
        first, last = self.edges_ms[0], self.edges_ms[-1]
        edges_ms = np.unique(np.concatenate([self.edges_ms, np.clip(bounds.ravel(), first, last)]))
        middles = (edges_ms[:-1] + edges_ms[1:]) / 2
        watts = self.watts[np.searchsorted(self.edges_ms, middles, side="right") - 1]
        for begin, end in bounds:
            watts = np.where((middles > begin) & (middles < end), 0.0, watts)
        return PowerCurve.of_watts(edges_ms, watts)


@dataclass(frozen=True, slots=True)
class Demand:
    """How much power something draws over the day.

    Attributes:
        watts: mean power.
        swing: 0 for the same load all day; 0.6 means 60 % more at the peak hour and 60 % less twelve hours later.
        peak_hour: hour of the UTC day with the highest load.
    """

    watts: float
    swing: float = 0.0
    peak_hour: float = 14.0

    def scaled(self, factor: float) -> "Demand":
        """The same shape with another mean."""
        return Demand(self.watts * factor, self.swing, self.peak_hour)

    def curve(self, rng: np.random.Generator, begin_ms: int, end_ms: int, midnight_ms: int) -> PowerCurve:
        """A random curve over `[begin_ms, end_ms)`.

        Args:
            rng: where segment lengths and levels come from.
            begin_ms: first instant with power; what lies before the fleet's start is one long segment.
            end_ms: first instant without.
            midnight_ms: a UTC midnight, for the time of day.
        """
        body_ms = max(begin_ms, 0)
        count = max(end_ms - body_ms, 0) // SEGMENT_MS[0] + 1
        cuts = body_ms + np.cumsum(rng.integers(*SEGMENT_MS, size=count))
        lead = [begin_ms, 0] if begin_ms < 0 < end_ms else [begin_ms]
        edges_ms = np.concatenate([lead, cuts[cuts < end_ms], [end_ms]]).astype(np.float64)
        middles = (edges_ms[:-1] + edges_ms[1:]) / 2
        hours = (middles - midnight_ms) / MS_PER_HOUR
        daily = 1 + self.swing * np.cos(2 * np.pi * (hours - self.peak_hour) / 24)
        noise = rng.lognormal(-(SPREAD**2) / 2, SPREAD, size=len(middles))
        return PowerCurve.of_watts(edges_ms, self.watts * np.maximum(daily, 0.05) * noise)
