"""Raw samples as JSON transports give them, made into blocks that keep what `samples.Block` promises."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.samples import Block, Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

NAME = "__name__"
MOST_SECONDS = 1e12  # a stamp beyond is no stamp
MALFORMED = (  # what reading JSON raises
    KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError, pa.ArrowException,
)  # fmt: skip

Metric = Mapping[str, Any]
Bytes = NDArray[np.uint8]


def numbers(text: Bytes, edges: Int64s) -> Floats:
    """Stretches of a text as numbers, each the float nearest to what is written; `01` and `.5` are numbers, too.

    Arrow's offsets are laid right over the text: a stretch, what lies before the next one, a stretch and so on; every
    second one is null.

    Args:
        text: less than 2 GiB.
        edges: where a stretch begins, the byte after it, where the next one begins and so on; never falling.

    Raises:
        pa.ArrowException: a stretch that is no number.
    """
    offsets = edges.astype(np.int32)
    valid = np.full((len(offsets) + 7) // 8, 0b0101_0101, dtype=np.uint8)
    buffers: list[pa.Buffer | None] = [pa.py_buffer(part.data) for part in (valid, offsets, text)]
    alternating = pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers)
    found = cast("pa.Buffer", alternating.cast(pa.float64()).buffers()[1])
    return np.frombuffer(memoryview(found), dtype=np.float64, count=len(alternating))[0::2]


def milliseconds(seconds: Floats) -> Int64s:
    """Stamps that were written as seconds, to the nearest millisecond.

    Raises:
        ValueError: a number that no stamp can be.
    """
    if not np.all(np.abs(seconds) < MOST_SECONDS):
        raise ValueError("a stamp that is no time")
    return np.rint(seconds * MS_PER_SECOND).astype(np.int64)


def block_within(
    metrics: Sequence[Metric], sizes: Int64s, stamps_ms: Int64s, values: Floats, inside: Bools
) -> Block | None:
    """Series by their `metric` with those of their samples that are `inside`; None where nothing is left.

    Raises:
        TypeError, ValueError: labels that are no strings.
    """
    kept = sizes
    if not inside.all():
        kept = np.bincount(np.repeat(np.arange(len(sizes)), sizes)[inside], minlength=len(sizes))
        stamps_ms, values = stamps_ms[inside], values[inside]
    there = np.flatnonzero(kept)
    if not len(there):
        return None
    if len(there) < len(sizes):
        metrics = [metrics[number] for number in there.tolist()]
    offsets = np.concatenate(([0], np.cumsum(kept[there]))).astype(np.int64)
    return Block(label_columns(metrics), offsets, stamps_ms, values)


def label_columns(metrics: Sequence[Metric]) -> pa.Table:
    """One string column a label, null where a series lacks it; the metric's name is left out."""
    first = list(metrics[0])
    if all(list(metric) == first for metric in metrics):  # as a rule, and quicker
        lists = zip(*(metric.values() for metric in metrics), strict=True)
        columns = {name: pa.array(texts, pa.string()) for name, texts in zip(first, lists, strict=True)}
    else:
        names = sorted({name for metric in metrics for name in metric})
        columns = {name: pa.array([metric.get(name) for metric in metrics], pa.string()) for name in names}
    columns.setdefault(NAME, pa.nulls(len(metrics), pa.string()))
    return pa.table(columns).drop_columns([NAME])  # dropped so, a table without any column keeps its rows


def rising(blocks: Iterable[Block], selector: str, on_warning: Callable[[str], None]) -> Iterator[Block]:
    """Blocks in which each series' stamps rise, as a store that keeps duplicates does not give them.

    Of several values at one stamp the greatest stays, as where a VictoriaMetrics removes duplicates; that is told.
    """
    total = 0
    for block in blocks:
        ordered, contradictory = _rising(block)
        total += contradictory
        yield ordered
    if total:
        on_warning(
            f"{total} stamps of {selector} have several values, of which the greatest is taken: let the store remove "
            "duplicates (VictoriaMetrics: -dedup.minScrapeInterval=1ms)"
        )


def _rising(block: Block) -> tuple[Block, int]:
    """The block with each series' stamps in order and once, and how many stamps had several values."""
    stamps_ms, values = block.stamps_ms, block.values
    back = np.flatnonzero(stamps_ms[1:] <= stamps_ms[:-1]) + 1
    if np.all(np.isin(back, block.offsets)):
        return block, 0
    series = np.repeat(np.arange(block.labels.num_rows), np.diff(block.offsets))
    rank = np.where(np.isnan(values), -np.inf, values)
    order = np.lexsort((~np.isnan(values), rank, stamps_ms, series))
    series, stamps_ms, values = series[order], stamps_ms[order], values[order]
    again = (series[1:] == series[:-1]) & (stamps_ms[1:] == stamps_ms[:-1])
    bits = values.view(np.int64)
    contradictory = int(np.count_nonzero(again & (bits[1:] != bits[:-1])))
    last = np.append(~again, True)
    kept = np.bincount(series[last], minlength=block.labels.num_rows)
    offsets = np.concatenate(([0], np.cumsum(kept))).astype(np.int64)
    return Block(block.labels, offsets, stamps_ms[last], values[last]), contradictory


def kept(block: Block, samples: Bools) -> Block:
    """Some of the samples of a block, without series that have none of them."""
    sizes = np.diff(np.concatenate(([0], np.cumsum(samples)))[block.offsets])
    there = sizes > 0
    offsets = np.concatenate(([0], np.cumsum(sizes[there]))).astype(np.int64)
    return Block(block.labels.filter(pa.array(there)), offsets, block.stamps_ms[samples], block.values[samples])
