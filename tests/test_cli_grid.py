"""The grid's commands as a user meets them: output, exit codes, what is stored, and no secret anywhere."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.window import HOUR, Window, floor_hour
from tests.grid.asked import SECRET, hourly, listed
from tests.misbehaving import Answer, Misbehaving, misbehaving
from tests.product import Product
from tests.sources.grid.asking import recorded

ENV = {"EM_TOKEN": SECRET}
PROVIDERS = """\
[intensity]
providers = ["electricity_maps", "static"]
[intensity.electricity_maps]
base_url = "{url}/v4"
token_env = "EM_TOKEN"
[http]"""


@pytest.fixture
def day() -> Window:
    """A day that is over, whenever the tests run."""
    end = floor_hour(datetime.now(UTC)) - 6 * HOUR
    return Window(end - timedelta(days=1), end)


def span(day: Window) -> tuple[str, ...]:
    return "--start", f"{day.start:%FT%H:%MZ}", "--end", f"{day.end:%FT%H:%MZ}"


def product(folder: Path, url: str) -> Product:
    made = Product(folder, "http://127.0.0.1:9")
    made.replace("[http]", PROVIDERS.format(url=url))
    return made


def test_a_day_is_fetched_shown_and_its_token_is_nowhere(tmp_path: Path, day: Window) -> None:
    with misbehaving(listed(), hourly(day, note=SECRET)) as vendor:
        here = product(tmp_path, vendor.url)
        said = [here.call("grid", "fetch", "DE", *span(day), "--dry-run", env=ENV)]
        assert here.files == {}
    with misbehaving(listed(), hourly(day, note=SECRET)) as vendor:
        here = product(tmp_path, vendor.url)
        said.append(here.call("grid", "fetch", "--cluster", "prod-eu", *span(day), env=ENV))
        assert {asked.headers["auth-token"] for asked in vendor.asked} == {SECRET}
    assert [one.code for one in said] == [0, 0], said
    assert "24 figures would be stored: estimated 1, measured 23" in said[0].out
    assert "24 figures are stored: estimated 1, measured 23" in said[1].out

    shown = here.call("grid", "show", "DE", *span(day), "--provider", "electricity_maps")
    assert shown.code == 0
    assert max(len(line) for line in shown.out.splitlines()) <= 80
    assert "\x1b" not in shown.out
    assert re.search(r"^mean +311\.5 over 24 hours$", shown.out, re.MULTILINE)
    found = json.loads(here.call("grid", "show", "DE", *span(day), "--json").out)
    assert [hour["carbon_intensity_g_per_kwh"] for hour in found["hours"]] == [300.0 + n for n in range(24)]
    assert found["shares"]["quality"] == pytest.approx({"measured": 23 / 24, "estimated": 1 / 24})
    for one in (*said, shown):
        assert SECRET not in one.out + one.err
    assert not [name for name, content in here.files.items() if SECRET.encode() in content]


@pytest.mark.parametrize(
    ("body", "told"),
    [("token_401", "refused: electricity_maps answers 401"), ("plan_401", "not in the plan: electricity_maps")],
)
def test_a_bad_token_and_a_plan_that_ends_are_told_apart(body: str, told: str, tmp_path: Path, day: Window) -> None:
    refused = Answer(401, recorded(f"electricity_maps/{body}.json"))
    with misbehaving(listed(), refused) as vendor:
        said = product(tmp_path, vendor.url).call("grid", "fetch", "DE", *span(day), env=ENV)
    assert said.code == 2
    assert told in said.out
    assert said.only_error().startswith("error: electricity_maps answers 401")


def test_a_check_of_every_cluster_ends_with_65_where_a_credential_fails(tmp_path: Path) -> None:
    with misbehaving(Answer(401, recorded("electricity_maps/token_401.json"))) as vendor:
        here = product(tmp_path, vendor.url)
        said = here.call("grid", "check", env=ENV)
        missing = here.call("grid", "check", "DE", "--provider", "electricity_maps")
    assert (said.code, missing.code) == (65, 65)
    assert said.out.startswith("✗ DE (cluster prod-eu) electricity_maps: refused: ")
    assert "not asked: the environment has no EM_TOKEN" in missing.out
    assert here.files == {}


def test_config_check_names_the_variable_that_is_missing_and_never_the_secret(tmp_path: Path) -> None:
    here = product(tmp_path, "http://127.0.0.1:9")
    good, bad = here.call("config", "check", env=ENV), here.call("config", "check")
    assert (good.code, bad.code) == (0, 2)
    assert "✓ prod-eu: electricity_maps: zone DE, token from EM_TOKEN" in good.out.splitlines()
    assert "1 wrong" in bad.out
    assert "✗ prod-eu: electricity_maps: zone DE: the environment has no EM_TOKEN" in bad.out
    assert SECRET not in good.out + good.err


def test_nothing_settled_is_said_by_command_and_as_json(tmp_path: Path) -> None:
    here = Product(tmp_path, "http://127.0.0.1:9")
    said = here.call("settled", "--cluster", "prod-eu", "--since", "2026-11-01T00:00Z")
    assert (said.code, said.out) == (0, "prod-eu: no figures; 0 days still open\n")
    assert json.loads(here.call("settled", "--json").out) == [
        {"cluster": "prod-eu", "settled_until": None, "open": 0, "days": []}
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fetch",), "say which zone: ZONE as in grid_zone, or --cluster NAME"),
        (("fetch", "DE", "--forecast", "--start", "2026-11-01T00:00Z"), "--forecast is the newest one"),
        (("fetch", "DE", "--end", "2199-01-01T00:00Z"), "lies ahead: --forecast is for hours to come"),
        (("fetch", "DE", "--start", "2026-11-01T00:30Z", "--end", "2026-11-02T00:00Z"), "is not a whole UTC hour"),
        (("show", "DE", "--start", "2026-11-01"), "has no time zone"),
        (("zones", "--region", "eu-west-1"), "--region goes with --cloud"),
        (("zones", "xyzq"), "nothing is called 'xyzq'"),
    ],
)
def test_what_cannot_be_meant_ends_with_2(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBON_ETL_CONFIG", str(Product(tmp_path, "http://127.0.0.1:9").config))
    result = CliRunner().invoke(app, ["grid", *arguments])
    assert getattr(result.exception, "exit_code", None) == 2, result
    assert says in str(result.exception)
    assert result.stdout == ""


def test_zones_need_no_configuration(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["grid", "zones", "--near", "-33.9,151.2", "--cloud", "azure"])
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[1:3] == ["azure", "australiaeast"]


def test_a_forecast_is_asked_stored_and_shown(tmp_path: Path) -> None:
    now = floor_hour(datetime.now(UTC))
    rows = [{"datetime": f"{now + n * HOUR:%FT%TZ}", "carbonIntensity": 100 + n} for n in range(73)]
    issue = {"zone": "DE", "forecast": rows, "updatedAt": f"{now:%FT%TZ}", "temporalGranularity": "hourly"}
    with misbehaving(Answer(body=json.dumps(issue).encode())) as vendor:
        here = product(tmp_path, vendor.url)
        said = here.call("grid", "fetch", "DE", "--forecast", env=ENV)
        assert_asked_once(vendor)
    assert (said.code, "73 steps are stored" in said.out) == (0, True), said
    window = ("--start", f"{now:%FT%H:%MZ}", "--end", f"{now + 72 * HOUR:%FT%H:%MZ}")
    shown = json.loads(here.call("grid", "show", "DE", "--forecast", *window, "--json").out)
    assert [hour["carbon_intensity_g_per_kwh"] for hour in shown["hours"]] == [100.0 + n for n in range(72)]
    assert not [name for name in here.files if name.startswith("intensity/")]


def assert_asked_once(vendor: Misbehaving) -> None:
    assert [asked.path for asked in vendor.asked] == ["/v4/carbon-intensity/forecast"]
