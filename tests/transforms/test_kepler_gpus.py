"""Kepler's GPU boards: hand-worked hours."""

from collections import defaultdict
from typing import Any

import pytest

from pipeline.sources.meters import kepler_gpus as source
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.gpu_quarantine import quarantine_gpus
from pipeline.transforms.gpus import CEILING_WATTS
from pipeline.transforms.kepler_gpus import fold_kepler_boards
from pipeline.transforms.sheet import FoldRules
from tests.transforms.made import (
    NOBODY,
    Points,
    clock,
    line,
    only,
    where,
    window_of,
)
from tests.transforms.made_kepler_gpus import AT, BORN, GAP_MS, Made, gpus_of

HALF = clock("10:30")


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
