"""Great Britain's half-hours: each where its UTC times say, actual figures before expected ones, null never zero."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import NesoTable
from pipeline.sources.grid.contract import Ask, Payload
from pipeline.sources.grid.neso import Neso
from pipeline.sources.grid.web import NothingThere
from pipeline.tables import FORECASTS, INTENSITY
from tests.misbehaving import Answer, misbehaving
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "neso"
NOW = StillClock().now()  # 2026-11-02T03:00Z
HALF_HOUR = timedelta(minutes=30)
FINE = Answer(body=b'{"data":[]}')


def body(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def provider(base_url: str = "http://127.0.0.1:9", clock: StillClock | None = None, zone: str | None = None) -> Neso:
    http = HttpSettings(timeout_seconds=0.5, retry_seconds=60)
    return Neso(NesoTable(base_url=base_url, zone=zone), http, {}, clock or StillClock())


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ask(start: str, end: str, zone: str = "GB") -> Ask:
    return Ask(zone, utc(start), utc(end), "average", "direct")


HOUR = ask("2026-10-31T00:00", "2026-10-31T01:00")
LONDON = ask("2026-10-31T00:00", "2026-10-31T01:00", "13")
READER = provider()


def payload(content: object, asked: Ask = HOUR) -> Payload:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Payload(asked, "http://127.0.0.1/intensity", raw, NOW)


def figures(content: object, asked: Ask = HOUR) -> list[dict[str, Any]]:
    read = READER.parse(payload(content, asked))
    assert read.schema == INTENSITY
    return read.to_pylist()


def half_hour(start: datetime, **intensity: object) -> dict[str, object]:
    return {
        "from": f"{start:%Y-%m-%dT%H:%MZ}",
        "to": f"{start + HALF_HOUR:%Y-%m-%dT%H:%MZ}",
        "intensity": {"forecast": 100, "index": "moderate"} | intensity,
    }


# --- parse


def test_an_actual_figure_is_an_estimate_and_without_one_the_forecast_stands_in() -> None:
    over, expected = figures(body("national"))
    assert (over["start_utc"], over["end_utc"]) == (utc("2026-10-31T00:00"), utc("2026-10-31T00:30"))
    assert (over["carbon_intensity_g_per_kwh"], over["quality"]) == (128.0, "estimated")
    assert (expected["carbon_intensity_g_per_kwh"], expected["quality"]) == (129.0, "forecast")
    for row in (over, expected):
        assert (row["zone"], row["provider"], row["signal"], row["factor_type"], row["basis"]) == (
            "GB", "neso", "average", "direct", "consumption",
        )  # fmt: skip
        assert (row["updated_utc"], row["model"], row["fetched_utc"]) == (None, None, NOW)


def test_the_half_hour_that_ends_as_the_range_begins_is_not_taken() -> None:
    starts = [row["start_utc"] for row in figures(body("national"))]
    assert starts == [utc("2026-10-31T00:00"), utc("2026-10-31T00:30")]


def test_a_region_has_forecasts_only() -> None:
    rows = figures(body("region_13"), LONDON)
    assert [(r["zone"], r["carbon_intensity_g_per_kwh"], r["quality"]) for r in rows] == [
        ("13", 95.0, "forecast"),
        ("13", 97.0, "forecast"),
    ]


def test_a_region_in_a_list_of_one_is_the_region() -> None:
    listed = {"data": [json.loads(body("region_13"))["data"]]}
    assert [r["carbon_intensity_g_per_kwh"] for r in figures(listed, LONDON)] == [95.0, 97.0]


def test_zero_is_a_figure_and_two_nulls_are_none() -> None:
    rows = [half_hour(HOUR.start, actual=0), half_hour(HOUR.start + HALF_HOUR, forecast=None, actual=None)]
    read = figures({"data": rows})
    assert [(r["carbon_intensity_g_per_kwh"], r["quality"]) for r in read] == [(0.0, "estimated"), (None, "forecast")]


def test_of_a_half_hour_that_comes_twice_the_actual_figure_counts() -> None:
    rows = [half_hour(HOUR.start, actual=80), half_hour(HOUR.start, actual=None)]
    for order in (rows, rows[::-1]):
        (only,) = figures({"data": order})
        assert (only["carbon_intensity_g_per_kwh"], only["quality"]) == (80.0, "estimated")


def test_a_missing_half_hour_is_no_row() -> None:
    (only,) = figures({"data": [half_hour(HOUR.start + HALF_HOUR, actual=80)]})
    assert only["start_utc"] == utc("2026-10-31T00:30")
    assert figures({"data": []}) == []


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [("2026-03-29T00:00", "2026-03-29T23:00", 46), ("2026-10-24T23:00", "2026-10-26T00:00", 50)],
    ids=["spring", "autumn"],
)
def test_a_british_day_of_a_clock_change_has_each_of_its_half_hours_once(start: str, end: str, count: int) -> None:
    asked = ask(start, end)
    rows = [half_hour(asked.start + index * HALF_HOUR, actual=index) for index in range(-1, count)]
    read = figures({"data": rows}, asked)
    assert [r["carbon_intensity_g_per_kwh"] for r in read] == list(range(count))
    assert (read[0]["start_utc"], read[-1]["end_utc"]) == (asked.start, asked.end)
    assert all(one["end_utc"] == following["start_utc"] for one, following in pairwise(read))


@pytest.mark.parametrize(
    ("content", "asked", "says"),
    [
        (body("region_13"), ask("2026-10-31T00:00", "2026-10-31T01:00", "12"), "the region 13, though '12' was asked"),
        (body("region_13"), HOUR, "where it documents half-hours of GB"),
        (body("national"), LONDON, "where it documents half-hours of 13"),
        ({"data": {"data": []}}, LONDON, "the region None, though '13' was asked"),
        ({"data": None}, HOUR, "where it documents half-hours of GB"),
        ([], HOUR, "where it documents half-hours of GB"),
        (body("bad_request_400"), HOUR, "Please enter a valid start datetime"),
        ({"data": [3]}, HOUR, "3 where it documents a half-hour with its intensity"),
        ({"data": [{"from": "2026-10-31T00:00Z"}]}, HOUR, "where it documents a half-hour with its intensity"),
        ({"data": [{"intensity": {"actual": 3}}]}, HOUR, "where it documents a half-hour with its intensity"),
        ({"data": [{"intensity": {"forecast": 3}}]}, HOUR, "None where it documents a time"),
        ({"data": [half_hour(HOUR.start, actual="80")]}, HOUR, "'80' where it documents a number or null"),
        ({"data": [half_hour(HOUR.start, actual=-1)]}, HOUR, "is no intensity in g/kWh"),
        (b"<html>", HOUR, "no JSON: '<html>'"),
    ],
)
def test_an_answer_to_something_else_is_malformed_and_says_which(content: object, asked: Ask, says: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        figures(content, asked)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


VALUES = st.sampled_from([None, "", "2026-10-31T00:00Z", "2026-10-31T00:30Z", "13", 13, 100, -1, 1e300, True, [], {}])
INTENSITIES = st.dictionaries(st.sampled_from(["forecast", "actual"]), VALUES)
ROWS = st.dictionaries(st.sampled_from(["from", "to", "intensity"]), VALUES | INTENSITIES)
REGIONS = st.dictionaries(st.sampled_from(["regionid", "data"]), VALUES | st.lists(VALUES | ROWS))


@given(st.sampled_from([HOUR, LONDON]), VALUES | REGIONS | st.lists(VALUES | ROWS | REGIONS))
def test_whatever_is_answered_is_rows_or_malformed(asked: Ask, content: object) -> None:
    for read in (READER.parse, READER.parse_forecast):
        try:
            assert read(payload({"data": content}, asked)).num_rows <= 2
        except SourceMalformed as error:
            assert "\n" not in str(error)  # noqa: PT017 # either outcome is right


# --- fetch


def test_the_nation_is_asked_by_a_range_of_utc_without_seconds_and_without_a_key() -> None:
    with misbehaving(FINE) as server:
        (only,) = provider(server.url).fetch(ask("2026-10-31T00:30", "2026-10-31T01:10"))
    (asked,) = server.asked
    assert asked.path == "/intensity/2026-10-31T00:00Z/2026-10-31T02:00Z"
    assert (asked.parameters, asked.authorization) == ({}, None)
    assert asked.headers["user-agent"].startswith("carbon-etl")
    assert only.ask == ask("2026-10-31T00:00", "2026-10-31T02:00")
    assert (only.url, only.fetched_utc) == (f"{server.url}{asked.path}", NOW)


def test_a_region_is_asked_by_its_number() -> None:
    with misbehaving(Answer(body=body("region_13"))) as server:
        asking = provider(server.url)
        (only,) = asking.fetch(LONDON)
        assert asking.parse(only).num_rows == 2
    assert server.asked[0].path == "/regional/intensity/2026-10-31T00:00Z/2026-10-31T01:00Z/regionid/13"


@pytest.mark.parametrize(("days", "requests"), [(1, 1), (13, 1), (14, 2), (31, 3)])
def test_a_range_is_asked_in_pieces_of_less_than_fourteen_days(days: int, requests: int) -> None:
    clock, start = StillClock(), utc("2026-09-01T00:00")
    with misbehaving(FINE) as server:
        asked = Ask("GB", start, start + timedelta(days=days), "average", "direct")
        pieces = [piece.ask for piece in provider(server.url, clock).fetch(asked)]
        assert len(server.asked) == len(pieces) == requests
    assert (pieces[0].start, pieces[-1].end) == (asked.start, asked.end)
    assert all(one.end == following.start for one, following in pairwise(pieces))
    assert all(piece.end - piece.start < timedelta(days=14) for piece in pieces)
    assert clock.seconds == requests - 1  # one a second


@pytest.mark.parametrize(
    ("refused", "kind", "says"),
    [
        (Answer(400, body("bad_request_400")), SourceRejected, "Please enter a valid start datetime"),
        (Answer(401, b"no"), SourceRejected, "answers 401: no"),
        (Answer(403, b"blocked"), SourceRejected, "answers 403: blocked"),
        (Answer(404, b"nothing"), NothingThere, "answers 404: nothing"),
        (Answer(429, b"slow", {"Retry-After": "3600"}), SourceUnavailable, "answers 429: slow"),
        (Answer(500, b'{"error":{"code":"500"}}'), SourceUnavailable, "answers 500"),
        (Answer(200, b'{"data":', cut_bytes=9), SourceUnavailable, "cannot reach neso"),
    ],
)
def test_each_refusal_is_its_own_error(refused: Answer, kind: type[SourceError], says: str) -> None:
    with misbehaving(refused) as server, pytest.raises(SourceError) as caught:
        list(provider(server.url).fetch(HOUR))
    assert type(caught.value) is kind
    assert says in str(caught.value)


def test_a_slow_answer_is_unavailable() -> None:
    with misbehaving(Answer(body=b"x" * 100, drip_seconds=0.3)) as server:
        table, http = NesoTable(base_url=server.url), HttpSettings(timeout_seconds=0.5, retry_seconds=0)
        with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
            list(Neso(table, http, {}, StillClock()).fetch(HOUR))


@pytest.mark.parametrize(
    ("failing", "seconds"),
    [
        (Answer(429, b"", {"Retry-After": "9"}), 9),
        (Answer(429, b"", {"Retry-After": "Mon, 02 Nov 2026 03:00:30 GMT"}), 30),
        (Answer(500), 1),
    ],
    ids=["seconds", "date", "500"],
)
def test_what_passes_is_asked_again_when_the_vendor_says(failing: Answer, seconds: float) -> None:
    clock = StillClock()
    with misbehaving(failing, Answer(body=body("national"))) as server:
        (only,) = provider(server.url, clock).fetch(HOUR)
    assert only.body == body("national")
    assert clock.seconds == seconds


# --- forecast, check, zones


def outlook(zone: str = "GB") -> Payload:
    return payload(b"", Ask(zone, NOW, NOW + timedelta(hours=48), "average", "direct"))


def test_a_forecast_is_asked_from_this_half_hour_on_and_is_as_old_as_its_answer() -> None:
    rows = [half_hour(NOW - HALF_HOUR, actual=90), half_hour(NOW, actual=None, forecast=0), half_hour(NOW + HALF_HOUR)]
    with misbehaving(Answer(body=json.dumps({"data": rows}).encode())) as server:
        asking = provider(server.url)
        newest = asking.fetch_forecast("GB", "average", "direct")
    assert server.asked[0].path == "/intensity/2026-11-02T03:00Z/fw48h"
    assert newest.ask == outlook().ask
    read = asking.parse_forecast(newest)
    assert read.schema == FORECASTS
    assert [(r["start_utc"], r["carbon_intensity_g_per_kwh"], r["issued_utc"]) for r in read.to_pylist()] == [
        (NOW, 0.0, NOW),
        (NOW + HALF_HOUR, 100.0, NOW),
    ]


def test_a_forecast_begins_with_the_half_hour_that_now_lies_in() -> None:
    class Later(StillClock):
        def now(self) -> datetime:
            return NOW + timedelta(minutes=47, seconds=12)

    with misbehaving(Answer(body=body("region_13"))) as server:
        newest = provider(server.url, Later()).fetch_forecast("13", "average", "direct")
    assert server.asked[0].path == "/regional/intensity/2026-11-02T03:30Z/fw48h/regionid/13"
    assert newest.ask.start == NOW + HALF_HOUR


def test_a_forecast_says_what_was_expected_not_what_came() -> None:
    rows = [half_hour(NOW, actual=90, forecast=70), half_hour(NOW + HALF_HOUR, forecast=None, actual=None)]
    (only,) = READER.parse_forecast(payload({"data": rows}, outlook().ask)).to_pylist()
    assert only["carbon_intensity_g_per_kwh"] == 70.0


def test_a_check_shows_the_newest_half_hours_in_one_request() -> None:
    rows = [half_hour(NOW - HALF_HOUR, actual=90), half_hour(NOW, forecast=120, actual=None)]
    with misbehaving(Answer(body=json.dumps({"data": rows}).encode())) as server:
        lines = list(provider(server.url).check("GB"))
        assert len(server.asked) == 1
    assert lines == [
        "GB (Great Britain): direct CO2, no key needed",
        "GB at 2026-11-02T02:30Z: 90 g/kWh, estimated",
        "GB at 2026-11-02T03:00Z: 120 g/kWh, forecast",
    ]


def test_a_check_of_a_region_names_it() -> None:
    with misbehaving(Answer(body=body("region_13"))) as server:
        assert next(provider(server.url, zone="13").check("GB")) == "13 (London): direct CO2, no key needed"


def test_a_check_of_a_figure_that_is_not_there_says_so() -> None:
    rows = [half_hour(NOW, forecast=None, actual=None)]
    with misbehaving(Answer(body=json.dumps({"data": rows}).encode())) as server:
        assert list(provider(server.url).check("GB"))[1] == "GB at 2026-11-02T03:00Z: no figure"


def test_great_britain_is_the_nation_and_a_region_is_named_by_its_number() -> None:
    assert provider().zone_of("GB") == "GB"
    assert provider(zone="17").zone_of("GB") == "17"
    assert provider(zone="GB").zone_of("XX-OWN") == "GB"
    assert provider().offers == {("average", "direct")}


@pytest.mark.parametrize(
    ("grid_zone", "zone"), [("DE", None), ("GB-NIR", None), ("GB", "18"), ("GB", "0"), ("GB", "London")]
)
def test_a_place_outside_great_britain_is_refused(grid_zone: str, zone: str | None) -> None:
    with pytest.raises(ConfigError, match=r"not '[\w-]+': it is Great Britain only.*set zone in \[intensity\.neso\]"):
        provider(zone=zone).zone_of(grid_zone)
