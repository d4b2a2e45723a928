"""Publishing is a reconciliation: read what a store holds, write what it lacks, see it readable, compare.

A key whose samples sum up to another value than they should gets an adjusting entry where the hour's occasion allows
one; else it is pending: counted, reported, and left as it is.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from pipeline.errors import RemoteWriteError, SchemaError
from pipeline.sinks.differences import WORTH_RATIO, Hour, Occasion, stamp_ms
from pipeline.sinks.horizons import Horizon
from pipeline.sinks.patience import Patience
from pipeline.sinks.published_series import DISPLAY_SERIES, REVISED_SERIES
from pipeline.sinks.refusals import OF_SAMPLES
from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.sinks.rounds import Rounds, Settled
from pipeline.sinks.stores import Store
from pipeline.window import to_ms

State: TypeAlias = Literal["yes", "no", "beyond_horizon"]

MAX_ROUND = timedelta(hours=24)
MAX_ROUND_KEYS = 250_000  # bounds memory: a day of a large cluster is read in several rounds
# Of a question, not of the store: fewer hours at a time may be answered.
TOO_MUCH = frozenset({"too_large", "rejected"})


@dataclass(frozen=True)
class PublishedHour:
    """What became of one hour in one store.

    Attributes:
        hour_utc: left edge.
        state: `yes`: the store holds what it should, but for what `reason` says; `no`: it does not (yet);
            `beyond_horizon`: never sent.
        samples: samples the hour should have there.
        written: samples that this call added.
        corrections: those of them that stand beside an earlier sample of their key.
        pending: keys whose held sum differs from the wanted value.
        doubles: identical samples found twice, each counted once.
        cause: why not `yes`: a cause of RemoteWriteError, `pending`, `dry_run`; null otherwise.
        reason: the same in one line, for people; of `yes`: what differs too little to be written.
    """

    hour_utc: datetime
    state: State
    samples: int
    written: int = 0
    corrections: int = 0
    pending: int = 0
    doubles: int = 0
    cause: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PublishReport:
    """What became of all hours in one store; `error` is the first failure, to be raised once all else is done."""

    store: str
    hours: tuple[PublishedHour, ...]
    horizon: Horizon | None
    error: RemoteWriteError | None

    @property
    def written(self) -> int:
        """Samples added."""
        return sum(hour.written for hour in self.hours)

    @property
    def corrections(self) -> int:
        """Samples added beside an earlier one of their key."""
        return sum(hour.corrections for hour in self.hours)

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
    store: Store,
    wanted: Mapping[datetime, Hour],
    clusters: Collection[str],
    run_id: str,
    occasions: Mapping[datetime, Occasion] | None = None,
    *,
    dry_run: bool = False,
) -> PublishReport:
    """Make `store` hold the wanted samples of each hour, oldest first.

    Args:
        store: the receiver; whoever calls holds its lock, for there is one publisher a store.
        wanted: hour to samples (`transforms.series.hour_series`, merged over `clusters`); each hour is looked up once.
        clusters: every cluster the hours are about. What the store holds of them at these hours and `wanted` lacks is
            corrected to nothing, or pending, too; other clusters are never looked at.
        run_id: names the probe series.
        occasions: what may be written of an hour; `first` where there is none.
        dry_run: read and compare only.

    Raises:
        SchemaError: a series that is not one of design section 8, or of a cluster not in `clusters`.
        ConfigError: a secret that the config names is not there. Failures of the store are in the report, not raised.
    """
    hours = sorted(wanted)
    try:
        horizon = _horizon(store)
    except RemoteWriteError as error:
        return PublishReport(
            store.name, tuple(_unpublished(hour, len(wanted[hour]), error) for hour in hours), None, error
        )
    oldest_ms = to_ms(store.clock.now()) - horizon.length // timedelta(milliseconds=1)
    beyond = [hour for hour in hours if stamp_ms(hour) < oldest_ms]
    publication = _Publication(Rounds(store, tuple(sorted(clusters)), run_id, occasions or {}, dry_run=dry_run))
    for batch in _batches(hours[len(beyond) :], wanted, clusters):
        publication.take(batch)
    old = (
        PublishedHour(h, "beyond_horizon", len(wanted[h]), cause="beyond_horizon", reason=_line(horizon))
        for h in beyond
    )
    return PublishReport(store.name, (*old, *publication.hours), horizon, publication.error)


def _horizon(store: Store) -> Horizon:
    """The store's horizon, once it is known to be one that counts every sample once."""
    patience = Patience(store.clock, store.http.retry_seconds)
    while True:
        try:
            store.refuse_doubling()
            return store.horizon()
        except UnsettledWriteError as failure:
            patience.wait(failure)


def _line(horizon: Horizon) -> str:
    return f"older than the store's horizon ({horizon.explanation})" + (f": {horizon.advice}" if horizon.advice else "")


def _unpublished(hour_utc: datetime, samples: int, error: RemoteWriteError) -> PublishedHour:
    return PublishedHour(hour_utc, "no", samples, cause=error.cause, reason=str(error))


def _batches(
    hours: Sequence[datetime], wanted: Mapping[datetime, Hour], clusters: Collection[str]
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


def _check(samples: Hour, clusters: Collection[str]) -> None:
    """A key that cannot be found again under its own labels would be written anew in every run."""
    shapes = ((metric, next(zip(*labels, strict=True)), labels[0][1]) for metric, labels in samples)
    for metric, names, cluster in dict.fromkeys(shapes):
        if names != (REVISED_SERIES.get(metric) or DISPLAY_SERIES.get(metric)):
            raise SchemaError(f"{metric} with labels {', '.join(names)} is not a published series")
        if cluster not in clusters:
            raise SchemaError(f"{metric} is of cluster {cluster!r}, which is not being published")


class _Publication:
    """The hours of one call of `publish` as they are settled, and the first error among them."""

    def __init__(self, rounds: Rounds) -> None:
        self.hours: list[PublishedHour] = []
        self.error: RemoteWriteError | None = None
        self._rounds = rounds
        self._halted: RemoteWriteError | None = None

    def take(self, batch: Mapping[datetime, Hour]) -> None:
        """Reconcile some neighbouring hours; where that is too much to ask for, each hour by itself."""
        try:
            if self._halted is not None:
                raise self._halted
            settled = self._rounds.reconcile(batch)
        except RemoteWriteError as error:
            if error.cause in TOO_MUCH and len(batch) > 1:
                for hour, samples in batch.items():
                    self.take({hour: samples})
                return
            self.error = self.error or error
            if error.cause not in OF_SAMPLES:
                self._halted = error  # the store itself: later hours would fare no better, and would break the order
            self.hours += (_unpublished(hour, len(samples), error) for hour, samples in batch.items())
        else:
            self.hours += (_settled(hour, len(samples), settled) for hour, samples in batch.items())
            if settled.refusals:
                self.error = self.error or settled.refusals[0].error


def _settled(hour: datetime, samples: int, settled: Settled) -> PublishedHour:
    stamp, (before, after, refusals) = stamp_ms(hour), settled
    refused = [refusal for refusal in refusals if refusal.stamp_ms == stamp]
    unwritten, pending, slight = after.missing[stamp], after.pending[stamp], after.slight[stamp]
    cause, reason = None, None
    if refused:
        first = refused[0]
        others = f" and {len(refused) - 1:,} more" if len(refused) > 1 else ""
        cause, reason = first.error.cause, f"refused: {first}{others} ({first.error})"
    elif pending:
        cause, reason = "pending", f"{pending} series hold another value than the warehouse"
    elif unwritten:
        cause, reason = "dry_run", f"{unwritten} samples would be written"
    elif slight:
        reason = f"{slight} series differ from the warehouse by at most {WORTH_RATIO:.1%}"
    return PublishedHour(
        hour_utc=hour,
        state="no" if cause else "yes",
        samples=samples,
        written=before.missing[stamp] - unwritten,
        corrections=before.corrections[stamp] - after.corrections[stamp],
        pending=pending,
        doubles=after.doubles[stamp],
        cause=cause,
        reason=reason,
    )
