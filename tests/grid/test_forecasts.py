"""A forecast is kept with its time of issue, only where it differs, and never becomes a price."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.grid.fetch import Fetched
from pipeline.grid.forecasts import fetch_forecasts
from pipeline.grid.show import show, show_forecast
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window, floor_hour
from tests.grid.asked import NOW, SECRET, job, listed, settings, zone_of
from tests.misbehaving import Answer, misbehaving
from tests.sources.grid.asking import recorded

FIRST = floor_hour(NOW)
NEXT = Window(FIRST, FIRST + 4 * HOUR)


def outlook(issued_minutes: int, *figures: float | None) -> Answer:
    rows = [{"datetime": f"{FIRST + n * HOUR:%FT%TZ}", "carbonIntensity": g} for n, g in enumerate(figures)]
    issued = NOW + timedelta(minutes=issued_minutes)
    document = {"zone": "DE", "forecast": rows, "updatedAt": f"{issued:%FT%TZ}", "temporalGranularity": "hourly"}
    return Answer(body=json.dumps(document).encode())


def fetched(folder: Path, *answers: Answer, dry_run: bool = False) -> Fetched:
    with misbehaving(*answers) as server:
        given = settings(folder, server.url)
        return fetch_forecasts(job(given, NOW, dry_run=dry_run), zone_of(given))


def stored(folder: Path) -> list[tuple[object, ...]]:
    rows = run_query(folder / "warehouse", "from forecasts order by start_utc, issued_utc").to_pylist()
    return [
        ((r["start_utc"] - FIRST) // HOUR, r["carbon_intensity_g_per_kwh"], (r["issued_utc"] - NOW).seconds // 60)
        for r in rows
    ]


def test_a_forecast_is_stored_with_its_issue_and_its_answer(tmp_path: Path) -> None:
    told = fetched(tmp_path, outlook(0, 300, 200, 100))
    assert list(told.lines()) == [
        "grid zone DE: average lifecycle, newest forecast",
        "  electricity_maps: zone DE, 3 steps issued 2026-11-02T03:20Z, up to 2026-11-02T06:00Z, 3 steps are stored",
        "  static: not asked: embedded in this program, never asked",
    ]
    assert stored(tmp_path) == [(0, 300, 0), (1, 200, 0), (2, 100, 0)]
    (payload,) = run_query(tmp_path / "warehouse", "from payloads").to_pylist()
    assert json.loads(payload["body"])["zone"] == "DE"


def test_only_what_a_later_issue_says_otherwise_is_added(tmp_path: Path) -> None:
    fetched(tmp_path, outlook(0, 300, 200, 100))
    told = fetched(tmp_path, outlook(10, 300, 250, 100, 50))
    assert "4 steps issued 2026-11-02T03:30Z, up to 2026-11-02T07:00Z, 2 steps are stored" in list(told.lines())[1]
    assert stored(tmp_path) == [(0, 300, 0), (1, 200, 0), (1, 250, 10), (2, 100, 0), (3, 50, 10)]
    again = fetched(tmp_path, outlook(20, 300, 250, 100, 50))
    assert "nothing differs from what is stored" in list(again.lines())[1]
    fetched(tmp_path, outlook(30, 300, 200))
    assert stored(tmp_path)[1:4] == [(1, 200, 0), (1, 250, 10), (1, 200, 30)]


def test_the_newest_figure_of_each_hour_is_shown(tmp_path: Path) -> None:
    fetched(tmp_path, outlook(0, 300, 200, 100))
    fetched(tmp_path, outlook(10, 300, 250))
    given = settings(tmp_path)
    shown = show_forecast(zone_of(given), Warehouse(tmp_path / "warehouse"), NEXT)
    assert [hour.carbon_intensity_g_per_kwh for hour in shown.hours] == [300.0, 250.0, 100.0, None]
    lines = list(shown.lines())
    assert lines[0] == "DE: forecast of the average lifecycle intensity, g CO2e/kWh"
    assert "issued      2026-11-02T03:30Z" in lines
    assert lines[-1] == "note: 1 of 4 hours have no figure: `carbon-etl grid fetch --forecast` asks for them"


def test_a_forecast_prices_nothing(tmp_path: Path) -> None:
    fetched(tmp_path, outlook(0, 300, 200, 100))
    warehouse, zone = Warehouse(tmp_path / "warehouse"), zone_of(settings(tmp_path))
    assert {hour.provider for hour in show(zone, warehouse, NEXT, NOW).hours} == {"static"}
    assert not list((tmp_path / "warehouse").glob("intensity/**/*.parquet"))


def test_a_dry_run_stores_no_forecast(tmp_path: Path) -> None:
    told = fetched(tmp_path, outlook(0, 300), dry_run=True)
    assert list(told.lines())[1].endswith("1 steps would be stored")
    assert not (tmp_path / "warehouse").exists()


def test_a_plan_without_forecasts_is_told_so(tmp_path: Path) -> None:
    told = fetched(tmp_path, Answer(401, recorded("electricity_maps/plan_401.json")))
    assert (told.exit_code, "not in the plan" in list(told.lines())[2]) == (2, True)
    assert SECRET not in "\n".join(told.lines())


def test_providers_without_forecasts_are_named(tmp_path: Path) -> None:
    given = settings(tmp_path, providers=["rte", "static"], factor_type="direct")
    with pytest.raises(ConfigError, match=r"nobody can be asked about FR \(rte: it has no forecast; static: embedded"):
        fetch_forecasts(job(given), zone_of(given, "FR"))


def test_the_list_of_zones_is_not_needed_for_a_forecast(tmp_path: Path) -> None:
    with misbehaving(outlook(0, 300), listed()) as server:
        given = settings(tmp_path, server.url)
        fetch_forecasts(job(given), zone_of(given))
        assert [asked.path for asked in server.asked] == ["/v4/carbon-intensity/forecast"]
