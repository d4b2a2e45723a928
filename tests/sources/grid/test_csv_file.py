"""A user's intensity file is read exactly, or refused with its line."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.settings.intensity import CsvTable
from pipeline.sources.grid import csv_file
from pipeline.tables import INTENSITY
from pipeline.window import Window

NOW = datetime(2026, 11, 2, tzinfo=UTC)
HEADER = "zone,start_utc,end_utc,carbon_intensity_g_per_kwh"


def read(tmp_path: Path, text: str, encoding: str = "utf-8") -> list[dict[str, object]]:
    path = tmp_path / "grid.csv"
    path.write_text(text, encoding=encoding)
    table = csv_file.read(path, "lifecycle", NOW)
    assert table.schema == INTENSITY
    rows: list[dict[str, object]] = table.to_pylist()
    return rows


def test_every_column_of_a_row_is_filled(tmp_path: Path) -> None:
    (row,) = read(
        tmp_path,
        f"{HEADER},quality,basis,updated_utc\n"
        "DE,2026-11-01T00:00Z,2026-11-01T01:00Z,123.5,forecast,consumption,2026-11-01T00:05+01:00\n",
    )
    assert row == {
        "zone": "DE", "start_utc": datetime(2026, 11, 1, tzinfo=UTC), "end_utc": datetime(2026, 11, 1, 1, tzinfo=UTC),
        "carbon_intensity_g_per_kwh": 123.5, "provider": "csv", "signal": "average", "factor_type": "lifecycle",
        "basis": "consumption", "quality": "forecast", "updated_utc": datetime(2026, 10, 31, 23, 5, tzinfo=UTC),
        "model": None, "fetched_utc": NOW, "payload_id": None,
    }  # fmt: skip


def test_what_is_left_out_is_measured_of_unknown_basis_and_never_updated(tmp_path: Path) -> None:
    (row,) = read(tmp_path, f"{HEADER}\nDE,2026-11-01T00:00Z,2026-11-01T01:00Z,0\n")
    assert (row["quality"], row["basis"], row["updated_utc"]) == ("measured", "unknown", None)
    assert row["carbon_intensity_g_per_kwh"] == 0.0


def test_an_empty_value_is_a_withdrawn_figure_and_not_zero(tmp_path: Path) -> None:
    (row,) = read(tmp_path, f"{HEADER}\nDE,2026-11-01T00:00Z,2026-11-01T01:00Z,\n")
    assert row["carbon_intensity_g_per_kwh"] is None


def test_spaces_a_mark_of_byte_order_and_another_order_of_columns_do_not_matter(tmp_path: Path) -> None:
    text = (
        "carbon_intensity_g_per_kwh, zone ,start_utc,end_utc\r\n"
        " 5 , DE ,2026-11-01T00:00+01:00,2026-11-01T00:30+01:00\r\n"
    )
    (row,) = read(tmp_path, text, "utf-8-sig")
    assert (row["zone"], row["carbon_intensity_g_per_kwh"]) == ("DE", 5.0)
    assert row["start_utc"] == datetime(2026, 10, 31, 23, tzinfo=UTC)


def test_a_file_of_a_header_alone_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER) == []


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("", "zone"),
        ("zone,start_utc,end_utc", "carbon_intensity_g_per_kwh"),
        (f"{HEADER},unit", "unit"),
        (f"{HEADER},", ""),
        (f"{HEADER},zone", "zone"),
    ],
)
def test_a_header_that_is_another_names_the_column(header: str, column: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"column '{column}' is missing, unknown or there twice; the header is {HEADER}"
    ):
        read(tmp_path, f"{header}\n")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("DE,2026-11-01T00:00,2026-11-01T01:00Z,1", "start_utc '2026-11-01T00:00' has no time zone"),
        ("DE,2026-11-01T00:00Z,1st,1", "end_utc '1st' is not ISO 8601"),
        ("DE,2026-11-01T01:00Z,2026-11-01T00:00Z,1", "a step runs from one whole 5 minutes to a later one"),
        ("DE,2026-11-01T00:00Z,2026-11-01T00:04Z,1", "a step runs from one whole 5 minutes"),
        ("DE,2026-11-01T00:01Z,2026-11-01T01:01Z,1", "a step runs from one whole 5 minutes"),
        ("DE,2026-11-01T00:00:30Z,2026-11-01T01:00Z,1", "a step runs from one whole 5 minutes"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,2000.1", "'2000.1' is not an intensity in g/kWh (0 to 2000)"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,-0.1", "is not an intensity"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,nan", "is not an intensity"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,inf", "is not an intensity"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,\"1,5\"", "'1,5' is not an intensity"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1,guess,unknown", "quality is one of measured, estimated, forecast"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1,measured,both", "basis one of consumption, production, unknown"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1,measured,unknown,never", "updated_utc 'never' is not ISO 8601"),
        ("DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1,measured,unknown,,more", "more values than the header has columns"),
        (",2026-11-01T00:00Z,2026-11-01T01:00Z,1", "zone is empty"),
    ],
)  # fmt: skip
def test_a_line_that_is_wrong_is_named(line: str, says: str, tmp_path: Path) -> None:
    good = "DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1"
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"{HEADER},quality,basis,updated_utc\n{good}\n{line}\n")
    assert f"{tmp_path / 'grid.csv'} line 3: " in str(caught.value)
    assert says in str(caught.value)


def test_two_figures_for_one_moment_are_refused_unless_one_is_newer(tmp_path: Path) -> None:
    lines = [
        "DE,2026-11-01T00:00Z,2026-11-01T01:00Z,1",
        "FR,2026-11-01T00:00Z,2026-11-01T01:00Z,2",
        "DE,2026-11-01T01:00Z,2026-11-01T02:00Z,3",
    ]
    assert len(read(tmp_path, "\n".join([HEADER, *lines]))) == 3
    again = "DE,2026-11-01T00:30Z,2026-11-01T00:35Z,4"
    with pytest.raises(ConfigError, match="zone DE has two figures at 2026-11-01T00:30Z"):
        read(tmp_path, "\n".join([HEADER, *lines, again]))
    dated = [f"{line},2026-11-02T0{number}:00Z" for number, line in enumerate([*lines, again])]
    assert len(read(tmp_path, "\n".join([f"{HEADER},updated_utc", *dated]))) == 4


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the intensity file"):
        csv_file.read(tmp_path / "none.csv", "direct", NOW)
    (tmp_path / "bytes.csv").write_bytes(b"\xff\x00")
    with pytest.raises(ConfigError, match="cannot read the intensity file"):
        csv_file.read(tmp_path / "bytes.csv", "direct", NOW)


def test_the_file_as_a_provider_gives_the_zones_figures_that_touch_the_window(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    lines = [f"DE,2026-11-01T0{hour}:00Z,2026-11-01T0{hour + 1}:00Z,{hour}" for hour in range(5)]
    path.write_text("\n".join([HEADER, *lines, "FR,2026-11-01T02:00Z,2026-11-01T03:00Z,99"]), encoding="utf-8")
    provider = csv_file.CsvFile(CsvTable(path=path, factor_type="direct"))
    window = Window(datetime(2026, 11, 1, 2, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC))
    rows = provider.read("DE", window, "direct", NOW).to_pylist()
    assert [row["carbon_intensity_g_per_kwh"] for row in rows] == [2.0, 3.0]
    assert {(row["factor_type"], row["fetched_utc"]) for row in rows} == {("direct", NOW)}
    assert provider.read("DE", window, "lifecycle", NOW).num_rows == 0, "never of another factor type than declared"
    assert (provider.knows("FR"), provider.knows("GB"), provider.zone_of("DE")) == (True, False, "DE")
    assert provider.offers == {("average", "direct")}


def test_a_provider_without_a_path_is_refused_when_it_is_opened() -> None:
    with pytest.raises(ConfigError, match=r'needs \[intensity.csv\] path = "..."'):
        csv_file.CsvFile(CsvTable())
