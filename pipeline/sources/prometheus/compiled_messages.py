"""Messages, chunks and their samples by compiled code: the extra `fast`. The same answers as numpy's, or its errors.

The words that bits are read from reach beyond the last chunk as far as one sample can.
"""

# mypy: disable-error-code="assignment, return-value, no-any-return, no-untyped-call"
# numba takes numpy's numbers and Python's for one another, mypy does not

import numpy as np
from numba import types

from pipeline.samples import Int64s
from pipeline.sources.prometheus.chunk_blocks import STALE, Kept
from pipeline.sources.prometheus.compiled import (
    BEYOND,
    BYTES,
    ENDS_EARLY,
    INTO_BYTES,
    INTO_LONGS,
    INTO_ROWS,
    INTO_WORDS,
    LONGS,
    ONE,
    RIGHT,
    SEVEN,
    TOO_LONG,
    TOO_WIDE,
    UNKNOWN_TYPE,
    WORDS,
    compiled,
    raised,
)
from pipeline.sources.prometheus.protobuf import CONTENT, FIXED32, FIXED64, MOST_VARINT_BYTES, VARINT, Bytes, Fields
from pipeline.sources.prometheus.xor_chunks import HEADER_BYTES, Decoded, in_words, offsets_of
from pipeline.sources.prometheus.xor_lanes import Bits


@compiled(BYTES, types.int64, types.int64, result=types.UniTuple(types.int64, 2))
def number_at(body: Bytes, at: int, end: int) -> tuple[int, int]:
    """A number, and the position after it or, negative, what is wrong."""
    value, shift = np.uint64(0), np.uint64(0)
    for place in range(at, min(at + MOST_VARINT_BYTES, end)):
        byte = np.uint64(body[np.uint64(place)])
        value |= (byte & np.uint64(127)) << shift
        if byte < 128:
            return np.int64(value), place + 1
        shift += SEVEN
    return 0, -TOO_LONG if at + MOST_VARINT_BYTES <= end else -ENDS_EARLY


@compiled(BYTES, LONGS, LONGS, INTO_ROWS)
def _fields(body: Bytes, starts: Int64s, ends: Int64s, found: Int64s) -> int:  # noqa: C901 # one loop over fields
    """How many fields there are, or the negative code of an error; those that there is room for go into `found`."""
    count, room = 0, found.shape[1]
    for message in range(len(starts)):
        at, end = starts[message], ends[message]
        while at < end:
            tag, at = number_at(body, at, len(body))
            wire, size, value = tag & 7, 0, 0
            if at < 0:
                return at
            if wire in (VARINT, CONTENT):
                value, at = number_at(body, at, len(body))
                if at < 0:
                    return at
                if wire == CONTENT:
                    if value < 0 or value > len(body):
                        return -BEYOND
                    size, value = value, 0
            elif wire == FIXED64:
                size = 8
            elif wire == FIXED32:
                size = 4
            else:
                return -UNKNOWN_TYPE
            if at + size > end:
                return -BEYOND
            if count < room:
                found[0, count] = message
                found[1, count] = np.int64(np.uint64(tag) >> np.uint64(3))
                found[2, count] = wire
                found[3, count] = at
                found[4, count] = at + size
                found[5, count] = value
            count += 1
            at += size
    return count


def fields(body: Bytes, starts: Int64s, ends: Int64s) -> Fields:
    """All fields of the messages `body[starts[i]:ends[i]]`; see `protobuf.fields`."""
    starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
    found = np.empty((6, 0), dtype=np.int64)
    for _ in range(2):  # first only to count them
        count = _fields(body, starts, ends, found)
        raised(max(-count, RIGHT))
        found = found if found.shape[1] else np.empty((6, count), dtype=np.int64)
    owner, number, wire, start, end, value = found
    return Fields(owner, number, wire, start, end, value.view(np.uint64))


@compiled(WORDS, types.int64, result=types.uint64)
def _at(words: Bits, position: int) -> np.uint64:
    """The 64 bits that begin at a position."""
    at = np.uint64(position)
    word, shift = at >> np.uint64(6), at & np.uint64(63)  # unsigned: numba takes a negative index from the end
    return words[word] << shift | words[word + ONE] >> ONE >> (np.uint64(63) - shift)


@compiled(WORDS, types.int64, types.uint64, result=types.UniTuple(types.int64, 2))
def _change(words: Bits, position: int, head: np.uint64) -> tuple[int, int]:
    """The change of a distance whose bits are the head's first, and how many they are."""
    if head >> np.uint64(60) == 15:
        return np.int64(_at(words, position + 4)), 68
    own, prefix = 14, 2
    if head >> np.uint64(60) == 14:
        own, prefix = 20, 4
    elif head >> np.uint64(61) == 6:
        own, prefix = 17, 3
    change = np.int64(head << np.uint64(prefix) >> np.uint64(64 - own))
    return change - (1 << own if change > 1 << own - 1 else 0), own + prefix


@compiled(WORDS, types.int64, types.int64, types.int64, INTO_LONGS, INTO_WORDS)
def _go_on(words: Bits, position: int, end: int, distance: int, stamps: Int64s, bits: Bits) -> int:
    """All samples from the second one on, of which only the distance is known."""
    stamp, value, width, tail = stamps[0], bits[0], np.uint64(0), np.uint64(0)
    for sample in range(1, len(stamps)):
        if position > end:
            return ENDS_EARLY
        head = _at(words, position)
        if sample > 1:
            if head >> np.uint64(63) == 0:
                position += 1
                head <<= ONE
            else:
                change, taken = _change(words, position, head)
                distance += change
                position += taken
                head = _at(words, position)
        stamp += distance
        if head >> np.uint64(63) == 0:
            position += 1
        else:
            position += 2
            if head >> np.uint64(62) == 3:
                width = ((head >> np.uint64(51)) - ONE & np.uint64(63)) + ONE
                lead = head >> np.uint64(57) & np.uint64(31)
                if lead + width > 64:
                    return TOO_WIDE
                tail = np.uint64(64) - lead - width
                position += 11
            if width > 0:  # a shift by 64 would be undefined
                value ^= _at(words, position) >> (np.uint64(64) - width) << tail
                position += np.int64(width)
        stamps[sample], bits[sample] = stamp, value
    return RIGHT if position <= end else ENDS_EARLY


@compiled(WORDS, BYTES, LONGS, LONGS, LONGS, INTO_LONGS, INTO_WORDS)
def _decode(words: Bits, body: Bytes, starts: Int64s, ends: Int64s, offsets: Int64s, stamps: Int64s, bits: Bits) -> int:
    for chunk in range(len(starts)):
        own, end = slice(offsets[chunk], offsets[chunk + 1]), ends[chunk] * 8
        if own.start == own.stop:
            continue
        zigzag, at = number_at(body, starts[chunk] + HEADER_BYTES, ends[chunk])
        if at < 0:
            return -at
        position = at * 8 + 64
        if position > end:
            return ENDS_EARLY
        stamps[own.start] = np.int64(np.uint64(zigzag) >> ONE) ^ -(zigzag & 1)
        bits[own.start] = _at(words, at * 8)
        if own.stop - own.start > 1:
            distance, at = number_at(body, position >> 3, ends[chunk])
            if at < 0:
                return -at
            code = _go_on(words, at * 8, end, distance, stamps[own], bits[own])
            if code:
                return code
    return RIGHT


def decode(body: Bytes, starts: Int64s, ends: Int64s) -> Decoded:
    """Decode the chunks `body[starts[i]:ends[i]]`; see `xor_chunks.Decoder`."""
    starts, ends = np.ascontiguousarray(starts), np.ascontiguousarray(ends)
    offsets = offsets_of(body, starts, ends)
    stamps, bits = np.empty(offsets[-1], dtype=np.int64), np.empty(offsets[-1], dtype=np.uint64)
    raised(_decode(in_words(body), body, starts, ends, offsets, stamps, bits))
    return Decoded(offsets, stamps, bits)


@compiled(LONGS, types.int64, types.int64, INTO_LONGS, INTO_LONGS, INTO_WORDS, INTO_BYTES)
def _keep(
    offsets: Int64s, start_ms: int, end_ms: int, into: Int64s, stamps: Int64s, bits: Bits, is_unsorted: Bytes
) -> int:
    at = 0
    for series in range(len(offsets) - 1):
        into[series] = at
        for sample in range(offsets[series], offsets[series + 1]):
            stamp, value = stamps[sample], bits[sample]
            if stamp < start_ms or stamp > end_ms or value == STALE:
                continue
            if at > into[series] and stamp <= stamps[at - 1]:
                is_unsorted[series] = 1
            stamps[at], bits[at] = stamp, value
            at += 1
    into[len(offsets) - 1] = at
    return at


def keep(offsets: Int64s, stamps_ms: Int64s, bits: Bits, start_ms: int, end_ms: int) -> Kept:
    """What of samples counts; see `chunk_blocks.keep`."""
    into, is_unsorted = np.empty(len(offsets), dtype=np.int64), np.zeros(len(offsets) - 1, dtype=np.uint8)
    count = _keep(offsets, start_ms, end_ms, into, stamps_ms, bits, is_unsorted)
    return Kept(into, stamps_ms[:count], bits[:count], np.flatnonzero(is_unsorted))
