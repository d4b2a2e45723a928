"""A day priced from estimates, revised by its vendor, priced anew: warehouse, revisions and store agree."""

import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load
from pipeline.job import Job
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from tests.clocks import FixedClock
from tests.e2e.conftest import DAY, PUE, WINDOW, PublishedDay
from tests.loopback import LOOPBACK
from tests.misbehaving import Answer, Asked, misbehaving

HOUR = timedelta(hours=1)
CLUSTER = "settling"
FIRST = WINDOW.end + timedelta(minutes=13)
SETTLED = WINDOW.end + timedelta(hours=49)
REVISED = {DAY + 3 * HOUR: 333.0, DAY + 4 * HOUR: 44.0, DAY + 20 * HOUR: 500.0}


@dataclass
class Vendor:
    """Estimates at first, measurements later, some of them other figures."""

    settled: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        if asked.path.endswith("/zones"):
            return Answer(body=b'{"XX": {"zoneName": "Nowhere", "access": ["*"]}}')
        start, end = (datetime.fromisoformat(asked.parameters[name]) for name in ("start", "end"))
        hours = [DAY + n * HOUR for n in range(24)]
        rows = [self._row(hour) for hour in hours if start <= hour < end]
        return Answer(body=json.dumps({"zone": "XX", "data": rows, "temporalGranularity": "hourly"}).encode())

    def _row(self, hour: datetime) -> dict[str, Any]:
        value = 100.0 + hour.hour
        updated = hour + 3 * HOUR
        if self.settled:
            value, updated = REVISED.get(hour, value), hour + 30 * HOUR
        return {
            "zone": "XX", "carbonIntensity": value, "datetime": f"{hour:%FT%T.000Z}",
            "updatedAt": f"{updated:%FT%T.000Z}", "emissionFactorType": "lifecycle",
            "isEstimated": not self.settled, "estimationMethod": None if self.settled else "TIME_SLICER_AVERAGE",
        }  # fmt: skip


def settings(folder: Path, prometheus: str, store: str, vendor: str) -> Settings:
    config = folder / "carbon-etl.toml"
    config.write_text(f"""
[warehouse]
path = "{folder / "warehouse"}"
[[clusters]]
name = "{CLUSTER}"
prometheus_url = "{prometheus}"
grid_zone = "XX"
pue = {PUE}
start = "{DAY:%FT%H:%MZ}"
[intensity]
providers = ["electricity_maps"]
electricity_maps = {{ base_url = "{vendor}/v3", token_env = "TOKEN" }}
[[remote_write]]
name = "store"
url = "{store}/api/v1/write"
[http]
retry_seconds = 5
""")
    return load(config, {})


def job(given: Settings, now: datetime) -> Job:
    return Job(given, {"TOKEN": "nobody's"}, FixedClock(now))


def in_store(url: str, hour: datetime) -> float:
    """Grams of an hour, all revisions of all keys."""
    query = f'sum(sum without (revision) (sum_over_time(carbon_emissions_grams{{cluster="{CLUSTER}"}}[1h])))'
    at = {"query": query, "time": f"{(hour + HOUR).timestamp():.3f}", "nocache": "1"}
    (answer,) = LOOPBACK.get(f"{url}/api/v1/query", params=at).json()["data"]["result"]
    return float(answer["value"][1])


def grams(warehouse: Warehouse) -> dict[datetime, float]:
    found: dict[datetime, list[float]] = {}
    for row in warehouse.read_table("emissions").to_pylist():
        found.setdefault(row["hour_utc"], []).append(row["emissions_gco2e"])
    return {hour: math.fsum(values) for hour, values in found.items()}


def test_a_day_of_estimates_settles_and_everybody_agrees(published_day: PublishedDay, tmp_path: Path) -> None:
    vendor, store = Vendor(), published_day.victoria.url
    with misbehaving(decide=vendor.answer) as server:
        given = settings(tmp_path, published_day.prometheus.url, store, server.url)
        warehouse = Warehouse(Path(given.warehouse.path))
        first = run(job(given, FIRST), [CLUSTER], WINDOW)
        assert first.exit_code == 0, first.summary()
        estimated = grams(warehouse)
        assert {row["intensity_quality"] for row in warehouse.read_table("emissions").to_pylist()} == {"estimated"}

        vendor.settled = True
        again = run(job(given, SETTLED), [CLUSTER], WINDOW).clusters[0]
        assert (again.hours_rewritten, again.hours_unchanged) == (24, 0)  # provenance is part of a row
        measured = grams(warehouse)
        assert {hour for hour in measured if measured[hour] != estimated[hour]} == set(REVISED)
        for hour, g_per_kwh in REVISED.items():
            assert measured[hour] / estimated[hour] == pytest.approx(g_per_kwh / (100.0 + hour.hour), rel=1e-9)

        for hour in sorted(measured):
            assert in_store(store, hour) == pytest.approx(measured[hour], rel=1e-9)
        with open_views(warehouse.root, "revisions") as connection:
            revised = connection.sql(
                "select hour_utc, sum(new_emissions_gco2e - old_emissions_gco2e), string_agg(distinct cause) "
                "from revisions group by hour_utc"
            ).fetchall()
        assert {cause for _, _, cause in revised} == {"intensity"}
        for hour, difference, _ in revised:
            assert difference == pytest.approx(measured[hour] - estimated[hour], rel=1e-9, abs=1e-9)

        calls = len(vendor.asked)
        settled = run(job(given, SETTLED + timedelta(minutes=1)), [CLUSTER], WINDOW).clusters[0]
        assert (settled.hours_rewritten, settled.hours_repriced) == (0, 0)
        assert [outcome.samples_written for outcome in settled.stores] == [0]
        assert len(vendor.asked) == calls
    with_the_network_cut = run(job(given, SETTLED + timedelta(minutes=2)), [CLUSTER], WINDOW)
    assert with_the_network_cut.exit_code == 0
    assert grams(warehouse) == measured
