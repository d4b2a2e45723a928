"""One round of publishing: some hours of one store read, completed, seen readable and compared.

No write is repeated before a read, whatever failed: a lost answer, a killed store and a second run all end in the same
samples. Every request carries a probe, a series that is new with it: when the probe is readable, so is the request.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from pipeline.errors import RemoteWriteError
from pipeline.sinks.remote_write import Labels, Sample, UnsettledWriteError
from pipeline.sinks.stores import DISPLAY_SERIES, PROBE, REVISED_SERIES, Held, Key, Store, equal
from pipeline.units import MS_PER_MINUTE
from pipeline.window import HOUR, Clock, Window, to_ms

Hour: TypeAlias = Mapping[Key, float]

MAX_REQUEST_SAMPLES = 10_000
VISIBLE_SECONDS = 60.0  # VictoriaMetrics shows a new series about 10 s after its 204
POLL_SECONDS = 0.5
NOT_STORED = frozenset({"unreachable", "throttled"})


def stamp_ms(hour_utc: datetime) -> int:
    """Where an hour's samples lie: a minute before its end, inside every range that means this hour and no other."""
    return to_ms(hour_utc + HOUR) - MS_PER_MINUTE


@dataclass
class Difference:
    """What a store lacks and what differs there, per hour."""

    missing: list[Sample] = field(default_factory=list)
    pending: Counter[int] = field(default_factory=Counter)
    doubles: Counter[int] = field(default_factory=Counter)

    def missing_by_stamp(self) -> Counter[int]:
        """Missing samples counted per stamp."""
        return Counter(sample.stamp_ms for sample in self.missing)


class Patience:
    """The budget of retries around one round: pauses double, and Retry-After is obeyed."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends: float | None = None
        self._pause_seconds = 0.5

    def left(self) -> float:
        """Seconds of the budget, which starts to run with the first failure."""
        return self._seconds if self._ends is None else max(0.0, self._ends - self._clock.monotonic())

    def wait(self, failure: UnsettledWriteError) -> None:
        """Pause before another look, or raise `failure` when the budget does not allow one."""
        if self._ends is None:
            self._ends = self._clock.monotonic() + self._seconds
        pause_seconds = max(self._pause_seconds, failure.retry_after_seconds)
        if pause_seconds > self.left():
            raise failure
        self._clock.sleep(pause_seconds)
        self._pause_seconds = min(2 * self._pause_seconds, 8.0)


class Rounds:
    """The rounds of one publication; between them it remembers the newest probe that may be stored unseen.

    Args:
        store: the receiver.
        clusters: whose series are compared; others are never looked at.
        run_id: names the probes.
        dry_run: read and compare only.
    """

    def __init__(self, store: Store, clusters: tuple[str, ...], run_id: str, *, dry_run: bool) -> None:
        self._store = store
        self._clusters = clusters
        self._dry_run = dry_run
        self._probe: Sample | None = None
        began = to_ms(store.clock.now())  # one run publishes several times, and each of its probes must be a new series
        self._names: Iterator[str] = (f"{run_id}-{began}-{n}" for n in itertools.count(1))

    def reconcile(self, batch: Mapping[datetime, Hour]) -> tuple[Difference, Difference]:
        """Make the store hold these hours, all within 24 h; returns what it lacked before and what differs now.

        Raises:
            UnsettledWriteError: still failing when `http.retry_seconds` were over.
            RemoteWriteError: a refusal, or `lost`: answered with 2xx but not readable within a minute.
        """
        patience = Patience(self._store.clock, self._store.http.retry_seconds)
        before: Difference | None = None
        while True:
            try:
                # What may be stored must have had its time to become readable before it counts as missing.
                self._await_probe(min(VISIBLE_SECONDS, patience.left() / 2))
                difference = self._difference(batch)
                before = before or difference
                if difference.missing and not self._dry_run:
                    self._write(difference.missing, stamp_ms(max(batch)))
                    difference = self._read_back(batch)
            except UnsettledWriteError as failure:
                patience.wait(failure)
            else:
                return before, difference

    def _difference(self, batch: Mapping[datetime, Hour]) -> Difference:
        """Wanted against held over the union of their keys, the revisions of a key added up."""
        window = Window(min(batch), max(batch) + HOUR)
        difference = Difference()
        for metric in (*REVISED_SERIES, *DISPLAY_SERIES):
            answers: list[Held] = [self._store.held(metric, cluster, window) for cluster in self._clusters]
            for hour, samples in batch.items():
                stamp = stamp_ms(hour)
                held = {key: at[stamp] for answer in answers for key, at in answer.values.items() if stamp in at}
                wanted = {key: value for key, value in samples.items() if key[0] == metric}
                difference.doubles[stamp] += sum(answer.doubles[stamp] for answer in answers)
                difference.missing += (
                    Sample(metric, _first(key), stamp, value) for key, value in wanted.items() if key not in held
                )
                if metric in REVISED_SERIES:
                    # A key held but not wanted should add up to nothing, which it does not do by itself.
                    difference.pending[stamp] += sum(
                        not equal(math.fsum(revisions.values()), wanted.get(key, 0.0))
                        for key, revisions in held.items()
                    )
        return difference

    def _write(self, samples: list[Sample], probe_stamp_ms: int) -> None:
        """Hours in order across requests, series together inside one."""
        ordered = sorted(samples, key=lambda sample: (sample.stamp_ms, sample.metric, sample.labels))
        for start in range(0, len(ordered), MAX_REQUEST_SAMPLES - 1):
            part = ordered[start : start + MAX_REQUEST_SAMPLES - 1]
            earlier, self._probe = self._probe, Sample(PROBE, (("run", next(self._names)),), probe_stamp_ms, 1.0)
            try:
                self._store.send([*part, self._probe])
            except RemoteWriteError as error:
                if not isinstance(error, UnsettledWriteError) or error.cause in NOT_STORED:
                    self._probe = earlier  # this one will never be seen
                raise

    def _await_probe(self, seconds: float) -> bool:
        """Whether the newest probe became readable in time; true without one. Either way it is not waited for again."""
        clock = self._store.clock
        ends = clock.monotonic() + seconds
        while self._probe is not None:
            if self._store.has_probe(self._probe.labels[0][1], self._probe.stamp_ms):
                self._probe = None
            elif clock.monotonic() >= ends:
                self._probe = None
                return False
            else:
                clock.sleep(POLL_SECONDS)
        return True

    def _read_back(self, batch: Mapping[datetime, Hour]) -> Difference:
        clock = self._store.clock
        ends = clock.monotonic() + VISIBLE_SECONDS
        seen = self._await_probe(VISIBLE_SECONDS)
        while seen:
            difference = self._difference(batch)
            if not difference.missing:
                return difference
            seen = clock.monotonic() < ends
            clock.sleep(POLL_SECONDS)
        raise RemoteWriteError(
            f"store {self._store.name} accepted samples that cannot be read within {VISIBLE_SECONDS:.0f} s: "
            "check that query_url and url are the same server",
            "lost",
        )


def _first(key: Key) -> Labels:
    """Labels of the first sample of a key; its `revision` is the number of samples that were there before it."""
    metric, labels = key
    return labels if metric in DISPLAY_SERIES else tuple(sorted((*labels, ("revision", "0"))))
