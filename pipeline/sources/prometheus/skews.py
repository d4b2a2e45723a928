"""A server that merges replicas: where it turns from one to another, counters fall a little, and nothing restarted.

Thanos and Mimir show one replica's samples at a time. If the clock of the one they leave is behind that of the next,
the next one's first sample may be older than the last they showed: each counter falls by what was used in between, and
has caught up with the next sample. Taken as a restart, that would add the whole counter once more. Such a sample is no
sample: what was read before it was read later.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.samples import Block, Bools, Floats, Int64s
from pipeline.sources.prometheus.raw_blocks import kept

LAG_MS = 5_000  # what a series that tells for itself alone may fall behind: less of a real restart looks like that
TARGET, ADDRESSES = "instance", ("node_name", "Hostname")


class Skew(NamedTuple):
    """A scrape that was older than the one shown before it.

    Attributes:
        metric: the counter that tells.
        target: what was scraped, by its label `instance`.
        node: what its series call the node; the host of `instance` where they do not.
        stamp_ms: the stamp it is shown at.
    """

    metric: str
    target: str
    node: str
    stamp_ms: int


@dataclass(frozen=True)
class Merged:
    """All blocks of one metric, a series' parts put together.

    Attributes:
        blocks: as they came.
        rows: labels of every block's series.
    """

    blocks: list[Block]
    rows: list[dict[str, str | None]]

    @classmethod
    def of(cls, found: Iterable[Block]) -> "Merged":
        """All of what a transport yields: memory grows with its samples."""
        blocks = list(found)
        return cls(blocks, [row for block in blocks for row in block.labels.to_pylist()])

    def skews(self, metric: str, span_ms: int) -> set[Skew]:
        """The scrapes that were older than those before them, as this metric tells."""
        older, row, stamps = self._older(span_ms)
        told = zip(row[older].tolist(), stamps[older].tolist(), strict=True)
        return {Skew(metric, self.rows[i].get(TARGET) or "", _node(self.rows[i]), stamp) for i, stamp in told}

    def without_older(self, span_ms: int) -> list[Block]:
        """The blocks without samples that were older than those before them."""
        older, _, _ = self._older(span_ms, LAG_MS)
        if not older.any():
            return self.blocks
        edges = np.cumsum([0, *(len(block.values) for block in self.blocks)])
        return [kept(block, ~older[edges[i] : edges[i + 1]]) for i, block in enumerate(self.blocks)]

    def _older(self, span_ms: int, lag_ms: float = math.inf) -> tuple[Bools, Int64s, Int64s]:
        """Which samples are older, of which row each sample is, and its stamp."""
        if not self.blocks:
            return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        number: dict[tuple[tuple[str, str | None], ...], int] = {}
        codes = [
            number.setdefault(tuple(sorted(pair for pair in row.items() if pair[1])), len(number)) for row in self.rows
        ]
        lengths = np.concatenate([np.diff(block.offsets) for block in self.blocks])
        stamps = np.concatenate([block.stamps_ms for block in self.blocks])
        values = np.concatenate([block.values for block in self.blocks])
        row = np.repeat(np.arange(len(self.rows)), lengths)
        code = np.array(codes, dtype=np.int64)[row]
        order = np.lexsort((stamps, code))
        older = np.zeros(len(values), dtype=np.bool_)
        older[order[older_samples(code[order], stamps[order], values[order], span_ms, lag_ms)]] = True
        return older, row, stamps


def older_samples(code: Int64s, stamp_ms: Int64s, value: Floats, span_ms: int, lag_ms: float = math.inf) -> Int64s:
    """Positions of samples that are older than the one before them; all sorted by (code, stamp).

    Such a sample lies between the two before it in value, no more below the last than that rose in `lag_ms`, and the
    next one is above both: a counter that began anew would have to catch up at once. All four lie within `span_ms`, so
    that no cut of a range sees it otherwise.
    """
    first, last, fallen, following = (value[i : max(len(value) - 3 + i, i)] for i in range(4))
    near = (code[3:] == code[:-3]) & (stamp_ms[3:] - stamp_ms[:-3] <= span_ms)
    near &= (fallen < last) & (fallen >= first) & (following > last)
    at = np.flatnonzero(near)
    rise, length_ms = (last - first)[at], (stamp_ms[1:-2] - stamp_ms[:-3])[at]
    return at[(last - fallen)[at] * length_ms <= rise * lag_ms] + 2


def without(found: Iterable[Block], skews: set[Skew]) -> Iterator[Block]:
    """Blocks without the samples of some scrapes."""
    stamps_of: dict[str, list[int]] = {}
    for skew in skews:
        stamps_of.setdefault(skew.target, []).append(skew.stamp_ms)
    for block in found:
        targets = block.labels[TARGET].to_pylist() if TARGET in block.labels.column_names else []
        own_time = np.ones(len(block.values), dtype=np.bool_)
        for row, target in enumerate(targets):
            if target in stamps_of:
                own = slice(block.offsets[row], block.offsets[row + 1])
                own_time[own] = ~np.isin(block.stamps_ms[own], stamps_of[target])
        yield block if own_time.all() else kept(block, own_time)


def _node(labels: Mapping[str, str | None]) -> str:
    named = next((labels[name] for name in ADDRESSES if labels.get(name)), None)
    return named or (labels.get(TARGET) or "").rsplit(":", 1)[0]
