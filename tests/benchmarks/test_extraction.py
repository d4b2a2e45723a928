"""The extraction benchmark on a small store: every way reads the same samples, and each gets its line."""

from pathlib import Path

import pytest

from benchmarks.end_to_end import START_MS
from benchmarks.end_to_end_ways import Bench
from benchmarks.extraction import Span, compare, measure, spans
from benchmarks.extraction_report import CURL, FAST, LIBRARY, QUERY, REMOTE_READ, Said, goals, part
from benchmarks.extraction_store import METRIC
from pipeline.units import MS_PER_MINUTE
from tests.benchmarks.conftest import SIZE


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of the library's own code
def test_every_way_reads_the_same_and_the_store_is_as_large_as_said(bench: Bench) -> None:
    start_ms, end_ms = START_MS + 10 * MS_PER_MINUTE, START_MS + 50 * MS_PER_MINUTE
    for selector, alive in [(f"{METRIC}{{}}", SIZE.series), (f'{METRIC}{{cluster="c1"}}', SIZE.series // 4)]:
        said = {
            way: measure(way, bench.server.url, selector, start_ms, end_ms) for way in (REMOTE_READ, QUERY, LIBRARY)
        }
        assert len({(one.samples, one.series) for one in said.values()}) == 1
        assert said[REMOTE_READ].series > alive, "some come and go"
        assert said[REMOTE_READ].samples == pytest.approx(alive * 80, rel=0.05)


def test_the_table_has_a_line_for_each_way_and_says_how_many_times_curl_it_takes(bench: Bench) -> None:
    span = Span("40 min x 400", f"{METRIC}{{}}", START_MS, 40 / 60, (REMOTE_READ, CURL, QUERY, LIBRARY))
    said = compare(bench.server.url, span, 1)
    assert said[CURL].seconds > 0
    lines = [line for line in "\n".join(part([(span.title, said)])).splitlines() if line.startswith("| 40 min")]
    assert [line.split(" | ")[1] for line in lines] == [REMOTE_READ, CURL, QUERY, LIBRARY]
    times = said[REMOTE_READ].seconds / said[CURL].seconds
    assert f"| {times:.2f} |" in lines[0]


def test_goals_compare_by_time_and_over_a_day_by_time_per_sample() -> None:
    hour = {
        REMOTE_READ: Said(2, 100, 10, 1),
        CURL: Said(1, 10, 0, 0),
        QUERY: Said(3, 1, 10, 1),
        LIBRARY: Said(30, 1, 10, 1),
    }
    day = {REMOTE_READ: Said(20, 351, 1_000, 1), CURL: Said(10, 10, 0, 0)}
    kept = goals([("1 h", hour), ("24 h", day)])
    assert [goal.measured for goal in kept] == [15, 2, 150, 2, 351, 10]
    assert [goal.met for goal in kept] == [True, False, True, False, False, True]


def test_the_page_in_the_repository_holds_every_span_and_way(pages: Path) -> None:
    page = (pages / "extraction.md").read_text(encoding="utf-8").splitlines()
    for span in spans(20_000, 26.0):
        for way in set(span.ways) - {FAST}:
            assert any(line.startswith(f"| {span.title} |") and f"| {way} |" in line for line in page)
