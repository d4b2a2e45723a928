"""Intervals with a holder at one end and nobody at the other: how much of a board's energy was nobody's in them.

When in between the board changed hands, no sample tells; half-way is right on average. What a board draws in nobody's
hands is little and known from the scrapes around: nobody gets that for half of the interval and the holder the rest.
"""

from dataclasses import dataclass
from math import fsum

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.boards import Reports, Spans
from pipeline.transforms.counters import Counters
from pipeline.transforms.holders import Shares
from pipeline.units import MS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Vacancies:
    """Of each span: whose scrape tells its holders, and what part of it was nobody's before they had it.

    Attributes:
        told_ms: its end; its start where a holder left.
        free: share of its joules, 0 where no holder came or left.
        estimated: whether one did, and it is known what the board draws in nobody's hands.
    """

    told_ms: Int64s
    free: Floats
    estimated: Bools

    @classmethod
    def of(cls, spans: Spans, reports: Reports, shares: Shares, max_gap_ms: int, ceiling_watts: float) -> "Vacancies":
        """For spans of any boards.

        Args:
            spans: joined ones.
            reports: the samples they are of.
            shares: who holds what at each scrape.
            max_gap_ms: how far from an interval nobody's power may be read (locality).
            ceiling_watts: of one board.
        """
        before, after = (shares.held(spans.report, stamp_ms) for stamp_ms in (spans.from_ms, spans.to_ms))
        free, estimated = np.zeros(len(spans.report)), np.zeros(len(spans.report), dtype=bool)
        for k in np.flatnonzero(((before == 0) & (after > 0)) | ((before > 0) & (after == 0))).tolist():
            watts = _nobodys_watts(spans.where(np.array([k])), reports, shares, max_gap_ms, ceiling_watts)
            if watts is not None and spans.joules[k] > 0:
                joules = watts * (spans.to_ms[k] - spans.from_ms[k]) / MS_PER_SECOND / 2
                free[k], estimated[k] = min(joules / spans.joules[k], 1.0), True
        return cls(np.where(estimated & (after == 0), spans.from_ms, spans.to_ms), free, estimated)


def _nobodys_watts(
    span: Spans, reports: Reports, shares: Shares, max_gap_ms: int, ceiling_watts: float
) -> float | None:
    """Mean power between neighbouring scrapes at which nobody held the board, by the same samples as the one span."""
    samples: Counters = reports.energy if span.counted[0] else reports.power
    first, last = np.searchsorted(samples.code, (span.report[0], span.report[0] + 1))
    near = slice(
        first + np.searchsorted(samples.stamp_ms[first:last], span.to_ms[0] - max_gap_ms),
        first + np.searchsorted(samples.stamp_ms[first:last], span.from_ms[0] + max_gap_ms, side="right"),
    )
    stamp_ms, value = samples.stamp_ms[near], samples.value[near]
    nobody = shares.held(np.full(len(stamp_ms), span.report[0]), stamp_ms) == 0
    seconds = np.diff(stamp_ms) / MS_PER_SECOND
    joules = np.diff(value) if span.counted[0] else value[1:] * seconds
    known = nobody[1:] & nobody[:-1] & (joules >= 0) & (joules <= ceiling_watts * seconds)
    return fsum(joules[known]) / fsum(seconds[known]) if known.any() else None
