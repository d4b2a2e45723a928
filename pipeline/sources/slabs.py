"""Several hours of one server's samples, read once and handed out hour by hour, and to folds of some nodes at a time.

Neighbouring hours look at the same twenty minutes, and each request costs its labels: hours read together cost less.
What an hour gets is what it would have got alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Bools, Int64s, Several, Transport
from pipeline.sources.concurrency import at_once

NodesOf = Callable[[pa.Table], Sequence[str]]


class Shares:
    """A slab's series node by node.

    Args:
        slab: where all samples are.
        nodes_of: the node of each series, by the labels.
        named: the nodes that are asked for by name; series of others belong to whoever asks for those.
    """

    def __init__(self, slab: "Slab", nodes_of: NodesOf, named: Sequence[str]) -> None:
        self._slab, self._nodes_of = slab, nodes_of
        self._number = {node: number for number, node in enumerate(named)}
        self._known: dict[int, tuple[Block, Int64s]] = {}

    def blocks(self, share: "Share", selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """The samples of some nodes, as `samples.Transport` gives those of all."""
        chosen = np.zeros(len(self._number) + 1, dtype=np.bool_)  # the last is of nobody who is named
        chosen[[self._number[node] for node in share.nodes]] = True
        chosen[-1] = share.others
        for block in self._slab.held(selector, start_ms, end_ms):
            yield from cut(block, start_ms, end_ms, chosen[self._numbers(block)])

    def _numbers(self, block: Block) -> Int64s:
        if id(block) not in self._known:
            numbers = [self._number.get(node, -1) for node in self._nodes_of(block.labels)]
            self._known[id(block)] = block, np.array(numbers, dtype=np.int64)  # with it, so that its id stays its own
        return self._known[id(block)][1]


class Share(NamedTuple):
    """Some nodes, and perhaps what nobody named; implements `samples.Transport`."""

    shares: Shares
    nodes: Sequence[str]
    others: bool

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """See `samples.Transport`."""
        return self.shares.blocks(self, selector, start_ms, end_ms)


class Slab:
    """A server's samples from one stamp to another, kept as they are asked for; implements `samples.Transport`.

    Args:
        transport: reads them.
        start_ms: first stamp.
        end_ms: last stamp. What lies outside is read and not kept.

    Attributes:
        samples: how many are kept.
    """

    def __init__(self, transport: Transport, start_ms: int, end_ms: int) -> None:
        self.samples = 0
        self._transport, self._start_ms, self._end_ms = transport, start_ms, end_ms
        self._kept: dict[str, list[Block]] = {}

    @property
    def selectors(self) -> list[str]:
        """Of what is kept."""
        return list(self._kept)

    def fill(self, selectors: Iterable[str], concurrency: int) -> None:
        """Read what will be asked for: in one request, or so many selectors at a time.

        Raises:
            SourceError: as the transport.
        """
        wanted = [selector for selector in dict.fromkeys(selectors) if selector not in self._kept]
        found = self._together(wanted) or at_once([partial(self._read, selector) for selector in wanted], concurrency)
        for selector, blocks in zip(wanted, found, strict=True):
            self._keep(selector, blocks)

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """See `samples.Transport`."""
        for block in self.held(selector, start_ms, end_ms):
            yield from cut(block, start_ms, end_ms, None)

    def held(self, selector: str, start_ms: int, end_ms: int) -> Sequence[Block]:
        """Blocks that hold at least the samples from one stamp to another.

        Raises:
            SourceError: as the transport.
        """
        if start_ms < self._start_ms or end_ms > self._end_ms:
            return list(self._transport.blocks(selector, start_ms, end_ms))
        if selector not in self._kept:
            self._keep(selector, self._read(selector))
        return self._kept[selector]

    def _together(self, selectors: Sequence[str]) -> list[list[Block]] | None:
        if len(selectors) < 2 or not isinstance(self._transport, Several):
            return None
        return self._transport.together(selectors, self._start_ms, self._end_ms)

    def _read(self, selector: str) -> list[Block]:
        return list(self._transport.blocks(selector, self._start_ms, self._end_ms))

    def _keep(self, selector: str, blocks: list[Block]) -> None:
        self._kept[selector] = blocks
        self.samples += sum(len(block.values) for block in blocks)


def cut(block: Block, start_ms: int, end_ms: int, chosen: Bools | None) -> Iterator[Block]:
    """The block that has only `start_ms <= stamp <= end_ms`, and only `chosen` series; none where nothing is left."""
    rows = np.arange(block.labels.num_rows) if chosen is None else np.flatnonzero(chosen)
    low, high = block.offsets[rows], block.offsets[rows + 1]
    low = _first(block.stamps_ms, low, high, start_ms)
    high = _first(block.stamps_ms, low, high, end_ms + 1)
    held = high > low
    if not held.any():
        return
    rows, low, sizes = rows[held], low[held], (high - low)[held]
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    at: Int64s | slice = slice(int(low[0]), int(low[0] + offsets[-1]))
    if np.any(low[1:] != low[:-1] + sizes[:-1]):  # else they lie side by side, and nothing is copied
        at = np.repeat(low - offsets[:-1], sizes) + np.arange(offsets[-1])
    labels = block.labels if len(rows) == block.labels.num_rows else block.labels.take(pa.array(rows, pa.int64()))
    yield Block(labels, offsets, block.stamps_ms[at], block.values[at])


def _first(stamps_ms: Int64s, low: Int64s, high: Int64s, at_ms: int) -> Int64s:
    """The first position not before `at_ms` in each rising stretch `stamps_ms[low:high]`: all are bisected at once."""
    low, high = low.copy(), high.copy()
    (open_,) = (low < high).nonzero()
    while len(open_):
        middle = (low[open_] + high[open_]) // 2
        before = stamps_ms[middle] < at_ms
        low[open_[before]] = middle[before] + 1
        high[open_[~before]] = middle[~before]
        open_ = open_[low[open_] < high[open_]]
    return low
