"""Stores with `query_url = "none"`, which can be written to and not read: a ledger takes the reading's place."""

import math
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from pipeline.errors import RemoteWriteError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks.batches import Batch
from pipeline.sinks.held import Held
from pipeline.sinks.ledger import Ledger, ledger_path
from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.sinks.rounds import MAX_REQUEST_SAMPLES
from pipeline.sinks.stores import NOT_STORED, Store
from pipeline.window import Clock, Window, floor_hour, from_ms


class UnreadStore(Store):
    """A store of which only answers to writes are known; its horizon is the config's, else an hour."""

    def __init__(
        self,
        settings: StoreSettings,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        horizon: timedelta | None,
        ledger: Ledger,
    ) -> None:
        super().__init__(settings, http, env, clock, horizon)
        self.ledger = ledger

    @cached_property
    def _prometheus(self) -> None:
        return None

    @cached_property
    def _flags(self) -> Mapping[str, str]:
        return {}

    def resume(self) -> None:
        """Send again, unchanged, what was sent without an answer."""
        for part in self.ledger.unanswered().parts(MAX_REQUEST_SAMPLES):
            self._post(part)

    def held(self, cluster: str, window: Window) -> Held:
        """What it was sent."""
        return self.ledger.held(cluster, window)

    def totals(self, metric: str, cluster: str, window: Window) -> dict[datetime, float]:
        """What it was sent."""
        found: dict[datetime, list[float]] = defaultdict(list)
        for stamp, keys in self.held(cluster, window).values.items():
            hour = floor_hour(from_ms(stamp))
            for (name, _), revisions in keys.items():
                found[hour] += revisions.values() if name == metric else ()
        return {hour: math.fsum(values) for hour, values in found.items()}

    def has_probe(self, run: str, stamp_ms: int) -> bool:
        """A 2xx is all that there is to see."""
        del run, stamp_ms
        return True

    def send(self, batch: Batch) -> None:
        """Note, write, and note that it was taken."""
        self.ledger.begin(batch)
        self._post(batch)

    def _post(self, batch: Batch) -> None:
        try:
            super().send(batch)
        except RemoteWriteError as error:
            if not isinstance(error, UnsettledWriteError) or error.cause in NOT_STORED:
                self.ledger.refused(batch)
            if error.cause == "conflict":  # which of them cannot be read back, so it is found by halves
                raise RemoteWriteError(str(error), "duplicate") from None
            raise
        self.ledger.taken(batch)


def open_store(
    settings: StoreSettings,
    http: HttpSettings,
    env: Mapping[str, str],
    clock: Clock,
    horizon: timedelta | None,
    root: Path,
) -> Store:
    """The store of a `[[remote_write]]` entry; `root` is the warehouse that publishes to it."""
    if settings.query_url == "none":
        return UnreadStore(settings, http, env, clock, horizon, Ledger(ledger_path(root, settings.name)))
    return Store(settings, http, env, clock, horizon)
