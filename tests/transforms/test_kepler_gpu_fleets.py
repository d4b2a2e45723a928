"""Kepler's GPU boards, simulated: against their joules and against a plain loop."""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from pipeline.demo.fleet import Fleet, FleetSpec, simulate
from pipeline.demo.meters import GpuSpec, KeplerMeter, LegacyMeter, Meters
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Transport
from pipeline.sources.meters import kepler_gpus as source
from pipeline.transforms.energy import join
from pipeline.window import HOUR, Window
from tests.transforms.made import (
    START,
    differences,
    line,
    where,
)
from tests.transforms.made_kepler_gpus import AT, GAP_MS, Made, folded


def fleet_of(meters: Meters, trouble: dict[str, Any] | None = None, *, mig: bool = True) -> Fleet:
    boards = (GpuSpec("exclusive", driver_reloads=1), GpuSpec("mig"), GpuSpec("shared"))
    chosen = boards if mig else (boards[0], boards[2])
    spec: dict[str, Any] = {"sockets": (1,), "pods_per_node": 2, "gpus": (chosen,), "meters": (meters,)} | (
        trouble or {}
    )
    return simulate(FleetSpec(5, START, 3, **spec))


NEW = Meters(kepler=KeplerMeter(gpu=True))
OLD = Meters(legacy=LegacyMeter(gpu=True))
TROUBLE: dict[str, Any] = {"kepler_restarts": 2, "missed_scrape_ratio": 0.02}


def truth(fleet: Fleet) -> dict[object, tuple[float, float]]:
    """Active and idle joules by hour, board by board."""
    found: dict[object, tuple[float, float]] = {}
    for row in fleet.truth_gpus.to_pylist():
        active, idle = found.get(row["hour_utc"], (0.0, 0.0))
        found[row["hour_utc"]] = active + row["active_joules"], idle + row["idle_joules"]
    return found


def computed(fleet: Fleet, key: str) -> dict[tuple[object, object], float]:
    """What pods computed by hour and `key`."""
    found: dict[tuple[object, object], float] = defaultdict(float)
    for row in fleet.truth_gpu_holders.to_pylist():
        if row["pod_uid"] is not None:
            found[row["hour_utc"], row[key]] += row["active_joules"]
    return dict(found)


@pytest.mark.parametrize(
    ("meters", "trouble", "tolerance"),
    [(NEW, {}, 0.002), (NEW, TROUBLE, 0.005), (OLD, {}, 0.001)],
    ids=["new", "new in trouble", "old"],
)
def test_simulated_boards_are_within_half_a_percent_of_their_joules(
    meters: Meters, trouble: dict[str, Any], tolerance: float
) -> None:
    fleet = fleet_of(meters, trouble)
    energy = folded(FleetTransport(fleet), fleet.spec.window, 5, legacy=meters is OLD)
    real = truth(fleet)
    assert energy.nodes.num_rows == len(real) == 3
    for row in energy.nodes.to_pylist():
        active, idle = real[row["hour_utc"]]
        assert row["metered_joules"] == pytest.approx(active + idle, rel=tolerance)
        if not trouble:
            assert row["idle_joules"] == pytest.approx(idle, rel=0.005)


@pytest.mark.parametrize("meters", [NEW, OLD], ids=["new", "old"])
@pytest.mark.parametrize("trouble", [{}, TROUBLE], ids=["calm", "in trouble"])
def test_what_is_booked_adds_up_in_every_step(meters: Meters, trouble: dict[str, Any]) -> None:
    fleet = fleet_of(meters, trouble)
    energy = folded(FleetTransport(fleet), fleet.spec.window, 5, legacy=meters is OLD)
    for row in energy.nodes.to_pylist():
        parts = [row[f"{part}_joules"] for part in ("workload", "system", "idle")]
        assert sum(parts) == pytest.approx(row["metered_joules"], rel=1e-9)
        rows = where(energy.rows, hour_utc=row["hour_utc"])
        assert sum(one["energy_joules"] for one in rows) == pytest.approx(row["metered_joules"], rel=1e-9)
        assert (row["check"], row["residual_joules"]) == (None, None)


@pytest.mark.parametrize(("meters", "least"), [(NEW, 0.95), (OLD, 0.97)], ids=["new", "old"])
def test_pods_get_what_they_computed_and_never_more(meters: Meters, least: float) -> None:
    """What is missing are tails after a last scrape and, by new Kepler, the moments in which a process exits."""
    fleet = fleet_of(meters, mig=False)
    energy = folded(FleetTransport(fleet), fleet.spec.window, legacy=meters is OLD)
    key = "pod" if meters is OLD else "pod_uid"
    real, rows = computed(fleet, key), where(energy.rows, kind="workload")
    # an hour's edge and a driver's new start are shared out evenly within their interval: 30 s of 300 W
    for row in rows:
        assert row["energy_joules"] <= real[row["hour_utc"], row[key]] + 9_000
    got, used = sum(row["energy_joules"] for row in rows), sum(real.values())
    assert least * used < got <= used * 1.001
    assert len(rows) >= len([joules for joules in real.values() if joules > 9_000])


@pytest.mark.parametrize("meters", [NEW, OLD], ids=["new", "old"])
def test_hour_by_hour_is_the_same_as_all_at_once(meters: Meters) -> None:
    fleet = fleet_of(meters, TROUBLE)
    transport, window = FleetTransport(fleet), fleet.spec.window
    whole = folded(transport, window, 15, legacy=meters is OLD)
    hours = [folded(transport, Window(h, h + HOUR), 15, legacy=meters is OLD) for h in window.hours()]
    assert differences(whole, join(hours)) == []


def test_idle_is_null_where_old_kepler_does_not_show_it() -> None:
    fleet = fleet_of(Meters(legacy=LegacyMeter(gpu=True, gpu_idle=False)))
    energy = folded(FleetTransport(fleet), fleet.spec.window, legacy=True)
    real = truth(fleet)
    for row in energy.nodes.to_pylist():
        assert row["idle_joules"] is None
        assert row["metered_joules"] == pytest.approx(real[row["hour_utc"]][0], rel=0.002)
    assert not where(energy.rows, kind="idle")


def test_the_fold_is_a_plain_loop_over_scrapes() -> None:
    """An independent reading of new Kepler's rules: series by series, scrape by scrape, without arrays."""
    fleet = fleet_of(NEW, {"kepler_restarts": 2})
    window = fleet.spec.window
    transport = FleetTransport(fleet)
    looped, energy = looped_pods(transport, window), folded(transport, window)
    rows = {(row["hour_utc"], row["pod_uid"]): row["energy_joules"] for row in where(energy.rows, kind="workload")}
    assert set(rows) == {key for key, joules in looped.items() if joules > 0}
    for key, joules in rows.items():
        assert joules == pytest.approx(looped[key], rel=1e-6, abs=1e-3)


Values = dict[str, dict[int, float]]  # of each counter by stamp


def looped_pods(transport: Transport, window: Window) -> dict[tuple[object, str], float]:
    """Joules by hour and pod."""
    boards = [every(transport, metric, "gpu_uuid") for metric in (source.TOTAL, source.ACTIVE, source.IDLE)]
    pods = every(transport, source.PODS, "pod_id")
    stamps = sorted({stamp for board in boards[0].values() for stamp in board})
    found: dict[tuple[object, str], float] = defaultdict(float)
    for left, right in pairwise(stamps):
        restarted = any(c[board][right] < c[board][left] for c in boards[1:] for board in c)
        used, joules = looped_boards(boards, left, right, restarted=restarted)
        for pod, gain in looped_gains(pods, left, right, used, restarted=restarted).items():
            for hour in window.hours():
                edges = Window(hour, hour + HOUR)
                share = max(0, min(right, edges.end_ms) - max(left, edges.start_ms)) / (right - left)
                if gain > 0 and share > 0:
                    found[hour, pod] += gain * joules / used * share
    return found


def every(transport: Transport, metric: str, label: str) -> Values:
    found: Values = defaultdict(dict)
    for block in transport.blocks(metric, 0, 2**62):
        for index, labels in enumerate(block.labels.to_pylist()):
            own = slice(block.offsets[index], block.offsets[index + 1])
            found[labels[label]].update(zip(block.stamps_ms[own].tolist(), block.values[own].tolist(), strict=True))
    return found


def looped_boards(boards: list[Values], left: int, right: int, *, restarted: bool) -> tuple[float, float]:
    """What was used between two scrapes, by Kepler's split and by the boards."""
    total, active, idle = boards
    used = joules = 0.0
    for board, values in total.items():
        rise = values[right] - values[left]
        if rise < 0:  # a new driver: what it counted since, or what the board drew before
            rise = max(values[right], (right - left) / 1000 * watts_before(values, left, right))
        own, rest = (c[board][right] - (0.0 if restarted else c[board][left]) for c in (active, idle))
        used += own
        joules += min(own, rise) if restarted else rise * own / (own + rest)
    return used, joules


def watts_before(values: dict[int, float], left: int, right: int) -> float:
    """Mean power of a board over its steady intervals in the `max_gap` before `right`."""
    near = [(a, b) for a, b in pairwise(sorted(values)) if a >= right - GAP_MS and b <= left and values[b] >= values[a]]
    return sum(values[b] - values[a] for a, b in near) / sum(b - a for a, b in near) * 1000


def looped_gains(pods: Values, left: int, right: int, used: float, *, restarted: bool) -> dict[str, float]:
    """What each pod shown at `right` used since `left`, on the scale of the split."""
    steady, born = {}, {}
    for pod, values in pods.items():
        if right not in values:
            continue
        last = max((stamp for stamp in values if right - GAP_MS <= stamp < right), default=None)
        before = 0.0 if last is None else values[last]
        if left in values:
            steady[pod] = values[right] if restarted else max(values[right] - before, 0.0)
        else:
            born[pod] = values[right] - (before if values[right] >= before and not restarted else 0.0)
    room = used - sum(steady.values()) + 1e-6 * used
    born = {pod: gain for pod, gain in born.items() if gain <= room}
    return steady | (born if sum(born.values()) <= room else {})


def test_a_step_of_five_minutes_holds_what_was_used_in_it() -> None:
    energy = Made().steady().pod(line(150, AT, 900)).hour(5)
    steps = np.array([row["step_joules"] for row in where(energy.rows, kind="workload")])
    assert steps.shape == (1, 12)
    assert steps == pytest.approx(np.full((1, 12), 45_000.0))
