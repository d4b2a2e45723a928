"""One round of publishing: some hours of one store read, completed, seen readable and compared.

No write is repeated before a read, whatever failed: a lost answer, a killed store and a second run all end in the same
samples. Every request carries a probe, a series that is new with it: when it is readable, the request has arrived. A
store that was asked the same before may answer as it did for some seconds more, so reads are repeated.
"""

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

from pipeline.errors import RemoteWriteError
from pipeline.sinks.batches import Batch, Sample
from pipeline.sinks.differences import Difference, Hour, Occasion, difference, stamp_ms
from pipeline.sinks.held import no_collection
from pipeline.sinks.patience import Patience
from pipeline.sinks.published_series import PROBE
from pipeline.sinks.refusals import Refusal, Refusals
from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.sinks.stores import NOT_STORED, Store
from pipeline.window import HOUR, Window, to_ms

MAX_REQUEST_SAMPLES = 20_000
VISIBLE_SECONDS = 60.0  # VictoriaMetrics shows a new series about 10 s after its 204
POLL_SECONDS = 0.5


class Settled(NamedTuple):
    """A round: what the store lacked before, what differs now, and which of that it has refused."""

    before: Difference
    after: Difference
    refusals: list[Refusal]


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
        self._refusals = Refusals()
        began = to_ms(store.clock.now())  # one run publishes several times, and each of its probes must be a new series
        self._names: Iterator[str] = (f"{run_id}-{began}-{n}" for n in itertools.count(1))

    def reconcile(self, batch: Mapping[datetime, Hour]) -> Settled:
        """Make the store hold these hours, in time order and all within 24 h.

        Raises:
            UnsettledWriteError: still failing when `http.retry_seconds` were over.
            RemoteWriteError: it takes nothing, or `lost`: answered with 2xx but not readable within a minute.
        """
        patience = Patience(self._store.clock, self._store.http.retry_seconds)
        before: Difference | None = None
        while True:
            try:
                # What may be stored must have had its time to become readable before it counts as missing.
                self._await_probe(min(VISIBLE_SECONDS, patience.left() / 2))
                if not self._dry_run:
                    self._store.resume()
                now = self._difference(batch)
                before = before or now
                if now.points and not self._dry_run:
                    self._write(now, stamp_ms(max(batch)))
                    now = self._read_back(batch)
            except UnsettledWriteError as failure:
                patience.wait(failure)
            else:
                return Settled(before, now, self._refusals.known(now))

    def _difference(self, batch: Mapping[datetime, Hour]) -> Difference:
        window = Window(min(batch), max(batch) + HOUR)
        with no_collection():
            answers = (self._store.held(cluster, window) for cluster in self._clusters)
            return difference(batch, answers, self._occasions)

    def _write(self, missing: Difference, probe_stamp_ms: int) -> None:
        """Series by series: a receiver's work is with series more than with samples."""
        for part in self._refusals.left(missing).parts(MAX_REQUEST_SAMPLES - 1):
            self._refusals.offer(part, lambda batch: self._send(batch, probe_stamp_ms))

    def _send(self, batch: Batch, probe_stamp_ms: int) -> None:
        earlier, self._probe = self._probe, Sample(PROBE, (("run", next(self._names)),), probe_stamp_ms, 1.0)
        try:
            self._store.send(batch.beside(self._probe))
        except RemoteWriteError as error:
            is_lost = isinstance(error, UnsettledWriteError) and error.cause not in NOT_STORED
            if not is_lost and error.cause != "conflict":  # which keeps what does not conflict
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
        seen, lost = self._await_probe(VISIBLE_SECONDS), "no probe"
        while seen:
            now = self._difference(batch)
            left = self._refusals.left(now)
            if not len(left):
                return now
            lost = f"{len(left):,} samples, among them {left.example()}"
            seen = clock.monotonic() < ends
            clock.sleep(POLL_SECONDS)
        raise RemoteWriteError(
            f"store {self._store.name} accepted samples that cannot be read within {VISIBLE_SECONDS:.0f} s ({lost}): "
            "check that query_url and url are the same server",
            "lost",
        )
