"""The answer of an instant query with a range, read from its bytes: raw samples without an object for each of them.

A Prometheus, a Thanos, a Mimir and a VictoriaMetrics all write series without any space, `metric` before `values`. That
is what is scanned: numpy finds the quotes, and Arrow reads the numbers between them where they lie. Anything else is
read by `json`, series of a stretch that are otherwise, or the whole answer. Of JSON both give the same, to the bit.
"""

import json
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import SourceError
from pipeline.samples import Block, Floats, Int64s
from pipeline.sources.prometheus.raw_blocks import MALFORMED, block_within, milliseconds, numbers

RESULT = b'"result":['
SERIES, VALUES, NEXT, END = b'{"metric":', b',"values":[[', b']]},{"metric":{', b"]]}"
BETWEEN = int.from_bytes(b'"],[', "little")
COMMA, QUOTE, CLOSING = ord(","), ord('"'), ord("]")
STRETCH_BYTES = 1 << 20  # of text at a time: what numpy makes of it stays in the cache of a processor
READERS = 2  # stretches at a time: the server has done its part by then


class NoMatrixError(SourceError):
    """An answer that is not the JSON of a Prometheus at all."""


class Cut(NamedTuple):
    """Where the series of an answer lie in its text.

    Attributes:
        starts: first byte of each series, its brace.
        values: first byte after `"values":[[`.
        ends: first byte of the `]]` after them.
    """

    starts: Int64s
    values: Int64s
    ends: Int64s

    def part(self, first: int, stop: int) -> "Cut":
        """Some of the series."""
        return Cut(self.starts[first:stop], self.values[first:stop], self.ends[first:stop])


class Samples(NamedTuple):
    """Series as they were read: `metric`, number of samples, stamps and values of each."""

    metrics: list[dict[str, Any]]
    sizes: Int64s
    stamps_ms: Int64s
    values: Floats


class Wanted(NamedTuple):
    """Which samples of an answer are meant: `start_ms <= stamp <= end_ms`, with `nan` or without."""

    start_ms: int
    end_ms: int
    nan: bool = True

    def block(self, samples: Samples) -> Block | None:
        """Those of some samples."""
        inside = (samples.stamps_ms >= self.start_ms) & (samples.stamps_ms <= self.end_ms)
        if not self.nan:
            inside &= ~np.isnan(samples.values)
        return block_within(*samples, inside)


def read_matrix(body: bytes, wanted: Wanted) -> Iterator[Block]:
    """Blocks of the wanted samples; a series is whole in one of them.

    Raises:
        NoMatrixError: no JSON, or not that of a query.
        KeyError, TypeError, ValueError, pa.ArrowException: series that are no raw float samples.
    """
    for samples in _all(body):
        block = wanted.block(samples)
        if block is not None:
            yield block


def _all(body: bytes) -> Iterator[Samples]:
    cut = _cut(body)
    if cut is None:
        yield _parsed(_result(body))
        return
    edges = np.flatnonzero(np.diff(cut.starts // STRETCH_BYTES, prepend=-1, append=1 << 62)).tolist()
    parts = [cut.part(first, stop) for first, stop in pairwise(edges)]
    if len(parts) == 1:
        yield _part(body, parts[0])
        return
    with ThreadPoolExecutor(READERS) as readers:  # numpy and Arrow let go of the interpreter
        ahead = deque[Future[Samples]]()
        for part in parts:
            ahead.append(readers.submit(_part, body, part))
            if len(ahead) > READERS:
                yield ahead.popleft().result()
        yield from (one.result() for one in ahead)


def _part(body: bytes, part: Cut) -> Samples:
    """Some of the series, however they are written."""
    try:
        return _scanned(body, part)
    except MALFORMED:
        return _parsed(json.loads(b"[" + body[part.starts[0] : part.ends[-1] + len(END)] + b"]"))


def _result(body: bytes) -> Any:  # noqa: ANN401 # the type of a JSON document
    try:
        return json.loads(body)["data"]["result"]
    except (ValueError, KeyError, TypeError) as error:
        raise NoMatrixError("no answer to a query") from error


def _cut(body: bytes) -> Cut | None:
    """The series, None where they are not all written as expected (or there are none)."""
    found: list[tuple[int, int, int]] = []
    at, find = body.find(RESULT) + len(RESULT), body.find
    if at < len(RESULT):
        return None
    while True:
        if body[at : at + len(SERIES)] != SERIES:
            return None
        values = find(VALUES, at)
        if values < 0:
            return None
        values += len(VALUES)
        brace = find(b"{", values)  # one byte is found sooner than many
        end = brace - NEXT.index(b"{")
        if brace < 0 or body[end : end + len(NEXT)] != NEXT:
            break
        found.append((at, values, end))
        at = brace
    end = find(END, values)
    if end < 0 or body[end + len(END) : end + len(END) + 1] != b"]":
        return None
    try:
        whole = _result(body[: body.find(RESULT) + len(RESULT)] + body[end + len(END) :]) == []
    except NoMatrixError:
        return None
    return Cut(*np.array([*found, (at, values, end)], dtype=np.int64).T) if whole else None


def _parsed(items: Any) -> Samples:  # noqa: ANN401 # the type of a JSON document
    """Parsed series."""
    if not isinstance(items, list):
        raise TypeError("a result that is no list")
    if any("histograms" in item for item in items):
        raise TypeError("native histograms")
    pairs = [pair for item in items for pair in item["values"]]
    seconds, values = (np.array([float(pair[place]) for pair in pairs]) for place in (0, 1))
    sizes = np.array([len(item["values"]) for item in items], dtype=np.int64)
    return Samples([item["metric"] for item in items], sizes, milliseconds(seconds), values)


def _scanned(body: bytes, cut: Cut) -> Samples:
    """Series that lie as they were cut.

    Raises:
        ValueError, pa.ArrowException: one of them is written in another way.
    """
    sizes, seconds, values = _samples(body, cut)
    return Samples(_metrics(body, cut), sizes, milliseconds(seconds), values)


def _metrics(body: bytes, cut: Cut) -> list[dict[str, Any]]:
    starts, ends = (cut.starts + len(SERIES)).tolist(), (cut.values - len(VALUES)).tolist()
    texts = [body[start:end] for start, end in zip(starts, ends, strict=True)]
    metrics: list[dict[str, Any]] = json.loads(b"[" + b",".join(texts) + b"]")
    if len(metrics) != len(texts) or not all(isinstance(metric, dict) for metric in metrics):
        raise ValueError("labels in another place")
    return metrics


def _samples(body: bytes, cut: Cut) -> tuple[Int64s, Floats, Floats]:
    """How many samples each series has, then seconds and value of each.

    Raises:
        ValueError, pa.ArrowException: not all of them are `seconds,"value"`, with `],[` between them.
    """
    low, high = int(cut.values[0]), int(cut.ends[-1]) + len(END)
    text = np.frombuffer(body, dtype=np.uint8, count=high - low, offset=low)
    spans = np.stack((cut.values, cut.ends), axis=1).ravel() - low
    quotes = np.flatnonzero(text == QUOTE)
    counts = np.diff(np.searchsorted(quotes, spans))  # of quotes: within a series, between it and the next, ...
    quotes = quotes[np.repeat(np.arange(len(counts)) % 2 == 0, counts)]
    if np.any(counts[::2] % 2) or not np.all(counts[::2]):
        raise ValueError("no pairs of quotes")
    sizes = counts[::2] // 2
    opened, closed = quotes[0::2], quotes[1::2]
    lasts = np.cumsum(sizes) - 1
    starts = np.empty_like(opened)
    starts[1:] = closed[:-1] + 4  # what BETWEEN takes
    starts[lasts - sizes + 1] = spans[::2]
    between = np.ndarray((len(text) - 3,), dtype=np.dtype("<u4"), buffer=text, strides=(1,))[closed]
    is_last = np.zeros(len(closed), dtype=np.bool_)
    is_last[lasts] = True
    if not (np.all(text[opened - 1] == COMMA) and np.all((between == BETWEEN) != is_last)):
        raise ValueError("other text between samples")
    if np.any(closed[lasts] + 1 != spans[1::2]) or np.any(starts >= opened):
        raise ValueError("other text around samples")
    edges = np.empty(4 * len(opened), dtype=np.int64)
    edges[0::4], edges[1::4], edges[2::4], edges[3::4] = starts, opened - 1, opened + 1, closed
    seconds_and_values = numbers(text, edges)
    return sizes, seconds_and_values[0::2], seconds_and_values[1::2]
