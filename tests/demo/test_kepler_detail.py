"""What new Kepler shows beyond nodes and pods: containers, processes, guests, psys, GPUs, the whole machine."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.meters import GpuSpec, KeplerMeter, Meters
from pipeline.demo.nodes import REGISTER_JOULES
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]
Lone = Callable[..., Fleet]

LEVELS = ("node", "pod", "container", "process", "vm")
TOLERANCE = 3e-6


def one(found: list[Series]) -> Series:
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def fleet(lone: Lone) -> Fleet:
    meter = KeplerMeter(zones=("package", "dram", "psys"), levels=LEVELS, platform=True)
    return lone(
        Meters(kepler=meter), sockets=2, platform_shares=(0.25,), guests=(1,), kepler_restarts=1, late_name_ratio=0.5,
        dram_resets=1, crash_loops=1,
    )  # fmt: skip


def at_scrape(found: list[Series], stamp: int) -> float:
    total = 0.0
    for series in found:
        total += float(series.values[series.stamps_ms == stamp].sum())
    return total


def test_processes_of_the_host_have_no_container_and_are_the_measured_system(fleet: Fleet, series_of: SeriesOf) -> None:
    host = series_of(fleet, 'kepler_process_cpu_joules_total{container_id="",vm_id="",zone="package",state="running"}')
    assert {series.labels["type"] for series in host} == {"regular"}
    assert "kubelet" in {series.labels["comm"] for series in host}
    active = one(series_of(fleet, 'kepler_node_cpu_active_joules_total{zone="package"}'))
    start = fleet.nodes[0].kepler_runs_ms[0][0]
    stamp = int(active.stamps_ms[20])
    curve = fleet.nodes[0].system["package"]
    system = float(np.diff(curve.energy_joules(np.array([start, stamp - fleet.spec.start_ms])))[0])
    assert at_scrape(host, stamp) == pytest.approx(system, rel=1e-9)


def test_all_processes_together_gain_what_the_node_is_active_but_for_the_unseen_ends(
    fleet: Fleet, series_of: SeriesOf
) -> None:
    active = one(series_of(fleet, 'kepler_node_cpu_active_joules_total{zone="package"}'))
    gains: defaultdict[int, float] = defaultdict(float)
    row = {int(stamp): index for index, stamp in enumerate(active.stamps_ms)}
    for series in series_of(fleet, 'kepler_process_cpu_joules_total{zone="package",state="running"}'):
        rows = np.array([row[int(stamp)] for stamp in series.stamps_ms])
        steps = np.diff(series.values)
        joined = (np.diff(rows) == 1) & (steps >= 0)
        for index, step in zip(rows[1:][joined], steps[joined], strict=True):
            gains[int(index)] += float(step)
    steps = np.diff(active.values)
    ratios = np.array([gains[i + 1] / step for i, step in enumerate(steps) if step > 0])
    assert ratios.max() <= 1 + 1e-6
    assert np.median(ratios) > 0.98


def test_containers_know_only_the_uid_of_their_pod_and_that_late(fleet: Fleet, series_of: SeriesOf) -> None:
    found = series_of(fleet, 'kepler_container_cpu_joules_total{zone="package"}')
    pods = {pod.uid: pod for pod in fleet.pods}
    named = [series for series in found if "pod_id" in series.labels]
    nameless = [series for series in found if "pod_id" not in series.labels]
    for series in named:
        assert series.labels["container_name"] in (pods[series.labels["pod_id"]].owner.name, "sidecar")
        assert not {"pod_name", "pod_namespace", "namespace"} & set(series.labels)
    assert nameless
    assert all("container_name" not in series.labels for series in nameless)
    ids = {series.labels["container_id"] for series in named}
    assert {series.labels["container_id"] for series in nameless} & ids
    assert {series.labels["state"] for series in found} == {"running", "terminated"}


def test_containers_of_a_pod_add_up_to_it_at_every_scrape(fleet: Fleet, series_of: SeriesOf) -> None:
    compared = 0
    for pod in [pod for pod in fleet.pods if len(pod.runs_ms) == 1][:8]:
        where = f'{{pod_id="{pod.uid}",zone="psys",state="running"}}'
        whole = series_of(fleet, f"kepler_pod_cpu_joules_total{where}")
        parts = series_of(fleet, f"kepler_container_cpu_joules_total{where}")
        for stamp in {int(s) for series in parts for s in series.stamps_ms[::17]}:
            expected = at_scrape(whole, stamp)
            assert at_scrape(parts, stamp) == pytest.approx(expected, rel=1e-9, abs=TOLERANCE)
            compared += expected > 0
    assert compared > 50


def test_a_guest_is_a_process_and_a_virtual_machine(fleet: Fleet, series_of: SeriesOf) -> None:
    (guest,) = fleet.nodes[0].guests
    vm = one(series_of(fleet, 'kepler_vm_cpu_joules_total{zone="dram"}'))
    process = one(series_of(fleet, f'kepler_process_cpu_joules_total{{zone="dram",vm_id="{guest.vm_id}"}}'))
    assert vm.values == pytest.approx(process.values, abs=TOLERANCE)
    assert (vm.labels["vm_name"], process.labels["type"]) == (guest.name, "vm")


def test_psys_is_one_register_of_more_than_package_and_dram(fleet: Fleet, series_of: SeriesOf) -> None:
    raw = one(series_of(fleet, 'kepler_node_cpu_joules_total{zone="psys"}'))
    assert raw.labels["path"] == "/host/sys/class/powercap/intel-rapl:1"
    at = raw.stamps_ms - fleet.spec.start_ms
    curves = [fleet.active["node-1"], fleet.nodes[0].idle]
    used = {z: sum(np.diff(c[z].energy_joules(at[[0, -1]]))[0] for c in curves) for z in ("package", "dram", "psys")}
    assert float((np.diff(raw.values) % REGISTER_JOULES["psys"]).sum()) == pytest.approx(used["psys"], rel=1e-6)
    assert used["psys"] == pytest.approx(1.25 * (used["package"] + used["dram"]), rel=1e-9)


def test_a_host_may_have_psys_alone_and_no_name(lone: Lone, series_of: SeriesOf) -> None:
    meter = KeplerMeter(zones=("psys",), levels=LEVELS, named=False, platform=True)
    fleet = lone(Meters(kepler=meter), platform_shares=(0.3,))
    found = series_of(fleet, '{job="kepler"}')
    assert {series.labels["zone"] for series in found if "zone" in series.labels} == {"psys"}
    assert all("node_name" not in series.labels for series in found)
    assert series_of(fleet, 'kepler_pod_cpu_joules_total{state="terminated"}')


def test_platform_watts_are_those_of_the_whole_machine(fleet: Fleet, series_of: SeriesOf) -> None:
    watts = one(series_of(fleet, "kepler_platform_watts"))
    assert watts.labels["source"] == "redfish"
    hour = (watts.stamps_ms >= fleet.spec.start_ms) & (watts.stamps_ms < fleet.spec.start_ms + 3 * 3_600_000)
    truth = fleet.truth_platforms.to_pandas()["energy_joules"].sum()
    # gauges know five of every thirty seconds, and nothing while Kepler restarts
    assert watts.values[hour].mean() * 3 * 3600 == pytest.approx(truth, rel=0.02)


@pytest.fixture(scope="module")
def gpu_fleet(lone: Lone) -> Fleet:
    boards = (GpuSpec("exclusive", driver_reloads=1), GpuSpec("mig"), GpuSpec("shared"))
    return lone(Meters(kepler=KeplerMeter(gpu=True)), boards, kepler_restarts=1)


def test_a_gpus_total_is_since_the_driver_and_never_active_and_idle(gpu_fleet: Fleet, series_of: SeriesOf) -> None:
    for gpu in gpu_fleet.nodes[0].gpus:
        where = f'{{gpu_uuid="{gpu.uuid}"}}'
        total, active, idle = (
            one(series_of(gpu_fleet, f"kepler_node_gpu_{kind}joules_total{where}")) for kind in ("", "active_", "idle_")
        )
        assert (np.abs(total.values - active.values - idle.values) > 1000).all()
        steps = np.diff(total.values)
        assert (steps < 0).sum() == len(gpu.reloads_ms)
        at = total.stamps_ms - gpu_fleet.spec.start_ms
        joined = steps >= 0
        assert steps[joined] == pytest.approx(np.diff(gpu.board.energy_joules(at))[joined], abs=TOLERANCE)
        assert (np.diff(active.values) < 0).sum() == 1
        assert set(total.labels) >= {"gpu", "gpu_name", "vendor", "node_name"}


def test_gpu_counters_of_pods_have_no_gpu_lose_ended_processes_and_hide_zeros(
    gpu_fleet: Fleet, series_of: SeriesOf
) -> None:
    found = series_of(gpu_fleet, "kepler_pod_gpu_joules_total")
    kepler = {start for start, _ in gpu_fleet.nodes[0].kepler_runs_ms}
    drops = 0
    for series in found:
        assert not {"gpu", "gpu_uuid", "zone"} & set(series.labels)
        assert (series.values > 0).all()
        pod = next(pod for pod in gpu_fleet.pods if pod.uid == series.labels["pod_id"])
        middle = sum(pod.runs_ms[0]) // 2 + gpu_fleet.spec.start_ms
        for row in np.flatnonzero(np.diff(series.values) < 0):
            left, right = series.stamps_ms[row], series.stamps_ms[row + 1]
            restarted = any(left < start + gpu_fleet.spec.start_ms <= right for start in kepler)
            assert restarted or left < middle <= right
            drops += not restarted
    assert drops > 3
    assert len(found) > 10


def test_a_bmc_shows_the_mean_between_its_last_two_looks_and_what_the_supplies_lose(
    lone: Lone, series_of: SeriesOf
) -> None:
    plain, lossy = (
        lone(Meters(kepler=KeplerMeter(platform=True, bmc_seconds=45, psu_loss=loss))) for loss in (0.0, 0.06)
    )
    joules = [fleet.truth_platforms.to_pandas()["energy_joules"].sum() for fleet in (plain, lossy)]
    assert joules[0] / joules[1] == pytest.approx(0.94, rel=1e-9)
    watts = one(series_of(lossy, "kepler_platform_watts"))
    looked = (watts.stamps_ms - lossy.spec.start_ms) // 45_000
    assert (watts.values[1:][np.diff(looked) == 0] == watts.values[:-1][np.diff(looked) == 0]).all(), (
        "stale until it looks"
    )
    assert (np.diff(looked) == 0).sum() > 20
    inside = (looked > 0) & (looked <= 3600 * lossy.spec.hours // 45)
    _, first = np.unique(looked[inside], return_index=True)
    seen = watts.values[inside][first].sum() * 45
    assert seen == pytest.approx(joules[1], rel=0.02)
