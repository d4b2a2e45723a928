"""RTE's eCO2mix, mainland France without Corsica, from the open data platform ODRE: provider `rte`.

`taux_co2` is g CO2 per kWh GENERATED in France, of the fuel burnt only: direct, imports not counted. Data set
`cons-def` holds consolidated (from the next month) and definitive figures (from the next year): quality `measured`.
The hours that it does not reach yet come from the real-time set `tr`: `estimated`. `date_heure` carries its offset
and is taken as the start of its slot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import RteTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.steps import Step, vintages
from pipeline.sources.grid.web import NothingThere, Web, document, figure, first_line, malformed, moment
from pipeline.window import HOUR, Clock, floor_hour

NAME = "rte"
ZONE = "FR"
SETTLED, REAL_TIME = "eco2mix-national-cons-def", "eco2mix-national-tr"
LONGEST = timedelta(days=92)
MARGIN = timedelta(hours=2)  # asked on both sides, were a time in `where` taken as that of Paris
LEAST_SECONDS = 0.5
QUARTER, HALF = timedelta(minutes=15), timedelta(minutes=30)


class Rte:
    """See `contract.Provider`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "direct")})

    def __init__(self, table: RteTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:  # noqa: ARG002 # as every provider is opened
        self._table, self._clock = table, clock
        self._web = Web(NAME, http, clock, LEAST_SECONDS)

    def zone_of(self, grid_zone: str) -> str:
        """FR and nothing else."""
        if (self._table.zone or grid_zone) != ZONE:
            raise ConfigError(f"{NAME} has only France, FR, not {self._table.zone or grid_zone!r}")
        return ZONE

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """Settled figures as far as they reach, the rest in real time: no hour is of both."""
        for piece in whole_hours(ask).chunks(LONGEST):
            settled = self._get(SETTLED, piece)
            reached = [s.end_utc for s in _steps(settled) if s.g_per_kwh is not None]
            cut = min(max([piece.start, *map(floor_hour, reached)]), piece.end)
            if cut > piece.start:
                yield replace(settled, ask=replace(piece, end=cut))
            if cut < piece.end:
                yield self._get(REAL_TIME, replace(piece, start=cut))

    def parse(self, payload: Payload) -> pa.Table:
        """The slots that are over, null as withdrawn."""
        return vintages(payload, NAME, "production", _steps(payload))

    def check(self, grid_zone: str) -> Iterator[str]:
        """The newest figure."""
        zone, now = self.zone_of(grid_zone), floor_hour(self._clock.now())
        payload = self._get(REAL_TIME, Ask(zone, now - 6 * HOUR, now + HOUR, "average", "direct"))
        steps = [step for step in _steps(payload) if step.g_per_kwh is not None]
        if not steps:
            raise NothingThere(f"{NAME} has no figure in the last six hours")
        yield f"{zone} at {steps[-1].start_utc:%FT%H:%MZ}: {steps[-1].g_per_kwh:g} g/kWh direct"

    def _get(self, dataset: str, ask: Ask) -> Payload:
        params = {
            "select": "date_heure,taux_co2", "order_by": "date_heure", "timezone": "UTC",
            "where": f"date_heure >= date'{ask.start - MARGIN:%FT%T}' AND date_heure < date'{ask.end + MARGIN:%FT%T}'",
        }  # fmt: skip
        # exports have no paging: records give 100 rows at a time and 10,000 in all
        reply = self._web.get(f"{self._table.base_url}/catalog/datasets/{dataset}/exports/json", params)
        return Payload(ask, reply.url, reply.body, self._clock.now())


def _steps(payload: Payload) -> list[Step]:
    """The slots of an answer that are over, in time order.

    An hour that has a figure at a quarter is in quarters. Else it is in halves: the quarters between them are rows of
    forecasts of demand, in which other fields are always null.
    """
    dataset = SETTLED if SETTLED in payload.url else REAL_TIME
    quality = "measured" if dataset == SETTLED else "estimated"
    slots = _slots(payload)
    quarterly = {floor_hour(start) for start, value in slots.items() if value is not None and start.minute % 30}
    steps = []
    for start, value in sorted(slots.items()):
        length = QUARTER if floor_hour(start) in quarterly else HALF
        if start + length <= payload.fetched_utc and not (length == HALF and start.minute % 30):
            steps.append(Step(start, start + length, value, quality, model=dataset))
    return steps


def _slots(payload: Payload) -> dict[datetime, float | None]:
    """`taux_co2` by moment; where one is named twice, a figure counts before null."""
    slots: dict[datetime, float | None] = {}
    for row in _rows(payload):
        if row.get("perimetre", "France") != "France":
            raise malformed(NAME, f"for {row['perimetre']!r}, though 'France' was asked")
        if "taux_co2" not in row:
            raise malformed(NAME, f"a record without taux_co2: {sorted(row)}")
        start, value = moment(NAME, row.get("date_heure")), figure(NAME, row["taux_co2"])
        if value is not None or start not in slots:
            slots[start] = value
    return slots


def _rows(payload: Payload) -> list[dict[str, Any]]:
    """The rows of an export, a bare list, or of `records`, if all of them are there."""
    answer = document(NAME, payload.body)
    rows = answer.get("results") if isinstance(answer, dict) else answer
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise malformed(NAME, f"{first_line(payload.body)!r} where it documents a list of records")
    if isinstance(answer, dict) and answer.get("total_count", len(rows)) != len(rows):
        raise malformed(NAME, f"{len(rows)} of {answer['total_count']} records")
    return rows
