"""A host and its guests are read twice and counted once, hour by hour; what is left out is told with its joules."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.checks import SCOPES, check_energy
from pipeline.tables import EMISSIONS, NODE_ENERGY, QUARANTINE, values
from pipeline.transforms.energy import NOTHING, Energy, join
from pipeline.transforms.processes import PROCESS_ROWS
from pipeline.transforms.refold import better_covered
from pipeline.transforms.scopes import Host, counted_once
from pipeline.transforms.sheet import ENERGY, NODES, WITHHELD
from tests.transforms.made import START

GUESTS = ("worker-3", "worker-4")
LATER = START + timedelta(hours=1)


def read(
    node: str, joules: float | None, coverage: float = 1.0, component: str = "package", hour: datetime = START
) -> Energy:
    """A node-hour of one system row, with a row in every other table."""
    place = {"hour_utc": hour, "node": node, "component": component, "cluster": "c", "meter": "kepler"}
    row = place | {"kind": "system", "energy_joules": joules, "coverage_ratio": coverage}
    of_node = place | {"metered_joules": joules, "system_joules": joules, "coverage_ratio": coverage}
    return replace(
        NOTHING,
        rows=pa.Table.from_pylist([row] if joules is not None else [], ENERGY),
        nodes=pa.Table.from_pylist([of_node], NODES),
        withheld=pa.Table.from_pylist([place | {"energy_joules": 1.0, "check": "residual"}], WITHHELD),
        processes=pa.Table.from_pylist([row | {"exe": "x"}] if component != "gpu" else [], PROCESS_ROWS),
    )


def scoped(*parts: Energy, count: Literal["host", "guests"] = "host") -> Energy:
    return counted_once(join(parts), [Host("hv-1", GUESTS, count)])


def nodes_of(energy: Energy) -> set[str]:
    """The nodes that are left, the same in every table."""
    left = set(values(energy.nodes, "node"))
    assert set(values(energy.withheld, "node")) == left
    assert set(values(energy.rows, "node")) <= left
    return left


def told(energy: Energy) -> str:
    return next(c.detail for c in check_energy(energy.nodes, [], energy.remarks) if c.name == SCOPES)


def test_the_guests_of_a_host_that_counts_are_left_out_with_all_their_rows_and_told() -> None:
    energy = scoped(read("hv-1", 900.0), read("worker-3", 12_345.4), read("worker-4", 200.0), read("n9", 50.0))
    assert nodes_of(energy) == {"hv-1", "n9"}
    assert set(values(energy.processes, "node")) == {"hv-1", "n9"}
    assert told(energy) == (
        "left out: worker-3's 12,345 J in 1 h: inside hv-1's reading; worker-4's 200 J in 1 h: inside hv-1's reading"
    )


def test_the_host_of_guests_that_count_is_left_out_and_what_is_in_no_figure_is_told() -> None:
    energy = scoped(read("hv-1", 900.0), read("worker-3", 300.0), read("worker-4", 200.0), count="guests")
    assert nodes_of(energy) == {"worker-3", "worker-4"}
    assert told(energy) == "left out: hv-1's 900 J in 1 h: its guests account, 400 J are in no figure"


@pytest.mark.parametrize("count", ["host", "guests"])
@pytest.mark.parametrize("alone", [("hv-1",), GUESTS, ("worker-4", "n9")])
def test_one_side_alone_counts_whatever_the_config_says(
    count: Literal["host", "guests"], alone: tuple[str, ...]
) -> None:
    energy = scoped(*(read(node, 100.0) for node in alone), count=count)
    assert nodes_of(energy) == set(alone)
    assert told(energy) == ""


@pytest.mark.parametrize("count", ["host", "guests"])
def test_a_reading_without_joules_replaces_nothing(count: Literal["host", "guests"]) -> None:
    by_guests = scoped(read("hv-1", None, 0.0), read("worker-3", 100.0), count=count)
    assert nodes_of(by_guests) == {"hv-1", "worker-3"}, "the host's hole stays to be seen"
    by_host = scoped(read("hv-1", 900.0), read("worker-3", None, 0.0), count=count)
    assert values(by_host.rows, "node") == ["hv-1"]
    assert told(by_guests) == told(by_host) == ""


@pytest.mark.parametrize(
    ("coverage", "joules", "left"),
    [
        (1.0, 100.0, {"hv-1"}),
        (0.991, 100.0, {"hv-1"}),
        (0.98, 100.0, {"worker-3", "worker-4"}),  # less covered, and less than its guests together
        (0.98, 301.0, {"hv-1"}),  # less covered, but more than its guests: leaving it out would lose more
        (0.1, 299.0, {"worker-3", "worker-4"}),
    ],
)
def test_a_host_with_a_hole_counts_while_it_shows_more_than_its_guests(
    coverage: float, joules: float, left: set[str]
) -> None:
    energy = scoped(read("hv-1", joules, coverage), read("worker-3", 200.0), read("worker-4", 100.0, 0.5))
    assert nodes_of(energy) == left
    if left == set(GUESTS):
        assert told(energy) == f"left out: hv-1's {joules:,.0f} J in 1 h: its guests are better covered"


def test_groups_and_hours_are_decided_apart() -> None:
    """A board passed through to a guest is read there alone; an hour without the host is its guests'."""
    energy = scoped(
        read("hv-1", 900.0), read("worker-3", 100.0), read("worker-3", 70.0, component="gpu"),
        read("worker-3", 110.0, hour=LATER),
    )  # fmt: skip
    kept = {(r["hour_utc"], r["node"], r["component"]) for r in energy.rows.to_pylist()}
    assert kept == {(START, "hv-1", "package"), (START, "worker-3", "gpu"), (LATER, "worker-3", "package")}
    assert set(values(energy.processes, "node")) == {"hv-1", "worker-3"}


def test_the_components_of_a_group_go_together_by_the_leading_ones_coverage() -> None:
    energy = scoped(
        read("hv-1", 900.0),
        read("hv-1", 90.0, 0.2, "dram"),
        read("worker-3", 100.0),
        read("worker-3", 10.0, 1.0, "dram"),
    )
    assert nodes_of(energy) == {"hv-1"}
    assert "110 J" in told(energy)


def test_hours_of_a_run_are_told_together() -> None:
    energy = join([scoped(read("hv-1", 900.0, hour=h), read("worker-3", 100.0, hour=h)) for h in (START, LATER)])
    assert told(energy) == "left out: worker-3's 200 J in 2 h: inside hv-1's reading"


def test_a_long_list_is_cut_after_the_greatest() -> None:
    guests = tuple(f"g{i:02}" for i in range(12))
    energy = join([read("hv-1", 1e6), *(read(guest, 100.0 + i) for i, guest in enumerate(guests))])
    detail = told(counted_once(energy, [Host("hv-1", guests, "host")]))
    assert detail.startswith("left out: g11's 111 J in 1 h")
    assert detail.endswith("; and 2 more")
    assert "g01's" not in detail


def stored(energy: Energy) -> list[pa.Table]:
    """An hour as the warehouse gives it back."""
    tables = ((energy.rows, EMISSIONS), (energy.nodes, NODE_ENERGY), (energy.withheld, QUARANTINE))
    found = [pa.Table.from_pylist([dict.fromkeys(s.names) | r for r in t.to_pylist()], s) for t, s in tables]
    return [*found, energy.processes]


@pytest.mark.parametrize("count", ["host", "guests"])
@pytest.mark.parametrize("before", ["both", "host", "guests"])
@pytest.mark.parametrize("now", ["host", "guests", "neither", "worse host"])
def test_an_hour_folded_again_never_brings_the_other_side_back(
    count: Literal["host", "guests"], before: str, now: str
) -> None:
    """Whatever an earlier run stored (with or without the map) and whichever samples are left."""
    host, guest, worse = read("hv-1", 900.0), read("worker-3", 100.0), read("hv-1", 400.0, 0.5)
    parts = {
        "both": [host, guest],
        "host": [host],
        "guests": [guest],
        "neither": [NOTHING],
        "worse host": [worse, guest],
    }
    energy = counted_once(better_covered(join(parts[now]), *stored(join(parts[before]))), [Host("hv-1", GUESTS, count)])
    assert len(set(values(energy.rows, "node"))) == 1
    if before != "guests" and count == "host":
        assert joules_of(energy) == 900.0, "what was known of the host stays known"


def joules_of(energy: Energy) -> float:
    return float(sum(values(energy.rows, "energy_joules")))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["hv-1", *GUESTS, "n9"]), st.sampled_from([START, LATER]), st.floats(1, 1000),
            st.floats(0.01, 1),
        ),
        unique_by=lambda one: (one[0], one[1]),
    ),
    st.sampled_from(["host", "guests"]),
)  # fmt: skip
def test_every_joule_is_counted_or_told_and_never_on_both_sides(
    readings: list[tuple[str, datetime, float, float]], count: Literal["host", "guests"]
) -> None:
    energy = join([NOTHING, *(read(n, j, c, hour=h) for n, h, j, c in readings)])
    kept = scoped(energy, count=count)
    left_out = sum(remark.joules for remark in kept.remarks)
    assert joules_of(kept) + left_out == pytest.approx(joules_of(energy))
    for hour in (START, LATER):
        nodes = {r["node"] for r in kept.rows.to_pylist() if r["hour_utc"] == hour}
        assert "hv-1" not in nodes or not nodes & set(GUESTS)
    assert counted_once(kept, [Host("hv-1", GUESTS, count)]).rows.equals(kept.rows), "twice is once"
