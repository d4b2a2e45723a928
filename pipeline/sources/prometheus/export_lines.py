"""Lines of an export of VictoriaMetrics: `{"metric":{...},"values":[...],"timestamps":[...]}`, read from their bytes.

Numbers are read where they lie, as in `matrix_json`; a line with anything else in it is read by `json`. The only NaN
that a VictoriaMetrics keeps marks a series as gone, and is no sample: `null` and `NaN` are left out.
"""

import io
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.samples import Block, Floats, Int64s
from pipeline.sources.prometheus.raw_blocks import MALFORMED, block_within, numbers

METRIC, VALUES, STAMPS, END = b'{"metric":', b',"values":[', b'],"timestamps":[', b"]}"
INFINITE = re.compile(rb"(?<=[\[,])\+?(-?)Inf(?=[,\]])")
COMMA = ord(",")
MOST_MS = 2**53  # up to there a float64 holds every integer
SPECIAL = {None: float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


class Lines(NamedTuple):
    """Some lines of an export, in their order.

    Attributes:
        metrics: of each line, as written.
        sizes: samples of each line.
        stamps_ms: int64 milliseconds since the epoch.
        values: float64, NaN where there is none.
    """

    metrics: list[bytes]
    sizes: Int64s
    stamps_ms: Int64s
    values: Floats


def read_lines(text: bytes) -> Lines:
    """Whole lines.

    Raises:
        KeyError, TypeError, ValueError: a line that is none of an export.
    """
    try:
        return _scanned(text)
    except MALFORMED:
        return _parsed(text)


def _scanned(text: bytes) -> Lines:
    """Lines of plain numbers and nothing else."""
    metrics, spans, at, find = [], [], 0, text.find
    while at < len(text):
        values = find(VALUES, at)
        stamps = find(STAMPS, values)
        end = find(END, stamps)
        if not 0 <= values < stamps < end or text[at : at + len(METRIC)] != METRIC or text[end + 2 : end + 3] != b"\n":
            raise ValueError("another line")
        metrics.append(text[at + len(METRIC) : values])
        spans.append((values + len(VALUES), stamps, stamps + len(STAMPS), end))
        at = end + len(END) + 1
    if text.count(b"\n") != len(metrics):
        raise ValueError("a line that is broken")
    edges = np.array(spans, dtype=np.int64).reshape(-1)
    commas = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == COMMA)
    counts = np.diff(np.searchsorted(commas, edges), append=0)
    within = np.arange(len(edges)) % 2 == 0
    first = int(np.searchsorted(commas, edges[0]))
    last = int(np.searchsorted(commas, edges[-1]))
    inner = commas[first:last][np.repeat(within[:-1], counts[:-1])]
    lists = counts[0::2] + 1  # numbers of each list: values, stamps, values, ...
    if np.any(lists[0::2] != lists[1::2]):
        raise ValueError("values and stamps of different number")
    is_head = np.zeros(int(lists.sum()), dtype=np.bool_)
    is_head[np.cumsum(lists) - lists] = True
    is_last = np.append(is_head[1:], True)
    places = np.empty(2 * len(is_head), dtype=np.int64)
    places[0::2][is_head], places[0::2][~is_head] = edges[0::2], inner + 1
    places[1::2][is_last], places[1::2][~is_last] = edges[1::2], inner
    found = numbers(np.frombuffer(text, dtype=np.uint8), places)
    is_value = np.repeat(np.arange(len(lists)) % 2 == 0, lists)
    return Lines(metrics, lists[0::2], _whole(found[~is_value]), found[is_value])


def _parsed(text: bytes) -> Lines:
    """Any lines that the documentation allows."""
    metrics, sizes, stamps, values = [], [], [], []
    for line in io.BytesIO(text):
        at = line.rindex(b'"values":')
        document = json.loads(line[:at] + INFINITE.sub(rb"\1Infinity", line[at:]), parse_int=float)
        own = [value if type(value) is float else SPECIAL[value] for value in document["values"]]
        moments = document["timestamps"]
        if len(own) != len(moments) or not line.startswith(METRIC) or not all(type(one) is float for one in moments):
            raise ValueError("a line that is none of an export")
        metrics.append(line[len(METRIC) : line.index(VALUES)])
        sizes.append(len(own))
        values += own
        stamps += moments
    return Lines(metrics, np.array(sizes, np.int64), _whole(np.array(stamps, np.float64)), np.array(values, np.float64))


def _whole(stamps: Floats) -> Int64s:
    """Milliseconds as integers, exactly."""
    if not np.all(np.abs(stamps) < MOST_MS):
        raise ValueError("a stamp that is no time")
    found = stamps.astype(np.int64)
    if np.any(found != stamps):
        raise ValueError("a stamp that is no whole millisecond")
    return found


def blocks_of(parts: Sequence[Lines], start_ms: int, end_ms: int) -> Iterator[Block]:
    """Blocks of all lines of an answer; a series is whole in one of them.

    Raises:
        TypeError, ValueError: labels that are no strings.
    """
    metrics = [metric for part in parts for metric in part.metrics]
    if len(set(metrics)) < len(metrics):
        parts = [_merged(parts)]
    for texts, sizes, stamps_ms, values in parts:
        labels = json.loads(b"[" + b",".join(texts) + b"]")
        if len(labels) != len(texts):
            raise ValueError("labels in another place")
        inside = (stamps_ms >= start_ms) & (stamps_ms <= end_ms) & ~np.isnan(values)
        block = block_within(labels, sizes, stamps_ms, values, inside)
        if block is not None:
            yield block


def _merged(parts: Sequence[Lines]) -> Lines:
    """Lines of one series put together, in the order in which they came."""
    numbers_of: dict[bytes, int] = {}
    of_line = [numbers_of.setdefault(metric, len(numbers_of)) for part in parts for metric in part.metrics]
    sizes, stamps_ms, values = (np.concatenate([part[field] for part in parts]) for field in (1, 2, 3))
    series = np.repeat(np.array(of_line, dtype=np.int64), sizes)
    order = np.argsort(series, kind="stable")
    return Lines(list(numbers_of), np.bincount(series, minlength=len(numbers_of)), stamps_ms[order], values[order])
