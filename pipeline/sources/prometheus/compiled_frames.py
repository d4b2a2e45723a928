"""Frames by compiled code: the extra `fast`. The same answers as numpy's, or its errors."""

# mypy: disable-error-code="assignment"

import numpy as np
from numba import types

from pipeline.samples import Int64s
from pipeline.sources.prometheus.compiled import BYTES, INTO_BYTES, INTO_ROWS, LONGS, RIGHT, compiled
from pipeline.sources.prometheus.crc32c import SUM_BYTES
from pipeline.sources.prometheus.frames import DamagedError
from pipeline.sources.prometheus.protobuf import MOST_VARINT_BYTES, Bytes


@compiled(BYTES, LONGS, LONGS, LONGS, INTO_BYTES)
def _lay(body: Bytes, starts: Int64s, ends: Int64s, begins: Int64s, overlay: Bytes) -> int:
    for message in range(len(starts)):
        own = body[starts[message] : ends[message]]
        laid = overlay[begins[message] : begins[message] + len(own)]
        for place in range(len(own)):
            laid[place] ^= own[place]
    return RIGHT


def lay(body: Bytes, starts: Int64s, ends: Int64s, begins: Int64s, overlay: Bytes) -> None:
    """Lay messages over each other by XOR; see `crc32c.lay`."""
    _lay(body, starts, ends, begins, overlay)


@compiled(BYTES, INTO_ROWS, types.int64)
def _cut(content: Bytes, found: Int64s, most: int) -> int:
    """How many frames there are, or the negative length of one that is too long; see `_fields` for the rest."""
    at, size, count, room = 0, len(content), 0, found.shape[1]
    while at < size:
        length, start, shift, whole = 0, at, 0, False
        while start < size and not whole:
            byte = np.int64(content[start])
            start += 1
            length |= (byte & 127) << shift
            shift += 7
            whole = byte < 128 or shift >= 7 * MOST_VARINT_BYTES
        if not whole:
            break
        if length < 0 or length > most:
            return -length if length > 0 else -(1 << 62)
        start += SUM_BYTES
        if start + length > size:
            break
        if count < room:
            found[0, count], found[1, count], found[2, count] = at, start, start + length
        count += 1
        at = start + length
    return count


def cut_frames(content: Bytes, most: int) -> tuple[Int64s, Int64s, Int64s]:
    """Where frames begin, where their messages begin and end; see `frames.cut_frames`."""
    found = np.empty((3, 0), dtype=np.int64)
    for _ in range(2):
        count = _cut(content, found, most)
        if count < 0:
            raise DamagedError(f"a frame of {-count} bytes")
        found = found if found.shape[1] else np.empty((3, count), dtype=np.int64)
    return found[0], found[1], found[2]
