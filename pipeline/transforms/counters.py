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

    def where(self, chosen: Bools | Int64s) -> "Intervals":
        """The chosen intervals, by a mask or in the order of their positions."""
        return Intervals(self.code[chosen], self.start_ms[chosen], self.end_ms[chosen], self.joules[chosen])

    def sorted(self) -> "Intervals":
        """By (code, end)."""
        order = in_order(self.code, self.end_ms)
        return self if order is None else Intervals(*(getattr(self, field)[order] for field in Intervals.__slots__))


SPAN = 1 << 40  # more milliseconds than any extract spans


def in_order(code: Int64s, stamp_ms: Int64s) -> Int64s | None:
    """The order by (code, stamp), None where that is the given one; entries that are equal keep their order.

    Samples come in runs of one code whose stamps rise: where runs of a code follow each other, whole runs are sorted.
    """
    if len(code) == 0:
        return None
    begins = code[1:] != code[:-1]
    if not np.all(begins | (stamp_ms[1:] >= stamp_ms[:-1])):
        return np.argsort(code * SPAN + (stamp_ms - stamp_ms.min()), kind="stable")
    begin = np.append(0, np.flatnonzero(begins) + 1)
    last = np.append(begin[1:], len(code)) - 1
    runs = np.lexsort((stamp_ms[begin], code[begin]))
    if np.all(runs[1:] > runs[:-1]):
        return None
    begin, last = begin[runs], last[runs]
    if np.any((code[begin[1:]] == code[begin[:-1]]) & (stamp_ms[begin[1:]] < stamp_ms[last[:-1]])):
        return np.argsort(code * SPAN + (stamp_ms - stamp_ms.min()), kind="stable")
    lengths = last - begin + 1
    return np.repeat(begin - np.cumsum(lengths) + lengths, lengths) + np.arange(len(code))


def joined_intervals(one: Intervals, other: Intervals) -> Intervals:
    """All of one, then all of the other."""
    if len(other.code) == 0:
        return one
    return Intervals(*(np.concatenate((getattr(one, f), getattr(other, f))) for f in Intervals.__slots__))


def merge(code: Int64s, stamp_ms: Int64s, value: Floats, label: Int64s) -> Counters:
    """Counters of possibly many label sets each: at a stamp that several of them hold, the maximum counts.

    Running and terminated states, and names that arrive late, are label sets of one counter: they share the exporter's
    accumulator, so the greater value is the further one. What is not a finite, non-negative number is no sample.
    """
    if len(value) and not (value.min() >= 0 and value.max() < np.inf):
        valid = np.isfinite(value) & (value >= 0)
        code, stamp_ms, value, label = code[valid], stamp_ms[valid], value[valid], label[valid]
    order = in_order(code, stamp_ms)
    if order is not None:
        code, stamp_ms, value, label = code[order], stamp_ms[order], value[order], label[order]
    again = (stamp_ms[1:] == stamp_ms[:-1]) & (code[1:] == code[:-1])
    if not again.any():
        return Counters(code, stamp_ms, value, label)
    twin = np.concatenate((again, [False])) | np.concatenate(([False], again))
    (own,) = twin.nonzero()
    value, label = value.copy(), label.copy()
    least_first = own[np.lexsort((label[own], value[own], stamp_ms[own], code[own]))]
    value[own], label[own] = value[least_first], label[least_first]
    last = np.concatenate((~again, [True]))
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

        Neighbours in a step are added first: the same intervals in the same order give the same sums to the last bit.

        Returns:
            Array of shape (codes, count).
        """
        return self._lay(intervals, codes, intervals.joules)[0]

    def cover(self, intervals: Intervals, codes: int) -> Floats:
        """Milliseconds per (code, step) that the intervals cover; shape (codes, count)."""
        return self._lay(intervals, codes, _lengths(intervals))[0]

    def spread_and_cover(self, intervals: Intervals, codes: int) -> tuple[Floats, Floats]:
        """Both."""
        spread, cover = self._lay(intervals, codes, intervals.joules, _lengths(intervals))
        return spread, cover

    def _lay(self, intervals: Intervals, codes: int, *amounts: Floats | Int64s) -> list[Floats]:
        """Most intervals lie in one step, beside others of it: these are added first, then pieces of the others."""
        if len(intervals.code) == 0:
            return [np.zeros((codes, self.count)) for _ in amounts]
        start, end, length_ms = intervals.start_ms - self.start_ms, intervals.end_ms - self.start_ms, self._length_ms
        first = start // self.step_ms
        one = (start >= 0) & (end <= length_ms) & (end <= (first + 1) * self.step_ms)
        cell = np.where(one, intervals.code * self.count + first, -1)
        run = np.append(0, (cell[1:] != cell[:-1]).nonzero()[0] + 1)
        inside = cell[run] >= 0
        (cut,) = (~one & (end > 0) & (start < length_ms)).nonzero()
        pieces, part, cell_of_piece = self._pieces(intervals.code[cut], start[cut], end[cut])
        into = np.concatenate((cell[run[inside]], cell_of_piece))
        return [
            np.bincount(
                into,
                np.concatenate((np.add.reduceat(amount, run)[inside], amount[cut][pieces] * part)),
                minlength=codes * self.count,
            )
            .astype(np.float64, copy=False)
            .reshape(codes, self.count)
            for amount in amounts
        ]

    def _pieces(self, code: Int64s, start: Int64s, end: Int64s) -> tuple[Int64s, Floats, Int64s]:
        """Intervals cut at the edges of steps: of each piece whose it is, what part of that, and where it lies."""
        begin, stop = np.maximum(start, 0), np.minimum(end, self._length_ms)
        first = begin // self.step_ms
        count = (stop - 1) // self.step_ms - first + 1
        owner = np.repeat(np.arange(len(code)), count)
        step = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + first[owner]
        left = np.maximum(start[owner], step * self.step_ms)
        right = np.minimum(end[owner], (step + 1) * self.step_ms)
        return owner, (right - left) / (end - start)[owner], code[owner] * self.count + step

    @property
    def _length_ms(self) -> int:
        return self.step_ms * self.count


def _lengths(intervals: Intervals) -> Int64s:
    return intervals.end_ms - intervals.start_ms


@dataclass(frozen=True, slots=True)
class StampIndex:
    """Finds stamps in many sorted stamp lists at once: list `code`, stamp in milliseconds.

    Attributes:
        keys: `code` and stamp folded into one rising number.
        origin_ms: subtracted from every stamp first, so that the numbers stay exact.
    """

    keys: Int64s
    origin_ms: int

    @classmethod
    def of(cls, code: Int64s, stamp_ms: Int64s) -> "StampIndex":
        """Index of samples sorted by (code, stamp)."""
        origin_ms = int(stamp_ms.min()) if len(stamp_ms) else 0
        return cls(code * SPAN + (stamp_ms - origin_ms), origin_ms)

    def _key(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Of any stamp: those before the origin come after all of the list before."""
        if (
            len(stamp_ms)
            and max(self.origin_ms - int(stamp_ms.min()), int(stamp_ms.max()) - self.origin_ms) >= SPAN // 2
        ):
            stamp_ms = np.clip(stamp_ms, self.origin_ms - 1, self.origin_ms + SPAN - 1)
        return code * SPAN + (stamp_ms - self.origin_ms)

    def position(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Of the first indexed stamp of list `code` that is not before that one, or of what comes after the list."""
        return np.searchsorted(self.keys, self._key(code, stamp_ms)).astype(np.int64)

    def find(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Position of exactly that stamp in list `code`, or -1."""
        if len(self.keys) == 0 or len(code) == 0:
            return np.full(len(code), -1, dtype=np.int64)
        wanted = self._key(code, stamp_ms)
        begins = np.concatenate(([0], np.flatnonzero(wanted[1:] <= wanted[:-1]) + 1))
        # what is asked in rising order is mostly there without a gap: search for the first, then verify the next ones
        shift = np.searchsorted(self.keys, wanted[begins]) - begins
        position = np.repeat(shift, np.diff(begins, append=len(wanted))) + np.arange(len(wanted))
        np.minimum(position, len(self.keys) - 1, out=position)
        (missed,) = (self.keys[position] != wanted).nonzero()
        if len(missed):
            again = np.minimum(np.searchsorted(self.keys, wanted[missed]), len(self.keys) - 1)
            position[missed] = np.where(self.keys[again] == wanted[missed], again, -1)
        return np.where(code >= 0, position, -1)

    def count_to(self, code: Int64s, stamp_ms: Int64s) -> Int64s:
        """Number of all indexed stamps, of any list, up to and with this one: differences count what lies between."""
        return np.searchsorted(self.keys, self._key(code, stamp_ms), side="right").astype(np.int64)
