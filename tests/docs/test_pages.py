"""Pages of the documentation: links lead somewhere, examples load, sources are named, figures are the measured ones."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import config
from tests.docs.pages import PAGES, ROOT, fenced, sections

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
# What a `source` cell of pipeline/data may name, and the words by which NOTICE and docs/sources.md must name it.
PUBLISHERS = {
    "Ember": "Ember yearly electricity data",
    "Our World in Data": "Our World in Data",
    "DigitalPebble/spruce": "DigitalPebble/spruce",
    "region-carbon-info": "GoogleCloudPlatform/region-carbon-info",
    "cloud-carbon-footprint": "Cloud Carbon Footprint",
    "AWS sustainability page": "AWS",
    "Google efficiency page": "Google",
    "Microsoft datacenter efficiency page": "Microsoft",
    "IPCC AR5": "IPCC AR5 WG3 Annex III",
    "IPCC SRREN": "IPCC SRREN 2011 Annex II",
    "IPCC 2006": "IPCC 2006 Guidelines",
    "Energy Information": "U.S. Energy Information Administration",
    "carbon-etl": "carbon-etl",
}


def anchors(page: Path) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(page)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = page if not name else page.parent / name
        if not goal.exists() or (anchor and anchor not in anchors(goal)):
            broken.append(target)
    assert not broken


@pytest.mark.parametrize(
    ("page", "number"),
    [(page, n) for page in PAGES for n, text in enumerate(fenced(page, "toml")) if "[[clusters]]" in text],
    ids=lambda value: value.name if isinstance(value, Path) else str(value),
)
def test_config_blocks_load(page: Path, number: int, tmp_path: Path) -> None:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(fenced(page, "toml")[number], encoding="utf-8")
    assert config.load(path, {}).clusters


def test_the_readme_has_a_config_to_copy() -> None:
    assert any("[[clusters]]" in text for text in fenced(ROOT / "README.md", "toml"))


def sources_of_data() -> Iterator[tuple[str, str]]:
    """(file name, cell) of every source column of the shipped data."""
    for path in sorted((ROOT / "pipeline" / "data").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                for column, cell in row.items():
                    if column.endswith("source") and cell:
                        yield path.name, cell


@pytest.mark.parametrize("document", ["NOTICE", "docs/sources.md"])
def test_every_source_of_the_shipped_data_is_named(document: str) -> None:
    text = " ".join((ROOT / document).read_text(encoding="utf-8").split())
    unnamed = {file for file, _ in sources_of_data() if file not in text}
    for file, cell in set(sources_of_data()):
        names = [name for word, name in PUBLISHERS.items() if word in cell]
        assert names, f"{file} names a source that this test does not know: {cell!r}"
        unnamed |= {name for name in names if name not in text}
    assert not unnamed


def test_the_accuracy_told_in_the_readme_is_the_measured_one() -> None:
    told = re.search(r"^P8 in short.*?\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert told is not None
    measured = (ROOT / "benchmarks" / "accuracy.md").read_text(encoding="utf-8")
    numbers = [float(text) for text in re.findall(r"([\d.]+(?:e-?\d+)?) %", measured)]
    for text in re.findall(r"([\d.]+) %", told[0]):
        digits = len(text.partition(".")[2])
        assert float(text) in [round(number, digits) for number in numbers], f"{text} % is not in accuracy.md"


def test_no_page_names_a_private_place() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:home|root|tmp)/", page.read_text(encoding="utf-8")), page
