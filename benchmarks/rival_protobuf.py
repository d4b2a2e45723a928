"""Remote write's message as it is usually written in Python: one object a label, sample and series, then serialised.

Where the `protobuf` library is importable these are its generated classes, over its C core where it has one; else the
same objects in pure Python (`SerializeToString`, a loop for varints, `struct` for doubles). `RIVAL` says which.
"""

import importlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

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


Points: TypeAlias = Sequence[tuple[int, float]]
Encoder: TypeAlias = Callable[[Sequence[tuple[str, Sequence[tuple[str, str]], Points]]], bytes]


def by_hand(series: Sequence[tuple[str, Sequence[tuple[str, str]], Points]]) -> bytes:
    """Series of (metric, labels, points) as one message of the classes above."""
    request = WriteRequest()
    for metric, labels, points in series:
        one = TimeSeries()
        for name, value in sorted([("__name__", metric), *labels]):
            one.labels.append(Label(name, value))
        for stamp_ms, value in points:
            one.samples.append(Sample(value, stamp_ms))
        request.timeseries.append(one)
    return request.SerializeToString()


def of_library() -> tuple[Encoder, str]:
    """The same by classes that the protobuf library generates, and which library that is.

    Raises:
        ImportError: it is not installed.
    """
    request_class = _generated()

    def encode(series: Sequence[tuple[str, Sequence[tuple[str, str]], Points]]) -> bytes:
        request = request_class()
        for metric, labels, points in series:
            one = request.timeseries.add()
            for name, value in sorted([("__name__", metric), *labels]):
                one.labels.add(name=name, value=value)
            for stamp_ms, value in points:
                one.samples.add(value=value, timestamp=stamp_ms)
        return bytes(request.SerializeToString())

    core = importlib.import_module("google.protobuf.internal.api_implementation").Type()
    library = importlib.import_module("google.protobuf").__version__
    return encode, f"protobuf {library}, {'C core (upb)' if core == 'upb' else f'core in {core}'}"


def _generated() -> Any:  # noqa: ANN401 # a class made at run time
    """`prometheus.WriteRequest`, as protoc would make it of remote.proto and types.proto."""
    descriptors = importlib.import_module("google.protobuf.descriptor_pb2")
    file = descriptors.FileDescriptorProto(name="remote.proto", package="prometheus", syntax="proto3")
    kinds = descriptors.FieldDescriptorProto
    for message, fields in {
        "Label": [("name", kinds.TYPE_STRING, ""), ("value", kinds.TYPE_STRING, "")],
        "Sample": [("value", kinds.TYPE_DOUBLE, ""), ("timestamp", kinds.TYPE_INT64, "")],
        "TimeSeries": [("labels", kinds.TYPE_MESSAGE, "Label"), ("samples", kinds.TYPE_MESSAGE, "Sample")],
        "WriteRequest": [("timeseries", kinds.TYPE_MESSAGE, "TimeSeries")],
    }.items():
        made = file.message_type.add(name=message)
        for number, (name, kind, of) in enumerate(fields, start=1):
            label = kinds.LABEL_REPEATED if of else kinds.LABEL_OPTIONAL
            type_name = f".prometheus.{of}" if of else None
            made.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)
    pool = importlib.import_module("google.protobuf.descriptor_pool").DescriptorPool()
    pool.Add(file)
    found = pool.FindMessageTypeByName("prometheus.WriteRequest")
    return importlib.import_module("google.protobuf.message_factory").GetMessageClass(found)


def _chosen() -> tuple[Encoder, str]:
    try:
        return of_library()
    except ImportError:
        return by_hand, "objects in pure Python, for the protobuf library is not installed"


encoded, RIVAL = _chosen()
