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
MOST_LANES = 16_384
MOST_CELLS = 1 << 21  # samples of lanes that step together: bounds memory, whatever the counts are

ONE, WORD, IN_WORD = np.uint64(1), np.uint64(64), np.uint64(63)
CHANGED, FRESH = np.uint64(1 << 63), np.uint64(3 << 62)  # the least bits of a distance that changed, of a new width

# By the top four bits of a changed distance: bits in all, bits of its prefix, 64 - its own bits, and how its sign is
# had: ((x + bias) & mask) - bias, because Prometheus writes 2 ** (n - 1) as positive. 64 own bits are read apart.
SHORT, WIDE = 14, 15
_OWN = np.array([1] * 8 + [SHORT] * 4 + [17] * 2 + [20, 64], dtype=np.uint64)
_PREFIX = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4, 4], dtype=np.uint64)
_TAKEN = (_OWN + _PREFIX).astype(np.int64)
_DROPPED = WORD - _OWN
_MASK = (ONE << _OWN) - ONE
_BIAS = (ONE << (_OWN - ONE)) - ONE
# By the eleven bits of a new width: how many bits differ, and how many follow that do not; 65 where that is impossible.
HEADER_BITS = 13
_CODES = np.arange(1 << 11, dtype=np.uint64)
_WIDTH = ((_CODES - ONE) & IN_WORD) + ONE
_TAIL = np.where((_CODES >> np.uint64(6)) + _WIDTH > WORD, WORD + ONE, WORD - (_CODES >> np.uint64(6)) - _WIDTH)


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
    counts = np.diff(offsets)
    stamps, bits = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.uint64)
    reader = _Reader(body, min(len(counts), MOST_LANES))
    for lanes in _together(counts):
        _step(reader, starts[lanes] + HEADER_BYTES, ends[lanes], counts[lanes], (offsets[lanes], stamps, bits))
    return Decoded(offsets, stamps, bits)


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
    """The body as words: 64 bits from any bit on.

    A position beyond it reads its last word: it is at the end of a chunk that positions are held against.
    """

    def __init__(self, body: Bytes, lanes: int) -> None:
        self.bytes, self.words = body, in_words(body)
        self._following = self.words[1:]
        self._word, self._shift, self._low = np.empty(lanes, np.int64), *np.empty((2, lanes), np.uint64)

    def at(self, position: Int64s, out: Bits | None = None) -> Bits:
        """The 64 bits that begin at each position, as many as there are lanes at the most."""
        count = len(position)
        word, shift, low = self._word[:count], self._shift[:count], self._low[:count]
        np.right_shift(position, 6, word)
        np.bitwise_and(position.view(np.uint64), IN_WORD, shift)
        high = self.words.take(word, out=out, mode="clip")
        self._following.take(word, out=low, mode="clip")
        high <<= shift
        np.subtract(WORD, shift, shift)
        low >>= shift  # by 64 it is 0: so numpy defines it
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
    distance = np.zeros(live, np.int64)
    if live:
        unsigned, at_byte = varints(reader.bytes, position[:live] >> 3)
        distance, position[:live] = unsigned.view(np.int64), at_byte * 8
    changes = (*np.zeros((2, live), np.uint64), *np.empty((2, live), np.uint64))
    lanes = _Lanes(position[:live], distance, value[:live], *changes)
    stamp, place = stamp[:live], place[:live]
    alive = np.searchsorted(-counts, -np.arange(1, int(counts[0])))  # lanes with a sample number 1, 2, ...
    for number, n in enumerate(alive.tolist(), 1):
        if n < len(lanes.head):
            lanes, stamp, place = lanes.first(n), stamp[:n], place[:n]
        reader.at(lanes.position, lanes.head)
        if number > 1:
            _next_distance(reader, lanes)
        stamp += lanes.distance
        _next_value(reader, lanes)
        place += 1
        stamps[place], bits[place] = stamp, lanes.value
    if np.any(position > ends * 8):
        raise ValueError("a chunk that ends before its samples do")


class _Lanes(NamedTuple):
    """Where lanes are: next bit, distance and value of the sample before, width and tail of its change; two rooms."""

    position: Int64s
    distance: Int64s
    value: Bits
    width: Bits
    tail: Bits
    head: Bits
    change: Bits

    def first(self, count: int) -> "_Lanes":
        """Those that are still alive."""
        return _Lanes(*(column[:count] for column in self))  # type: ignore[arg-type] # each of its own type


def _next_distance(reader: _Reader, lanes: _Lanes) -> None:
    """Change the distances and move on, with the head."""
    head, position = lanes.head, lanes.position
    (changed,) = (head >= CHANGED).nonzero()
    bits = head.take(changed)
    position += 1
    head <<= ONE
    if not len(changed):
        return
    if int(bits.max()) >> 62 == 2:  # all of them are of the shortest class
        change = (((bits << np.uint64(2)) >> _DROPPED[8]) + _BIAS[8] & _MASK[8]) - _BIAS[8]
        lanes.distance[changed] += change.view(np.int64)
        position[changed] += _TAKEN[8] - 1
        head[changed] = bits << np.uint64(_TAKEN[8])
        return
    sort = (bits >> np.uint64(60)).view(np.int64)
    own = (bits << _PREFIX.take(sort)) >> _DROPPED.take(sort)
    bias = _BIAS.take(sort)
    change = ((own + bias) & _MASK.take(sort)) - bias
    (wide,) = (sort == WIDE).nonzero()
    after = position.take(changed)
    if len(wide):
        change[wide] = reader.at(after.take(wide) + 3)
    after += _TAKEN.take(sort) - 1
    lanes.distance[changed] += change.view(np.int64)
    position[changed] = after
    head[changed] = reader.at(after)


def _next_value(reader: _Reader, lanes: _Lanes) -> None:
    """Change the values and move on."""
    head, position, change = lanes.head, lanes.position, lanes.change
    (fresh,) = (head >= FRESH).nonzero()
    if len(fresh):
        code = (head.take(fresh) >> np.uint64(51) & np.uint64(2047)).view(np.int64)
        tail = _TAIL.take(code)
        if tail.max() > WORD:
            raise ValueError("a chunk with a value of more than 64 bits")
        lanes.width[fresh], lanes.tail[fresh] = _WIDTH.take(code), tail
        position[fresh] += HEADER_BITS - 2
    head >>= IN_WORD  # whether anything changes
    position += head.view(np.int64)
    position += 1
    reader.at(position, change)
    head *= lanes.width
    position += head.view(np.int64)
    np.subtract(WORD, head, head)
    change >>= head
    change <<= lanes.tail
    np.bitwise_xor(lanes.value, change, lanes.value)
