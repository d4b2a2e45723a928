"""The benchmarks of memory, of a large fleet and of publishing at tiny sizes: they run, and compare what is equal."""

import json
from pathlib import Path

import pytest

from benchmarks import fleet, memory, remote_write
from benchmarks.end_to_end_ways import Bench
from benchmarks.extraction_store import store
from benchmarks.kepler_fleet import ZONES
from benchmarks.memory import Said
from pipeline.demo.servers import RunningServer
from tests.benchmarks.conftest import SIZE


def test_a_fold_of_nothing_takes_less_than_one_of_an_hour(bench: Bench) -> None:
    bare, hour = (memory.fold(bench.server.url, 1, SIZE.series, hours, SIZE.start_ms, 1) for hours in (0, 1))
    assert bare.peak_mb < hour.peak_mb
    assert (bare.rows, hour.rows > SIZE.series) == (0, True)


def test_flat_and_linear_are_figures_without_the_rows_and_without_the_program() -> None:
    bare = Said("0", 100, 0, 0)
    ranges = [Said("6 h", 200, 10, 1), Said("24 h", 240, 40, 4)]
    series = [Said("5", 110, 1, 1), Said("10", 120, 1, 2), Said("20", 140, 1, 4)]
    flat, linear = memory.goals(bare, ranges, series)
    assert flat.measured == pytest.approx(200 / 190)
    assert linear.measured == pytest.approx(2)


def test_every_stage_of_a_fleets_hour_has_its_figures(tmp_path: Path) -> None:
    size = fleet.size_of(100)
    assert size.series == 100 * len(ZONES)
    with store(tmp_path, size) as server:
        fleet.write_grid(tmp_path / "grid.csv", "DE", fleet.Span("", "{}", fleet.HOUR_MS, 1, ()).window)
        found = json.loads(json.dumps(fleet.stages(server.url, tmp_path)))
    assert [*found] == [fleet.READ, fleet.FOLD, fleet.PRICE, fleet.COMMIT]
    assert found[fleet.READ][2] == pytest.approx(size.series * 80, rel=0.1)
    assert found[fleet.PRICE][2] >= size.series


def test_both_encodings_give_the_same_bytes() -> None:
    took = remote_write.encoding(20, 1)
    assert min(took.first, took.again, took.rival) > 0


def test_an_hour_is_published_once_and_found_unchanged(empty_prometheus: RunningServer) -> None:
    hour, samples = remote_write.hour_of(30)
    first, again = (remote_write.published(empty_prometheus, hour, samples) for _ in range(2))
    assert first.samples == len(samples) > 90
    assert first.writes >= 1
    assert (again.samples, again.writes) == (0, 0)
    assert again.reads == 1


def test_a_day_is_written_in_as_few_requests_as_it_takes(empty_prometheus: RunningServer) -> None:
    sent = remote_write.sent(empty_prometheus, remote_write.day_of(1_000))
    assert (sent.samples, sent.writes, sent.reads) == (24_000, 2, 0)
