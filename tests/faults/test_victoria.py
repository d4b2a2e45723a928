"""Killed while it writes to a VictoriaMetrics, which shows new series seconds later: the next run ends the same."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.demo.servers import RunningServer, free_port, start_victoria_metrics
from tests.conftest import RealClock
from tests.faults.acts import NewPlace
from tests.faults.results import KILLED, Point, some, tell
from tests.faults.scenes import STORIES, Outcome, well
from tests.faults.victims import Victims

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory, clock: RealClock) -> Iterator[RunningServer]:
    program = shutil.which("victoria-metrics")
    assert program, "victoria-metrics is not on PATH: `make test-faults` puts it there"
    data = tmp_path_factory.mktemp("victoria") / "data"
    with start_victoria_metrics(Path(program), data, free_port(), clock) as server:
        yield server


def test_killed_around_any_write_to_victoria_metrics_the_next_run_ends_the_same(
    victoria: RunningServer, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    scene = STORIES["corrected"][0]
    calm = replace(place("victoria-calm"), store=victoria.url)
    effects, expected = well(scene.play(calm, forks, 0)).effects, Outcome.of(calm)
    assert expected.samples
    faults: list[str] = []
    of_writes = [n for n, name in enumerate(effects, 1) if name in ("write to store", "answer of store")]
    for number in some(of_writes):
        name = effects[number - 1]
        own = replace(place(f"victoria-{number}"), store=victoria.url)
        happened = scene.play(own, forks, 0, last=number).code == -9
        well(scene.play(own, forks, 1))
        found = Outcome.of(own).differences(expected)
        told = Point(KILLED, "backfill, VictoriaMetrics", f"before {name}", not found)
        tell(record_property, told._replace(happened=happened))
        faults += [f"before effect {number} ({name}): {one}" for one in found]
    assert not faults, "\n".join(faults)
