"""One report in four formats: the same figures in each, names of others only ever text, a page that needs nobody."""

import csv
import io
import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipeline.errors import StoreUnwritable
from pipeline.period_report.amounts import Line
from pipeline.period_report.figures import Figures, Part
from pipeline.period_report.formats import FORMATS, write_whole
from pipeline.period_report.wording import SOURCES
from pipeline.providers import FILES, WEB
from tests.period_report import small

ROOT = Path(__file__).parents[2]
HOSTILE = "<script>alert('\"&')</script>|`x`\n\u202e=1+1"
FORMULA = '=HYPERLINK("http://x")'
VOID = {"meta", "link", "br", "img", "input", "hr"}


def with_names(told: Figures, namespace: str) -> Figures:
    """The same figures with the first namespace and workload called otherwise."""

    def named(lines: tuple[Line, ...]) -> tuple[Line, ...]:
        return (replace(lines[0], namespace=namespace, workload=namespace, workload_kind=namespace), *lines[1:])

    part = told.parts[0]
    return replace(told, parts=(replace(part, namespaces=named(part.namespaces), largest=named(part.largest)),))


class Page(HTMLParser):
    """What a page is made of; anything left open or closed in the wrong order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data))

    def under(self, tag: str) -> list[str]:
        return [" ".join(text.split()) for of, text in self.texts if of == tag]


@pytest.fixture(scope="module")
def page(told: Figures) -> Page:
    return Page(FORMATS["html"](told))


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert set(levels[1:]) == {2}
    assert page.under("h2") == [
        "Key figures", "What changed, and why", "Day by day", "Who caused it", "Workloads that stand out",
        "Data quality", "Closed books", "Sources and licences", "How it was made", "Glossary",
    ]  # fmt: skip


def test_two_methods_have_their_own_sections_under_one_title(told: Figures) -> None:
    direct = replace(told.parts[0], factor_type="direct", scope="scope 2, location-based")
    page = Page(FORMATS["html"](replace(told, parts=(told.parts[0], direct))))
    headings = [text for text in page.under("h2") if text.startswith("Key figures")]
    assert headings == [f"Key figures: {told.parts[0].scope}", "Key figures: scope 2, location-based"]
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_table_has_a_caption_and_every_head_a_scope(page: Page) -> None:
    names = [tag for tag, _ in page.tags]
    assert names.count("table") == names.count("caption") == names.count("thead") > 8
    assert {attributes.get("scope") for tag, attributes in page.tags if tag == "th"} == {"col", "row"}
    assert all(page.under("caption"))


def test_every_drawing_has_words_or_is_hidden_from_who_cannot_see_it(page: Page) -> None:
    drawings = [attributes for tag, attributes in page.tags if tag == "svg"]
    charts = [one for one in drawings if one.get("role") == "img"]
    assert len(charts) == 2
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert all(set(str(one["aria-labelledby"]).split()) <= ids for one in charts)
    assert all(one.get("aria-hidden") == "true" for one in drawings if one not in charts)
    assert "Workloads from 3.600 on 2026-11-01 to 3.600 on 2026-11-01" in page.under("desc")[0]


def test_nothing_is_loaded_and_nothing_runs(told: Figures) -> None:
    text = FORMATS["html"](told)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    names = {name for _, attributes in page.tags for name in attributes}
    assert not names & {"src", "href", "xlink:href", "style", "srcset", "action", "background"}
    assert not [name for name in names if name.startswith("on")]
    urls = re.findall(r"url\(([^)]*)\)|@import", text)
    assert {url[:7] for url in urls} == {"#hatch-"}
    assert "http://" not in text
    assert "https://" not in text
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/]+='", str(policy))


def test_a_hostile_name_is_text_on_the_page(told: Figures) -> None:
    page = Page(FORMATS["html"](with_names(told, HOSTILE)))
    assert not [tag for tag, _ in page.tags if tag == "script"]
    shown = HOSTILE.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert page.under("th").count(shown) == 1
    assert page.under("th").count(f"{shown} ({shown})") == 1


def test_a_hostile_name_stays_in_its_cell_of_markdown(told: Figures) -> None:
    text = FORMATS["md"](with_names(told, HOSTILE))
    assert "<script" not in text.replace("\\<script", "")
    line = next(line for line in text.splitlines() if line.startswith("| \\<script"))  # of the namespaces
    plain = next(line for line in text.splitlines() if line.startswith("| (idle)"))
    assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", plain))


def test_no_cell_of_the_sheet_is_computed(told: Figures) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](with_names(told, FORMULA)))))
    assert f"'{FORMULA}" in {row["namespace"] for row in rows}
    assert not [cell for row in rows for name, cell in row.items() if re.match(r"[=+@]", cell)]


def grams(rows: list[dict[str, str]]) -> float:
    return sum(float(row["emissions_gco2e"] or 0) for row in rows)


def test_each_table_of_the_sheet_sums_to_its_total_and_null_is_empty(told: Figures) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](told))))
    tables = {name: [row for row in rows if row["table"] == name] for name in {row["table"] for row in rows}}
    assert tables.keys() == {"total", "cluster", "kind", "namespace", "day"}
    assert {name: grams(found) for name, found in tables.items()} == pytest.approx(dict.fromkeys(tables, 4440.0))
    assert {row["scope"] for row in rows} == {told.parts[0].scope}
    unpriced = with_nothing_known(told)
    (total,) = (r for r in csv.DictReader(io.StringIO(FORMATS["csv"](unpriced))) if r["table"] == "total")
    assert (total["emissions_gco2e"], float(total["energy_kwh"])) == ("", 36)


def with_nothing_known(told: Figures) -> Figures:
    part = told.parts[0]
    now = replace(
        part.now, emissions_gco2e=None, priced_energy_kwh=0.0, carbon_intensity_g_per_kwh=None, pue_ratio=None
    )
    return replace(told, parts=(replace(part, now=now, change_gco2e=None, effects=None),))


def test_the_total_is_the_same_in_every_format(told: Figures) -> None:
    part: Part = told.parts[0]
    page = Page(FORMATS["html"](told))
    assert page.under("strong") == ["4.440", "36.00", "47.70", "113.0"]
    assert "- Emissions: **4.440 kg CO₂e** \N{MINUS SIGN}1.3 % against 2026-10-31" in FORMATS["md"](told)
    told_json = json.loads(FORMATS["json"](told))
    assert told_json["parts"][0]["now"]["emissions_gco2e"] == part.now.emissions_gco2e
    (total,) = (row for row in csv.DictReader(io.StringIO(FORMATS["csv"](told))) if row["table"] == "total")
    assert float(total["emissions_gco2e"]) == part.now.emissions_gco2e


def test_what_is_not_known_is_never_shown_as_nothing(told: Figures) -> None:
    text = FORMATS["md"](with_nothing_known(told))
    assert "- Emissions: **not known kg CO₂e**" in text
    assert "There is nothing to compare with." in text


def test_scope_and_boundary_stand_beside_every_total(page: Page) -> None:
    totals = [tag for tag, _ in page.tags].count("tfoot")
    notes = [text for text in page.under("p") if text.startswith("Grams: scope 2, location-based, plus upstream")]
    assert totals == 4
    assert len(notes) >= totals
    assert all(note.endswith("processors and memory, times PUE.") for note in notes)


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_an_empty_period_is_a_report_all_the_same(kind: str, root: Path) -> None:
    empty = small.figures(root, small.Period("none", small.Window(small.AFTER, small.AFTER + small.HOUR)))
    text = FORMATS[kind](empty)
    assert text.endswith("\n")
    assert ("Nothing is stored of" in text) is (kind != "csv")


def test_every_provider_has_its_source_and_a_licence_that_the_documentation_names() -> None:
    assert SOURCES.keys() == {*WEB, *FILES, "prometheus", "static"}
    told = " ".join((ROOT / "docs" / "sources.md").read_text(encoding="utf-8").split())
    for licence in ("CC BY 4.0", "Open Licence 2.0 (Etalab)", "ODbL"):
        assert any(licence in source.licence for source in SOURCES.values())
        assert licence in told
    notice = " ".join((ROOT / "NOTICE").read_text(encoding="utf-8").split())
    assert SOURCES["electricity_maps_csv"].name.lower() in notice.lower()


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_whole(path, "one\n")
    write_whole(path, "two\n")
    assert path.read_text(encoding="utf-8") == "two\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o137 == 0
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StoreUnwritable, match="nowhere"):
        write_whole(tmp_path / "nowhere" / "report.md", "three\n")
