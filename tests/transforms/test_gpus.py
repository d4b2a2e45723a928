"""GPU boards: every trap of dcgm-exporter, with numbers that add up on paper."""

import numpy as np
import pytest

from pipeline.sources.meters import dcgm
from pipeline.transforms.boards import join_reports
from pipeline.transforms.holders import slices_of
from pipeline.transforms.sheet import WITHHELD
from tests.transforms.made import clock, line, only, scrapes, window_of
from tests.transforms.made_gpus import ACTIVITY, AT, GAP_MS, LIFE_JOULES, POWER, STEADY, Boards, by_pod, cut

SWITCH = clock("10:20:15")


def mig(*held: str | None, profiles: tuple[str, ...] = ("3g.20gb", "2g.10gb", "1g.5gb")) -> Boards:
    """One board of three instances, each with a holder or none."""
    boards = Boards()
    for number, (pod, profile) in enumerate(zip(held, profiles, strict=True)):
        labels = {"GPU_I_ID": str(3 + number), "GPU_I_PROFILE": profile}
        boards.energy(STEADY, **labels, **({"exported_pod": pod, "exported_namespace": "ml"} if pod else {}))
    return boards


def test_mig_is_divided_by_slices_and_what_nobody_holds_is_idle() -> None:
    boards = mig("a-0", None, "c-0")
    assert by_pod(boards.fold()) == {
        "a-0": pytest.approx(180_000), "idle": pytest.approx(120_000), "c-0": pytest.approx(60_000), "system": 0.0,
    }  # fmt: skip
    assert boards.splits() == {"ml/a-0": "profile", "ml/c-0": "profile"}


def test_mig_without_profiles_is_divided_evenly_and_marked() -> None:
    boards = mig("a-0", None, "c-0", profiles=("", "", ""))
    assert by_pod(boards.fold())["a-0"] == pytest.approx(120_000, abs=0.001)
    assert boards.splits() == {"ml/a-0": "even", "ml/c-0": "even"}


def test_mig_is_divided_by_activity_times_slices_where_every_instance_shows_it() -> None:
    boards = mig("a-0", "b-0", None)
    for instance, busy in (("3", 0.2), ("4", 0.6), ("5", 0.0)):
        boards.add(ACTIVITY, [(second, busy) for second in AT], GPU_I_ID=instance)
    found = by_pod(boards.fold())
    assert (found["a-0"], found["b-0"], found["idle"]) == (pytest.approx(120_000), pytest.approx(240_000), 0.0)
    assert set(boards.splits().values()) == {"activity"}


@pytest.mark.parametrize("shown", [(0.0, 0.0, 0.0), (0.5, 0.5, None)])
def test_activity_that_is_zero_everywhere_or_missing_somewhere_is_no_key(shown: tuple[float | None, ...]) -> None:
    boards = mig("a-0", "b-0", None)
    for instance, busy in zip("345", shown, strict=True):
        if busy is not None:
            boards.add(ACTIVITY, [(second, busy) for second in AT], GPU_I_ID=instance)
    assert by_pod(boards.fold())["a-0"] == pytest.approx(180_000)
    assert set(boards.splits().values()) == {"profile"}


def test_one_pod_on_all_instances_gets_the_board_in_one_row() -> None:
    assert by_pod(mig("a-0", "a-0", "a-0").fold())["a-0"] == pytest.approx(360_000)


def test_a_board_beside_its_own_instances_is_no_part_of_itself() -> None:
    boards = mig("a-0", "b-0", "c-0").energy(STEADY)
    assert by_pod(boards.fold()) == {
        "a-0": pytest.approx(180_000), "b-0": pytest.approx(120_000), "c-0": pytest.approx(60_000), "idle": 0.0,
        "system": 0.0,
    }  # fmt: skip


def test_nobody_beside_a_holder_of_the_same_instance_is_nobody() -> None:
    found = by_pod(Boards().held(STEADY, "a-0").energy(STEADY).fold())
    assert (found["a-0"], found["idle"]) == (pytest.approx(360_000), 0.0)


def test_containers_of_one_pod_are_parts_of_their_own_and_one_row() -> None:
    boards = Boards().held(STEADY, "a-0", exported_container="x").held(STEADY, "a-0", exported_container="y")
    found = by_pod(boards.held(STEADY, "b-0", exported_container="x").fold())
    assert (found["a-0"], found["b-0"]) == (pytest.approx(240_000, abs=0.01), pytest.approx(120_000, abs=0.01))


def test_a_pod_seen_without_its_namespace_at_times_keeps_it() -> None:
    boards = Boards().held(cut(STEADY, -9e9, SWITCH), "a-0", pod_uid="u")
    row = only(boards.energy(cut(STEADY, SWITCH, 9e9), exported_pod="a-0", pod_uid="u").fold().rows, kind="workload")
    assert (row["namespace"], row["energy_joules"]) == ("ml", pytest.approx(360_000))


def test_a_board_that_moves_to_another_node_is_metered_where_it_is() -> None:
    moved = cut(line(50, AT, 7e6), clock("10:40"), 9e9)
    boards = Boards().energy(STEADY).energy(cut(line(50, AT, 7e6), -9e9, clock("10:20:01")), UUID="GPU-b")
    nodes = boards.energy(moved, UUID="GPU-b", Hostname="n2", instance="10.0.0.2:9400").fold().nodes
    assert only(nodes, node="n1")["metered_joules"] == pytest.approx(360_000 + 50 * 1_200)
    assert only(nodes, node="n2")["metered_joules"] == pytest.approx(50 * 1_200)
    assert only(nodes, node="n2")["unplaced_joules"] == pytest.approx(50 * 1_200)


@pytest.mark.parametrize(
    ("profile", "slices"),
    [
        ("1g.6gb", 1),
        ("3g.20gb", 3),
        ("1c.3g.20gb", 1),
        ("1g.5gb+me", 1),
        ("7g.80gb", 7),
        ("", 0),
        (None, 0),
        ("MIG", 0),
    ],
)
def test_slices_of_profiles(profile: str | None, slices: int) -> None:
    assert slices_of(profile) == slices


def test_power_beside_the_counter_is_a_cross_meter_and_not_added() -> None:
    row = only(Boards().energy(STEADY).add(POWER, [(second, 110.0) for second in AT]).fold().nodes)
    assert row["metered_joules"] == pytest.approx(360_000)
    assert (row["cross_meter"], row["cross_ratio"]) == (POWER, pytest.approx(1.1))


def test_power_is_compared_only_over_the_same_two_scrapes() -> None:
    missed = [(second, joules) for second, joules in STEADY if second != clock("10:30")]
    watts = [(second, 900.0 if clock("10:30") <= second <= clock("10:30:30") else 100.0) for second in AT]
    row = only(Boards().energy(missed).add(POWER, watts).fold().nodes)
    assert (row["metered_joules"], row["cross_ratio"]) == (pytest.approx(360_000), pytest.approx(1.0))


def test_power_fills_the_time_in_which_the_counter_was_not_exported() -> None:
    boards = Boards().energy(cut(STEADY, -9e9, clock("10:20:01"))).add(POWER, [(second, 50.0) for second in AT])
    row = only(boards.fold().nodes)
    assert row["metered_joules"] == pytest.approx(100 * 1_200 + 50 * 2_400)
    assert (row["coverage_ratio"], row["unplaced_joules"]) == (1.0, 0.0)


def test_r9_a_counter_above_the_ceiling_is_a_gap_in_quarantine() -> None:
    jump = [(second, value + (9e6 if second >= clock("10:30") else 0)) for second, value in STEADY]
    boards = Boards().held(jump, "p-0")
    row = only(boards.fold().nodes)
    assert row["metered_joules"] == pytest.approx(360_000 - 3_000)
    assert row["coverage_ratio"] == pytest.approx(1 - 30 / 3_600)
    refused = only(boards.refused())
    assert refused["energy_joules"] == pytest.approx(9_003_000)
    assert refused["evidence"] == "1 refused: GPU-a: 300100 W over 30 s to 2026-11-03T10:30:00Z"
    assert boards.refused().schema == WITHHELD


def test_r9_power_above_the_ceiling_is_a_gap_in_quarantine_and_the_ceiling_itself_is_not() -> None:
    watts = [(second, 2_000.0 if second == clock("10:30") else 1_500.0) for second in AT]
    boards = Boards().add(POWER, watts)
    assert only(boards.fold().nodes)["metered_joules"] == pytest.approx(1_500 * 3_570)
    assert only(boards.refused())["energy_joules"] == pytest.approx(60_000)


def test_a_wild_value_between_good_ones_is_a_reload_and_a_gap_that_power_may_fill() -> None:
    wild = [(second, 5.0 if second == clock("10:30") else value) for second, value in STEADY]
    boards = Boards().energy(wild)
    assert only(boards.fold().nodes)["metered_joules"] == pytest.approx(360_000 - 3_000)  # the fall is bridged
    boards.add(POWER, [(second, 100.0) for second in AT])
    assert only(boards.fold().nodes)["metered_joules"] == pytest.approx(360_000)


def test_what_was_bridged_at_a_reload_is_known_and_split_over_the_hours_it_lies_in() -> None:
    reload = clock("10:59:50")
    at = scrapes("09:45:15", "12:15:15")
    before, after = [s for s in at if s < reload], [s for s in at if s > reload]
    boards = Boards().energy([*line(100, before, LIFE_JOULES), *line(100, after, 1_200.0)])
    reports = boards.boards(window_of(0, 1)).reports
    spans, _ = join_reports(reports, GAP_MS, 1_500.0)
    (fallen,) = np.flatnonzero(spans.reset)
    assert (spans.joules[fallen], spans.bridged_joules[fallen]) == (pytest.approx(3_000), pytest.approx(1_800))
    assert not spans.bridged_joules[~spans.reset].any()
    for hour in (0, 1):
        row = only(boards.fold(hour).nodes)
        assert (row["metered_joules"], row["bridged_joules"]) == (pytest.approx(360_000), pytest.approx(900))
    assert only(boards.fold(0).nodes)["cross_ratio"] is None, "a bridge is no second meter"


def test_a_reload_that_an_exporters_restart_hides_is_bridged_all_the_same() -> None:
    again = line(100, [s for s in AT if s >= clock("10:30")], 2_000.0)
    boards = Boards().energy(cut(STEADY, -9e9, clock("10:30"))).energy(again, instance="10.0.0.2:9400")
    row = only(boards.fold().nodes)
    assert (row["metered_joules"], row["resets"]) == (pytest.approx(360_000), 1)


def test_a_reload_is_bridged_by_its_gauge_before_the_mean_of_its_past() -> None:
    again = line(300, [s for s in AT if s >= clock("10:30")], 4_000.0)
    watts = [(second, 300.0 if second >= clock("10:30") else 100.0) for second in AT]
    row = only(Boards().energy([*cut(STEADY, -9e9, clock("10:30")), *again]).add(POWER, watts).fold().nodes)
    assert row["metered_joules"] == pytest.approx(100 * 1_770 + 300 * 30 + 300 * 1_800)
    assert row["cross_ratio"] == pytest.approx(1.0)


def test_two_exporters_of_one_board_are_counted_once_whatever_their_caches_show() -> None:
    stale = [(second + 7, value - 1_000) for second, value in STEADY]  # behind by 10 s: united, they would fall
    boards = Boards().held(STEADY, "p-0").held(stale, "p-0", instance="10.0.0.2:9400")
    energy = boards.fold()
    assert by_pod(energy)["p-0"] == pytest.approx(360_000)
    assert only(energy.nodes)["resets"] == 0
    assert boards.refused().num_rows == 0


def test_an_exporter_that_restarts_under_another_address_loses_nothing() -> None:
    boards = Boards().energy(cut(STEADY, -9e9, SWITCH)).energy(cut(STEADY, SWITCH, 9e9), instance="10.0.0.2:9400")
    row = only(boards.fold().nodes)
    assert (row["metered_joules"], row["coverage_ratio"]) == (pytest.approx(360_000), 1.0)


def test_boards_of_a_node_are_added() -> None:
    boards = Boards().held(STEADY, "a-0").energy(line(40, AT), UUID="GPU-b").held(line(60, AT), "a-0", UUID="GPU-c")
    energy = boards.fold()
    assert only(energy.nodes)["metered_joules"] == pytest.approx(720_000)
    assert (by_pod(energy)["a-0"], by_pod(energy)["idle"]) == (pytest.approx(576_000), pytest.approx(144_000))
    assert only(energy.nodes)["coverage_ratio"] == 1.0


def test_boards_scraped_at_other_times_cover_no_time_twice() -> None:
    other = [(second + 11, value) for second, value in line(50, AT)]
    row = only(Boards().energy(STEADY).energy(other, UUID="GPU-b", instance="10.0.0.2:9400").fold().nodes)
    assert (row["coverage_ratio"], row["metered_joules"]) == (1.0, pytest.approx(540_000))


def test_a_hole_of_one_board_shows_in_the_coverage_and_takes_nothing_from_the_others() -> None:
    hole = cut(STEADY, -9e9, clock("10:20:01")) + cut(STEADY, clock("10:50"), 9e9)
    row = only(Boards().energy(hole).energy(line(50, AT), UUID="GPU-b").fold().nodes)
    assert row["metered_joules"] == pytest.approx(100 * 1_800 + 180_000)
    assert row["coverage_ratio"] == pytest.approx(0.5, abs=1e-4)  # a millisecond a slot carries the other board
    assert row["unplaced_joules"] == pytest.approx(100 * 1_800)


def test_a_board_that_is_taken_out_leaves_no_hole_and_one_that_comes_in_opens_none() -> None:
    boards = Boards().energy(STEADY).energy(cut(line(50, AT), -9e9, clock("10:20:01")), UUID="GPU-b")
    boards.energy(cut(line(30, AT), clock("10:40"), 9e9), UUID="GPU-c")
    row = only(boards.fold().nodes)
    assert row["coverage_ratio"] == 1.0
    assert row["metered_joules"] == pytest.approx(360_000 + 50 * 1_200 + 30 * 1_200)
    assert row["unplaced_joules"] is None  # GPU-c was not seen within max_gap before


@pytest.mark.parametrize(("length", "unplaced"), [(600.0, 0.0), (600.001, 60_000.1)])
def test_a_gap_longer_than_max_gap_is_not_joined_and_one_as_long_is(length: float, unplaced: float) -> None:
    edge = clock("10:20")
    at = [*(second for second in AT if second <= edge), *(second + length for second in AT if second >= edge)]
    row = only(Boards().energy(line(100, at, LIFE_JOULES)).fold().nodes)
    assert row["unplaced_joules"] == pytest.approx(unplaced)
    assert row["metered_joules"] == pytest.approx(360_000 - unplaced)


def test_an_interval_across_the_hour_is_divided_by_time() -> None:
    boards = Boards().held(line(100, scrapes("09:45:10", "12:15")), "p-0")
    for hour in (0, 1):
        assert by_pod(boards.fold(hour))["p-0"] == pytest.approx(360_000, abs=1e-3)


def test_a_board_whose_values_all_stand_for_none_is_a_node_row_of_nulls() -> None:
    boards = Boards().add(dcgm.ENERGY[0], [(second, 9223372036854775794.0) for second in AT])
    row = only(boards.fold().nodes)
    assert (row["metered_joules"], row["coverage_ratio"]) == (None, 0.0)
    assert only(boards.refused())["evidence"].startswith("120 refused")


def test_steps_carry_the_energy_of_their_own_minutes() -> None:
    watts = [(second, 300.0 if second > clock("10:30") else 60.0) for second in AT]
    row = only(Boards().add(POWER, watts).fold(step_minutes=5).rows, kind="idle")
    assert row["step_joules"] == pytest.approx([18_000.0] * 6 + [90_000.0] * 6)


def test_a_pod_uid_is_the_identity_where_it_is_exposed() -> None:
    row = only(Boards().held(STEADY, "p-0", pod_uid="6b1e").fold().rows, kind="workload")
    assert (row["pod_uid"], row["namespace"], row["pod"]) == ("6b1e", "ml", "p-0")


def test_nothing_there_folds_to_nothing() -> None:
    energy = Boards().fold(0, 2)
    assert (energy.rows.num_rows, energy.nodes.num_rows, Boards().refused().num_rows) == (0, 0, 0)
