"""Servers that the fault tests share, what an undisturbed run leaves, and the page of results."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from tests.conftest import WINDOW, RealClock
from tests.faults.effects import points
from tests.faults.readers import NOTHING, State, state
from tests.faults.results import TOLD, Point, page
from tests.faults.scenes import HOURS, STORIES, Outcome, Place, Scene, small_fleet, well
from tests.faults.victims import Victims, victims

NewPlace = Callable[[str], Place]
EVERY = int(os.environ.get("CARBON_ETL_FAULTS_EVERY", "1"))  # of many points alike, only every so manieth


@pytest.fixture(scope="session")
def source(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """A Prometheus with the small fleet."""
    data = tmp_path_factory.mktemp("source") / "data"
    fill_blocks(small_fleet(), prometheus_binary.promtool, data)
    with start_prometheus(prometheus_binary, data, free_port(), clock) as server:
        yield server


@pytest.fixture(scope="session")
def store(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """A Prometheus that is published to."""
    data = tmp_path_factory.mktemp("store") / "data"
    with start_prometheus(prometheus_binary, data, free_port(), clock, out_of_order=WINDOW) as server:
        yield server


@pytest.fixture(scope="session")
def place(source: RunningServer, store: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> NewPlace:
    """A place of that name; each name once."""
    parent = tmp_path_factory.mktemp("places")
    return lambda name: Place(parent / name, source.url, store.url)


@pytest.fixture(scope="session")
def forks(place: NewPlace) -> Iterator[Victims]:
    """Runs that may be killed."""
    with _rehearsed(place("rehearsal")) as process:
        yield process


@pytest.fixture(scope="session")
def more_forks(place: NewPlace) -> Iterator[Victims]:
    """Runs beside those."""
    with _rehearsed(place("another-rehearsal")) as process:
        yield process


def _rehearsed(own: Place) -> AbstractContextManager[Victims]:
    own.configure()
    return victims(own.asked("backfill", 0, HOURS))


@dataclass(frozen=True)
class Act:
    """A scene as it is when nothing happens: its effects, what it leaves, what readers see before and after."""

    scene: Scene
    effects: list[str]
    outcome: Outcome
    before: State
    after: State

    @property
    def points(self) -> list[int]:
        """Before which of its effects it can die."""
        return points(self.effects)


@pytest.fixture(scope="session")
def undisturbed(place: NewPlace, forks: Victims) -> dict[str, list[Act]]:
    """Every story, told without a fault."""
    stories: dict[str, list[Act]] = {}
    for name, scenes in STORIES.items():
        own, before = place(f"calm-{name}"), NOTHING
        stories[name] = []
        for number, scene in enumerate(scenes):
            ended = well(scene.play(own, forks, 10 * number))
            after = state(own.warehouse)
            stories[name].append(Act(scene, ended.effects, Outcome.of(own), before, after))
            before = after
    return stories


# --- results

PAGE = "CARBON_ETL_FAULTS_PAGE"
_points: list[Point] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather what each test tells of its fault points, whichever worker ran it."""
    if report.when == "call":
        _points.extend(Point(*told) for name, told in report.user_properties if name == TOLD)  # type: ignore[misc]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page where the environment names it."""
    path = os.environ.get(PAGE)
    if path and _points and not hasattr(session.config, "workerinput"):
        Path(path).write_text(page(_points), encoding="utf-8")
