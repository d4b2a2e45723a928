"""CRC-32C (Castagnoli) of many frames at once, in numpy.

A CRC is linear: what all frames give when they are laid over each other by XOR is what their sums give, laid over each
other. So one sum is taken of one overlay, at the speed of memory, and only where it differs is each frame looked at.
A single damaged frame is found as surely as by its own sum. Frames lie in lanes, each some bytes further left, so that
the same damage in two of them cannot hide itself.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import Int64s

Bytes = NDArray[np.uint8]
Sums = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78  # reflected
ALL_ONES = np.uint32(0xFFFF_FFFF)
SUM_BYTES = 4
LANES, LANE_BYTES = 61, 8  # a prime number of lanes, so that no rhythm of the frames meets theirs; a power of two
DOUBLINGS = 31

Lay: TypeAlias = Callable[[Bytes, Int64s, Int64s, Int64s, Bytes], None]


@cache
def _byte_sums() -> Sums:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


@cache
def _advances() -> list[Sums]:
    """For 1, 2, 4, ... zero bytes that follow: what becomes of a sum, by each of its four bytes."""
    byte = np.arange(256, dtype=np.uint32)
    alone = [byte << np.uint32(8 * place) for place in range(4)]
    tables = [np.stack([_byte_sums()[one & 255] ^ (one >> 8) for one in alone])]
    for _ in range(DOUBLINGS):
        tables.append(np.stack([_by(tables[-1], place) for place in tables[-1]]))
    return tables


def _by(table: Sums, sums: Sums) -> Sums:
    """Sums after as many zero bytes as the table stands for."""
    total: Sums = table[0].take(sums & 255)
    for place in range(1, SUM_BYTES):
        total ^= table[place].take((sums >> np.uint32(8 * place)) & 255)
    return total


def crc32c(message: Bytes) -> int:
    """The sum of one message."""
    start = np.array([ALL_ONES])
    for doubling in range(len(message).bit_length()):
        if len(message) >> doubling & 1:
            start = _by(_advances()[doubling], start)
    return int(_linear(message) ^ start[0] ^ ALL_ONES)


def _linear(message: Bytes) -> np.uint32:
    """The sum without its constants: neighbours are joined, then pairs of them, and so on."""
    sums = np.zeros(1 << max(len(message) - 1, 0).bit_length(), dtype=np.uint32)
    sums[len(sums) - len(message) :] = _byte_sums()[message]  # zeros in front change nothing
    doubling = 0
    while len(sums) > 1:
        sums = _by(_advances()[doubling], sums[0::2]) ^ sums[1::2]
        doubling += 1
    return np.uint32(sums[0])


def lay(body: Bytes, starts: Int64s, ends: Int64s, begins: Int64s, overlay: Bytes) -> None:
    """Lay the messages `body[starts[i]:ends[i]]` over each other by XOR, each from its byte `begins[i]` on."""
    for start, end, begin in zip(starts.tolist(), ends.tolist(), begins.tolist(), strict=True):
        laid = overlay[begin : begin + end - start]
        np.bitwise_xor(laid, body[start:end], laid)


def first_damaged(body: Bytes, starts: Int64s, ends: Int64s, sums: Sums, lay: Lay = lay) -> int | None:
    """Which of the frames `body[starts[i]:ends[i]]` is the first whose sum is not `sums[i]`; None where all are."""
    sizes = ends - starts
    whole = np.flatnonzero(sizes >= SUM_BYTES)
    agree = _agree(body, starts[whole], ends[whole], sums[whole], lay)
    suspects = np.flatnonzero(sizes < SUM_BYTES) if agree else sizes
    for index in range(len(sizes)) if suspects is sizes else suspects.tolist():
        if crc32c(body[starts[index] : ends[index]]) != sums[index]:
            return int(index)
    return None


def _agree(body: Bytes, starts: Int64s, ends: Int64s, sums: Sums, lay: Lay) -> bool:
    """Whether the overlay of the frames, of four bytes or more each, has the overlay of their sums."""
    if not len(starts):
        return True
    width = int((ends - starts).max()) + LANES * LANE_BYTES
    overlay = np.zeros(width, dtype=np.uint8)
    begins = width - np.arange(len(starts)) % LANES * LANE_BYTES - (ends - starts)
    lay(body, starts, ends, begins, overlay)
    # a sum begins with ones, which is as if a message's first four bytes were inverted, and ends inverted
    odd = np.bincount(begins, minlength=width) & 1 == 1
    inverted = odd.copy()
    for place in range(1, SUM_BYTES):
        inverted[place:] ^= odd[:-place]
    overlay[inverted] ^= 255
    return bool(_linear(overlay) == _overlay_of(sums))


def _overlay_of(sums: Sums) -> int:
    """What the overlay of frames must have for a sum."""
    lanes = np.zeros((-(-len(sums) // LANES), LANES), dtype=np.uint32)
    lanes.reshape(-1)[: len(sums)] = sums ^ ALL_ONES
    total, tables = 0, [table.tolist() for table in _advances()[LANE_BYTES.bit_length() - 1]]
    for own in reversed(np.bitwise_xor.reduce(lanes, axis=0).tolist()):  # each goes through the bytes to its right
        advanced = [table[total >> 8 * place & 255] for place, table in enumerate(tables)]
        total = own ^ advanced[0] ^ advanced[1] ^ advanced[2] ^ advanced[3]
    return total
