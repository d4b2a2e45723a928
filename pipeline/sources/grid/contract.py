"""What a provider of grid intensity is: `fetch` asks the network and understands nothing, `parse` is pure.

Adding a provider is one file with a class of this contract, and an entry in `pipeline/providers.py`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SourceMalformed
from pipeline.settings import intensity
from pipeline.tables import FORECASTS, INTENSITY, TIMESTAMP
from pipeline.window import EPOCH, HOUR, Window

Signal: TypeAlias = Literal["average", "marginal"]
FactorType: TypeAlias = intensity.FactorType

SHORTEST_STEP = timedelta(minutes=5)
PLAUSIBLE_G_PER_KWH = 2_000.0  # above any grid, marginal included: then the unit is lb/MWh or worse


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


@dataclass(frozen=True, slots=True)
class Step:
    """One interval of a provider's answer; None is a withdrawn figure, not zero."""

    start_utc: datetime
    end_utc: datetime
    g_per_kwh: float | None
    quality: str
    updated_utc: datetime | None = None
    model: str | None = None


def vintages(payload: Payload, provider: str, basis: str, steps: list[Step]) -> pa.Table:
    """A provider's steps as INTENSITY rows in time order, those that touch the payload's span only.

    Of two figures for one interval the one updated last counts, then the better quality, then the later in the answer.

    Raises:
        SourceMalformed: a step that is not whole five minutes or overlaps another, or a value that is no intensity.
    """
    rows = [
        _row(payload, provider, step)
        | {"basis": basis, "quality": step.quality, "updated_utc": step.updated_utc, "model": step.model}
        for step in _in_order(payload, provider, steps)
    ]
    return pa.Table.from_pylist(rows, INTENSITY)


def forecasts(payload: Payload, provider: str, issued_utc: datetime | None, steps: list[Step]) -> pa.Table:
    """A provider's outlook as FORECASTS rows, ordered and checked as `vintages`; what is null says nothing.

    Without a time of issue it is as old as its answer.
    """
    rows = [
        _row(payload, provider, step) | {"issued_utc": issued_utc or payload.fetched_utc}
        for step in _in_order(payload, provider, steps)
        if step.g_per_kwh is not None
    ]
    return pa.Table.from_pylist(rows, FORECASTS)


def _row(payload: Payload, provider: str, step: Step) -> dict[str, object]:
    """What a vintage and a forecast have in common."""
    ask = payload.ask
    return {
        "zone": ask.zone,
        "start_utc": step.start_utc,
        "end_utc": step.end_utc,
        "carbon_intensity_g_per_kwh": step.g_per_kwh,
        "provider": provider,
        "signal": ask.signal,
        "factor_type": ask.factor_type,
        "fetched_utc": payload.fetched_utc,
        "payload_id": payload.payload_id,
    }


def _in_order(payload: Payload, provider: str, steps: list[Step]) -> list[Step]:
    ask = payload.ask
    best: dict[tuple[datetime, datetime], Step] = {}
    for step in steps:
        if step.start_utc < ask.end and step.end_utc > ask.start:
            _check(step, provider)
            span = step.start_utc, step.end_utc
            best[span] = _newer(best[span], step) if span in best else step
    ordered = [best[span] for span in sorted(best)]
    for one, following in pairwise(ordered):
        if following.start_utc < one.end_utc:
            raise SourceMalformed(
                f"{provider} gives two figures of different length at {following.start_utc:%FT%H:%MZ}"
            )
    return ordered


QUALITY_ORDER = ("measured", "estimated", "forecast")


def _age(step: Step) -> tuple[datetime, int]:
    return step.updated_utc or EPOCH, -QUALITY_ORDER.index(step.quality)


def _newer(known: Step, step: Step) -> Step:
    return step if _age(step) >= _age(known) else known


def _check(step: Step, provider: str) -> None:
    where = f"{provider} at {step.start_utc:%FT%H:%MZ}"
    if step.end_utc <= step.start_utc or any((edge - EPOCH) % SHORTEST_STEP for edge in (step.start_utc, step.end_utc)):
        raise SourceMalformed(f"{where}: a step to {step.end_utc:%FT%H:%MZ} is not of whole five minutes")
    value = step.g_per_kwh
    if value is not None and not 0 <= value <= PLAUSIBLE_G_PER_KWH:
        raise SourceMalformed(f"{where}: {value!r} is no intensity in g/kWh (0 to {PLAUSIBLE_G_PER_KWH:g})")


def whole_hours(ask: Ask) -> Ask:
    """The ask widened to whole hours, for providers that speak in hours."""
    start = ask.start - (ask.start - EPOCH) % HOUR
    end = ask.end + (EPOCH - ask.end) % HOUR
    return Ask(ask.zone, start, end, ask.signal, ask.factor_type)


def touching(rows: pa.Table, zone: str, window: Window) -> pa.Table:
    """The rows of a zone that touch a window."""
    begins = pc.less(rows["start_utc"], pa.scalar(window.end, TIMESTAMP))
    ends = pc.greater(rows["end_utc"], pa.scalar(window.start, TIMESTAMP))
    return rows.filter(pc.and_(pc.and_(begins, ends), pc.equal(rows["zone"], pa.scalar(zone))))
