"""Which processor sockets a node has, as Kepler 0.10 and newer lists its processors.

`kepler_node_cpu_info` does not name its node: the exporter's address (`instance`) leads from one to the other.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.samples import Int64s, SocketStamps, Transport
from pipeline.sources.meters import kepler
from pipeline.sources.prometheus.selectors import Matcher, selector

INFO = "kepler_node_cpu_info"


def read_sockets(
    transport: Transport, matchers: Sequence[Matcher], spans_ms: Mapping[str, tuple[int, int]]
) -> SocketStamps:
    """When which sockets of some nodes were seen.

    Args:
        transport: where samples are.
        matchers: of the cluster.
        spans_ms: by node, the first and the last stamp to look at.

    Returns:
        Nodes whose sockets are known; a processor without `physical_id` says nothing.

    Raises:
        SourceError: as the transport.
    """
    known: dict[str, dict[str, Int64s]] = {}
    for node, (first_ms, last_ms) in spans_ms.items():
        seen: dict[str, list[Int64s]] = {}
        for instance in sorted(_instances(transport, matchers, node, first_ms, last_ms)):
            asked = selector(INFO, Matcher("instance", "=", instance), *matchers)
            for block in transport.blocks(asked, first_ms, last_ms):
                for row, labels in enumerate(block.labels.to_pylist()):
                    if labels.get("physical_id"):
                        stamps = block.stamps_ms[block.offsets[row] : block.offsets[row + 1]]
                        seen.setdefault(labels["physical_id"], []).append(stamps)
        if seen:
            known[node] = {socket: np.unique(np.concatenate(parts)) for socket, parts in seen.items()}
    return known


def _instances(transport: Transport, matchers: Sequence[Matcher], node: str, first_ms: int, last_ms: int) -> set[str]:
    asked = selector(kepler.ACTIVE, kepler.ZONES, *matchers)
    rows = (row for block in transport.blocks(asked, first_ms, last_ms) for row in block.labels.to_pylist())
    found = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return {labels["instance"] for labels in found if kepler.node_of(labels) == node and labels.get("instance")}
