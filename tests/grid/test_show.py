"""What is shown of a zone is what the selection rule answers from the warehouse, hour by hour."""

import json
from pathlib import Path

import pytest

from pipeline.grid.show import Shown, show
from pipeline.grid.zone import Wanted
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window
from tests.grid.asked import DAY, NOW, PLAIN, settings, zone_of
from tests.prices.stored import learn, vintage

FACTORS = {"factor_type": "lifecycle", "zone": "DE"}


def shown(folder: Path, *rows: dict[str, object], wanted: Wanted = PLAIN, window: Window = DAY) -> Shown:
    warehouse = Warehouse(folder / "warehouse")
    if rows:
        learn(warehouse, *rows)
    return show(zone_of(settings(folder), wanted=wanted), warehouse, window, NOW)


def a_day() -> list[dict[str, object]]:
    """20 hours, each 10 g above the one before, the last two estimated; four hours are not there."""
    return [
        vintage(hour, 100.0 + 10 * n, NOW - HOUR, quality="estimated" if n > 17 else "measured", **FACTORS)
        for n, hour in enumerate(DAY.hours())
        if n < 20
    ]


def test_a_day_with_a_fallback_as_it_is_printed(tmp_path: Path) -> None:
    assert (
        "\n".join(shown(tmp_path, *a_day()).lines())
        == """\
DE: average lifecycle intensity, g CO2e/kWh
2026-10-31T00:00Z to 2026-11-01T00:00Z (24 hours, UTC)

   330 ┤                                                                     ███
       ┤                                             ▁▁▁▂▂▂▄▄▄▆▆▆███████████████
   247 ┤                                 ▁▁▁▃▃▃▅▅▅▇▇▇███████████████████████████
       ┤                     ▁▁▁▃▃▃▅▅▅▇▇▇███████████████████████████████████████
   165 ┤         ▁▁▁▃▃▃▅▅▅▇▇▇███████████████████████████████████████████████████
       ┤▃▃▃▅▅▅▇▇▇███████████████████████████████████████████████████████████████
    82 ┤████████████████████████████████████████████████████████████████████████
       ┤████████████████████████████████████████████████████████████████████████
     0 ┼────────────────────────────────────────────────────────────────────────
        10-31 00h         06h               12h               18h

min         100.0 (2026-10-31T00:00Z)
mean        212.5 over 24 hours
max         329.6 (2026-10-31T23:00Z)
provider    electricity_maps 96%, static 4%
quality     measured 75%, carried 12%, estimated 8%, yearly_zone 4%
basis       consumption 96%, production 4%
last update 2026-11-02T02:20Z"""
    )


def test_a_provider_that_is_named_stands_alone_and_its_gaps_stay_gaps(tmp_path: Path) -> None:
    found = shown(tmp_path, *a_day(), wanted=Wanted(provider="electricity_maps"))
    figures = [hour.carbon_intensity_g_per_kwh for hour in found.hours]
    assert figures[:20] == [100.0 + 10 * n for n in range(20)]
    assert (figures[20:23], figures[23]) == ([290.0] * 3, None)  # carried, at most three hours
    assert found.shares()["quality"] == pytest.approx(
        {"measured": 18 / 24, "carried": 3 / 24, "estimated": 2 / 24, "missing": 1 / 24}
    )


def test_json_has_every_hour_and_null_where_there_is_none(tmp_path: Path) -> None:
    found = json.loads(shown(tmp_path, *a_day(), wanted=Wanted(provider="electricity_maps")).to_json())
    assert (found["min_g_per_kwh"], found["max_g_per_kwh"]) == (100.0, 290.0)
    assert found["mean_g_per_kwh"] == pytest.approx((sum(100 + 10 * n for n in range(20)) + 3 * 290) / 23)
    assert (len(found["hours"]), found["hours"][23]["carbon_intensity_g_per_kwh"]) == (24, None)
    assert found["hours"][0] == {
        "hour_utc": "2026-10-31T00:00:00+00:00", "carbon_intensity_g_per_kwh": 100.0, "provider": "electricity_maps",
        "zone": "DE", "quality": "measured", "basis": "consumption", "updated_utc": "2026-11-02T02:20:00+00:00",
    }  # fmt: skip
    assert (found["signal"], found["factor_type"], found["forecast"]) == ("average", "lifecycle", False)


def test_steps_shorter_than_an_hour_are_shown_as_its_mean(tmp_path: Path) -> None:
    halves = [vintage(DAY.start, g, NOW, span, **FACTORS) for g, span in ((100.0, (0, 30)), (400.0, (30, 60)))]
    assert shown(tmp_path, *halves).hours[0].carbon_intensity_g_per_kwh == 250.0


def test_averages_and_marginal_rates_are_never_shown_together(tmp_path: Path) -> None:
    both = [
        vintage(DAY.start, 100.0, NOW, factor_type="direct", zone="DE"),
        vintage(DAY.start, 900.0, NOW, factor_type="direct", zone="DE", provider="watttime", signal="marginal"),
    ]
    learn(Warehouse(tmp_path / "warehouse"), *both)
    login = {"username_env": "WATT_USER", "password_env": "WATT_PASSWORD"}
    given = settings(tmp_path, watttime=login, providers=["electricity_maps"], factor_type="direct")
    for wanted, figure in ((Wanted(), 100.0), (Wanted("marginal", None, "watttime"), 900.0)):
        found = show(zone_of(given, wanted=wanted), Warehouse(tmp_path / "warehouse"), Window.of_hour(DAY.start), NOW)
        assert found.known == [figure]


def test_an_empty_warehouse_says_what_to_do_and_is_not_made(tmp_path: Path) -> None:
    found = shown(tmp_path, wanted=Wanted(provider="electricity_maps"))
    assert list(found.lines()) == [
        "DE: average lifecycle intensity, g CO2e/kWh",
        "2026-10-31T00:00Z to 2026-11-01T00:00Z (24 hours, UTC)",
        "note: 24 of 24 hours have no figure: `carbon-etl grid fetch` asks for them",
    ]
    assert json.loads(found.to_json())["mean_g_per_kwh"] is None
    assert not (tmp_path / "warehouse").exists()
