"""What Electricity Maps is asked, answers and means, made small."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.settings import HttpSettings
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload
from pipeline.sources.grid.electricity_maps import ElectricityMaps
from pipeline.tables import INTENSITY
from tests.misbehaving import Answer, Misbehaving
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "electricity_maps"
SECRET = "em-s3cr3t"  # noqa: S105 # a made-up one
ENV = {"EM_TOKEN": SECRET}
NOW = StillClock().now()  # 2026-11-02T03:00Z
HOUR = timedelta(hours=1)
FINE_PAST = Answer(body=b'{"zone":"DE","data":[],"temporalGranularity":"hourly"}')


def body(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def answer(name: str, status: int = 200) -> Answer:
    return Answer(status, body(name), {"Content-Type": "application/json"})


def provider(
    base_url: str = "http://127.0.0.1:9/v4", clock: StillClock | None = None, **table: object
) -> ElectricityMaps:
    settings = ElectricityMapsTable.model_validate({"base_url": base_url, "token_env": "EM_TOKEN"} | table)
    http = HttpSettings(timeout_seconds=5, retry_seconds=60)
    return ElectricityMaps(settings, http, ENV, clock or StillClock())


def ask(start: str, end: str, zone: str = "DE", factor_type: FactorType = "lifecycle") -> Ask:
    return Ask(zone, utc(start), utc(end), "average", factor_type)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def payload(content: object, asked: Ask, fetched_utc: datetime = NOW) -> Payload:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Payload(asked, "http://127.0.0.1/v4/carbon-intensity", raw, fetched_utc)


def row(start: str, intensity: float | None = 100, **more: object) -> dict[str, object]:
    return {"zone": "DE", "carbonIntensity": intensity, "datetime": start} | more


def past(*rows: dict[str, object], **more: object) -> dict[str, object]:
    return {"zone": "DE", "data": list(rows), "temporalGranularity": "hourly"} | more


def figures(content: object, asked: Ask, fetched_utc: datetime = NOW, **table: object) -> list[dict[str, Any]]:
    read = (provider(**table) if table else READER).parse(payload(content, asked, fetched_utc))
    assert read.schema == INTENSITY
    return read.to_pylist()


DAY = ask("2026-10-30T00:00", "2026-10-31T00:00")
READER = provider()


def fetched(server: Misbehaving, asked: Ask, clock: StillClock, version: str = "v4", **table: object) -> list[Payload]:
    return list(provider(f"{server.url}/{version}", clock, **table).fetch(asked))
