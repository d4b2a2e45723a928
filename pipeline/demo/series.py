"""One simulated series, and many of them as a `Block`."""

from collections.abc import Sequence
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
