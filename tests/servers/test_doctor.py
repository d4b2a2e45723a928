"""What the doctor and an explanation say of several servers."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.demo.servers import free_port
from pipeline.explain import explain
from pipeline.settings import Settings
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import open_site
from pipeline.window import HOUR
from tests.clocks import FixedClock
from tests.servers.several import HOURS, SLOW_MS, START, entry, settings


@pytest.fixture
def then() -> FixedClock:
    """Just after the third hour has settled: its samples are the newest."""
    return FixedClock(START + HOURS * HOUR + timedelta(minutes=14))


def told(given: Settings, clock: FixedClock) -> str:
    return "\n".join(f"{one.mark} {one.text}" for one in doctor.examine(given, given.clusters, {}, clock))


def test_the_doctor_tells_replicas_their_transports_clocks_and_coverage(
    pair: list[str], tmp_path: Path, then: FixedClock
) -> None:
    said = told(settings(tmp_path, [entry(url, "a") for url in pair]), then)
    for url in pair:
        assert f"✓ {url} answers (version 2." in said
        assert f"✓ samples of {url} come by remote_read: " in said
    assert said.count(": replica of 'a'") == 2
    clocks = re.search(rf"✓ the clock of {pair[1]} is (\d\.\d) s behind {pair[0]}", said)
    assert clocks
    assert float(clocks[1]) == pytest.approx(-SLOW_MS / 1000, abs=0.5)
    assert re.search(
        rf"✓ kepler on {pair[0]}: \d+\.\d% covered of what it shows, on average; it accounts for 2 of 2", said
    )
    assert re.search(
        rf"✓ kepler on {pair[1]}: \d+\.\d% covered of what it shows, on average; it accounts for 0 of 2", said
    )
    assert re.search(rf"✓ {pair[1]} beside {pair[0]} on 2 nodes: it gives (0\.99\d|1\.00\d) ", said)
    assert "✗" not in said


def test_the_doctor_goes_on_without_a_silent_replica_and_says_so(
    pair: list[str], tmp_path: Path, then: FixedClock
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    said = told(settings(tmp_path, [entry(dead, "a"), entry(pair[1], "a")]), then)
    assert f"! {dead} gives nothing: " in said
    assert f"kepler on {pair[1]}: " in said
    assert "✗" not in said


def test_the_doctor_fails_a_silent_shard_and_a_node_of_two_shards(
    pair: list[str], tmp_path: Path, then: FixedClock
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    assert "✗ " in told(settings(tmp_path, [entry(pair[0]), entry(dead)]), then)
    said = told(settings(tmp_path, [entry(url) for url in pair]), then)
    assert f"✗ node-1, node-2 are shown by shards {pair[0]}, which accounts, and {pair[1]}: give replicas one" in said
    assert f"{pair[1]} answers (version 2." in said
    assert ": shard 2 of 2" in said
    assert "meter kepler (0.10 or newer): 4 nodes" in said, "as they are declared"


def test_the_doctor_tells_a_replica_without_a_twin_and_odd_distances(
    merged: str, pair: list[str], tmp_path: Path, then: FixedClock
) -> None:
    said = told(settings(tmp_path, [entry(merged, "a"), entry(pair[1], "b")]), then)
    assert "! replica_of = 'a' names" in said
    assert f"! kepler_node_cpu_active_joules_total on {merged} comes at odd distances (once after " in said
    assert "comes at odd distances" not in told(settings(tmp_path, [entry(merged, merges_replicas=True)]), then)


def test_an_explanation_shows_which_server_accounted(pair: list[str], tmp_path: Path, then: FixedClock) -> None:
    site = open_site("demo", settings(tmp_path, [entry(url, "a") for url in pair]), {}, then)
    lines = list(explain(site, Warehouse(tmp_path), "node-1", START + HOUR, then.now()))
    assert "  kepler on 2 of 2 servers:" in lines
    (ours,) = [line for line in lines if line.startswith(f"    {pair[1]}: covers ")]
    (other,) = [line for line in lines if line.startswith(f"    {pair[0]}: covers ")]
    assert ours.endswith(": accounts")
    assert other.endswith(": cross-check only")
    assert any(line.startswith("package by kepler: ") for line in lines)
