"""What a provider of grid intensity is: `fetch` asks the network and understands nothing, `parse` is pure.

Adding a provider is one file with a class of this contract, and an entry in `pipeline/providers.py`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from pipeline.settings import intensity
from pipeline.window import EPOCH, HOUR, Window

Signal: TypeAlias = Literal["average", "marginal"]
FactorType: TypeAlias = intensity.FactorType


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a provider.

    Attributes:
        zone: as the provider names it.
        start: first instant, UTC.
        end: right edge, itself outside, UTC.
        signal: `average` or `marginal`.
        factor_type: `lifecycle` or `direct`.
    """

    zone: str
    start: datetime
    end: datetime
    signal: Signal
    factor_type: FactorType

    def chunks(self, longest: timedelta) -> Iterator["Ask"]:
        """The same in pieces that one request may ask for."""
        start = self.start
        while start < self.end:
            end = min(start + longest, self.end)
            yield Ask(self.zone, start, end, self.signal, self.factor_type)
            start = end


@dataclass(frozen=True, slots=True)
class Payload:
    """One answer as it came, kept for audit where it changes anything.

    Attributes:
        ask: what it answers: rows outside its span are not taken.
        url: what was asked, without any secret.
        body: the answer, without any secret.
        fetched_utc: when it came.
    """

    ask: Ask
    url: str
    body: bytes
    fetched_utc: datetime

    @property
    def payload_id(self) -> str:
        """SHA-256 of the body, in hex: the key of `payloads`."""
        return _digest(self.body)


@lru_cache(maxsize=1)  # every row of an answer names it
def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


class Provider(Protocol):
    """One source of grid intensity, opened once a run: a login, a pace or a list of zones is kept between asks.

    Attributes:
        name: as config, rows and messages call it.
        offers: the pairs of signal and factor type that it can deliver.
    """

    name: str
    offers: frozenset[tuple[Signal, FactorType]]

    @property
    def warnings(self) -> Sequence[str]:
        """What it put beside its figures so far, each once; most never do."""
        ...

    def zone_of(self, grid_zone: str) -> str:
        """The provider's own name for a cluster's zone.

        Raises:
            ConfigError: there is none, or it must be given in the provider's table.
        """
        ...

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """The answers to an ask, one for each request that it takes, in time order.

        Raises:
            SourceError: as of `web.Web.get`; what came before stands.
        """
        ...

    def parse(self, payload: Payload) -> pa.Table:
        """What an answer says, schema INTENSITY; pure.

        Raises:
            SourceMalformed: not what the provider documents, or of another zone, unit or factor type than asked.
        """
        ...

    def check(self, grid_zone: str) -> Iterator[str]:
        """Lines on what these credentials reach, for `grid check`; one small request or two.

        Raises:
            SourceError: refused or unreachable.
        """
        ...


class FileProvider(Protocol):
    """Figures in files of the user's: read whole by each run, because nobody tells when a file changes.

    Attributes:
        name: as config, rows and messages call it.
        offers: the pairs of signal and factor type in the files.
    """

    name: str
    offers: frozenset[tuple[Signal, FactorType]]

    def zone_of(self, grid_zone: str) -> str:
        """The files' own name for a cluster's zone."""
        ...

    def knows(self, zone: str) -> bool:
        """Whether the files have any figure of that zone.

        Raises:
            ConfigError: a file is not what its format says: which, which line, what to write instead.
        """
        ...

    def read(self, zone: str, window: Window, factor_type: FactorType, fetched_utc: datetime) -> pa.Table:
        """All figures that touch a window, schema INTENSITY.

        Raises:
            ConfigError: as `knows`.
        """
        ...


class Forecaster(Protocol):
    """A provider that also looks ahead."""

    def fetch_forecast(self, zone: str, signal: Signal, factor_type: FactorType) -> Payload:
        """Its newest forecast; the payload's ask spans what was asked for."""
        ...

    def parse_forecast(self, payload: Payload) -> pa.Table:
        """What it says, schema FORECASTS; pure."""
        ...


def whole_hours(ask: Ask) -> Ask:
    """The ask widened to whole hours, for providers that speak in hours."""
    start = ask.start - (ask.start - EPOCH) % HOUR
    end = ask.end + (EPOCH - ask.end) % HOUR
    return Ask(ask.zone, start, end, ask.signal, ask.factor_type)
