"""Kepler's GPU boards: hand-worked hours, then simulated ones against their joules and against a plain loop."""

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
from pipeline.transforms.energy import Energy, book, join
from pipeline.transforms.gpu_quarantine import quarantine_gpus
from pipeline.transforms.gpus import CEILING_WATTS, FoldedGpus
from pipeline.transforms.kepler_gpus import fold_kepler_boards
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    NOBODY,
    START,
    Points,
    clock,
    differences,
    line,
    only,
    scrapes,
    unowned,
    where,
    window_of,
)
from tests.transforms.made_gpus import Boards

GAP_MS = MAX_GAP_SECONDS * 1000
AT = scrapes("09:50", "11:10")
HALF = clock("10:30")
BORN = 5e6  # NVML's counter began long ago


def gpus_of(transport: Transport, window: Window, *, legacy: bool = False) -> FoldedGpus:
    read = source.read_legacy if legacy else source.read
    counters = read(transport, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    assert counters is not None
    return fold_kepler_boards(*counters, GAP_MS, CEILING_WATTS)


def folded(transport: Transport, window: Window, step_minutes: int = 60, *, legacy: bool = False) -> Energy:
    rules = FoldRules("demo", GAP_MS, step_minutes)
    return book(gpus_of(transport, window, legacy=legacy).folded, window, rules, unowned(window), None)


class Made(Boards):
    """Boards and pods as new Kepler shows them, in joules."""

    def board(self, total: Points, active: Points = (), idle: Points = (), uuid: str = "GPU-a") -> "Made":
        for metric, points in ((source.TOTAL, total), (source.ACTIVE, active), (source.IDLE, idle)):
            if points:
                self.add(metric, points, node_name="n1", gpu_uuid=uuid)
        return self

    def steady(self, uuid: str = "GPU-a", scale: float = 1.0) -> "Made":
        """300 W, of them 200 W active; `scale`: how much more or less Kepler's own counters see."""
        return self.board(line(300, AT, BORN), line(200 * scale, AT), line(100 * scale, AT), uuid)

    def pod(self, points: Points, uid: str = "u1", name: str = "trainer") -> "Made":
        self.add(source.PODS, points, node_name="n1", pod_id=uid, pod_name=name, pod_namespace="llm", state="running")
        return self

    def hour(self, step_minutes: int = 60) -> Energy:
        return folded(self, window_of(0, 1), step_minutes)


def kinds(energy: Energy) -> dict[str, float]:
    """Joules by kind of the only node."""
    found: dict[str, float] = defaultdict(float)
    for row in energy.rows.to_pylist():
        assert row["component"] == "gpu"
        found[row["kind"]] += row["energy_joules"]
    return dict(found)


def node_row(energy: Energy) -> dict[str, Any]:
    return only(energy.nodes, component="gpu")


def after(points: Points, moment: float, drop: float) -> Points:
    """The counter less `drop` from `moment` on."""
    return [(second, value - drop * (second >= moment)) for second, value in points]


def test_the_boards_counter_is_what_was_used_and_the_split_and_pods_divide_it() -> None:
    energy = Made().steady().pod(line(150, AT, 900)).hour()
    assert kinds(energy) == pytest.approx({"workload": 540_000, "system": 180_000, "idle": 360_000})
    row = node_row(energy)
    assert row["metered_joules"] == pytest.approx(1_080_000)
    assert (row["coverage_ratio"], row["meter"], row["check"]) == (1.0, "kepler", None)
    assert row["cross_meter"] == "kepler_node_gpu_{active,idle}_joules_total"
    assert row["cross_ratio"] == pytest.approx(1.0)
    assert only(energy.rows, kind="workload")["pod_uid"] == "u1"
    assert only(energy.rows, kind="workload")["pod"] == "trainer"


def test_a_split_on_another_scale_divides_alike_and_shows_in_the_cross_ratio() -> None:
    """Kepler's watts are sampled every few seconds: what they sum up to is not what the board counted."""
    energy = Made().steady(scale=1.1).pod(line(165, AT, 900)).hour()
    assert kinds(energy) == pytest.approx({"workload": 540_000, "system": 180_000, "idle": 360_000})
    assert node_row(energy)["cross_ratio"] == pytest.approx(1.1)


def test_a_process_that_exits_takes_its_past_out_of_the_sum_and_nothing_is_invented() -> None:
    """The interval of the drop is hidden, 30 s x 150 W; all other rises count."""
    energy = Made().steady().pod(after(line(150, AT, 900), HALF, 100_000)).hour()
    assert kinds(energy)["workload"] == pytest.approx(540_000 - 4_500)
    assert kinds(energy)["system"] == pytest.approx(180_000 + 4_500)


def test_a_drop_within_a_rise_hides_no_more_than_itself() -> None:
    energy = Made().steady().pod(after(line(150, AT, 900), HALF, 1_000)).hour()
    assert kinds(energy)["workload"] == pytest.approx(540_000 - 1_000)


def test_a_pod_that_comes_to_use_a_gpu_begins_at_zero_at_the_scrape_that_does_not_show_it() -> None:
    late = [at for at in AT if at > HALF]
    energy = Made().steady().pod(line(150, late, since=HALF)).hour()
    assert kinds(energy)["workload"] == pytest.approx(150 * 1800)


def test_a_first_value_that_no_board_can_have_used_since_is_a_baseline() -> None:
    late = [at for at in AT if at > HALF]
    energy = Made().steady().pod(line(150, late, 50_000, since=HALF)).hour()
    assert kinds(energy)["workload"] == pytest.approx(150 * (1800 - 30))


def test_first_values_count_only_if_they_fit_together() -> None:
    late = [at for at in AT if at > HALF]
    two = Made().steady().pod(line(120, late, since=HALF)).pod(line(120, late, since=HALF), "u2").hour()
    assert kinds(two)["workload"] == pytest.approx(2 * 120 * (1800 - 30)), "3600 J twice do not fit into 6000 J"


def test_a_baseline_does_not_spoil_the_first_value_of_another_pod() -> None:
    late = [at for at in AT if at > HALF]
    both = Made().steady().pod(line(60, late, 50_000, since=HALF)).pod(line(60, late, since=HALF), "u2").hour()
    assert kinds(both)["workload"] == pytest.approx(60 * (1800 - 30) + 60 * 1800)


def test_a_sum_that_was_hidden_goes_on_and_one_that_was_zero_begins_anew() -> None:
    gap = {clock("10:30"), clock("10:30:30")}
    shown = [at for at in AT if at not in gap]
    hidden = Made().steady().pod(line(150, shown, 900)).hour()
    # 90 s of 150 W came back at once: more than the boards' 200 W of 30 s can hold, so it is a baseline
    assert kinds(hidden)["workload"] == pytest.approx(540_000 - 90 * 150)
    slow = Made().steady().pod(line(60, shown, 900)).hour()
    assert kinds(slow)["workload"] == pytest.approx(60 * 3600), "90 s of 60 W fit into 30 s of 200 W"
    before, later = [at for at in AT if at < HALF], [at for at in AT if at > clock("10:30:30")]
    again = Made().steady().pod([*line(150, before, 900), *line(150, later, since=clock("10:30:30"))]).hour()
    assert kinds(again)["workload"] == pytest.approx(540_000 - 60 * 150)


def test_a_restart_of_kepler_begins_every_counter_but_the_boards_own() -> None:
    """Kepler is back 10 s before the scrape at 10:30, and shows what it saw since: the other 20 s are bridged."""

    def anew(watts: float) -> Points:
        early, late = [at for at in AT if at < HALF], [at for at in AT if at >= HALF]
        return [*line(watts, early, 7_000), *line(watts, late, since=HALF - 10)]

    energy = Made().board(line(300, AT, BORN), anew(200), anew(100)).pod(anew(150)).hour()
    lost = 20
    assert kinds(energy) == pytest.approx({
        "workload": 150 * (3600 - lost), "system": 50 * (3600 - lost), "idle": 360_000 + 200 * lost,
    })  # fmt: skip
    row = node_row(energy)
    assert row["metered_joules"] == pytest.approx(1_080_000)
    assert (row["bridged_joules"], row["resets"]) == (pytest.approx(300 * lost), 1)
    assert row["cross_ratio"] == pytest.approx(1.0)


def test_a_new_driver_begins_the_boards_counter_and_kepler_goes_on() -> None:
    early, late = [at for at in AT if at < HALF], [at for at in AT if at >= HALF]
    total = [*line(300, early, BORN), *line(300, late, since=HALF - 10)]
    energy = Made().board(total, line(200, AT), line(100, AT)).pod(line(150, AT, 900)).hour()
    row = node_row(energy)
    assert 1_080_000 - 300 * 20 <= row["metered_joules"] <= 1_080_000 + 1e-3
    assert row["resets"] == 1
    assert kinds(energy)["workload"] == pytest.approx(row["metered_joules"] / 2)


def test_energy_that_nobody_divides_is_system_and_idle_is_null_not_zero() -> None:
    energy = Made().board(line(300, AT, BORN)).pod(line(150, AT)).hour()
    assert kinds(energy) == pytest.approx({"system": 1_080_000})
    assert node_row(energy)["idle_joules"] is None
    assert node_row(energy)["cross_ratio"] is None


def test_a_board_beyond_its_ceiling_is_quarantined_alone_and_its_pods_count_nothing_there() -> None:
    jump = after(line(300, AT, BORN), HALF, -1e9)
    made = Made().steady("GPU-b").board(jump, line(200, AT), line(100, AT)).pod(line(150, AT, 900))
    gpus = gpus_of(made, window_of(0, 1))
    (refused,) = quarantine_gpus(gpus, window_of(0, 1), "demo").to_pylist()
    assert refused["energy_joules"] == pytest.approx(1e9 + 9_000)
    assert "GPU-a" in refused["evidence"]
    assert refused["meter"] == "kepler"
    energy = made.hour()
    assert node_row(energy)["metered_joules"] == pytest.approx(2 * 1_080_000 - 9_000)
    assert node_row(energy)["coverage_ratio"] == pytest.approx(1 - 30 / 3600)
    assert kinds(energy)["workload"] == pytest.approx(540_000 - 30 * 150)


def test_pods_count_nothing_while_a_board_is_missing() -> None:
    holed = [at for at in AT if at != HALF]
    made = Made().steady("GPU-b").board(line(300, holed, BORN), line(200, holed), line(100, holed))
    energy = made.pod(line(150, AT, 900)).hour()
    assert node_row(energy)["metered_joules"] == pytest.approx(2 * 1_080_000)
    assert node_row(energy)["coverage_ratio"] == 1.0
    assert kinds(energy)["workload"] == pytest.approx(540_000 - 60 * 150)


def test_pods_far_beyond_what_was_used_are_withheld_as_of_any_meter() -> None:
    energy = Made().steady().pod(line(250, AT, 900)).hour()
    row = node_row(energy)
    assert row["check"] == "workloads_exceed_active"
    assert kinds(energy) == pytest.approx({"system": 720_000, "idle": 360_000})
    assert only(energy.withheld, kind="workload")["energy_joules"] == pytest.approx(250 * 3600)


def test_a_board_that_counts_nothing_is_not_metered_and_not_zero() -> None:
    made = Made().steady("GPU-b").board([(at, 0.0) for at in AT], line(200, AT), line(100, AT), "GPU-old")
    assert node_row(made.hour())["metered_joules"] == pytest.approx(1_080_000)
    alone = Made().board([(at, 0.0) for at in AT], line(200, AT), line(100, AT)).hour()
    assert alone.nodes.num_rows == alone.rows.num_rows == 0


def test_a_last_total_brings_what_a_pod_used_after_its_last_running_sample() -> None:
    """The scrape after the end shows it once, frozen, under another state."""
    running = [at for at in AT if at < HALF]
    made = Made().steady().pod(line(150, running, 900))
    last = [(HALF, 900 + 150 * (HALF - 10 - AT[0]))]
    made.add(
        source.PODS, last, node_name="n1", pod_id="u1", pod_name="trainer", pod_namespace="llm", state="terminated"
    )
    assert kinds(made.hour())["workload"] == pytest.approx(150 * (1800 - 10))


def test_containers_of_a_pod_have_rows_of_their_own_where_they_are_asked_for() -> None:
    made = Made().steady().pod(line(150, AT, 900))
    for name, watts in (("api", 100), ("sidecar", 50)):
        own = {"pod_id": "u1", "container_name": name, "container_id": f"c-{name}", "state": "running"}
        made.add(source.CONTAINERS, line(watts, AT, 600), node_name="n1", **own)
    counters = source.read(
        made, [], window_of(0, 1).start_ms - GAP_MS - 1, window_of(0, 1).end_ms + GAP_MS, "container"
    )
    assert counters is not None
    gpus = fold_kepler_boards(*counters, GAP_MS, CEILING_WATTS)
    energy = book(gpus.folded, window_of(0, 1), FoldRules("demo", GAP_MS, 60), [NOBODY], None)
    rows = {row["container"]: row for row in where(energy.rows, kind="workload")}
    assert {name: row["energy_joules"] for name, row in rows.items()} == pytest.approx({
        "api": 360_000, "sidecar": 180_000,
    })  # fmt: skip
    assert {(row["namespace"], row["pod"], row["pod_uid"]) for row in rows.values()} == {("llm", "trainer", "u1")}


def test_no_board_is_no_energy() -> None:
    assert source.read(Made(), [], 0, 1) is None


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
