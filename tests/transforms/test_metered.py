"""A node's own meter across gaps, restarts and wraps; numbers worked out beside each test."""

from itertools import pairwise

import pytest

from tests.transforms.made import (
    AMD_RANGE,
    PACKAGE_RANGE,
    Made,
    Points,
    clock,
    fold_both_ways,
    line,
    only,
    scrapes,
    where,
)

WHOLE_HOUR = scrapes("09:45", "11:15")


def hundred_watts(*spans: tuple[str, str]) -> Made:
    """60 W active and 40 W idle, seen in the spans only."""
    at = [second for span in spans for second in scrapes(*span)]
    return Made().node(line(60, at), line(40, at, 5_000))


def metered(made: Made, hour: int = 0) -> dict[str, object]:
    return only(made.fold(hour).nodes)


@pytest.mark.parametrize("cuts", [[5], [1, 1, 1, 1, 1], [2, 3]])
def test_f2_a_hole_of_hours_gives_one_answer_however_it_is_cut(cuts: list[int]) -> None:
    # down 10:20 to 13:40: 20 min x 100 W = 120 kJ in hour 10 and in hour 13, a whole 360 kJ in hour 14
    made = hundred_watts(("09:45", "10:20"), ("13:40", "15:15"))
    found = {}
    for index, hours in enumerate(cuts):
        for row in made.fold(sum(cuts[:index]), hours).nodes.to_pylist():
            found[row["hour_utc"].hour] = (row["metered_joules"], row["coverage_ratio"], row["unplaced_joules"])
    assert found == {
        10: (pytest.approx(120_000), pytest.approx(1 / 3), 0.0),
        13: (pytest.approx(120_000), pytest.approx(1 / 3), None),  # its last sample is too old for hour 13 to know
        14: (pytest.approx(360_000), pytest.approx(1.0), 0.0),
    }


def test_f2_what_was_silent_over_an_hour_edge_is_unplaced_in_the_hour_of_its_return() -> None:
    # 10:55 to 11:20: 25 min x 100 W = 150 kJ; 10:55 lies within ten minutes before 11:00
    energy = fold_both_ways(hundred_watts(("09:45", "10:55"), ("11:20", "12:15")), 0, 2)
    assert only(energy.nodes, hour=0)["unplaced_joules"] == 0.0
    assert only(energy.nodes, hour=0)["metered_joules"] == pytest.approx(330_000)
    assert only(energy.nodes, hour=1)["unplaced_joules"] == pytest.approx(150_000)
    assert only(energy.nodes, hour=1)["metered_joules"] == pytest.approx(240_000)


@pytest.mark.parametrize(
    ("last", "back", "unplaced"),
    [
        ("10:30", "11:20", None),
        ("10:50", "11:05", 90_000.0),
        ("10:49:59.999", "11:05", None),
        ("10:20", "10:40", 120_000.0),
    ],
)
def test_g11_unplaced_joules_belong_to_one_hour_or_are_null(last: str, back: str, unplaced: float | None) -> None:
    at = [*scrapes("09:45", last), *scrapes(back, "12:15")]
    at = sorted({*at, clock(last)})
    energy = fold_both_ways(Made().node(line(60, at), line(40, at)), 0, 2)
    returns = 0 if back < "11" else 1
    assert only(energy.nodes, hour=returns)["unplaced_joules"] == (
        None if unplaced is None else pytest.approx(unplaced)
    )
    assert only(energy.nodes, hour=1 - returns)["unplaced_joules"] == 0.0


def test_a_restart_behind_a_gap_leaves_the_gap_unknown() -> None:
    before, after = scrapes("09:45", "10:20"), scrapes("10:40", "11:15")
    made = Made().node([*line(60, before), *line(60, after)], [*line(40, before), *line(40, after, 9e4)])
    row = metered(made)
    assert row["unplaced_joules"] is None
    assert row["metered_joules"] == pytest.approx(240_000)


@pytest.mark.parametrize(("seconds", "joined"), [(600.0, True), (600.001, False)])
def test_samples_exactly_max_gap_apart_are_joined_and_one_millisecond_more_are_not(
    seconds: float, *, joined: bool
) -> None:
    at = [0.0, seconds]
    row = metered(Made().node(line(60, at), line(40, at)))
    assert row["coverage_ratio"] == pytest.approx(seconds / 3600 if joined else 0.0)
    assert row["metered_joules"] == (pytest.approx(60_000) if joined else None)
    assert row["unplaced_joules"] == pytest.approx(0 if joined else 60_000.1)


def test_an_interval_that_ends_exactly_at_the_hour_belongs_to_the_hour_before() -> None:
    at = [clock("10:59:30"), clock("11:00")]
    made = Made().node(line(60, at), line(40, at))
    assert metered(made)["metered_joules"] == pytest.approx(3_000)
    assert made.fold(1).nodes.num_rows == 0


def test_a_scrape_counts_only_if_both_accounting_counters_were_seen() -> None:
    # idle is missing from 10:20 to 10:40: not joined, though active alone would be
    at = WHOLE_HOUR
    made = Made().node(line(60, at), [p for p in line(40, at) if not clock("10:20") < p[0] < clock("10:40")])
    row = metered(made)
    assert row["coverage_ratio"] == pytest.approx(2 / 3)
    assert row["metered_joules"] == pytest.approx(240_000)


def test_bad_values_are_gaps_in_a_counter_not_energy() -> None:
    points = list(line(60, WHOLE_HOUR))
    for index, value in ((40, float("nan")), (50, float("inf")), (60, -1.0)):
        points[index] = (points[index][0], value)
    row = metered(Made().node(points, line(40, WHOLE_HOUR)))
    assert row["metered_joules"] == pytest.approx(360_000)
    assert row["resets"] == 0


def restarted(
    raw_after: float | None, idle_after: float, watts_in_gap: float = 100.0, active_after: float = 1_200.0
) -> Made:
    """Kepler restarts at 10:10:10, between the scrapes of 10:10:00 and 10:10:30; 100 W before and after.

    `raw_after`: how far the register moved over that interval; the new active counter holds 20 s x 60 W = 1200 J.
    """
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    raw: Points = ()
    if raw_after is not None:
        first = line(100, before, 300_000)
        raw = [*first, *line(100, after, first[-1][1] + raw_after)]
    return Made().node(
        [*line(60, before, 7_000), *line(60, after, active_after)],
        [*line(40, before, 50_000), *line(40, after, idle_after)],
        raw,
    )


def test_g4_the_register_bridges_a_restart_less_what_active_counts_again() -> None:
    # the gap drew 150 W: the register moved 4500 J, active holds 1200 J of them, 3300 J are bridged
    row = metered(restarted(raw_after=4_500, idle_after=20_000))
    assert row["bridged_joules"] == pytest.approx(3_300)
    assert row["metered_joules"] == pytest.approx(357_000 + 4_500)
    assert row["resets"] == 1


@pytest.mark.parametrize("jump", [PACKAGE_RANGE, -PACKAGE_RANGE, 2 * PACKAGE_RANGE, AMD_RANGE])
def test_g4_a_register_of_several_sockets_that_jumped_by_whole_ranges_bridges_no_more_than_was_drawn(
    jump: float,
) -> None:
    # 4500 J drawn, 1200 J of them in the new active counter; taken literally, the bridge would be 265 kJ
    row = metered(restarted(4_500 + jump, idle_after=20_000))
    assert row["bridged_joules"] == pytest.approx(3_300)
    assert row["metered_joules"] == pytest.approx(357_000 + 4_500)


@pytest.mark.parametrize("raw_after", [-200.0, 20_000.0, None])
def test_g4_a_register_that_explains_nothing_is_not_believed_and_the_last_power_bridges(
    raw_after: float | None,
) -> None:
    # 100 W x 30 s = 3000 J, of which active holds 1200 J
    row = metered(restarted(raw_after, idle_after=20_000))
    assert row["bridged_joules"] == pytest.approx(1_800)
    assert row["metered_joules"] == pytest.approx(360_000)


def test_an_idle_counter_that_rises_at_a_restart_is_a_phantom() -> None:
    # the new exporter books a whole register as idle: 50 kJ -> 262 kJ, seen by active's drop alone
    row = metered(restarted(raw_after=3_000, idle_after=262_000))
    assert row["metered_joules"] == pytest.approx(360_000)
    assert row["idle_joules"] == pytest.approx(360_000 - 3570 * 60 - 1_200)


def test_an_idle_drop_tells_a_restart_that_active_hides() -> None:
    # active restarts above its old value? then idle's drop is the evidence: its new 5 J count, not the difference of 3
    before, after = scrapes("10:00", "10:01"), scrapes("10:01:30", "10:10")
    made = Made().node([*line(0, before, 2), *line(0, after, 5)], [*line(40, before, 9_000), *line(40, after, 100)])
    energy = made.fold()
    assert only(energy.nodes)["resets"] == 1
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(5)


def test_without_any_known_power_nothing_is_bridged() -> None:
    at = [0.0, 30.0, 60.0]
    made = Made().node([(0.0, 500.0), (30.0, 20.0), (60.0, 1_820.0)], line(40, at), line(100, at))
    row = metered(made)
    assert row["bridged_joules"] == 0.0
    assert row["metered_joules"] == pytest.approx(20 + 1_800 + 1_200)


def test_two_restarts_in_a_row_are_both_bridged_by_the_power_before_them() -> None:
    # active: 10 s and 25 s of 60 W count again; each bridge is 3000 J less that
    at = scrapes("10:00", "10:12")
    active = dict(line(60, at))
    active |= {330.0: 600.0, 360.0: 1_500.0} | dict(line(60, [s for s in at if s > 360], 1_500, since=360))
    idle = dict(line(40, at, 1_000)) | {330.0: 8_000.0, 360.0: 3_000.0}
    idle |= dict(line(40, [s for s in at if s > 360], 3_000, since=360))
    made = Made().node(sorted(active.items()), sorted(idle.items()))
    # 360 s: active rises from 600 to 1500, but idle falls: the second restart
    row = metered(made)
    assert row["resets"] == 2
    assert row["bridged_joules"] == pytest.approx(3_000 - 600 + 3_000 - 1_500)
    assert row["metered_joules"] == pytest.approx(72_000)


def test_a_dram_restart_is_seen_through_the_package_counter() -> None:
    # dram: active rises from 1 J to 6 J over the restart and idle from 2 kJ to 60 kJ: nothing of dram itself falls
    before, after = scrapes("09:45", "10:10"), scrapes("10:10:30", "11:15")
    made = restarted(raw_after=3_000, idle_after=20_000).node(
        [*line(0, before, 1), *line(0.3, after, 6)],
        [*line(5, before, 2_000), *line(5, after, 60_000)],
        component="dram",
    )
    row = only(made.fold().nodes, component="dram")
    assert row["resets"] == 1
    # 600 s before and 2970 s after at 5 W, 0.3 W active after, 6 J of the new counter, 5 W x 30 s less 6 J bridged
    assert row["metered_joules"] == pytest.approx(3_570 * 5 + 2_970 * 0.3 + 6 + 150 - 6)
    assert row["bridged_joules"] == pytest.approx(144)


def test_a_restart_counts_where_another_component_shows_it_in_a_longer_interval() -> None:
    # torn scrapes: dram misses both stamps of the package's restart and shows it over 90 s
    at = scrapes("10:00", "10:10")
    before, after = [s for s in at if s < 300], [s for s in at if s >= 300]
    active = [*line(60, before, 7_000), *line(60, after, 1_200)]
    idle = [*line(40, before, 50_000), *line(40, after, 20_000)]
    torn_active, torn_idle = ([p for p in points if p[0] not in (270, 300)] for points in (active, idle))
    energy = Made().node(active, idle).node(torn_active, torn_idle, component="dram").fold()
    for component in ("package", "dram"):
        assert only(energy.nodes, component=component)["resets"] == 1
    # 10 min x 100 W, 30 s of it by the new active counter's 1200 J and a bridge of 1800 J
    assert only(energy.nodes, component="package")["metered_joules"] == pytest.approx(60_000)


def test_a_restart_stays_on_its_node() -> None:
    made = restarted(raw_after=3_000, idle_after=20_000).node(line(60, WHOLE_HOUR), line(40, WHOLE_HOUR), node="n2")
    assert only(made.fold().nodes, node="n2")["resets"] == 0


@pytest.mark.parametrize(
    ("range_joules", "sockets", "tolerance"), [(PACKAGE_RANGE, 1, 1e-9), (AMD_RANGE, 1, 1e-9), (PACKAGE_RANGE, 2, 1e-9)]
)
def test_wraps_of_the_register_are_followed(range_joules: float, sockets: int, tolerance: float) -> None:
    raw = [
        (s, v % (range_joules * sockets))
        for s, v in line(100, WHOLE_HOUR, range_joules * sockets - 200_000 % range_joules)
    ]
    falls = [b < a for (_, a), (s, b) in pairwise(raw) if 0 < s <= 3_600]
    row = metered(Made().node(line(60, WHOLE_HOUR), line(40, WHOLE_HOUR), raw))
    assert row["wraps"] == sum(falls) >= 1
    assert row["cross_ratio"] == pytest.approx(1.0, rel=tolerance)
    assert row["cross_meter"] == "kepler_node_cpu_joules_total"


def test_a_wrap_that_two_ranges_explain_makes_the_ratio_null_not_one() -> None:
    # 2 kW, then 30 kJ in 60 s with a wrap: the fall is 35 533 J; 65 532 J gives 30 kJ, 262 143 J gives 226.6 kJ,
    # and twice the last power allows 240 kJ: both fit
    at = [0.0, 30.0, 90.0]
    raw = [(0.0, 1_000.0), (30.0, 61_000.0), (90.0, 61_000 + 30_000 - AMD_RANGE)]
    made = Made().node(
        [(s, v) for s, v in zip(at, (0.0, 36_000.0, 54_000.0), strict=True)],
        [(s, v) for s, v in zip(at, (0.0, 24_000.0, 36_000.0), strict=True)],
        raw,
    )
    row = metered(made)
    assert row["cross_ratio"] is None
    assert row["cross_meter"] is None
    assert row["metered_joules"] == pytest.approx(90_000)


def test_an_interval_that_could_hide_a_whole_range_makes_the_ratio_null() -> None:
    # 300 W over 250 s is 75 kJ, more than a whole 65.5 kJ range
    at = [*scrapes("10:00", "10:10"), *scrapes("10:14:10", "11:15")]
    row = metered(Made().node(line(200, at), line(100, at), line(300, at)))
    assert row["cross_ratio"] is None
    assert row["coverage_ratio"] == pytest.approx(1.0)


def test_without_a_register_the_ratio_is_null() -> None:
    assert metered(hundred_watts(("09:45", "11:15")))["cross_ratio"] is None


def test_r5_energy_comes_from_the_accumulators_and_the_register_only_judges() -> None:
    row = metered(Made().node(line(60, WHOLE_HOUR), line(40, WHOLE_HOUR), line(200, WHOLE_HOUR)))
    assert row["metered_joules"] == pytest.approx(360_000)
    assert row["cross_ratio"] == pytest.approx(2.0)


def test_an_hour_without_a_single_sample_is_empty_not_an_error() -> None:
    energy = hundred_watts(("09:45", "10:20"), ("13:40", "15:15")).fold(2)
    assert (energy.rows.num_rows, energy.nodes.num_rows, energy.withheld.num_rows) == (0, 0, 0)
    assert energy.unmetered == []


def test_r6_idle_is_a_row_of_its_own() -> None:
    energy = hundred_watts(("09:45", "11:15")).fold()
    assert only(energy.rows, kind="idle")["energy_joules"] == pytest.approx(144_000)
    assert only(energy.rows, kind="system")["energy_joules"] == pytest.approx(216_000)
    assert where(energy.rows, kind="workload") == []
