"""Servers that the fault tests share, what an undisturbed run leaves, and the page of results."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from tests.conftest import WINDOW, RealClock
from tests.faults.acts import NewPlace, Stories, told_once
from tests.faults.results import COUNTED, TOLD, Deaths, Point, page
from tests.faults.scenes import HOURS, Place, small_fleet
from tests.faults.victims import Victims, victims

# What takes one worker longest comes first; the rest, which is short, fills up the end.
FIRST = ("test_victoria", "test_poison", "test_together", "test_disks", "test_kills", "test_lines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files of this folder."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


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


@pytest.fixture(scope="session")
def undisturbed(place: NewPlace, forks: Victims, tmp_path_factory: pytest.TempPathFactory) -> Stories:
    """Every story, told without a fault."""
    return told_once(tmp_path_factory.getbasetemp(), place, forks)


# --- results

PAGE = "CARBON_ETL_FAULTS_PAGE"
_points: list[Point] = []
_deaths: list[Deaths] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Gather what each test tells of its fault points, whichever worker ran it."""
    if report.when == "call":
        _points.extend(Point(*told) for name, told in report.user_properties if name == TOLD)  # type: ignore[misc]
        _deaths.extend(Deaths(*told) for name, told in report.user_properties if name == COUNTED)  # type: ignore[misc]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the page that the environment names, where every test has passed."""
    path = os.environ.get(PAGE)
    if path and _points and exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput"):
        Path(path).write_text(page(_points, _deaths), encoding="utf-8")
