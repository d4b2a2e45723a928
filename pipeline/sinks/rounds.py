"""One round of publishing: some hours of one store read, completed, seen readable and compared.

A store cannot overwrite: a key whose samples sum up to another value than they should gets an adjusting entry, the
difference, at the same stamp under the next `revision`. No write is repeated before a read, whatever failed: a lost
answer, a killed store and a second run all end in the same samples. Every request carries a probe, a series that is new
with it: when the probe is readable, so is the request.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from pipeline.errors import RemoteWriteError
from pipeline.sinks.remote_write import Labels, Sample, UnsettledWriteError
from pipeline.sinks.stores import DISPLAY_SERIES, PROBE, REVISED_SERIES, Held, Key, Store, equal
from pipeline.units import MS_PER_MINUTE
from pipeline.window import HOUR, Clock, Window, to_ms

Hour: TypeAlias = Mapping[Key, float]
# Why an hour is published now, which decides what may be written of it. What is not written is pending.
#   first:     never published there: what is absent.
#   between:   published before, and no milestone has passed since: nothing, it moves as a whole or not at all.
#   milestone: what is absent, and differences that are worth an entry; smaller ones count as published.
#   request:   a person asked: every difference.
Occasion: TypeAlias = Literal["first", "between", "milestone", "request"]

WORTH_RATIO = 1e-3  # of the wanted value: the least difference that is written without being asked for
STORED_DIGITS_RATIO = 1e-11  # what entries that cancel may leave: VictoriaMetrics keeps twelve digits of each
MAX_REQUEST_SAMPLES = 10_000
VISIBLE_SECONDS = 60.0  # VictoriaMetrics shows a new series about 10 s after its 204
POLL_SECONDS = 0.5
NOT_STORED = frozenset({"unreachable", "throttled"})


def stamp_ms(hour_utc: datetime) -> int:
    """Where an hour's samples lie: a minute before its end, inside every range that means this hour and no other."""
    return to_ms(hour_utc + HOUR) - MS_PER_MINUTE


@dataclass
class Difference:
    """What is to be written and what differs, by stamp.

    Attributes:
        entries: samples to write now: absent ones, and adjusting entries.
        pending: keys that differ and have to wait.
        slight: keys that differ by too little for an entry.
        doubles: identical samples found twice.
    """

    entries: dict[int, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    pending: Counter[int] = field(default_factory=Counter)
    slight: Counter[int] = field(default_factory=Counter)
    doubles: Counter[int] = field(default_factory=Counter)

    def samples(self) -> list[Sample]:
        """All entries."""
        return list(itertools.chain.from_iterable(self.entries.values()))

    def corrections(self, stamp: int) -> int:
        """Entries beside a sample that is there already."""
        return sum(dict(sample.labels).get("revision", "0") != "0" for sample in self.entries[stamp])


def _by_metric(samples: Hour) -> dict[str, dict[Key, float]]:
    """The samples of an hour by their series' name."""
    parts: dict[str, dict[Key, float]] = defaultdict(dict)
    for key, value in samples.items():
        parts[key[0]][key] = value
    return parts


def remainder(wanted: float, held: Collection[float]) -> float:
    """What must be added to samples of one key and stamp so that they sum up to `wanted`; 0 where they do."""
    if not held:
        return wanted
    rest = math.fsum([wanted, *(-value for value in held)])
    lost_in_rounding = abs(rest) <= STORED_DIGITS_RATIO * max(map(abs, held))
    return 0.0 if lost_in_rounding or equal(math.fsum(held), wanted) else rest


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
        occasions: by hour; `first` where there is none.
        dry_run: read and compare only.
    """

    def __init__(
        self,
        store: Store,
        clusters: tuple[str, ...],
        run_id: str,
        occasions: Mapping[datetime, Occasion],
        *,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._clusters = clusters
        self._occasions = occasions
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
                if difference.samples() and not self._dry_run:
                    self._write(difference.samples(), stamp_ms(max(batch)))
                    difference = self._read_back(batch)
            except UnsettledWriteError as failure:
                patience.wait(failure)
            else:
                return before, difference

    def _difference(self, batch: Mapping[datetime, Hour]) -> Difference:
        """Wanted against held over the union of their keys, the revisions of a key added up."""
        window = Window(min(batch), max(batch) + HOUR)
        by_metric = {hour: _by_metric(samples) for hour, samples in batch.items()}
        difference = Difference()
        for metric in (*REVISED_SERIES, *DISPLAY_SERIES):
            answers: list[Held] = [self._store.held(metric, cluster, window) for cluster in self._clusters]
            for hour, samples in by_metric.items():
                stamp = stamp_ms(hour)
                held = {key: at[stamp] for answer in answers for key, at in answer.values.items() if stamp in at}
                wanted = samples.get(metric, {})
                difference.doubles[stamp] += sum(answer.doubles[stamp] for answer in answers)
                if metric in DISPLAY_SERIES:
                    difference.entries[stamp] += (
                        Sample(metric, key[1], stamp, value) for key, value in wanted.items() if key not in held
                    )
                else:
                    self._compare(hour, wanted, held, difference)
        return difference

    def _compare(
        self, hour: datetime, wanted: Hour, held: Mapping[Key, Mapping[str, float]], difference: Difference
    ) -> None:
        """One metric of one hour; a key held but not wanted should add up to nothing, which it does not by itself."""
        stamp, occasion = stamp_ms(hour), self._occasions.get(hour, "first")
        for key in itertools.chain(wanted, (key for key in held if key not in wanted)):
            revisions, value = held.get(key, {}), wanted.get(key, 0.0)
            if len(revisions) == 1 and equal(next(iter(revisions.values())), value):
                continue
            rest, is_absent = remainder(value, revisions.values()), not revisions
            if not rest and not is_absent:
                continue
            is_worth_it = not abs(rest) <= WORTH_RATIO * abs(value)  # a NaN is
            may_write = {
                "first": is_absent,
                "between": False,
                "milestone": is_absent or is_worth_it,
                "request": True,
            }
            if may_write[occasion]:
                difference.entries[stamp].append(Sample(key[0], _next_labels(key, revisions), stamp, rest))
            elif is_worth_it:
                difference.pending[stamp] += 1
            else:
                difference.slight[stamp] += 1

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
            if not difference.samples():
                return difference
            seen = clock.monotonic() < ends
            clock.sleep(POLL_SECONDS)
        raise RemoteWriteError(
            f"store {self._store.name} accepted samples that cannot be read within {VISIBLE_SECONDS:.0f} s: "
            "check that query_url and url are the same server",
            "lost",
        )


def _next_labels(key: Key, held: Collection[str]) -> Labels:
    """Labels of a key's next sample: `revision` is the number of samples it holds, or the next that is free."""
    revision = next(text for n in itertools.count(len(held)) if (text := str(n)) not in held)
    return tuple(sorted((*key[1], ("revision", revision))))
