"""WattTime: what is asked of it, its forecasts, and what a check tells."""

from datetime import timedelta

import pytest

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import WattTimeTable
from pipeline.sources.grid.contract import Ask
from pipeline.sources.grid.watttime import WattTime
from pipeline.sources.grid.web import NothingThere
from pipeline.tables import FORECASTS
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.watttime import (
    AOER,
    CREDENTIALS,
    LOGIN,
    MIDNIGHT,
    MOER,
    NOW,
    PAIR,
    TOKEN,
    answer,
    answered,
    body,
    fetched,
    point,
    provider,
    utc,
)


def test_a_login_comes_first_and_its_token_is_carried_by_the_questions() -> None:
    with misbehaving(LOGIN, MOER) as server:
        (payload,) = fetched(server)
    login, question = server.asked
    assert (login.path, login.authorization) == ("/login", f"Basic {PAIR}")
    assert (question.path, question.authorization) == ("/v3/historical", f"Bearer {TOKEN}")
    assert question.parameters == {
        "region": "CAISO_NORTH", "signal_type": "co2_moer", "start": "2026-11-01T00:00Z", "end": "2026-11-01T00:55Z",
        "include_imputed_marker": "true",
    }  # fmt: skip
    assert (payload.ask, payload.body, payload.fetched_utc) == (MIDNIGHT, body("historical_moer"), NOW)


def test_a_pinned_model_is_asked_for() -> None:
    with misbehaving(LOGIN, MOER) as server:
        list(provider(server.url, model="2026-03-01").fetch(MIDNIGHT))
    assert server.asked[-1].parameters["model"] == "2026-03-01"


def test_a_long_ask_goes_in_pieces_of_30_days_that_leave_nothing_out_and_take_nothing_twice() -> None:
    asked = Ask("CAISO", utc("2026-01-01T00:30"), utc("2026-03-12T11:15"), "average", "direct")
    with misbehaving(LOGIN, AOER) as server:
        pieces = [payload.ask for payload in fetched(server, asked)]
    assert [(piece.start, piece.end) for piece in pieces] == [
        (utc("2026-01-01T00:00"), utc("2026-01-31T00:00")),
        (utc("2026-01-31T00:00"), utc("2026-03-02T00:00")),
        (utc("2026-03-02T00:00"), utc("2026-03-12T12:00")),
    ]
    spans = [(asked.parameters["start"], asked.parameters["end"]) for asked in server.asked[1:]]
    assert spans[0] == ("2026-01-01T00:00Z", "2026-01-30T23:55Z"), "both ends are inclusive at WattTime"
    assert spans[1][0] == "2026-01-31T00:00Z"
    assert len(server.asked) == 1 + 3, "one login"


def test_signals_that_watttime_does_not_have_are_refused_before_anything_is_asked() -> None:
    with misbehaving(LOGIN) as server, pytest.raises(ConfigError, match="no average lifecycle figures"):
        fetched(server, Ask("CAISO", MIDNIGHT.start, MIDNIGHT.end, "average", "lifecycle"))
    assert server.asked == []
    assert provider().offers == {("average", "direct"), ("marginal", "direct")}


def test_a_region_is_configured_or_the_error_says_how_to_find_it() -> None:
    assert provider(zone="CAISO").zone_of("US-CAL-CISO") == "CAISO"
    with pytest.raises(
        ConfigError, match=r"region of US-CAL-CISO: .*CAISO_NORTH.*\[intensity.watttime\].*region-from-loc"
    ):
        provider().zone_of("US-CAL-CISO")


def test_a_provider_without_any_user_is_refused_when_it_is_opened() -> None:
    with pytest.raises(ConfigError, match="username_env and password_env"):
        WattTime(WattTimeTable(), HttpSettings(), {}, StillClock())


def test_a_secret_that_is_not_there_is_named() -> None:
    table = WattTimeTable.model_validate(CREDENTIALS)
    with pytest.raises(ConfigError, match="the environment has no WT_USER"):
        list(WattTime(table, HttpSettings(), {}, StillClock()).fetch(MIDNIGHT))


def test_a_forecast_keeps_its_time_of_issue_and_what_is_null_says_nothing() -> None:
    with misbehaving(LOGIN, answer("forecast")) as server:
        watttime = provider(server.url)
        payload = watttime.fetch_forecast("CAISO_NORTH", "marginal", "direct")
    assert server.asked[-1].path == "/v3/forecast"
    assert server.asked[-1].parameters == {
        "region": "CAISO_NORTH", "signal_type": "co2_moer", "horizon_hours": "72",
    }  # fmt: skip
    read = watttime.parse_forecast(payload)
    assert read.schema == FORECASTS
    rows = read.to_pylist()
    assert [row["start_utc"] for row in rows] == [utc("2026-11-02T03:05"), utc("2026-11-02T03:10")]
    assert rows[0]["carbon_intensity_g_per_kwh"] == pytest.approx(870 * 0.45359237, rel=1e-15)
    assert {row["issued_utc"] for row in rows} == {utc("2026-11-02T03:00")}
    assert {(row["signal"], row["factor_type"]) for row in rows} == {("marginal", "direct")}


def test_the_last_point_of_a_forecast_of_72_hours_is_taken() -> None:
    watttime = provider()
    start = utc("2026-11-02T03:00")
    times = [start + timedelta(minutes=5 * n) for n in range(72 * 12 + 1)]
    content = answered([point(when.isoformat()) for when in times])
    with misbehaving(LOGIN, Answer(body=content)) as server:
        watttime = provider(server.url)
        rows = watttime.parse_forecast(watttime.fetch_forecast("CAISO_NORTH", "marginal", "direct"))
    assert rows.num_rows == 865
    assert set(rows["issued_utc"].to_pylist()) == {NOW}, "as old as its answer where it does not say"


def test_averages_have_no_forecast() -> None:
    with misbehaving(LOGIN) as server, pytest.raises(NothingThere, match="forecasts marginal rates only"):
        provider(server.url).fetch_forecast("CAISO", "average", "direct")
    assert server.asked == []


def test_a_check_tells_regions_models_and_what_is_not_used() -> None:
    with misbehaving(LOGIN, answer("my_access")) as server:
        lines = list(provider(server.url, zone="CAISO_NORTH").check("US-CAL-CISO"))
    assert [asked.path for asked in server.asked] == ["/login", "/v3/my-access"]
    assert lines == [
        "co2_moer: CAISO_NORTH",
        "co2_moer of CAISO_NORTH: v3/forecast, models 2026-03-01 since 2024-03-01",
        "co2_moer of CAISO_NORTH: v3/historical, models 2024-09-16 since 2019-01-01, 2026-03-01 since 2020-01-01",
        "co2_aoer: CAISO",
        "co2_aoer of CAISO_NORTH: not in this account's plan",
        "health_damage: no intensity of CO2, not used",
    ]


def test_a_check_without_a_region_says_how_to_find_one() -> None:
    with misbehaving(LOGIN, answer("my_access")) as server:
        *_, last = provider(server.url).check("US-CAL-CISO")
    assert last.startswith("the region of US-CAL-CISO: ")


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"signal_types":[{}]}', b'{"signal_types":null}', b"7"])
def test_a_list_of_access_in_another_form_is_refused(content: bytes) -> None:
    with misbehaving(LOGIN, Answer(body=content)) as server, pytest.raises(SourceMalformed, match="my-access"):
        list(provider(server.url).check("DE"))
