"""Kubernetes' objects as kube-state-metrics tells them, hour by hour.

Its series are state, not counters: what was seen at any time in an hour, or within `max_gap` of it, holds for the hour,
so that pods that lived for seconds are still found. Of an hour nothing is known from further away, nor of the edge
between two hours from further than `max_gap`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Floats
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import selector
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window


class Looks(NamedTuple):
    """Evenly spaced looks back: when, and how far from there."""

    at_ms: range
    width_ms: int


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


def read_states(server: PrometheusServer, metric: str, labels: Sequence[str], looks: Looks) -> States:
    """The greatest last value of each label set in each look.

    Raises:
        SourceError: the server did not give all of it.
    """
    at_ms = looks.at_ms

    def latest(series: str) -> str:
        return f"max by ({', '.join(labels)}) (last_over_time({series}[{looks.width_ms}ms]))"

    parts = [States(pa.schema([(name, pa.string()) for name in labels]).empty_table(), np.zeros((0, len(at_ms))))]
    for block in server.instants(latest, selector(metric, *server.matchers), at_ms):
        count = block.labels.num_rows
        values = np.full((count, len(at_ms)), np.nan)
        row = np.repeat(np.arange(count), np.diff(block.offsets))
        values[row, (block.stamps_ms - at_ms.start) // at_ms.step] = block.values
        columns = {name: _column(block.labels, name) for name in labels}
        parts.append(States(pa.table(columns), values))
    return together(parts)


def together(parts: Sequence[States]) -> States:
    """States of several servers, one after the other; at least one part."""
    return States(pa.concat_tables([part.labels for part in parts]), np.concatenate([part.values for part in parts]))


def _column(labels: pa.Table, name: str) -> Any:  # noqa: ANN401 # whole or in chunks
    return labels[name] if name in labels.column_names else pa.nulls(labels.num_rows, pa.string())
