"""Remote write's message as it is often written in Python: one object a label, sample and series, each serialised.

No protobuf library is among the development tools, so this is the pure-Python way (objects with `SerializeToString`,
a loop for varints, `struct` for doubles), not the generated classes over C.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

DOUBLE = struct.Struct("<d")


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def delimited(number: int, content: bytes) -> bytes:
    """A field with a length."""
    return varint(number << 3 | 2) + varint(len(content)) + content


@dataclass(slots=True)
class Label:
    """A name and its value."""

    name: str
    value: str

    def SerializeToString(self) -> bytes:  # noqa: N802 # as protobuf calls it
        """On the wire."""
        return delimited(1, self.name.encode()) + delimited(2, self.value.encode())


@dataclass(slots=True)
class Sample:
    """A value and its stamp in milliseconds."""

    value: float
    timestamp: int

    def SerializeToString(self) -> bytes:  # noqa: N802
        """On the wire."""
        return b"\x09" + DOUBLE.pack(self.value) + b"\x10" + varint(self.timestamp)


@dataclass(slots=True)
class TimeSeries:
    """Labels and samples."""

    labels: list[Label] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)

    def SerializeToString(self) -> bytes:  # noqa: N802
        """On the wire."""
        labels = b"".join(delimited(1, label.SerializeToString()) for label in self.labels)
        return labels + b"".join(delimited(2, sample.SerializeToString()) for sample in self.samples)


@dataclass(slots=True)
class WriteRequest:
    """A body."""

    timeseries: list[TimeSeries] = field(default_factory=list)

    def SerializeToString(self) -> bytes:  # noqa: N802
        """On the wire."""
        return b"".join(delimited(1, series.SerializeToString()) for series in self.timeseries)


Points = Sequence[tuple[int, float]]


def encoded(series: Sequence[tuple[str, Sequence[tuple[str, str]], Points]]) -> bytes:
    """Series of (metric, labels, points) as one message."""
    request = WriteRequest()
    for metric, labels, points in series:
        one = TimeSeries()
        for name, value in sorted([("__name__", metric), *labels]):
            one.labels.append(Label(name, value))
        for stamp_ms, value in points:
            one.samples.append(Sample(value, stamp_ms))
        request.timeseries.append(one)
    return request.SerializeToString()
