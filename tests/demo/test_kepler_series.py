"""Every trap of Kepler's counters is in the simulated series."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, outages, restarting, simulate
from pipeline.demo.nodes import REGISTER_JOULES, Node
from pipeline.demo.power import PowerCurve
from pipeline.demo.series import Series

SeriesOf = Callable[[Fleet, str], list[Series]]
Looped = Callable[[PowerCurve, float, float], float]
RestartGaps = Callable[[Fleet, int], list[tuple[int, int, int]]]

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
PACKAGE_JOULES = 262143.328850
METER_TOLERANCE = 3e-6  # three roundings to a microjoule


def one(found: list[Series]) -> Series:
    assert len(found) == 1
    return found[0]


def used(fleet: Fleet, node: Node, zone: str, begin_ms: int, end_ms: int) -> float:
    """Physical joules of a node, active and idle."""
    curves = (fleet.active[node.name][zone], node.idle[zone])
    at = np.array([begin_ms, end_ms])
    return sum(float(np.diff(curve.energy_joules(at))[0]) for curve in curves)


def test_each_metric_has_keplers_labels(steady_fleet: Fleet, series_of: SeriesOf) -> None:
    target = {"__name__", "instance", "job"}
    pod = one(series_of(steady_fleet, 'kepler_pod_cpu_joules_total{pod_name=~"node-agent.*",zone="dram"}')[:1])
    assert set(pod.labels) == target | {
        "pod_id", "pod_name", "pod_namespace", "state", "zone", "node_name",
    }  # fmt: skip
    for metric in ("joules_total", "active_joules_total", "idle_joules_total", "watts"):
        for series in series_of(steady_fleet, f"kepler_node_cpu_{metric}"):
            assert set(series.labels) == target | {"node_name", "zone", "path"}
    info = series_of(steady_fleet, "kepler_node_cpu_info")[0]
    assert set(info.labels) == target | {"processor", "vendor_id", "model_name", "physical_id", "core_id"}
    sockets = {(s.labels["instance"], s.labels["physical_id"]) for s in series_of(steady_fleet, "kepler_node_cpu_info")}
    assert Counter(instance for instance, _ in sockets) == {"10.0.0.11:28282": 1, "10.0.0.12:28282": 2}


def test_paths_name_the_register_on_one_socket_and_the_aggregate_on_two(
    steady_fleet: Fleet, series_of: SeriesOf
) -> None:
    paths = {
        (s.labels["node_name"], s.labels["zone"]): s.labels["path"]
        for s in series_of(steady_fleet, "kepler_node_cpu_joules_total")
    }
    assert paths == {
        ("node-1", "package"): "/host/sys/class/powercap/intel-rapl:0",
        ("node-1", "dram"): "/host/sys/class/powercap/intel-rapl:0:0",
        ("node-2", "package"): "aggregated-package",
        ("node-2", "dram"): "aggregated-dram",
    }


def test_all_series_of_one_scrape_share_its_stamp_and_scrapes_jitter(steady_fleet: Fleet, series_of: SeriesOf) -> None:
    active = one(series_of(steady_fleet, 'kepler_node_cpu_active_joules_total{node_name="node-1",zone="dram"}'))
    for series in series_of(steady_fleet, '{instance="10.0.0.11:28282"}'):
        assert set(series.stamps_ms) <= set(active.stamps_ms)
    steps = np.diff(active.stamps_ms)
    assert steps.min() > 29_960
    assert steps.max() < 30_040
    assert len(np.unique(steps)) > 10
    offsets = {s.stamps_ms[0] % 30_000 for s in series_of(steady_fleet, "kepler_build_info")}
    assert len(offsets) == 2


@pytest.mark.parametrize("node", [0, 1])
@pytest.mark.parametrize("zone", ["package", "dram"])
def test_the_raw_counter_wraps_at_the_sum_of_the_registers_and_loses_nothing(
    node: int, zone: str, steady_fleet: Fleet, series_of: SeriesOf
) -> None:
    machine = steady_fleet.nodes[node]
    top = REGISTER_JOULES[zone] * machine.sockets
    raw = one(series_of(steady_fleet, f'kepler_node_cpu_joules_total{{node_name="{machine.name}",zone="{zone}"}}'))
    steps = np.diff(raw.values)
    if zone == "package":
        assert (steps < 0).any()
    stamps = raw.stamps_ms - steady_fleet.spec.start_ms
    unwrapped = float(np.sum(steps % top))
    assert unwrapped == pytest.approx(used(steady_fleet, machine, zone, stamps[0], stamps[-1]), abs=1e-3)
    assert raw.values.max() < top


def test_on_one_socket_the_raw_counter_does_not_notice_restarts(
    restarting_fleet: Fleet, series_of: SeriesOf, restart_gaps: RestartGaps
) -> None:
    node = restarting_fleet.nodes[0]
    raw = one(series_of(restarting_fleet, 'kepler_node_cpu_joules_total{node_name="node-1",zone="package"}'))
    gaps = restart_gaps(restarting_fleet, 0)
    assert len(gaps) >= 5
    for before, after, _ in gaps:
        step = (raw.values[after] - raw.values[before]) % PACKAGE_JOULES
        physical = used(restarting_fleet, node, "package", node.scrapes_ms[before], node.scrapes_ms[after])
        assert step == pytest.approx(physical, abs=1e-5)


def test_on_two_sockets_the_raw_counter_jumps_by_whole_ranges_at_some_restarts(
    restarting_fleet: Fleet, series_of: SeriesOf, restart_gaps: RestartGaps
) -> None:
    node = restarting_fleet.nodes[1]
    raw = one(series_of(restarting_fleet, 'kepler_node_cpu_joules_total{node_name="node-2",zone="package"}'))
    jumps = []
    for before, after, _ in restart_gaps(restarting_fleet, 1):
        physical = used(restarting_fleet, node, "package", node.scrapes_ms[before], node.scrapes_ms[after])
        ranges = (raw.values[after] - raw.values[before] - physical) / PACKAGE_JOULES
        assert ranges == pytest.approx(round(ranges), abs=1e-9)
        jumps.append(round(ranges))
    assert {1, -1} & set(jumps)
    assert len(set(jumps)) > 1


@pytest.mark.parametrize("number", [0, 1])
def test_active_starts_at_zero_and_idle_at_the_registers_with_every_kepler(
    number: int, restarting_fleet: Fleet, series_of: SeriesOf, restart_gaps: RestartGaps, looped_joules: Looped
) -> None:
    node = restarting_fleet.nodes[number]
    where = f'{{node_name="{node.name}",zone="package"}}'
    active = one(series_of(restarting_fleet, f"kepler_node_cpu_active_joules_total{where}"))
    idle = one(series_of(restarting_fleet, f"kepler_node_cpu_idle_joules_total{where}"))
    curve = restarting_fleet.active[node.name]["package"]
    for _, after, start in restart_gaps(restarting_fleet, number):
        stamp = int(node.scrapes_ms[after])
        assert active.values[after] == pytest.approx(looped_joules(curve, start, stamp), abs=METER_TOLERANCE)
        since = looped_joules(node.idle["package"], start, stamp)
        register = idle.values[after] - since
        assert 0 < register < PACKAGE_JOULES * node.sockets
        # the registers at that moment: the first ones and everything used since, socket by socket
        total = used(restarting_fleet, node, "package", 0, start)
        shares = zip(node.registers_joules["package"], node.socket_shares, strict=True)
        expected = sum((first + share * total) % PACKAGE_JOULES for first, share in shares)
        assert register == pytest.approx(expected, abs=1e-4)


def test_the_idle_counter_rises_at_some_restarts_and_drops_at_others(
    restarting_fleet: Fleet, series_of: SeriesOf, restart_gaps: RestartGaps
) -> None:
    steps = []
    for number, node in enumerate(restarting_fleet.nodes):
        for zone in ("package", "dram"):
            idle = one(
                series_of(
                    restarting_fleet, f'kepler_node_cpu_idle_joules_total{{node_name="{node.name}",zone="{zone}"}}'
                )
            )
            for before, after, _ in restart_gaps(restarting_fleet, number):
                steps.append(idle.values[after] - idle.values[before])
    assert min(steps) < 0
    assert max(steps) > 5_000  # far above what a minute of idling uses


def test_two_restarts_follow_each_other_closely(restarting_fleet: Fleet) -> None:
    for node in restarting_fleet.nodes:
        lives = [stop - start for start, stop in node.kepler_runs_ms[1:-1]]
        assert min(lives) < 90_000


def test_watts_are_the_mean_of_the_last_five_seconds(steady_fleet: Fleet, series_of: SeriesOf) -> None:
    node = steady_fleet.nodes[0]
    watts = one(series_of(steady_fleet, 'kepler_node_cpu_watts{node_name="node-1",zone="package"}'))
    for stamp, value in zip(watts.stamps_ms[:40], watts.values, strict=False):
        at = stamp - steady_fleet.spec.start_ms
        assert value == pytest.approx(used(steady_fleet, node, "package", at - 5000, at) / 5, abs=1e-6)


def test_a_pod_counts_from_its_birth_or_keplers(
    restarting_fleet: Fleet, series_of: SeriesOf, looped_joules: Looped
) -> None:
    pods = {pod.uid: pod for pod in restarting_fleet.pods}
    nodes = {node.name: node for node in restarting_fleet.nodes}
    found = series_of(restarting_fleet, 'kepler_pod_cpu_joules_total{zone="package",state="running"}')
    for series in found:
        pod, node = pods[series.labels["pod_id"]], nodes[series.labels["node_name"]]
        for stamp, value in list(zip(series.stamps_ms, series.values, strict=True))[::29]:
            at = int(stamp) - restarting_fleet.spec.start_ms
            kepler = max(start for start, _ in node.kepler_runs_ms if start <= at)
            first = max(kepler, pod.runs_ms[0][0])
            assert value == pytest.approx(looped_joules(pod.zones["package"], first, at), rel=1e-9, abs=METER_TOLERANCE)
    assert len(found) > 40


def test_a_job_is_shown_terminated_once_with_its_lifetime_total(churning_fleet: Fleet, series_of: SeriesOf) -> None:
    shown = {
        series.labels["pod_id"]: series
        for series in series_of(churning_fleet, 'kepler_pod_cpu_joules_total{state="terminated",zone="package"}')
    }
    scrapes = {node.name: node.scrapes_ms for node in churning_fleet.nodes}
    small = 0
    for pod in churning_fleet.pods:
        (begin, end) = pod.runs_ms[0]
        if begin < churning_fleet.spec.begin_ms or len(pod.runs_ms) > 1 or end >= scrapes[pod.node][-1]:
            continue
        total = float(pod.zones["package"].joules[-1])
        if total < 10:
            small += 1
            assert pod.uid not in shown
            continue
        series = shown[pod.uid]
        assert series.values == pytest.approx([total], abs=METER_TOLERANCE)
        after = scrapes[pod.node][scrapes[pod.node] >= end][0] + churning_fleet.spec.start_ms
        assert list(series.stamps_ms) == [after]
    assert len(shown) > 30
    assert small > 0


def test_no_terminated_sample_after_a_restart_in_between(series_of: SeriesOf) -> None:
    fleet = simulate(replace(restarting(seed=5, start=START, hours=2, nodes=2, pods_per_node=2), jobs_per_hour=400))
    shown = {s.labels["pod_id"] for s in series_of(fleet, 'kepler_pod_cpu_joules_total{state="terminated"}')}
    nodes = {node.name: node for node in fleet.nodes}
    forgotten = set()
    for pod in fleet.pods:
        end, node = pod.runs_ms[-1][1], nodes[pod.node]
        later = node.scrapes_ms[node.scrapes_ms >= end][:1]
        if [start for start, _ in node.kepler_runs_ms if end < start <= max(later, default=end)]:
            forgotten.add(pod.uid)
    assert len(forgotten) >= 3
    assert len(shown) > 500
    assert not forgotten & shown


def test_jobs_last_from_twenty_seconds_to_twenty_minutes_and_some_are_never_scraped(
    churning_fleet: Fleet, series_of: SeriesOf
) -> None:
    jobs = [p for p in churning_fleet.pods if p.namespace in ("batch", "analytics") and p.runs_ms[0][0] > 0]
    lengths = [end - begin for pod in jobs for begin, end in pod.runs_ms]
    assert min(lengths) < 30_000
    assert max(length for length in lengths if length <= 1_200_000) > 600_000
    running = {s.labels["pod_id"] for s in series_of(churning_fleet, 'kepler_pod_cpu_joules_total{state="running"}')}
    assert {p.uid for p in jobs} - running


def test_a_pod_in_a_crash_loop_ends_and_starts_from_zero_under_one_id(
    churning_fleet: Fleet, series_of: SeriesOf
) -> None:
    looping = [pod for pod in churning_fleet.pods if len(pod.runs_ms) > 3]
    assert len(looping) == 2
    for pod in looping:
        where = f'{{pod_id="{pod.uid}",zone="package",state="%s"}}'
        running = one(series_of(churning_fleet, "kepler_pod_cpu_joules_total" + where % "running"))
        ended = one(series_of(churning_fleet, "kepler_pod_cpu_joules_total" + where % "terminated"))
        assert (np.diff(running.values) < 0).sum() >= 2
        assert len(ended.values) >= 3
        assert ended.values.max() < float(pod.zones["package"].joules[-1]) / 2
        for (_, stop), (start, _) in pairwise(pod.runs_ms):
            assert 10_000 <= start - stop <= 300_000


def test_a_late_name_continues_the_counter_under_a_new_label_set(restarting_fleet: Fleet, series_of: SeriesOf) -> None:
    parts: defaultdict[str, dict[bool, Series]] = defaultdict(dict)
    for series in series_of(restarting_fleet, 'kepler_pod_cpu_joules_total{state="running",zone="package"}'):
        assert ("pod_name" in series.labels) == ("pod_namespace" in series.labels)
        parts[series.labels["pod_id"]]["pod_name" in series.labels] = series
    renamed = [part for part in parts.values() if len(part) == 2]
    assert len(renamed) >= 5
    continued = 0
    for part in renamed:
        nameless, named = part[False], part[True]
        assert not set(nameless.stamps_ms) & set(named.stamps_ms)
        for stamp, value in zip(nameless.stamps_ms, nameless.values, strict=True):
            later = np.searchsorted(named.stamps_ms, stamp)
            if later < len(named.stamps_ms) and named.stamps_ms[later] - stamp < 31_000:
                continued += named.values[later] > value
    assert continued >= 5


def test_dram_counters_fall_to_zero_in_mid_life_while_package_goes_on(
    restarting_fleet: Fleet, series_of: SeriesOf
) -> None:
    for node in restarting_fleet.nodes:
        assert len(node.dram_resets_ms) == 2
        for reset in node.dram_resets_ms:
            stamp = reset + restarting_fleet.spec.start_ms
            drops: dict[str, float] = {}
            for zone in ("package", "dram"):
                where = f'{{node_name="{node.name}",zone="{zone}",state="running",pod_name=~"node-agent.+"}}'
                pod = one(series_of(restarting_fleet, f"kepler_pod_cpu_joules_total{where}"))
                after = int(np.searchsorted(pod.stamps_ms, stamp))
                drops[zone] = pod.values[after] - pod.values[after - 1]
            assert drops["package"] > 0
            assert drops["dram"] < 0
            where = f'{{node_name="{node.name}",zone="dram"}}'
            active = one(series_of(restarting_fleet, f"kepler_node_cpu_active_joules_total{where}"))
            after = int(np.searchsorted(active.stamps_ms, stamp))
            assert active.values[after] >= active.values[after - 1]


def test_outages_leave_holes_of_a_node_and_of_all_targets(series_of: SeriesOf) -> None:
    fleet = simulate(outages(seed=2, start=START, hours=8, nodes=2, pods_per_node=2))
    stamps = [s.stamps_ms for s in series_of(fleet, "kepler_build_info")]
    cluster = one(series_of(fleet, 'kube_node_created{node="node-1"}')).stamps_ms
    holes = [[(int(a), int(b)) for a, b in pairwise(s) if b - a > 200_000] for s in (*stamps, cluster)]
    assert len(holes[2]) == 1
    down = holes[2][0]
    for own in holes[:2]:
        assert len(own) >= 2
        assert [h for h in own if h[0] <= down[0] + 61_000 and h[1] >= down[1] - 61_000]
    assert max(b - a for own in holes[:2] for a, b in own) > 600_000
    missed = sum(30_500 < b - a < 200_000 for s in stamps for a, b in pairwise(s))
    assert missed > 10
