"""The sheet's ten rules, each through labels, reader, fold and booking."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.servers import PrometheusBinary, RunningServer, free_port, start_prometheus
from pipeline.settings import Settings
from pipeline.site import open_site
from pipeline.sources.meters import dcgm, scaphandre
from pipeline.window import Window
from tests.conftest import RealClock
from tests.sources.series import fill, written
from tests.transforms.exposed import Exposed
from tests.transforms.made import PACKAGE_RANGE, START, Points, clock, line, only, scrapes, stamp_ms
from tests.transforms.made_scaphandre import MadeScaphandre, flat, register
from tests.traps.made_kepler import HOUR_SECONDS, SEEN, WEB, Kepler, counter_increase, energies, steady


def test_r1_of_five_zones_package_and_dram_are_counted_and_what_holds_or_repeats_them_is_not() -> None:
    """R1. 100 W package (of which 60 core and 5 uncore) and 12 W dram inside a platform of 150 W."""
    kepler = Kepler()
    for zone, watts in (("psys", 150), ("package", 100), ("core", 60), ("uncore", 5), ("dram", 12)):
        kepler.zone(line(0.4 * watts, SEEN), line(0.6 * watts, SEEN, 500.0), zone=zone)
        kepler.pod(line(0.1 * watts, SEEN), zone=zone)
    energy = kepler.fold()
    assert {row["component"] for row in energy.rows.to_pylist()} == {"package", "dram"}
    assert energies(energy) == pytest.approx((100 + 12) * HOUR_SECONDS)
    assert energies(energy, kind="workload") == pytest.approx((10 + 1.2) * HOUR_SECONDS)


def test_r1_a_node_of_psys_alone_counts_psys_once() -> None:
    """R1. `core` beside `psys`: still inside it."""
    kepler = (
        Kepler().zone(line(60, SEEN), line(90, SEEN), zone="psys").zone(line(40, SEEN), line(10, SEEN), zone="core")
    )
    energy = kepler.fold()
    assert energies(energy) == pytest.approx(150 * HOUR_SECONDS)
    assert {row["component"] for row in energy.rows.to_pylist()} == {"psys"}


def test_r2_the_same_joules_on_four_levels_are_counted_once() -> None:
    """R2. Of 60 active watts a pod has 30, a guest 10, the host's own processes 20; every level shows them again."""
    kepler = steady().pod(line(30, SEEN))
    inside = {"container_id": "c1", "container_name": "app", "runtime": "containerd", "pod_id": "uid-web"}
    kepler.add("kepler_container_cpu_joules_total", line(30, SEEN), zone="package", state="running", **inside)
    kepler.process(line(30, SEEN), "11", container_id="c1", type="container")
    guest = {"vm_id": "v1", "vm_name": "db-vm", "hypervisor": "kvm"}
    kepler.add("kepler_vm_cpu_joules_total", line(10, SEEN), zone="package", state="running", **guest)
    kepler.process(line(10, SEEN), "12", vm_id="v1", type="vm").process(line(20, SEEN), "13")
    energy = kepler.fold()
    assert energies(energy, pod_uid="uid-web") == pytest.approx(30 * HOUR_SECONDS)
    assert energies(energy, workload="db-vm") == pytest.approx(10 * HOUR_SECONDS)
    assert energies(energy, kind="system") == pytest.approx(20 * HOUR_SECONDS)
    assert energies(energy) == pytest.approx(100 * HOUR_SECONDS)


def test_r3_a_terminated_series_that_starts_at_the_lifetime_total_adds_only_what_is_new() -> None:
    """R3. 20 W since long before, until 10:30: its last total, 300 J further, appears once under another state."""
    until = [second for second in SEEN if second <= clock("10:30")]
    life = line(20, until, 500_000.0)
    last = (clock("10:30:30"), life[-1][1] + 300.0)
    energy = steady().pod(life).pod([last], state="terminated").fold()
    assert energies(energy, kind="workload") == pytest.approx(20 * 1800 + 300)


def test_r4_the_old_total_under_a_new_label_set_is_no_new_energy() -> None:
    """R4. Kepler learns the pod's name at 10:20: another series, the same accumulator."""
    points = line(20, SEEN, 900_000.0)
    early = [point for point in points if point[0] < clock("10:20")]
    late = [point for point in points if point[0] >= clock("10:20")]
    energy = steady().pod(early, pod_name="", pod_namespace="").pod(late).fold()
    row = only(energy.rows, kind="workload")
    assert (row["pod"], row["energy_joules"]) == ("web", pytest.approx(20 * HOUR_SECONDS))


def test_r4_a_first_value_is_energy_only_where_the_nodes_interval_has_room_for_it() -> None:
    """R4. In each 30 s the node is active with 1,800 J: 900 J are a birth, 90,000 J are history."""
    after = [second for second in SEEN if second >= clock("10:30")]
    for first_joules, born in ((900.0, 900.0), (90_000.0, 0.0)):
        energy = steady().pod(line(20, after, first_joules)).fold()
        assert energies(energy, kind="workload") == pytest.approx(20 * 1800 + born)


def test_r4_what_a_node_counter_shows_after_its_reset_is_no_new_energy() -> None:
    """R4. At 10:30 a new Kepler puts the raw register, 150 kJ, into idle: PromQL adds it whole."""
    before = [second for second in SEEN if second < clock("10:30")]
    after = [second for second in SEEN if second >= clock("10:30")]
    idle = [*line(40, before, 200_000.0), *line(40, after, 150_000.0)]
    kepler = Kepler().zone([*line(60, before), *line(60, after, 600.0)], idle)
    assert counter_increase(idle) > 290_000
    node = only(kepler.fold().nodes)
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert (node["resets"], node["bridged_joules"]) == (1, pytest.approx(100 * 30 - 600))


def test_r5_node_energy_is_active_and_idle_though_the_register_wraps_in_between() -> None:
    """R5. 100 W on a register that wraps at 10:20:15: `increase` loses half a scrape, the accumulators lose nothing."""
    raw = register(100, SEEN, at=PACKAGE_RANGE - 100 * (clock("10:20:15") - SEEN[0]))
    node = only(Kepler().zone(line(60, SEEN), line(40, SEEN, 9.0), raw).fold().nodes)
    inside = [point for point in raw if 0 <= point[0] <= HOUR_SECONDS]
    assert counter_increase(inside) == pytest.approx(100 * HOUR_SECONDS - 1_500)  # half of the scrape that wrapped
    assert node["metered_joules"] == pytest.approx(100 * HOUR_SECONDS)
    assert (node["wraps"], node["cross_ratio"]) == (1, pytest.approx(1.0))


def test_r6_a_pod_has_active_energy_only_and_idle_is_a_row_of_its_own() -> None:
    """R6. One pod that is all that is active: it gets 60 W and not the node's 100."""
    energy = steady().pod(line(60, SEEN)).fold()
    assert energies(energy, kind="workload") == pytest.approx(60 * HOUR_SECONDS)
    idle = only(energy.rows, kind="idle")
    assert idle["energy_joules"] == pytest.approx(40 * HOUR_SECONDS)
    assert (idle["namespace"], idle["pod"], idle["workload"]) == (None, None, None)


def test_r7_two_sockets_that_wrap_apart_are_rebuilt_where_the_host_counter_invents_a_third() -> None:
    """R7. Two sockets of 95 W, one wrap each within the hour; the host counter is their sum."""
    one = register(95, SEEN, at=PACKAGE_RANGE - 95 * (clock("10:20:15") - SEEN[0]))
    two = register(95, SEEN, at=PACKAGE_RANGE - 95 * (clock("10:40:15") - SEEN[0]))
    host = [(second, a + b) for (second, a), (_, b) in zip(one, two, strict=True)]
    made = MadeScaphandre().socket(one, "0").socket(two, "1").process(7, flat(50, SEEN))
    made.add(scaphandre.HOST, host, 1e6)
    inside = [point for point in host if 0 <= point[0] <= HOUR_SECONDS]
    assert counter_increase(inside) > 1.33 * 190 * HOUR_SECONDS
    node = only(made.fold().nodes)
    assert (node["metered_joules"], node["wraps"]) == (pytest.approx(190 * HOUR_SECONDS), 2)


def test_r8_a_gauge_holds_since_the_scrape_before_and_never_across_a_gap() -> None:
    """R8. 60 W to 10:20, 300 W from there, and nothing known from 10:40 to 10:55."""
    seen = [second for second in SEEN if not clock("10:40") < second < clock("10:55")]
    watts = [(second, 300.0 if second > clock("10:20") else 60.0) for second in seen]
    exposed = Exposed(UUID="GPU-a", Hostname="n1", instance="10.0.0.1:9400").add(dcgm.POWER[0], watts)
    node = only(exposed.booked("dcgm").nodes)
    assert node["metered_joules"] == pytest.approx(60 * 1200 + 300 * (1200 + 300))
    assert node["coverage_ratio"] == pytest.approx(0.75)
    assert node["unplaced_joules"] is None


@pytest.mark.parametrize(("watts", "believed"), [(15_900, True), (16_100, False)])
def test_r9_a_node_above_eight_sockets_is_quarantined_and_not_clamped(watts: float, believed: bool) -> None:  # noqa: FBT001 # a case
    """R9. One interval of 30 s on a node whose sockets nobody knows: 8 x 2 kW."""
    leap = (watts - 100) * 30
    active = [(second, joules + leap * (second >= clock("10:20"))) for second, joules in line(60, SEEN)]
    energy = Kepler().zone(active, line(40, SEEN)).fold()
    node = only(energy.nodes)
    whole = 100 * HOUR_SECONDS
    assert node["metered_joules"] == pytest.approx(whole + leap if believed else whole - 3_000)
    assert node["quarantined_joules"] == pytest.approx(0 if believed else leap + 3_000)
    assert energy.withheld.num_rows == (0 if believed else 1)


@pytest.mark.parametrize(("watts", "believed"), [(1_490, True), (1_510, False)])
def test_r9_a_board_above_its_ceiling_is_quarantined_and_not_clamped(watts: float, believed: bool) -> None:  # noqa: FBT001 # a case
    """R9. One sample of the power gauge, 1.5 kW a board."""
    points = [(second, float(watts) if second == clock("10:20") else 100.0) for second in SEEN]
    energy = Exposed(UUID="GPU-a", Hostname="n1", instance="10.0.0.1:9400").add(dcgm.POWER[0], points).booked("dcgm")
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(100 * 3570 + (watts * 30 if believed else 0))
    assert node["quarantined_joules"] == pytest.approx(0 if believed else watts * 30)


# R10: every spelling of who and where, through a real server

PODS = {
    "kepler": {"pod_name": "web-0", "pod_namespace": "shop", "pod_id": "uid"},
    "legacy": {"pod_name": "web-0", "container_namespace": "shop", "container_name": "app", "container_id": "c"},
    "scaphandre": {"kubernetes_pod_name": "web-0", "kubernetes_pod_namespace": "shop", "container_id": "c"},
    "exported": {"exported_pod": "web-0", "exported_namespace": "shop", "pod": "dcgm-exporter-x", "namespace": "ops"},
    "plain": {"pod": "web-0", "namespace": "shop"},
    "pod_name": {"pod_name": "web-0", "pod_namespace": "shop", "pod": "dcgm-exporter-x", "namespace": "ops"},
}
HOSTS = {"Hostname": {"Hostname": "n1"}, "hostname": {"hostname": "n1"}}
MINUTES = scrapes("09:45", "11:15", 60)


def of_dialect(meter: str, pod: dict[str, str], host: dict[str, str]) -> dict[str, Points]:
    """Series of 100 W, 60 of them the pod's, as that meter spells them."""
    at = {"instance": "10.0.0.9:9100"}  # which tells nobody the node
    if meter == "dcgm":
        return {written(dcgm.POWER[0], UUID="GPU-a", gpu="0", **at, **host, **pod): flat(100, MINUTES)}
    if meter == "scaphandre":
        socket = written(scaphandre.SOCKETS, socket_id="0", **at)
        process = {"pid": "7", "exe": "app", "cmdline": "app", "kubernetes_node_name": "n1"} | pod
        return {
            socket: [(second, joules * 1e6) for second, joules in register(100, MINUTES)],
            written(scaphandre.PROCESSES, **at, **process): flat(60e6, MINUTES),
        }
    if meter == "kepler_legacy":
        own = {"package": "0", "source": "rapl-sysfs", "exported_instance": "n1"} | at
        named = written("kepler_container_package_joules_total", mode="dynamic", source="rapl-sysfs", **at, **pod)
        parts = (("dynamic", 60.0), ("idle", 40.0))
        return {named: line(60, MINUTES)} | {
            written("kepler_node_package_joules_total", mode=mode, **own): line(watts, MINUTES) for mode, watts in parts
        }
    zone = {"node_name": "n1", "zone": "package"} | at
    return {
        written("kepler_node_cpu_active_joules_total", path="/sys", **zone): line(60, MINUTES),
        written("kepler_node_cpu_idle_joules_total", path="/sys", **zone): line(40, MINUTES),
        written("kepler_pod_cpu_joules_total", state="running", **zone, **pod): line(60, MINUTES),
    }


DIALECTS = [
    ("kepler", "kepler", "Hostname"),
    ("kepler_legacy", "legacy", "Hostname"),
    ("scaphandre", "scaphandre", "Hostname"),
    *(("dcgm", pod, host) for pod in ("exported", "plain", "pod_name") for host in HOSTS),
]


@pytest.fixture(scope="module")
def dialects(
    prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory, clock: RealClock
) -> Iterator[RunningServer]:
    """All of them in one server, told apart by a label of their own."""
    held = {}
    for number, (meter, pod, host) in enumerate(DIALECTS):
        for text, points in of_dialect(meter, PODS[pod], HOSTS[host]).items():
            told = text.replace("{", f'{{dialect="{number}",', 1)
            held[told] = [(stamp_ms(second), float(value)) for second, value in points]
    folder = tmp_path_factory.mktemp("dialects")
    fill(prometheus_binary.promtool, folder / "data", held)
    with start_prometheus(prometheus_binary, folder / "data", free_port(), clock) as server:
        yield server


@pytest.mark.parametrize("number", range(len(DIALECTS)), ids=["-".join(dialect) for dialect in DIALECTS])
def test_r10_whoever_spells_it_the_row_says_namespace_shop_pod_web_node_n1(
    number: int, dialects: RunningServer, tmp_path: Path, clock: RealClock
) -> None:
    """R10. The same pod on the same node under every known spelling."""
    meter = DIALECTS[number][0]
    own = {"meters": ["kepler"], "gpu_meters": [meter]} if meter == "dcgm" else {"meters": [meter], "gpu_meters": []}
    server = [{"url": dialects.url, "selector": f'{{dialect="{number}"}}'}]
    cluster = {"name": "demo", "prometheus": server, "grid_zone": "DE", "pue": 1.2} | own
    site = open_site(
        "demo", Settings.model_validate({"warehouse": {"path": str(tmp_path)}, "clusters": [cluster]}), {}, clock
    )
    row = only(site.fold(Window.of_hour(START)).rows, kind="workload")
    assert (row["namespace"], row["pod"], row["node"], row["meter"]) == ("shop", "web-0", "n1", meter)
    assert row["energy_joules"] == pytest.approx((100 if meter == "dcgm" else 60) * HOUR_SECONDS)


def test_r10_keplers_own_pod_and_namespace_are_never_the_workloads() -> None:
    """R10 and 1.1. A bare `namespace` or `pod` on Kepler's series is Kepler's own."""
    row = only(steady().pod(line(60, SEEN)).fold().rows, kind="workload")
    assert (row["namespace"], row["pod"]) == (WEB["pod_namespace"], WEB["pod_name"])
