"""Levels, processes, platform meters and hosts of a site in a real Prometheus, held against the joules used."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import discovery
from pipeline.checks import Check
from pipeline.demo.fleet import Fleet, churning, simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec, KeplerMeter, Meters, ScaphandreMeter
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.explain import explain
from pipeline.report import RunReport
from pipeline.run import Job, run
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import Warehouse
from pipeline.site import Site, open_site
from pipeline.transforms.energy import Energy
from pipeline.window import HOUR, Window
from tests.conftest import RealClock
from tests.test_site_meters import measured, settings, truth

START = datetime(2026, 11, 1, 8, tzinfo=UTC)
LEVELS = ("node", "pod", "container", "process")
TOLERANCE = 0.005
BMC = KeplerMeter(levels=LEVELS, platform=True, bmc_seconds=30, psu_loss=0.06)
PDU = {"metric": "kepler_platform_watts", "use": "scale", "includes": ["psu", "pue"]}

SiteOf = Callable[..., Site]  # of keys of the cluster


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    """A node with a BMC, one with a BMC and a GPU, one without but with Scaphandre beside Kepler."""
    spec = churning(7, START, 2, nodes=3, pods_per_node=3)
    return simulate(
        replace(
            spec,
            jobs_per_hour=6.0,
            meters=(
                Meters(kepler=BMC),
                Meters(kepler=BMC, dcgm=DcgmMeter(collect_seconds=10)),
                Meters(kepler=KeplerMeter(levels=LEVELS), scaphandre=ScaphandreMeter()),
            ),
            gpus=((), (GpuSpec("exclusive"),), ()),
        )
    )


@pytest.fixture(scope="module")
def server(
    fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    data_dir = tmp_path_factory.mktemp("scopes") / "data"
    fill_blocks(fleet, prometheus_binary.promtool, data_dir)
    with start_prometheus(prometheus_binary, data_dir, free_port(), clock) as running:
        yield running


@pytest.fixture
def site_of(server: RunningServer, tmp_path: Path, clock: RealClock) -> SiteOf:
    return lambda **cluster: open_site("demo", settings(server.url, tmp_path, **cluster), {}, clock)


def machine_joules(fleet: Fleet, node: str) -> float:
    rows = fleet.truth_platforms.to_pylist()
    return next(row["energy_joules"] for row in rows if (row["node"], row["hour_utc"]) == (node, START))


def inner_joules(fleet: Fleet, node: str) -> float:
    groups = ("cpu", "gpu") if node == "node-2" else ("cpu",)
    return math.fsum(truth(fleet, node, group) for group in groups)


def of_node(energy: Energy, node: str) -> list[dict[str, Any]]:
    return [row for row in energy.nodes.to_pylist() if row["node"] == node]


# ---- platform meters -----------------------------------------------------------------------------------------------


def test_the_ratio_of_a_machine_to_its_meters_is_within_half_a_percent_of_truth(fleet: Fleet, site_of: SiteOf) -> None:
    energy = site_of(platform={}).fold(Window.of_hour(START))
    for node in ("node-1", "node-2"):
        ratio = machine_joules(fleet, node) / inner_joules(fleet, node)
        assert ratio > 1.3
        rows = of_node(energy, node)
        assert len(rows) == (3 if node == "node-2" else 2)
        for row in rows:
            assert row["cross_meter"] == "platform"
            assert row["cross_ratio"] == pytest.approx(ratio, rel=TOLERANCE)
            assert row["platform_scale"] is None
    assert {row["cross_meter"] for row in of_node(energy, "node-3")} == {"scaphandre"}
    assert energy.rows.equals(site_of().fold(Window.of_hour(START)).rows)


def test_scaled_rows_are_within_half_a_percent_of_the_machines_joules(fleet: Fleet, site_of: SiteOf) -> None:
    energy = site_of(platform={"use": "scale"}).fold(Window.of_hour(START))
    for node in ("node-1", "node-2"):
        found = measured(energy, node, "cpu") + measured(energy, node, "gpu")
        assert found == pytest.approx(machine_joules(fleet, node), rel=TOLERANCE)
        for row in of_node(energy, node):
            rows = [r for r in energy.rows.to_pylist() if (r["node"], r["component"]) == (node, row["component"])]
            total = math.fsum(r["energy_joules"] for r in rows) + (row["residual_joules"] or 0.0)
            assert total == pytest.approx(row["metered_joules"], rel=1e-9)
            assert {r["platform_scale"] for r in rows} == {row["platform_scale"]}
    assert measured(energy, "node-3", "cpu") == pytest.approx(truth(fleet, "node-3", "cpu"), rel=TOLERANCE)
    (remark,) = energy.remarks
    assert (remark.node, remark.text) == ("node-3", "the platform meter does not know it")


def test_a_selector_and_a_label_that_lead_nowhere_scale_nothing(site_of: SiteOf) -> None:
    for wrong in ({"selector": '{source_type="Outlet"}'}, {"node_label": "bmc_id"}):
        energy = site_of(platform={"use": "scale"} | wrong).fold(Window.of_hour(START))
        assert {row["platform_scale"] for row in energy.nodes.to_pylist()} == {None}
        assert len(energy.remarks) == 3


# ---- whole runs ----------------------------------------------------------------------------------------------------


def ran(server: RunningServer, folder: Path, clock: RealClock, **cluster: object) -> RunReport:
    report = run(Job(settings(server.url, folder, **cluster), {}, clock), ["demo"], Window(START, START + HOUR))
    assert not report.errors, report.summary()
    return report


def check(report: RunReport, name: str) -> Check:
    return next(one for one in report.clusters[0].checks if one.name == name)


def test_a_run_stores_the_scale_spares_the_pue_and_does_it_once(
    server: RunningServer, tmp_path: Path, clock: RealClock, fleet: Fleet
) -> None:
    report = ran(server, tmp_path, clock, platform=PDU)
    assert "node-3's" in check(report, "platform").detail
    assert any(line.endswith("of it scaled to a platform meter") for line in report.summary())
    assert "cross_meter" not in [c.name for c in report.clusters[0].checks if not c.passed]
    query = """select node, pue_ratio, pue_source, sum(facility_energy_kwh) as kwh, min(platform_scale) as least,
               max(platform_scale) as most from emissions group by all order by node"""
    one, two, three = run_query(tmp_path, query).to_pylist()
    for row in (one, two):
        assert (row["pue_ratio"], row["pue_source"]) == (1.0, "included:kepler_platform_watts")
        assert row["kwh"] * 3.6e6 == pytest.approx(machine_joules(fleet, row["node"]), rel=TOLERANCE)
        assert row["least"] == row["most"] > 1.3
    assert (three["pue_ratio"], three["pue_source"], three["most"]) == (1.2, "config", None)
    assert ran(server, tmp_path, clock, platform=PDU).clusters[0].hours_rewritten == 0


def test_a_scale_that_is_configured_later_changes_the_joules(
    server: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    ran(server, tmp_path, clock)
    assert ran(server, tmp_path, clock, platform=PDU).clusters[0].hours_rewritten == 1
    changed = "select distinct cause from revisions where old_energy_joules is not null"
    causes = run_query(tmp_path, f"{changed} and old_energy_joules <> new_energy_joules").to_pylist()
    assert causes == [{"cause": "energy"}]


def test_partitions_that_were_written_before_the_column_are_read_and_found_equal(
    server: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    ran(server, tmp_path, clock)
    for table in ("emissions", "node_energy"):
        (path,) = tmp_path.glob(f"{table}/*/*/*.parquet")
        rows = pq.ParquetFile(path).read()
        pq.write_table(rows.drop_columns(["platform_scale"]), path)
    query = "select count(*) as n, count(platform_scale) as scaled from emissions semi join node_energy using (node)"
    assert run_query(tmp_path, query).to_pylist()[0]["scaled"] == 0
    assert run_query(tmp_path, query).to_pylist()[0]["n"] > 20
    assert ran(server, tmp_path, clock).clusters[0].hours_rewritten == 0
    assert ran(server, tmp_path, clock, platform=PDU).clusters[0].hours_rewritten == 1
    assert run_query(tmp_path, query).to_pylist()[0]["scaled"] > 20


@pytest.mark.parametrize(("count", "left"), [("host", {"node-1", "node-3"}), ("guests", {"node-2", "node-3"})])
def test_a_host_and_its_guest_are_counted_once_and_told(
    server: RunningServer, tmp_path: Path, clock: RealClock, count: str, left: set[str]
) -> None:
    """First without the map, so that both are stored: the map holds for what is already there."""
    ran(server, tmp_path, clock, gpu_meters=[])
    hosts = [{"node": "node-1", "guests": ["node-2"], "count": count}]
    report = ran(server, tmp_path, clock, hosts=hosts, gpu_meters=[])
    assert report.clusters[0].hours_rewritten == 1
    for table in ("emissions", "node_energy"):
        rows = run_query(tmp_path, f"select distinct node from {table}").to_pylist()
        assert {row["node"] for row in rows} == left
    out = "node-2" if count == "host" else "node-1"
    found = check(report, "scopes")
    assert (found.passed, found.required) == (False, False)
    assert found.detail.startswith(f"left out: {out}'s ")
    assert any("note scopes: left out" in line for line in report.summary())
    assert ran(server, tmp_path, clock, hosts=hosts, gpu_meters=[]).clusters[0].hours_rewritten == 0


# ---- level and processes -------------------------------------------------------------------------------------------


def test_containers_are_rows_of_their_own_that_add_up_to_their_pods(fleet: Fleet, site_of: SiteOf) -> None:
    pods, containers = (site_of(level=level).fold(Window.of_hour(START)) for level in ("pod", "container"))

    def of_pods(energy: Energy) -> dict[tuple[str, str], float]:
        found: dict[tuple[str, str], float] = {}
        for row in energy.rows.to_pylist():
            if row["kind"] == "workload" and row["component"] == "package":
                key = row["node"], row["pod_uid"]
                found[key] = found.get(key, 0.0) + row["energy_joules"]
        return found

    by_container = {
        (r["node"], r["pod_uid"], r["container"]): r["energy_joules"]
        for r in containers.rows.to_pylist()
        if r["kind"] == "workload" and r["component"] == "package"
    }
    assert {r["container"] for r in pods.rows.to_pylist() if r["component"] != "gpu"} == {None}
    assert all(container for _, _, container in by_container)
    one, other = of_pods(pods), of_pods(containers)
    assert len(by_container) > len(one) > 8, "some pod has several"
    long_lived = [key for key in one if one[key] > 5_000]
    assert len(long_lived) >= 6
    for key in long_lived:
        assert other[key] == pytest.approx(one[key], rel=0.02)
    wanted: dict[tuple[str, str, str], float] = {}
    for row in fleet.truth_containers.to_pylist():
        if (row["hour_utc"], row["component"]) == (START, "package"):
            place = row["node"], row["pod_uid"], row["container"]
            wanted[place] = wanted.get(place, 0.0) + row["energy_joules"]
    for place in (place for place in by_container if by_container[place] > 5_000):
        assert by_container[place] == pytest.approx(wanted[place], rel=0.02), place


def test_without_processes_system_is_the_remainder_and_nothing_else_changes(site_of: SiteOf, fleet: Fleet) -> None:
    full, bare = (site_of(processes=kept, meters=["kepler"]).fold(Window.of_hour(START)) for kept in (True, False))
    assert all(row["residual_joules"] is not None for row in full.nodes.to_pylist() if row["component"] == "package")
    for energy in (full, bare):
        for node in fleet.nodes:
            assert measured(energy, node.name, "cpu") == pytest.approx(truth(fleet, node.name, "cpu"), rel=TOLERANCE)
    assert {row["residual_joules"] for row in bare.nodes.to_pylist()} == {None}
    assert {row["workload"] for row in bare.rows.to_pylist() if row["kind"] == "system"} == {None}

    def workloads(energy: Energy) -> list[tuple[str, float]]:
        rows = (r for r in energy.rows.to_pylist() if r["kind"] == "workload" and r["component"] == "package")
        return sorted((r["pod_uid"], r["energy_joules"]) for r in rows)

    assert [uid for uid, _ in workloads(full)] == [uid for uid, _ in workloads(bare)]


def test_without_processes_scaphandre_knows_hosts_by_their_address_and_nobody_on_them(
    site_of: SiteOf, fleet: Fleet
) -> None:
    energy = site_of(processes=False, meters=["scaphandre"], gpu_meters=[]).fold(Window.of_hour(START))
    host = fleet.nodes[2].host
    assert {row["node"] for row in energy.nodes.to_pylist()} == {host}
    assert {row["kind"] for row in energy.rows.to_pylist()} == {"system"}
    assert measured(energy, host, "cpu") == pytest.approx(truth(fleet, "node-3", "cpu"), rel=TOLERANCE)
    assert energy.processes.num_rows == 0


# ---- doctor --------------------------------------------------------------------------------------------------------


def test_the_doctor_shows_the_map_the_platform_and_names_that_nobody_reads(site_of: SiteOf) -> None:
    site: Site = site_of(
        hosts=[{"node": "node-1", "guests": ["node-2", "node-9"], "count": "host"}],
        platform={"node_label": "bmc_id", "includes": ["psu"]},
    )
    said = [(one.level, one.text) for one in discovery.accounts(site, START)]
    assert (discovery.OK, 'node-1 holds node-2, node-9: count = "host"') in said
    assert (discovery.NOTE, "hosts names node-9, which no meter reads in 2026-11-01T08:00Z") in said
    assert any(level == discovery.OK and text.startswith("left out: node-2's ") for level, text in said)
    assert any("kepler_platform_watts names bmc-node-1, bmc-node-2, which no meter reads" in text for _, text in said)
    assert any("compared on none of 3 nodes" in text and "it holds psu" in text for _, text in said)
    healthy = [one.text for one in discovery.accounts(site_of(platform={}), START)]
    assert any(
        text.startswith('platform meter kepler_platform_watts (use = "check"): on 2 of 3 nodes, 1.3')
        for text in healthy
    )


def test_an_explanation_tells_the_scale_and_what_is_left_out(site_of: SiteOf, tmp_path: Path) -> None:
    hosts = [{"node": "node-1", "guests": ["node-2"], "count": "host"}]
    site = site_of(platform=PDU, hosts=hosts, gpu_meters=[])
    host, guest, bare = (
        list(explain(site, Warehouse(tmp_path), node, START, START + 2 * HOUR))
        for node in ("node-1", "node-2", "node-3")
    )
    assert any(line.startswith("  all of it times 1.3") for line in host)
    assert any("times PUE 1 (included:kepler_platform_watts)" in line for line in host)
    assert any(line.startswith("left out, ") and line.endswith("J: inside node-1's reading") for line in guest)
    assert any(line.startswith("grams: 0.0 J") for line in guest)
    assert any(line.startswith("not scaled, ") for line in bare)
    assert any("times PUE 1.2 (config)" in line for line in bare)
