"""Which nodes Kepler reads, and how to ask for the series of some of them only."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.samples import Int64s, Transport
from pipeline.sources.meters.kepler import ACTIVE, ZONES, nodes_of
from pipeline.sources.prometheus.selectors import Matcher, selector

NAMED, SCRAPED = "node_name", "instance"  # a node's own label; where Kepler runs outside Kubernetes, the exporter's
SYNTAX = re.compile(r"([\\.+*?()|\[\]{}^$])")


class Group(NamedTuple):
    """Nodes that can only be asked for together: mostly one.

    Attributes:
        nodes: their names.
        values: of the label that tells their series.
        scrapes: samples of their active counters.
    """

    nodes: tuple[str, ...]
    values: tuple[str, ...]
    scrapes: int


class Nodes(NamedTuple):
    """All nodes with a counter of active energy.

    Attributes:
        label: tells whose a series is.
        groups: every node in one, sorted.
        stamps_ms: when any of them was scraped, rising.
    """

    label: str
    groups: list[Group]
    stamps_ms: Int64s

    def only(self, groups: Sequence[Group]) -> Matcher:
        """Series of these."""
        return Matcher(self.label, "=~", _any_of(groups))

    def none(self) -> Matcher:
        """Series of nobody who is known."""
        return Matcher(self.label, "!~", _any_of(self.groups))


def _any_of(groups: Sequence[Group]) -> str:
    return "|".join(SYNTAX.sub(r"\\\1", value) for group in groups for value in group.values)


def packed(groups: Sequence[Group], scrapes: float) -> Iterator[list[Group]]:
    """Neighbours together as long as they have no more scrapes than that; each by itself if it has more."""
    pack: list[Group] = []
    for group in groups:
        if pack and sum(one.scrapes for one in pack) + group.scrapes > scrapes:
            yield pack
            pack = []
        pack.append(group)
    if pack:
        yield pack


def read_nodes(transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Nodes:
    """Asked as `kepler.read` does; of the samples only the stamps are kept.

    Raises:
        SourceError: as the transport.
    """
    scrapes: dict[tuple[str, str, str], int] = {}
    stamps = [np.zeros(0, dtype=np.int64)]
    for block in transport.blocks(selector(ACTIVE, ZONES, *matchers), start_ms, end_ms):
        names, instances = (
            block.labels[label].to_pylist() if label in block.labels.column_names else [None] * block.labels.num_rows
            for label in (NAMED, SCRAPED)
        )
        counts = np.diff(block.offsets).tolist()
        for node, name, instance, count in zip(nodes_of(block.labels), names, instances, counts, strict=True):
            key = node, name or "", instance or ""
            scrapes[key] = scrapes.get(key, 0) + count
        stamps.append(np.unique(block.stamps_ms))
    label, at = (NAMED, 1) if all(name for _, name, _ in scrapes) else (SCRAPED, 2)
    of_node: dict[str, Group] = {}
    of_value: dict[str, Group] = {}
    for key, count in sorted(scrapes.items()):
        node, value = key[0], key[at]
        others = {groups[name] for groups, name in ((of_node, node), (of_value, value)) if name in groups}
        one = _united([*others, Group((node,), (value,), count)])
        of_node |= dict.fromkeys(one.nodes, one)
        of_value |= dict.fromkeys(one.values, one)
    return Nodes(label, sorted(set(of_node.values())), np.unique(np.concatenate(stamps)))


def _united(groups: Sequence[Group]) -> Group:
    nodes = sorted({node for group in groups for node in group.nodes})
    values = sorted({value for group in groups for value in group.values})
    return Group(tuple(nodes), tuple(values), sum(group.scrapes for group in groups))
