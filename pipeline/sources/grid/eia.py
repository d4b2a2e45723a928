"""EIA-930, hourly generation by fuel of the balancing authorities of the lower 48 United States: provider `eia`.

The intensity is computed from the mix (mix.py): of generation there, without imports. `period` is UTC and names the
hour by its END: "hourly data are published using the hour ending time reporting convention"
(<https://www.eia.gov/electricity/gridmonitor/about>), so 2025-01-01T01 is the hour from 00:00 to 01:00.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError, SourceError, SourceRejected
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import EiaTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.mix import LEAD, computed
from pipeline.sources.grid.steps import vintages
from pipeline.sources.grid.web import NothingThere, NotInPlan, Reply, Web, document, first_line, malformed
from pipeline.window import HOUR, Clock, floor_hour

NAME = "eia"
PAGE_ROWS = 5_000  # the most of one answer; 16 fuels in 13 days are 4,992
LONGEST = timedelta(days=13) - LEAD  # so an answer is never cut within an hour
LEAST_SECONDS = 0.5
PERIOD = "%Y-%m-%dT%H"
UNIT = "megawatthours"
EM_ZONE = re.compile(r"US-[A-Z]+-([A-Z0-9]+)")
FUELS = {
    "COL": "coal", "NG": "gas", "OIL": "oil", "NUC": "nuclear", "WAT": "hydro", "SUN": "solar", "WND": "wind",
    "GEO": "geothermal", "OTH": "unknown", "UNK": "unknown",
    "SNB": "solar", "WNB": "wind",  # with a battery behind the same meter
    "PS": None, "BAT": None, "OES": None, "UES": None,  # pumped, battery, other and unknown storage
}  # fmt: skip


def refusal(reply: Reply) -> SourceError | None:
    """What the gateway means by 403: a key that is not known, or one that may not ask this."""
    code = re.search(rb'"code"\s*:\s*"(API_KEY_\w+)"', reply.body)
    if code is None:
        return None
    says = f"{NAME} answers {reply.status}: {code[1].decode()}"
    if code[1] == b"API_KEY_UNAUTHORIZED":
        return NotInPlan(f"{says}: the key is good, this part of the API is not open to it")
    return SourceRejected(f"{says}: the key of [intensity.{NAME}] is not accepted (a free one: eia.gov/opendata)")


class Eia:
    """See `contract.Provider`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "lifecycle"), ("average", "direct")})

    def __init__(self, table: EiaTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self._table, self._env, self._clock = table, env, clock
        self._web = Web(NAME, http, clock, LEAST_SECONDS, refusal)

    def zone_of(self, grid_zone: str) -> str:
        """The balancing authority: the last part of Electricity Maps' zone (US-CAL-CISO), or as the table says."""
        match = EM_ZONE.fullmatch(grid_zone)
        if self._table.zone is None and match is None:
            raise ConfigError(
                f"{NAME} knows no zone {grid_zone!r}: set zone in [intensity.{NAME}] to a balancing authority, as CISO"
            )
        return self._table.zone or (match[1] if match else grid_zone)

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """One answer for ten days, each with the three days before, by which gaps in its mix are seen."""
        for piece in whole_hours(ask).chunks(LONGEST):
            yield self._get(piece)

    def parse(self, payload: Payload) -> pa.Table:
        """Intensity of every hour of the payload's span whose mix is whole."""
        generation: dict[tuple[datetime, datetime], dict[str, float | None]] = {}
        for row in _rows(payload):
            end = _period(row.get("period"))
            generation.setdefault((end - HOUR, end), {})[str(row.get("fueltype"))] = _megawatthours(row.get("value"))
        return vintages(payload, NAME, "production", list(computed(generation, FUELS, payload.ask.factor_type)))

    def check(self, grid_zone: str) -> Iterator[str]:
        """The newest hour of the zone and the fuels that it reports."""
        zone, now = self.zone_of(grid_zone), floor_hour(self._clock.now())
        rows = _rows(self._get(Ask(zone, now - timedelta(days=2), now, "average", "lifecycle")))
        if not rows:
            raise NothingThere(f"{NAME} has no generation of {zone!r} in the last days: is it a balancing authority?")
        newest = max(_period(row.get("period")) for row in rows)
        fuels = sorted({str(row.get("fueltype")) for row in rows if _period(row.get("period")) == newest})
        yield f"{zone}: newest hour ends {newest:%FT%H:%MZ}, of {', '.join(fuels)}"

    def _get(self, ask: Ask) -> Payload:
        token = self._table.token(self._env)
        if token is None:
            raise ConfigError(f"[intensity.{NAME}] needs token_env or token_file: a key is free at eia.gov/opendata")
        params = [
            ("frequency", "hourly"), ("data[0]", "value"), ("facets[respondent][]", ask.zone),
            ("start", f"{ask.start - LEAD + HOUR:{PERIOD}}"), ("end", f"{ask.end:{PERIOD}}"),  # both included
            ("sort[0][column]", "period"), ("sort[0][direction]", "asc"),
            ("sort[1][column]", "fueltype"), ("sort[1][direction]", "asc"),
            ("offset", "0"), ("length", str(PAGE_ROWS)),
        ]  # fmt: skip
        url = f"{self._table.base_url}/electricity/rto/fuel-type-data/data/"
        reply = self._web.get(url, params, secret_params={"api_key": token})
        return Payload(ask, reply.url, reply.body, self._clock.now())


def _rows(payload: Payload) -> list[dict[str, Any]]:
    """All rows of an answer, of the zone and unit that were asked."""
    answer = document(NAME, payload.body)
    response = answer.get("response") if isinstance(answer, dict) else None
    rows = response.get("data") if isinstance(response, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise malformed(NAME, f"{first_line(payload.body)!r} where it documents response.data")
    total = str((response or {}).get("total", len(rows)))
    if total != str(len(rows)):
        raise malformed(NAME, f"{len(rows)} of {total} rows, though it gives {PAGE_ROWS} at once")
    for row in rows:
        for key, asked in (("respondent", payload.ask.zone), ("value-units", UNIT)):
            if row.get(key, UNIT if key == "value-units" else None) != asked:
                raise malformed(NAME, f"with {key} {row.get(key)!r}, though {asked!r} was asked")
    return rows


def _period(text: object) -> datetime:
    """The end of the hour that a row is of."""
    try:
        return datetime.strptime(str(text), PERIOD).replace(tzinfo=UTC)
    except ValueError:
        raise malformed(NAME, f"the period {text!r} where it documents YYYY-MM-DDTHH") from None


def _megawatthours(value: object) -> float | None:
    """A figure, which comes as a number or as text."""
    try:
        energy = math.nan if isinstance(value, bool) else float(str(value)) if value is not None else None
    except ValueError:
        energy = math.nan
    if energy is not None and not math.isfinite(energy):
        raise malformed(NAME, f"the value {value!r} where it documents a number")
    return energy
