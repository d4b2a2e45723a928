"""Remote write 1.0's message: samples become one protobuf `WriteRequest` in a snappy block.

Written by hand because the message has four fields. Samples go series by series, so that a message is labels and
samples in turn: the labels of a series are encoded once and kept, samples are 18 bytes each and filled in by column.
"""

import re
import struct
from bisect import bisect
from functools import lru_cache
from itertools import chain, pairwise, starmap
from operator import add
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import RemoteWriteError
from pipeline.samples import Floats, Int64s
from pipeline.sinks.batches import Batch, Series

SIX_BYTES = (1 << 35, 1 << 42)  # stamps whose varint has six bytes: of 1971 to 2109
SAMPLE_BYTES = 18
SAMPLE = np.dtype(  # the stamp, with its tag and a byte that the value then covers, is the cell's last eight bytes
    {
        "names": ["head", "value_tag", "value", "stamp"],
        "formats": ["<u2", "u1", "<f8", "<i8"],
        "offsets": [0, 2, 3, 10],
        "itemsize": SAMPLE_BYTES,
    }
)
HEAD, VALUE_TAG = np.uint16((SAMPLE_BYTES - 2) << 8 | 0x12), np.uint8(0x09)
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
    labels, samples = list(map(LABELS.__getitem__, batch.series)), _samples(batch)
    headers = map(_series_header, map(add, map(len, labels), map(len, samples)))
    return b"".join(chain.from_iterable(zip(headers, labels, samples, strict=True)))


def _is_six_bytes(stamps_ms: Int64s) -> bool:
    lowest, highest = SIX_BYTES
    return bool(lowest <= stamps_ms.min(initial=lowest) and stamps_ms.max(initial=lowest) < highest)


def _samples(batch: Batch) -> list[bytes]:
    """The encoded samples of each series."""
    if not _is_six_bytes(batch.stamps_ms):
        single = list(map(_sample, batch.stamps_ms.tolist(), batch.values.tolist()))
        return [b"".join(single[start:end]) for start, end in pairwise(batch.edges.tolist())]
    counts = np.diff(batch.edges)
    if not len(batch) or (counts != counts[0]).any():
        together, edges = _cells(batch.stamps_ms, batch.values).tobytes(), (batch.edges * SAMPLE_BYTES).tolist()
        return [together[start:end] for start, end in pairwise(edges)]
    stamps_ms = batch.stamps_ms.reshape(len(counts), -1)
    if (stamps_ms == stamps_ms[0]).all():  # as a rule: the same hours of each
        stamps_ms = stamps_ms[0]
    cells = _cells(stamps_ms, batch.values.reshape(len(counts), -1))
    return cells.view(f"V{SAMPLE_BYTES * counts[0]}").ravel().tolist()


def _cells(stamps_ms: Int64s, values: Floats) -> npt.NDArray[np.void]:
    cells = np.empty(values.shape, dtype=SAMPLE)
    cells["stamp"] = _septets(stamps_ms) << 16 | STAMP_TAG
    cells["value"] = values
    cells["value_tag"] = VALUE_TAG
    cells["head"] = HEAD
    return cells


def _septets(stamps_ms: Int64s) -> Int64s:
    """The low 42 bits, seven to a byte: first fourteen to each two bytes, then seven to each one."""
    pairs = stamps_ms & 0x3FFF | (stamps_ms & 0x3FFF << 14) << 2 | (stamps_ms & 0x3FFF << 28) << 4
    return pairs + (pairs & 0x3F80_3F80_3F80)


def _sample(stamp_ms: int, value: float) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(stamp_ms))


class _Labels(dict[Series, bytes]):
    """All labels of a series, encoded once: found sooner than by `lru_cache`, which notes when each was asked for."""

    def __missing__(self, series: Series) -> bytes:
        """Names may start with capitals, which sort before `__name__`."""
        if len(self) >= KEPT_SERIES:
            self.clear()
        metric, labels = series
        place = _name_place(next(zip(*labels, strict=True), ()))
        fields = list(starmap(_label, labels))
        fields.insert(place, _label_of_metric(metric))
        encoded = self[series] = b"".join(fields)
        return encoded


LABELS = _Labels()


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
    try:
        text = value.encode()
    except UnicodeEncodeError:
        _refuse(f"label {name} is not Unicode text: {value!r}")
    return _label_head(name, len(text)) + text


@lru_cache(maxsize=1024)
def _label_head(name: str, size: int) -> bytes:
    """A label but for the bytes of its value."""
    if not size:
        _refuse(f"label {name} is empty, which a store reads as absent")
    head = _field(1, name.encode()) + _header(2, size)
    return _header(1, len(head) + size) + head


def _field(number: int, content: bytes) -> bytes:
    return _header(number, len(content)) + content


@lru_cache(maxsize=1024)
def _series_header(size: int) -> bytes:
    return _header(1, size)


@lru_cache(maxsize=1024)
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
