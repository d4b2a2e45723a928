"""Under which names workloads are known in each hour: the latest that were seen near it."""

from typing import NamedTuple

import numpy as np

from pipeline.samples import Int64s
from pipeline.transforms.folded import Names
from pipeline.transforms.readings import Aligned
from pipeline.units import MS_PER_HOUR


class SeenNames(NamedTuple):
    """Under which names somebody was seen when, sorted by (who, stamp); of one stamp the last counts.

    Attributes:
        who: number of somebody.
        stamp_ms: milliseconds since the epoch.
        name: number of a name.
    """

    who: Int64s
    stamp_ms: Int64s
    name: Int64s

    def latest(self, everybody: int, start_ms: int, hours: int, before_ms: int, after_ms: int) -> Int64s:
        """The last name of each in `(begin - before_ms, end + after_ms]` of each hour, -1 for none.

        Shape (everybody, hours).
        """
        number = np.full((everybody, hours), -1, dtype=np.int64)
        if len(self.who) == 0:
            return number
        first_ms, span_ms = int(self.stamp_ms.min()), int(np.ptp(self.stamp_ms)) + 2
        end_ms = start_ms + MS_PER_HOUR * np.arange(1, hours + 1) + after_ms
        key = np.arange(everybody)[:, None] * span_ms + np.clip(end_ms - first_ms, -1, span_ms - 2)
        last = np.searchsorted(self.who * span_ms + self.stamp_ms - first_ms, key, side="right") - 1
        near = (last >= 0) & (self.stamp_ms[last] > end_ms - after_ms - MS_PER_HOUR - before_ms)
        near &= self.who[last] == np.arange(everybody)[:, None]
        number[near] = self.name[last[near]]
        return number


def names_by_hour(aligned: Aligned, start_ms: int, hours: int, max_gap_ms: int) -> Names:
    """Each consumer's latest full name in each hour: the last seen from `max_gap_ms` before it to as long after it.

    Tails reach over an hour's edge, so names count from before it.
    """
    counters = aligned.workloads.counters
    full = np.array([None not in name for name in aligned.names], dtype=np.bool_)
    seen = SeenNames(counters.code, counters.stamp_ms, counters.label)
    if not full[counters.label].all():
        seen = SeenNames(*(column[full[counters.label]] for column in seen))
    latest = seen.latest(len(aligned.consumer), start_ms, hours, max_gap_ms, max_gap_ms)
    number = np.full((len(aligned.consumers), hours), -1, dtype=np.int64)
    counter, hour = np.nonzero(latest >= 0)
    number[aligned.consumer[counter], hour] = latest[counter, hour]  # of several runs of a container the last
    return Names(aligned.names, number)
