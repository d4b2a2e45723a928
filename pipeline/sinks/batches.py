"""What is sent to a store: samples, series by series."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.samples import Floats, Int64s

Labels: TypeAlias = tuple[tuple[str, str], ...]
Series: TypeAlias = tuple[str, Labels]
Point: TypeAlias = tuple[int, float]


class Sample(NamedTuple):
    """One sample as it is sent: labels sorted by name, without `__name__`, with `revision` where there is one."""

    metric: str
    labels: Labels
    stamp_ms: int
    value: float


@dataclass(frozen=True)
class Batch:
    """Samples series by series.

    Attributes:
        series: metric and labels of each, no two alike.
        edges: where the samples of each begin, and where the last end.
        stamps_ms: of all samples, rising within a series.
        values: likewise.
    """

    series: Sequence[Series]
    edges: Int64s
    stamps_ms: Int64s
    values: Floats

    @classmethod
    def of_points(cls, points: Mapping[Series, Sequence[Point]]) -> Self:
        """The samples of each series, in any order."""
        counts = np.fromiter(map(len, points.values()), np.int64, len(points))
        flat = list(chain.from_iterable(points.values()))
        stamps_ms = np.fromiter(map(itemgetter(0), flat), np.int64, len(flat))
        values = np.fromiter(map(itemgetter(1), flat), np.float64, len(flat))
        edges = np.concatenate([[0], np.cumsum(counts)])
        is_fall = np.zeros(len(flat) + 1, dtype=np.bool_)
        is_fall[1:-1] = stamps_ms[1:] <= stamps_ms[:-1]
        is_fall[edges] = False
        if is_fall.any():
            order = np.lexsort((values, stamps_ms, np.repeat(np.arange(len(counts)), counts)))
            stamps_ms, values = stamps_ms[order], values[order]
        return cls(list(points), edges, stamps_ms, values)

    @classmethod
    def of_samples(cls, samples: Iterable[Sample]) -> Self:
        """Single samples, series in the order of their first one."""
        points: dict[Series, list[Point]] = {}
        for metric, labels, stamp_ms, value in samples:
            points.setdefault((metric, labels), []).append((stamp_ms, value))
        return cls.of_points(points)

    def __len__(self) -> int:
        return len(self.values)

    def samples(self) -> Iterator[Sample]:
        """One by one."""
        counts = np.diff(self.edges).tolist()
        series = chain.from_iterable([one] * count for one, count in zip(self.series, counts, strict=True))
        points = zip(self.stamps_ms.tolist(), self.values.tolist(), strict=True)
        return (Sample(*one, *point) for one, point in zip(series, points, strict=True))

    def example(self) -> Sample:
        """The first of them."""
        return next(self.samples())

    def beside(self, sample: Sample) -> "Batch":
        """The same and one sample of another series."""
        edges = np.append(self.edges, len(self) + 1)
        stamps_ms = np.append(self.stamps_ms, sample.stamp_ms)
        return Batch([*self.series, sample[:2]], edges, stamps_ms, np.append(self.values, sample.value))

    def where(self, wanted: npt.NDArray[np.bool_]) -> "Batch":
        """Only the samples for which `wanted` holds."""
        counts = np.diff(np.concatenate([[0], np.cumsum(wanted)])[self.edges])
        series = [self.series[at] for at in np.flatnonzero(counts).tolist()]
        edges = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        return Batch(series, edges, self.stamps_ms[wanted], self.values[wanted])

    def parts(self, most: int) -> list["Batch"]:
        """The same in parts of at most so many samples each."""
        return [self._between(start, min(start + most, len(self))) for start in range(0, len(self), most)]

    def halves(self) -> list["Batch"]:
        """The older and the younger stamps; of one stamp, the first and the last series."""
        stamps = np.unique(self.stamps_ms)
        if len(stamps) == 1:
            return self.parts(math.ceil(len(self) / 2))
        is_older = self.stamps_ms < stamps[len(stamps) // 2]
        return [self.where(is_older), self.where(~is_older)]

    def _between(self, start: int, end: int) -> "Batch":
        first = int(np.searchsorted(self.edges, start, side="right")) - 1
        last = int(np.searchsorted(self.edges, end, side="left"))
        edges = np.clip(self.edges[first : last + 1], start, end) - start
        return Batch(self.series[first:last], edges, self.stamps_ms[start:end], self.values[start:end])
