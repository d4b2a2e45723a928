"""Boards that come to be held and cease to be: what is nobody's of the intervals in which nobody knows when.

A held board draws 300 W, a free one 50 W; scraped every 30 s.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.demo.fleet import Fleet, simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec
from pipeline.demo.transport import FleetTransport
from pipeline.sources.meters import dcgm
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.gpus import fold_gpus
from pipeline.transforms.sheet import FoldRules
from pipeline.window import HOUR, Window
from tests.examples import examples
from tests.test_additivity import QUICK, pieces
from tests.transforms.exposed import GAP_MS
from tests.transforms.made import SCRAPED, Points, clock, differences, joined, only, scrapes, unowned, where
from tests.transforms.made_gpus import POWER, Boards, cut, spec_of

AT = scrapes("09:45", "12:15")
HELD, FREE = 300.0, 50.0
ABOVE = HELD - FREE


def board(*busy: tuple[str, str], at: list[float] = AT) -> Points:
    """The counter of a board that draws 300 W within these spans of time, else 50 W."""
    spans = [(clock(begin), clock(end)) for begin, end in busy]
    return [
        (second, 1e6 + FREE * (second - at[0]) + sum(ABOVE * max(0.0, min(second, e) - b) for b, e in spans))
        for second in at
    ]


def shown(points: Points, *held: tuple[str, str, str], boards: Boards | None = None, **labels: str) -> Boards:
    """The counter under the labels of each holder at scrapes with `begin <= stamp < end`, else of nobody."""
    boards = boards or Boards()
    free = points
    for pod, begin, end in held:
        boards.held(cut(points, clock(begin), clock(end)), pod, **labels)
        free = [point for point in free if not clock(begin) <= point[0] < clock(end)]
    return boards.energy(free, **labels)


def of(energy: Energy, pod: str, hour: int = 0) -> tuple[float, float]:
    """A pod's joules, and how many of them are estimated."""
    row = only(energy.rows, hour=hour, pod=pod)
    return row["energy_joules"], row["tail_joules"]


def test_who_leaves_a_board_is_given_what_it_does_not_draw_by_itself_in_half_of_the_interval() -> None:
    # from 10:10; gone at 10:20:10: 300 W x 10 s + 50 W x 20 s = 4000 J, of which nobody has 50 W x 15 s
    energy = shown(board(("10:10", "10:20:10")), ("a", "10:10", "10:20:10")).fold()
    arrival, departure = 50 * 30 - 750, 4_000 - 750
    assert of(energy, "a") == pytest.approx((arrival + 300 * 600 + departure, arrival + departure))
    row = only(energy.nodes)
    assert row["workload_joules"] + row["idle_joules"] == row["metered_joules"]
    assert only(energy.rows, kind="idle")["tail_joules"] == 0.0


def test_who_comes_to_a_board_leaves_nobody_its_half() -> None:
    # since 10:10:10: 50 W x 10 s + 300 W x 20 s = 6500 J until the first scrape that shows it
    energy = shown(board(("10:10:10", "12:15")), ("a", "10:10:10", "12:15")).fold()
    assert of(energy, "a") == pytest.approx((6_500 - 750 + 300 * 2_970, 5_750))


def test_nobody_is_given_no_more_than_there_is() -> None:
    # 600 J from 10:20 to 10:20:30 are all nobody's: 50 W x 15 s = 750 J are wanted
    points = [(second, value - (900 if second > clock("10:20") else 0)) for second, value in board()]
    energy = shown(points, ("a", "09:45", "10:20:10")).fold()
    assert of(energy, "a") == pytest.approx((FREE * 1_200, 0.0))


def test_one_holder_after_another_keeps_the_rule_of_the_last_label() -> None:
    points = board(("09:45", "10:40"))
    energy = shown(points, ("a", "09:45", "10:20:10"), ("b", "10:20:10", "10:40:01")).fold()
    assert of(energy, "a") == pytest.approx((HELD * 1_200, 0.0))
    assert of(energy, "b")[1] == pytest.approx(FREE * 15)  # of its end alone


@pytest.mark.parametrize("free_from", ["10:20:30", "10:50"])
def test_where_nobodys_power_is_not_known_the_last_label_decides(free_from: str) -> None:
    """Free at one scrape, 10:20:30, alone; or also later, but more than `max_gap` away."""
    again = "12:16" if free_from == "10:20:30" else free_from
    points = board(("09:45", "10:20:10"), ("10:20:45", again))
    energy = shown(points, ("a", "09:45", "10:20:10"), ("b", "10:20:45", again)).fold()
    assert of(energy, "a") == pytest.approx((HELD * 1_200, 0.0))


def test_a_power_from_before_the_holder_came_will_do_if_it_is_near() -> None:
    points = board(("10:15", "10:20:10"), ("10:20:45", "12:15"))
    energy = shown(points, ("a", "10:15:10", "10:20:10"), ("b", "10:20:45", "12:16")).fold()
    assert of(energy, "a")[1] == pytest.approx((300 * 30 - 750) + (4_000 - 750))


def test_power_alone_is_divided_alike() -> None:
    points = [(second, HELD if clock("10:10") <= second < clock("10:20:10") else FREE) for second in AT]
    boards = Boards().add(POWER, cut(points, clock("10:10"), clock("10:20:10")), exported_pod="a")
    boards.add(POWER, [p for p in points if not clock("10:10") <= p[0] < clock("10:20:10")])
    # the backward step: 300 W x 30 s when it comes, 50 W x 30 s when it leaves
    assert of(boards.fold(), "a")[0] == pytest.approx((9_000 - 750) + HELD * 600 + (1_500 - 750))


def test_an_instance_that_is_left_on_a_board_with_holders_is_as_before() -> None:
    points, boards = board(("09:45", "12:15")), Boards()
    shown(points, ("a", "09:45", "10:20:10"), boards=boards, GPU_I_ID="3", GPU_I_PROFILE="3g.20gb")
    boards.held(points, "b", GPU_I_ID="4", GPU_I_PROFILE="3g.20gb")
    assert of(boards.fold(), "a") == pytest.approx((HELD / 2 * 1_200, 0.0))


def test_who_left_within_the_interval_that_crosses_the_hour_keeps_its_name_and_both_hours_their_part() -> None:
    at = [second + 15 for second in AT]
    boards = shown(board(("09:45", "11:00"), at=at), ("a", "09:45", "11:00"))
    whole = boards.fold(0, 2)
    assert differences(whole, joined([boards.fold(0), boards.fold(1)])) == []
    part = (HELD * 15 + FREE * 15 - FREE * 15) / 2
    assert of(whole, "a") == pytest.approx((HELD * 3_585 + part, part))
    assert of(whole, "a", hour=1) == pytest.approx((part, part))
    assert only(whole.rows, hour=1, pod="a")["namespace"] == "ml"


def fold(fleet: Fleet, window: Window) -> Energy:
    samples = dcgm.read(FleetTransport(fleet), [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    return book(fold_gpus(samples, GAP_MS, {}), window, FoldRules("demo", GAP_MS, 60), unowned(window), None)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p8_holders_of_exclusive_boards_are_within_a_tenth_of_a_percent_of_the_truth(seed: int) -> None:
    spec = replace(spec_of(DcgmMeter(collect_seconds=10), seed, *[GpuSpec()] * 4), hours=6)
    fleet = simulate(spec)
    rows = [row for row in fleet.truth_gpu_holders.to_pylist() if row["pod"] is not None]
    truth = sum(row["active_joules"] + row["idle_joules"] for row in rows)
    energy = fold(fleet, spec.window)
    found = np.array([(r["energy_joules"], r["tail_joules"]) for r in where(energy.rows, kind="workload")])
    assert found[:, 0].sum() == pytest.approx(truth, rel=1e-3)
    assert 0.005 < found[:, 1].sum() / truth < 0.03


@settings(QUICK, max_examples=examples(8))
@given(seed=st.integers(0, 10_000), scraped=st.sampled_from(SCRAPED), cuts=st.lists(st.integers(1, 2), min_size=1))
def test_p2_boards_that_change_hands_folded_in_pieces_give_the_tables_of_the_whole(
    seed: int, scraped: dict[str, float], cuts: list[int]
) -> None:
    spec = replace(spec_of(DcgmMeter(), seed, *[GpuSpec()] * 3, GpuSpec("shared")), lead_minutes=30, **scraped)
    fleet, first = simulate(spec), spec.window.start
    whole = fold(fleet, spec.window)
    assert sum(row["tail_joules"] for row in whole.rows.to_pylist()) > 0
    parts = [fold(fleet, Window(first + HOUR * b, first + HOUR * (b + n))) for b, n in pieces(cuts, 3)]
    assert differences(whole, joined(parts[::-1])) == []
