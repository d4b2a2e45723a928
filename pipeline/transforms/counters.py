"""Counters become joined intervals, and intervals become joules per step.

Everything is columnar: one array entry per sample or per interval, all series at once. Nothing here knows a meter;
which drops are resets and which values are births is decided by callers, who pass what they decided.

Locality (design section 5): whatever is said about an interval `(t1, t2]` follows from samples in
`[t2 - max_gap, t1 + max_gap]` alone, so an hour comes out the same however a range is cut.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s


@dataclass(frozen=True, slots=True)
class Counters:
    """Samples of many counters, sorted by (code, stamp), one a stamp.

    Attributes:
        code: which counter a sample belongs to, from 0.
        stamp_ms: milliseconds since the epoch.
        value: joules, finite and not negative.
        label: which of the counter's label sets gave the sample.
    """

    code: Int64s
    stamp_ms: Int64s
    value: Floats
    label: Int64s

    @property
    def first(self) -> Bools:
        """Whether a sample is its counter's first in this extract."""
        return np.concatenate(([True], self.code[1:] != self.code[:-1])) if len(self.code) else np.zeros(0, dtype=bool)


@dataclass(frozen=True, slots=True)
class Intervals:
    """Energy between two stamps, `(start_ms, end_ms]`, of the thing numbered `code`."""

    code: Int64s
    start_ms: Int64s
    end_ms: Int64s
    joules: Floats

    def where(self, chosen: Bools) -> "Intervals":
        """The chosen intervals."""
        return Intervals(self.code[chosen], self.start_ms[chosen], self.end_ms[chosen], self.joules[chosen])


def joined_intervals(one: Intervals, other: Intervals) -> Intervals:
    """All of one, then all of the other."""
    return Intervals(*(np.concatenate((getattr(one, f), getattr(other, f))) for f in Intervals.__slots__))


def merge(code: Int64s, stamp_ms: Int64s, value: Floats, label: Int64s) -> Counters:
    """Counters of possibly many label sets each: at a stamp that several of them hold, the maximum counts.

    Running and terminated states, and names that arrive late, are label sets of one counter: they share the exporter's
    accumulator, so the greater value is the further one. What is not a finite, non-negative number is no sample.
    """
    valid = np.isfinite(value) & (value >= 0)
    code, stamp_ms, value, label = code[valid], stamp_ms[valid], value[valid], label[valid]
    order = np.lexsort((label, value, stamp_ms, code))
    code, stamp_ms, value, label = code[order], stamp_ms[order], value[order], label[order]
    if len(code) == 0:
        return Counters(code, stamp_ms, value, label)
    last = np.concatenate(((code[1:] != code[:-1]) | (stamp_ms[1:] != stamp_ms[:-1]), [True]))
    return Counters(code[last], stamp_ms[last], value[last], label[last])


@dataclass(frozen=True, slots=True)
class StepGrid:
    """Equal steps of a window: where intervals are laid onto.

    Attributes:
        start_ms: left edge of the window.
        step_ms: length of a step.
        count: number of steps.
    """

    start_ms: int
    step_ms: int
    count: int

    def spread(self, intervals: Intervals, codes: int) -> Floats:
        """Joules per (code, step): an interval that crosses a step edge is split in proportion to time.

        Intervals are added in their given order, so the same intervals always give the same sums to the last bit.

        Returns:
            Array of shape (codes, count).
        """
        return self._lay(intervals, intervals.joules, codes)

    def cover(self, intervals: Intervals, codes: int) -> Floats:
        """Milliseconds per (code, step) that the intervals cover; shape (codes, count)."""
        return self._lay(intervals, (intervals.end_ms - intervals.start_ms).astype(np.float64), codes)

    def _lay(self, intervals: Intervals, amount: Floats, codes: int) -> Floats:
        first = (intervals.start_ms - self.start_ms) // self.step_ms
        last = (intervals.end_ms - 1 - self.start_ms) // self.step_ms
        pieces = last - first + 1
        owner = np.repeat(np.arange(len(first)), pieces)
        step = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + first[owner]
        left = np.maximum(intervals.start_ms[owner], self.start_ms + step * self.step_ms)
        right = np.minimum(intervals.end_ms[owner], self.start_ms + (step + 1) * self.step_ms)
        length = (intervals.end_ms - intervals.start_ms)[owner]
        share = amount[owner] * ((right - left) / length)
        inside = (step >= 0) & (step < self.count)
        cell = intervals.code[owner][inside] * self.count + step[inside]
        sums: Floats = np.bincount(cell, share[inside], minlength=codes * self.count).astype(np.float64)
        return sums.reshape(codes, self.count)


@dataclass(frozen=True, slots=True)
class StampIndex:
    """Finds stamps in many sorted stamp lists at once: list `code`, stamp in milliseconds.

    Attributes:
        keys: `code` and stamp folded into one rising number.
        origin_ms: subtracted from every stamp first, so that the numbers stay exact.
    """

    keys: Int64s
    origin_ms: int

    SPAN = 1 << 40  # more milliseconds than any extract spans

    @classmethod
    def of(cls, code: Int64s, stamp_ms: Int64s) -> "StampIndex":
        """Index of samples sorted by (code, stamp)."""
        origin_ms = int(stamp_ms.min()) if len(stamp_ms) else 0
        return cls(code * cls.SPAN + (stamp_ms - origin_ms), origin_ms)

    def _key(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        return code * self.SPAN + np.clip(stamp_ms - self.origin_ms, -1, self.SPAN - 1)

    def find(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Position of exactly that stamp in list `code`, or -1."""
        if len(self.keys) == 0:
            return np.full(len(code), -1, dtype=np.int64)
        wanted = self._key(code, stamp_ms)
        position = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where((self.keys[position] == wanted) & (code >= 0), position, -1)

    def count_to(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Number of all indexed stamps, of any list, up to and with this one: differences count what lies between."""
        return np.searchsorted(self.keys, self._key(code, stamp_ms), side="right").astype(np.int64)
