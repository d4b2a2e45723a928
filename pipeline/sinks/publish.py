"""Publishing is a reconciliation: read what a store holds, write what it lacks, see it readable, compare.

No write is repeated before a read, whatever failed: a lost answer, a killed store and a second run all end in the same
samples. A key that holds another value than it should is pending: counted, reported, and left as it is, because a time
series database cannot overwrite.
"""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from pipeline.errors import RemoteWriteError, SchemaError
from pipeline.sinks.remote_write import Sample, UnsettledWriteError
from pipeline.sinks.stores import DISPLAY_SERIES, PROBE, REVISED_SERIES, Horizon, Key, Store, equal
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND
from pipeline.window import HOUR, Clock, Window, to_ms

Hour: TypeAlias = Mapping[Key, float]
State: TypeAlias = Literal["yes", "no", "beyond_horizon"]

MAX_REQUEST_SAMPLES = 10_000
MAX_ROUND_KEYS = 250_000  # bounds memory: a day of a large cluster is read in several rounds
MAX_ROUND = timedelta(hours=24)
VISIBLE_SECONDS = 60.0  # VictoriaMetrics shows a new series about 10 s after its 204
POLL_SECONDS = 0.5
# Refusals of samples, not of us: the other hours of the round may still be taken.
OF_SAMPLES = frozenset(
    {"out_of_bounds", "too_old", "out_of_order", "duplicate", "conflict", "future", "invalid_sample", "rejected", "too_large"}
)
NOT_STORED = frozenset({"unreachable", "throttled"})


def stamp_ms(hour_utc: datetime) -> int:
    """Where an hour's samples lie: a minute before its end, inside every range that means this hour and no other."""
    return to_ms(hour_utc + HOUR) - MS_PER_MINUTE


@dataclass(frozen=True)
class PublishedHour:
    """What became of one hour in one store.

    Attributes:
        hour_utc: left edge.
        state: `yes`: the store holds exactly what it should; `no`: it does not (yet); `beyond_horizon`: never sent.
        samples: samples the hour should have there.
        written: samples that this call added. A refused hour counts none, though some may have been stored.
        pending: keys whose held sum differs from the wanted value.
        doubles: identical samples found twice, each counted once.
        cause: why not `yes`: a cause of RemoteWriteError, `pending`, `dry_run`; null otherwise.
        reason: the same in one line, for people.
    """

    hour_utc: datetime
    state: State
    samples: int
    written: int = 0
    pending: int = 0
    doubles: int = 0
    cause: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PublishReport:
    """What became of all hours in one store; `error` is the first refusal or failure, to be raised once all else is done."""

    store: str
    hours: tuple[PublishedHour, ...]
    horizon: Horizon | None
    error: RemoteWriteError | None

    @property
    def written(self) -> int:
        """Samples added."""
        return sum(hour.written for hour in self.hours)

    @property
    def pending(self) -> int:
        """Keys left with another value than they should have."""
        return sum(hour.pending for hour in self.hours)

    @property
    def doubles(self) -> int:
        """Identical samples found twice."""
        return sum(hour.doubles for hour in self.hours)

    @property
    def unpublished_hours(self) -> int:
        """Hours whose samples are not, or not exactly, in the store."""
        return sum(hour.state != "yes" for hour in self.hours)


def publish(
    store: Store, wanted: Mapping[datetime, Hour], clusters: Collection[str], run_id: str, *, dry_run: bool = False
) -> PublishReport:
    """Make `store` hold the wanted samples of each hour, oldest first.

    Args:
        store: the receiver; whoever calls holds its lock, for there is one publisher a store.
        wanted: hour to samples (`transforms.series.hour_series`, merged over `clusters`); each hour is looked up once.
        clusters: every cluster the hours are about. What the store holds of them at these hours and `wanted` lacks is
            pending too; other clusters are never looked at.
        run_id: names the probe series.
        dry_run: read and compare only.

    Raises:
        SchemaError: a series that is not one of design section 8, or of a cluster not in `clusters`. Failures of the
            store are in the report, not raised.
    """
    publisher = _Publisher(store, tuple(sorted(clusters)), run_id, dry_run=dry_run)
    hours = sorted(wanted)
    try:
        horizon = publisher.ready_horizon()
    except RemoteWriteError as error:
        failed = (_unpublished(hour, len(wanted[hour]), error) for hour in hours)
        return PublishReport(store.name, tuple(failed), None, error)
    oldest_ms = to_ms(store.clock.now()) - horizon.length // timedelta(milliseconds=1)
    beyond = [hour for hour in hours if stamp_ms(hour) < oldest_ms]
    reports = [
        PublishedHour(hour, "beyond_horizon", len(wanted[hour]), cause="beyond_horizon", reason=_line(horizon))
        for hour in beyond
    ]
    for batch in _rounds(hours[len(beyond) :], wanted, publisher.clusters):
        reports += publisher.publish_round(batch)
    return PublishReport(store.name, tuple(reports), horizon, publisher.error)


def _line(horizon: Horizon) -> str:
    return f"older than the store's horizon ({horizon.explanation})" + (f": {horizon.advice}" if horizon.advice else "")


def _unpublished(hour_utc: datetime, samples: int, error: RemoteWriteError) -> PublishedHour:
    return PublishedHour(hour_utc, "no", samples, cause=error.cause, reason=str(error))


def _rounds(
    hours: Sequence[datetime], wanted: Mapping[datetime, Hour], clusters: tuple[str, ...]
) -> Iterator[dict[datetime, Hour]]:
    batch: dict[datetime, Hour] = {}
    for hour in hours:
        samples = wanted[hour]
        _check(samples, clusters)
        full = sum(map(len, batch.values())) + len(samples) > MAX_ROUND_KEYS
        if batch and (full or hour - min(batch) >= MAX_ROUND):
            yield batch
            batch = {}
        batch[hour] = samples
    if batch:
        yield batch


def _check(samples: Hour, clusters: tuple[str, ...]) -> None:
    """A key that cannot be found again under its own labels would be written anew in every run."""
    for metric, labels in samples:
        names = (REVISED_SERIES | DISPLAY_SERIES).get(metric)  # type: ignore[operator]
        if names != tuple(name for name, _ in labels):
            raise SchemaError(f"{metric} with labels {[name for name, _ in labels]} is not a published series")
        if dict(labels)["cluster"] not in clusters:
            raise SchemaError(f"{metric} is of cluster {dict(labels)['cluster']!r}, which is not being published")


@dataclass
class _Difference:
    """What a store lacks and what differs there, per hour."""

    missing: list[Sample] = field(default_factory=list)
    pending: Counter[int] = field(default_factory=Counter)
    doubles: Counter[int] = field(default_factory=Counter)

    def missing_by_stamp(self) -> Counter[int]:
        return Counter(sample.stamp_ms for sample in self.missing)


class _Patience:
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


class _Publisher:
    """One call of `publish`: remembers the first error and the newest probe that may have been stored."""

    def __init__(self, store: Store, clusters: tuple[str, ...], run_id: str, *, dry_run: bool) -> None:
        self.clusters = clusters
        self.error: RemoteWriteError | None = None
        self._store = store
        self._dry_run = dry_run
        self._probe: Sample | None = None
        began = to_ms(store.clock.now())  # a run publishes several times: its probes must still be new series
        self._names = (f"{run_id}-{began}-{n}" for n in itertools.count(1))
        self._halted = False

    def ready_horizon(self) -> Horizon:
        """The store's horizon, once it is known to be one that counts every sample once."""
        patience = self._patience()
        while True:
            try:
                self._store.refuse_doubling()
                return self._store.horizon()
            except UnsettledWriteError as failure:
                patience.wait(failure)

    def publish_round(self, batch: Mapping[datetime, Hour]) -> list[PublishedHour]:
        """Reconcile some neighbouring hours; where a sample is refused, each hour by itself."""
        if self._halted and self.error is not None:
            return [_unpublished(hour, len(samples), self.error) for hour, samples in batch.items()]
        try:
            before, after = self._reconciled(batch)
        except RemoteWriteError as error:
            if error.cause in OF_SAMPLES and len(batch) > 1:
                return [report for hour, samples in batch.items() for report in self.publish_round({hour: samples})]
            self._halted = error.cause not in OF_SAMPLES
            self.error = self.error or error
            return [_unpublished(hour, len(samples), error) for hour, samples in batch.items()]
        return [self._report(hour, len(samples), before, after) for hour, samples in batch.items()]

    def _report(self, hour: datetime, samples: int, before: _Difference, after: _Difference) -> PublishedHour:
        stamp = stamp_ms(hour)
        missing, pending = after.missing_by_stamp()[stamp], after.pending[stamp]
        written = before.missing_by_stamp()[stamp] - missing
        cause, reason = None, None
        if pending:
            cause, reason = "pending", f"{pending} series hold another value than the warehouse"
        elif missing:
            cause, reason = "dry_run", f"{missing} samples would be written"
        return PublishedHour(
            hour, "no" if cause else "yes", samples, written, pending, after.doubles[stamp], cause, reason
        )

    def _reconciled(self, batch: Mapping[datetime, Hour]) -> tuple[_Difference, _Difference]:
        """The differences before the first write and after the last."""
        patience = self._patience()
        before: _Difference | None = None
        while True:
            try:
                # Something that may be stored must have had its time to become readable before it counts as missing.
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

    def _difference(self, batch: Mapping[datetime, Hour]) -> _Difference:
        """Wanted against held over the union of their keys, revisions of a key added up."""
        window = Window(min(batch), max(batch) + HOUR)
        difference = _Difference()
        for metric in (*REVISED_SERIES, *DISPLAY_SERIES):
            held: dict[Key, Mapping[int, Mapping[str, float]]] = {}
            for cluster in self.clusters:
                answer = self._store.held(metric, cluster, window)
                held |= answer.values
                difference.doubles.update(answer.doubles)
            for hour, samples in batch.items():
                stamp = stamp_ms(hour)
                here = {key: revisions[stamp] for key, revisions in held.items() if stamp in revisions}
                wanted = {key: value for key, value in samples.items() if key[0] == metric}
                difference.missing += _missing(wanted, here, stamp)
                if metric in REVISED_SERIES:
                    difference.pending[stamp] += _pending(wanted, here)
        return difference

    def _write(self, samples: Iterable[Sample], probe_stamp_ms: int) -> None:
        """Hours in order across requests, series together inside one; each request carries a probe of its own."""
        ordered = sorted(samples, key=lambda sample: (sample.stamp_ms, sample.metric, sample.labels))
        for part in itertools.batched(ordered, MAX_REQUEST_SAMPLES - 1):
            pass
