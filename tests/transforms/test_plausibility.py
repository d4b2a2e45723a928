"""What no machine can have used is taken out with its evidence: by hand, and P1 and P2 over hostile counters."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pipeline.samples import MeterSamples, SocketStamps
from pipeline.starts import UNKNOWN
from pipeline.transforms.energy import Energy, book, fold_counters
from pipeline.transforms.folded import Consumer
from pipeline.transforms.plausibility import Ceilings, screen, suspects
from pipeline.transforms.sheet import FoldRules
from tests.examples import examples
from tests.test_additivity import QUICK, Hostile, pieces
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    Made,
    Points,
    clock,
    differences,
    joined,
    line,
    only,
    owners_of,
    scrapes,
    stamp_ms,
    unowned,
    where,
    window_of,
)

CEILINGS = Ceilings(socket_watts=2000, gpu_watts=1500)
GAP_MS = MAX_GAP_SECONDS * 1000
AT = scrapes("09:50", "11:10")


def jump(points: Points, when: str, joules: float) -> Points:
    """A counter that rises by `joules` more at one scrape."""
    return [(second, value + (joules if second >= clock(when) else 0)) for second, value in points]


def sockets(count: int, node: str = "n1") -> SocketStamps:
    stamps = np.array([stamp_ms(second) for second in AT], dtype=np.int64)
    return {node: {str(index): stamps for index in range(count)}}


def screened(
    made: Made, first: int = 0, hours: int = 1, step_minutes: int = 60, ceilings: Ceilings = CEILINGS,
    known: Mapping[str, Mapping[str, np.ndarray]] | None = None,
) -> Energy:  # fmt: skip
    """As a run folds and screens a window."""
    window = window_of(first, hours)
    samples: MeterSamples = made.samples(window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    folded = screen(fold_counters(samples, GAP_MS, UNKNOWN), ceilings, known or {}, GAP_MS, samples)
    return book(folded, window, FoldRules("demo", GAP_MS, step_minutes), unowned(window), None)


def plain() -> Made:
    return Made().node(line(60, AT), line(40, AT, 1000.0)).pod("a", line(20, AT)).pod("b", line(30, AT))


def test_plausible_energy_is_left_as_it_is() -> None:
    assert differences(screened(plain()), plain().fold()) == []


def test_a_node_interval_above_eight_sockets_is_a_gap_for_the_node_and_its_workloads() -> None:
    leap = 20_000 * 30  # J in 30 s
    made = Made().node(jump(line(60, AT), "10:20", leap), line(40, AT, 1000.0))
    made.pod("a", jump(line(20, AT), "10:20", leap / 2)).pod("b", line(30, AT))
    energy = screened(made)
    node = only(energy.nodes)
    assert node["metered_joules"] == pytest.approx(100 * 3570)
    assert node["coverage_ratio"] == pytest.approx(3570 / 3600)
    assert node["quarantined_joules"] == pytest.approx(leap + 100 * 30)
    assert node["check"] == "implausible"
    assert [only(energy.rows, pod_uid=uid)["energy_joules"] for uid in "ab"] == [
        pytest.approx(20 * 3570), pytest.approx(30 * 3570),
    ]  # fmt: skip
    (row,) = energy.withheld.to_pylist()
    assert (row["node"], row["component"], row["check"], row["pod_uid"]) == ("n1", "package", "implausible", None)
    assert row["energy_joules"] == pytest.approx(leap + 100 * 30)


def test_the_evidence_names_both_samples_their_counters_the_watts_and_the_limit() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 600_000), line(40, AT, 1000.0))
    (row,) = screened(made).withheld.to_pylist()
    assert row["evidence"] == (
        "603000 J between the samples at 2026-11-03T10:19:30.000Z (active 106200, idle 71800) and "
        "2026-11-03T10:20:00.000Z (active 708000, idle 73000): 20100 W, above 8 sockets x 2000 W"
    )


@pytest.mark.parametrize(("known", "out"), [(None, False), (4, False), (3, False), (2, True), (1, True)])
def test_the_ceiling_counts_the_sockets_that_the_node_shows(known: int | None, out: bool) -> None:  # noqa: FBT001 # a case
    made = Made().node(jump(line(60, AT), "10:20", 4_500 * 30), line(40, AT, 1000.0))
    energy = screened(made, known=sockets(known) if known else None)
    assert (only(energy.nodes)["check"] == "implausible") is out


def test_sockets_seen_only_long_before_do_not_count() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 4_500 * 30), line(40, AT, 1000.0))
    old = {"n1": {"0": np.array([stamp_ms(clock("10:09"))], dtype=np.int64)}}
    assert only(screened(made, known=old).nodes)["check"] is None
    near = {"n1": {"0": np.array([stamp_ms(clock("10:10:00"))], dtype=np.int64)}}
    assert only(screened(made, known=near).nodes)["check"] == "implausible"


def test_only_nodes_above_one_socket_are_asked_for_their_sockets() -> None:
    def asked(watts: float) -> dict[str, tuple[int, int]]:
        made = Made().node(jump(line(60, AT), "10:20", watts * 30), line(40, AT, 1000.0))
        return suspects(fold_counters(made.samples(), GAP_MS, UNKNOWN), CEILINGS)

    assert asked(1_800) == {}
    assert asked(2_100) == {"n1": (stamp_ms(clock("10:19:30")), stamp_ms(clock("10:20")))}


def test_two_scrapes_within_a_second_are_no_power() -> None:
    at = sorted([*AT, clock("10:20:00.2")])
    late = [(s, v if s != clock("10:20:00.2") else v + 5_000) for s, v in line(60, at)]
    late = [(s, v + 5_000 if s > clock("10:20:00.2") else v) for s, v in late]
    made = Made().node(late, line(40, at, 1000.0))
    assert only(screened(made).nodes)["check"] is None


def test_one_workload_far_above_its_node_is_taken_out_alone() -> None:
    made = Made().node(line(60, AT), line(40, AT, 1000.0)).pod("a", jump(line(20, AT), "10:20", 9.2e14))
    made.pod("b", line(30, AT))
    energy = screened(made)
    node = only(energy.nodes)
    assert (node["metered_joules"], node["coverage_ratio"]) == (pytest.approx(360_000), 1.0)
    assert only(energy.rows, pod_uid="a")["energy_joules"] == pytest.approx(20 * 3570)
    assert only(energy.rows, pod_uid="b")["energy_joules"] == pytest.approx(30 * 3600)
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(10 * 3600 + 20 * 30)
    (row,) = energy.withheld.to_pylist()
    assert (row["pod_uid"], row["pod"], row["check"]) == ("a", "web", "implausible")
    assert row["energy_joules"] == pytest.approx(9.2e14)
    assert "above any machine" in row["evidence"]
    assert "workloads 36600)" not in row["evidence"]
    assert "(workloads 35400)" in row["evidence"]


@pytest.mark.parametrize(
    ("consumer", "expected"),
    [
        (Consumer(0, "a"), ("workload", "shop", "web", "a", None, "StatefulSet", "shop-web")),
        (Consumer(0, "a", container="app"), ("workload", "shop", "web", "a", "app", "StatefulSet", "shop-web")),
        (
            Consumer(0, "a", workload_kind="VirtualMachine", workload="db-vm"),
            ("workload", None, None, None, None, "VirtualMachine", "db-vm"),
        ),
        (Consumer(0, "kernel", kind="system"), ("system", None, None, None, None, None, "kernel")),
    ],
    ids=["pod", "container", "guest", "system"],
)
def test_a_row_of_a_consumer_says_who_it_is_as_its_energy_row_would(
    consumer: Consumer, expected: tuple[str | None, ...]
) -> None:
    made = Made().node(line(60, AT), line(40, AT, 1000.0)).pod("a", jump(line(20, AT), "10:20", 9.2e14))
    folded = replace(fold_counters(made.samples(), GAP_MS, UNKNOWN), consumers=[consumer])
    found = screen(folded, CEILINGS, {}, GAP_MS)
    owners = [owners_of({"a": ("StatefulSet", "shop-web")})]
    withheld = book(found, window_of(0, 1), FoldRules("demo", GAP_MS, 60), owners, None).withheld
    row = only(withheld, check="implausible")
    columns = ("kind", "namespace", "pod", "pod_uid", "container", "workload_kind", "workload")
    assert tuple(row[name] for name in columns) == expected


def test_a_row_of_a_node_meter_is_of_no_kind() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 600_000), line(40, AT, 1000.0))
    row = only(screened(made).withheld)
    assert {row[name] for name in ("kind", "workload_kind", "workload", "pod", "pod_uid")} == {None}


def test_twice_the_node_is_too_much_for_one_workload_and_a_little_over_is_not() -> None:
    def with_leap(joules: float) -> Energy:
        made = Made().node(line(60, AT), line(40, AT, 1000.0)).pod("a", jump(line(20, AT), "10:20", joules))
        return screened(made)

    little = with_leap(60 * 30)  # 80 W where the node has 60: a matter for the hour's sum
    assert little.withheld.num_rows == 0
    much = with_leap(60 * 30 * 2)
    assert only(much.withheld)["evidence"].endswith("140 W, more than 2 times its node's active energy")


def test_a_gpu_has_a_ceiling_of_its_own() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 20_000 * 30), line(40, AT, 1000.0))
    folded = fold_counters(made.samples(), GAP_MS, UNKNOWN)
    gpus = replace(folded, meters=[("n1", "gpu")])
    assert screen(gpus, CEILINGS, {}, GAP_MS).implausible is None, "sixteen GPUs may draw 24 kW"
    found = screen(gpus, Ceilings(2000, 1000), {}, GAP_MS).implausible
    assert found is not None
    assert found.metered_evidence[0].endswith("above 16 GPUs x 1000 W")


def test_what_a_meter_took_out_itself_stays_beside_what_is_found_here() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 6e5), line(40, AT, 1000.0))
    once = screen(fold_counters(made.samples(), GAP_MS, UNKNOWN), CEILINGS, {}, GAP_MS)
    twice = screen(once, Ceilings(10, 10), {}, GAP_MS).implausible
    assert once.implausible is not None
    assert twice is not None
    assert len(twice.metered.joules) == len(twice.metered_evidence) > 1
    assert twice.metered_evidence[0] == once.implausible.metered_evidence[0]


def test_an_interval_across_an_hour_edge_is_out_of_both_hours() -> None:
    at = scrapes("09:50:20", "12:10", 40)
    leap = 900_000.0
    made = Made().node(jump(line(60, at), "11:00:20", leap), line(40, at, 1000.0)).pod("a", line(20, at))
    whole = screened(made, 0, 2)
    assert differences(whole, joined([screened(made, 0), screened(made, 1)])) == []
    assert [row["check"] for row in where(whole.nodes)] == ["implausible"] * 2
    assert sum(row["energy_joules"] for row in whole.withheld.to_pylist()) == pytest.approx(leap + 4_000)


def test_the_register_is_compared_without_what_was_taken_out() -> None:
    made = Made().node(jump(line(60, AT), "10:20", 6e5), line(40, AT, 9.0), line(100, AT, 5.0))
    assert only(screened(made).nodes)["cross_ratio"] == pytest.approx(1.0)
    assert only(made.fold().nodes)["cross_ratio"] != pytest.approx(1.0, rel=0.1)


@settings(QUICK, max_examples=examples(10))
@given(
    seed=st.integers(0, 1_000_000),
    step_minutes=st.sampled_from([60, 5]),
    cuts=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    socket_watts=st.sampled_from([15.0, 25.0, 60.0, 150.0]),
)
def test_p1_and_p2_hold_whatever_is_taken_out(
    seed: int, step_minutes: int, cuts: list[int], socket_watts: float
) -> None:
    made, ceilings = Hostile(seed).made, Ceilings(socket_watts, 1500)
    stamps = np.arange(stamp_ms(-900), stamp_ms(4 * 3600 + 900), 30_000)
    known = {"n0": {"0": stamps, "1": stamps[: len(stamps) // 2]}}  # half of the sockets vanish on the way
    whole = screened(made, 0, 4, step_minutes, ceilings, known)
    parts = [screened(made, first, hours, step_minutes, ceilings, known) for first, hours in pieces(cuts, 4)]
    event(f"taken out: {'implausible' in whole.withheld['check'].to_pylist()}")
    assert differences(whole, joined(parts[::-1])) == []
    for row in whole.nodes.to_pylist():
        sums = [row[f"{part}_joules"] for part in ("workload", "system", "idle")]
        if row["metered_joules"] is not None:
            assert sum(sums) == pytest.approx(row["metered_joules"], rel=1e-9, abs=1e-9)
        assert (row["quarantined_joules"] > 0) <= (row["check"] is not None)
    held = pc.sum(whole.withheld["energy_joules"]).as_py() or 0.0
    assert held == pytest.approx(sum(row["quarantined_joules"] for row in whole.nodes.to_pylist()), rel=1e-9, abs=1e-6)
