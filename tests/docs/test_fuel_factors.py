"""The table of fuel factors in docs/sources.md is the shipped one, codes of the vendors included."""

import csv
import re
from pathlib import Path

from pipeline.sources.grid.eia import FUELS as EIA
from pipeline.sources.grid.entsoe import FUELS as ENTSOE
from pipeline.sources.grid.mix import FACTORS, RELEASE

SECTION = re.search(
    r"^## `fuel_factors\.csv`\n(.*?)^## ",
    (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8"),
    re.MULTILINE | re.DOTALL,
)
assert SECTION is not None
TEXT = SECTION[1]


def cells(columns: int) -> list[list[str]]:
    """Rows of the table that has so many columns, without its two head lines."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]
    return [line for line in lines if len(line) == columns][2:]


def shipped() -> list[dict[str, str]]:
    with FACTORS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_factor_is_documented_and_no_other() -> None:
    documented = [
        (cell[0].strip("`"), kind, cell[n]) for cell in cells(6)[:-1] for n, kind in ((1, "lifecycle"), (2, "direct"))
    ]
    assert documented == [(row["fuel"], row["factor_type"], row["g_per_kwh"]) for row in shipped()]


def test_every_assumption_is_documented() -> None:
    told = {cell[0].strip("`"): cell[5] for cell in cells(6)}
    assert all(row["assumption"] in told[row["fuel"]] for row in shipped())


def test_every_code_of_a_vendor_is_documented_with_its_fuel_and_no_other() -> None:
    for column, fuels in ((3, EIA), (4, ENTSOE)):
        documented = {
            code: cell[0].strip("`") if cell[0].startswith("`") else None
            for cell in cells(6)
            for code in re.findall(r"`(\w+)`", cell[column])
        }
        assert documented == fuels


def test_every_source_is_documented_with_its_licence_and_address_and_no_other() -> None:
    documented = {(cell[0], cell[2], cell[3].strip("<>")) for cell in cells(4)}
    assert documented == {(row["source"], row["licence"], row["url"]) for row in shipped()}


def test_the_release_and_the_worked_mix_are_those_of_the_code() -> None:
    assert RELEASE in TEXT
    factors = {row["fuel"]: float(row["g_per_kwh"]) for row in shipped() if row["factor_type"] == "lifecycle"}
    grams = 300 * factors["gas"] + 500 * factors["nuclear"] + 200 * factors["wind"]
    assert f"/ 1000 = {grams / 1000:g} g/kWh" in TEXT
