"""Of several servers one accounts for a node-hour, whole, and workloads that only another saw keep the node's sum."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from pipeline.demo.fleet import FleetSpec, churning, outages, restarting
from pipeline.demo.replicas import replicas
from pipeline.demo.spec import Replica
from pipeline.demo.transport import FleetTransport
from pipeline.tables import values
from pipeline.transforms.energy import Energy
from pipeline.transforms.platform import PlatformReading
from pipeline.transforms.replicas import ServerEnergy, best_read, join_servers, with_skews
from pipeline.window import HOUR, Window
from tests.test_additivity import fold_extract, starts_of
from tests.transforms.made import START, Made, differences, joined, joules, line, only, scrapes, stamp_ms, where

NAMES = ("http://a", "http://b", "http://c")
WHOLE = scrapes("09:55", "11:05")
ACTIVE_WATTS, IDLE_WATTS, POD_WATTS = 10.0, 5.0, 4.0


def seen(made: Made, node: str = "n1", at: list[float] = WHOLE) -> Made:
    """A node of 10 W active and 5 W idle, with a pod of 4 W."""
    made.node(line(ACTIVE_WATTS, at), line(IDLE_WATTS, at), node=node)
    return made.pod(f"u-{node}", line(POD_WATTS, at, joules=500.0), node=node)


def brief(made: Made, uid: str, watts: float, begin: str = "10:20:15", end: str = "10:21", node: str = "n1") -> Made:
    """A pod that came and went, all of it seen."""
    first = scrapes(begin, end, 15)
    return made.pod(uid, line(watts, [s for s in first if s % 30 == 0], since=first[0]), node=node, name=uid)


def join(*energies: Energy, shards: tuple[int, ...] = (0, 0, 0)) -> Energy:
    parts = [ServerEnergy(number, shards[number], energy) for number, energy in enumerate(energies)]
    return join_servers(parts, NAMES).energy


def node_row(energy: Energy, node: str = "n1", hour: int = 0) -> dict[str, Any]:
    return only(energy.nodes, node=node, hour=hour, component="package")


def system(energy: Energy) -> float:
    return float(only(energy.rows, kind="system")["energy_joules"])


def assert_conserved(energy: Energy) -> None:
    for row in energy.nodes.to_pylist():
        place = {name: row[name] for name in ("hour_utc", "node", "component")}
        mine = where(energy.rows, **place)
        if row["metered_joules"] is None:
            assert mine == []
            continue
        total = math.fsum(r["energy_joules"] for r in mine) + (row["residual_joules"] or 0.0)
        assert total == pytest.approx(row["metered_joules"], rel=1e-9)
        for kind in ("workload", "system", "idle"):
            part = math.fsum(r["energy_joules"] for r in mine if r["kind"] == kind)
            assert part == pytest.approx(row[f"{kind}_joules"] or 0.0, rel=1e-9, abs=1e-9), (kind, place)
        for r in mine:
            assert r["energy_joules"] >= 0
            assert -1e-9 <= r["tail_joules"] <= r["energy_joules"] * (1 + 1e-9) + 1e-9
            assert r["coverage_ratio"] == row["coverage_ratio"]
            if r["step_joules"] is not None:
                assert math.fsum(r["step_joules"]) == pytest.approx(r["energy_joules"], rel=1e-9)
                assert min(r["step_joules"]) >= 0


# which server accounts


def test_equal_replicas_give_the_first_ones_figures_once() -> None:
    one, other = seen(Made()).fold(), seen(Made()).fold()
    both = join(one, other)
    assert differences(one, both) == []
    assert node_row(both)["metered_joules"] == pytest.approx(15.0 * 3600)


@pytest.mark.parametrize(("missing_minutes", "winner"), [(0.5, "first"), (1.0, "second")])
def test_the_first_replica_accounts_unless_it_lacks_more_than_a_hundredth_of_the_hour(
    missing_minutes: float, winner: str
) -> None:
    """A hole of 11 minutes and half a minute more or less at its end: coverages differ by less or more than 0.01."""
    hole = [s for s in WHOLE if not 600 < s < 600 + 660 + 60 * missing_minutes]
    second = [s for s in WHOLE if not 600 < s < 600 + 660]
    one, other = seen(Made(), at=hole).fold(), seen(Made(), at=second).fold()
    ratio = {"first": node_row(one), "second": node_row(other)}[winner]["coverage_ratio"]
    assert node_row(one)["coverage_ratio"] < node_row(other)["coverage_ratio"] < 0.82
    assert node_row(join(one, other))["coverage_ratio"] == ratio


def test_each_node_and_hour_is_decided_for_itself() -> None:
    early, late = [s for s in WHOLE if s < 1800], [s for s in WHOLE if s > 900]
    one = seen(seen(Made(), "n1"), "n2", early).fold()
    other = seen(seen(Made(), "n1", early), "n2", late).fold()
    both = join(one, other)
    assert {row["node"]: row["coverage_ratio"] for row in both.nodes.to_pylist()} == {
        "n1": 1.0, "n2": node_row(other, "n2")["coverage_ratio"],
    }  # fmt: skip
    assert {row["node"] for row in both.rows.to_pylist()} == {"n1", "n2"}
    assert_conserved(both)


def test_a_node_that_only_one_replica_shows_is_its_own() -> None:
    one, other = seen(Made()).fold(), seen(seen(Made()), "n2").fold()
    assert {row["node"] for row in join(one, other).nodes.to_pylist()} == {"n1", "n2"}


def test_a_node_without_counters_on_one_replica_is_not_unmetered_if_the_other_has_them() -> None:
    bare = Made().pod("u", line(POD_WATTS, WHOLE)).fold()
    assert [node for _, node in bare.unmetered] == ["n1"]
    assert join(seen(Made()).fold(), bare).unmetered == []
    assert join(bare, bare).unmetered == bare.unmetered


# what only another replica saw


def test_a_workload_that_only_the_other_replica_saw_comes_out_of_system() -> None:
    one, other = seen(Made()).fold(), brief(seen(Made()), "gone", 3.0).fold()
    both = join(one, other)
    assert joules(other, "gone") == pytest.approx(3.0 * 45)
    assert joules(both, "gone") == pytest.approx(3.0 * 45)
    assert system(one) == pytest.approx(6.0 * 3600)
    assert system(both) == pytest.approx(6.0 * 3600 - 3.0 * 45)
    assert node_row(both)["workload_joules"] == pytest.approx(4.0 * 3600 + 3.0 * 45)
    assert_conserved(both)


def test_no_more_is_moved_than_system_has_and_those_who_ask_share_it() -> None:
    """System is 9 J an hour: two pods want 135 and 45 J."""
    one = Made().node(line(POD_WATTS + 0.0025, WHOLE), line(IDLE_WATTS, WHOLE)).pod("u-n1", line(POD_WATTS, WHOLE))
    other = brief(brief(seen(Made()), "much", 3.0), "little", 1.0)
    both = join(one.fold(), other.fold())
    assert joules(both, "much") == pytest.approx(9.0 * 3 / 4, rel=1e-6)
    assert joules(both, "little") == pytest.approx(9.0 / 4, rel=1e-6)
    assert system(both) == pytest.approx(0.0, abs=1e-9)
    assert_conserved(both)


def test_room_is_looked_for_step_by_step() -> None:
    """A pod of minutes 20 and 21 takes nothing from other steps."""
    one, other = seen(Made()).fold(step_minutes=5), brief(seen(Made()), "gone", 3.0).fold(step_minutes=5)
    both = join(one, other)
    (row,) = where(both.rows, pod_uid="gone")
    assert row["step_joules"] == pytest.approx([0.0] * 4 + [135.0] + [0.0] * 7)
    (left,) = where(both.rows, kind="system")
    assert left["step_joules"] == pytest.approx([1800.0] * 4 + [1665.0] + [1800.0] * 7)
    assert_conserved(both)


def test_a_last_total_that_the_other_replica_saw_replaces_an_estimated_tail() -> None:
    ends = scrapes("09:55", "10:30")
    cut = with_tail(seen(Made()).pod("dies", line(2.0, ends, joules=90.0)).fold(), "dies", 45.0)
    told = seen(Made()).pod("dies", line(2.0, [*ends, ends[-1] + 30], joules=90.0)).fold()
    assert_conserved(cut)
    both = join(cut, told)
    assert (
        joules(both, "dies") == pytest.approx(joules(told, "dies")) == pytest.approx(joules(cut, "dies") - 45.0 + 60.0)
    )
    assert only(both.rows, pod_uid="dies")["tail_joules"] == 0.0
    assert_conserved(both)
    assert differences(join(told, cut), told) == [], "and not the other way round"


def with_tail(energy: Energy, uid: str, tail_joules: float) -> Energy:
    """With a part of system given to a pod as an estimate."""
    moved = {"workload": tail_joules, "system": -tail_joules}
    rows = energy.rows.to_pylist()
    for row in rows:
        if row["pod_uid"] == uid or row["kind"] == "system":
            row["energy_joules"] += moved[row["kind"]]
            row["tail_joules"] = max(0.0, moved[row["kind"]])
    nodes = energy.nodes.to_pylist()
    for row in nodes:
        row |= {f"{kind}_joules": row[f"{kind}_joules"] + by for kind, by in moved.items()}
    return replace(
        energy,
        rows=pa.Table.from_pylist(rows, energy.rows.schema),
        nodes=pa.Table.from_pylist(nodes, energy.nodes.schema),
    )


def test_a_replica_that_covers_less_replaces_no_figure() -> None:
    half = [s for s in WHOLE if s < 2400]
    ends = scrapes("09:55", "10:30")
    one = with_tail(seen(Made()).pod("dies", line(2.0, ends, joules=90.0)).fold(), "dies", 45.0)
    other = seen(Made(), at=half).pod("dies", line(2.0, [*ends, ends[-1] + 30], joules=90.0)).fold()
    assert differences(join(one, other), one) == []


def test_where_a_meter_measures_system_the_residual_gives() -> None:
    one, other = seen(Made()).fold(), brief(seen(Made()), "gone", 3.0).fold()
    rows = [r | {"energy_joules": 6.0 * 3600 - 100.0} if r["kind"] == "system" else r for r in one.rows.to_pylist()]
    nodes = [r | {"system_joules": 6.0 * 3600 - 100.0, "residual_joules": 100.0} for r in one.nodes.to_pylist()]
    measured = replace(
        one,
        rows=pa.Table.from_pylist(rows, one.rows.schema),
        nodes=pa.Table.from_pylist(nodes, one.nodes.schema),
    )
    assert_conserved(measured)
    both = join(measured, other)
    assert joules(both, "gone") == pytest.approx(100.0), "135 J are asked for, 100 are not accounted for"
    assert system(both) == pytest.approx(6.0 * 3600 - 100.0)
    assert node_row(both)["residual_joules"] == pytest.approx(0.0, abs=1e-9)
    assert_conserved(both)


def test_nothing_is_moved_in_or_out_of_a_node_hour_that_failed_its_check() -> None:
    too_much = seen(Made()).pod("liar", line(30.0, WHOLE))
    sound = brief(seen(Made()), "gone", 3.0)
    withheld = too_much.fold()
    assert node_row(withheld)["check"] == "workloads_exceed_active"
    assert differences(join(withheld, sound.fold()), withheld) == []
    assert differences(join(seen(Made()).fold(), brief(too_much, "gone", 3.0).fold()), seen(Made()).fold()) == []


def test_of_two_others_that_saw_it_the_better_covered_is_believed() -> None:
    half = [s for s in WHOLE if s < 2400]
    one = seen(Made()).fold()
    worse, better = brief(seen(Made(), at=half), "gone", 2.0).fold(), brief(seen(Made()), "gone", 3.0).fold()
    assert joules(join(one, worse, better), "gone") == pytest.approx(3.0 * 45)
    assert joules(join(one, better, worse), "gone") == pytest.approx(3.0 * 45)


# shards


def test_shards_are_added_up_and_a_node_of_two_counts_once_and_is_told() -> None:
    one, other = seen(seen(Made()), "n2").fold(), brief(seen(seen(Made()), "n3"), "gone", 3.0).fold()
    parts = [ServerEnergy(0, 0, one), ServerEnergy(1, 1, other)]
    joined_ = join_servers(parts, NAMES)
    assert sorted(values(joined_.energy.nodes, "node")) == ["n1", "n2", "n3"]
    assert joules(joined_.energy, "gone") == 0.0, "a shard is no replica: what it says of another's node is left out"
    (remark,) = joined_.remarks
    assert (remark.check, remark.node, remark.joules, remark.lost_joules) == ("shards", "n1", 15.0 * 3600, 0.0)
    assert remark.text == "shown by shards http://a, which accounts, and http://b"


def test_a_node_that_moved_between_shards_loses_the_lesser_part_and_says_how_much() -> None:
    before, after = [s for s in WHOLE if s <= 1200], [s for s in WHOLE if s >= 1500]
    parts = [ServerEnergy(0, 0, seen(Made(), at=before).fold()), ServerEnergy(1, 1, seen(Made(), at=after).fold())]
    moved = join_servers(parts, NAMES)
    assert node_row(moved.energy)["coverage_ratio"] == pytest.approx(2100 / 3600)
    (remark,) = moved.remarks
    assert remark.joules == remark.lost_joules == pytest.approx(15.0 * 1200)


# over fleets


def spec_of(kind: str, seed: int) -> FleetSpec:
    made = {"churning": churning, "restarting": restarting, "outages": outages}[kind]
    start = datetime(2026, 11, 3, 22, tzinfo=UTC)
    return replace(made(seed, start, 4, nodes=2, pods_per_node=4), jobs_per_hour=25.0, missed_scrape_ratio=0.05)


@pytest.mark.parametrize("step_minutes", [60, 15])
@pytest.mark.parametrize("kind", ["churning", "restarting", "outages"])
def test_p1_and_p2_hold_for_replicas_of_a_fleet(kind: str, step_minutes: int) -> None:
    spec = spec_of(kind, 5)
    down = ((3_600_000, 5_400_000),)
    fleets = replicas(spec, Replica(1, downtimes_ms=down), Replica(2, clock_ms=-2_000), Replica(3, clock_ms=700))
    transports = [FleetTransport(fleet) for fleet in fleets]
    started_ms = [starts_of(one) for one in transports]

    def fold(window: Window) -> Energy:
        every = zip(transports, started_ms, strict=True)
        return join(*(fold_extract(one, window, step_minutes, known) for one, known in every))

    window = spec.window
    whole = fold(window)
    assert whole.rows.num_rows > 20
    assert_conserved(whole)
    for cuts in ([0, 1, 4], [0, 1, 2, 3, 4]):
        parts = [fold(Window(window.start + HOUR * a, window.start + HOUR * b)) for a, b in pairwise(cuts)]
        assert differences(whole, joined(parts[::-1])) == []


# skews and platform meters


def test_older_scrapes_are_counted_by_node_and_hour_each_hour_closed_on_its_right() -> None:
    energy = seen(seen(Made(), "n1"), "n2").fold(hours=1)
    stamps = {
        ("n1", stamp_ms(0)),
        ("n1", stamp_ms(0.001)),
        ("n1", stamp_ms(3600)),
        ("n1", stamp_ms(3600.001)),
        ("n3", stamp_ms(9)),
    }
    counted = with_skews(energy, stamps)
    assert {row["node"]: row["skews"] for row in counted.nodes.to_pylist()} == {"n1": 2, "n2": 0}
    assert counted.nodes.schema == energy.nodes.schema


def test_of_a_platform_meter_the_first_server_that_covers_it_as_well_as_the_best_is_read() -> None:
    place, other = (START, "n1"), (START + timedelta(hours=1), "n1")
    a, b = {place: PlatformReading(1.0, 0.5)}, {place: PlatformReading(2.0, 0.995), other: PlatformReading(4.0, 0.1)}
    c = {place: PlatformReading(3.0, 1.0)}
    assert best_read([a, b, c]) == {place: PlatformReading(2.0, 0.995), other: PlatformReading(4.0, 0.1)}
