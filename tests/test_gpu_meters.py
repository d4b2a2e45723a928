"""GPUs that several meters show, in a real Prometheus: one of them accounts, and what it says is what was used.

node-1 has dcgm-exporter until a quarter of the second hour and new Kepler all the time; node-2 old Kepler; node-3 new
Kepler alone.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec, KeplerMeter, LegacyMeter, Meters
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.discovery import meters as found_meters
from pipeline.settings import Settings
from pipeline.site import Site, open_site
from pipeline.transforms.energy import Energy
from pipeline.window import HOUR, Window
from tests.conftest import RealClock

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
NODE_TOLERANCE = 0.005
EVERY = ["dcgm", "kepler", "kepler_legacy"]


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    kepler = KeplerMeter(gpu=True)
    boards = (GpuSpec("exclusive"), GpuSpec("shared"))
    return simulate(
        FleetSpec(
            6, START, 2, sockets=(1, 1, 1), pods_per_node=2, gpus=(boards,) * 3,
            meters=(
                Meters(kepler=kepler, dcgm=DcgmMeter(collect_seconds=10, present_hours=(-1, 1.25))),
                Meters(legacy=LegacyMeter(gpu=True)),
                Meters(kepler=kepler),
            ),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def server(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("gpu-meters")
    fill_blocks(fleet, prometheus_binary.promtool, folder / "data")
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as running:
        yield running


def site_of(server: RunningServer, folder: Path, clock: RealClock, gpu_meters: list[str]) -> Site:
    cluster = {"name": "demo", "prometheus_url": server.url, "grid_zone": "DE", "pue": 1.2, "gpu_meters": gpu_meters}
    given = Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [cluster]})
    return open_site("demo", given, {}, clock)


@pytest.fixture(scope="module")
def hours(server: RunningServer, tmp_path_factory: pytest.TempPathFactory, clock: RealClock) -> list[Energy]:
    site = site_of(server, tmp_path_factory.mktemp("w"), clock, EVERY)
    return [site.fold(Window.of_hour(START)), site.fold(Window.of_hour(START + HOUR))]


def gpu_nodes(energy: Energy) -> dict[str, dict[str, Any]]:
    rows = [row for row in energy.nodes.to_pylist() if row["component"] == "gpu"]
    assert len({row["node"] for row in rows}) == len(rows), "no node twice"
    return {row["node"]: row for row in rows}


def used(fleet: Fleet, node: str, hour: datetime) -> float:
    rows = [r for r in fleet.truth_gpus.to_pylist() if (r["node"], r["hour_utc"]) == (node, hour)]
    return math.fsum(row["active_joules"] + row["idle_joules"] for row in rows)


def test_every_node_hour_is_within_half_a_percent_of_its_joules_and_adds_up(fleet: Fleet, hours: list[Energy]) -> None:
    compared = 0
    for number, energy in enumerate(hours):
        for node, row in gpu_nodes(energy).items():
            assert row["metered_joules"] == pytest.approx(used(fleet, node, START + number * HOUR), rel=NODE_TOLERANCE)
            rows = [r for r in energy.rows.to_pylist() if (r["node"], r["component"]) == (node, "gpu")]
            assert math.fsum(r["energy_joules"] for r in rows) == pytest.approx(row["metered_joules"], rel=1e-9)
            assert {r["meter"] for r in rows} == {row["meter"]}
            assert (row["check"], row["coverage_ratio"]) == (None, pytest.approx(1.0, abs=0.01))
            compared += 1
    assert compared == 6


def test_a_board_that_two_meters_show_is_counted_once_and_the_other_is_its_check(hours: list[Energy]) -> None:
    row = gpu_nodes(hours[0])["node-1"]
    assert (row["meter"], row["cross_meter"]) == ("dcgm", "kepler")
    assert row["cross_ratio"] == pytest.approx(1.0, abs=0.005)
    alone = gpu_nodes(hours[0])["node-3"]
    assert (alone["meter"], alone["cross_meter"]) == ("kepler", "kepler_node_gpu_{active,idle}_joules_total")
    assert alone["cross_ratio"] == pytest.approx(1.0, abs=1e-6)


def test_the_next_meter_takes_over_at_an_hours_edge_when_the_first_vanishes(hours: list[Energy]) -> None:
    assert [gpu_nodes(energy)["node-1"]["meter"] for energy in hours] == ["dcgm", "kepler"]
    assert [gpu_nodes(energy)["node-2"]["meter"] for energy in hours] == ["kepler_legacy", "kepler_legacy"]


def test_a_meter_that_is_not_among_gpu_meters_gives_no_gpu_energy(
    server: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    energy = site_of(server, tmp_path, clock, ["dcgm"]).fold(Window.of_hour(START))
    assert set(gpu_nodes(energy)) == {"node-1"}
    assert {row["node"] for row in energy.nodes.to_pylist()} == {"node-1", "node-2", "node-3"}


def test_pods_on_boards_have_owners_and_processors_are_as_without_boards(hours: list[Energy]) -> None:
    rows = [row for row in hours[0].rows.to_pylist() if row["kind"] == "workload"]
    on_boards = [row for row in rows if row["component"] == "gpu" and row["node"] != "node-1"]
    assert {row["node"] for row in on_boards} == {"node-2", "node-3"}
    assert {row["owner_source"] for row in on_boards} == {"kube-state-metrics"}
    assert {row["namespace"] for row in on_boards} <= {"llm", "analytics"}
    assert {row["component"] for row in rows} == {"package", "dram", "gpu"}


def test_the_doctor_names_keplers_boards_and_says_where_they_are_not_read(
    server: RunningServer, tmp_path: Path, clock: RealClock, fleet: Fleet
) -> None:
    now_ms = fleet.spec.start_ms + 1_800_000
    site = site_of(server, tmp_path, clock, ["dcgm", "kepler"])
    said = [(finding.level, finding.text) for finding in found_meters(site, now_ms, 600_000)]
    assert (0, "kepler shows 4 GPUs in the last 15m") in said
    assert (
        1, "kepler_legacy shows 2 GPUs in the last 15m, but is not among gpu_meters: their energy is not read from it",
    ) in said  # fmt: skip
