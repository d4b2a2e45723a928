"""One meter accounts per node, component group and hour: by hand, and that no joule stands in two rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.transforms.accounting import COMPONENTS, Candidate, Group, accounting, choose, cross_check, with_refused
from pipeline.transforms.energy import Energy
from pipeline.transforms.refold import better_covered
from pipeline.transforms.sheet import WITHHELD
from pipeline.window import HOUR
from tests.transforms.made import START, Made, line, only, scrapes, where

ORDERS: Mapping[Group, Sequence[str]] = {"cpu": ("kepler", "scaphandre"), "gpu": ("dcgm", "kepler")}
WATTS = {"active": 60.0, "idle": 40.0, "pod": 25.0}


def renamed(energy: Energy, meter: str, component: str | None = None) -> Energy:
    """The same figures as another meter would have given them, under another component if asked."""

    def other(table: pa.Table) -> pa.Table:
        changed = {"meter": meter} | ({"component": component} if component else {})
        rows = [row | {k: v for k, v in changed.items() if k in row} for row in table.to_pylist()]
        return pa.Table.from_pylist(rows, table.schema)

    return replace(energy, rows=other(energy.rows), nodes=other(energy.nodes), withheld=other(energy.withheld))


def metered(
    meter: str,
    begin: str = "09:50",
    end: str = "12:10",
    *,
    scale: float = 1.0,
    component: str = "package",
    node: str = "n1",
    hours: int = 2,
) -> Energy:
    """A meter that saw one node from `begin` to `end`, with one pod."""
    at = scrapes(begin, end)
    made = Made().node(line(WATTS["active"] * scale, at), line(WATTS["idle"] * scale, at, 1000.0), node=node)
    made.pod("a", line(WATTS["pod"] * scale, at), node=node)
    return renamed(made.fold(0, hours), meter, component)


def whole(energy: Energy, hour: int = 0) -> set[str]:
    return {row["meter"] for row in where(energy.nodes, hour=hour)}


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [(1.0, 1.0, "a"), (0.991, 1.0, "a"), (0.99, 1.0, "a"), (0.98, 1.0, "b"), (0.0, 0.0, "a"), (0.3, 0.295, "a")],
)
def test_the_first_meter_accounts_unless_another_covers_a_hundredth_more(
    first: float, second: float, chosen: str
) -> None:
    assert accounting([Candidate("a", first, {}), Candidate("b", second, {})]) == chosen


def test_two_meters_of_one_node_give_the_rows_of_the_first_alone() -> None:
    ours, other = metered("kepler"), metered("scaphandre", scale=1.05)
    chosen = choose({"scaphandre": other, "kepler": ours}, ORDERS)
    assert chosen.rows.equals(ours.rows)
    assert whole(chosen) == whole(chosen, 1) == {"kepler"}
    row = only(chosen.nodes, hour=0)
    assert (row["metered_joules"], row["cross_meter"]) == (pytest.approx(360_000), "scaphandre")
    assert row["cross_ratio"] == pytest.approx(1.05)


def test_no_joule_stands_in_two_rows_whatever_the_components_are_called() -> None:
    parts = {"kepler": metered("kepler"), "scaphandre": metered("scaphandre", component="psys", scale=1.4)}
    chosen = choose(parts, ORDERS)
    assert {row["component"] for row in chosen.rows.to_pylist()} == {"package"}
    assert sum(chosen.rows["energy_joules"].to_pylist()) == pytest.approx(2 * 360_000)
    assert only(chosen.nodes, hour=0)["cross_meter"] is None, "the platform is another boundary than the package"


def test_the_switch_is_clean_at_an_hour_edge_when_a_meter_vanishes() -> None:
    ours, other = metered("kepler", end="11:05"), metered("scaphandre", scale=1.1)
    chosen = choose({"kepler": ours, "scaphandre": other}, ORDERS)
    assert (whole(chosen, 0), whole(chosen, 1)) == ({"kepler"}, {"scaphandre"})
    assert sum(row["energy_joules"] for row in where(chosen.rows, hour=0)) == pytest.approx(360_000)
    assert sum(row["energy_joules"] for row in where(chosen.rows, hour=1)) == pytest.approx(396_000)
    assert only(chosen.nodes, hour=1)["cross_meter"] is None, "five minutes of the other say nothing of the hour"


def test_each_hour_alone_gives_the_same_choice_as_both_together() -> None:
    at = scrapes("09:50", "12:10")
    made = Made().node(line(60, at), line(40, at, 7.0)).pod("a", line(20, at))
    short = Made().node(line(61, at[:150]), line(40, at[:150], 7.0)).pod("a", line(20, at[:150]))

    def chosen(first: int, hours: int) -> Energy:
        folds = {"kepler": short.fold(first, hours), "scaphandre": renamed(made.fold(first, hours), "scaphandre")}
        return choose(folds, ORDERS)

    together = chosen(0, 2)
    for table in ("rows", "nodes"):
        apart = pa.concat_tables([getattr(chosen(0, 1), table), getattr(chosen(1, 1), table)])
        key = [("hour_utc", "ascending"), ("meter", "ascending")]
        assert apart.sort_by(key).to_pylist() == getattr(together, table).sort_by(key).to_pylist()
    assert whole(together, 0) != whole(together, 1)


def test_cpu_and_gpu_are_chosen_apart() -> None:
    kepler_cpu, kepler_gpu = metered("kepler"), metered("kepler", component="gpu")
    both = Energy(
        *(pa.concat_tables([getattr(kepler_cpu, t), getattr(kepler_gpu, t)]) for t in ("rows", "nodes", "withheld")), []
    )
    dcgm = metered("dcgm", component="gpu", scale=2.0)
    chosen = choose({"kepler": both, "dcgm": dcgm}, ORDERS)
    assert {(row["component"], row["meter"]) for row in chosen.rows.to_pylist()} == {
        ("package", "kepler"), ("gpu", "dcgm"),
    }  # fmt: skip
    assert only(chosen.nodes, hour=0, component="gpu")["cross_ratio"] == pytest.approx(0.5)


def test_a_meter_outside_a_groups_order_has_no_say_in_it() -> None:
    chosen = choose({"dcgm": metered("dcgm", component="package"), "kepler": metered("kepler", end="11:05")}, ORDERS)
    assert whole(chosen, 1) == {"kepler"}


def test_nodes_are_chosen_apart() -> None:
    parts = {"kepler": metered("kepler", node="n1"), "scaphandre": metered("scaphandre", node="n2")}
    chosen = choose(parts, ORDERS)
    assert {(row["node"], row["meter"]) for row in chosen.nodes.to_pylist()} == {("n1", "kepler"), ("n2", "scaphandre")}


def test_withheld_rows_follow_their_meter() -> None:
    at = scrapes("09:50", "11:10")
    broken = Made().node(line(10, at), line(40, at)).pod("a", line(25, at)).fold()
    assert broken.withheld.num_rows == 1
    good = renamed(metered("kepler", hours=1), "scaphandre")
    assert choose({"kepler": broken, "scaphandre": good}, ORDERS).withheld.num_rows == 1
    other_first: Mapping[Group, Sequence[str]] = {"cpu": ("scaphandre", "kepler"), "gpu": ()}
    assert choose({"kepler": broken, "scaphandre": good}, other_first).withheld.num_rows == 0


def test_a_node_is_unmetered_only_where_no_meter_of_its_group_reads_it() -> None:
    kepler, later = metered("kepler", hours=1), START + HOUR
    blind = replace(metered("scaphandre", node="n9"), unmetered=[(START, "n1"), (START, "n2"), (later, "n1")])
    found = choose({"scaphandre": blind, "kepler": kepler}, ORDERS).unmetered
    assert found == [(START, "n2"), (later, "n1")], "that a meter read it in another hour is no comfort"
    of_gpu = metered("dcgm", component="gpu", node="n2")
    assert choose({"scaphandre": blind, "dcgm": of_gpu}, ORDERS).unmetered == sorted(blind.unmetered)


def test_the_ratio_compares_what_both_meter() -> None:
    ours = Candidate("kepler", 1.0, {"package": 300.0, "dram": 30.0})
    assert cross_check(ours, [ours, Candidate("s", 0.995, {"package": 303.0})]) == ("s", pytest.approx(1.01))
    assert cross_check(ours, [ours, Candidate("s", 0.98, {"package": 303.0})]) is None
    assert cross_check(ours, [ours, Candidate("s", 1.0, {"psys": 400.0})]) is None
    assert cross_check(ours, [ours]) is None
    assert cross_check(Candidate("k", 1.0, {"package": 0.0}), [Candidate("s", 1.0, {"package": 1.0})]) is None


def test_the_registers_ratio_stays_where_there_is_no_second_meter() -> None:
    at = scrapes("09:50", "11:10")
    made = Made().node(line(60, at), line(40, at, 9.0), line(101, at, 5.0)).fold()
    row = only(choose({"kepler": made}, ORDERS).nodes, hour=0)
    assert (row["cross_meter"], row["cross_ratio"]) == ("kepler_node_cpu_joules_total", pytest.approx(1.01))


def test_nothing_at_all_is_nothing() -> None:
    chosen = choose({}, ORDERS)
    assert (chosen.rows.num_rows, chosen.nodes.num_rows, chosen.withheld.num_rows, chosen.unmetered) == (0, 0, 0, [])


def test_every_component_of_the_tables_belongs_to_one_group() -> None:
    held = [component for group in COMPONENTS.values() for component in group]
    assert sorted(held) == ["dram", "gpu", "other", "package", "psys"]


def test_of_an_hour_folded_again_each_group_keeps_its_better_covered_figures() -> None:
    """GPU samples that expired must not take the stored GPU figures with them, however good the new CPU figures are."""
    cpu, gpu = metered("kepler", hours=1), metered("dcgm", component="gpu", hours=1)
    first = choose({"kepler": metered("kepler", begin="10:30", hours=1), "dcgm": gpu}, ORDERS)
    again = better_covered(choose({"kepler": cpu}, ORDERS), first.rows, first.nodes, first.withheld, first.processes)
    assert {(row["meter"], row["coverage_ratio"]) for row in again.nodes.to_pylist()} == {
        ("kepler", 1.0),
        ("dcgm", 1.0),
    }
    assert sum(again.rows["energy_joules"].to_pylist()) == pytest.approx(2 * 360_000)


def test_what_a_fold_refused_itself_is_counted_beside_its_energy() -> None:
    gpu = metered("dcgm", component="gpu", hours=1)
    row = {
        "hour_utc": START,
        "cluster": "demo",
        "node": "n1",
        "component": "gpu",
        "check": "implausible",
        "evidence": "e",
    }
    refused = pa.Table.from_pylist([row | {"energy_joules": 5e9}, row | {"energy_joules": None}], WITHHELD)
    counted = with_refused(gpu, refused)
    node = only(counted.nodes)
    assert (node["quarantined_joules"], node["check"], node["metered_joules"]) == (5e9, "implausible", 360_000)
    assert counted.withheld.num_rows == 2
    codes = pa.Table.from_pylist([row | {"energy_joules": None}], WITHHELD)
    assert only(with_refused(gpu, codes).nodes)["check"] is None, "a code for none is no energy"
