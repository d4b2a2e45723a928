"""The bit streams of XOR chunks, read in step: one numpy lane a chunk, and with each step every lane's next sample.

64 bits are read from wherever they begin by two gathers. A step reads twice: what tells time and width, then what
differs. Calls of numpy are what a step of few lanes costs, and so all is unsigned, nothing is allocated, and constants
are arrays: a Python number or a scalar would be turned into one with each call.
"""

import threading
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import Bools, Int64s
from pipeline.sources.prometheus.protobuf import Bytes, varints

Bits = NDArray[np.uint64]

ONE, WORD = np.uint64(1), np.uint64(64)
BEYOND = 1 << 40  # bits: no chunk is that long

# By the top four bits of a changed distance: bits in all, bits of its prefix, 64 - its own bits, and how its sign is
# had: ((x + bias) & mask) - bias, because Prometheus writes 2 ** (n - 1) as positive. 64 own bits are read apart.
SHORT, WIDE = 14, 15
_OWN = np.array([1] * 8 + [SHORT] * 4 + [17] * 2 + [20, 64], dtype=np.uint64)
_PREFIX = np.array([1] * 8 + [2] * 4 + [3] * 2 + [4, 4], dtype=np.uint64)
_TAKEN = _OWN + _PREFIX
_DROPPED = WORD - _OWN
_MASK = (ONE << _OWN) - ONE
_BIAS = (ONE << (_OWN - ONE)) - ONE
# By the eleven bits of a new width: how many bits differ, and how many follow that do not. Impossible ones lead beyond.
_CODES = np.arange(1 << 11, dtype=np.uint64)
_LEAD, _SIZE = _CODES >> np.uint64(6), ((_CODES - ONE) & np.uint64(63)) + ONE
_WIDTH = np.where(_LEAD + _SIZE > WORD, np.uint64(BEYOND), _SIZE)
_TAIL = WORD - np.minimum(_LEAD + _SIZE, WORD)


def _constant(number: int) -> Bits:
    return np.array(number, dtype=np.uint64)


_1, _2, _6, _11, _15, _16, _50, _62, _63, _64 = map(_constant, (1, 2, 6, 11, 15, 16, 50, 62, 63, 64))
_CHANGED, _UNCHANGED = _constant(1 << 63), _constant((1 << 63) - 1)  # the least with, the greatest without that bit
_FRESH, _CODE = _constant(3 << 61), _constant(len(_CODES) - 1)
_SHORT_MASK, _SHORT_BIAS = _constant((1 << SHORT) - 1), _constant((1 << SHORT - 1) - 1)


class Room(threading.local):
    """Memory of a thread that is used again: fresh pages would cost as much as what is written to them."""

    def __init__(self) -> None:
        self._cells = np.empty((2, 0), dtype=np.uint64)

    def rows(self, count: int, lanes: int) -> Bits:
        """Two tables of so many rows, a lane a column; of any content."""
        if count * lanes > self._cells.shape[1]:
            self._cells = np.empty((2, count * lanes), dtype=np.uint64)
        return self._cells[:, : count * lanes].reshape(2, count, lanes)


class _Lanes(NamedTuple):
    """Where lanes are: next bit, distance of the last stamps, width and tail of the last change; and rooms.

    `place` is `word` as numpy wants to have it.
    """

    position: Bits
    distance: Bits
    width: Bits
    tail: Bits
    head: Bits
    change: Bits
    word: Bits
    shift: Bits
    low: Bits
    place: Int64s
    flag: Bools

    def first(self, count: int) -> "_Lanes":
        """Those that still go on."""
        return _Lanes._make(column[:count] for column in self)


def step(body: Bytes, words: Bits, at_byte: Int64s, ends: Int64s, counts: Int64s, rows: Bits) -> None:
    """Read all samples of chunks, sorted by falling count and none of them empty.

    Args:
        body: the bytes they lie in.
        words: the same; see `xor_chunks.in_words`.
        at_byte: where their first stamps are.
        ends: of the chunks.
        counts: of their samples.
        rows: where stamps and bits go, a row a number and a column a lane.

    Raises:
        ValueError: a chunk that is not what the format allows.
    """
    zigzag, at_byte = varints(body, at_byte)
    rows[0, 0] = (zigzag >> ONE) ^ (np.uint64(0) - (zigzag & ONE))
    position = at_byte.view(np.uint64) * np.uint64(8)
    rows[1, 0] = _at(words, position)
    position += WORD
    going = np.searchsorted(-counts, -np.arange(1, int(counts[0])))  # lanes with a sample number 1, 2, ...
    if len(going):
        live = int(going[0])
        distance, at_byte = varints(body, (position[:live] >> np.uint64(3)).view(np.int64))
        position[:live] = at_byte.view(np.uint64) * np.uint64(8) - ONE  # as if a bit told of no change
        rooms = np.zeros((7, live), dtype=np.uint64)
        place, flag = rooms[4].view(np.int64), np.empty(live, dtype=np.bool_)
        lanes = _Lanes._make((position[:live], distance, *rooms, place, flag))
        _go_on(words, lanes, going.tolist(), rows)
    if np.any(position >= np.uint64(BEYOND)):
        raise ValueError("a chunk with a value of more than 64 bits")
    if np.any(position > ends.view(np.uint64) * np.uint64(8)):
        raise ValueError("a chunk that ends before its samples do")


def _go_on(words: Bits, lanes: _Lanes, going: list[int], rows: Bits) -> None:
    """All samples from the second one on: `going` lanes have one of that number."""
    stamp, value = rows[0, 0, : going[0]], rows[1, 0, : going[0]]
    for number, count in enumerate(going, 1):
        if count < len(lanes.head):
            lanes, stamp, value = lanes.first(count), stamp[:count], value[:count]
        position, distance, width, tail, head, change, word = lanes[:7]
        _read(words, lanes, head)
        if number == 1:
            np.bitwise_and(head, _UNCHANGED, head)
        else:
            (changed,) = np.greater_equal(head, _CHANGED, lanes.flag).nonzero()
            if len(changed):
                _change_distance(words, lanes, changed)
        (fresh,) = np.greater_equal(head, _FRESH, lanes.flag).nonzero()
        if len(fresh):
            _change_width(lanes, fresh)
        np.right_shift(head, _62, head)  # whether anything differs
        np.add(position, head, position)
        np.add(position, _2, position)
        _read(words, lanes, change)
        np.multiply(head, width, word)
        np.add(position, word, position)
        np.subtract(_64, word, word)
        np.right_shift(change, word, change)  # by 64 it is 0: so numpy defines it
        np.left_shift(change, tail, change)
        value = np.bitwise_xor(value, change, rows[1, number, :count])
        stamp = np.add(stamp, distance, rows[0, number, :count])


def _read(words: Bits, lanes: _Lanes, out: Bits) -> None:
    """The 64 bits that begin at each position; beyond the last word, that one: see `step` for what comes of it."""
    position, word, shift, low, place = lanes.position, lanes.word, lanes.shift, lanes.low, lanes.place
    np.right_shift(position, _6, word)
    np.bitwise_and(position, _63, shift)
    words.take(place, None, out, "clip")
    words[1:].take(place, None, low, "clip")
    np.left_shift(out, shift, out)
    np.subtract(_64, shift, shift)
    np.right_shift(low, shift, low)
    np.bitwise_or(out, low, out)


def _at(words: Bits, position: Bits) -> Bits:
    """The same of some positions."""
    word, shift = (position >> np.uint64(6)).view(np.int64), position & np.uint64(63)
    high, low = words.take(word, mode="clip") << shift, words[1:].take(word, mode="clip") >> (WORD - shift)
    return np.bitwise_or(high, low)


def _change_distance(words: Bits, lanes: _Lanes, changed: Int64s) -> None:
    """Change the distances of some lanes and move on, all but a bit, with the head."""
    head, position, distance = (column.take(changed) for column in (lanes.head, lanes.position, lanes.distance))
    if int(np.maximum.reduce(head)) >> 62 == 2:  # all of them are of the shortest class
        change = np.left_shift(head, _2)
        np.right_shift(change, _50, change)
        np.add(change, _SHORT_BIAS, change)
        np.bitwise_and(change, _SHORT_MASK, change)
        np.subtract(change, _SHORT_BIAS, change)
        np.add(position, _15, position)
        np.left_shift(head, _16, head)
        np.right_shift(head, _1, head)
    else:
        sort = (head >> np.uint64(60)).view(np.int64)
        bias = _BIAS.take(sort)
        change = (((head << _PREFIX.take(sort)) >> _DROPPED.take(sort)) + bias & _MASK.take(sort)) - bias
        (wide,) = (sort == WIDE).nonzero()
        change[wide] = _at(words, position.take(wide) + np.uint64(4))
        position += _TAKEN.take(sort) - ONE
        head = _at(words, position) & _UNCHANGED
    np.add(distance, change, distance)
    lanes.distance[changed], lanes.position[changed], lanes.head[changed] = distance, position, head


def _change_width(lanes: _Lanes, fresh: Int64s) -> None:
    """Give some lanes their new widths and move on."""
    code, position = lanes.head.take(fresh), lanes.position.take(fresh)
    np.right_shift(code, _50, code)
    np.bitwise_and(code, _CODE, code)
    np.add(position, _11, position)
    index = code.view(np.int64)
    lanes.tail[fresh], lanes.width[fresh], lanes.position[fresh] = _TAIL.take(index), _WIDTH.take(index), position
