"""Fixtures that several test folders share: a real clock, real servers on private ports."""

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.cli import SystemClock
from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import (
    PrometheusBinary,
    RunningServer,
    find_prometheus,
    free_port,
    start_prometheus,
    start_victoria_metrics,
)

SMALL_FLEET_START = datetime(2026, 11, 1, 8, tzinfo=UTC)
WINDOW = "5y"  # so that writes near the fixed date are taken, also after one stamped now, whenever the tests run


FIRST = (  # what waits longest for servers: begun last, it would keep one worker when all others have ended
    "tests/test_published_again.py", "tests/sinks/test_corrections.py", "tests/sinks/test_publish.py",
    "tests/test_publication.py", "tests/security/test_secrets.py", "tests/benchmarks/test_traps.py",
    "tests/test_forks.py", "tests/e2e/test_day.py", "tests/benchmarks/test_end_to_end.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files, for workers that take them in this order: `--dist loadfile --no-loadscope-reorder`."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are found, and none of what they consist of is garbage before the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


RealClock = SystemClock  # the machine's clock, as cli.py hands it down


@pytest.fixture(scope="session")
def clock() -> RealClock:
    return RealClock()


@pytest.fixture(scope="session")
def prometheus_binary(tmp_path_factory: pytest.TempPathFactory) -> PrometheusBinary:
    """Prometheus and promtool; without them the tests fail, for they would prove nothing."""
    return find_prometheus(tmp_path_factory.mktemp("prometheus-cache"), os.environ.get("PATH", ""))


@pytest.fixture
def empty_prometheus(prometheus_binary: PrometheusBinary, tmp_path: Path, clock: RealClock) -> Iterator[RunningServer]:
    """A Prometheus without a sample, with its receiver and a wide out-of-order window."""
    with start_prometheus(
        prometheus_binary, tmp_path / "prometheus", free_port(), clock, out_of_order=WINDOW
    ) as server:
        yield server


@pytest.fixture(scope="session")
def small_fleet() -> Fleet:
    """Two nodes, three hours with jobs and a crash loop, on a fixed date."""
    return simulate(churning(seed=11, start=SMALL_FLEET_START, hours=3, nodes=2, pods_per_node=4))


@pytest.fixture(scope="session")
def small_fleet_prometheus(
    small_fleet: Fleet,
    prometheus_binary: PrometheusBinary,
    tmp_path_factory: pytest.TempPathFactory,
    clock: RealClock,
) -> Iterator[RunningServer]:
    """A Prometheus that holds `small_fleet`; shared by all tests, so write nothing into it that another could see."""
    data_dir = tmp_path_factory.mktemp("small-fleet") / "data"
    fill_blocks(small_fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock, out_of_order=WINDOW) as server:
        yield server


@pytest.fixture
def victoria_metrics(tmp_path: Path, clock: RealClock) -> Iterator[RunningServer]:
    """An empty VictoriaMetrics that counts equal samples once."""
    program = shutil.which("victoria-metrics")
    assert program, "victoria-metrics is not on PATH: `make test` puts it there"
    with start_victoria_metrics(Path(program), tmp_path / "victoria-metrics", free_port(), clock) as server:
        yield server
