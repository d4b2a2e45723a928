"""Protobuf messages, many at a time: "the next field of every message at once". And the few that we write, one by one.

Positions are bytes of one body. Format: protobuf's "Encoding" page; groups, which nobody sends, are refused.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import Bools, Int64s

Bytes = NDArray[np.uint8]
Unsigned = NDArray[np.uint64]

VARINT, FIXED64, CONTENT, FIXED32 = 0, 1, 2, 5
MOST_VARINT_BYTES = 10
_THREE, _SEVEN = np.uint64(3), np.uint64(7)
_FIXED_BYTES = np.array([0, 8, 0, 0, 0, 4, 0, 0], dtype=np.int64)


class Fields(NamedTuple):
    """Fields of many messages, message by message, in the order of each.

    Attributes:
        owner: which message.
        number: of the field.
        wire: wire type.
        start: first byte of its content.
        end: the byte after it.
        value: of a varint, else 0.
    """

    owner: Int64s
    number: Int64s
    wire: Int64s
    start: Int64s
    end: Int64s
    value: Unsigned

    def of(self, number: int, wire: int) -> "Fields":
        """Those of one number, which must have that wire type.

        Raises:
            ValueError: one has another.
        """
        rows = self.number == number
        if np.any(self.wire[rows] != wire):
            raise ValueError(f"field {number} is of another type")
        return self.where(rows)

    def where(self, rows: Bools) -> "Fields":
        """Those of some rows."""
        if rows.all():
            return self
        at = np.flatnonzero(rows)
        return Fields(
            self.owner.take(at), self.number.take(at), self.wire.take(at), self.start.take(at), self.end.take(at),
            self.value.take(at),
        )  # fmt: skip


Walk: TypeAlias = Callable[[Bytes, Int64s, Int64s], Fields]


def windows(body: Bytes, starts: Int64s, size: int) -> Bytes:
    """The bytes `body[start:start + size]` of each start, a row each; all of them within the body."""
    if not len(starts):
        return np.zeros((0, size), dtype=np.uint8)
    overlapping = np.ndarray((len(body) - size + 1,), dtype=f"V{size}", buffer=body.data, strides=(1,))
    return overlapping[starts].view(np.uint8).reshape(-1, size)


def varints(body: Bytes, at: Int64s) -> tuple[Unsigned, Int64s]:
    """The base-128 number at each position, and the position after it.

    Raises:
        ValueError: one that does not end.
    """
    try:
        byte = body.take(at)
        after = at + 1
        if byte.max(initial=0) < 128:
            return byte.astype(np.uint64), after
        value, live = (byte & 127).astype(np.uint64), np.flatnonzero(byte > 127)
        for number in range(1, MOST_VARINT_BYTES):
            if not len(live):
                return value, after
            byte = body.take(after.take(live))
            value[live] |= (byte & 127).astype(np.uint64) << np.uint64(7 * number)
            after[live] += 1
            live = live[byte > 127]
    except IndexError:
        raise ValueError("a number beyond the end") from None
    if len(live):
        raise ValueError("a number of more than ten bytes")
    return value, after


def fields(body: Bytes, starts: Int64s, ends: Int64s) -> Fields:
    """All fields of the messages `body[starts[i]:ends[i]]`.

    Raises:
        ValueError: a field that does not end where its message does, or earlier.
    """
    found: list[tuple[NDArray[np.generic], ...]] = []
    live = np.flatnonzero(starts < ends)
    at, last = starts[live], ends[live]
    while len(live):
        number, wire, begin, end, value = _next(body, at)
        if np.any(end > last):
            raise ValueError("a field beyond the end of its message")
        found.append((live, number, wire, begin, end, value))
        going = end < last
        live, at, last = (live, end, last) if going.all() else (live[going], end[going], last[going])
    if not found:
        none = np.zeros(0, dtype=np.int64)
        return Fields(none, none, none, none, none, none.view(np.uint64))
    if all(len(columns[0]) == len(starts) for columns in found):  # as many fields in each message: the usual case
        return Fields(*(np.stack(column, axis=1).reshape(-1) for column in zip(*found, strict=True)))
    joined = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return Fields(*(column[order] for column in joined))


def _next(body: Bytes, at: Int64s) -> tuple[Int64s, Int64s, Int64s, Int64s, Unsigned]:
    """The field at each position: its number, its wire type, where its content begins and ends, its value."""
    tag, after = varints(body, at)
    wire, number = (tag & _SEVEN).view(np.int64), (tag >> _THREE).view(np.int64)
    content, sized = wire == CONTENT, True
    if content.all() or not wire.any():  # as a rule all are numbers, or all have a size
        value, begin = varints(body, after)
    else:
        sized, begin, value = content | (wire == VARINT), after, np.zeros(len(at), dtype=np.uint64)
        value[sized], begin[sized] = varints(body, after[sized])
    fixed = _FIXED_BYTES[wire]
    if not np.all(sized | (fixed > 0)):
        raise ValueError("a field of no known type")
    size = np.where(content, np.minimum(value, np.uint64(len(body))).view(np.int64), fixed)
    return number, wire, begin, begin + size, np.where(content, np.uint64(0), value)


def varint(number: int) -> bytes:
    """One number as base 128; a negative one as its two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def number_field(number: int, value: int) -> bytes:
    """One varint field; as in protobuf 3, zero is left out."""
    return bytes([number << 3 | VARINT]) + varint(value) if value else b""


def content_field(number: int, content: bytes) -> bytes:
    """One field of bytes, text or a message."""
    return bytes([number << 3 | CONTENT]) + varint(len(content)) + content
