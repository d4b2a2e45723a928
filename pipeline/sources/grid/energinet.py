"""Energinet's Energi Data Service, Denmark west and east (DK1, DK2): provider `energinet`.

g CO2 per kWh CONSUMED in Denmark, exchange with neighbours included, of the fuel burnt: direct, CO2 only. Heat of
combined plants is taken off by the 125 % method. A figure is of the five minutes that begin at `Minutes5UTC`, which is
UTC though it names no zone. Energinet calls it near up-to-date, not metered: quality `estimated`.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import EnerginetTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.steps import Step, forecasts, vintages
from pipeline.sources.grid.web import NothingThere, Web, document, figure, first_line, malformed, moment
from pipeline.window import HOUR, Clock, floor_hour

NAME = "energinet"
STEP = timedelta(minutes=5)
HISTORY, OUTLOOK = "CO2Emis", "CO2EmisProg"
LONGEST = timedelta(days=31)
HORIZON = timedelta(hours=48)  # at least nine hours are promised
LEAST_SECONDS = 1.0
ZONES = {"DK-DK1": "DK1", "DK-DK2": "DK2"}


class Energinet:
    """See `contract.Provider` and `contract.Forecaster`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "direct")})

    def __init__(self, table: EnerginetTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:  # noqa: ARG002 # as every provider is opened
        self._table, self._clock = table, clock
        self._web = Web(NAME, http, clock, LEAST_SECONDS)

    def zone_of(self, grid_zone: str) -> str:
        """The price area."""
        zone = self._table.zone or ZONES.get(grid_zone, grid_zone)
        if zone not in ZONES.values():
            raise ConfigError(
                f"{NAME} has only Denmark, DK-DK1 and DK-DK2, not {zone!r}: "
                f"set zone in [intensity.{NAME}] to DK1 (west) or DK2 (east)"
            )
        return zone

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """One answer a month."""
        for piece in whole_hours(ask).chunks(LONGEST):
            yield self._get(HISTORY, piece)

    def parse(self, payload: Payload) -> pa.Table:
        """The steps that are over."""
        steps = [step for step in _steps(payload, "estimated") if step.end_utc <= payload.fetched_utc]
        return vintages(payload, NAME, "consumption", steps)

    def fetch_forecast(self, zone: str, signal: Signal, factor_type: FactorType) -> Payload:
        """The outlook of the production schedules, from this hour on."""
        this_hour = floor_hour(self._clock.now())
        return self._get(OUTLOOK, Ask(zone, this_hour, this_hour + HORIZON, signal, factor_type))

    def parse_forecast(self, payload: Payload) -> pa.Table:
        """What it says; no time of issue is given."""
        return forecasts(payload, NAME, None, _steps(payload, "forecast"))

    def check(self, grid_zone: str) -> Iterator[str]:
        """The newest figure."""
        zone, now = self.zone_of(grid_zone), floor_hour(self._clock.now())
        payload = self._get(HISTORY, Ask(zone, now - 6 * HOUR, now + HOUR, "average", "direct"))
        steps = [step for step in _steps(payload, "estimated") if step.g_per_kwh is not None]
        if not steps:
            raise NothingThere(f"{NAME} has no figure of {zone} in the last six hours")
        newest = max(steps, key=lambda step: step.start_utc)
        yield f"{zone} at {newest.start_utc:%FT%H:%MZ}: {newest.g_per_kwh:g} g/kWh direct"

    def _get(self, dataset: str, ask: Ask) -> Payload:
        params = {
            "start": f"{ask.start:%FT%H:%M}", "end": f"{ask.end:%FT%H:%M}", "timezone": "UTC",  # else Danish time
            "filter": f'{{"PriceArea":["{ask.zone}"]}}', "sort": "Minutes5UTC ASC", "limit": "0",  # 0: all
        }  # fmt: skip
        reply = self._web.get(f"{self._table.base_url}/dataset/{dataset}", params)
        return Payload(ask, reply.url, reply.body, self._clock.now())


def _steps(payload: Payload, quality: str) -> list[Step]:
    answer = document(NAME, payload.body)
    rows = answer.get("records") if isinstance(answer, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise malformed(NAME, f"{first_line(payload.body)!r} where it documents records")
    if answer.get("total", len(rows)) != len(rows):
        raise malformed(NAME, f"{len(rows)} of {answer['total']} records, though all were asked")
    return [_step(row, payload.ask.zone, quality) for row in rows]


def _step(row: Mapping[str, Any], zone: str, quality: str) -> Step:
    if row.get("PriceArea") != zone:
        raise malformed(NAME, f"for the price area {row.get('PriceArea')!r}, though {zone!r} was asked")
    if "CO2Emission" not in row:
        raise malformed(NAME, f"a record without CO2Emission: {sorted(row)}")
    start = moment(NAME, f"{str(row.get('Minutes5UTC')).removesuffix('Z')}+00:00")
    return Step(start, start + STEP, figure(NAME, row["CO2Emission"]), quality)
