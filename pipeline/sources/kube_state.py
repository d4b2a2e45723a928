"""Kubernetes' objects as kube-state-metrics tells them, hour by hour.

Its series are state, not counters: what was seen at any time in an hour, or within `max_gap` of it, holds for the hour,
so that pods that lived for seconds are still found. Of an hour nothing is known from further away, nor of the edge
between two hours from further than `max_gap`.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Floats
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import selector
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window

FEW_SAMPLES = 100_000  # looked at together: what hardly changes comes in few bytes, and so in large blocks


class Looks(NamedTuple):
    """Evenly spaced looks back: when, and how far from there."""

    at_ms: range
    width_ms: int

    @property
    def start_ms(self) -> int:
        """First stamp that is looked at."""
        return self.at_ms.start - self.width_ms + 1

    def greatest(self, block: Block) -> Floats:
        """What each series of samples shows in each look; shape (series, looks), NaN where it has no sample."""
        edges = np.linspace(0, block.labels.num_rows, len(block.values) // FEW_SAMPLES + 2).astype(np.int64).tolist()
        return np.concatenate([self._greatest(block, first, last) for first, last in pairwise(edges)])

    def _greatest(self, block: Block, first: int, last: int) -> Floats:
        """Of some of its series."""
        begin, end = block.offsets[first], block.offsets[last]
        stamps_ms, values = block.stamps_ms[begin:end], block.values[begin:end]
        row = np.repeat(np.arange(last - first), np.diff(block.offsets[first : last + 1]))
        count, step_ms = len(self.at_ms), self.at_ms.step
        nearest = np.maximum(-((self.at_ms.start - stamps_ms) // step_ms), 0)
        found = np.full((last - first) * count, np.nan)
        for look in (nearest + later for later in range(-(-self.width_ms // step_ms))):
            seen = (look < count) & (self.at_ms.start + look * step_ms - stamps_ms < self.width_ms)
            cell, own = (row * count + look)[seen], values[seen]
            if len(cell):
                run = np.append(0, (cell[1:] != cell[:-1]).nonzero()[0] + 1)
                found[cell[run]] = np.fmax(found[cell[run]], np.fmax.reduceat(own, run))
        return found.reshape(last - first, count)


class Span(NamedTuple):
    """Hours, and how far around each of them is looked."""

    window: Window
    max_gap_ms: int

    @property
    def start_ms(self) -> int:
        """First stamp that is looked at."""
        return self.window.start_ms - self.max_gap_ms - 1

    @property
    def end_ms(self) -> int:
        """Last stamp that is looked at."""
        return self.window.end_ms + self.max_gap_ms

    @property
    def hours(self) -> Looks:
        """At each hour and `max_gap_ms` around it."""
        first_ms = self.end_ms - (self.window.hour_count - 1) * MS_PER_HOUR
        return Looks(range(first_ms, self.end_ms + 1, MS_PER_HOUR), first_ms - self.start_ms + 1)

    @property
    def edges(self) -> Looks:
        """At `max_gap_ms` around each edge of the hours: both hours beside it see as much."""
        first_ms = self.window.start_ms + self.max_gap_ms
        return Looks(range(first_ms, self.end_ms + 1, MS_PER_HOUR), first_ms - self.start_ms + 1)


class States(NamedTuple):
    """Objects of one kind.

    Attributes:
        labels: one row a label set, null for a label that it lacks; several rows may be alike.
        values: (label sets, looks), NaN in those that did not see it.
    """

    labels: pa.Table
    values: Floats


def read_states(server: PrometheusServer, metric: str, labels: Sequence[str], *looks: Looks) -> States:
    """The greatest value of each label set in each look of all those `looks`, one after the other.

    A server that streams gives its samples for less than an expression of them, and once for all looks.

    Raises:
        SourceError: the server did not give all of it.
    """
    series, columns = selector(metric, *server.matchers), sum(len(one.at_ms) for one in looks)
    parts = [States(pa.schema([(name, pa.string()) for name in labels]).empty_table(), np.zeros((0, columns)))]
    if server.streams:
        start_ms, end_ms = min(one.start_ms for one in looks), max(one.at_ms[-1] for one in looks)
        for block in server.blocks(series, start_ms, end_ms):
            values = np.concatenate([one.greatest(block) for one in looks], axis=1)
            parts.append(States(_labels(block, labels), values))
        return together(parts)
    begin = 0
    for one in looks:
        for own, values in _asked(server, series, labels, one):
            every = np.full((len(values), columns), np.nan)
            every[:, begin : begin + len(one.at_ms)] = values
            parts.append(States(own, every))
        begin += len(one.at_ms)
    return together(parts)


def _asked(server: PrometheusServer, series: str, labels: Sequence[str], looks: Looks) -> Iterator[States]:
    """As the server works it out."""
    by, at_ms = ", ".join(labels), looks.at_ms

    def greatest(those: str) -> str:
        return f"max by ({by}) (max_over_time({those}[{looks.width_ms}ms]))"

    for block in server.instants(greatest, series, at_ms):
        count = block.labels.num_rows
        values = np.full((count, len(at_ms)), np.nan)
        row = np.repeat(np.arange(count), np.diff(block.offsets))
        values[row, (block.stamps_ms - at_ms.start) // at_ms.step] = block.values
        yield States(_labels(block, labels), values)


def together(parts: Sequence[States]) -> States:
    """States of several servers, one after the other; at least one part."""
    return States(pa.concat_tables([part.labels for part in parts]), np.concatenate([part.values for part in parts]))


def _labels(block: Block, names: Sequence[str]) -> pa.Table:
    """Some labels of its series, null where they have none of a name."""
    own, absent = block.labels, pa.nulls(block.labels.num_rows, pa.string())
    columns: list[Any] = [own[name] if name in own.column_names else absent for name in names]
    return pa.Table.from_arrays(columns, names=list(names))
