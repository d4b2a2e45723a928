"""Answers of Electricity Maps: only what was asked is taken, with its quality, or the answer is malformed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SourceMalformed
from tests.sources.grid.electricity_maps import DAY, HOUR, READER, ask, body, figures, past, payload, row, utc


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
