"""When nodes existed, as kube-state-metrics tells it."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.tables import values

Sightings: TypeAlias = tuple[dict[str, Int64s], dict[str, int]]  # stamps by node; its creation in ms since the epoch


def read_presence(server: PrometheusServer, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sightings:
    """Stamps at which `kube_node_info` was seen, by node, and each node's creation in milliseconds since the epoch."""
    seen: dict[str, list[Int64s]] = {}
    for block in server.blocks(selector("kube_node_info", *matchers), start_ms, end_ms):
        for row, node in enumerate(values(block.labels, "node")):
            seen.setdefault(node, []).append(block.stamps_ms[block.offsets[row] : block.offsets[row + 1]])
    created = selector("kube_node_created", *matchers)
    answer = server.vector(f"max by (node) (last_over_time({created}[{end_ms - start_ms + 1}ms]))", end_ms)
    return (
        {node: np.unique(np.concatenate(parts)) for node, parts in seen.items()},
        {labels["node"]: round(seconds * 1000) for labels, seconds in answer if "node" in labels},
    )


def united(answers: Sequence[Sightings]) -> Sightings:
    """What several servers saw, as one."""
    nodes = sorted({node for stamps, _ in answers for node in stamps})
    seen = {node: np.unique(np.concatenate([s[node] for s, _ in answers if node in s])) for node in nodes}
    created: dict[str, int] = {}
    for _, known in answers:
        created |= {node: max(ms, created.get(node, 0)) for node, ms in known.items()}
    return seen, created
