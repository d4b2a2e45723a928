"""Providers as a run opens them, asked of a local server, and answers as if they had come."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.settings import HttpSettings
from pipeline.sources.grid.contract import Ask, FactorType, Payload, Provider
from pipeline.tables import INTENSITY
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid"
SECRET = "s3cr3t+/ key"  # noqa: S105 # a made-up one
ENV = {"KEY": SECRET}
FETCHED = StillClock().now()
HTTP = HttpSettings.model_validate({"timeout_seconds": 5.0, "retry_seconds": 60.0, "max_response_mb": 1})


def utc(text: str) -> datetime:
    """A moment of 2026 as `11-01T10:00`."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC)


def ask(zone: str, start: str, end: str, factor_type: FactorType = "direct") -> Ask:
    return Ask(zone, utc(start), utc(end), "average", factor_type)


def recorded(name: str) -> bytes:
    """A payload file."""
    return (PAYLOADS / name).read_bytes()


def came(asked: Ask, body: bytes, url: str = "http://vendor/", fetched: datetime = FETCHED) -> Payload:
    """An answer as `fetch` gives it."""
    return Payload(asked, url, body, fetched)


def figures(provider: Provider, payload: Payload) -> dict[str, float | None]:
    """What is parsed, by start as `11-01T10:00`; steps of 30 minutes add `+30`, as those of 5 and 15."""
    return {_span(row): row["carbon_intensity_g_per_kwh"] for row in rows(provider, payload)}


def rows(provider: Provider, payload: Payload) -> list[dict[str, Any]]:
    table = provider.parse(payload)
    assert table.schema == INTENSITY
    parsed: list[dict[str, Any]] = table.to_pylist()
    return parsed


def _span(row: dict[str, Any]) -> str:
    minutes = (row["end_utc"] - row["start_utc"]).total_seconds() / 60
    return f"{row['start_utc']:%m-%dT%H:%M}" + ("" if minutes == 60 else f"+{minutes:g}")
