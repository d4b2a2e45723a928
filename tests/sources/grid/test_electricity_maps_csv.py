"""The data portal's files, of both generations: the right column, the right length, UTC, or refused with its line."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.settings.intensity import PortalTable
from pipeline.sources.grid.contract import FactorType, FileProvider
from pipeline.sources.grid.electricity_maps_csv import ElectricityMapsCsv
from pipeline.tables import INTENSITY
from pipeline.window import Window

PAYLOADS = Path(__file__).parents[2] / "payloads" / "grid" / "electricity_maps_csv"
NOW = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
ALWAYS = Window(datetime(2015, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC))
HEADER = (
    "Datetime (UTC),Country,Zone name,Zone id,Carbon intensity gCO₂eq/kWh (direct),"
    "Carbon intensity gCO₂eq/kWh (Life cycle),Data source,Data estimated,Data estimation method"
)


def opened(path: Path, **table: object) -> FileProvider:
    return ElectricityMapsCsv(PortalTable.model_validate({"path": path} | table))


def figures(
    path: Path, zone: str = "DE", factor_type: FactorType = "lifecycle", window: Window = ALWAYS
) -> list[dict[str, Any]]:
    read = opened(path).read(zone, window, factor_type, NOW)
    assert read.schema == INTENSITY
    return sorted(read.to_pylist(), key=lambda row: row["start_utc"])


def line(start: str, grams: object = 100, estimated: str = "false", method: str = "", zone: str = "DE") -> str:
    return f"{start},Germany,Germany,{zone},1,{grams},entsoe.eu,{estimated},{method}"


def written(folder: Path, *lines: str, name: str = "DE_2025_hourly.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def spans(rows: list[dict[str, Any]]) -> list[tuple[datetime, datetime]]:
    return [(row["start_utc"], row["end_utc"]) for row in rows]


@pytest.mark.parametrize(
    ("zone", "factor_type", "grams"),
    [("FR", "lifecycle", [56.64, 58.17]), ("FR", "direct", [35.34, 36.53]),
     ("SE", "lifecycle", [30.02, 30.32]), ("SE", "direct", [2.54, 2.6])],
)  # fmt: skip
def test_both_generations_give_the_column_that_is_asked_for(
    zone: str, factor_type: FactorType, grams: list[float]
) -> None:
    assert [row["carbon_intensity_g_per_kwh"] for row in figures(PAYLOADS, zone, factor_type)] == grams


def test_every_column_of_a_row_is_filled() -> None:
    first, _ = figures(PAYLOADS, "SE")
    assert first == {
        "zone": "SE", "start_utc": utc("2024-01-01T00:00"), "end_utc": utc("2024-01-01T01:00"),
        "carbon_intensity_g_per_kwh": 30.02, "provider": "electricity_maps_csv", "signal": "average",
        "factor_type": "lifecycle", "basis": "consumption", "quality": "estimated", "updated_utc": None,
        "model": "ESTIMATED_FORECASTS_HIERARCHY", "fetched_utc": NOW, "payload_id": None,
    }  # fmt: skip


def test_what_the_portal_did_not_estimate_is_measured_and_what_it_does_not_say_is_an_estimate(tmp_path: Path) -> None:
    words = ["False", "TRUE", "", "false"]
    path = written(tmp_path, *(line(f"2025-01-01 {h:02}:00:00", estimated=word) for h, word in enumerate(words)))
    rows = figures(path)
    assert [row["quality"] for row in rows] == ["measured", "estimated", "estimated", "measured"]
    assert {row["model"] for row in rows} == {None}


def test_a_file_without_the_columns_of_estimation_is_estimated(tmp_path: Path) -> None:
    header = "Datetime (UTC),Zone id,Carbon intensity gCO2eq/kWh (Life cycle)"
    path = written(tmp_path, "2025-01-01 00:00:00,DE,7", header=header)
    assert [(row["quality"], row["carbon_intensity_g_per_kwh"]) for row in figures(path)] == [("estimated", 7.0)]


@pytest.mark.parametrize(
    "column",
    ["Carbon Intensity gCO₂eq/kWh (LCA)", "carbon intensity gco2eq/kwh (lca)",
     "CARBON INTENSITY GCO2EQ/KWH (LIFE CYCLE)", " Carbon  intensity gCO₂eq/kWh (Life cycle) "],
)  # fmt: skip
def test_capitals_spaces_and_the_subscript_of_a_header_do_not_matter(column: str, tmp_path: Path) -> None:
    header = f"DATETIME (UTC),zone ID,Carbon intensity gCO₂eq/kWh (direct),{column}"
    path = written(tmp_path, "2025-01-01 00:00:00,DE,1,2", header=header)
    assert [row["carbon_intensity_g_per_kwh"] for row in figures(path)] == [2.0]


def test_the_first_column_of_carbon_is_never_taken_for_another(tmp_path: Path) -> None:
    header = "Datetime (UTC),Zone id,Carbon intensity gCO₂eq/kWh (direct)"
    path = written(tmp_path, "2025-01-01 00:00:00,DE,1", header=header)
    with pytest.raises(ConfigError, match="0 columns of lifecycle intensity"):
        figures(path)
    both = f"{header},Carbon intensity gCO₂eq/kWh (LCA),Carbon intensity gCO₂eq/kWh (Life cycle)"
    with pytest.raises(ConfigError, match="2 columns of lifecycle intensity"):
        figures(written(tmp_path, "2025-01-01 00:00:00,DE,1,2,3", header=both))


def test_an_empty_figure_is_withdrawn_and_a_missing_hour_is_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, line("2025-01-01 00:00:00", ""), line("2025-01-01 03:00:00", 0))
    assert [(row["start_utc"].hour, row["carbon_intensity_g_per_kwh"]) for row in figures(path)] == [
        (0, None),
        (3, 0.0),
    ]


def test_naive_times_are_utc_and_days_of_clock_changes_have_24_hours(tmp_path: Path) -> None:
    hours = [utc("2025-10-26T00:00") + n * HOUR for n in range(24)]
    rows = figures(written(tmp_path, *(line(f"{hour:%F %T}") for hour in hours)))
    assert [row["start_utc"] for row in rows] == hours
    offset = written(tmp_path, line("2025-10-26 00:00:00+05:30"), header=HEADER, name="IN_2025_daily.csv")
    with pytest.raises(ConfigError, match="no daily row begins at 2025-10-25 18:30:00"):
        figures(offset)


@pytest.mark.parametrize(
    ("starts", "ends", "quality"),
    [
        (["2025-01-01", "2025-01-02", "2025-01-04"], ["2025-01-02", "2025-01-03", "2025-01-05"], "estimated"),
        (["2024-01-01", "2024-02-01", "2024-12-01"], ["2024-02-01", "2024-03-01", "2025-01-01"], "estimated"),
        (["2023-01-01", "2024-01-01"], ["2024-01-01", "2025-01-01"], "yearly_zone"),
    ],
    ids=["days", "months", "years"],
)
def test_longer_rows_are_known_by_how_far_apart_they_are_and_are_no_measurements_of_an_hour(
    starts: list[str], ends: list[str], quality: str, tmp_path: Path
) -> None:
    rows = figures(written(tmp_path, *(line(f"{start} 00:00:00") for start in starts), name="export.csv"))
    assert spans(rows) == [(utc(start), utc(end)) for start, end in zip(starts, ends, strict=True)]
    assert {row["quality"] for row in rows} == {quality}


@pytest.mark.parametrize(
    ("name", "end"),
    [("DE_2025_hourly.csv", "2025-01-01T01:00"), ("de-2025-DAILY.csv", "2025-01-02"),
     ("DE monthly (1).csv", "2025-02-01"), ("yearly.csv", "2026-01-01")],
)  # fmt: skip
def test_a_single_row_is_as_long_as_the_name_of_its_file_says(name: str, end: str, tmp_path: Path) -> None:
    assert spans(figures(written(tmp_path, line("2025-01-01 00:00:00"), name=name))) == [(utc("2025-01-01"), utc(end))]


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("DE.csv", ["2025-01-01 00:00:00"], "cannot tell how long a row is: name it like DE_2025_hourly.csv"),
        ("DE.csv", ["2025-01-01 00:00:00", "2025-01-01 00:30:00"], "cannot tell how long a row is"),
        ("DE_hourly.csv", ["2025-01-01 00:00:00", "2025-01-02 00:00:00"], "its name says hourly, its rows are daily"),
        ("DE_daily_hourly.csv", ["2025-01-01 00:00:00"], "its name says hourly and daily: rename it"),
        ("DE_hourly.csv", ["2025-01-01 00:00:00", "2025-01-01 00:15:00"], "line 3: no hourly row begins at"),
        ("DE_daily.csv", ["2025-01-01 01:00:00"], "line 2: no daily row begins at 2025-01-01 01:00:00"),
        ("DE_monthly.csv", ["2025-01-02 00:00:00"], "line 2: no monthly row begins at 2025-01-02"),
        ("DE_yearly.csv", ["2025-02-01 00:00:00"], "line 2: no yearly row begins at 2025-02-01"),
    ],
)  # fmt: skip
def test_a_length_that_cannot_be_told_or_is_contradicted_is_refused(
    name: str, lines: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        figures(written(tmp_path, *(line(start) for start in lines), name=name))
    assert f"{tmp_path / name}" in str(caught.value)
    assert says in str(caught.value)


def test_of_several_lengths_in_a_folder_the_shortest_of_a_moment_counts(tmp_path: Path) -> None:
    written(tmp_path, line("2025-01-01 00:00:00", 1), line("2025-01-01 01:00:00", 2))
    written(tmp_path, line("2025-01-01 00:00:00", 3), line("2025-01-02 00:00:00", 4), name="DE_2025_daily.csv")
    written(tmp_path, line("2025-01-01 00:00:00", 5), line("2025-02-01 00:00:00", 6), name="DE_2025_monthly.csv")
    written(tmp_path, line("2024-01-01 00:00:00", 7), line("2025-01-01 00:00:00", 8), name="DE_yearly.csv")
    rows = figures(tmp_path)
    assert [(row["start_utc"], row["carbon_intensity_g_per_kwh"]) for row in rows] == [
        (utc("2024-01-01"), 7.0), (utc("2025-01-01T00:00"), 1.0), (utc("2025-01-01T01:00"), 2.0),
        (utc("2025-01-02"), 4.0), (utc("2025-02-01"), 6.0),
    ]  # fmt: skip
    assert all(one["end_utc"] <= following["start_utc"] for one, following in pairwise(rows))


def test_only_rows_of_the_zone_that_touch_the_window_are_given(tmp_path: Path) -> None:
    hours = [f"2025-01-01 {hour:02}:00:00" for hour in range(6)]
    written(tmp_path, *(line(start, n) for n, start in enumerate(hours)), line(hours[2], 99, zone="FR"))
    window = Window(utc("2025-01-01T02:00"), utc("2025-01-01T04:00"))
    assert [row["carbon_intensity_g_per_kwh"] for row in figures(tmp_path, window=window)] == [2.0, 3.0]
    assert figures(tmp_path, "DE-X") == []


def test_a_file_read_twice_is_read_once_but_two_releases_of_it_are_refused(tmp_path: Path) -> None:
    written(tmp_path, line("2025-01-01 00:00:00", 5), line("2025-01-01 00:00:00", 5))
    written(tmp_path, line("2025-01-01 00:00:00", 5), name="copy_hourly.csv")
    assert [row["carbon_intensity_g_per_kwh"] for row in figures(tmp_path)] == [5.0]
    written(tmp_path, line("2025-01-01 00:00:00", 6), name="newer_hourly.csv")
    with pytest.raises(ConfigError) as caught:
        figures(tmp_path)
    assert "another figure for 2025-01-01T00:00Z than in " in str(caught.value)
    assert "newer_hourly.csv line 2" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (line("01/01/2025 00:00"), "line 2: '01/01/2025 00:00' is not a time like 2025-01-31 23:00:00"),
        (line("9999-12-31 00:00:00"), "is not a time like"),
        (line("2025-01-01 00:00:00", "-1"), "line 2: '-1' is not an intensity in g/kWh (0 to 2000)"),
        (line("2025-01-01 00:00:00", "nan"), "is not an intensity"),
        (line("2025-01-01 00:00:00", '"1,5"'), "'1,5' is not an intensity"),
        (line("2025-01-01 00:00:00", estimated="perhaps"), "data estimated is true or false, not 'perhaps'"),
        (line("2025-01-01 00:00:00") + ",x", "line 2: 10 values where the header has 9 columns"),
        ("2025-01-01 00:00:00,Germany", "line 2: 2 values where the header has 9 columns"),
    ],
)
def test_a_line_that_is_wrong_is_named(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        figures(path)
    assert f"{path}" in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("header", "says"),
    [("", "column 'datetime (utc)' is missing"), ("Datetime (UTC),Zone", "column 'zone id' is missing"),
     (f"{HEADER},Zone Id", "names a column twice")],
)  # fmt: skip
def test_a_file_that_is_not_of_the_portal_is_named(header: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(written(tmp_path, header=header)).knows("DE")
    assert says in str(caught.value)


def test_a_byte_order_mark_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "DE_2025_hourly.csv"
    path.write_text(f"{HEADER}\r\n\r\n{line('2025-01-01 00:00:00')}\r\n\r\n", encoding="utf-8-sig", newline="")
    assert len(figures(path)) == 1


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the intensity file"):
        figures(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match=r"holds no \.csv file"):
        figures(tmp_path)
    (tmp_path / "DE_hourly.csv").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="cannot read the intensity file"):
        figures(tmp_path)


def test_a_zone_is_known_if_any_file_has_it_and_may_have_another_name_there() -> None:
    portal = opened(PAYLOADS)
    assert (portal.knows("FR"), portal.knows("SE"), portal.knows("DE")) == (True, True, False)
    assert portal.zone_of("SE") == "SE"
    assert opened(PAYLOADS, zone="SE-SE1").zone_of("SE") == "SE-SE1"
    assert portal.offers == {("average", "lifecycle"), ("average", "direct")}
