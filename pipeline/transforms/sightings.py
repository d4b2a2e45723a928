"""What was known of something around a time: labels that come late, or that only some of its series carry."""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Int64s
from pipeline.transforms.counters import StampIndex


@dataclass(frozen=True, slots=True)
class Sightings:
    """Facts about keys at stamps, sorted by (key, stamp, fact)."""

    index: StampIndex
    key: Int64s
    stamp_ms: Int64s
    fact: Int64s

    @classmethod
    def of(cls, key: Int64s, stamp_ms: Int64s, fact: Int64s) -> "Sightings":
        """Sightings in any order; those of no key or no fact (-1) are none."""
        told = (key >= 0) & (fact >= 0)
        key, stamp_ms, fact = key[told], stamp_ms[told], fact[told]
        order = np.lexsort((fact, stamp_ms, key))
        key, stamp_ms, fact = key[order], stamp_ms[order], fact[order]
        return cls(StampIndex.of(key, stamp_ms), key, stamp_ms, fact)

    def find(self, key: Int64s, start_ms: Int64s, end_ms: Int64s, max_gap_ms: int) -> Int64s:
        """The fact that holds over each `(start, end]`, -1 where none is known.

        The first one from the interval's end on, else the last one before; only in `[end - max_gap, start + max_gap]`.
        """
        if len(self.key) == 0:
            return np.full(len(key), -1, dtype=np.int64)
        after = self.index.count_to(key, end_ms - 1)
        before = after - 1
        at = np.minimum(after, len(self.key) - 1)
        ahead = (self.key[at] == key) & (self.stamp_ms[at] >= end_ms) & (self.stamp_ms[at] <= start_ms + max_gap_ms)
        back = (before >= 0) & (self.key[before] == key) & (self.stamp_ms[before] >= end_ms - max_gap_ms)
        found = np.where(ahead, self.fact[at], np.where(back, self.fact[before], -1))
        return np.where(key >= 0, found, -1).astype(np.int64)
