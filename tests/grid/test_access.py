"""Credentials are told by where they are, never by what they are; a check asks and stores nothing."""

from pathlib import Path

import pytest

from pipeline.discovery import FAIL, NOTE, OK
from pipeline.grid.access import check, would_ask
from pipeline.grid.zone import Wanted
from pipeline.site import open_site
from tests.grid.asked import ENV, NOW, SECRET, listed, settings, zone_of
from tests.misbehaving import Answer, misbehaving
from tests.prices.stored import StandingClock
from tests.sources.grid.asking import recorded

EVERY = Wanted(None, None, None)


def asked(folder: Path, env: dict[str, str] = ENV, **intensity: object) -> list[tuple[int, str]]:
    given = settings(folder, **intensity)
    site = open_site("c", given, env, StandingClock(NOW))
    return [(finding.level, finding.text) for finding in would_ask(site, env)]


def test_each_provider_says_about_which_zone_and_with_what_it_would_be_asked(tmp_path: Path) -> None:
    assert asked(tmp_path) == [
        (OK, "electricity_maps: zone DE, token from EM_TOKEN"),
        (OK, "static: embedded yearly averages of DE"),
    ]


def test_credentials_that_are_missing_or_not_named_are_failures(tmp_path: Path) -> None:
    (missing, _) = asked(tmp_path, {})
    assert missing == (
        FAIL, "electricity_maps: zone DE: the environment has no EM_TOKEN, which the config names as a secret: set it"
    )  # fmt: skip
    (unnamed, _) = asked(tmp_path, electricity_maps={})
    assert unnamed[0] == FAIL
    assert "write token_env or token_file into [intensity.electricity_maps]" in unnamed[1]


def test_open_data_needs_no_key_a_file_is_read_and_a_login_has_two_parts(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("zone,start_utc,end_utc,carbon_intensity_g_per_kwh\nDE,2026-10-31T00:00Z,2026-10-31T01:00Z,1\n")
    watttime = {"username_env": "WATT_USER", "password_env": "WATT_PASSWORD", "zone": "CAISO"}
    found = asked(
        tmp_path, providers=["csv", "watttime", "neso", "prometheus"], factor_type="direct", watttime=watttime,
        csv={"path": str(path), "factor_type": "direct"}, neso={"zone": "GB"},
        prometheus={"query": "m", "factor_type": "direct"},
    )  # fmt: skip
    assert found == [
        (OK, "csv: zone DE, read by each run"),
        (OK, "watttime: zone CAISO, user from WATT_USER, password from WATT_PASSWORD"),
        (OK, "neso: zone GB, needs no key"),
        (OK, "prometheus: zone DE, on the cluster's own Prometheus"),
    ]


def checked(folder: Path, *answers: Answer, wanted: Wanted = EVERY) -> list[tuple[int, str]]:
    with misbehaving(*answers) as server:
        found = [(f.level, f.text) for f in check(zone_of(settings(folder, server.url), wanted=wanted))]
    assert not (folder / "warehouse").exists(), "a check stores nothing"
    return found


def test_a_check_says_what_the_credentials_reach(tmp_path: Path) -> None:
    found = checked(tmp_path, listed(["carbon-intensity/latest", "carbon-intensity/history"]), Answer(body=LATEST))
    assert found[0] == (OK, "DE (Germany): the token may ask history, latest")
    assert found[2] == (OK, "DE at 2026-11-02T03:00Z: 330 g/kWh lifecycle, estimated")
    assert found[3] == (OK, "has forecasts: `carbon-etl grid fetch --forecast`")
    assert found[4] == (NOTE, "not asked: embedded in this program, never asked")


LATEST = recorded("electricity_maps/latest_v4.json")


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        (Answer(401, recorded("electricity_maps/token_401.json")), FAIL, "refused: electricity_maps answers 401"),
        (
            Answer(401, recorded("electricity_maps/plan_401.json")),
            NOTE,
            "not in the plan: electricity_maps answers 401",
        ),
        (Answer(403, b"no"), NOTE, "not in the plan: "),
        (Answer(500, SECRET.encode()), FAIL, "no answer: electricity_maps"),
        (listed(zone="FR"), NOTE, "nothing there: electricity_maps lists no zone 'DE'"),
    ],
    ids=["token", "plan", "403", "500", "zone"],
)
def test_a_bad_token_and_a_plan_that_ends_are_told_apart(answer: Answer, level: int, says: str, tmp_path: Path) -> None:
    first, _ = checked(tmp_path, answer)
    assert first[0] == level
    assert first[1].startswith(says)
    assert SECRET not in first[1]


def test_a_check_also_asks_providers_that_only_have_a_table(tmp_path: Path) -> None:
    with misbehaving(Answer(503)) as server:
        given = settings(tmp_path, server.url, neso={"base_url": server.url})
        found = [f.about for f in check(zone_of(given, "GB", EVERY))]
    assert found == ["GB electricity_maps", "GB static", "GB neso"]
