"""One fleet in several servers: replicas with clocks of their own, shards by node, a store that merges replicas."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.demo.fleet import Fleet, simulate
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.spec import FleetSpec, Replica
from pipeline.samples import Block

Key = tuple[tuple[str, str], ...]


def replicas(spec: FleetSpec, *each: Replica) -> tuple[Fleet, ...]:
    """The same fleet as each of the replicas sees it; what a workload used in the end only the first to scrape it sees.

    Raises:
        ConfigError: as `simulate`.
    """
    fleets = [simulate(replace(spec, replica=one)) for one in each]
    seen = []
    for number, fleet in enumerate(fleets):
        others = [other for index, other in enumerate(fleets) if index != number]
        nodes = [
            replace(node, rival_scrapes_ms=np.sort(np.concatenate([other.nodes[i].scrapes_ms for other in others])))
            for i, node in enumerate(fleet.nodes)
        ]
        seen.append(replace(fleet, nodes=tuple(nodes)))
    return tuple(seen)


def shard(fleet: Fleet, nodes: Collection[str], *, with_ksm: bool) -> Fleet:
    """The fleet as a server sees it that scrapes the exporters of some nodes, and kube-state-metrics or not."""
    return replace(fleet, scraped=frozenset(nodes), spec=replace(fleet.spec, with_ksm=with_ksm))


@dataclass(frozen=True)
class Merged:
    """What a store shows that takes one replica's samples at a time, and another's from each switch on.

    Attributes:
        fleets: the replicas, taken in turn.
        switches_ms: in order, relative to the fleet's start, by the stamps.
    """

    fleets: Sequence[Fleet]
    switches_ms: Sequence[int]

    def blocks(self) -> list[Block]:
        """All samples: one block a metric, metrics in alphabetical order."""
        found: defaultdict[Key, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)
        start_ms = self.fleets[0].spec.start_ms
        turns = np.array([start_ms + switch for switch in self.switches_ms], dtype=np.int64)
        for number, fleet in enumerate(self.fleets):
            for block in fleet.blocks():
                for row, labels in enumerate(block.labels.to_pylist()):
                    own = slice(block.offsets[row], block.offsets[row + 1])
                    stamps, values = block.stamps_ms[own], block.values[own]
                    taken = np.searchsorted(turns, stamps, side="right") % len(self.fleets) == number
                    key = tuple(sorted((name, value) for name, value in labels.items() if value))
                    found[key].append((stamps[taken], values[taken]))
        metrics: defaultdict[str, list[Series]] = defaultdict(list)
        for key, parts in sorted(found.items()):
            stamps, values = (np.concatenate([part[i] for part in parts]) for i in range(2))
            order = np.argsort(stamps, kind="stable")
            if len(order):
                labels = dict(key)
                metrics[labels[METRIC]].append(Series(labels, stamps[order], values[order]))
        return [block_of(metrics[name]) for name in sorted(metrics)]
