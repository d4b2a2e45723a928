"""WattTime's API v3: provider `watttime`; CO2 alone, average (`co2_aoer`) and marginal (`co2_moer`), in lb/MWh.

A model date that becomes the default re-issues the whole history, so each row keeps its own. What was computed with
imputed data is `estimated`; WattTime calls the rest its model at full quality, and that is `measured` here.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import WattTimeTable
from pipeline.sources.grid import contract, steps
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal
from pipeline.sources.grid.steps import SHORTEST_STEP, Step
from pipeline.sources.grid.watttime_login import NAME, WattTimeSession
from pipeline.sources.grid.web import NothingThere, document, figure, malformed, moment
from pipeline.sources.wording import line
from pipeline.units import G_PER_KWH_OF_LB_PER_MWH
from pipeline.window import HOUR, Clock, floor_hour

SIGNALS: dict[tuple[Signal, FactorType], str] = {
    ("average", "direct"): "co2_aoer",
    ("marginal", "direct"): "co2_moer",
}
BASIS = "unknown"  # not documented
UNITS = "lbs_co2_per_mwh"
LONGEST_ASK = timedelta(days=30)  # 32 are allowed
HORIZON_HOURS = 72
SECONDS_PER_DAY = 86_400
LISTED = 8
HINT = (
    "WattTime has regions of its own, and other ones for averages (CAISO) than for marginal rates (CAISO_NORTH): write "
    'zone = "..." into [intensity.watttime]; /v3/region-from-loc with latitude, longitude and signal_type names it'
)


class WattTime:
    """See `contract.Provider` and `contract.Forecaster`.

    Attributes:
        warnings: what WattTime put beside its data so far, each once.
    """

    name = NAME
    offers = frozenset(SIGNALS)

    def __init__(self, table: WattTimeTable, http: HttpSettings, env: Mapping[str, str], clock: Clock) -> None:
        self.warnings: list[str] = []
        self._zone, self._clock = table.zone, clock
        self._model = {} if table.model is None else {"model": table.model}
        self._session = WattTimeSession(table, http, env, clock)

    def zone_of(self, grid_zone: str) -> str:
        """The region of the provider's table: none can be told from a grid zone."""
        if self._zone is None:
            raise ConfigError(f"provider watttime cannot tell the region of {grid_zone}: {HINT}")
        return self._zone

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """One answer for each 30 days."""
        for piece in contract.whole_hours(ask).chunks(LONGEST_ASK):
            span = {"start": _written(piece.start), "end": _written(piece.end - SHORTEST_STEP)}  # both are inclusive
            yield self._payload("historical", span | {"include_imputed_marker": "true"}, piece)

    def parse(self, payload: Payload) -> pa.Table:
        """See `contract.Provider`."""
        return steps.vintages(payload, NAME, BASIS, list(self._steps(payload, None)))

    def fetch_forecast(self, zone: str, signal: Signal, factor_type: FactorType) -> Payload:
        """The newest forecast of 72 hours; averages have none."""
        if signal == "average":
            raise NothingThere("watttime forecasts marginal rates only")
        start = floor_hour(self._clock.now())
        ask = Ask(zone, start, start + (HORIZON_HOURS + 1) * HOUR, signal, factor_type)
        return self._payload("forecast", {"horizon_hours": str(HORIZON_HOURS)}, ask)

    def parse_forecast(self, payload: Payload) -> pa.Table:
        """See `contract.Forecaster`."""
        issued = _part(document(NAME, payload.body), "meta", dict).get("generated_at")
        issued_utc = None if issued is None else moment(NAME, issued)
        return steps.forecasts(payload, NAME, issued_utc, list(self._steps(payload, "forecast")))

    def check(self, grid_zone: str) -> Iterator[str]:
        """What the account may ask for, and of the configured region in detail."""
        access = document(NAME, self._session.get("my-access", {}).body)
        try:
            for signal in access["signal_types"]:
                yield from _access(signal, self._zone)
        except (KeyError, TypeError, AttributeError):
            raise malformed(NAME, "/v3/my-access with something else than signals and their regions") from None
        if self._zone is None:
            yield f"the region of {grid_zone}: {HINT}"

    def _payload(self, path: str, params: Mapping[str, str], ask: Ask) -> Payload:
        what = {"region": ask.zone, "signal_type": _signal_type(ask)}
        reply = self._session.get(path, {**what, **params, **self._model})
        self.warnings += [warning for warning in _warnings(reply.body) if warning not in self.warnings]
        return Payload(ask, reply.url, reply.body, self._clock.now())

    def _steps(self, payload: Payload, quality: str | None) -> Iterator[Step]:
        """The steps of an answer; their quality by the marker of each unless it is given."""
        answer = document(NAME, payload.body)
        meta = _part(answer, "meta", dict)
        model = _part(meta, "model", dict) if meta.get("model") is not None else {}
        self._check_meta(payload.ask, meta, model)
        seconds = meta.get("data_point_period_seconds")
        if type(seconds) is not int or not 0 < seconds <= SECONDS_PER_DAY:
            raise malformed(NAME, f"with data_point_period_seconds {seconds!r}")
        described = line(" ".join(str(model[key]) for key in ("date", "type") if model.get(key))) or None
        for row in _part(answer, "data", list):
            if not isinstance(row, dict) or "value" not in row:
                raise malformed(NAME, f"with {row!r} where it documents point_time and value")
            start, value = moment(NAME, row.get("point_time")), figure(NAME, row["value"])
            updated = row.get("last_updated")
            yield Step(
                start_utc=start,
                end_utc=start + timedelta(seconds=seconds),
                g_per_kwh=None if value is None else value * G_PER_KWH_OF_LB_PER_MWH,
                quality=quality or ("measured" if row.get("imputed_data_used") is False else "estimated"),
                updated_utc=None if updated is None else moment(NAME, updated),
                model=described,
            )

    def _check_meta(self, ask: Ask, meta: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """An answer of another region, signal, unit or model than asked for is none."""
        given = {**meta, "model": model.get("date")}
        asked = {"region": ask.zone, "signal_type": _signal_type(ask), "units": UNITS, **self._model}
        for key, wanted in asked.items():
            if given.get(key) != wanted:
                raise malformed(NAME, f"with {key} {given.get(key)!r} where {wanted!r} was asked for")


def _signal_type(ask: Ask) -> str:
    """What WattTime calls it; its third signal, `health_damage`, is money, not CO2, and has no such name here."""
    if (ask.signal, ask.factor_type) not in SIGNALS:
        raise ConfigError(f"provider watttime has no {ask.signal} {ask.factor_type} figures: its CO2 is direct")
    return SIGNALS[ask.signal, ask.factor_type]


def _written(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%MZ}"


def _part(answer: Any, key: str, kind: type) -> Any:  # noqa: ANN401 # parts of a JSON document
    found = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(found, kind):
        raise malformed(NAME, f"without {key!r}, or with another kind of it than documented")
    return found


def _warnings(body: bytes) -> list[str]:
    """The warnings of an answer; what is wrong with its form `parse` will tell."""
    try:
        said = [f"{warning['type']}: {warning['message']}" for warning in document(NAME, body)["meta"]["warnings"]]
    except (SourceMalformed, KeyError, TypeError):
        return []
    return [f"watttime warns: {line(text)}" for text in dict.fromkeys(said)]


def _access(signal: Mapping[str, Any], zone: str | None) -> Iterator[str]:
    """Lines on one signal of `/v3/my-access`."""
    kind, regions = signal["signal_type"], {region["region"]: region for region in signal["regions"]}
    if kind not in SIGNALS.values():
        yield f"{kind}: no intensity of CO2, not used"
        return
    more = f" and {len(regions) - LISTED} more" if len(regions) > LISTED else ""
    yield f"{kind}: {', '.join(sorted(regions)[:LISTED])}{more}"
    if zone is not None and zone not in regions:
        yield f"{kind} of {zone}: not in this account's plan"
    for endpoint in regions[zone]["endpoints"] if zone in regions else ():
        models = ", ".join(f"{model['model']} since {model.get('data_start', '?')}" for model in endpoint["models"])
        yield f"{kind} of {zone}: {endpoint['endpoint']}, models {models}"
