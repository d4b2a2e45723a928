"""Great Britain's Carbon Intensity API of NESO, without a key: provider `neso`.

Average, direct CO2 only (neither lifecycle nor other gases), consumption: imports and transmission losses are in it.
`actual` is itself an estimate, made once the half-hour is over, so it is `estimated`; where it is null, and for
regions, which have none, the forecast stands in as `forecast`. A forecast is overwritten every half-hour and carries
no time of issue. Not Northern Ireland.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import NesoTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.steps import Step, forecasts, vintages
from pipeline.sources.grid.web import Web, document, figure, first_line, malformed, moment
from pipeline.window import EPOCH, HOUR, Clock, floor_hour

NAME = "neso"
NATIONAL = "GB"
REGIONS = {str(number) for number in range(1, 18)}
BASIS = "consumption"
MINUTE = "%Y-%m-%dT%H:%MZ"
HALF_HOUR = timedelta(minutes=30)
LONGEST = timedelta(days=13)  # documented are 14 days, and its own refusal says "less than 14 days"
HORIZON = timedelta(hours=48)
LEAST_SECONDS = 1.0  # no limit is published, and heavy use may be blocked


class Neso:
    """See `contract.Provider` and `contract.Forecaster`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "direct")})

    def __init__(self, table: NesoTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:  # noqa: ARG002 # no secrets
        self._table, self._clock = table, clock
        self._web = Web(NAME, http, clock, LEAST_SECONDS)

    def zone_of(self, grid_zone: str) -> str:
        """`GB`, or the number of a region."""
        zone = self._table.zone or grid_zone
        if zone == NATIONAL or zone in REGIONS:
            return zone
        raise ConfigError(
            f"{NAME} knows the zone GB and its regions 1 to 17, not {zone!r}: it is Great Britain only, without "
            f"Northern Ireland; where that is right, set zone in [intensity.{NAME}]"
        )

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """Half-hours by ranges of UTC; the routes by date go by British time."""
        for piece in whole_hours(ask).chunks(LONGEST):
            yield self._get(piece, f"{piece.end:{MINUTE}}")

    def parse(self, payload: Payload) -> pa.Table:
        """The half-hours of a range; the one that ends as it begins, which always comes first, is not taken."""
        steps = [
            Step(start, end, expected if actual is None else actual, "forecast" if actual is None else "estimated")
            for start, end, actual, expected in _half_hours(payload)
        ]
        return vintages(payload, NAME, BASIS, steps)

    def fetch_forecast(self, zone: str, signal: Signal, factor_type: FactorType) -> Payload:
        """The newest outlook, 48 hours from this half-hour on."""
        now = self._clock.now()
        start = now - (now - EPOCH) % HALF_HOUR
        return self._get(Ask(zone, start, start + HORIZON, signal, factor_type), "fw48h")

    def parse_forecast(self, payload: Payload) -> pa.Table:
        """What it expects, as old as the answer."""
        steps = [Step(start, end, expected, "forecast") for start, end, _, expected in _half_hours(payload)]
        return forecasts(payload, NAME, None, steps)

    def check(self, grid_zone: str) -> Iterator[str]:
        """The figures of this hour and the last."""
        zone, this_hour = self.zone_of(grid_zone), floor_hour(self._clock.now())
        ask = Ask(zone, this_hour - HOUR, this_hour + HOUR, "average", "direct")
        payload = self._get(ask, f"{ask.end:{MINUTE}}")
        yield f"{zone} ({_place(payload).get('shortname', 'Great Britain')}): direct CO2, no key needed"
        for row in self.parse(payload).to_pylist():
            value = row["carbon_intensity_g_per_kwh"]
            shown = "no figure" if value is None else f"{value:g} g/kWh, {row['quality']}"
            yield f"{zone} at {row['start_utc']:{MINUTE}}: {shown}"

    def _get(self, ask: Ask, until: str) -> Payload:
        span = f"intensity/{ask.start:{MINUTE}}/{until}"
        path = span if ask.zone == NATIONAL else f"regional/{span}/regionid/{ask.zone}"
        reply = self._web.get(f"{self._table.base_url}/{path}")
        return Payload(ask, reply.url, reply.body, self._clock.now())


def _place(payload: Payload) -> dict[str, Any]:
    """What holds the half-hours as `data`: for a region itself, with its number, else the whole answer."""
    answer, zone = document(NAME, payload.body), payload.ask.zone
    if zone != NATIONAL and isinstance(answer, dict):
        answer = answer.get("data")
        answer = answer[0] if isinstance(answer, list) and len(answer) == 1 else answer
    if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
        raise malformed(NAME, f"{first_line(payload.body)!r} where it documents half-hours of {zone}")
    if zone != NATIONAL and str(answer.get("regionid")) != zone:
        raise malformed(NAME, f"for the region {answer.get('regionid')!r}, though {zone!r} was asked")
    return answer


def _half_hours(payload: Payload) -> Iterator[tuple[datetime, datetime, float | None, float | None]]:
    """Start, end, actual and expected figure of each; regions have no actual."""
    for row in _place(payload)["data"]:
        intensity = row.get("intensity") if isinstance(row, dict) else None
        if not isinstance(intensity, dict) or "forecast" not in intensity:
            raise malformed(NAME, f"{row!r} where it documents a half-hour with its intensity")
        start, end = moment(NAME, row.get("from")), moment(NAME, row.get("to"))
        yield start, end, figure(NAME, intensity.get("actual")), figure(NAME, intensity["forecast"])
