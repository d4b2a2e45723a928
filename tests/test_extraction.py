"""Hours folded together and nodes apart: the rows are those of one hour and all nodes at a time."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline import shares
from pipeline.demo.fleet import Fleet, mixed, simulate
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.extraction import first_window
from pipeline.samples import Block
from pipeline.settings import Settings
from pipeline.shares import Extract, by_hours
from pipeline.site import Site, open_site
from pipeline.sources.meters import kepler
from pipeline.sources.prometheus.selectors import selector
from pipeline.starts import UNKNOWN
from pipeline.transforms.energy import Energy, join
from pipeline.transforms.plausibility import Ceilings
from pipeline.window import HOUR, Window
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
    return site_of(server, tmp_path, clock)


def site_of(server: RunningServer, tmp_path: Path, clock: RealClock) -> Site:
    entry = {"name": "demo", "prometheus_url": server.url, "grid_zone": "DE", "pue": 1.2}
    settings = Settings.model_validate({"warehouse": {"path": str(tmp_path)}, "clusters": [entry]})
    return open_site("demo", settings, {}, clock)


@pytest.fixture(scope="module")
def alone(server: RunningServer, tmp_path_factory: pytest.TempPathFactory, clock: RealClock) -> Energy:
    """Every hour read and folded for itself, all nodes at once."""
    site = site_of(server, tmp_path_factory.mktemp("alone"), clock)
    return join([site.fold(Window.of_hour(hour)) for hour in HOURS])


def requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read of raw samples from now on."""
    asked, server = list[str](), next(iter(site.servers))
    before, together = server.blocks, server.together

    def counted(selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        if not selector.startswith("kube_"):
            asked.append(selector)
        return before(selector, start_ms, end_ms)

    def counted_together(selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]] | None:
        asked.extend(selectors)
        return together(selectors, start_ms, end_ms)

    monkeypatch.setattr(server, "blocks", counted)
    monkeypatch.setattr(server, "together", counted_together)
    return asked


def test_hours_folded_together_have_the_rows_of_each_alone(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(site, monkeypatch)
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    whole = [one for one in asked if "zone" in one]
    assert len(whole) == len(set(whole)) + 1, "each once, but for the counters that tell which nodes there are"


@pytest.mark.parametrize("most", [1, 3_000])
def test_nodes_that_do_not_fit_together_are_asked_for_some_at_a_time(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(shares, "PORTION_SAMPLES", most)
    asked = requests(site, monkeypatch)
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    pods = [one for one in asked if one.startswith("kepler_pod_cpu_joules_total")]
    assert len({one for one in pods if "node_name=~" in one}) >= 2
    assert any("node_name!~" in one for one in pods), "and those of nobody who is known"


def test_nodes_folded_apart_have_the_rows_of_all_at_once(
    site: Site, alone: Energy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = requests(site, monkeypatch)
    site.fold_hours(HOURS, 0)
    once = sorted(asked)
    monkeypatch.setattr(shares, "FOLD_SAMPLES", 1)
    asked.clear()
    assert differences(alone, site.fold_hours(HOURS, 0)) == []
    assert sorted(asked) == once, "each share is handed out of what was read once"


@pytest.fixture
def extract(site: Site) -> Extract:
    """Four hours of the server, for a meter that cannot be taken node by node."""
    site.fold(Window.of_hour(START))  # whatever is asked only once is asked
    ceilings = Ceilings(2000.0, 1500.0)
    return Extract(site.server, (), Window(START, HOURS[-1] + HOUR), site.rules.max_gap_ms, ceilings, UNKNOWN)


@pytest.mark.parametrize(("most", "times"), [(10**9, 2), (1, 4)])
def test_hours_of_other_meters_are_read_together_as_far_as_there_is_room(
    site: Site, extract: Extract, monkeypatch: pytest.MonkeyPatch, most: int, times: int
) -> None:
    monkeypatch.setattr(shares, "MOST_SAMPLES", most)
    asked, series = requests(site, monkeypatch), selector(kepler.PODS)
    found = []
    for part in by_hours(extract):
        values = [block.values for block in part.transport.blocks(series, part.start_ms, part.end_ms)]
        found.append((part.window, sum(map(len, values))))
    assert [window for window, _ in found] == [Window.of_hour(hour) for hour in HOURS]
    assert len(asked) == times, "the first hour tells how many fit together"
    asked_alone = [
        sum(len(block.values) for block in site.server.blocks(series, one.start_ms, one.end_ms))
        for one in (extract._replace(window=Window.of_hour(hour)) for hour in HOURS)
    ]
    assert [samples for _, samples in found] == asked_alone


@pytest.mark.parametrize(
    ("hours", "count", "together"),
    [([0, 1, 2, 3], 3, 3), ([0, 1, 3, 4], 4, 2), ([0, 2], 5, 1), ([0], 24, 1), ([0, 1, 2], 1, 1)],
)
def test_only_hours_that_follow_each_other_are_read_together(hours: list[int], count: int, together: int) -> None:
    found = first_window([START + hour * HOUR for hour in hours], count)
    assert (found.start, found.hour_count) == (START, together)
