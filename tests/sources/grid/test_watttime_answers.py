"""Answers of WattTime: pounds become grams exactly, models and signals never mix."""

import json
from datetime import timedelta

import pytest

from pipeline.errors import SourceMalformed
from tests.sources.grid.watttime import ITALY, NOW, answered, ask, body, figures, point, utc

HOUR = timedelta(hours=1)


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
