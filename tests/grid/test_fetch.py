"""What is fetched by hand is stored once, told by quality, and a refusal says whose fault it is."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.grid.fetch import Fetched, fetch
from pipeline.grid.zone import Wanted
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR, Window
from tests.grid.asked import DAY, NOW, SECRET, hourly, job, listed, settings, zone_of
from tests.misbehaving import Answer, misbehaving
from tests.sources.grid.asking import recorded

TOKEN, PLAN = (recorded(f"electricity_maps/{name}_401.json") for name in ("token", "plan"))


def fetched(
    folder: Path, *answers: Answer, window: Window = DAY, dry_run: bool = False, **intensity: object
) -> Fetched:
    with misbehaving(*answers) as server:
        given = settings(folder, server.url, **intensity)
        return fetch(job(given, dry_run=dry_run), zone_of(given), window)


def stored(folder: Path, question: str) -> list[dict[str, object]]:
    return run_query(folder / "warehouse", question).to_pylist()


def test_a_day_is_asked_stored_and_told_by_quality(tmp_path: Path) -> None:
    told = fetched(tmp_path, listed(), hourly(DAY))
    assert list(told.lines()) == [
        "grid zone DE: average lifecycle, 2026-10-31T00:00Z to 2026-11-01T00:00Z (24 hours)",
        "  electricity_maps: zone DE, 24 hours asked, 24 figures are stored: estimated 1, measured 23",
        "  static: not asked: embedded in this program, never asked",
    ]
    assert told.exit_code == 0
    figures = stored(tmp_path, "select carbon_intensity_g_per_kwh as g, quality from intensity order by start_utc")
    assert [row["g"] for row in figures] == [300.0 + n for n in range(24)]
    assert stored(tmp_path, "select outcome, changed from intensity_checks") == [{"outcome": "ok", "changed": 24}]
    assert stored(tmp_path, "select count(*) as n from payloads") == [{"n": 1}]
    assert stored(tmp_path, "select command, exit_code from runs") == [{"command": "grid fetch", "exit_code": 0}]


def test_what_was_asked_lately_is_not_asked_again(tmp_path: Path) -> None:
    fetched(tmp_path, listed(), hourly(DAY))
    with misbehaving(Answer(500)) as server:
        given = settings(tmp_path, server.url)
        told = fetch(job(given, NOW + timedelta(minutes=5)), zone_of(given), DAY)
        assert server.asked == []
    assert "no hour is due, all were asked about before, nothing differs from what is stored" in list(told.lines())[1]


def test_a_dry_run_asks_and_stores_nothing(tmp_path: Path) -> None:
    told = fetched(tmp_path, listed(), hourly(DAY), dry_run=True)
    assert "24 figures would be stored: estimated 1, measured 23" in list(told.lines())[1]
    assert not (tmp_path / "warehouse").exists()


@pytest.mark.parametrize(
    ("answers", "kind", "code"),
    [
        ((Answer(401, TOKEN),), "refused: electricity_maps answers 401", 2),
        ((listed(), Answer(401, PLAN)), "not in the plan: electricity_maps answers 401", 2),
        ((Answer(503, b"closed"),), "no answer: ", 75),
        ((listed(), Answer(200, b"{")), "not understood: ", 1),
        ((listed(), hourly(DAY, zone="FR")), "not understood: .*'FR', though 'DE' was asked", 1),
        ((listed(zone="FR"),), "nothing there: electricity_maps lists no zone 'DE'", 0),
    ],
    ids=["token", "plan", "503", "truncated", "other zone", "no zone"],
)
def test_a_failure_is_told_by_its_kind_and_ends_with_its_code(
    answers: tuple[Answer, ...], kind: str, code: int, tmp_path: Path
) -> None:
    told = fetched(tmp_path, *answers)
    assert told.exit_code == code
    assert [error for error in told.errors if str(error) in "\n".join(told.lines())] == list(told.errors)
    said = "\n".join(told.lines())
    assert re.search(kind, said), said
    assert SECRET not in said
    assert stored(tmp_path, "select count(*) as n from intensity") == [{"n": 0}]


def test_a_missing_token_is_a_failure_of_that_provider_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(
        "zone,start_utc,end_utc,carbon_intensity_g_per_kwh,quality\n"
        "DE,2026-10-31T00:00Z,2026-10-31T01:00Z,111,estimated\nDE,2026-10-31T01:00Z,2026-10-31T02:00Z,222,measured\n"
    )
    told = fetched(
        tmp_path, Answer(500), providers=["electricity_maps", "csv"], csv={"path": str(path)},
        electricity_maps={"token_env": "NOWHERE"},
    )  # fmt: skip
    lines = list(told.lines())
    assert lines[2].startswith("  electricity_maps: not asked: the environment has no NOWHERE")
    assert lines[3] == "  csv: zone DE, read, 2 figures are stored: estimated 1, measured 1"
    assert told.exit_code == 2


def test_marginal_figures_lie_beside_averages_and_price_nothing(tmp_path: Path) -> None:
    login, moer = recorded("watttime/login.json"), recorded("watttime/historical_moer.json")
    window = Window(DAY.start - 20 * HOUR, DAY.end + 40 * HOUR)
    with misbehaving(Answer(body=login), Answer(body=moer)) as server:
        table = {"base_url": server.url, "username_env": "WATT_USER", "password_env": "WATT_PASSWORD"}
        given = settings(tmp_path, watttime=table)
        zone = zone_of(given, "CAISO_NORTH", Wanted("marginal", "direct", "watttime"))
        told = fetch(job(given), zone, window)
    assert told.exit_code == 0, list(told.lines())
    rows = stored(tmp_path, "select distinct signal, factor_type, zone from intensity")
    assert rows == [{"signal": "marginal", "factor_type": "direct", "zone": "CAISO_NORTH"}]
    own = {"watttime": "CAISO_NORTH"}
    warehouse = Warehouse(tmp_path / "warehouse")
    assert warehouse.intensity_vintages(own, window).num_rows == 0
    assert warehouse.intensity_vintages(own, window, "marginal").num_rows > 0


def test_where_nobody_can_be_asked_every_reason_is_told(tmp_path: Path) -> None:
    given = settings(tmp_path, providers=["static"])
    with pytest.raises(ConfigError, match=r"nobody can be asked about DE \(static: embedded"):
        fetch(job(given), zone_of(given), DAY)


def test_no_secret_reaches_the_warehouse_though_the_vendor_repeats_it(tmp_path: Path) -> None:
    told = fetched(tmp_path, listed(), hourly(DAY, note=SECRET))
    assert told.exit_code == 0
    files = [path.read_bytes() for path in (tmp_path / "warehouse").rglob("*") if path.is_file()]
    bodies = b"".join(row["body"] for row in stored(tmp_path, "select body from payloads"))  # type: ignore[misc] # blobs
    assert b"***" in bodies
    assert not [content for content in [*files, bodies] if SECRET.encode() in content]
