"""The extraction benchmark on a small store: every way reads the same samples, and each gets its line."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.extraction import CURL, LIBRARY, QUERY, REMOTE_READ, START_MS, Span, compare, measure, store
from benchmarks.extraction_report import markdown
from benchmarks.extraction_store import METRIC
from pipeline.units import MS_PER_MINUTE

SERIES, HOURS = 200, 1.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with store(tmp_path_factory.mktemp("extraction"), SERIES, HOURS) as url:
        yield url


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the library's own code
def test_every_way_reads_the_same_and_the_store_is_as_large_as_said(url: str) -> None:
    start_ms, end_ms = START_MS + 10 * MS_PER_MINUTE, START_MS + 50 * MS_PER_MINUTE
    for selector, alive in [(f"{METRIC}{{}}", SERIES), (f'{METRIC}{{cluster="c1"}}', SERIES // 2)]:
        said = {way: measure(way, url, selector, start_ms, end_ms) for way in (REMOTE_READ, QUERY, LIBRARY)}
        assert len({(one.samples, one.series) for one in said.values()}) == 1
        assert said[REMOTE_READ].series > alive, "some come and go"
        assert said[REMOTE_READ].samples == pytest.approx(alive * 80, rel=0.03)


def test_the_report_has_a_line_for_each_way_and_says_how_many_times_curl_it_takes(url: str) -> None:
    span = Span("40 min x 200", f"{METRIC}{{}}", START_MS, 40 / 60, (REMOTE_READ, CURL, QUERY, LIBRARY))
    said = compare(url, span, 1)
    assert said[CURL].seconds > 0
    lines = [line for line in markdown([(span, said)], {"Prometheus": "x"}).splitlines() if line.startswith("| 40 min")]
    assert [line.split(" | ")[2] for line in lines] == [REMOTE_READ, CURL, QUERY, LIBRARY]
    times = said[REMOTE_READ].seconds / said[CURL].seconds
    assert f"| {times:.2f} |" in lines[0]


def test_the_page_in_the_repository_holds_every_span_and_way() -> None:
    page = (Path(__file__).parents[2] / "benchmarks" / "extraction.md").read_text(encoding="utf-8")
    for span in ("1 h x 5,000", "1 h x 20,000", "24 h x 5,000", "24 h x 20,000"):
        for way in (REMOTE_READ, CURL):
            assert any(line.startswith(f"| {span} |") and f"| {way} |" in line for line in page.splitlines())
