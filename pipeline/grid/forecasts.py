"""`carbon-etl grid fetch --forecast`: what providers expect, kept with its time of issue and never a price."""

from dataclasses import dataclass
from typing import cast

import pyarrow as pa

from pipeline.errors import ConfigError, SourceError
from pipeline.grid.fetch import Fetched, Told, changed, errors_of, refuse_nobody
from pipeline.grid.zone import Zone
from pipeline.job import Job
from pipeline.refresh import payload_rows
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.grid.contract import Forecaster
from pipeline.tables import values
from pipeline.window import HOUR, Window, floor_hour


def forecasters(zone: Zone) -> dict[str, Forecaster]:
    """The providers of a zone that look ahead."""
    return {name: cast("Forecaster", p) for name, p in zone.web.items() if hasattr(p, "fetch_forecast")}


def fetch_forecasts(job: Job, zone: Zone) -> Fetched:
    """Ask a zone's providers for their newest forecast and store the figures that differ from the one before.

    Raises:
        ConfigError: nobody can be asked.
        SinkError: the warehouse cannot be written.
    """
    able = forecasters(zone)
    refused = {name: "it has no forecast" for name in zone.zones if name not in able} | dict(zone.refused)
    refuse_nobody(zone, list(able), refused)
    warehouse, began = job.warehouse(), job.clock.monotonic()
    report = job.begin("grid fetch")
    asking = _Asking(job, zone, warehouse, report.run_id)
    heading = f"grid zone {zone.about}: {zone.signal} {zone.rule.factor_type}, newest forecast"
    told = [asking.told(name, forecaster) for name, forecaster in able.items()]
    report.errors += errors_of(told)
    job.finish(warehouse, report, began)
    return Fetched(heading, tuple(told), refused, tuple(report.errors))


@dataclass(frozen=True)
class _Asking:
    job: Job
    zone: Zone
    warehouse: Warehouse
    run_id: str

    def told(self, name: str, forecaster: Forecaster) -> Told:
        """What the provider expects; stored are the answer, then its figures."""
        own, zone = self.zone.zones[name], self.zone
        try:
            payload = forecaster.fetch_forecast(own, zone.signal, zone.rule.factor_type)
            rows = forecaster.parse_forecast(payload)
        except (SourceError, ConfigError) as error:
            return Told(name, f"zone {own}, asked for its forecast", problems=(error,))
        span = Window(floor_hour(payload.ask.start), floor_hour(payload.ask.end) + HOUR)
        fresh = changed_forecasts(rows, self.warehouse.forecasts(name, own, zone.signal, zone.rule.factor_type, span))
        if fresh.num_rows and not self.job.dry_run:
            day = self.job.clock.now().date()
            self.warehouse.append("payloads", payload_rows(payload, name), self.run_id, day)
            self.warehouse.append("forecasts", fresh, self.run_id, day)
        text = f"zone {own}, {_issue(rows)}, {changed(fresh, 'steps', dry_run=self.job.dry_run)}"
        return Told(name, text)


def changed_forecasts(offered: pa.Table, newest: pa.Table) -> pa.Table:
    """The offered steps whose figure is not the newest stored one of that step, both of schema FORECASTS."""
    spans = ("start_utc", "end_utc", "carbon_intensity_g_per_kwh")
    known = set(zip(*(values(newest, name) for name in spans), strict=True))
    differs = [row not in known for row in zip(*(values(offered, name) for name in spans), strict=True)]
    return offered.filter(pa.array(differs, pa.bool_()))


def _issue(rows: pa.Table) -> str:
    if not rows.num_rows:
        return "an empty forecast"
    issued, ends = max(values(rows, "issued_utc")), max(values(rows, "end_utc"))
    return f"{rows.num_rows:,} steps issued {issued:%FT%H:%MZ}, up to {ends:%FT%H:%MZ}"
