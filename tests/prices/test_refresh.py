"""Providers are asked where their figures may have changed, in their order, and nowhere else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SourceUnavailable
from pipeline.refresh import Refresh, Refreshed
from pipeline.settings import HttpSettings, Settings
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.grid.web import NotInPlan
from tests.misbehaving import Answer, Asked, misbehaving
from tests.prices import stored
from tests.prices.stored import START, StandingClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONTH = [START + n * HOUR for n in range(30 * 24)]
LONG_AFTER = MONTH[-1] + 200 * DAY
TOKEN = "t0ken-of-nobody"  # noqa: S105 # a made-up one


@dataclass
class Grid:
    """What a vendor of grid figures knows: g/kWh by hour, and what each was asked for."""

    g_per_kwh: dict[datetime, float | None] = field(default_factory=dict)
    access: tuple[str, ...] = ("carbon-intensity/past-range", "carbon-intensity/history", "carbon-intensity/latest")
    asked: list[str] = field(default_factory=list)
    down: bool = False

    def answer(self, asked: Asked) -> Answer:
        """As Electricity Maps v3 does."""
        self.asked.append(asked.path)
        if self.down:
            return Answer(503, b'{"error": "down for the day"}')
        if asked.path.endswith("/zones"):
            return Answer(body=json.dumps({"GB": {"zoneName": "Great Britain", "access": list(self.access)}}).encode())
        start, end = (datetime.fromisoformat(asked.parameters[name]) for name in ("start", "end"))
        rows = [
            {
                "zone": "GB", "carbonIntensity": value, "datetime": f"{hour:%FT%T.000Z}",
                "updatedAt": f"{hour + 3 * HOUR:%FT%T.000Z}", "emissionFactorType": "direct",
                "isEstimated": False, "estimationMethod": None,
            }
            for hour, value in self.g_per_kwh.items() if start <= hour < end
        ]  # fmt: skip
        return Answer(body=json.dumps({"zone": "GB", "data": rows, "temporalGranularity": "hourly"}).encode())

    @property
    def ranges(self) -> int:
        """How often figures were asked for."""
        return sum(not path.endswith("/zones") for path in self.asked)


@pytest.fixture
def grid() -> Iterator[tuple[Grid, str]]:
    known = Grid({hour: 100.0 + hour.hour for hour in MONTH})
    with misbehaving(decide=known.answer) as server:
        yield known, server.url


def settings(folder: Path, url: str, providers: tuple[str, ...] = ("electricity_maps",), **more: object) -> Settings:
    intensity: dict[str, object] = {
        "providers": list(providers), "factor_type": "direct",
        "electricity_maps": {"base_url": f"{url}/v3", "token_env": "TOKEN"},
    } | more  # fmt: skip
    limits = HttpSettings(timeout_seconds=5, retry_seconds=2)
    return stored.settings(folder, intensity=intensity).model_copy(update={"http": limits})


def refresh(given: Settings, hours: list[datetime], now: datetime, *, dry_run: bool = False) -> Refreshed:
    site = stored.open_site(stored.CLUSTER, given, {"TOKEN": TOKEN}, StandingClock(now))
    warehouse = Warehouse(Path(given.warehouse.path))
    return Refresh(site.prices, warehouse, f"run-{now:%m%dT%H%M%S}", now, dry_run=dry_run).average(hours)


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    with open_views(folder, name) as connection:
        rows: list[dict[str, Any]] = connection.sql(f"from {name} order by all").to_arrow_table().to_pylist()
    return rows


def test_a_settled_month_is_asked_for_once(tmp_path: Path, grid: tuple[Grid, str]) -> None:
    vendor, url = grid
    given = settings(tmp_path, url)
    first = refresh(given, MONTH, LONG_AFTER)
    assert (first.fresh.num_rows, first.asked_hours, vendor.ranges) == (720, 720, 3)  # chunks of ten days
    second = refresh(given, MONTH, LONG_AFTER + HOUR)
    assert (second.fresh.num_rows, second.asked_hours, vendor.ranges) == (0, 0, 3)


def test_with_the_network_cut_a_settled_month_completes_from_the_store(tmp_path: Path, grid: tuple[Grid, str]) -> None:
    vendor, url = grid
    refresh(settings(tmp_path, url), MONTH, LONG_AFTER)
    vendor.down = True
    again = refresh(settings(tmp_path, "http://127.0.0.1:9"), MONTH, LONG_AFTER + DAY)
    assert (again.problems, again.asked_hours) == ([], 0)
    priced = stored.fold(settings(tmp_path, url), MONTH[:48], LONG_AFTER + DAY)
    assert {row["intensity_quality"] for row in priced.read_table("emissions").to_pylist()} == {"measured"}


def test_young_hours_are_read_again_by_each_run_and_the_others_at_7_30_and_90_days(
    tmp_path: Path, grid: tuple[Grid, str]
) -> None:
    vendor, url = grid
    hours, given = MONTH[:72], settings(tmp_path, url)
    end = hours[-1] + HOUR
    asked = [
        refresh(given, hours, end + after).asked_hours
        for after in (
            timedelta(0), timedelta(minutes=1), HOUR, 3 * DAY, 3 * DAY + HOUR, 7 * DAY, 7 * DAY + HOUR, 30 * DAY,
            31 * DAY, 90 * DAY, 91 * DAY,
        )
    ]  # fmt: skip
    # 72 new; at once again none; an hour later those younger than 48 h when last asked; two days on what has left its
    # youth unread; on day 7 of the last hour all; the same on 30 and 90
    assert asked == [72, 0, 48, 47, 0, 72, 0, 72, 0, 72, 0]
    assert vendor.ranges == 6


def test_only_what_differs_becomes_a_vintage_and_only_its_answer_is_kept(
    tmp_path: Path, grid: tuple[Grid, str]
) -> None:
    vendor, url = grid
    hours, given = MONTH[:24], settings(tmp_path, url)
    end = hours[-1] + HOUR
    refresh(given, hours, end + HOUR)
    vendor.g_per_kwh[hours[5]] = 555.0
    vendor.g_per_kwh[hours[6]] = None
    again = refresh(given, hours, end + 2 * HOUR)
    changed = {row["start_utc"]: row["carbon_intensity_g_per_kwh"] for row in again.fresh.to_pylist()}
    assert changed == {hours[5]: 555.0, hours[6]: None}
    refresh(given, hours, end + 3 * HOUR)
    kept = table(tmp_path, "payloads")
    assert len(kept) == 2
    assert {row["payload_id"] for row in kept} == {row["payload_id"] for row in table(tmp_path, "intensity")}
    assert [(row["outcome"], row["changed"]) for row in table(tmp_path, "intensity_checks")] == [
        ("ok", 24), ("ok", 2), ("ok", 0),
    ]  # fmt: skip
    assert all(TOKEN.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert all(TOKEN not in f"{row['url']}{row['body']!r}" for row in kept)


def test_a_failed_call_is_no_answer_and_is_asked_again(tmp_path: Path, grid: tuple[Grid, str]) -> None:
    vendor, url = grid
    given = settings(tmp_path, url)
    vendor.down = True
    failed = refresh(given, MONTH[:24], LONG_AFTER)
    assert [type(problem) for problem in failed.problems] == [SourceUnavailable]
    assert failed.fresh.num_rows == 0
    vendor.down = False
    assert refresh(given, MONTH[:24], LONG_AFTER + HOUR).fresh.num_rows == 24


def test_the_next_provider_is_asked_only_where_those_before_it_do_not_suffice(
    tmp_path: Path, grid: tuple[Grid, str]
) -> None:
    vendor, url = grid
    hours = MONTH[:24]
    for hour in hours[10:12]:
        del vendor.g_per_kwh[hour]
    vendor.g_per_kwh[hours[20]] = None
    spans: list[str] = []

    def neso(asked: Asked) -> Answer:
        spans.append(asked.path)
        first, last = (datetime.fromisoformat(part) for part in asked.path.split("/")[-2:])
        halves = [first + n * timedelta(minutes=30) for n in range(int((last - first) / timedelta(minutes=30)))]
        rows = [
            {
                "from": f"{half:%FT%H:%MZ}", "to": f"{half + timedelta(minutes=30):%FT%H:%MZ}",
                "intensity": {"forecast": 200, "actual": 210, "index": "moderate"},
            }
            for half in halves
        ]  # fmt: skip
        return Answer(body=json.dumps({"data": rows}).encode())

    with misbehaving(decide=neso) as server:
        given = settings(tmp_path, url, ("electricity_maps", "neso"), neso={"base_url": server.url})
        refresh(given, hours, LONG_AFTER)
        assert [path.rsplit("/", 2)[-2] for path in spans] == ["2026-11-03T10:00Z", "2026-11-03T20:00Z"]
        refresh(given, hours, LONG_AFTER + HOUR)
        assert len(spans) == 2
    warehouse = stored.fold(given, hours, LONG_AFTER + 2 * HOUR)
    by_hour = {row["hour_utc"]: row["intensity_provider"] for row in warehouse.read_table("emissions").to_pylist()}
    assert [hour for hour, provider in by_hour.items() if provider == "neso"] == [hours[10], hours[11], hours[20]]


def test_what_a_plan_does_not_hold_does_not_keep_from_asking_for_the_rest(
    tmp_path: Path, grid: tuple[Grid, str]
) -> None:
    vendor, url = grid
    vendor.access = ("carbon-intensity/latest",)
    given = settings(tmp_path, url)
    told = refresh(given, [*MONTH[:3], *MONTH[10:12]], LONG_AFTER)
    assert {type(problem) for problem in told.problems} == {NotInPlan}
    assert [row["outcome"] for row in table(tmp_path, "intensity_checks")] == ["not in plan"] * 2
    assert vendor.ranges == 0


def test_a_dry_run_asks_and_writes_nothing(tmp_path: Path, grid: tuple[Grid, str]) -> None:
    _, url = grid
    told = refresh(settings(tmp_path / "w", url), MONTH[:24], LONG_AFTER, dry_run=True)
    assert told.fresh.num_rows == 24
    assert not (tmp_path / "w").exists()


def test_no_hour_asks_nobody(tmp_path: Path, grid: tuple[Grid, str]) -> None:
    vendor, url = grid
    assert refresh(settings(tmp_path, url), [], datetime(2026, 12, 1, tzinfo=UTC)).asked_hours == 0
    assert vendor.asked == []
