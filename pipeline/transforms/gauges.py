"""Power gauges become joules by the backward step sum.

A gauge that shows the mean power since the exporter's previous reading is exact this way; a trapezoid would mix
neighbouring readings. What the previous reading was, its meter knows: a process may be new while its exporter is not.
"""

import numpy as np

from pipeline.samples import Floats, Int64s
from pipeline.transforms.counters import Intervals
from pipeline.units import MS_PER_SECOND


def backward_steps(code: Int64s, previous_ms: Int64s, stamp_ms: Int64s, watts: Floats, max_gap_ms: int) -> Intervals:
    """Each sample's power over the time since the reading before it.

    Samples without a reading at most `max_gap_ms` before them give nothing, nor do those that are no finite power.

    Args:
        code: what each sample is of.
        previous_ms: when its meter was read before, see `previous_readings`.
        stamp_ms: when it was read.
        watts: mean power between the two.
        max_gap_ms: the longest joined interval.
    """
    spans = stamp_ms - previous_ms
    usable = (spans > 0) & (spans <= max_gap_ms) & np.isfinite(watts) & (watts >= 0)
    joules = watts * (spans / MS_PER_SECOND)
    return Intervals(code, previous_ms, stamp_ms, joules).where(usable)


def previous_readings(code: Int64s, stamp_ms: Int64s) -> Int64s:
    """The stamp before each of samples sorted by (code, stamp); a first one has its own: no interval."""
    previous = np.concatenate((stamp_ms[:1], stamp_ms[:-1]))
    first = np.diff(code, prepend=-1) != 0
    return np.where(first, stamp_ms, previous).astype(np.int64)
