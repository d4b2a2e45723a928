"""ENTSO-E's transparency platform, generation by type in Europe (document A75, realised A16): provider `entsoe`.

The intensity is computed from the mix (mix.py): of generation there, without imports. Series with an
`outBiddingZone_Domain` are consumption of storage and left out. Times are UTC, steps 15, 30 or 60 minutes; within an
hour the finest that any type has. Updates of a figure carry no version: `createdDateTime` is that of the answer.
"""

import csv
import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError, SourceError, SourceRejected
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import EntsoeTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.entsoe_xml import generation, text, tree
from pipeline.sources.grid.mix import LEAD, computed
from pipeline.sources.grid.steps import vintages
from pipeline.sources.grid.web import NothingThere, Reply, Web
from pipeline.window import Clock, floor_hour

NAME = "entsoe"
AREAS = Path(__file__).parents[2] / "data" / "entsoe_areas.csv"
LONGEST = timedelta(days=30)  # a year is allowed; a month keeps answers small
LEAST_SECONDS = 0.2  # 400 requests a minute, else ten minutes' ban
ACKNOWLEDGEMENT = "Acknowledgement_MarketDocument"
FUELS = {
    "B01": "biomass", "B02": "coal", "B03": "coal", "B04": "gas", "B05": "coal", "B06": "oil", "B07": "coal",
    "B08": "coal", "B09": "geothermal", "B11": "hydro", "B12": "hydro", "B13": "ocean", "B14": "nuclear",
    "B15": "biomass", "B16": "solar", "B17": "unknown", "B18": "wind_offshore", "B19": "wind", "B20": "unknown",
    "B10": None, "B25": None,  # pumped and other storage
}  # fmt: skip


@cache
def areas() -> dict[str, str]:
    """EIC codes by Electricity Maps' zone."""
    with AREAS.open(encoding="utf-8", newline="") as file:
        return {row["grid_zone"]: row["eic"] for row in csv.DictReader(file)}


def refusal(reply: Reply) -> SourceError | None:
    """What an acknowledgement says: 999 stands for `nothing there` and for much else, so its text decides."""
    if reply.status == 429 or reply.status >= 500 or ACKNOWLEDGEMENT.encode() not in reply.body:
        return None
    root = tree(NAME, reply.body)
    reason = root.find("Reason")
    told = " ".join(text(reason, "text").split())[:200] if reason is not None else "no reason given"
    says = f"{NAME} answers {reply.status}: {told}"
    if "no matching data" in told.lower():
        return NothingThere(says)
    if reply.status in (401, 403):
        return SourceRejected(
            f"{says}: the token of [intensity.{NAME}] is not accepted, or its account has no API access"
        )
    return SourceRejected(says)


class Entsoe:
    """See `contract.Provider`."""

    name = NAME
    warnings: Sequence[str] = ()
    offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", "lifecycle"), ("average", "direct")})

    def __init__(self, table: EntsoeTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self._table, self._env, self._clock = table, env, clock
        self._web = Web(NAME, http, clock, LEAST_SECONDS, refusal)

    def zone_of(self, grid_zone: str) -> str:
        """The EIC code of Electricity Maps' zone, or as the table says."""
        zone = self._table.zone or areas().get(grid_zone)
        if zone is None:
            near = difflib.get_close_matches(grid_zone, areas(), n=3)
            raise ConfigError(
                f"{NAME} knows no zone {grid_zone!r}: "
                + (f"did you mean {' or '.join(near)}? " if near else "")
                + f"Else set zone in [intensity.{NAME}] to its EIC code"
            )
        return zone

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """One answer a month, each with the three days before, by which gaps in its mix are seen.

        A month without any data is passed over; nothing at all is NothingThere.
        """
        nothing: NothingThere | None = None
        some = False
        for piece in whole_hours(ask).chunks(LONGEST):
            try:
                yield self._get(piece)
                some = True
            except NothingThere as error:
                nothing = error
        if nothing is not None and not some:
            raise nothing

    def parse(self, payload: Payload) -> pa.Table:
        """Intensity of every step of the payload's span whose mix is whole."""
        ask = payload.ask
        mixes = generation(NAME, payload.body, ask.zone, ask.start - LEAD, min(ask.end, payload.fetched_utc))
        return vintages(payload, NAME, "production", list(computed(mixes, FUELS, ask.factor_type)))

    def check(self, grid_zone: str) -> Iterator[str]:
        """The newest step of the zone and the types of generation that it reports."""
        zone, now = self.zone_of(grid_zone), floor_hour(self._clock.now())
        payload = self._get(Ask(zone, now - timedelta(days=1), now, "average", "lifecycle"))
        mixes = generation(NAME, payload.body, zone, payload.ask.start, now)
        if not mixes:
            raise NothingThere(f"{NAME} has no generation by type of {zone} in the last day")
        start, end = max(mixes)
        yield f"{zone}: newest step {start:%FT%H:%MZ} to {end:%H:%MZ}, of {', '.join(sorted(mixes[start, end]))}"

    def _get(self, ask: Ask) -> Payload:
        token = self._table.token(self._env)
        if token is None:
            raise ConfigError(f"[intensity.{NAME}] needs token_env or token_file")
        params = {
            "documentType": "A75", "processType": "A16", "in_Domain": ask.zone,
            "periodStart": f"{ask.start - LEAD:%Y%m%d%H%M}", "periodEnd": f"{ask.end:%Y%m%d%H%M}",
        }  # fmt: skip
        reply = self._web.get(self._table.base_url, params, secret_params={"securityToken": token})
        refused = refusal(reply)  # an acknowledgement may come with 200
        if refused is not None:
            raise refused
        return Payload(ask, reply.url, reply.body, self._clock.now())
