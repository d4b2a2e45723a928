"""A fleet as a `Transport`: the same samples as from a server, without one, and cut into parts when asked."""

import ast
import re
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.demo.openmetrics import HasBlocks
from pipeline.demo.series import METRIC
from pipeline.errors import SourceRejected
from pipeline.samples import Block, Bools, Int64s

SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(.*)\})?\s*", re.DOTALL)
MATCHER = re.compile(r"\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')\s*(?:,|$)")

Matcher = tuple[str, Callable[[str], bool]]


class FleetTransport:
    """Implements `samples.Transport` in memory."""

    def __init__(self, fleet: HasBlocks, part_samples: int | None = None) -> None:
        """Prepare.

        Args:
            fleet: whose samples to hand out.
            part_samples: a series longer than this comes in several blocks; None for one block a metric.
        """
        self.part_samples = part_samples
        self.metrics = {str(block.labels[METRIC][0]): block for block in fleet.blocks()}

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Samples of all series matching `selector` with `start_ms <= stamp <= end_ms`.

        Raises:
            SourceRejected: not a selector.
        """
        matchers = parse_selector(selector)
        for block in self.metrics.values():
            rows = np.flatnonzero(_matching(block.labels, matchers))
            begins = block.offsets[rows]
            ends = block.offsets[rows + 1]
            for index, row in enumerate(rows):
                stamps = block.stamps_ms[block.offsets[row] : block.offsets[row + 1]]
                ends[index] = begins[index] + np.searchsorted(stamps, end_ms, side="right")
                begins[index] += np.searchsorted(stamps, start_ms, side="left")
            yield from self._parts(block, rows, begins, ends)

    def _parts(self, block: Block, rows: Int64s, begins: Int64s, ends: Int64s) -> Iterator[Block]:
        while True:
            held = begins < ends
            rows, begins, ends = rows[held], begins[held], ends[held]
            if len(rows) == 0:
                return
            stops = ends if self.part_samples is None else np.minimum(begins + self.part_samples, ends)
            picked = np.concatenate([np.arange(b, s) for b, s in zip(begins, stops, strict=True)])
            yield Block(
                labels=block.labels.take(pa.array(rows, pa.int64())),
                offsets=np.concatenate([[0], np.cumsum(stops - begins)]).astype(np.int64),
                stamps_ms=block.stamps_ms[picked],
                values=block.values[picked],
            )
            begins = stops


def parse_selector(selector: str) -> list[Matcher]:
    """The matchers of a PromQL instant selector, the metric name as one of them.

    Raises:
        SourceRejected: not a selector, or an expression that is more than one.
    """
    whole = SELECTOR.fullmatch(selector)
    if whole is None or not (whole[1] or whole[2]):
        raise SourceRejected(f"{selector!r} is not a selector")
    matchers = [_matcher(METRIC, "=", whole[1])] if whole[1] else []
    rest = (whole[2] or "").strip()
    while rest:
        found = MATCHER.match(rest)
        if found is None:
            raise SourceRejected(f"{selector!r} is not a selector: cannot read {rest!r}")
        matchers.append(_matcher(found[1], found[2], ast.literal_eval(found[3])))
        rest = rest[found.end() :].strip()
    return matchers


def _matcher(name: str, operator: str, wanted: str) -> Matcher:
    """A label and the test of its value; as in PromQL, an absent label is the empty string and regexes are anchored."""
    if operator in ("=", "!="):
        return name, lambda value: (value == wanted) == (operator == "=")
    try:
        pattern = re.compile(wanted, re.DOTALL)
    except re.error as error:
        raise SourceRejected(f"{wanted!r} is not a regular expression: {error}") from None
    return name, lambda value: (pattern.fullmatch(value) is not None) == (operator == "=~")


def _matching(labels: pa.Table, matchers: list[Matcher]) -> Bools:
    """Which series all matchers accept."""
    kept = np.ones(labels.num_rows, dtype=np.bool_)
    for name, accepts in matchers:
        if name not in labels.column_names:
            kept &= accepts("")
            continue
        values = labels[name].to_pylist()
        verdicts = {value: accepts(value or "") for value in set(values)}
        kept &= np.array([verdicts[value] for value in values], dtype=np.bool_)
    return kept
