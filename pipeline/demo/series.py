"""One simulated series, and many of them as a `Block`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, Floats, Int64s

METRIC = "__name__"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Labels with the metric name under `__name__`, stamps in milliseconds since the epoch, values."""

    labels: dict[str, str]
    stamps_ms: Int64s
    values: Floats


def block_of(series: Sequence[Series]) -> Block:
    """The series as one block, in their order; a label that a series lacks or that is empty is null."""
    names = sorted({name for one in series for name in one.labels})
    columns = {name: pa.array([one.labels.get(name) or None for one in series], pa.string()) for name in names}
    counts = [len(one.stamps_ms) for one in series]
    return Block(
        labels=pa.table(columns),
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        stamps_ms=np.concatenate([one.stamps_ms for one in series]).astype(np.int64),
        values=np.concatenate([one.values for one in series]).astype(np.float64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One scraped exporter: the labels Prometheus adds to all its series, and the fleet's start since the epoch."""

    labels: Mapping[str, str]
    start_ms: int

    def series(self, metric: str, labels: Mapping[str, str], stamps_ms: Int64s, values: Floats) -> Series:
        """One series of it; `stamps_ms` relative to the fleet's start."""
        return Series({METRIC: metric} | {**labels, **self.labels}, stamps_ms + self.start_ms, values)


def filled(series: Iterable[Series]) -> Iterator[Series]:
    """Those that have samples."""
    return (one for one in series if len(one.stamps_ms))
