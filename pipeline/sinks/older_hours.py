"""Hours beyond a store's horizon, by block sets: what it lacks goes into one, and is read back once it is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from pipeline.errors import CarbonEtlError
from pipeline.sinks.batches import Batch
from pipeline.sinks.block_sets import BlockSet, BlockSets
from pipeline.sinks.differences import Difference, Hour, Occasion, difference, stamp_ms
from pipeline.sinks.held import equal
from pipeline.sinks.publish import PublishedHour
from pipeline.sinks.stores import Store
from pipeline.window import HOUR, Window, floor_hour, from_ms

BLOCK_AGE = timedelta(hours=3)  # promtool: blocks of the last three hours may collide with the head


@dataclass
class OlderHours:
    """What becomes of hours that a store does not take any more.

    Attributes:
        store: the receiver, which can be read.
        root: the warehouse, where its block sets lie.
        cluster: whose hours.
        occasions: what may be written of an hour; `first` where there is none.
        run_id: names new sets.
        dry_run: read and compare only.
        error: the first failure, once all else is done.
    """

    store: Store
    root: Path
    cluster: str
    occasions: Mapping[datetime, Occasion]
    run_id: str
    dry_run: bool = False
    error: CarbonEtlError | None = None

    @property
    def sets(self) -> BlockSets:
        """Of that store."""
        return BlockSets(self.root, self.store.settings)

    def settle(self, hours: Sequence[PublishedHour], wanted: Mapping[datetime, Hour]) -> tuple[PublishedHour, ...]:
        """The same hours, oldest first; of those beyond the horizon whether the store shows them, or their set."""
        beyond = [told for told in hours if told.state == "beyond_horizon"]
        try:
            waiting = self._waiting()
            found: list[PublishedHour] = []
            for _, of_day in groupby(beyond, key=lambda told: told.hour_utc.date()):
                found += self._day(list(of_day), wanted, waiting)
        except CarbonEtlError as error:
            self.error = error
            return tuple(hours)
        return (*found, *(told for told in hours if told.state != "beyond_horizon"))

    def _waiting(self) -> dict[datetime, BlockSet]:
        """The hours of sets that cannot be read yet; sets that can are done."""
        waiting: dict[datetime, BlockSet] = {}
        for one in self.sets.pending(self.cluster):
            batch = one.batch()
            if self._shows(batch):
                if not self.dry_run:
                    one.discard()
            else:
                self._load(one)
                waiting |= dict.fromkeys((floor_hour(from_ms(stamp)) for stamp in set(batch.stamps_ms.tolist())), one)
        return waiting

    def _shows(self, batch: Batch) -> bool:
        """Whether the store holds every sample of a set, which is of one day."""
        first, last = (floor_hour(from_ms(int(stamp))) for stamp in (batch.stamps_ms.min(), batch.stamps_ms.max()))
        held = self.store.held(self.cluster, Window(first, last + HOUR))
        for metric, labels, stamp, value in batch.samples():
            key = metric, tuple(pair for pair in labels if pair[0] != "revision")
            shown = held.values.get(stamp, {}).get(key, {}).get(dict(labels).get("revision", ""))
            if shown is None or not equal(shown, value):
                return False
        return True

    def _day(
        self, hours: list[PublishedHour], wanted: Mapping[datetime, Hour], waiting: dict[datetime, BlockSet]
    ) -> Iterator[PublishedHour]:
        oldest, newest = self._reach()
        due = {
            told.hour_utc: wanted[told.hour_utc]
            for told in hours
            if oldest <= told.hour_utc <= newest and told.hour_utc not in waiting
        }
        lacks = self._lacks(due)
        if lacks.points and not self.dry_run:
            name = f"{self.cluster}--{min(due):%Y-%m-%d}-{self.run_id}"
            made = self.sets.make(name, Batch.of_points(lacks.points))
            self._load(made)
            waiting = waiting | dict.fromkeys((hour for hour in due if lacks.missing[stamp_ms(hour)]), made)
        for told in hours:
            yield _told(told, waiting.get(told.hour_utc), lacks if told.hour_utc in due else None)

    def _reach(self) -> tuple[datetime, datetime]:
        """The oldest hour that the store would keep, and the newest that goes into a block."""
        now, kept = self.store.clock.now(), self.store.horizon().kept
        oldest = datetime.min.replace(tzinfo=now.tzinfo) if kept is None else now - kept
        return oldest, now - BLOCK_AGE - HOUR

    def _lacks(self, due: Mapping[datetime, Hour]) -> Difference:
        if not due:
            return Difference()
        held = self.store.held(self.cluster, Window(min(due), max(due) + HOUR))
        return difference(due, [held], self.occasions)

    def _load(self, one: BlockSet) -> None:
        if self.dry_run:
            return
        try:
            one.load(self.store.env)
        except CarbonEtlError as error:
            self.error = self.error or error


def _told(told: PublishedHour, waiting: BlockSet | None, lacks: Difference | None) -> PublishedHour:
    stamp = stamp_ms(told.hour_utc)
    if waiting is not None:
        return PublishedHour(told.hour_utc, told.state, told.samples, cause=told.cause, reason=waiting.line())
    if lacks is None or lacks.missing[stamp]:
        return told
    if pending := lacks.pending[stamp]:
        reason = f"{pending} series hold another value than the warehouse"
        return PublishedHour(told.hour_utc, "no", told.samples, pending=pending, cause="pending", reason=reason)
    return PublishedHour(told.hour_utc, "yes", told.samples, doubles=lacks.doubles[stamp])
