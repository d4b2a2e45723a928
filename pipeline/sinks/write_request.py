"""Remote write 1.0's message: samples become one protobuf `WriteRequest` in a snappy block.

Written by hand because the message has four fields. Samples go series by series, so that a message is labels and
samples in turn: the labels of a series are encoded once and kept, samples are 18 bytes each and filled in by column.
"""

import re
import struct
from bisect import bisect
from functools import lru_cache
from itertools import chain, repeat
from typing import NoReturn

import numpy as np
import pyarrow as pa

from pipeline.errors import RemoteWriteError
from pipeline.samples import Int64s
from pipeline.sinks.batches import Batch, Labels

SIX_BYTES = (1 << 35, 1 << 42)  # stamps whose varint has six bytes: of 1971 to 2109
SAMPLE_BYTES = 18
SAMPLE = np.dtype(  # the stamp, with its tag and a byte that the value then covers, is the cell's last eight bytes
    {
        "names": ["head", "value", "stamp"],
        "formats": ["V3", "<f8", "<i8"],
        "offsets": [0, 3, 10],
        "itemsize": SAMPLE_BYTES,
    }
)
HEAD = np.void(bytes([0x12, SAMPLE_BYTES - 2, 0x09]))
STAMP_TAG = np.int64(0x80_80_80_80_80_10_00)  # and the continuation bits of five bytes
METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
KEPT_SERIES = 131_072  # and as many single labels; about 0.5 kB each


def encode(batch: Batch) -> bytes:
    """A protobuf `WriteRequest`.

    Raises:
        RemoteWriteError: (`invalid_sample`) a name, a label value or a number that no store could give back.
    """
    for at in np.flatnonzero(~np.isfinite(batch.values)):
        metric, _ = batch.series[int(np.searchsorted(batch.edges, at, side="right")) - 1]
        _refuse(f"{metric} has the value {batch.values[at]}: only finite numbers are published")
    blocks = [_labels_of(*series) for series in batch.series]
    places, samples = _places(batch), _samples(batch)
    sizes = np.fromiter(map(len, blocks), np.int64, len(blocks)) + np.diff(places)
    spans = map(slice, places[:-1].tolist(), places[1:].tolist())
    headers = map(_header, repeat(1), sizes.tolist())
    return b"".join(chain.from_iterable(zip(headers, blocks, map(samples.__getitem__, spans), strict=True)))


def _is_six_bytes(stamps_ms: Int64s) -> bool:
    lowest, highest = SIX_BYTES
    return bool(((stamps_ms >= lowest) & (stamps_ms < highest)).all())


def _places(batch: Batch) -> Int64s:
    """Where the encoded samples of each series begin, in bytes."""
    if _is_six_bytes(batch.stamps_ms):
        return batch.edges * SAMPLE_BYTES
    sizes = [len(_sample(*point)) for point in zip(batch.stamps_ms.tolist(), batch.values.tolist(), strict=True)]
    return np.concatenate([[0], np.cumsum(sizes)])[batch.edges]


def _samples(batch: Batch) -> bytes:
    """All samples encoded; those of a series side by side."""
    if not _is_six_bytes(batch.stamps_ms):
        return b"".join(map(_sample, batch.stamps_ms.tolist(), batch.values.tolist()))
    cells = np.empty(len(batch), dtype=SAMPLE)
    cells["stamp"] = _septets(batch.stamps_ms) << 16 | STAMP_TAG
    cells["value"] = batch.values
    cells["head"] = HEAD
    return cells.tobytes()


def _septets(stamps_ms: Int64s) -> Int64s:
    """The low 42 bits, seven to a byte: first fourteen to each two bytes, then seven to each one."""
    pairs = stamps_ms & 0x3FFF | (stamps_ms & 0x3FFF << 14) << 2 | (stamps_ms & 0x3FFF << 28) << 4
    return pairs & 0x7F_007F_007F | (pairs & 0x3F80_3F80_3F80) << 1


def _sample(stamp_ms: int, value: float) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(stamp_ms))


@lru_cache(maxsize=KEPT_SERIES)
def _labels_of(metric: str, labels: Labels) -> bytes:
    """All labels of a series; names may start with capitals, which sort before `__name__`."""
    place = _name_place(tuple([name for name, _ in labels]))
    fields = [_label(*pair) for pair in labels]
    return b"".join([*fields[:place], _label_of_metric(metric), *fields[place:]])


@lru_cache
def _name_place(names: tuple[str, ...]) -> int:
    for name in names:
        if not LABEL_NAME.fullmatch(name):
            _refuse(f"{name!r} is not a label name")
    if list(names) != sorted(set(names)):
        _refuse(f"labels are not sorted and unique: {list(names)}")
    return bisect(names, "__name__")


@lru_cache
def _label_of_metric(metric: str) -> bytes:
    if not METRIC_NAME.fullmatch(metric):
        _refuse(f"{metric!r} is not a metric name")
    return _label("__name__", metric)


@lru_cache(maxsize=KEPT_SERIES)
def _label(name: str, value: str) -> bytes:
    if not value:
        _refuse(f"label {name} is empty, which a store reads as absent")
    try:
        return _field(1, _field(1, name.encode()) + _field(2, value.encode()))
    except UnicodeEncodeError:
        _refuse(f"label {name} is not Unicode text: {value!r}")


def _field(number: int, content: bytes) -> bytes:
    return _header(number, len(content)) + content


@lru_cache
def _header(number: int, length: int) -> bytes:
    return bytes([number << 3 | 2]) + _varint(length)


def _varint(number: int) -> bytes:
    number &= 0xFFFF_FFFF_FFFF_FFFF  # int64 on the wire: a negative stamp is its two's complement
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _refuse(reason: str) -> NoReturn:
    raise RemoteWriteError(f"not sent: {reason}", "invalid_sample")


def write_request(batch: Batch, now_ms: int) -> bytes:
    """The body of one request: the encoded samples as a snappy block.

    Raises:
        RemoteWriteError: `invalid_sample`, or `future`: a stamp after now would shut all live samples out.
    """
    ahead_ms = int(batch.stamps_ms.max(initial=now_ms)) - now_ms
    if ahead_ms > 0:
        raise RemoteWriteError(f"not sent: a stamp lies {ahead_ms} ms after now: check this machine's clock", "future")
    return bytes(pa.compress(encode(batch), codec="snappy", asbytes=True))
