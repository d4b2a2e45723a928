"""Hours read together and nodes folded apart: the rows are those of one hour and one fold at a time."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import extraction, meters
from pipeline.demo.fleet import Fleet, mixed, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.extraction import first_window
from pipeline.samples import Block
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.transforms.energy import Energy, join
from pipeline.window import HOUR
from tests.conftest import RealClock
from tests.transforms.made import differences

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
HOURS = [START + number * HOUR for number in range(4)]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return simulate(mixed(seed=9, start=START, hours=4, pods_per_node=3))


@pytest.fixture(scope="module")
def server(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("extraction")
    fill_blocks(fleet, prometheus_binary.promtool, folder / "data")
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        yield running


@pytest.fixture
def site(server: RunningServer, tmp_path: Path, clock: RealClock) -> Site:
    entry = {"name": "demo", "prometheus_url": server.url, "grid_zone": "DE", "pue": 1.2}
    settings = Settings.model_validate({"warehouse": {"path": str(tmp_path)}, "clusters": [entry]})
    return open_site("demo", settings, {}, clock)


@pytest.fixture
def alone(site: Site) -> Energy:
    """Every hour read and folded for itself, all nodes at once."""
    return join([site.fold_hour(hour) for hour in HOURS])


def requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of raw samples from now on."""
    asked, server = list[str](), next(iter(site.servers))
    before = server.blocks

    def counted(selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        if not selector.startswith("kube_"):
            asked.append(selector)
        return before(selector, start_ms, end_ms)

    monkeypatch.setattr(server, "blocks", counted)
    return asked


def test_hours_read_together_have_the_rows_of_each_alone(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(site, monkeypatch)
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    assert len(asked) == 2 * len(set(asked)), "the first hour tells how many fit together; the other three do"


def test_hours_that_do_not_fit_together_are_read_one_by_one(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "MOST_SAMPLES", 1)
    asked = requests(site, monkeypatch)
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    assert len(asked) == len(HOURS) * len(set(asked))


def test_nodes_folded_apart_have_the_rows_of_all_at_once(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(site, monkeypatch)
    site.fold_hour(START)
    once = sorted(asked)
    monkeypatch.setattr(meters, "NODES_A_SHARE", 1)
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    asked.clear()
    site.fold_hour(START)
    assert sorted(set(asked)) == sorted(set(once)), "each share is handed out of what was read once"
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize(
    ("hours", "count", "together"),
    [([0, 1, 2, 3], 3, 3), ([0, 1, 3, 4], 4, 2), ([0, 2], 5, 1), ([0], 24, 1), ([0, 1, 2], 1, 1)],
)
def test_only_hours_that_follow_each_other_are_read_together(hours: list[int], count: int, together: int) -> None:
    found = first_window([START + hour * HOUR for hour in hours], count)
    assert (found.start, found.hour_count) == (START, together)
