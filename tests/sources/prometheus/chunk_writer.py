"""Streamed remote read answers made by hand, bit by bit and slowly: what the decoder is held against."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

Sample = tuple[int, int]  # milliseconds, bits of the value
CLASSES = ((14, "10"), (17, "110"), (20, "1110"))
WORD = 1 << 64
XOR, HISTOGRAM, FLOAT_HISTOGRAM, XOR2 = 1, 2, 3, 4


def bits_of(value: float) -> int:
    return int.from_bytes(struct.pack(">d", value))


def varint(number: int) -> bytes:
    number %= WORD
    parts = []
    while number > 127:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes([*parts, number])


def xor_chunk(samples: Sequence[Sample]) -> bytes:
    """A float chunk as `tsdb/chunkenc/xor.go` writes it."""
    head = struct.pack(">H", len(samples))
    if not samples:
        return head
    (first_ms, first_bits), *rest = samples
    head += varint((abs(first_ms) * 2 - (first_ms < 0)) % WORD)
    text = f"{first_bits:064b}"
    if rest:
        text += "".join(f"{byte:08b}" for byte in varint(rest[0][0] - first_ms))
    leading, trailing = None, 0
    distance = rest[0][0] - first_ms if rest else 0
    for number, ((before_ms, before), (at_ms, now)) in enumerate(pairwise(samples)):
        if number:
            change = at_ms - before_ms - distance
            distance = at_ms - before_ms
            text += _change(change)
        differs = before ^ now
        if not differs:
            text += "0"
            continue
        lead = min(64 - differs.bit_length(), 31)
        trail = (differs & -differs).bit_length() - 1
        if leading is not None and lead >= leading and trail >= trailing:
            text += "10"
        else:
            leading, trailing = lead, trail
            text += f"11{lead:05b}{(64 - lead - trail) % 64:06b}"
        width = 64 - leading - trailing
        text += f"{differs >> trailing:0{width}b}"
    text += "0" * (-len(text) % 8)
    return head + bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


def _change(change: int) -> str:
    if change == 0:
        return "0"
    for width, prefix in CLASSES:
        if -(1 << width - 1) + 1 <= change <= 1 << width - 1:
            return prefix + f"{change % (1 << width):0{width}b}"
    return "1111" + f"{change % WORD:064b}"


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value) if value else b""


def chunk(samples: Sequence[Sample], kind: int = XOR, data: bytes | None = None) -> bytes:
    ends = (samples[0][0], samples[-1][0]) if samples else (0, 0)
    return number(1, ends[0]) + number(2, ends[1]) + number(3, kind) + field(4, data or xor_chunk(samples))


def series(labels: Mapping[str, str], chunks: Iterable[bytes]) -> bytes:
    pairs = [field(1, name.encode()) + (field(2, v.encode()) if v else b"") for name, v in sorted(labels.items())]
    return b"".join([*(field(1, pair) for pair in pairs), *(field(2, one) for one in chunks)])


def response(parts: Iterable[bytes], query: int = 0) -> bytes:
    return b"".join(field(1, part) for part in parts) + number(2, query)


def crc32c(message: bytes) -> int:
    remainder = 0xFFFFFFFF
    for byte in message:
        remainder ^= byte
        for _ in range(8):
            remainder = remainder >> 1 ^ (0x82F63B78 if remainder & 1 else 0)
    return remainder ^ 0xFFFFFFFF


def frame(message: bytes) -> bytes:
    return varint(len(message)) + struct.pack(">I", crc32c(message)) + message
