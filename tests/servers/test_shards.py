"""Shards in real Prometheus servers: together they are the cluster, and a silent one is an error."""

from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, mixed, simulate
from pipeline.demo.replicas import shard
from pipeline.demo.servers import free_port
from pipeline.errors import SourceUnavailable
from pipeline.job import Job
from pipeline.run import run
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import values
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.servers.several import START, Serve, assert_conserved, entry, folded, settings, site_of
from tests.transforms.made import differences


@pytest.fixture(scope="module")
def whole_fleet() -> Fleet:
    return simulate(mixed(seed=5, start=START, hours=2, pods_per_node=3))


@pytest.fixture(scope="module")
def shards(whole_fleet: Fleet, serve: Serve) -> list[str]:
    """Two nodes, one node, and kube-state-metrics alone."""
    parts = [(("node-1", "node-3"), False), (("node-2",), False), ((), True)]
    return [serve(shard(whole_fleet, nodes, with_ksm=ksm)).url for nodes, ksm in parts]


@pytest.fixture(scope="module")
def unsharded(whole_fleet: Fleet, serve: Serve) -> str:
    return serve(whole_fleet).url


@pytest.mark.parametrize("meters", [["kepler", "kepler_legacy", "scaphandre"], ["scaphandre", "kepler"]])
def test_shards_give_what_one_server_with_all_samples_gives(
    meters: list[str], shards: list[str], unsharded: str, tmp_path: Path, clock: RealClock
) -> None:
    """Owners, starts, presence and pods of containers come from the shard that has kube-state-metrics alone."""
    apart = folded(site_of(tmp_path, [entry(url) for url in shards], clock, meters=meters), 2)
    one = folded(site_of(tmp_path, [entry(unsharded)], clock, meters=meters), 2)
    assert differences(one, apart) == []
    assert one.rows.num_rows > 50
    assert "kube-state-metrics" in set(values(apart.rows, "owner_source"))
    assert apart.remarks == ()
    assert_conserved(apart)


def test_a_silent_shard_fails_the_clusters_hours_and_writes_nothing(
    shards: list[str], tmp_path: Path, clock: RealClock
) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    endpoints = [entry(shards[0]), entry(shards[2]), entry(dead)]
    report = run(Job(settings(tmp_path, endpoints), {}, clock), ["demo"], Window(START, START + HOUR))
    assert [type(error) for error in report.errors] == [SourceUnavailable]
    assert dead in str(report.errors[0])
    assert report.exit_code == 75
    assert Warehouse(tmp_path).read_day("emissions", "demo", START.date()).num_rows == 0


def test_a_node_that_two_shards_show_counts_once_and_is_named(
    shards: list[str], unsharded: str, tmp_path: Path, clock: RealClock
) -> None:
    """Two entries of which one forgot its replica_of, as far as two nodes go."""
    site = site_of(tmp_path, [entry(unsharded), entry(shards[0])], clock)
    energy = site.fold(Window.of_hour(START))
    one = site_of(tmp_path, [entry(unsharded)], clock).fold(Window.of_hour(START))
    assert differences(one, energy) == []
    assert {remark.node for remark in energy.remarks} == {"node-1", "node-3"}
    assert {remark.lost_joules for remark in energy.remarks} == {0.0}
    report = run(
        Job(settings(tmp_path / "w", [entry(unsharded), entry(shards[0])]), {}, clock),
        ["demo"],
        Window(START, START + HOUR),
    )
    (check,) = [check for check in report.clusters[0].checks if check.name == "shards"]
    assert not check.passed
    assert f"shown by shards {unsharded}, which accounts, and {shards[0]}" in check.detail


def test_replicas_within_shards(
    whole_fleet: Fleet, shards: list[str], serve: Serve, unsharded: str, tmp_path: Path, clock: RealClock
) -> None:
    """A shard as a pair of equal replicas beside one without."""
    twin = serve(shard(whole_fleet, ("node-2",), with_ksm=False)).url
    endpoints = [entry(shards[0]), entry(shards[1], "b"), entry(twin, "b"), entry(shards[2])]
    site = site_of(tmp_path, endpoints, clock)
    assert [len(replicas_) for replicas_ in site.servers.shards] == [1, 2, 1]
    assert (
        differences(
            site_of(tmp_path, [entry(unsharded)], clock).fold(Window.of_hour(START)), site.fold(Window.of_hour(START))
        )
        == []
    )
