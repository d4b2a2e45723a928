"""The embedded averages say which year and whose they are, and know nothing that is not in their table."""

from datetime import UTC, datetime

import pytest

from pipeline.errors import ConfigError
from pipeline.sources.grid import yearly
from pipeline.sources.grid.yearly import Place
from pipeline.window import Window


def window(year: int, years: int = 1) -> Window:
    return Window(datetime(year, 1, 1, tzinfo=UTC), datetime(year + years - 1, 12, 31, tzinfo=UTC))


def test_a_year_of_a_country_is_one_row_with_its_origin() -> None:
    (row,) = yearly.fetch("AE", window(2020)).to_pylist()
    assert row["carbon_intensity_g_per_kwh"] == 645.69
    assert (row["start_utc"], row["end_utc"]) == (datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC))
    assert (row["provider"], row["signal"], row["factor_type"]) == ("static", "average", "lifecycle")
    assert (row["basis"], row["quality"]) == ("production", "yearly_zone")
    assert row["model"].startswith("AE 2020, release 20")


def test_an_hour_takes_the_newest_year_not_after_its_own() -> None:
    rows = yearly.fetch("AE", window(2019, 2)).to_pylist()
    assert [row["carbon_intensity_g_per_kwh"] for row in rows] == [660.09, 645.69]
    (future,) = yearly.fetch("AE", window(2090)).to_pylist()
    newest = max(average.year for average in yearly._table()["AE"])
    assert future["model"].startswith(f"AE {newest},")
    assert future["start_utc"].year == 2090


def test_years_before_the_table_have_no_row() -> None:
    assert yearly.fetch("AE", window(1999)).num_rows == 0


@pytest.mark.parametrize(
    ("zone", "code"),
    [
        ("DE", ("DE", "yearly_zone")),
        ("US-VA", ("US-VA", "yearly_zone")),
        ("IT-NO", ("IT", "yearly_country")),
        ("WORLD", ("WORLD", "world")),
        ("WORLD-1", None),
        ("XX", None),
        ("", None),
        ("de", None),
    ],
)
def test_a_zone_is_itself_its_country_or_unknown_and_the_world_only_by_name(
    zone: str, code: tuple[str, str] | None
) -> None:
    assert yearly.code_of(zone) == code
    assert (yearly.fetch(zone, window(2024)).num_rows == 1) == (code is not None)


def test_states_are_lifecycle_by_assumption_only() -> None:
    assert yearly.is_unverified("US-VA")
    assert not yearly.is_unverified("DE")
    assert not yearly.is_unverified("no such zone")


def test_a_place_is_a_zone_or_what_a_cloud_region_points_to() -> None:
    assert yearly.place("DE", None, None) == Place("DE", "DE")
    assert yearly.place(None, "aws", "us-east-1") == Place("US-MIDA-PJM", "US-VA")


def test_every_cloud_region_that_is_listed_finds_a_yearly_figure_or_is_told_to_have_none() -> None:
    lost = [
        (cloud, region)
        for cloud, region in yearly._regions()
        if yearly.code_of(yearly.place(None, cloud, region).yearly_code) is None
    ]
    assert lost == []


def test_an_unknown_region_names_the_nearest_of_its_cloud() -> None:
    with pytest.raises(ConfigError, match=r"unknown aws region 'us-east-11': did you mean 'us-east-1'\?"):
        yearly.place(None, "aws", "us-east-11")
    with pytest.raises(ConfigError, match="unknown gcp region 'qqqqqqqq': give grid_zone instead"):
        yearly.place(None, "gcp", "qqqqqqqq")


def test_every_figure_of_the_table_is_an_intensity() -> None:
    for code, averages in yearly._table().items():
        assert len({average.year for average in averages}) == len(averages), code
        for average in averages:
            assert 0 <= average.g_per_kwh < 2_000, average
            assert average.release > average.year - 1, average
