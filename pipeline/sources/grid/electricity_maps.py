"""Electricity Maps, API v3 and v4, which its base URL tells apart: provider `electricity_maps`.

Average, location-based intensity in g CO2e/kWh by zone; `datetime` is the start of a step of the asked granularity.
What a token may ask stands in `/zones`. Without `past-range` (free keys) only `history`, the last 24 hours, is left:
called at least once in that time it still builds a full series, but nothing older.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.settings import HttpSettings
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.electricity_maps_access import NAME, Access
from pipeline.sources.grid.steps import Step, forecasts, vintages
from pipeline.sources.grid.web import NotInPlan, document, figure, first_line, malformed, moment
from pipeline.sources.wording import line
from pipeline.window import HOUR, Clock, floor_hour

STEPS = {"hourly": HOUR, "15_minutes": timedelta(minutes=15), "5_minutes": timedelta(minutes=5)}
LONGEST = {"hourly": timedelta(days=10), "15_minutes": timedelta(days=3), "5_minutes": timedelta(days=1)}
HISTORY = timedelta(hours=24)
HORIZON = timedelta(hours=72)
FREE_KEY = (
    "with a free key run at least once every 24 h, so that the stored history has no hole; "
    "older hours need a plan with past-range, or the portal's files (electricity_maps_csv)"
)


class ElectricityMaps:
    """See `contract.Provider` and `contract.Forecaster`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "lifecycle"), ("average", "direct")})

    def __init__(self, table: ElectricityMapsTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self._table, self._clock, self._step = table, clock, STEPS[table.granularity]
        self._access = Access(table, http, env, clock)

    def zone_of(self, grid_zone: str) -> str:
        """The cluster's own zone: it is named as here; whether it exists `/zones` says."""
        return self._table.zone or grid_zone

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """By `past-range` if the token may, else what of the ask lies in the last 24 h, else in this hour."""
        wide, allowed = whole_hours(ask), self._access.temporalities(ask.zone)
        if "past-range" in allowed:
            for piece in wide.chunks(LONGEST[self._table.granularity]):
                yield self._get("past-range", piece, start=f"{piece.start:%FT%TZ}", end=f"{piece.end:%FT%TZ}")
            return
        this_hour = floor_hour(self._clock.now())
        oldest = {"history": this_hour - HISTORY, "latest": this_hour}
        temporality = next((t for t in oldest if t in allowed), None)
        reach = oldest[temporality] if temporality else this_hour + HOUR
        start, end = max(wide.start, reach), min(wide.end, this_hour + HOUR)
        if temporality and start < end:
            yield self._get(temporality, Ask(ask.zone, start, end, ask.signal, ask.factor_type))
        if wide.start < reach:
            raise NotInPlan(
                f"{NAME}: the token's plan has {', '.join(allowed) or 'nothing'} of {ask.zone}, "
                f"so no hour before {reach:%FT%H:%MZ}: {FREE_KEY}"
            )

    def parse(self, payload: Payload) -> pa.Table:
        """The rows of a past-range, a history or a single step.

        A step that had not begun when it was fetched is `forecast`, one that had not ended `estimated`: rows are made
        days ahead. It is `measured` only where they say that it is not estimated, and changed it after it began.
        """
        return vintages(payload, NAME, self._basis, list(self._steps(payload)))

    def fetch_forecast(self, zone: str, signal: Signal, factor_type: FactorType) -> Payload:
        """The newest outlook, this hour and 72 more."""
        this_hour = floor_hour(self._clock.now())
        ask = Ask(zone, this_hour, this_hour + HORIZON + HOUR, signal, factor_type)
        return self._get("forecast", ask, horizonHours=str(HORIZON // HOUR))

    def parse_forecast(self, payload: Payload) -> pa.Table:
        """What it says, issued at `updatedAt`."""
        answer, rows = self._rows(payload)
        steps = [Step(start, start + self._step, value, "forecast") for start, value in map(_start_and_value, rows)]
        return forecasts(payload, NAME, _updated(answer), steps)

    def check(self, grid_zone: str) -> Iterator[str]:
        """What the token may ask of the zone, and its newest figure."""
        zone = self.zone_of(grid_zone)
        allowed = self._access.temporalities(zone)
        yield f"{zone} ({self._access.title(zone)}): the token may ask {', '.join(allowed)}"
        if "past-range" not in allowed:
            yield FREE_KEY
        if "latest" in allowed:
            this_hour = floor_hour(self._clock.now())
            payload = self._get("latest", Ask(zone, this_hour, this_hour + HOUR, "average", "lifecycle"))
            for step in self._steps(payload):
                shown = "no figure" if step.g_per_kwh is None else f"{step.g_per_kwh:g} g/kWh lifecycle, {step.quality}"
                yield f"{zone} at {step.start_utc:%FT%H:%MZ}: {shown}"

    @property
    def _basis(self) -> str:
        return "consumption" if self._table.flow_traced else "production"

    def _get(self, temporality: str, ask: Ask, **more: str) -> Payload:
        table = self._table
        params = {"zone": ask.zone, "emissionFactorType": ask.factor_type, "temporalGranularity": table.granularity}
        # without this a zone they cannot place becomes, silently, that of the caller's address
        if table.version == "v4":
            params |= {"disableCallerLookup": "true", "flowTraced": str(table.flow_traced).lower()}
        else:
            params |= {"shouldUseFallbackCallerLookup": "false"}
        reply = self._access.get(f"carbon-intensity/{temporality}", params | more)
        return Payload(ask, reply.url, reply.body, self._clock.now())

    def _rows(self, payload: Payload) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The envelope and its rows, both of what was asked."""
        answer = document(NAME, payload.body)
        if not isinstance(answer, dict):
            raise malformed(NAME, f"{first_line(payload.body)!r} where it documents an object")
        lists = [answer[key] for key in ("data", "history", "forecast") if key in answer]
        rows = lists[0] if lists else [answer]
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise malformed(NAME, f"{first_line(payload.body)!r} where it documents a list of rows")
        for part in (answer, *rows):
            self._refuse_other({"zone": answer.get("zone")} | part, payload.ask)
        return answer, rows

    def _refuse_other(self, part: Mapping[str, Any], ask: Ask) -> None:
        """The zone is named always; the rest is looked at where it is said."""
        table = self._table
        if part["zone"] != ask.zone:
            raise malformed(NAME, f"for the zone {part['zone']!r}, though {ask.zone!r} was asked")
        for key, asked in (
            ("emissionFactorType", ask.factor_type),
            ("temporalGranularity", table.granularity),
            ("flowTraced", table.flow_traced),
        ):
            if part.get(key) not in (None, asked):
                raise malformed(NAME, f"with {key} {part[key]!r}, though {asked!r} was asked")

    def _steps(self, payload: Payload) -> Iterator[Step]:
        for row in self._rows(payload)[1]:
            start, value = _start_and_value(row)
            end, updated, method = start + self._step, _updated(row), row.get("estimationMethod")
            quality = _quality(row, start, end, updated, payload.fetched_utc)
            yield Step(start, end, value, quality, updated, None if method is None else line(str(method)))


def _quality(
    row: Mapping[str, Any], start: datetime, end: datetime, updated: datetime | None, fetched: datetime
) -> str:
    if start >= fetched:
        return "forecast"
    is_observed = row.get("isEstimated") is False and (updated is None or updated > start)
    return "measured" if end <= fetched and is_observed else "estimated"


def _updated(part: Mapping[str, Any]) -> datetime | None:
    return None if part.get("updatedAt") is None else moment(NAME, part["updatedAt"])


def _start_and_value(row: Mapping[str, Any]) -> tuple[datetime, float | None]:
    if "carbonIntensity" not in row:
        raise malformed(NAME, f"a row without carbonIntensity: {sorted(row)}")
    return moment(NAME, row.get("datetime")), figure(NAME, row["carbonIntensity"])
