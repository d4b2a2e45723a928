"""What WattTime is asked, answers and means, made small."""

import base64
import json
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.settings import HttpSettings
from pipeline.settings.intensity import WattTimeTable
from pipeline.sources.grid.contract import Ask, Payload, Signal
from pipeline.sources.grid.watttime import WattTime
from pipeline.tables import INTENSITY
from tests.misbehaving import Answer, Misbehaving
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "watttime"
USER, PASSWORD = "wt-us3r", "wt-p4ssw0rd/+"  # made-up ones
ENV = {"WT_USER": USER, "WT_PASSWORD": PASSWORD}
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TOKEN = json.loads((PAYLOADS / "login.json").read_bytes())["token"]
NOW = StillClock().now()  # 2026-11-02T03:00Z
CREDENTIALS = {"username_env": "WT_USER", "password_env": "WT_PASSWORD"}


def body(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def answer(name: str, status: int = 200, **headers: str) -> Answer:
    return Answer(status, body(name), {"Content-Type": "application/json"} | headers)


LOGIN, MOER, AOER = answer("login"), answer("historical_moer"), answer("historical_aoer")


def provider(
    url: str = "http://127.0.0.1:9", clock: StillClock | None = None, retry_seconds: float = 60, **table: object
) -> WattTime:
    settings = WattTimeTable.model_validate({"base_url": url} | CREDENTIALS | table)
    return WattTime(settings, HttpSettings(timeout_seconds=2, retry_seconds=retry_seconds), ENV, clock or StillClock())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ask(start: str, end: str, region: str = "CAISO_NORTH", signal: Signal = "marginal") -> Ask:
    return Ask(region, utc(start), utc(end), signal, "direct")


MIDNIGHT = ask("2026-11-01T00:00", "2026-11-01T01:00")
ITALY = ask("2026-11-01T14:00", "2026-11-01T16:00", "IT", "average")


def answered(data: object, asked: Ask = MIDNIGHT, **meta: object) -> bytes:
    """An answer to `asked`, as documented but for what is given."""
    signal, seconds = {"marginal": ("co2_moer", 300), "average": ("co2_aoer", 3600)}[asked.signal]
    described = {
        "region": asked.zone, "signal_type": signal, "data_point_period_seconds": seconds, "units": "lbs_co2_per_mwh",
        "model": {"date": "2026-03-01"},
    } | meta  # fmt: skip
    return json.dumps({"data": data, "meta": described}).encode()


def point(when: str, value: object = 1000.0, **more: object) -> dict[str, object]:
    return {"point_time": when, "value": value} | more


def figures(content: bytes, asked: Ask = MIDNIGHT, **table: object) -> list[dict[str, Any]]:
    read = provider(**table).parse(Payload(asked, "http://127.0.0.1/v3/historical", content, NOW))
    assert read.schema == INTENSITY
    return read.to_pylist()


def fetched(server: Misbehaving, asked: Ask = MIDNIGHT, clock: StillClock | None = None) -> list[Payload]:
    return list(provider(server.url, clock).fetch(asked))


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
