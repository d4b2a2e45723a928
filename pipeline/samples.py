"""Raw samples in memory: what every transport yields and every fold reads.

Only three things are known of a sample: its series' labels, its stamp in whole milliseconds, its float64 value. No rule
may need more (JSON transports have no stale markers, no chunk edges, no exemplars), so that all transports are equal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some series with their samples; one series may come in several blocks, each part later than the one before.

    Attributes:
        labels: one row a series; one string column per label name, null where the series lacks the label.
        offsets: series i owns samples `offsets[i]:offsets[i + 1]`; length is `labels.num_rows + 1`.
        stamps_ms: int64 milliseconds since the epoch, rising within a series.
        values: float64, same length.
    """

    labels: pa.Table
    offsets: Int64s
    stamps_ms: Int64s
    values: Floats


class Transport(Protocol):
    """How samples leave a time series database: one method, so that bulk transports stand beside the query API."""

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples of all series matching `selector` with `start_ms <= stamp <= end_ms`, never resampled.

        Raises:
            SourceError: unreachable, refused, or an answer that cannot be trusted whole.
        """
        ...


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of counters whose labels have been understood, in no particular order.

    Attributes:
        identity: one row a counter; several series (states, renames, restarted targets) may be one counter.
        names: one row a label set that may change during a counter's life (a pod's name and namespace).
        code: row of `identity` of each sample.
        name: row of `names` of each sample.
        stamp_ms: int64 milliseconds since the epoch.
        value: float64 joules, as exposed.
    """

    identity: pa.Table
    names: pa.Table
    code: Int64s
    name: Int64s
    stamp_ms: Int64s
    value: Floats


@dataclass(frozen=True, slots=True)
class MeterSamples:
    """All samples of one meter that an extract holds.

    Attributes:
        meter: its name, such as `kepler`.
        active: identity (node, component): joules while busy, from 0 at the exporter's start.
        idle: the same: the rest, from anywhere at the exporter's start.
        raw: the same: the register beneath both, which wraps.
        workloads: identity (node, component, pod_uid); names (namespace, pod).
        raw_ranges_joules: by component, at which values one socket's register may wrap.
    """

    meter: str
    active: Samples
    idle: Samples
    raw: Samples
    workloads: Samples
    raw_ranges_joules: Mapping[str, tuple[float, ...]]
