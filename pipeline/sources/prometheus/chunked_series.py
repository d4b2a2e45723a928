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
from pipeline.sources.prometheus.protobuf import CONTENT, VARINT, Bytes, Fields, fields

SERIES, QUERY = 1, 2  # of a response
LABEL, CHUNK = 1, 2  # of a series
LABEL_NAME, LABEL_VALUE = 1, 2
CHUNK_TYPE, CHUNK_DATA = 3, 4
XOR = 1
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
        pairs = zip(self.query.tolist(), self.starts.tolist(), self.ends.tolist(), strict=True)
        return [b"%d " % query + content[start:end] for query, start, end in pairs]


def read_parts(frames: Frames) -> Parts:
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
    """Chunks: where their data lie, and whether they are float XOR."""

    starts: Int64s
    ends: Int64s
    is_xor: Bools


def read_chunks(parts: Parts) -> Chunks:
    """All chunks, in order.

    Raises:
        ValueError: not what the format allows.
    """
    inner = fields(parts.body, parts.chunks.start, parts.chunks.end)
    kind, data = inner.of(CHUNK_TYPE, VARINT), inner.of(CHUNK_DATA, CONTENT)
    starts, ends = np.zeros((2, len(parts.chunks.start)), dtype=np.int64)
    is_xor = np.zeros(len(starts), dtype=np.bool_)
    starts[data.owner], ends[data.owner] = data.start, data.end
    is_xor[kind.owner] = kind.value == XOR
    return Chunks(starts, ends, is_xor)


def label_table(parts: Parts, rows: Int64s) -> pa.Table:
    """Labels of some parts, `__name__` among them: one string column a name, null where a series lacks it.

    Raises:
        ValueError: not what the format allows, or not UTF-8.
    """
    row_of = np.full(len(parts.starts), -1, dtype=np.int64)
    row_of[rows] = np.arange(len(rows))
    labels = parts.labels.where(row_of[parts.labels.owner] >= 0)
    inner = fields(parts.body, labels.start, labels.end)
    name, value = inner.of(LABEL_NAME, CONTENT), inner.of(LABEL_VALUE, CONTENT)
    if len(name.owner) != len(labels.owner) or np.any(np.diff(name.owner) != 1):
        raise ValueError("a label without a name")
    names = _texts(parts.body, name.start, name.end).dictionary_encode()
    values = _texts(parts.body, value.start, value.end)
    code = names.indices.to_numpy()[value.owner]
    row = row_of[labels.owner[value.owner]]
    columns: dict[str, pa.Array[Any]] = {NAME: pa.nulls(len(rows), pa.string())}
    for number, text in enumerate(names.dictionary.to_pylist()):
        own = np.flatnonzero(code == number)
        if not len(own):  # an empty value is none
            continue
        place = np.full(len(rows), -1, dtype=np.int64)
        place[row[own]] = own
        columns[str(text)] = values.take(pa.array(place, pa.int64(), mask=place < 0))
    return pa.table(columns)


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


def without(labels: pa.Table, added: Mapping[str, str], rows: Bools) -> pa.Table:
    """Labels without those that the server added to some rows; a column that nothing is left of is left out."""
    for name, text in added.items():
        if name in labels.column_names:
            own = np.array(labels[name].to_pylist(), dtype=object)
            own[rows & (own == text)] = None
            column = pa.array(own, pa.string())
            at = labels.column_names.index(name)
            kept = column.null_count < len(column)
            labels = labels.set_column(at, name, column) if kept else labels.remove_column(at)
    return labels
