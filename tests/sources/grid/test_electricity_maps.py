"""Electricity Maps: only what was asked is taken; a token gets what its plan has in the fewest requests, or is told."""

import json
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.errors import ConfigError, SourceError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings
from pipeline.settings.intensity import ElectricityMapsTable
from pipeline.sources.grid.contract import Ask, FactorType, Payload
from pipeline.sources.grid.electricity_maps import ElectricityMaps
from pipeline.sources.grid.web import NothingThere, NotInPlan
from pipeline.tables import FORECASTS, INTENSITY
from tests.misbehaving import Answer, Misbehaving, misbehaving
from tests.sinks.rows import StillClock

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "electricity_maps"
SECRET = "em-s3cr3t"  # noqa: S105 # a made-up one
ENV = {"EM_TOKEN": SECRET}
NOW = StillClock().now()  # 2026-11-02T03:00Z
HOUR = timedelta(hours=1)
FINE_PAST = Answer(body=b'{"zone":"DE","data":[],"temporalGranularity":"hourly"}')


def body(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def answer(name: str, status: int = 200) -> Answer:
    return Answer(status, body(name), {"Content-Type": "application/json"})


def provider(
    base_url: str = "http://127.0.0.1:9/v4", clock: StillClock | None = None, **table: object
) -> ElectricityMaps:
    settings = ElectricityMapsTable.model_validate({"base_url": base_url, "token_env": "EM_TOKEN"} | table)
    http = HttpSettings(timeout_seconds=5, retry_seconds=60)
    return ElectricityMaps(settings, http, ENV, clock or StillClock())


def ask(start: str, end: str, zone: str = "DE", factor_type: FactorType = "lifecycle") -> Ask:
    return Ask(zone, utc(start), utc(end), "average", factor_type)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def payload(content: object, asked: Ask, fetched_utc: datetime = NOW) -> Payload:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Payload(asked, "http://127.0.0.1/v4/carbon-intensity", raw, fetched_utc)


def row(start: str, intensity: float | None = 100, **more: object) -> dict[str, object]:
    return {"zone": "DE", "carbonIntensity": intensity, "datetime": start} | more


def past(*rows: dict[str, object], **more: object) -> dict[str, object]:
    return {"zone": "DE", "data": list(rows), "temporalGranularity": "hourly"} | more


def figures(content: object, asked: Ask, fetched_utc: datetime = NOW, **table: object) -> list[dict[str, Any]]:
    read = (provider(**table) if table else READER).parse(payload(content, asked, fetched_utc))
    assert read.schema == INTENSITY
    return read.to_pylist()


DAY = ask("2026-10-30T00:00", "2026-10-31T00:00")
READER = provider()


# --- parse


def test_a_past_range_keeps_value_quality_version_and_method_of_each_hour() -> None:
    first, withdrawn, last = figures(body("past_range_v4"), DAY, utc("2026-11-03T00:00"))
    assert (first["start_utc"], first["end_utc"]) == (utc("2026-10-30T00:00"), utc("2026-10-30T01:00"))
    assert (first["zone"], first["provider"], first["signal"], first["factor_type"], first["basis"]) == (
        "DE", "electricity_maps", "average", "lifecycle", "consumption",
    )  # fmt: skip
    assert (first["carbon_intensity_g_per_kwh"], first["quality"], first["model"]) == (352.0, "measured", None)
    assert first["updated_utc"] == datetime(2026, 11, 2, 5, 41, 10, 112_000, tzinfo=UTC)
    assert withdrawn["carbon_intensity_g_per_kwh"] is None
    assert (last["carbon_intensity_g_per_kwh"], last["quality"]) == (341.0, "estimated")
    assert last["model"] == "TIME_SLICER_AVERAGE"


def test_a_history_is_read_like_a_range() -> None:
    asked = ask("2026-11-02T00:00", "2026-11-02T03:00", "IN-WE")
    rows = figures(body("history_v3"), asked, base_url="http://127.0.0.1:9/v3")
    assert [(r["start_utc"].hour, r["carbon_intensity_g_per_kwh"], r["quality"], r["model"]) for r in rows] == [
        (1, 655.0, "measured", None),
        (2, 648.0, "estimated", "FORECASTS_HIERARCHY"),
    ]


def test_a_latest_figure_of_an_unfinished_hour_is_an_estimate() -> None:
    asked = ask("2026-11-02T03:00", "2026-11-02T04:00")
    (only,) = figures(body("latest_v4"), asked, utc("2026-11-02T03:20"))
    assert (only["start_utc"], only["carbon_intensity_g_per_kwh"]) == (utc("2026-11-02T03:00"), 330.0)
    assert (only["quality"], only["model"]) == ("estimated", "ESTIMATED_FORECASTS_HIERARCHY")


def test_only_datetime_and_the_key_of_the_figure_are_needed_and_what_is_not_said_is_not_measured() -> None:
    rows = [
        {"datetime": "2026-10-30T00:00Z", "carbonIntensity": 7},
        {"datetime": "2026-10-30T01:00Z", "carbonIntensity": 0},
    ]
    read = figures({"zone": "DE", "data": rows}, DAY)
    assert [(r["carbon_intensity_g_per_kwh"], r["quality"], r["updated_utc"], r["model"]) for r in read] == [
        (7.0, "estimated", None, None),
        (0.0, "estimated", None, None),
    ]


@pytest.mark.parametrize(
    ("fetched", "updated", "is_estimated", "quality"),
    [
        ("2026-10-30T05:00", None, False, "measured"),
        ("2026-10-30T05:00", "2026-10-30T04:10Z", False, "measured"),
        ("2026-10-30T05:00", "2026-10-30T04:10Z", True, "estimated"),
        ("2026-10-30T05:00", "2026-10-29T00:00Z", False, "estimated"),  # not touched since before it began
        ("2026-10-30T04:00", "2026-10-30T03:30Z", False, "measured"),  # just over
        ("2026-10-30T03:59", "2026-10-30T03:30Z", False, "estimated"),  # not over
        ("2026-10-30T03:00", "2026-10-29T00:00Z", False, "forecast"),  # begins now
        ("2026-10-29T12:00", "2026-10-29T00:00Z", True, "forecast"),
    ],
)
def test_the_quality_of_an_hour_is_never_better_than_what_could_be_known(
    fetched: str,
    updated: str | None,
    is_estimated: bool,  # noqa: FBT001 # a column of the table above
    quality: str,
) -> None:
    content = past(row("2026-10-30T03:00Z", isEstimated=is_estimated, updatedAt=updated))
    (only,) = figures(content, DAY, utc(fetched))
    assert only["quality"] == quality


def test_production_based_figures_say_so() -> None:
    content = past(row("2026-10-30T00:00Z", flowTraced=False))
    (only,) = figures(content, DAY, flow_traced=False)
    assert only["basis"] == "production"


def test_rows_outside_the_asked_span_are_not_taken() -> None:
    rows = [row(f"2026-10-{day}T{hour}:00Z") for day, hour in ((29, 23), (30, "00"), (30, 23), (31, "00"))]
    assert [r["start_utc"].day for r in figures(past(*rows), DAY)] == [30, 30]


def test_of_two_figures_for_one_hour_the_one_updated_last_counts() -> None:
    rows = [
        row("2026-10-30T00:00Z", 1, updatedAt="2026-10-30T02:00Z"),
        row("2026-10-30T00:00Z", 2, updatedAt="2026-10-30T04:00Z"),
        row("2026-10-30T00:00Z", 3, updatedAt="2026-10-30T03:00Z"),
    ]
    (only,) = figures(past(*rows), DAY)
    assert only["carbon_intensity_g_per_kwh"] == 2.0


def test_a_missing_hour_is_no_row_and_order_does_not_matter() -> None:
    rows = [row("2026-10-30T05:00Z", 5), row("2026-10-30T03:00Z", 3)]
    assert [(r["start_utc"].hour, r["carbon_intensity_g_per_kwh"]) for r in figures(past(*rows), DAY)] == [
        (3, 3),
        (5, 5),
    ]
    assert figures(past(), DAY) == []


@pytest.mark.parametrize(("granularity", "minutes"), [("hourly", 60), ("15_minutes", 15), ("5_minutes", 5)])
def test_a_step_is_as_long_as_the_granularity(granularity: str, minutes: int) -> None:
    content = past(row("2026-10-30T00:00Z"), temporalGranularity=granularity)
    (only,) = figures(content, DAY, granularity=granularity)
    assert only["end_utc"] - only["start_utc"] == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [("2026-03-28T23:00", "2026-03-29T22:00", 23), ("2026-10-24T22:00", "2026-10-25T23:00", 25)],
    ids=["spring", "autumn"],
)
def test_a_local_day_of_a_clock_change_has_each_of_its_hours_once(start: str, end: str, hours: int) -> None:
    asked = ask(start, end)
    rows = [row((asked.start + index * HOUR).isoformat(), index) for index in range(hours)]
    read = figures(past(*rows), asked, utc("2027-01-01T00:00"))
    assert [r["carbon_intensity_g_per_kwh"] for r in read] == list(range(hours))
    assert [r["start_utc"] for r in read] == [asked.start + index * HOUR for index in range(hours)]


def test_hours_of_india_are_where_their_times_say_in_utc() -> None:
    asked = ask("2026-10-30T00:00", "2026-10-30T02:00", "IN-WE")
    content = {"zone": "IN-WE", "data": [
        {"datetime": "2026-10-30T05:30:00+05:30", "carbonIntensity": 1},  # midnight in UTC
        {"datetime": "2026-10-30T01:30:00Z", "carbonIntensity": 2},  # a local hour: half in, half out
    ]}  # fmt: skip
    read = figures(content, asked)
    assert [(f"{r['start_utc']:%H:%M}", f"{r['end_utc']:%H:%M}") for r in read] == [
        ("00:00", "01:00"),
        ("01:30", "02:30"),
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (past(zone="FR"), "for the zone 'FR', though 'DE' was asked"),
        (past(row("2026-10-30T00:00Z", zone="FR")), "for the zone 'FR', though 'DE' was asked"),
        ({"data": []}, "for the zone None, though 'DE' was asked"),
        (past(row("2026-10-30T00:00Z", emissionFactorType="direct")), "Type 'direct', though 'lifecycle'"),
        (past(temporalGranularity="daily"), "temporalGranularity 'daily', though 'hourly'"),
        (past(row("2026-10-30T00:00Z", flowTraced=False)), "flowTraced False, though True"),
        (past(row("2026-10-30T00:00")), "where it documents a time with a zone"),
        (past(row("2026-10-30T00:00Z", "352")), "'352' where it documents a number or null"),  # type: ignore[arg-type]
        (past(row("2026-10-30T00:00Z", -1)), "-1.0 is no intensity"),
        (past(row("2026-10-30T00:00Z", 9e9)), "is no intensity in g/kWh"),
        (past(row("2026-10-30T00:01Z")), "is not of whole five minutes"),
        (past(row("2026-10-30T00:00Z"), row("2026-10-30T00:30Z")), "two figures of different length"),
        (past({"datetime": "2026-10-30T00:00Z"}), "a row without carbonIntensity"),
        (past({"carbonIntensity": 1}), "None where it documents a time"),
        (past(row("2026-10-30T00:00Z", updatedAt="yesterday")), "'yesterday' where it documents a time"),
        (past(data={}), "where it documents a list of rows"),
        (past(data=[1]), "where it documents a list of rows"),
        ({"zone": "DE"}, "a row without carbonIntensity"),
        (["DE"], "where it documents an object"),
        (b"<html>maintenance</html>", "no JSON: '<html>maintenance</html>'"),
    ],
)  # fmt: skip
def test_an_answer_to_something_else_is_malformed_and_says_which(content: object, says: str) -> None:
    with pytest.raises(SourceMalformed) as caught:
        figures(content, DAY)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.none() | st.integers(0, 1300), st.none() | st.integers(0, 90), st.booleans()),
        max_size=40,
    )
)
def test_the_rows_of_any_answer_are_those_of_the_plain_rule(
    made: list[tuple[int, int | None, int | None, bool]],
) -> None:
    start = DAY.start
    rows, best = [], {}
    for hour, value, updated_hour, is_estimated in made:
        updated = None if updated_hour is None else start + updated_hour * HOUR
        begin = start + hour * HOUR
        rows.append(row(begin.isoformat(), value, isEstimated=is_estimated, updatedAt=updated and updated.isoformat()))
        quality = "estimated" if is_estimated or (updated and updated <= begin) else "measured"
        key = (updated or datetime(1970, 1, 1, tzinfo=UTC), quality == "measured")
        if hour < 24 and (hour not in best or key >= best[hour][0]):
            best[hour] = (key, value, quality)
    read = figures(past(*rows), DAY, utc("2026-11-05T00:00"))
    assert [(r["start_utc"], r["carbon_intensity_g_per_kwh"], r["quality"]) for r in read] == [
        (start + hour * HOUR, best[hour][1], best[hour][2]) for hour in sorted(best)
    ]


VALUES = st.sampled_from(
    [None, "DE", "hourly", "2026-10-30T00:00Z", "9999-12-31T23:30Z", "", 352, -1, 1e300, True, [], {}]
)
ROWS = st.dictionaries(
    st.sampled_from(["zone", "datetime", "carbonIntensity", "updatedAt", "isEstimated", "estimationMethod"]), VALUES
)


@given(
    st.dictionaries(st.sampled_from(["zone", "data", "history", "updatedAt"]), VALUES | ROWS | st.lists(VALUES | ROWS))
)
def test_whatever_is_answered_is_rows_or_malformed(content: dict[str, object]) -> None:
    for read in (READER.parse, READER.parse_forecast):
        try:
            assert read(payload({"zone": "DE"} | content, DAY)).num_rows <= 24
        except SourceMalformed as error:
            assert "\n" not in str(error)  # noqa: PT017 # either outcome is right


# --- fetch


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def fetched(server: Misbehaving, asked: Ask, clock: StillClock, version: str = "v4", **table: object) -> list[Payload]:
    return list(provider(f"{server.url}/{version}", clock, **table).fetch(asked))


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


# --- refusals and faults


@pytest.mark.parametrize(
    ("refused", "kind", "says"),
    [
        (answer("token_401", 401), SourceRejected, "the token of [intensity.electricity_maps] is not accepted"),
        (Answer(401), SourceRejected, "no reason given: the token of [intensity.electricity_maps] is not accepted"),
        (answer("plan_401", 401), NotInPlan, "the token's plan has not this zone or this endpoint"),
        (Answer(401, b"Token unauthorized for zoneKey=DE"), NotInPlan, "plan has not this zone"),
        (Answer(401, b'{"error":"Endpoint not available"}'), NotInPlan, "plan has not this zone"),
        (Answer(403, b"no"), NotInPlan, "electricity_maps answers 403: no: the token's plan"),
        (Answer(404, b'{"error":"No recent data"}'), NothingThere, "No recent data"),
        (Answer(400, b'{"error":"Missing or invalid date parameter"}'), SourceRejected, "Missing or invalid date"),
        (Answer(429, b"slow", {"Retry-After": "3600"}), SourceUnavailable, "answers 429: slow"),
    ],
)
def test_each_refusal_is_its_own_error(refused: Answer, kind: type[SourceError], says: str, clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), refused) as server, pytest.raises(SourceError) as caught:
        fetched(server, DAY, clock)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert len(server.asked) == 2


def test_a_bad_token_is_told_before_anything_else_is_asked(clock: StillClock) -> None:
    with misbehaving(answer("token_401", 401)) as server, pytest.raises(SourceRejected, match="is not accepted"):
        fetched(server, DAY, clock)
    assert len(server.asked) == 1


def test_what_came_before_a_fault_stands(clock: StillClock) -> None:
    month = ask("2026-09-01T00:00", "2026-10-01T00:00")
    with misbehaving(answer("zones_v4"), FINE_PAST, answer("plan_401", 401)) as server:
        asking = provider(f"{server.url}/v4", clock).fetch(month)
        assert next(asking).ask.end == utc("2026-09-11T00:00")
        with pytest.raises(NotInPlan):
            next(asking)


@pytest.mark.parametrize(
    ("failing", "seconds"),
    [
        (Answer(429, b"", {"Retry-After": "9"}), 9),
        (Answer(429, b"", {"Retry-After": "Mon, 02 Nov 2026 03:00:30 GMT"}), 30),
        (Answer(500), 1),
        (Answer(200, b'{"zone":"D', cut_bytes=100), 1),
    ],
    ids=["seconds", "date", "500", "truncated"],
)
def test_what_passes_is_asked_again_when_the_vendor_says(failing: Answer, seconds: float, clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), failing, answer("past_range_v4")) as server:
        (only,) = fetched(server, DAY, clock)
    assert only.body == body("past_range_v4")
    assert clock.seconds == 0.5 + seconds


def test_a_slow_answer_is_unavailable(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4"), Answer(body=b"x" * 100, drip_seconds=0.2)) as server:
        table = ElectricityMapsTable(base_url=f"{server.url}/v4", token_env="EM_TOKEN")  # noqa: S106 # a variable's name
        slow = ElectricityMaps(table, HttpSettings(timeout_seconds=0.5, retry_seconds=0), ENV, clock)
        with pytest.raises(SourceUnavailable, match=r"did not answer within 0\.5 s"):
            list(slow.fetch(DAY))


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 500])
def test_the_token_is_nowhere_to_be_seen(status: int, clock: StillClock) -> None:
    echo = Answer(status, json.dumps({"zone": "DE", "data": [], "token": SECRET}).encode())
    with misbehaving(answer("zones_v4"), echo) as server:
        asking = provider(f"{server.url}/v4", clock)
        try:
            (only,) = asking.fetch(DAY)
            shown = f"{only!r} {only.body!r} {only.url}"
            assert status == 200
        except SourceError as error:
            shown = "".join(traceback.format_exception(error))
    assert server.asked[1].headers["auth-token"] == SECRET
    assert SECRET not in shown + repr(asking) + repr(vars(asking)["_table"])
    assert all(SECRET not in str(asked.parameters) + asked.path for asked in server.asked)


def test_a_table_without_a_token_says_what_it_needs(clock: StillClock) -> None:
    with misbehaving(answer("zones_v4")) as server:
        with pytest.raises(ConfigError, match=r"\[intensity\.electricity_maps\] needs token_env or token_file"):
            fetched(server, DAY, clock, token_env=None)
        with pytest.raises(ConfigError, match="the environment has no OTHER"):
            fetched(server, DAY, clock, token_env="OTHER")  # noqa: S106 # a variable's name
        assert server.asked == []


def test_a_token_is_read_anew_at_each_call(clock: StillClock, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    with misbehaving(answer("zones_v4"), FINE_PAST) as server:
        asking = provider(f"{server.url}/v4", clock, token_env=None, token_file=file)
        list(asking.fetch(DAY))
        file.write_text("second\n")
        list(asking.fetch(DAY))
    assert [asked.headers["auth-token"] for asked in server.asked] == ["first", "first", "second"]


# --- forecast, check, settings


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
