"""Float chunks of a Prometheus (Gorilla XOR), many at a time: one numpy lane a chunk, all lanes stepping together.

A chunk is a big-endian count, then a bit stream: the first stamp (zigzag varint) and value (64 bits); the second
stamp's distance (varint); then the change of the distance in one of five classes. Values after the first are the bits
in which they differ from the one before. Source: `tsdb/chunkenc/xor.go` of Prometheus.

Bits are read from 64-bit words by two gathers, wherever they begin. Lanes are sorted by count, so that those still
alive are always the first ones.
"""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import Int64s
from pipeline.sources.prometheus.protobuf import Bytes, varints

Bits = NDArray[np.uint64]

PAD_BYTES = 32  # a reader may look this far beyond the last chunk
HEADER_BYTES = 2
MOST_LANES = 8_192
MOST_CELLS = 1 << 20  # samples of lanes that step together: bounds memory, whatever the counts are

ONE, WORD = np.uint64(1), np.uint64(64)
IN_WORD = np.uint64(63)

# By the top four bits of a changed distance: bits in all, bits of its prefix, 64 - its own bits, and how its sign is
# had: ((x + bias) & mask) - bias, because Prometheus writes 2 ** (n - 1) as positive. 64 own bits are read apart.
WIDE = 15
_OWN = np.array([1] * 8 + [14] * 4 + [17] * 2 + [20, 64], dtype=np.uint64)
_PREFIX = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4, 4], dtype=np.uint64)
_TAKEN = (_OWN + _PREFIX).astype(np.int64)
_DROPPED = WORD - _OWN
_MASK = (ONE << _OWN) - ONE
_BIAS = (ONE << (_OWN - ONE)) - ONE
# By the top two bits of a value: how long its header is.
_HEADER = np.array([1, 1, 2, 13], dtype=np.int64)


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
    if np.any(ends - starts < HEADER_BYTES):
        raise ValueError("a chunk without a count")
    counts = body[starts].astype(np.int64) << 8 | body[starts + 1]
    # a sample after the first takes two bits or more: a count that its bytes cannot hold is not worth memory
    if np.any(counts * 2 > (ends - starts) * 8):
        raise ValueError("a chunk that counts more samples than it has bits for")
    offsets = np.concatenate(([0], np.cumsum(counts)))
    stamps, bits = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.uint64)
    reader = _Reader(body)
    try:
        for lanes in _together(counts):
            _step(reader, starts[lanes] + HEADER_BYTES, ends[lanes], counts[lanes], (offsets[lanes], stamps, bits))
    except IndexError:
        raise ValueError("a chunk that ends before its samples do") from None
    return Decoded(offsets, stamps, bits)


def _together(counts: Int64s) -> Iterator[Int64s]:
    """Which lanes step together: those of like counts, the longest first, empty ones never."""
    order = np.argsort(-counts, kind="stable")
    order = order[: np.count_nonzero(counts)]
    while len(order):
        most = min(MOST_LANES, max(1, MOST_CELLS // int(counts[order[0]])))
        width = -(-len(order) // -(-len(order) // most))  # evenly, for few lanes step hardly faster than many
        yield order[:width]
        order = order[width:]


class _Reader:
    """The body as words: 64 bits from any bit on."""

    def __init__(self, body: Bytes) -> None:
        padded = np.zeros(-(-(len(body) + PAD_BYTES) // 8) * 8, dtype=np.uint8)
        padded[: len(body)] = body
        self.bytes = padded
        self.words = padded.view(">u8").astype(np.uint64)

    def at(self, position: Int64s) -> Bits:
        """The 64 bits that begin at each position."""
        word, shift = position >> 6, position.view(np.uint64) & IN_WORD
        high = self.words.take(word)
        high <<= shift
        word += 1
        low = self.words.take(word)
        low >>= ONE  # and 63 - shift more: a shift by 64 would depend on the processor
        shift ^= IN_WORD
        low >>= shift
        high |= low
        return high


def _step(reader: _Reader, at_byte: Int64s, ends: Int64s, counts: Int64s, out: tuple[Int64s, Int64s, Bits]) -> None:
    """Decode lanes sorted by falling count into their places."""
    place, stamps, bits = out[0].copy(), out[1], out[2]
    zigzag, at_byte = varints(reader.bytes, at_byte)
    stamp = ((zigzag >> ONE) ^ (np.uint64(0) - (zigzag & ONE))).view(np.int64)
    position = at_byte * 8
    value = reader.at(position)
    position += 64
    stamps[place], bits[place] = stamp, value
    live = int(np.searchsorted(-counts, -1))
    distance, width, tail = np.zeros(live, np.int64), np.zeros(live, np.uint64), np.zeros(live, np.uint64)
    if live:
        unsigned, at_byte = varints(reader.bytes, position[:live] >> 3)
        distance, position[:live] = unsigned.view(np.int64), at_byte * 8
    alive = np.searchsorted(-counts, -np.arange(1, int(counts[0])))  # lanes with a sample number 1, 2, ...
    for number, n in enumerate(alive.tolist(), 1):
        p, d = position[:n], distance[:n]
        head = reader.at(p)
        if number > 1:
            head = _next_distance(reader, head, p, d)
        stamp, value = stamp[:n], value[:n]
        stamp += d
        _next_value(reader, head, p, value, width[:n], tail[:n])
        at = place[:n]
        at += 1
        stamps[at], bits[at] = stamp, value
    if np.any(position > ends * 8):
        raise ValueError("a chunk that ends before its samples do")


def _next_distance(reader: _Reader, head: Bits, position: Int64s, distance: Int64s) -> Bits:
    """Change the distances, move on, and give the bits that follow."""
    (changed,) = (head.view(np.int64) < 0).nonzero()
    taken = np.ones(len(head), dtype=np.int64)
    if len(changed):
        bits = head.take(changed)
        sort = (bits >> np.uint64(60)).view(np.int64)
        own = (bits << _PREFIX.take(sort)) >> _DROPPED.take(sort)
        bias = _BIAS.take(sort)
        change = ((own + bias) & _MASK.take(sort)) - bias
        (wide,) = (sort == WIDE).nonzero()
        if len(wide):
            change[wide] = reader.at(position.take(changed.take(wide)) + 4)
        distance[changed] += change.view(np.int64)
        taken[changed] = _TAKEN.take(sort)
        position += taken
        head <<= taken.view(np.uint64)
        if len(wide):
            wide = changed.take(wide)
            head[wide] = reader.at(position.take(wide))
    else:
        position += taken
        head <<= ONE
    return head


def _next_value(reader: _Reader, head: Bits, position: Int64s, value: Bits, width: Bits, tail: Bits) -> None:
    """Change the values and move on."""
    sort = (head >> np.uint64(62)).view(np.int64)
    position += _HEADER.take(sort)
    (fresh,) = (sort == 3).nonzero()
    if len(fresh):
        bits = head.take(fresh)
        wide = ((((bits >> np.uint64(51)) & IN_WORD) - ONE) & IN_WORD) + ONE
        lead = (bits >> np.uint64(57)) & np.uint64(31)
        width[fresh] = wide
        if np.any(lead + wide > WORD):
            raise ValueError("a chunk with a value of more than 64 bits")
        tail[fresh] = WORD - lead - wide
    own = width * (sort >= 2)
    change = reader.at(position)
    change >>= WORD - own
    change <<= tail
    value ^= change
    position += own.view(np.int64)
