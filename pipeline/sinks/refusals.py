"""Samples that a store will not take: found one by one, so that they do not take their neighbours along."""

import json
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pipeline.errors import RemoteWriteError
from pipeline.sinks.batches import Batch, Series
from pipeline.sinks.differences import Difference
from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.window import from_ms

OF_TIME = frozenset({"out_of_bounds", "too_old", "future"})  # of a stamp, whichever the series
OF_SAMPLES = OF_TIME | {"out_of_order", "duplicate", "conflict", "invalid_sample", "rejected", "too_large"}
MAX_REFUSALS = 64  # answers, after which what is refused is not looked into any more
NAMED_CHARACTERS = 300


class Refusal(NamedTuple):
    """A sample that was refused, and why."""

    series: Series
    stamp_ms: int
    error: RemoteWriteError

    def __str__(self) -> str:
        metric, labels = self.series
        pairs = ",".join(f"{name}={json.dumps(value)}" for name, value in labels)
        return f"{metric}{{{pairs}}}"[:NAMED_CHARACTERS] + f" at {from_ms(self.stamp_ms):%FT%TZ}"


class Refusals:
    """What one store refused, and how a batch is offered to it around that.

    A refused request is sent again in halves, with the same labels and values: where a receiver had kept a part of it
    after all, a sample that it has is what it gets. Of a 409, which means that the others were kept, nothing is sent
    again: what is not read back was refused.
    """

    def __init__(self) -> None:
        self._answers_left = MAX_REFUSALS
        self._samples: dict[tuple[Series, int], RemoteWriteError] = {}
        self._stamps: dict[int, RemoteWriteError] = {}
        self._doubted: dict[tuple[Series, int], RemoteWriteError] = {}

    def offer(self, batch: Batch, send: Callable[[Batch], None]) -> None:
        """Send a batch, and of a refused one whatever can be taken.

        Raises:
            RemoteWriteError: not of samples: it may pass, or the store takes nothing at all.
        """
        if self._stamps:
            batch = batch.where(~np.isin(batch.stamps_ms, list(self._stamps)))
        if not len(batch):
            return
        try:
            send(batch)
        except RemoteWriteError as error:
            if isinstance(error, UnsettledWriteError) or error.cause not in OF_SAMPLES:
                raise
            self._answers_left -= 1
            halves = self._refused(batch, error)
        else:
            return
        for half in halves:
            self.offer(half, send)

    def _refused(self, batch: Batch, error: RemoteWriteError) -> list[Batch]:
        """Note what is known to be refused now; returns what is to be offered again."""
        is_one_stamp = len(np.unique(batch.stamps_ms)) == 1
        keys = ((sample[:2], sample.stamp_ms) for sample in batch.samples())
        if error.cause == "conflict":
            self._doubted |= dict.fromkeys(keys, error)
        elif error.cause in OF_TIME and is_one_stamp:
            self._stamps[int(batch.stamps_ms[0])] = error
        elif len(batch) == 1 or self._answers_left <= 0:
            self._samples |= dict.fromkeys(keys, error)
        else:
            return batch.halves()
        return []

    def known(self, missing: Difference) -> list[Refusal]:
        """Which of the samples that a store lacks it has refused."""
        if not (self._samples or self._stamps or self._doubted):
            return []
        found = []
        for series, points in missing.points.items():
            for stamp, _ in points:
                error = self._samples.get((series, stamp)) or self._stamps.get(stamp)
                if error := error or self._doubted.get((series, stamp)):
                    found.append(Refusal(series, stamp, error))
        return found

    def left(self, missing: Difference) -> Batch:
        """The samples that a store lacks and has not refused."""
        refused = {refusal[:2] for refusal in self.known(missing)}
        points = {
            series: [point for point in points if (series, point[0]) not in refused] if refused else points
            for series, points in missing.points.items()
        }
        return Batch.of_points({series: points for series, points in points.items() if points})
