"""Electricity Maps: a token gets what its plan has in the fewest requests; forecasts, checks and the table."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.errors import SourceMalformed
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.contract import Ask, Payload
from pipeline.sources.grid.web import NothingThere, NotInPlan
from pipeline.tables import FORECASTS
from tests.misbehaving import Answer, Misbehaving, misbehaving
from tests.sinks.rows import StillClock
from tests.sources.grid.electricity_maps import (
    DAY,
    FINE_PAST,
    HOUR,
    NOW,
    SECRET,
    answer,
    ask,
    body,
    fetched,
    payload,
    provider,
    utc,
)


def carbon(server: Misbehaving) -> list[tuple[str, dict[str, str]]]:
    """What was asked but for the zones, with its parameters."""
    return [(a.path.rsplit("/", maxsplit=1)[-1], a.parameters) for a in server.asked if not a.path.endswith("/zones")]


def test_v4_is_asked_for_exactly_what_is_meant(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), answer("past_range_v4")) as server:
        (only,) = fetched(server, ask("2026-10-30T00:00", "2026-10-30T03:00"), clock)
    assert [asked.path for asked in server.asked] == ["/v4/zones", "/v4/carbon-intensity/past-range"]
    assert server.asked[1].parameters == {
        "zone": "DE", "start": "2026-10-30T00:00:00Z", "end": "2026-10-30T03:00:00Z",
        "emissionFactorType": "lifecycle", "temporalGranularity": "hourly",
        "disableCallerLookup": "true", "flowTraced": "true",
    }  # fmt: skip
    assert {asked.headers["auth-token"] for asked in server.asked} == {SECRET}
    assert (only.body, only.fetched_utc) == (body("past_range_v4"), NOW)
    assert only.ask == ask("2026-10-30T00:00", "2026-10-30T03:00")


def test_v3_is_asked_in_its_own_words(clock: StillClock) -> None:
    with misbehaving(answer("zones_v3"), FINE_PAST) as server:
        fetched(server, ask("2026-10-30T00:00", "2026-10-30T03:00", factor_type="direct"), clock, "v3")
    assert server.asked[1].path == "/v3/carbon-intensity/past-range"
    assert server.asked[1].parameters == {
        "zone": "DE", "start": "2026-10-30T00:00:00Z", "end": "2026-10-30T03:00:00Z",
        "emissionFactorType": "direct", "temporalGranularity": "hourly", "shouldUseFallbackCallerLookup": "false",
    }  # fmt: skip


def test_production_is_asked_of_v4(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        fetched(server, DAY, clock, flow_traced=False)
    assert server.asked[1].parameters["flowTraced"] == "false"


@pytest.mark.parametrize(
    ("granularity", "days", "requests"),
    [("hourly", 10, 1), ("hourly", 31, 4), ("15_minutes", 7, 3), ("5_minutes", 2, 2)],
)
def test_a_range_is_asked_in_the_fewest_pieces_allowed(
    granularity: str, days: int, requests: int, clock: StillClock
) -> None:
    asked = Ask("DE", utc("2026-09-01T00:00"), utc("2026-09-01T00:00") + timedelta(days=days), "average", "lifecycle")
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        pieces = [p.ask for p in fetched(server, asked, clock, granularity=granularity)]
    assert len(carbon(server)) == len(pieces) == requests
    assert (pieces[0].start, pieces[-1].end) == (asked.start, asked.end)
    assert all(one.end == following.start for one, following in pairwise(pieces))
    assert {a["temporalGranularity"] for _, a in carbon(server)} == {granularity}
    assert clock.seconds == 0.5 * requests  # at most two a second, the zones' own request counted


def test_the_ask_is_widened_to_whole_hours(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        (only,) = fetched(server, ask("2026-10-30T00:30", "2026-10-30T02:10"), clock)
    assert (only.ask.start, only.ask.end) == (utc("2026-10-30T00:00"), utc("2026-10-30T03:00"))


def test_the_zones_are_asked_once_however_much_is_fetched(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        asking = provider(f"{server.url}/v4", clock)
        for _ in range(3):
            list(asking.fetch(DAY))
    assert [asked.path.endswith("/zones") for asked in server.asked] == [True, False, False, False]


@pytest.mark.parametrize(("zone", "version"), [("FR", "v3"), ("IN-WE", "v4"), ("XX", "v4")])
def test_access_to_everything_and_unsaid_access_ask_for_a_range(zone: str, version: str, clock: StillClock) -> None:
    fine = Answer(body=json.dumps({"zone": zone, "data": []}).encode())
    with misbehaving(answer(f"zones_{version}"), fine) as server:
        fetched(server, ask("2026-10-30T00:00", "2026-10-31T00:00", zone), clock, version)
    assert [path for path, _ in carbon(server)] == ["past-range"]


def test_a_free_key_takes_the_last_day_from_its_history_in_one_request(clock: StillClock) -> None:
    with misbehaving(answer("zones_v3"), answer("history_v3")) as server:
        (only,) = fetched(server, ask("2026-11-01T03:00", "2026-11-02T03:00", "IN-WE"), clock, "v3")
    ((path, parameters),) = carbon(server)
    assert path == "history"
    assert "start" not in parameters
    assert (only.ask.start, only.ask.end) == (utc("2026-11-01T03:00"), utc("2026-11-02T03:00"))


def test_a_free_key_gives_what_it_can_and_then_says_what_it_cannot(clock: StillClock) -> None:
    asking: Iterator[Payload]
    with misbehaving(answer("zones_v3"), answer("history_v3")) as server:
        asking = provider(f"{server.url}/v3", clock).fetch(ask("2026-10-31T03:00", "2026-11-02T03:00", "IN-WE"))
        assert (next(asking).ask.start, len(server.asked)) == (utc("2026-11-01T03:00"), 2)
        with pytest.raises(NotInPlan, match=r"has history, latest of IN-WE, so no hour before 2026-11-01T03:00Z") as no:
            next(asking)
    assert "with a free key run at least once every 24 h" in str(no.value)


@pytest.mark.parametrize(
    ("zone", "start", "end", "paths"),
    [
        ("IN-WE", "2026-09-01T00:00", "2026-09-02T00:00", []),
        ("NO-NO1", "2026-11-02T00:00", "2026-11-02T03:00", []),
        ("NO-NO1", "2026-11-02T02:00", "2026-11-02T04:00", ["latest"]),
        ("SE", "2026-11-02T03:00", "2026-11-02T04:00", []),
    ],
)
def test_hours_beyond_the_plan_cost_no_request(
    zone: str, start: str, end: str, paths: list[str], clock: StillClock
) -> None:
    with misbehaving(answer("zones_v3"), answer("latest_v4")) as server:
        with pytest.raises(NotInPlan):
            fetched(server, ask(start, end, zone), clock, "v3")
        assert [path for path, _ in carbon(server)] == paths


def test_the_current_hour_alone_is_the_latest_figure(clock: StillClock) -> None:
    with misbehaving(answer("zones_v3"), answer("latest_v4")) as server:
        (only,) = fetched(server, ask("2026-11-02T03:00", "2026-11-02T04:00", "NO-NO1"), clock, "v3")
    assert [path for path, _ in carbon(server)] == ["latest"]
    assert only.ask == ask("2026-11-02T03:00", "2026-11-02T04:00", "NO-NO1")


def test_a_history_is_not_asked_for_hours_to_come(clock: StillClock) -> None:
    with misbehaving(answer("zones_v3"), answer("history_v3")) as server:
        asking = provider(f"{server.url}/v3", clock)
        (only,) = asking.fetch(ask("2026-11-02T01:00", "2026-11-02T09:00", "IN-WE"))
        assert only.ask == ask("2026-11-02T01:00", "2026-11-02T04:00", "IN-WE")
        assert list(asking.fetch(ask("2026-11-02T04:00", "2026-11-02T09:00", "IN-WE"))) == []
        assert [path for path, _ in carbon(server)] == ["history"]


def test_an_unknown_zone_names_those_that_look_like_it(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4")) as server:
        with pytest.raises(NothingThere, match="lists no zone 'DK-DK3' for this token: did you mean DK-DK2"):
            fetched(server, ask("2026-10-30T00:00", "2026-10-31T00:00", "DK-DK3"), clock)
        with pytest.raises(NothingThere, match=r"set zone in \[intensity\.electricity_maps\]"):
            fetched(server, ask("2026-10-30T00:00", "2026-10-31T00:00", "WORLD"), clock)
    assert carbon(server) == []


@pytest.mark.parametrize(
    "zones",
    [b'{"error": "x"}', b"[1]", b'["DE"]', b"3", b"<html>", b'{"DE": {"access": 3}}', b'{"DE": {"access": [3]}}'],
)
def test_zones_that_are_none_are_malformed(zones: bytes, clock: StillClock) -> None:
    with misbehaving(Answer(body=zones)) as server, pytest.raises(SourceMalformed, match="electricity_maps answers"):
        fetched(server, DAY, clock)


def test_a_forecast_spans_this_hour_and_three_days_and_is_issued_when_it_says(clock: StillClock) -> None:
    with misbehaving(answer("forecast")) as server:
        asking = provider(f"{server.url}/v4", clock)
        outlook = asking.fetch_forecast("DE", "average", "direct")
    ((path, parameters),) = carbon(server)
    assert (path, parameters["horizonHours"], parameters["emissionFactorType"]) == ("forecast", "72", "direct")
    assert (outlook.ask.start, outlook.ask.end) == (NOW, NOW + 73 * HOUR)
    read = asking.parse_forecast(outlook)
    assert read.schema == FORECASTS
    rows = read.to_pylist()
    assert [(r["start_utc"], r["end_utc"], r["carbon_intensity_g_per_kwh"]) for r in rows] == [
        (NOW, NOW + HOUR, 330.0),
        (NOW + HOUR, NOW + 2 * HOUR, 0.0),  # null says nothing and is no row
    ]
    assert {r["issued_utc"] for r in rows} == {utc("2026-11-02T02:41")}
    assert {(r["zone"], r["provider"], r["signal"], r["factor_type"]) for r in rows} == {
        ("DE", "electricity_maps", "average", "direct")
    }


def test_a_forecast_without_a_time_of_issue_is_as_old_as_its_answer() -> None:
    asked = Ask("DE", NOW, NOW + 73 * HOUR, "average", "lifecycle")
    content = {"zone": "DE", "forecast": [{"carbonIntensity": 1, "datetime": "2026-11-02T05:00Z"}]}
    (only,) = provider().parse_forecast(payload(content, asked)).to_pylist()
    assert only["issued_utc"] == NOW


def test_a_forecast_of_another_zone_is_malformed() -> None:
    asked = Ask("FR", NOW, NOW + 73 * HOUR, "average", "lifecycle")
    with pytest.raises(SourceMalformed, match="for the zone 'DE', though 'FR' was asked"):
        provider().parse_forecast(payload(body("forecast"), asked))


def test_a_check_says_what_the_token_may_ask_and_the_newest_figure(clock: StillClock) -> None:
    latest = json.loads(body("latest_v4")) | {"zone": "DK-DK2"}
    with misbehaving(answer("zones_v4"), Answer(body=json.dumps(latest).encode())) as server:
        lines = list(provider(f"{server.url}/v4", clock).check("DK-DK2"))
    assert lines[0] == "DK-DK2 (East Denmark): the token may ask history, latest, forecast"
    assert lines[1].startswith("with a free key run at least once every 24 h")
    assert lines[2] == "DK-DK2 at 2026-11-02T03:00Z: 330 g/kWh lifecycle, forecast"
    assert len(server.asked) == 2


def test_a_check_of_a_plan_with_ranges_gives_no_advice(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), answer("latest_v4")) as server:
        lines = list(provider(f"{server.url}/v4", clock).check("DE"))
    assert lines[0] == "DE (Germany): the token may ask past-range, history, latest, forecast"
    assert len(lines) == 2


def test_the_zone_of_the_table_comes_before_the_clusters() -> None:
    assert provider().zone_of("DE") == "DE"
    assert provider(zone="DK-DK2").zone_of("DK") == "DK-DK2"
    assert provider().offers == {("average", "lifecycle"), ("average", "direct")}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"base_url": "https://api.electricitymaps.com"}, "ends with the version of the API, /v3 or /v4"),
        ({"base_url": "https://api.electricitymaps.com/v5"}, "/v3 or /v4"),
        ({"base_url": "https://api.electricitymaps.com/v3", "flow_traced": False}, "asked of v4 only"),
        ({"flow_traced": False}, "asked of v4 only"),
    ],
)
def test_a_table_that_no_version_can_follow_is_refused(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ElectricityMapsTable.model_validate(table)


def test_a_base_url_may_end_with_a_slash_and_lie_behind_a_proxy() -> None:
    assert ElectricityMapsTable(base_url="https://proxy.example/em/v4/").version == "v4"
    assert ElectricityMapsTable().version == "v3"
