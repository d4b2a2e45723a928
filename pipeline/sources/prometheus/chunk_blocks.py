"""From chunks to samples of series: chunks decoded together, each series held against what a query would show."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias, cast

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.sources.prometheus.chunked_series import Chunks
from pipeline.sources.prometheus.xor_chunks import Decoder
from pipeline.sources.prometheus.xor_lanes import Bits

AT_ONCE = 1 << 14  # samples that are looked at together: the cache of a processor holds them
NONE = np.zeros(0, dtype=np.int64)
STALE = np.uint64(0x7FF0_0000_0000_0002)  # the one NaN that means "gone", and that no query shows


class Kept(NamedTuple):
    """Samples that count.

    Attributes:
        offsets: series i owns samples `offsets[i]:offsets[i + 1]`.
        stamps_ms: int64.
        bits: of the values.
        unsorted: series whose stamps do not rise.
    """

    offsets: Int64s
    stamps_ms: Int64s
    bits: Bits
    unsorted: Int64s


Keep: TypeAlias = Callable[[Int64s, Int64s, Bits, int, int], Kept]


def keep(offsets: Int64s, stamps_ms: Int64s, bits: Bits, start_ms: int, end_ms: int) -> Kept:
    """Samples that are no stale marker, with `start_ms <= stamp <= end_ms`; the arrays given may be changed."""
    at, out, falls = 0, [NONE], [NONE]
    for first in range(0, len(bits), AT_ONCE):
        stamps, own_bits = stamps_ms[first : first + AT_ONCE], bits[first : first + AT_ONCE]
        kept = own_bits != STALE
        if stamps.min() < start_ms or stamps.max() > end_ms:
            kept &= (stamps >= start_ms) & (stamps <= end_ms)
        if not kept.all():
            out.append(np.flatnonzero(~kept) + first)
            stamps, own_bits = stamps[kept], own_bits[kept]
        own = slice(at, at + len(stamps))
        if at < first or len(stamps) < len(kept):
            stamps_ms[own], bits[own] = stamps, own_bits
        seen = stamps_ms[max(at - 1, 0) : own.stop]
        falls.append(np.flatnonzero(seen[1:] <= seen[:-1]) + max(at, 1))
        at = own.stop
    offsets, stamps_ms, bits = offsets - np.searchsorted(np.concatenate(out), offsets), stamps_ms[:at], bits[:at]
    back = np.concatenate(falls)  # as a rule where a series begins
    series = np.searchsorted(offsets, back, side="right") - 1
    return Kept(offsets, stamps_ms, bits, np.unique(series[offsets[series] != back]))


class Decoded(NamedTuple):
    """Series and their samples; series are rows of those asked for.

    Attributes:
        series: which have samples.
        offsets: series i of them owns samples `offsets[i]:offsets[i + 1]`.
        stamps_ms: rising within a series.
        values: float64.
        foreign: which have a chunk that is no float XOR.
        contradictory: which have two values at one stamp.
    """

    series: Int64s
    offsets: Int64s
    stamps_ms: Int64s
    values: Floats
    foreign: Int64s
    contradictory: Int64s

    def samples(self, own: slice) -> tuple[Int64s, Int64s, Floats]:
        """Those of neighbours among `series`, as a block has them."""
        offsets = self.offsets[own.start : own.stop + 1]
        inside = slice(offsets[0], offsets[-1])
        return offsets - offsets[0], self.stamps_ms[inside], self.values[inside]

    @property
    def last_ms(self) -> list[int]:
        """Last stamp of each of `series`."""
        return cast("list[int]", self.stamps_ms[self.offsets[1:] - 1].tolist())

    def after(self, last_ms: Int64s) -> "Decoded":
        """Only samples later than `last_ms`, one stamp for each of `series`."""
        out = np.flatnonzero(self.stamps_ms <= np.repeat(last_ms, np.diff(self.offsets)))
        offsets, stamps_ms, bits = _without(out, self.offsets, self.stamps_ms, self.values.view(np.uint64))
        held = np.flatnonzero(np.diff(offsets))
        return self._replace(
            series=self.series[held], offsets=np.concatenate(([0], offsets[held + 1])), stamps_ms=stamps_ms,
            values=bits.view(np.float64),
        )  # fmt: skip


def decode_series(
    chunks: Chunks, series: Int64s, count: int, span_ms: tuple[int, int], decoder: Decoder, keep: Keep = keep
) -> Decoded:
    """Samples of `count` series within a span, both ends of which belong to it.

    Args:
        chunks: of all of them.
        series: to which series each chunk belongs.
        count: how many series there are.
        span_ms: first and last stamp.
        decoder: of chunks.
        keep: as `keep`.

    Raises:
        ValueError: not what the format allows.
    """
    is_foreign = _marked(series[~chunks.is_xor], count)
    readable = np.flatnonzero(~is_foreign[series])
    if np.any(series[1:] < series[:-1]):  # of one that came in two places
        readable = readable[np.argsort(series[readable], kind="stable")]
    found = decoder(chunks.body, chunks.starts[readable], chunks.ends[readable])
    edges = found.offsets[np.searchsorted(series[readable], np.arange(count + 1))]
    offsets, stamps_ms, bits, unsorted = keep(edges, found.stamps_ms, found.bits, *span_ms)
    contradictory = NONE
    if len(unsorted):
        kept, contradictory = _sort(unsorted.tolist(), offsets, stamps_ms, bits)
        offsets, stamps_ms, bits = _without(np.flatnonzero(~kept), offsets, stamps_ms, bits)
    held = np.flatnonzero(np.diff(offsets))
    offsets = np.concatenate(([0], offsets[held + 1]))
    return Decoded(held, offsets, stamps_ms, bits.view(np.float64), np.flatnonzero(is_foreign), contradictory)


def _marked(numbers: Int64s, count: int) -> Bools:
    marks = np.zeros(count, dtype=np.bool_)
    marks[numbers] = True
    return marks


def _without(out: Int64s, offsets: Int64s, stamps_ms: Int64s, bits: Bits) -> tuple[Int64s, Int64s, Bits]:
    """Without some samples."""
    return offsets - np.searchsorted(out, offsets), np.delete(stamps_ms, out), np.delete(bits, out)


def _sort(series: Sequence[int], offsets: Int64s, stamps_ms: Int64s, bits: Bits) -> tuple[Bools, Int64s]:
    """Sort some series in place; which samples are kept, and which series contradict themselves (nothing is kept)."""
    kept, contradictory = np.ones(len(stamps_ms), dtype=np.bool_), []
    for index in series:
        own = slice(offsets[index], offsets[index + 1])
        order = np.argsort(stamps_ms[own], kind="stable")
        stamps_ms[own], bits[own] = stamps_ms[own][order], bits[own][order]
        again = np.diff(stamps_ms[own], prepend=stamps_ms[own][0] - 1) == 0
        if np.any(again[1:] & (bits[own][1:] != bits[own][:-1])):
            contradictory.append(index)
            kept[own] = False
        else:
            kept[own] = ~again
    return kept, np.array(contradictory, dtype=np.int64)
