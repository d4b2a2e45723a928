"""`carbon-etl report` as it is called."""

import csv
import stat
from pathlib import Path

import pytest

from tests.period_report.small import EU, US
from tests.product import Product

DAY = ("--start", "2026-11-01T00:00Z", "--end", "2026-11-02T00:00Z")
CONFIG = f"""\
[warehouse]
path = "{{warehouse}}"

[[clusters]]
name = "{EU}"
prometheus_url = "{{url}}"
grid_zone = "DE"
pue = 1.5

[[clusters]]
name = "{US}"
prometheus_url = "{{url}}"
grid_zone = "US"
pue = 1.2
"""


@pytest.fixture(scope="module")
def product(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Product:
    made = Product(tmp_path_factory.mktemp("command"), "http://127.0.0.1:9", CONFIG)
    made.warehouse.symlink_to(root)
    return made


def test_a_file_is_written_in_the_format_of_its_ending_and_what_to_know_is_told(
    product: Product, tmp_path: Path
) -> None:
    path = tmp_path / "report.md"
    said = product.call("report", *DAY, "--output", str(path))
    assert (said.code, said.errors) == (0, [])
    total = "36.000 kWh IT, 4,440.0 gCO2e (scope 2, location-based, plus upstream (scope 3.3))"
    assert said.out.splitlines()[0] == f"{path}: 2026-11-01: {total}"
    assert "  warning: 7.00 kWh (19.4 % of the energy)" in said.out
    assert path.read_text(encoding="utf-8").startswith("# Carbon report, 2026-11-01")
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0


def test_the_format_goes_before_the_ending_and_one_cluster_is_alone(product: Product, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert product.call("report", *DAY, "-o", str(path), "--format", "csv", "--cluster", US).code == 0
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["cluster"] for row in rows} == {US, ""}
    assert {row["table"] for row in rows if not row["cluster"]} == {"total", "kind"}


def test_without_a_file_the_page_goes_to_stdout(product: Product) -> None:
    said = product.call("report", *DAY)
    assert (said.code, said.out.startswith("<!doctype html>"), said.errors) == (0, True, [])
