"""From parts of series to samples: chunks decoded together, each series held against what a query would show."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.sources.prometheus.chunked_series import Parts, read_chunks
from pipeline.sources.prometheus.xor_chunks import Bits, Decoder

STALE = np.uint64(0x7FF0_0000_0000_0002)  # the one NaN that means "gone", and that no query shows


class Decoded(NamedTuple):
    """Series and their samples.

    Attributes:
        parts: rows of the parts that series begin with: of those with samples.
        offsets: series i owns samples `offsets[i]:offsets[i + 1]`.
        stamps_ms: rising within a series.
        values: float64.
        foreign: rows of the same sort: of series with a chunk that is no float XOR.
        contradictory: of series that have two values at one stamp.
    """

    parts: Int64s
    offsets: Int64s
    stamps_ms: Int64s
    values: Floats
    foreign: Int64s
    contradictory: Int64s

    @property
    def samples(self) -> tuple[Int64s, Int64s, Floats]:
        """As a block has them."""
        return self.offsets, self.stamps_ms, self.values

    def without(self, parts: Int64s) -> "Decoded":
        """All other series."""
        kept = ~np.isin(self.parts, parts)
        sizes = np.diff(self.offsets)
        samples = np.repeat(kept, sizes)
        return Decoded(
            self.parts[kept], np.concatenate(([0], np.cumsum(sizes[kept]))), self.stamps_ms[samples],
            self.values[samples], np.setdiff1d(self.foreign, parts), np.setdiff1d(self.contradictory, parts),
        )  # fmt: skip


def decode_series(parts: Parts, firsts: Int64s, start_ms: int, end_ms: int, decoder: Decoder) -> Decoded:
    """Samples with `start_ms <= stamp <= end_ms` of the series that begin at the parts `firsts`, the first being 0.

    Raises:
        ValueError: not what the format allows.
    """
    chunks = read_chunks(parts)
    series_of_chunk = np.searchsorted(firsts, parts.chunks.owner, side="right") - 1
    is_foreign = _marked(series_of_chunk[~chunks.is_xor], len(firsts))
    readable = ~is_foreign[series_of_chunk]
    found = decoder(parts.body, chunks.starts[readable], chunks.ends[readable])
    # offsets of series among chunks, then among samples
    edges = np.searchsorted(series_of_chunk[readable], np.arange(len(firsts) + 1))
    kept = (found.stamps_ms >= start_ms) & (found.stamps_ms <= end_ms) & (found.bits != STALE)
    offsets, stamps_ms, bits = _only(kept, found.offsets[edges], found.stamps_ms, found.bits)
    back = np.flatnonzero(stamps_ms[1:] <= stamps_ms[:-1]) + 1  # as a rule where a series begins
    series_of_back = np.searchsorted(offsets, back, side="right") - 1
    unsorted = np.flatnonzero(_marked(series_of_back[offsets[series_of_back] != back], len(firsts)))
    contradictory = np.zeros(0, dtype=np.int64)
    if len(unsorted):
        kept, contradictory = _sort(unsorted.tolist(), offsets, stamps_ms, bits)
        offsets, stamps_ms, bits = _only(kept, offsets, stamps_ms, bits)
    held = np.flatnonzero(np.diff(offsets))
    offsets = np.concatenate(([0], offsets[held + 1]))
    return Decoded(firsts[held], offsets, stamps_ms, bits.view(np.float64), firsts[is_foreign], firsts[contradictory])


def _marked(numbers: Int64s, count: int) -> Bools:
    marks = np.zeros(count, dtype=np.bool_)
    marks[numbers] = True
    return marks


def _only(kept: Bools, offsets: Int64s, stamps_ms: Int64s, bits: Bits) -> tuple[Int64s, Int64s, Bits]:
    dropped = np.flatnonzero(~kept)
    if not len(dropped):
        return offsets, stamps_ms, bits
    return offsets - np.searchsorted(dropped, offsets), stamps_ms[kept], bits[kept]


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
