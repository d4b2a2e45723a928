"""A zone as the commands open it, its vendors played by a local server, at a fixed time."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline.grid.zone import Wanted, Zone, open_zone
from pipeline.job import Job
from pipeline.settings import Settings
from pipeline.window import HOUR, Window
from tests.misbehaving import Answer
from tests.prices.stored import StandingClock

SECRET = "em-s3cr3t"  # noqa: S105 # a made-up one
ENV = {"EM_TOKEN": SECRET, "WATT_USER": "u", "WATT_PASSWORD": SECRET}
NOW = datetime(2026, 11, 2, 3, 20, tzinfo=UTC)
DAY = Window(datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
PLAIN = Wanted()
PAST_RANGE = ["carbon-intensity/*"]


def settings(
    folder: Path, url: str = "http://127.0.0.1:9", cluster: Mapping[str, object] | None = None, **intensity: object
) -> Settings:
    """One cluster in DE, Electricity Maps at `url`, then the yearly averages."""
    here = {"name": "c", "prometheus_url": "http://127.0.0.1:9", "grid_zone": "DE", "pue": 1.2} | dict(cluster or {})
    tables = {
        "providers": ["electricity_maps", "static"],
        "electricity_maps": {"base_url": f"{url}/v4", "token_env": "EM_TOKEN"},
    }
    return Settings.model_validate(
        {
            "warehouse": {"path": str(folder / "warehouse")},
            "clusters": [here],
            "intensity": tables | intensity,
            "http": {"timeout_seconds": 5, "retry_seconds": 0},
        }
    )


def zone_of(given: Settings, zone: str | None = "DE", wanted: Wanted = PLAIN, cluster: str | None = None) -> Zone:
    return open_zone(given, zone, cluster, wanted, ENV, StandingClock(NOW))


def job(given: Settings, now: datetime = NOW, *, dry_run: bool = False) -> Job:
    return Job(given, ENV, StandingClock(now), dry_run=dry_run)


def listed(access: Sequence[str] = PAST_RANGE, zone: str = "DE") -> Answer:
    """Electricity Maps' list of zones."""
    return Answer(body=json.dumps([{"zoneKey": zone, "zoneName": "Germany", "access": list(access)}]).encode())


def hourly(window: Window, first: float = 300.0, zone: str = "DE", **of_row: object) -> Answer:
    """A past range in which each hour is 1 g/kWh above the one before; the last of them estimated."""
    rows = [
        {
            "zone": zone,
            "datetime": f"{hour:%FT%TZ}",
            "carbonIntensity": first + n,
            "updatedAt": f"{window.end + HOUR:%FT%TZ}",
            "isEstimated": hour == window.end - HOUR,
        }
        | of_row
        for n, hour in enumerate(window.hours())
    ]
    return Answer(body=json.dumps({"zone": zone, "temporalGranularity": "hourly", "data": rows}).encode())
