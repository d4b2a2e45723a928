"""Every trap of Kepler 0.5 to 0.9 is in the simulated series."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.meters import GpuSpec, LegacyMeter, Meters
from pipeline.demo.power import PowerCurve
from pipeline.demo.registers import Registers
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]
Lone = Callable[..., Fleet]
Looped = Callable[[PowerCurve, float, float], float]

ZONES = ("package", "dram")
MILLI = 1.1e-3


def physical(fleet: Fleet, zone: str, mode: str, stamps: np.ndarray) -> float:
    curve = fleet.active["node-1"][zone] if mode == "dynamic" else fleet.nodes[0].idle[zone]
    used = curve.energy_joules(stamps[[0, -1]] - fleet.spec.start_ms)
    return float(used[1] - used[0])


def by_container(series: list[Series]) -> dict[str, Series]:
    return {one.labels["container_id"]: one for one in series}


def test_labels_are_those_of_the_version(lone: Lone, series_of: SeriesOf) -> None:
    energy = {"__name__", "container_id", "container_name", "container_namespace", "pod_name", "mode"}
    target = {"instance", "job", "namespace", "pod", "container"}
    for version, more in (("0.5.5", {"command"}), ("0.7.2", set()), ("0.7.12", {"source"})):
        fleet = lone(Meters(legacy=LegacyMeter(version=version)))
        (total,) = series_of(fleet, 'kepler_container_joules_total{pod_name=~"node-agent.*",mode="dynamic"}')
        (package,) = series_of(fleet, 'kepler_container_package_joules_total{pod_name=~"node-agent.*",mode="dynamic"}')
        assert set(package.labels) == energy | target | more
        assert set(total.labels) == energy | target | (more - {"source"})
        assert total.labels["namespace"] == "kepler"
        assert total.labels["container_namespace"] == "monitoring"
        (build,) = series_of(fleet, "kepler_exporter_build_info")
        assert build.labels["version"] == f"v{version}"
    assert not series_of(lone(Meters(legacy=LegacyMeter(build_info=False))), "kepler_exporter_build_info")


def test_the_nodes_own_instance_is_moved_aside_unless_labels_are_honored(lone: Lone, series_of: SeriesOf) -> None:
    (moved,) = series_of(lone(Meters(legacy=LegacyMeter())), 'kepler_node_dram_joules_total{mode="idle"}')
    assert (moved.labels["instance"], moved.labels["exported_instance"]) == ("10.0.0.11:9102", "node-1")
    honored = lone(Meters(legacy=LegacyMeter(honor_labels=True)))
    (kept,) = series_of(honored, 'kepler_node_dram_joules_total{mode="idle"}')
    assert kept.labels["instance"] == "node-1"
    assert "exported_instance" not in kept.labels


@pytest.mark.parametrize("mode", ["dynamic", "idle"])
@pytest.mark.parametrize("zone", ZONES)
def test_sockets_and_containers_each_add_up_to_the_node(mode: str, zone: str, lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(legacy=LegacyMeter()), sockets=2)
    sockets = series_of(fleet, f'kepler_node_{zone}_joules_total{{mode="{mode}"}}')
    assert [one.labels["package"] for one in sockets] == ["0", "1"]
    used = sum(one.values[-1] - one.values[0] for one in sockets)
    whole = physical(fleet, zone, mode, sockets[0].stamps_ms)
    assert used == pytest.approx(whole, abs=4e-3)
    found = by_container(series_of(fleet, f'kepler_container_{zone}_joules_total{{mode="{mode}"}}'))
    first = sockets[0].stamps_ms[0]
    shown = sum(float(s.values[-1] - (s.values[0] if s.stamps_ms[0] == first else 0.0)) for s in found.values())
    # what is missing is what ended containers used after their last scrape, and those never scraped
    assert 0.97 * whole < shown <= whole + 0.1
    assert {"system_processes", "kernel_processes"} < set(found)
    assert found["system_processes"].labels["container_namespace"] == "system"


def test_a_container_counts_from_its_own_start_and_again_with_every_kepler(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(legacy=LegacyMeter()), kepler_restarts=2, crash_loops=1)
    found = by_container(series_of(fleet, 'kepler_container_package_joules_total{mode="dynamic"}'))
    starts = np.array([start for start, _ in fleet.nodes[0].kepler_runs_ms])
    resets = 0
    for one in fleet.containers["node-1"]:
        if one.container_id not in found:
            continue
        series = found[one.container_id]
        at = series.stamps_ms - fleet.spec.start_ms
        kepler = starts[np.searchsorted(starts, at, side="right") - 1]
        begun = np.maximum(kepler, one.span_ms[0])
        curve = one.curve("package")
        assert series.values == pytest.approx(curve.energy_joules(at) - curve.energy_joules(begun), abs=MILLI)
        resets += int((np.diff(series.values) < 0).sum())
    assert resets >= 8
    looping = next(pod for pod in fleet.pods if len(pod.runs_ms) > 3)
    ids = {s.labels["container_id"] for s in found.values() if s.labels["pod_name"] == looping.name}
    assert len(ids) >= 3


@pytest.mark.parametrize(
    ("version", "unit", "decimals"), [("0.7.2", 1, 3), ("0.7.3", 1000, 0), ("0.7.8", 1, 0), ("0.7.12", 1, 3)]
)
def test_totals_are_in_the_unit_of_their_release(
    version: str, unit: int, decimals: int, lone: Lone, series_of: SeriesOf
) -> None:
    fleet = lone(Meters(legacy=LegacyMeter(version=version)))
    totals = by_container(series_of(fleet, 'kepler_container_joules_total{mode="dynamic"}'))
    parts = [by_container(series_of(fleet, f'kepler_container_{z}_joules_total{{mode="dynamic"}}')) for z in ZONES]
    for name, total in totals.items():
        joules = parts[0][name].values + parts[1][name].values
        step = 10.0**-decimals
        assert np.abs(total.values - joules * unit).max() <= step + 2 * unit * MILLI
        assert total.values == pytest.approx(np.round(total.values, decimals), abs=1e-9)
    source = parts[0]["system_processes"].labels.get("source")
    assert source == {"0.7.2": None, "0.7.12": "rapl-sysfs"}.get(version, "intel_rapl")


@pytest.mark.parametrize(("version", "count"), [("0.7.2", 0), ("0.7.12", 6)])
def test_without_idle_only_the_total_keeps_an_idle_series_of_zeros(
    version: str, count: int, lone: Lone, series_of: SeriesOf
) -> None:
    fleet = lone(Meters(legacy=LegacyMeter(version=version, idle=False)))
    assert not series_of(fleet, 'kepler_container_package_joules_total{mode="idle"}')
    totals = series_of(fleet, 'kepler_container_joules_total{mode="idle"}')
    assert min(len(totals), 6) == count
    assert all((one.values == 0).all() for one in totals)


def test_skipped_wraps_lose_three_seconds_of_the_wrapping_socket(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(legacy=LegacyMeter(skips_wraps=True)), sockets=2)
    node = fleet.nodes[0]
    registers = Registers(node, fleet.active["node-1"])
    lost = expected = 0.0
    for mode in ("dynamic", "idle"):
        curve = fleet.active["node-1"]["package"] if mode == "dynamic" else node.idle["package"]
        for number, one in enumerate(series_of(fleet, f'kepler_node_package_joules_total{{mode="{mode}"}}')):
            share = node.socket_shares[number]
            lost += share * physical(fleet, "package", mode, one.stamps_ms) - float(one.values[-1] - one.values[0])
            at = one.stamps_ms - fleet.spec.start_ms
            register = registers.joules("package", np.arange(at[0] // 3000 * 3000, at[-1], 3000))[number]
            for row in np.flatnonzero(np.diff(register) < 0):
                sample = at[0] // 3000 * 3000 + 3000 * (row + np.array([0, 1]))
                expected += share * float(np.diff(curve.energy_joules(sample))[0])
    assert expected > 100
    assert lost == pytest.approx(expected, abs=0.1)


@pytest.fixture(scope="module")
def on_gpus(lone: Lone) -> Fleet:
    boards = (GpuSpec("exclusive", driver_reloads=1), GpuSpec("shared"))
    return lone(Meters(legacy=LegacyMeter(gpu=True)), boards, kepler_restarts=1)


@pytest.mark.parametrize("mode", ["dynamic", "idle"])
def test_boards_count_both_modes_from_keplers_start_and_not_the_drivers(
    mode: str, on_gpus: Fleet, series_of: SeriesOf, looped_joules: Looped
) -> None:
    found = series_of(on_gpus, f'kepler_node_gpu_joules_total{{mode="{mode}"}}')
    assert [one.labels["package"] for one in found] == ["0", "1"]
    starts = [start for start, _ in on_gpus.nodes[0].kepler_runs_ms]
    for gpu, one in zip(on_gpus.nodes[0].gpus, found, strict=True):
        assert (np.diff(one.values) < 0).sum() == 1
        last = int(one.stamps_ms[-1]) - on_gpus.spec.start_ms
        curve = gpu.active if mode == "dynamic" else gpu.idle
        assert one.values[-1] == pytest.approx(looped_joules(curve, starts[-1], last), abs=2e-3)
        assert not {"gpu", "gpu_uuid", "gpu_name"} & set(one.labels)


def test_a_holders_main_container_computes_and_all_others_show_zero(on_gpus: Fleet, series_of: SeriesOf) -> None:
    found = by_container(series_of(on_gpus, 'kepler_container_gpu_joules_total{mode="dynamic"}'))
    holders = {holding.pod.name for gpu in on_gpus.nodes[0].gpus for holding in gpu.holdings}
    assert {"system_processes", "kernel_processes"} < set(found)
    used = {(one.labels["pod_name"], one.labels["container_name"]) for one in found.values() if one.values.max() > 0}
    assert used
    assert {pod for pod, _ in used} <= holders
    assert "sidecar" not in {container for _, container in used}


def test_the_total_of_a_container_holds_its_gpus(on_gpus: Fleet, series_of: SeriesOf) -> None:
    total, *parts = (
        by_container(series_of(on_gpus, f'kepler_container_{name}joules_total{{mode="dynamic"}}'))
        for name in ("", "package_", "dram_", "gpu_")
    )
    for container, whole in total.items():
        assert whole.values == pytest.approx(sum(part[container].values for part in parts), abs=4e-3)


def test_devices_had_another_label_before_0_7_3_and_idle_may_be_hidden(lone: Lone, series_of: SeriesOf) -> None:
    old = lone(Meters(legacy=LegacyMeter("0.6.1", gpu=True, gpu_idle=False)), (GpuSpec(),))
    (one,) = series_of(old, "kepler_node_gpu_joules_total")
    assert (one.labels["index"], one.labels["mode"]) == ("0", "dynamic")
    assert "package" not in one.labels
    assert not series_of(lone(Meters(legacy=LegacyMeter()), (GpuSpec(),)), "kepler_node_gpu_joules_total")
