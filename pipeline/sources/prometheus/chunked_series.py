"""Messages of a streamed remote read: `ChunkedReadResponse`, its series, their labels and their chunks.

Source: `prompb/remote.proto` and `types.proto` of Prometheus. A series that does not fit one frame goes on in the next,
under the same labels.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Int64s
from pipeline.sources.prometheus.frames import Frames
from pipeline.sources.prometheus.protobuf import CONTENT, VARINT, Bytes, Fields, Walk, fields, varints, windows

SERIES, QUERY = 1, 2  # of a response
LABEL, CHUNK = 1, 2  # of a series
LABEL_NAME, LABEL_VALUE = 1, 2
CHUNK_FIRST, CHUNK_LAST, CHUNK_TYPE, CHUNK_DATA = 1, 2, 3, 4
XOR = 1
# A chunk up to the length of its data: two stamps of six bytes each, a bit of which tells that another one follows.
STAMP, STAMP_MASK = [128] * 5 + [0], [128] * 6
USUAL = np.array(
    [CHUNK_FIRST << 3, *STAMP, CHUNK_LAST << 3, *STAMP, CHUNK_TYPE << 3, XOR, CHUNK_DATA << 3 | CONTENT], dtype=np.uint8
)
USUAL_MASK = np.array([255, *STAMP_MASK, 255, *STAMP_MASK, 255, 255, 255], dtype=np.uint8)
LONGEST = 127  # bytes of a label whose length takes one
NAME = "__name__"


class Parts(NamedTuple):
    """Parts of series, in the order in which they came; one frame's part of one series each.

    Attributes:
        body: the bytes they lie in.
        frame: in which frame.
        query: the answer to which query of the request.
        starts: first byte of the labels.
        ends: the byte after them.
        labels: of all parts; `owner` is the row here.
        chunks: the same.
    """

    body: Bytes
    frame: Int64s
    query: Int64s
    starts: Int64s
    ends: Int64s
    labels: Fields
    chunks: Fields

    def within(self, frames: int) -> "Parts":
        """Those of the first frames."""
        count = int(np.searchsorted(self.frame, frames))
        labels, chunks = (found.where(found.owner < count) for found in (self.labels, self.chunks))
        own = slice(count)
        return Parts(self.body, self.frame[own], self.query[own], self.starts[own], self.ends[own], labels, chunks)

    def keys(self) -> list[bytes]:
        """What tells series apart: query and labels, as they travel."""
        content = self.body.data
        places = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        labels = [bytes(content[start:end]) for start, end in places]
        if not self.query.any():
            return labels
        return [b"%d " % query + own if query else own for query, own in zip(self.query.tolist(), labels, strict=True)]


def read_parts(frames: Frames, fields: Walk = fields) -> Parts:
    """The parts in checked frames.

    Raises:
        ValueError: not what the format allows.
    """
    body = frames.body
    response = fields(body, frames.starts, frames.ends)
    series, query = response.of(SERIES, CONTENT), response.of(QUERY, VARINT)
    query_of = np.zeros(len(frames.starts), dtype=np.int64)
    query_of[query.owner] = query.value.view(np.int64)
    inner = fields(body, series.start, series.end)
    labels, chunks = inner.of(LABEL, CONTENT), inner.of(CHUNK, CONTENT)
    starts, ends = series.start.copy(), series.start.copy()
    ends[labels.owner] = labels.end  # of several the last stays
    if np.any(chunks.start < ends[chunks.owner]):
        raise ValueError("labels after chunks")
    return Parts(body, series.owner, query_of[series.owner], starts, ends, labels, chunks)


class Chunks(NamedTuple):
    """Chunks: in which body and where their data lie, and whether they are float XOR."""

    body: Bytes
    starts: Int64s
    ends: Int64s
    is_xor: Bools


def read_chunks(parts: Parts, fields: Walk = fields) -> Chunks:
    """All chunks, in order.

    Raises:
        ValueError: not what the format allows.
    """
    usual = _usual(parts)
    if usual is not None:
        return usual
    inner = fields(parts.body, parts.chunks.start, parts.chunks.end)
    kind, data = inner.of(CHUNK_TYPE, VARINT), inner.of(CHUNK_DATA, CONTENT)
    starts, ends = np.zeros((2, len(parts.chunks.start)), dtype=np.int64)
    is_xor = np.zeros(len(starts), dtype=np.bool_)
    starts[data.owner], ends[data.owner] = data.start, data.end
    is_xor[kind.owner] = kind.value == XOR
    return Chunks(parts.body, starts, ends, is_xor)


def _usual(parts: Parts) -> Chunks | None:
    """All chunks where they are float XOR of this century: then what stands before the data is of one size."""
    body, starts, ends = parts.body, parts.chunks.start, parts.chunks.end
    if np.any(ends - starts <= len(USUAL)):
        return None
    if np.any((windows(body, starts, len(USUAL)) & USUAL_MASK) != USUAL):
        return None
    size, data = varints(body, starts + len(USUAL))
    if np.any(data + size.view(np.int64) != ends):
        return None
    return Chunks(body, data, ends, np.ones(len(starts), dtype=np.bool_))


def label_table(parts: Parts, rows: Int64s, fields: Walk = fields) -> pa.Table:
    """Labels of some parts, `__name__` among them: one string column a name, null where a series lacks it.

    Raises:
        ValueError: not what the format allows, or not UTF-8.
    """
    if not len(rows):
        return pa.table({NAME: pa.array([], pa.string())})
    row_of = np.full(len(parts.starts), -1, dtype=np.int64)
    row_of[rows] = np.arange(len(rows))
    labels = parts.labels.where(row_of[parts.labels.owner] >= 0)
    alike = _alike(parts.body, labels, len(rows))
    return pa.table(alike if alike is not None else _various(parts.body, labels, row_of, len(rows), fields))


def _alike(body: Bytes, labels: Fields, rows: int) -> dict[str, pa.StringArray] | None:
    """Columns where all series have labels of the same names, in one order and not long: as they do as a rule."""
    count, odd = divmod(len(labels.owner), rows)
    if odd or not count:
        return None
    owner = labels.owner.reshape(rows, count)
    if np.any(owner != owner[:, :1]) or np.any(owner[1:, 0] == owner[:-1, 0]):
        return None
    columns: dict[str, pa.StringArray] = {}
    for own in range(count):
        start, end = labels.start[own::count], labels.end[own::count]
        size = int(body[start[0] + 1]) if end[0] - start[0] > 1 else 0  # of the name
        value = start + size + 4  # after tag and length of the name, the name, tag and length of the value
        if size > LONGEST or np.any(value >= end):
            return None
        heads = windows(body, start, size + 4)
        expected, sizes = heads[0, :-1], heads[:, -1]
        if np.any(heads[:, :-1] != expected) or np.any(sizes > LONGEST) or np.any(value + sizes != end):
            return None
        if expected[0] != LABEL_NAME << 3 | CONTENT or expected[-1] != LABEL_VALUE << 3 | CONTENT:
            return None
        columns[expected[2:-1].tobytes().decode()] = _texts(body, value, end)
    return {NAME: pa.nulls(rows, pa.string())} | columns


def _various(body: Bytes, labels: Fields, row_of: Int64s, rows: int, fields: Walk) -> dict[str, pa.StringArray]:
    """Columns, whatever labels the series have."""
    inner = fields(body, labels.start, labels.end)
    name, value = inner.of(LABEL_NAME, CONTENT), inner.of(LABEL_VALUE, CONTENT)
    if len(name.owner) != len(labels.owner) or np.any(np.diff(name.owner) != 1):
        raise ValueError("a label without a name")
    names = _texts(body, name.start, name.end).dictionary_encode()
    values = _texts(body, value.start, value.end)
    code = names.indices.to_numpy()[value.owner]
    row = row_of[labels.owner[value.owner]]
    columns: dict[str, Any] = {NAME: pa.nulls(rows, pa.string())}
    for number, text in enumerate(names.dictionary.to_pylist()):
        own = np.flatnonzero(code == number)
        if not len(own):  # an empty value is none
            continue
        place = np.full(rows, -1, dtype=np.int64)
        place[row[own]] = own
        columns[str(text)] = values.take(pa.array(place, pa.int64(), mask=place < 0))
    return columns


def _texts(body: Bytes, starts: Int64s, ends: Int64s) -> pa.StringArray:
    """Rising stretches of the body as strings.

    Arrow's offsets are laid right over it: stretches are the even elements, what lies between them the odd ones.
    """
    if not len(starts):
        return pa.array([], pa.string())
    offsets = np.empty(2 * len(starts), dtype=np.int32)
    offsets[0::2], offsets[1::2] = starts, ends
    buffers = [None, pa.py_buffer(offsets.data), pa.py_buffer(body.data)]
    alternating = pa.Array.from_buffers(pa.binary(), 2 * len(starts) - 1, buffers)
    texts = alternating.take(pa.array(np.arange(0, 2 * len(starts), 2), pa.int64())).cast(pa.string())
    return cast("pa.StringArray", texts)


def without(labels: pa.Table, added: Mapping[str, str]) -> pa.Table:
    """Labels without those that the server added; a column that nothing is left of is left out."""
    for name, text in added.items():
        if name in labels.column_names:
            own = np.array(labels[name].to_pylist(), dtype=object)
            own[own == text] = None
            column = pa.array(own, pa.string())
            at = labels.column_names.index(name)
            kept = column.null_count < len(column)
            labels = labels.set_column(at, name, column) if kept else labels.remove_column(at)
    return labels
