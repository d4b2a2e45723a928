"""A site folds every meter it has and lets one account: a mixed fleet in a real Prometheus, held against its joules."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet, mixed, simulate, steady
from pipeline.demo.meters import KeplerMeter, LegacyMeter, Meters
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.errors import SourceRejected
from pipeline.job import Job
from pipeline.run import run
from pipeline.settings import Settings
from pipeline.sinks.sql import run_query
from pipeline.site import Site, open_site
from pipeline.transforms.energy import Energy
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.sources.series import fill, written

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
NODE_TOLERANCE = 0.005
GROUPS = {"cpu": ("package", "dram"), "gpu": ("gpu",)}

Serve = Callable[[Fleet], RunningServer]


def settings(url: str, folder: Path, **cluster: object) -> Settings:
    entry = {"name": "demo", "prometheus_url": url, "grid_zone": "DE", "pue": 1.2} | cluster
    return Settings.model_validate({"warehouse": {"path": str(folder)}, "clusters": [entry]})


def site_of(url: str, folder: Path, clock: RealClock, **cluster: object) -> Site:
    return open_site("demo", settings(url, folder, **cluster), {}, clock)


def serving(fleet: Fleet, binary: PrometheusBinary, folder: Path, clock: RealClock) -> Iterator[RunningServer]:
    fill_blocks(fleet, binary.promtool, folder / "data")
    with start_prometheus(binary, folder / "data", free_port(), clock) as server:
        yield server


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """Kepler with Scaphandre, old Kepler, Kepler with DCGM."""
    return simulate(mixed(seed=5, start=START, hours=2, pods_per_node=3))


@pytest.fixture(scope="module")
def server(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    yield from serving(fleet, prometheus_binary, tmp_path_factory.mktemp("mixed"), clock)


@pytest.fixture(scope="module")
def site(server: RunningServer, tmp_path_factory: pytest.TempPathFactory, clock: RealClock) -> Site:
    return site_of(server.url, tmp_path_factory.mktemp("mixed-warehouse"), clock)


@pytest.fixture(scope="module")
def energy(site: Site) -> Energy:
    return site.fold(Window.of_hour(START))


def truth(fleet: Fleet, node: str, group: str, hour: datetime = START) -> float:
    rows = fleet.truth_nodes.to_pylist()
    mine = [r for r in rows if (r["node"], r["hour_utc"]) == (node, hour) and r["component"] in GROUPS[group]]
    return math.fsum(row["active_joules"] + row["idle_joules"] for row in mine)


def measured(energy: Energy, node: str, group: str) -> float:
    """As the emissions rows say, of every kind."""
    rows = energy.rows.to_pylist()
    return math.fsum(r["energy_joules"] for r in rows if r["node"] == node and r["component"] in GROUPS[group])


def test_every_node_hour_of_a_mixed_fleet_is_within_half_a_percent_of_its_joules(fleet: Fleet, energy: Energy) -> None:
    compared = 0
    for node in fleet.nodes:
        for group in GROUPS if node.gpus else ("cpu",):
            wanted = truth(fleet, node.name, group)
            assert measured(energy, node.name, group) == pytest.approx(wanted, rel=NODE_TOLERANCE), (node.name, group)
            compared += 1
    assert compared == 4


def test_each_node_and_group_has_the_rows_of_one_meter(energy: Energy) -> None:
    meters = {
        (row["node"], "gpu" if row["component"] == "gpu" else "cpu", row["meter"]) for row in energy.nodes.to_pylist()
    }
    assert meters == {
        ("node-1", "cpu", "kepler"), ("node-2", "cpu", "kepler_legacy"), ("node-3", "cpu", "kepler"),
        ("node-3", "gpu", "dcgm"),
    }  # fmt: skip
    assert {
        (r["node"], "gpu" if r["component"] == "gpu" else "cpu", r["meter"]) for r in energy.rows.to_pylist()
    } == meters


def test_rows_add_up_to_their_node_meter(energy: Energy) -> None:
    for row in energy.nodes.to_pylist():
        rows = [r for r in energy.rows.to_pylist() if (r["node"], r["component"]) == (row["node"], row["component"])]
        total = math.fsum(r["energy_joules"] for r in rows) + (row["residual_joules"] or 0.0)
        assert total == pytest.approx(row["metered_joules"], rel=1e-9)
        assert row["check"] is None


def test_the_second_meter_of_a_node_is_its_cross_check(energy: Energy) -> None:
    rows = {(row["node"], row["component"]): row for row in energy.nodes.to_pylist()}
    assert rows["node-1", "package"]["cross_meter"] == "scaphandre"
    assert rows["node-1", "package"]["cross_ratio"] == pytest.approx(1.0, abs=0.01)
    assert rows["node-3", "package"]["cross_meter"] == "kepler_node_cpu_joules_total"


def test_the_order_of_the_config_decides(server: RunningServer, tmp_path: Path, clock: RealClock, fleet: Fleet) -> None:
    other = site_of(server.url, tmp_path, clock, meters=["scaphandre", "kepler"], gpu_meters=[])
    energy = other.fold(Window.of_hour(START))
    assert {(row["node"], row["meter"]) for row in energy.nodes.to_pylist()} == {
        ("node-1", "scaphandre"), ("node-3", "kepler"),
    }  # fmt: skip
    assert measured(energy, "node-1", "cpu") == pytest.approx(truth(fleet, "node-1", "cpu"), rel=NODE_TOLERANCE)


def test_a_meter_replaced_in_mid_run_switches_at_an_hour_edge(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: RealClock
) -> None:
    meters = Meters(kepler=KeplerMeter(present_hours=(0.5, 9)), legacy=LegacyMeter(present_hours=(-1, 1.25)))
    spec = replace(steady(3, START, 2, nodes=1, pods_per_node=3), meters=(meters,))
    fleet = simulate(spec)
    for server in serving(fleet, prometheus_binary, tmp_path, clock):
        site = site_of(server.url, tmp_path / "w", clock)
        hours = [site.fold(Window.of_hour(hour)) for hour in spec.window.hours()]
    assert [{row["meter"] for row in energy.nodes.to_pylist()} for energy in hours] == [{"kepler_legacy"}, {"kepler"}]
    for energy, hour in zip(hours, spec.window.hours(), strict=True):
        assert measured(energy, "node-1", "cpu") == pytest.approx(
            truth(fleet, "node-1", "cpu", hour), rel=NODE_TOLERANCE
        )


def test_the_oldest_sample_is_that_of_any_meter(site: Site, fleet: Fleet, clock: RealClock) -> None:
    oldest = site.oldest_ms(clock.now())
    assert oldest is not None
    assert abs(oldest - (fleet.spec.start_ms + fleet.spec.begin_ms)) <= 120_000


def test_no_configured_meter_is_an_error_that_names_what_is_there(
    prometheus_binary: PrometheusBinary, tmp_path: Path, clock: RealClock
) -> None:
    now_ms = round(clock.now().timestamp() * 1000)
    samples = [(now_ms - 60_000, 1.0), (now_ms - 30_000, 2.0)]
    fill(
        prometheus_binary.promtool,
        tmp_path / "data",
        {written("scaph_socket_energy_microjoules", instance="a:1"): samples},
    )
    with start_prometheus(prometheus_binary, tmp_path / "data", free_port(), clock) as server:
        given = settings(server.url, tmp_path / "w", meters=["kepler"], gpu_meters=[])
        report = run(Job(given, {}, clock), ["demo"], None)
    assert [type(error) for error in report.errors] == [SourceRejected]
    said = str(report.errors[0])
    assert "has no series of any configured meter (Kepler 0.10 or newer) for cluster demo" in said
    assert "found Scaphandre: add 'scaphandre' to its meters" in said


def test_implausible_energy_goes_through_a_site_into_quarantine(
    server: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    """With a ceiling of 20 W a socket even honest nodes are beyond it: nothing is summed, all is shown."""
    given = settings(server.url, tmp_path, meters=["kepler"], gpu_meters=[])
    low = given.model_copy(
        update={
            "energy": given.energy.model_copy(
                update={"ceiling_watts": given.energy.ceiling_watts.model_copy(update={"socket": 20.0})}
            )
        }
    )
    energy = open_site("demo", low, {}, clock).fold(Window.of_hour(START))
    packages = [row for row in energy.nodes.to_pylist() if row["component"] == "package"]
    assert {row["check"] for row in packages} == {"implausible"}
    held = [row for row in energy.withheld.to_pylist() if row["component"] == "package"]
    sockets = {"node-1": 2, "node-3": 1}
    for row in held:
        assert f"above {sockets[row['node']]} sockets x 20 W" in row["evidence"], "as kepler_node_cpu_info shows them"
    assert math.fsum(row["energy_joules"] for row in held) == pytest.approx(
        math.fsum(row["quarantined_joules"] for row in packages)
    )


def test_a_run_keeps_programs_beside_the_rows_and_looks_for_known_faults(
    server: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    """Scaphandre accounting: its programs are in `processes`, add up to what processes used, and twice is no change."""
    job = Job(settings(server.url, tmp_path, meters=("scaphandre",)), {}, clock)
    window = Window(START, START + HOUR)
    report = run(job, ["demo"], window)
    assert {"scaphandre_frozen", "frozen"} & {check.name for check in report.clusters[0].checks}
    totals = "select sum(energy_joules) as joules, count(*) as n from processes"
    programs = run_query(tmp_path, totals).to_pylist()[0]
    query = "select sum(energy_joules) as joules from emissions where kind <> 'idle' and component <> 'gpu'"
    used = run_query(tmp_path, query).to_pylist()[0]["joules"]
    assert programs["n"] > 3
    assert programs["joules"] == pytest.approx(used, rel=0.02)
    assert run(job, ["demo"], window).clusters[0].hours_rewritten == 0


def test_a_part_of_a_shared_board_says_how_it_was_found(energy: Energy) -> None:
    sources = {row["owner_source"] for row in energy.rows.to_pylist() if row["component"] == "gpu" and row["pod"]}
    assert any(str(source).endswith((":even", ":profile", ":activity")) for source in sources), sources
    assert any(":" not in str(source) for source in sources), sources
