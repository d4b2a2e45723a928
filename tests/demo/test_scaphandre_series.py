"""Every trap of Scaphandre is in the simulated series."""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.meters import Meters, ScaphandreMeter
from pipeline.demo.nodes import REGISTER_JOULES
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]
Lone = Callable[..., Fleet]

MICRO = 1e6
HOUR_MS = 3_600_000
PROCESS = "scaph_process_power_consumption_microwatts"


def used(fleet: Fleet, zones: tuple[str, ...], stamps: np.ndarray) -> float:
    curves = [curves[zone] for zone in zones for curves in (fleet.active["node-1"], fleet.nodes[0].idle)]
    at = stamps[[0, -1]] - fleet.spec.start_ms
    return sum(float(np.diff(curve.energy_joules(at))[0]) for curve in curves)


def one(found: list[Series]) -> Series:
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def fleet(lone: Lone) -> Fleet:
    return lone(Meters(scaphandre=ScaphandreMeter()), sockets=2)


def test_sockets_and_dram_domains_hold_the_truth_modulo_their_ranges(fleet: Fleet, series_of: SeriesOf) -> None:
    sockets = series_of(fleet, "scaph_socket_energy_microjoules")
    drams = series_of(fleet, 'scaph_domain_energy_microjoules{domain_name="dram"}')
    total = 0.0
    for found, zone in ((sockets, "package"), (drams, "dram")):
        assert [series.labels["socket_id"] for series in found] == ["0", "1"]
        steps = np.concatenate([np.diff(series.values) for series in found]) / MICRO
        total += float((steps % REGISTER_JOULES[zone]).sum())
        assert (steps < 0).any()
    assert total == pytest.approx(used(fleet, ("package", "dram"), sockets[0].stamps_ms), abs=1e-2)


def test_the_host_counter_is_a_sum_of_registers_whose_increase_is_fiction(fleet: Fleet, series_of: SeriesOf) -> None:
    host = one(series_of(fleet, "scaph_host_energy_microjoules"))
    steps = np.diff(host.values)
    assert (steps < 0).sum() >= 3
    naive = np.where(steps < 0, host.values[1:], steps).sum() / MICRO
    assert naive > 1.2 * used(fleet, ("package", "dram"), host.stamps_ms)


def test_what_counts_as_the_host_depends_on_the_version_and_on_psys(lone: Lone, series_of: SeriesOf) -> None:
    for version, share, zones in (
        ("0.5.0", 0.0, ("package",)),
        ("1.0.2", 0.0, ("package", "dram")),
        ("1.0.2", 0.3, ("psys",)),
    ):
        fleet = lone(Meters(scaphandre=ScaphandreMeter(version=version)), platform_shares=(share,))
        host = one(series_of(fleet, "scaph_host_energy_microjoules"))
        assert host.labels.get("value_source") == ("powercap_rapl_psys" if share else None)
        power = one(series_of(fleet, "scaph_host_power_microwatts"))
        rows = np.searchsorted(host.stamps_ms, power.stamps_ms)
        seconds = (host.stamps_ms[rows] - host.stamps_ms[rows - 1]) / 1000
        # the mean since the scrape before: the backward sum gives the energy of the scrapes that have it
        energy = float((power.values * seconds).sum()) / MICRO
        covered = seconds.sum() / ((host.stamps_ms[-1] - host.stamps_ms[0]) / 1000)
        assert energy == pytest.approx(covered * used(fleet, zones, host.stamps_ms), rel=0.01)
        process = series_of(fleet, PROCESS)[0]
        assert (process.values == np.floor(process.values)).all() == (version == "0.5.0")


def test_no_power_at_the_first_scrape_and_none_of_any_process_where_a_register_wrapped(
    fleet: Fleet, series_of: SeriesOf
) -> None:
    host = one(series_of(fleet, "scaph_host_energy_microjoules"))
    holes = {int(host.stamps_ms[0]), *host.stamps_ms[1:][np.diff(host.values) < 0].tolist()}
    shown = set(host.stamps_ms.tolist()) - holes
    assert len(holes) > 3
    assert set(one(series_of(fleet, "scaph_host_power_microwatts")).stamps_ms.tolist()) == shown
    kubelet = one(series_of(fleet, f'{PROCESS}{{exe="kubelet"}}'))
    assert set(kubelet.stamps_ms.tolist()) == shown
    assert all(set(series.stamps_ms.tolist()) <= shown for series in series_of(fleet, PROCESS))
    for socket in series_of(fleet, "scaph_socket_energy_microjoules"):
        where = f'scaph_socket_power_microwatts{{socket_id="{socket.labels["socket_id"]}"}}'
        power = one(series_of(fleet, where))
        assert (power.values == 0).tolist() == (np.diff(socket.values) < 0).tolist()


def test_a_process_shows_its_mean_power_since_the_scrape_before(fleet: Fleet, series_of: SeriesOf) -> None:
    scrapes = one(series_of(fleet, "scaph_host_energy_microjoules")).stamps_ms
    for process in fleet.processes["node-1"]:
        found = series_of(fleet, f'{PROCESS}{{pid="{process.pid}"}}')
        for series in found:
            rows = np.searchsorted(scrapes, series.stamps_ms)
            at, before = (scrapes[r] - fleet.spec.start_ms for r in (rows, rows - 1))
            assert (before >= process.span_ms[0]).all()
            joules = sum(
                c.energy_joules(at) - c.energy_joules(before) for c in map(process.zones.get, ("package", "dram")) if c
            )
            assert series.values * (at - before) / 1000 == pytest.approx(joules * MICRO, rel=1e-6, abs=10)


def test_the_labels_of_a_new_pod_come_late_and_continue_as_a_new_series(fleet: Fleet, series_of: SeriesOf) -> None:
    late = series_of(fleet, f'{PROCESS}{{container_id!="",kubernetes_pod_name=""}}')
    for series in late:
        container = next(c for c in fleet.containers["node-1"] if c.container_id == series.labels["container_id"])
        assert series.stamps_ms.max() < fleet.spec.start_ms + container.span_ms[0] + 20_000
    known = series_of(fleet, f'{PROCESS}{{kubernetes_pod_name!=""}}')
    assert {s.labels["kubernetes_pod_name"] for s in known} <= {pod.name for pod in fleet.pods}
    assert len(known) > 5
    assert all(s.labels["kubernetes_node_name"] == "node-1" for s in known)


def test_labels_are_missing_where_the_lookup_fails_or_containers_are_off(lone: Lone, series_of: SeriesOf) -> None:
    unknown = lone(Meters(scaphandre=ScaphandreMeter(kubernetes_labels=False)))
    assert not series_of(unknown, f'{PROCESS}{{kubernetes_pod_name!=""}}')
    assert series_of(unknown, f'{PROCESS}{{container_id!=""}}')
    off = lone(Meters(scaphandre=ScaphandreMeter(containers=False)))
    assert series_of(off, PROCESS)
    assert not series_of(off, f'{PROCESS}{{container_id!=""}}')


def test_a_second_scraper_freezes_every_value(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(scaphandre=ScaphandreMeter(frozen_hours=(1.0, 1.5))))
    begin, end = (fleet.spec.start_ms + round(h * HOUR_MS) for h in (1.0, 1.5))
    for metric in ("scaph_host_energy_microjoules", f'{PROCESS}{{exe="kubelet"}}'):
        series = one(series_of(fleet, metric))
        frozen = (series.stamps_ms >= begin) & (series.stamps_ms < end)
        assert frozen.sum() == 60
        assert len(set(series.values[frozen].tolist())) == 1
        assert len(set(series.values[~frozen].tolist())) > 200


@pytest.mark.parametrize(("ratio", "low", "high"), [(1.0, 0.3, 0.6), (0.01, 0.003, 0.006), (3.0, 1.05, 1.8)])
def test_processes_are_far_below_or_above_their_host_on_request(
    ratio: float, low: float, high: float, lone: Lone, series_of: SeriesOf
) -> None:
    fleet = lone(Meters(scaphandre=ScaphandreMeter(version="0.5.0", process_power_ratio=ratio)))
    host = one(series_of(fleet, "scaph_host_power_microwatts"))
    processes = sum(float(series.values.sum()) for series in series_of(fleet, PROCESS))
    assert low < processes / float(host.values.sum()) < high


def test_guests_are_named_on_the_host_and_read_a_fifth_within(lone: Lone, series_of: SeriesOf) -> None:
    fleet = lone(Meters(scaphandre=ScaphandreMeter(guest_energy_ratio=0.2)), guests=(2,))
    for guest in fleet.nodes[0].guests:
        host_side = one(series_of(fleet, f'{PROCESS}{{vmname="{guest.name}"}}'))
        assert host_side.labels["exe"] == "qemu-system-x86_64"
        inside = one(series_of(fleet, f'scaph_host_energy_microjoules{{instance="{guest.instance}"}}'))
        at = inside.stamps_ms - fleet.spec.start_ms
        true = sum(float(np.diff(curve.energy_joules(at[[0, -1]]))[0]) for curve in guest.zones.values())
        assert float(inside.values[-1] - inside.values[0]) / MICRO == pytest.approx(0.2 * true, rel=1e-6)
    unscraped = lone(Meters(scaphandre=ScaphandreMeter()), guests=(1,))
    assert len(series_of(unscraped, "scaph_host_energy_microjoules")) == 1
