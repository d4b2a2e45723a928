"""How much of an hour a node should have been metered: holes, newcomers, and monitoring that was itself silent."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.transforms.coverage import Presence, hour_state
from pipeline.transforms.sheet import NODES
from tests.transforms.made import Made, Points, clock, line, only, scrapes, stamp_ms

GAP_MS = 600_000
HOUR_MS = stamp_ms(0)
ALWAYS = ("09:45", "11:15")


def presence(created: dict[str, str] | None = None, **seen: tuple[str, str]) -> Presence:
    stamps = {
        node: np.array([stamp_ms(second) for second in scrapes(*span)], dtype=np.int64) for node, span in seen.items()
    }
    return Presence(stamps, {(node, HOUR_MS): stamp_ms(clock(when)) for node, when in (created or {}).items()})


def expected(of: Presence, node: str = "n1") -> float:
    return float(of.expected_ratios(node, np.array([HOUR_MS]), GAP_MS)[0])


def test_a_node_seen_throughout_is_expected_throughout() -> None:
    assert expected(presence(n1=ALWAYS)) == 1.0


def test_a_node_that_appears_while_others_are_seen_is_expected_from_then_on() -> None:
    assert expected(presence(n1=("10:40", "11:15"), n2=ALWAYS)) == pytest.approx(1 / 3)


def test_a_node_that_leaves_while_others_are_seen_was_expected_until_then() -> None:
    assert expected(presence(n1=("09:45", "10:20"), n2=ALWAYS)) == pytest.approx(1 / 3)


def test_a_node_that_came_and_went_was_expected_between() -> None:
    assert expected(presence(n1=("10:10", "10:25"), n2=ALWAYS)) == pytest.approx(1 / 4)


def test_when_nobody_is_seen_after_a_node_the_monitoring_was_silent() -> None:
    silent = presence(n1=("09:45", "10:20"), n2=("09:45", "10:20"))
    assert expected(silent) == 1.0


def test_when_nobody_was_seen_before_a_node_the_monitoring_was_silent() -> None:
    assert expected(presence(n1=("10:40", "11:15"), n2=("10:40", "11:15"))) == 1.0


def test_a_node_seen_within_max_gap_beyond_the_hour_was_there_until_its_end() -> None:
    of = presence(n1=ALWAYS, n2=ALWAYS)
    stamps = of.stamps_ms["n1"]
    quiet = stamps[(stamps < stamp_ms(clock("10:30"))) | (stamps > stamp_ms(clock("11:05")))]
    assert expected(Presence({**of.stamps_ms, "n1": quiet}, {})) == 1.0


def test_kube_node_created_decides_when_a_node_began() -> None:
    others = {"n1": ("10:31", "11:15"), "n2": ALWAYS}
    assert expected(presence({"n1": "10:30"}, **others)) == pytest.approx(1 / 2)
    assert expected(presence({"n1": "08:00"}, **others)) == 1.0
    assert expected(presence({"n1": "12:00"}, **others)) == 0.0


def test_a_node_unseen_in_the_hour_is_not_expected_in_it() -> None:
    of = presence(n1=("09:45", "10:00"), n2=ALWAYS)
    assert np.isnan(expected(of))  # 10:00:00 closes the hour before
    assert np.isnan(expected(of, "never"))


def test_each_hour_of_many_is_as_it_is_alone() -> None:
    of = presence({"n1": "10:30"}, n1=("10:31", "12:20"), n2=("07:00", "14:00"))
    hours = HOUR_MS + 3_600_000 * np.arange(-2, 4)
    alone = [of.expected_ratios("n1", hours[number : number + 1], GAP_MS)[0] for number in range(len(hours))]
    together = of.expected_ratios("n1", hours, GAP_MS)
    assert np.array_equal(together, alone, equal_nan=True)
    assert together.tolist()[2:5] == pytest.approx([1 / 2, 1.0, 1 / 3])
    assert np.isnan(together[[0, 1, 5]]).all()


def nodes(*rows: tuple[float, float, str | None]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"expected_ratio": e, "coverage_ratio": c, "check": check} for e, c, check in rows], NODES
    )


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "empty"),
        ([(1.0, 1.0, None)], "complete"),
        ([(1.0, 0.9901, None)], "complete"),
        ([(1.0, 0.9899, None)], "partial"),
        ([(1.0, 1.0, None), (1.0, 0.5, None)], "partial"),
        ([(1 / 3, 1 / 3, None)], "complete"),
        ([(0.2, 0.9, None)], "complete"),
        ([(1.0, 1.0, "workloads_exceed_active")], "partial"),
    ],
)
def test_only_a_hole_or_a_failed_check_makes_an_hour_partial(
    rows: list[tuple[float, float, str | None]], state: str
) -> None:
    assert hour_state(nodes(*rows)) == state


def cluster(n1: list[float], n2: list[float]) -> Made:
    made = Made()
    for node, at in (("n1", n1), ("n2", n2)):
        made.node(line(60, at), line(40, at), node=node)
    return made


def test_g22_a_node_that_joins_at_1040_leaves_no_hole() -> None:
    table = cluster(scrapes("10:40", "11:15"), scrapes(*ALWAYS)).fold().nodes
    row = only(table, node="n1")
    assert row["coverage_ratio"] == pytest.approx(1 / 3)
    assert row["expected_ratio"] == pytest.approx(1 / 3)
    assert hour_state(table) == "complete"


def test_g22_a_prometheus_silent_from_1020_leaves_a_hole_on_every_node() -> None:
    table = cluster(scrapes("09:45", "10:20"), scrapes("09:45", "10:20")).fold().nodes
    for row in table.to_pylist():
        assert row["coverage_ratio"] == pytest.approx(1 / 3)
        assert row["expected_ratio"] == 1.0
    assert hour_state(table) == "partial"


def test_a_silent_exporter_on_a_node_that_kubernetes_still_sees_is_a_hole() -> None:
    made = cluster(scrapes("09:45", "10:20"), scrapes(*ALWAYS))
    table = made.fold(presence=presence(n1=ALWAYS, n2=ALWAYS)).nodes
    assert only(table, node="n1")["expected_ratio"] == 1.0
    assert hour_state(table) == "partial"


def test_an_hour_in_which_kube_state_metrics_was_silent_falls_back_on_the_meters_own_scrapes() -> None:
    # it was last seen at 09:58, inside the extract; the node itself misses 10:20 to 10:40
    at = [*scrapes("09:45", "10:20"), *scrapes("10:40", "11:15")]
    table = cluster(at, scrapes(*ALWAYS)).fold(presence=presence(n1=("09:45", "09:58"), n2=("09:45", "09:58"))).nodes
    assert only(table, node="n1")["expected_ratio"] == 1.0
    assert only(table, node="n1")["coverage_ratio"] == pytest.approx(2 / 3)
    assert hour_state(table) == "partial"


def test_coverage_is_that_of_the_node_counter_on_every_row() -> None:
    at = [*scrapes("09:45", "10:15"), *scrapes("10:45", "11:15")]
    lives: Points = line(1, [s for s in at if s <= 600])
    energy = Made().node(line(60, at), line(40, at)).pod("uid", lives).fold()
    assert energy.rows["coverage_ratio"].to_pylist() == pytest.approx([0.5] * 3)


def test_a_node_that_leaves_soon_after_the_hour_was_there_for_all_of_it() -> None:
    assert expected(presence(n1=("09:45", "11:03"), n2=ALWAYS)) == 1.0
