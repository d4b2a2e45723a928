"""CRC-32C (Castagnoli) of many frames at once, in numpy.

A CRC is linear: what all frames give when they are laid over each other by XOR is what their sums give, laid over each
other. So one sum is taken of one overlay, at the speed of memory, and only where it differs is each frame looked at.
A single damaged frame is found as surely as by its own sum. Frames lie in lanes, each some bytes further left, so that
the same damage in two of them cannot hide itself.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.samples import Int64s

Bytes = NDArray[np.uint8]
Sums = NDArray[np.uint32]

POLYNOMIAL = 0x82F63B78  # reflected
ALL_ONES = np.uint32(0xFFFF_FFFF)
SUM_BYTES = 4
LANES, LANE_BYTES = 61, 8  # lanes are a prime number, so that no rhythm of the frames meets theirs
DOUBLINGS = 31


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


def first_damaged(body: Bytes, starts: Int64s, ends: Int64s, sums: Sums) -> int | None:
    """Which of the frames `body[starts[i]:ends[i]]` is the first whose sum is not `sums[i]`; None where all are."""
    sizes = ends - starts
    whole = np.flatnonzero(sizes >= SUM_BYTES)
    suspects = np.flatnonzero(sizes < SUM_BYTES) if _agree(body, starts[whole], ends[whole], sums[whole]) else sizes
    for index in range(len(sizes)) if suspects is sizes else suspects.tolist():
        if crc32c(body[starts[index] : ends[index]]) != sums[index]:
            return int(index)
    return None


def _agree(body: Bytes, starts: Int64s, ends: Int64s, sums: Sums) -> bool:
    """Whether the overlay of the frames, of four bytes or more each, has the overlay of their sums."""
    if not len(starts):
        return True
    lane = np.arange(len(starts)) % LANES
    width = int((ends - starts).max()) + LANES * LANE_BYTES
    overlay = np.zeros(width, dtype=np.uint8)
    stops = width - lane * LANE_BYTES
    begins = stops - (ends - starts)
    for start, end, begin, stop in zip(starts.tolist(), ends.tolist(), begins.tolist(), stops.tolist(), strict=True):
        laid = overlay[begin:stop]
        np.bitwise_xor(laid, body[start:end], out=laid)
    # a sum begins with ones, which is as if a message's first four bytes were inverted, and ends inverted
    inverted = np.convolve(np.bincount(begins, minlength=width), np.ones(SUM_BYTES, dtype=np.int64))[:width] & 1
    overlay ^= inverted.astype(np.uint8) * np.uint8(255)
    expected = np.uint32(0)
    for number in range(LANES - 1, -1, -1):  # from the left: each lane's sum goes through the bytes to its right
        for doubling in range(LANE_BYTES.bit_length()):
            if LANE_BYTES >> doubling & 1:
                expected = _by(_advances()[doubling], np.array([expected]))[0]
        expected ^= np.bitwise_xor.reduce(sums[lane == number] ^ ALL_ONES)
    return bool(_linear(overlay) == expected)
