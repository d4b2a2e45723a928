"""WattTime: pounds become grams exactly, models and signals never mix, and neither a token nor a password gets out."""

import base64
import json
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import WattTimeTable
from pipeline.sources.grid.contract import Ask, Payload, Signal
from pipeline.sources.grid.watttime import WattTime
from pipeline.sources.grid.web import NothingThere, NotInPlan
from pipeline.tables import FORECASTS, INTENSITY
from tests.misbehaving import Answer, Misbehaving, misbehaving
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "watttime"
USER, PASSWORD = "wt-us3r", "wt-p4ssw0rd/+"  # made-up ones
ENV = {"WT_USER": USER, "WT_PASSWORD": PASSWORD}
PAIR = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TOKEN = json.loads((PAYLOADS / "login.json").read_bytes())["token"]
SECRETS = (USER, PASSWORD, PAIR, TOKEN)
NOW = StillClock().now()  # 2026-11-02T03:00Z
HOUR = timedelta(hours=1)
CREDENTIALS = {"username_env": "WT_USER", "password_env": "WT_PASSWORD"}


def body(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def answer(name: str, status: int = 200, **headers: str) -> Answer:
    return Answer(status, body(name), {"Content-Type": "application/json"} | headers)


LOGIN, MOER, AOER = answer("login"), answer("historical_moer"), answer("historical_aoer")
ENDED, REFUSED = answer("token_401", 401), Answer(401, b"<html>no</html>")


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


# --- parse


def test_pounds_per_megawatt_hour_become_grams_exactly_and_null_is_not_zero() -> None:
    rows = figures(body("historical_moer"))
    grams = [row["carbon_intensity_g_per_kwh"] for row in rows]
    assert grams == [385.780310685, pytest.approx(390.54303057, rel=1e-15), 0.0, 453.59237, None]
    assert [row["start_utc"].minute for row in rows] == [0, 5, 10, 20, 25], "what is absent is no row"
    assert all(row["end_utc"] - row["start_utc"] == timedelta(minutes=5) for row in rows)
    assert [row["quality"] for row in rows] == ["measured", "estimated", "estimated", "estimated", "measured"]
    assert rows[3]["updated_utc"] == utc("2026-11-01T09:00")


def test_every_row_says_what_it_is_and_of_which_model() -> None:
    (first, *_) = figures(body("historical_moer"))
    assert (first["zone"], first["provider"], first["signal"], first["factor_type"], first["basis"]) == (
        "CAISO_NORTH", "watttime", "marginal", "direct", "unknown",
    )  # fmt: skip
    assert (first["model"], first["updated_utc"]) == ("2026-03-01 binned_regression", None)
    assert first["fetched_utc"] == NOW


def test_of_a_full_and_an_imputed_average_of_one_hour_the_full_one_counts_in_either_order() -> None:
    for content in (body("historical_aoer"), _reversed(body("historical_aoer"))):
        two, three = figures(content, ITALY)
        assert two["carbon_intensity_g_per_kwh"] == pytest.approx(575.0268806, rel=1e-9)
        assert (two["quality"], two["signal"], two["end_utc"] - two["start_utc"]) == ("measured", "average", HOUR)
        assert (three["quality"], three["model"]) == ("estimated", "2026-03-01")


def _reversed(content: bytes) -> bytes:
    answer = json.loads(content)
    return json.dumps(answer | {"data": answer["data"][::-1]}).encode()


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"region": "CAISO_SOUTH"}, "region 'CAISO_SOUTH' where 'CAISO_NORTH' was asked for"),
        ({"signal_type": "co2_aoer"}, "signal_type 'co2_aoer' where 'co2_moer' was asked for"),
        ({"signal_type": "health_damage", "units": "usd_per_mwh"}, "signal_type 'health_damage' where 'co2_moer'"),
        ({"units": "kg_co2_per_mwh"}, "units 'kg_co2_per_mwh' where 'lbs_co2_per_mwh' was asked for"),
        ({"units": None}, "units None where 'lbs_co2_per_mwh'"),
        ({"data_point_period_seconds": 0}, "data_point_period_seconds 0"),
        ({"data_point_period_seconds": True}, "data_point_period_seconds True"),
        ({"data_point_period_seconds": 10**30}, "data_point_period_seconds 1000"),
        ({"data_point_period_seconds": None}, "data_point_period_seconds None"),
        ({"data_point_period_seconds": 60}, "is not of whole five minutes"),
        ({"model": "2026-03-01"}, "without 'model'"),
    ],
)
def test_an_answer_of_another_region_signal_unit_or_period_is_refused(meta: dict[str, object], says: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        figures(answered([point("2026-11-01T00:00:00Z")], **meta))
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"value": 1.0}, {"point_time": "2026-11-01T00:00:00Z"}, point("2026-11-01T00:00:00"), point("yesterday"),
        point("9999-12-31T23:59:59Z"), point("2026-11-01T00:00:00Z", "850.5"), point("2026-11-01T00:00:00Z", [1]),
        point("2026-11-01T00:00:00Z", value=True), point("2026-11-01T00:00:00Z", 10**400),
        point("2026-11-01T00:00:00Z", -1), point("2026-11-01T00:00:00Z", 4410),
        point("2026-11-01T00:01:00Z"), point("2026-11-01T00:00:00Z", last_updated="then"), [], None, 7,
    ],
)  # fmt: skip
def test_a_point_that_is_not_as_documented_is_refused(row: object) -> None:
    with pytest.raises(SourceMalformed, match=r"watttime (answers|at) "):
        figures(answered([row]))


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"null", b"[]", b"{}", b'{"data":[]}', b'{"meta":{}}', b'{"data":[],"meta":[]}', b"[" * 10**5],
)
def test_an_answer_in_another_form_is_refused(content: bytes) -> None:
    with pytest.raises(SourceMalformed, match="watttime answers "):
        figures(content)


def test_infinities_of_a_lenient_json_are_refused() -> None:
    for literal in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(SourceMalformed, match="no intensity"):
            figures(answered([point("2026-11-01T00:00:00Z", "X")]).replace(b'"X"', literal.encode()))


def test_a_pinned_model_that_is_not_answered_is_refused() -> None:
    assert figures(body("historical_moer"), model="2026-03-01")
    with pytest.raises(SourceMalformed, match="model '2026-03-01' where '2024-09-16' was asked for"):
        figures(body("historical_moer"), model="2024-09-16")


def test_a_model_that_is_not_told_is_null() -> None:
    (row,) = figures(answered([point("2026-11-01T00:00:00Z")], model=None))
    assert row["model"] is None


def test_points_outside_the_ask_are_left_and_none_at_all_is_no_row() -> None:
    outside = [point("2026-10-31T23:55:00Z"), point("2026-11-01T01:00:00Z")]
    assert figures(answered(outside)) == []
    assert figures(answered([])) == []


def test_two_lengths_for_one_moment_are_refused() -> None:
    hour = ask("2026-11-01T00:00", "2026-11-01T03:00", "CAISO", "average")
    with pytest.raises(SourceMalformed, match="two figures of different length at 2026-11-01T00:30Z"):
        figures(answered([point("2026-11-01T00:00:00Z"), point("2026-11-01T00:30:00Z")], hour), hour)


def test_the_day_on_which_clocks_are_put_back_has_its_25_hours() -> None:
    """Los Angeles, 2026-11-01: 01:00 comes twice, at -07:00 and at -08:00."""
    local = [f"2026-11-01T{hour:02}:00:00-07:00" for hour in (0, 1)]
    local += [f"2026-11-01T{hour:02}:00:00-08:00" for hour in range(1, 24)]
    day = ask("2026-11-01T07:00", "2026-11-02T08:00", "CAISO", "average")
    rows = figures(answered([point(when, 100 + n) for n, when in enumerate(local)], day), day)
    assert [row["start_utc"] for row in rows] == [day.start + n * HOUR for n in range(25)]


def test_the_day_on_which_clocks_are_put_forward_has_its_23_hours() -> None:
    local = [f"2026-03-08T{hour:02}:00:00-08:00" for hour in (0, 1)]
    local += [f"2026-03-08T{hour:02}:00:00-07:00" for hour in range(3, 24)]
    day = ask("2026-03-08T08:00", "2026-03-09T07:00", "CAISO", "average")
    rows = figures(answered([point(when) for when in local], day), day)
    assert [row["start_utc"] for row in rows] == [day.start + n * HOUR for n in range(23)]


def test_hours_of_a_grid_at_half_past_stay_where_they_are() -> None:
    india = ask("2026-11-01T00:00", "2026-11-01T02:00", "IND", "average")
    rows = figures(answered([point("2026-11-01T05:00:00+05:30"), point("2026-11-01T06:00:00+05:30")], india), india)
    assert [row["start_utc"] for row in rows] == [utc("2026-10-31T23:30"), utc("2026-11-01T00:30")]


# --- fetch


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


def test_a_token_is_renewed_after_25_minutes_and_not_before() -> None:
    clock = StillClock()
    with misbehaving(LOGIN, MOER, MOER, Answer(body=b'{"token":"t0k3n-tw0"}'), MOER) as server:
        watttime = provider(server.url, clock)
        list(watttime.fetch(MIDNIGHT))
        clock.seconds = 24 * 60
        list(watttime.fetch(MIDNIGHT))
        clock.seconds = 26 * 60
        list(watttime.fetch(MIDNIGHT))
    assert [asked.path.rsplit("/", 1)[-1] for asked in server.asked] == [
        "login", "historical", "historical", "login", "historical",
    ]  # fmt: skip
    assert server.asked[-1].authorization == "Bearer t0k3n-tw0"


def test_a_token_that_ends_early_is_renewed_once() -> None:
    with misbehaving(LOGIN, ENDED, Answer(body=b'{"token":"t0k3n-tw0"}'), MOER) as server:
        (payload,) = fetched(server)
    assert payload.body == body("historical_moer")
    assert server.asked[-1].authorization == "Bearer t0k3n-tw0"


def test_a_token_that_is_refused_again_is_told_as_that() -> None:
    with misbehaving(LOGIN, ENDED, LOGIN, ENDED) as server, pytest.raises(SourceRejected) as caught:
        fetched(server)
    assert len(server.asked) == 4
    assert "refuses the token that its own login gave (401)" in str(caught.value)
    assert "Token has expired" in str(caught.value)


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_a_bad_login_is_told_as_that_and_not_tried_twice(status: int) -> None:
    clock = StillClock()
    with misbehaving(Answer(status, PASSWORD.encode())) as server, pytest.raises(SourceRejected) as caught:
        fetched(server, clock=clock)
    assert str(caught.value) == (
        f"watttime refuses the login ({status}): check user and password named in [intensity.watttime]"
    )
    assert (len(server.asked), clock.seconds) == (1, 0.0)


@pytest.mark.parametrize(
    "content", [b"", TOKEN.encode(), f'{{"token":"{TOKEN}'.encode(), b"[]", b'{"token":7}', b'{"token":""}',
                '{"token":"ü"}'.encode(), b'{"token":"a\\nb"}'],
)  # fmt: skip
def test_a_login_without_a_token_is_malformed_and_shows_nothing_of_its_answer(content: bytes) -> None:
    with misbehaving(Answer(body=content)) as server, pytest.raises(SourceMalformed) as caught:
        fetched(server)
    assert str(caught.value) == "watttime answers the login without a token"
    assert TOKEN not in told(caught.value)


def test_a_region_outside_the_plan_is_told_apart_from_a_bad_login() -> None:
    with misbehaving(LOGIN, answer("plan_403", 403)) as server, pytest.raises(NotInPlan) as caught:
        fetched(server, ITALY)
    assert "the login is good, but its plan has no co2_aoer of IT (403): " in str(caught.value)
    assert "free access to CAISO_NORTH" in str(caught.value)


@pytest.mark.parametrize(("retry_after", "waited"), [("7", 7.0), ("Mon, 02 Nov 2026 03:00:20 GMT", 20.0)])
def test_a_limit_of_rate_is_waited_out_as_told(retry_after: str, waited: float) -> None:
    clock = StillClock()
    slow_down = Answer(429, b"too many", {"Retry-After": retry_after})
    with misbehaving(LOGIN, slow_down, MOER) as server:
        assert len(fetched(server, clock=clock)) == 1
    assert clock.seconds == pytest.approx(waited, abs=0.2)


def test_an_error_of_the_server_is_tried_again_and_its_login_too() -> None:
    with misbehaving(Answer(500, b"oops"), LOGIN, Answer(500, b"oops"), MOER) as server:
        (payload,) = fetched(server)
    assert payload.body == body("historical_moer")


@pytest.mark.parametrize(
    "bad", [Answer(503, b"down"), Answer(body=b'{"data":', cut_bytes=9), Answer(body=b'{"data":[]}', drip_seconds=0.5)]
)
def test_what_stays_unavailable_ends_within_the_budget(bad: Answer) -> None:
    with misbehaving(LOGIN, bad) as server, pytest.raises(SourceUnavailable):
        list(provider(server.url, retry_seconds=0).fetch(MIDNIGHT))


def test_a_parameter_that_is_refused_is_told_in_watttimes_words() -> None:
    with (
        misbehaving(LOGIN, Answer(400, b'{"error":"region: nowhere is not valid"}')) as server,
        pytest.raises(SourceRejected, match=r"400: .*nowhere is not valid"),
    ):
        fetched(server)


def test_questions_are_a_tenth_of_a_second_apart() -> None:
    clock = StillClock()
    with misbehaving(LOGIN, MOER) as server:
        fetched(server, ask("2026-01-01T00:00", "2026-05-01T00:00"), clock)
    assert len(server.asked) == 5
    assert clock.seconds == pytest.approx(0.3)


def test_warnings_beside_the_data_reach_the_caller_once() -> None:
    with misbehaving(LOGIN, AOER) as server:
        watttime = provider(server.url)
        list(watttime.fetch(ITALY))
        list(watttime.fetch(ITALY))
    assert watttime.warnings == [
        "watttime warns: EXAMPLE_WARNING: Data is truncated: the end of the range is not there yet"
    ]


@pytest.mark.parametrize("warnings", [None, 7, ["x"], [{}], [{"type": "a"}]])
def test_warnings_in_another_form_do_not_hide_the_data(warnings: object) -> None:
    content = answered([point("2026-11-01T00:00:00Z")], warnings=warnings)
    with misbehaving(LOGIN, Answer(body=content)) as server:
        watttime = provider(server.url)
        (payload,) = watttime.fetch(MIDNIGHT)
        assert watttime.parse(payload).num_rows == 1
    assert watttime.warnings == []


def test_no_secret_is_in_any_message_payload_address_or_representation() -> None:
    seen: list[str] = []
    at_login = [Answer(status, " ".join(SECRETS[:3]).encode()) for status in (200, 401, 500)]
    later = [Answer(status, TOKEN.encode()) for status in (200, 400, 401, 403, 404, 500)]
    for answers in [(first,) for first in at_login] + [(LOGIN, second) for second in later]:
        with misbehaving(*answers) as server:
            watttime = provider(server.url, retry_seconds=0)
            try:
                (payload,) = watttime.fetch(MIDNIGHT)
                seen += [payload.body.decode(), payload.url, repr(payload)]
                watttime.parse(payload)
            except SourceError as error:
                seen.append(told(error))
            seen += [repr(watttime), str(watttime.warnings)]
    assert len(seen) == 9 * 3 + 3, "each ended in an error, one of them in a payload before"
    assert not {text for text in seen for secret in SECRETS if secret in text}


def test_signals_that_watttime_does_not_have_are_refused_before_anything_is_asked() -> None:
    with misbehaving(LOGIN) as server, pytest.raises(ConfigError, match="no average lifecycle figures"):
        fetched(server, Ask("CAISO", MIDNIGHT.start, MIDNIGHT.end, "average", "lifecycle"))
    assert server.asked == []
    assert provider().offers == {("average", "direct"), ("marginal", "direct")}


# --- zone, forecast, check


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
