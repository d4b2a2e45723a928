"""Intensity that the cluster's own Prometheus holds: provider `prometheus`, any expression that gives g/kWh.

Such as the gauge of the grid-intensity exporter, `grid_intensity_carbon_average{location="DE"}`. Its value at the start
of a step, as the server answers it (from the newest sample not older than its look-back, 5 minutes by default), holds
for the step: a gauge speaks of its present. Where it has no value, or NaN, there is no row.
"""

import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlencode

import pyarrow as pa

from pipeline.settings.intensity import GaugeTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Signal, whole_hours
from pipeline.sources.grid.steps import Step, vintages
from pipeline.sources.grid.web import NothingThere, document, malformed
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import expression
from pipeline.sources.prometheus.servers import Servers
from pipeline.units import MS_PER_SECOND
from pipeline.window import EPOCH, Clock, from_ms, to_ms

NAME = "prometheus"
UNIT = "gco2"  # how a gauge's label `units` begins, where it has one
ADVICE = 'narrow it to one by a label, such as location="DE", or aggregate it'


class PrometheusGauge:
    """See `contract.Provider`."""

    name = NAME
    warnings: Sequence[str] = ()

    def __init__(self, table: GaugeTable, servers: Servers[PrometheusServer], clock: Clock) -> None:
        self.offers: frozenset[tuple[Signal, FactorType]] = frozenset({("average", table.factor_type)})
        self._table, self._servers, self._clock = table, servers, clock
        self._query = expression(table.query, servers.first.matchers)

    def zone_of(self, grid_zone: str) -> str:
        """A name for the rows: the expression decides what is read."""
        return self._table.zone or grid_zone

    def fetch(self, ask: Ask) -> Iterator[Payload]:
        """One answer, of the steps that have begun, in the form of a Prometheus.

        Raises:
            SourceError: as of `PrometheusServer.matrix`; NothingThere without any series.
        """
        step, hours, now = self._table.step, whole_hours(ask), self._clock.now()
        end = min(hours.end, now - (now - EPOCH) % step + step)  # beyond now a server repeats its last value
        if end <= hours.start:
            return
        asked = Ask(ask.zone, hours.start, end, ask.signal, ask.factor_type)
        start_ms, last_ms, step_ms = to_ms(asked.start), to_ms(end - step), step // timedelta(milliseconds=1)
        series = self._servers.first_answer(
            lambda server: server.matrix(expression(self._table.query, server.matchers), start_ms, last_ms, step_ms)
        )
        if not series:
            raise NothingThere(f"{self._servers.said} has no series of {self._query!r} from {asked.start:%FT%H:%MZ} on")
        result = [
            {"metric": labels, "values": [[ms / MS_PER_SECOND, repr(value)] for ms, value in samples]}
            for labels, samples in series
        ]
        span = {"start": start_ms / MS_PER_SECOND, "end": last_ms / MS_PER_SECOND, "step": step_ms / MS_PER_SECOND}
        url = f"{self._servers.first.url}/api/v1/query_range?{urlencode({'query': self._query, **span})}"
        yield Payload(asked, url, json.dumps({"resultType": "matrix", "result": result}).encode(), now)

    def parse(self, payload: Payload) -> pa.Table:
        """See `contract.Provider`; of more than one series none is taken."""
        try:
            series = document(NAME, payload.body)["result"]
            if len(series) != 1:
                raise malformed(NAME, f"{self._query!r} with {len(series)} series: {ADVICE}")
            units = series[0]["metric"].get("units", UNIT)
            values = [(round(float(s) * MS_PER_SECOND), float(v)) for s, v in series[0]["values"]]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise malformed(NAME, f"{self._query!r} with something else than a matrix") from None
        if not str(units).lower().startswith(UNIT):
            raise malformed(NAME, f"{self._query!r} in {units!r} where g/kWh is needed")
        steps = [
            Step(from_ms(ms), from_ms(ms) + self._table.step, value, self._table.quality)
            for ms, value in values
            if not math.isnan(value)
        ]
        return vintages(payload, NAME, self._table.basis, steps)

    def check(self, grid_zone: str) -> Iterator[str]:
        """What the expression gives now."""
        now_ms = to_ms(self._clock.now())
        answer = self._servers.first_answer(
            lambda server: server.vector(expression(self._table.query, server.matchers), now_ms)
        )
        yield f"{self._query} for {self.zone_of(grid_zone)}: {len(answer)} series now" + (
            "" if len(answer) == 1 else f", one is needed: {ADVICE}"
        )
        for labels, value in answer[:1]:
            shown = ", ".join(f"{name}={text!r}" for name, text in sorted(labels.items()))
            yield f"{value:g} g/kWh ({self._table.factor_type}, {self._table.quality}) of {{{shown}}}"
