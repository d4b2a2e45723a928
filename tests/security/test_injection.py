"""Names that tenants choose, in paths, SQL, CSV, JSON, OpenMetrics and Grafana: text everywhere, syntax nowhere.

PromQL: tests/sources/prometheus/test_selectors.py. Terminals and logs: test_terminal.py.
"""

import csv
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.books.export import export
from pipeline.errors import CarbonEtlError
from pipeline.settings import StoreSettings
from pipeline.sinks.batches import Batch
from pipeline.sinks.block_sets import SAMPLES, BlockSets
from pipeline.sinks.sql import run_query
from pipeline.sinks.views import refresh_database
from pipeline.sinks.warehouse import Warehouse
from tests.product import ROOT, Product
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, HOURS

FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "\n=1+1", "\uff1d1+1", '=HYPERLINK("x")',
]  # fmt: skip
HOSTILE = [
    *FORMULAS, "../../etc/passwd", "'; drop view emissions; --", '"; copy emissions to \'x', "a,b;c\td", 'say "hi"',
    "line\r\nbreak", "</script><script>alert(1)</script>", "<b>x</b>", "${__data}", "{{x}}", "%s%n", "\\", "ä→",
    "x" * 4096, " ", "null", "NaN", "\x1b[2J",
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A warehouse with one row of each hostile namespace."""
    root = tmp_path / "warehouse"
    pods = [rows.pod(HOURS[0], f"p{n}", 3600.0, namespace=name, workload=name) for n, name in enumerate(HOSTILE)]
    node = rows.metered(HOURS[0], 3600.0 * len(pods), 0.0, 0.0)
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.tables(pods, [node]))
    return root


def test_sql_gives_every_name_back_as_it_was(root: Path) -> None:
    found = run_query(root, "select namespace from emissions")["namespace"].to_pylist()
    assert sorted(found) == sorted(HOSTILE)


def test_no_cell_of_a_csv_is_a_formula_and_none_is_lost(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    assert export(Warehouse(root), "emissions", [CLUSTER], None, "csv", path) == len(HOSTILE)
    with path.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        for cell in row.values():
            assert re.match(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", cell) is None or float(cell) < 0
    assert sorted(row["namespace"].removeprefix("'") if row["namespace"][1:] in FORMULAS else row["namespace"]
                  for row in found) == sorted(HOSTILE)  # fmt: skip


def test_an_exported_file_is_not_open_to_others(root: Path, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        export(Warehouse(root), "emissions", [CLUSTER], None, "csv", tmp_path / "emissions.csv")
    finally:
        os.umask(before)
    assert (tmp_path / "emissions.csv").stat().st_mode & 0o777 == 0o640


def test_an_export_does_not_write_through_a_link_in_its_place(root: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("not yours")
    (tmp_path / f".emissions.csv.{os.getpid()}.tmp").symlink_to(victim)
    with suppress(CarbonEtlError):
        export(Warehouse(root), "emissions", [CLUSTER], None, "csv", tmp_path / "emissions.csv")
    assert victim.read_text() == "not yours"


@pytest.mark.parametrize("name", ["it's", "a[b]c", "a*b", "a;b", 'a"b', "x'; copy (select 1) to 'y", "${x}", "ä b"])
def test_a_warehouse_may_lie_in_any_folder(name: str, tmp_path: Path) -> None:
    root = tmp_path / name / "warehouse"
    rows.commit(Warehouse(root), rows.complete(HOURS[:1]), rows.day(HOURS[:1]))
    assert run_query(root, "select count(*) as rows from emissions")["rows"].to_pylist() == [4]
    assert refresh_database(root)
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_json_for_machines_is_ascii_and_one_document(root: Path) -> None:
    product = Product(root.parent, "http://127.0.0.1:9")
    said = product.call("backfill", "--start", "2026-11-01T00:00Z", "--end", "2026-11-01T01:00Z", "--json")
    assert json.loads(said.out)["errors"]
    assert said.out.isascii()


def test_openmetrics_of_any_label_is_one_line_a_sample(tmp_path: Path) -> None:
    points = {("carbon_x", (("namespace", name),)): [(1_793_520_000_000, 1.0)] for name in HOSTILE}
    made = BlockSets(tmp_path, StoreSettings(url="http://127.0.0.1:9")).make("a--2026-11-01", Batch.of_points(points))
    with (made.folder / SAMPLES).open(encoding="utf-8", newline="\n") as file:
        lines = file.read().split("\n")
    samples = [
        re.fullmatch(r'carbon_x\{namespace="((?:[^"\\\n]|\\[\\"n])*)"\} 1\.0 1793520000\.000', one) for one in lines
    ]
    assert [one is None for one in samples] == [False] * len(HOSTILE) + [True, True]  # "# EOF" and the last line's end
    unescaped = [one[1].replace("\\\\", "\0").replace("\\n", "\n").replace('\\"', '"').replace("\0", "\\")
                 for one in samples if one]  # fmt: skip
    assert sorted(unescaped) == sorted(HOSTILE)


# To another of our boards; names of others go in encoded, as values of variables.
LINK = re.compile(
    r"/d/carbon-etl-[a-z-]+\?\$\{__url_time_range\}&\$\{datasource:queryparam\}(&var-\w+=\$\{__data\.fields\.\w+:percentencode\})+"
)


def panels(part: object) -> Iterator[dict[str, object]]:
    if isinstance(part, dict):
        yield part
        for value in part.values():
            yield from panels(value)
    elif isinstance(part, list):
        for value in part:
            yield from panels(value)


def test_no_panel_writes_html_or_puts_a_name_into_text_or_a_link() -> None:
    for path in sorted((ROOT / "dashboards").glob("*.json")):
        for part in panels(json.loads(path.read_text(encoding="utf-8"))):
            assert part.get("mode") != "html"
            # Values of variables come from addresses, too. They may stand in a question, which only reads; never where
            # somebody would copy them into a shell.
            assert "$" not in re.sub(r"```sql\n[^`]*```", "", str(part.get("content", "")))
            links = part.get("links") or []
            assert isinstance(links, list)
            for link in links:
                assert link.get("type") == "dashboards" or LINK.fullmatch(link["url"]), link
