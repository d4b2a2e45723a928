"""Float chunks of a Prometheus (Gorilla XOR), many at a time, by numpy.

A chunk is a big-endian count, then a bit stream: the first stamp (zigzag varint) and value (64 bits); the second
stamp's distance (varint); then the change of the distance in one of five classes. Values after the first are the bits
in which they differ from the one before. Source: `tsdb/chunkenc/xor.go` of Prometheus.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.prometheus.protobuf import Bytes
from pipeline.sources.prometheus.xor_lanes import Bits, Room, step

PAD_BYTES = 32  # a reader may look this far beyond the last chunk
HEADER_BYTES = 2
MOST_CELLS = 3 << 19  # of the room for samples of chunks that step together: bounds memory, whatever the counts are
CHUNKS_LAID = 128  # are laid out at a time: what they hold stays in the cache of a processor

_room = Room()


class Decoded(NamedTuple):
    """Samples of chunks, one chunk after the other.

    Attributes:
        offsets: chunk i has samples `offsets[i]:offsets[i + 1]`.
        stamps_ms: int64 milliseconds since the epoch, as they stand in the chunk.
        bits: of the float64 values, so that stale markers can still be told from other NaNs.
    """

    offsets: Int64s
    stamps_ms: Int64s
    bits: Bits


class Decoder(Protocol):
    """What stands in for `decode` where something faster is installed: the same answer bit for bit, or its error."""

    def __call__(self, body: Bytes, starts: Int64s, ends: Int64s) -> Decoded:
        """Decode the chunks `body[starts[i]:ends[i]]`.

        Raises:
            ValueError: a chunk that is not what the format allows.
        """
        ...


def decode(body: Bytes, starts: Int64s, ends: Int64s) -> Decoded:
    """Decode the chunks `body[starts[i]:ends[i]]`; see `Decoder`."""
    offsets = offsets_of(body, starts, ends)
    samples = np.empty(offsets[-1], dtype=np.uint64), np.empty(offsets[-1], dtype=np.uint64)
    words, counts = in_words(body), np.diff(offsets)
    for own in _together(counts, 0, len(counts)):
        order = np.argsort(-counts[own], kind="stable")  # so that lanes that still go on are always the first ones
        order = order[: np.count_nonzero(counts[own])]
        if not len(order):
            continue
        rows = _room.rows(int(counts[own].max()), len(order))
        step(body, words, starts[own][order] + HEADER_BYTES, ends[own][order], counts[own][order], rows)
        rank = np.zeros(own.stop - own.start, dtype=np.int64)
        rank[order] = np.arange(len(order))
        _lay_out(rows, rank, offsets[own.start : own.stop + 1], samples)
    return Decoded(offsets, samples[0].view(np.int64), samples[1])


def offsets_of(body: Bytes, starts: Int64s, ends: Int64s) -> Int64s:
    """Where the samples of each chunk will lie, by their counts.

    Raises:
        ValueError: a count that is not there, or that its bytes cannot hold: it is not worth memory.
    """
    if np.any(ends - starts < HEADER_BYTES) or np.any(ends > len(body)):
        raise ValueError("a chunk without a count")
    counts = body[starts].astype(np.int64) << 8 | body[starts + 1]
    if np.any(counts * 2 > (ends - starts) * 8):  # a sample after the first takes two bits or more
        raise ValueError("a chunk that counts more samples than it has bits for")
    return np.concatenate(([0], np.cumsum(counts)))


def in_words(body: Bytes) -> Bits:
    """The body as 64-bit numbers, and at least `PAD_BYTES` of zeros."""
    whole = len(body) // 8
    words = np.zeros(whole + PAD_BYTES // 8 + 1, dtype=np.uint64)
    words[:whole] = body[: whole * 8].view(">u8")
    rest = body[whole * 8 :].tobytes()
    words[whole] = int.from_bytes(rest.ljust(8, b"\0"))
    return words


def _together(counts: Int64s, first: int, stop: int) -> Iterator[slice]:
    """Which chunks step together: neighbours, as many as there is room for."""
    if stop - first > 1 and (stop - first) * int(counts[first:stop].max()) > MOST_CELLS:
        middle = (first + stop) // 2
        yield from _together(counts, first, middle)
        yield from _together(counts, middle, stop)
    else:
        yield slice(first, stop)


def _lay_out(rows: Bits, rank: Int64s, offsets: Int64s, samples: tuple[Bits, Bits]) -> None:
    """From rows, where sample n of each lane lies side by side, to chunks one after the other.

    Args:
        rows: stamps and bits, a row a number and a column a lane.
        rank: in which lane each chunk is.
        offsets: where its samples go; see `Decoded`.
        samples: where to, stamps and bits.
    """
    width, flat = rows.shape[2], rows.reshape(2, -1)
    edges = [*range(0, len(rank), CHUNKS_LAID), len(rank)]
    down = np.arange(0, width * int(np.diff(offsets[edges]).max()), width)
    for first, stop in pairwise(edges):
        low, high = int(offsets[first]), int(offsets[stop])
        own = offsets[first : stop + 1]
        place = np.repeat(rank[first:stop] - (own[:-1] - low) * width, np.diff(own))
        place += down[: high - low]
        for column, found in zip(flat, samples, strict=True):
            column.take(place, out=found[low:high], mode="clip")
