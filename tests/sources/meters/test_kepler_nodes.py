"""Which nodes there are, and how to ask for some of them only."""

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline.samples import Block
from pipeline.sources.meters.kepler_nodes import Group, Nodes, packed, read_nodes
from pipeline.sources.prometheus.selectors import Matcher

Series = tuple[dict[str, str], list[int]]


class Store:
    def __init__(self, *series: Series) -> None:
        self.series = series

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        assert selector.startswith("kepler_node_cpu_active_joules_total{")
        for labels, stamps in self.series:
            held = [stamp for stamp in stamps if start_ms <= stamp <= end_ms]
            table = pa.table({name: [value] for name, value in labels.items()})
            yield Block(table, np.array([0, len(held)]), np.array(held), np.zeros(len(held)))


def found(*series: Series) -> Nodes:
    return read_nodes(Store(*series), (), 0, 100)


def named(node: str, instance: str, stamps: list[int]) -> Series:
    return {"node_name": node, "instance": instance, "zone": "package"}, stamps


def test_a_node_is_asked_for_by_its_name_whatever_exporter_told_it() -> None:
    nodes = found(
        named("n1", "10.0.0.1:1", [1, 2]), named("n1", "10.0.0.9:1", [3]), named("n2", "10.0.0.2:1", [2, 200])
    )
    assert nodes.label == "node_name"
    assert nodes.groups == [Group(("n1",), ("n1",), 3), Group(("n2",), ("n2",), 1)]
    assert nodes.stamps_ms.tolist() == [1, 2, 3]


def test_nodes_without_a_name_are_asked_for_by_their_exporter() -> None:
    bare = ({"instance": "10.0.0.3:1"}, [5])
    nodes = found(named("n1", "10.0.0.1:1", [1]), named("n1", "10.0.0.9:1", [2]), bare)
    assert nodes.label == "instance"
    assert nodes.groups == [Group(("10.0.0.3",), ("10.0.0.3:1",), 1), Group(("n1",), ("10.0.0.1:1", "10.0.0.9:1"), 2)]


def test_nodes_that_one_exporter_told_of_stay_together() -> None:
    other = ({"instance": "a:1"}, [5])
    nodes = found(named("n1", "a:1", [1]), named("n1", "b:1", [2]), named("n2", "b:1", [3]), other)
    assert nodes.groups == [Group(("a", "n1", "n2"), ("a:1", "b:1"), 4)]


@pytest.mark.parametrize("name", ["n.1", "n1|n2", "a+b", "(x)", "[y]", "{z}", "^$", "a\\b", "n*", "n?", 'q"'])
def test_names_are_no_syntax(name: str) -> None:
    nodes = Nodes("node_name", [Group((name,), (name,), 1), Group(("n2",), ("n2",), 1)], np.zeros(0, dtype=np.int64))
    only, none = nodes.only(nodes.groups[:1]), nodes.none()
    assert only == Matcher("node_name", "=~", only.value)
    assert none == Matcher("node_name", "!~", none.value)
    assert re.fullmatch(only.value, name)
    assert not re.fullmatch(only.value, "n1")
    assert re.fullmatch(none.value, "n2")


@pytest.mark.parametrize(
    ("scrapes", "most", "packs"),
    [
        ([1, 1, 1], 2, [2, 1]),
        ([5, 1, 1], 2, [1, 2]),
        ([1, 5, 1], 2, [1, 1, 1]),
        ([1, 1], 9, [2]),
        ([], 9, []),
        ([3], 0, [1]),
    ],
)
def test_neighbours_are_packed_as_far_as_there_is_room(scrapes: list[int], most: float, packs: list[int]) -> None:
    groups = [Group((f"n{i}",), (f"n{i}",), count) for i, count in enumerate(scrapes)]
    made = list(packed(groups, most))
    assert [len(pack) for pack in made] == packs
    assert [group for pack in made for group in pack] == groups
