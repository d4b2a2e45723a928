"""When pods started, as Kubernetes showed it around each hour and around each edge between two.

What is believed of a birth inside an hour comes from that hour's own neighbourhood, and what is believed of one across
an edge from that of the edge: so that a cut of a range changes neither.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_HOUR


class Starts:
    """Known starts of pods over some neighbouring hours.

    Args:
        first_ms: left edge of the first hour.
        number: of each pod, by its UID and by `namespace/pod`.
        known_ms: milliseconds since the epoch of each pod, by its number, around the first edge, in the first hour,
            around the second edge, in the second hour ... around the last edge; NaN where nothing was known. Or once,
            which holds always. Kept is what was known first, and what differs from it.
    """

    def __init__(self, first_ms: int, number: Mapping[str, int], known_ms: Iterable[Floats]) -> None:
        self._first_ms, self._number = first_ms, number
        self._ms = np.full(len(number) + 1, np.nan)
        seen, others = list[Bools](), list[tuple[Int64s, Floats]]()
        for column, own in enumerate(known_ms):
            ms = np.append(own, np.nan)
            seen.append(np.isfinite(ms))
            self._ms = np.where(np.isnan(self._ms), ms, self._ms)
            (other,) = (seen[-1] & (ms != self._ms)).nonzero()
            others.append((column * len(ms) + other, ms[other]))
        self._seen = np.stack(seen)
        self._others, self._others_ms = (np.concatenate(parts) for parts in zip(*others, strict=True))

    @classmethod
    def always(cls, known_ms: Mapping[str, float]) -> "Starts":
        """Known at any time."""
        number = {pod: row for row, pod in enumerate(known_ms)}
        return cls(0, number, [np.array(list(known_ms.values()), dtype=np.float64)])

    @property
    def nobody(self) -> int:
        """The number of a pod of which nothing is known."""
        return len(self._number)

    def rows(self, pods: Sequence[str]) -> Int64s:
        """The number that each pod has here."""
        return np.array([self._number.get(pod, self.nobody) for pod in pods], dtype=np.int64)

    def of(self, rows: Int64s, start_ms: Int64s, end_ms: Int64s) -> Floats:
        """When pods whose first interval is `(start_ms, end_ms]` started, NaN where that is not known."""
        first, last = (start_ms - self._first_ms) // MS_PER_HOUR, (end_ms - 1 - self._first_ms) // MS_PER_HOUR
        column = np.clip(2 * last + (first == last), 0, len(self._seen) - 1)
        ms = np.where(self._seen[column, rows], self._ms[rows], np.nan)
        if len(self._others):
            key = column * len(self._ms) + rows
            place = np.minimum(np.searchsorted(self._others, key), len(self._others) - 1)
            ms = np.where(self._others[place] == key, self._others_ms[place], ms)
        return ms


UNKNOWN = Starts.always({})
