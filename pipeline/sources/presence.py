"""When nodes existed, as kube-state-metrics tells it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipeline.samples import Int64s
from pipeline.sources.kube_state import Span, States, read_states, together
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import selector
from pipeline.tables import values
from pipeline.units import MS_PER_HOUR
from pipeline.window import Window


class Sightings(NamedTuple):
    """What one server saw of nodes.

    Attributes:
        stamps_ms: at which `kube_node_info` was seen, by node.
        created: kube_node_created: node; seconds since the epoch.
    """

    stamps_ms: dict[str, Int64s]
    created: States


def read_presence(server: PrometheusServer, span: Span) -> Sightings:
    """When nodes were seen, and when they were created as is known in each hour.

    Raises:
        SourceError: the server did not give all of it.
    """
    seen: dict[str, list[Int64s]] = {}
    for block in server.blocks(selector("kube_node_info", *server.matchers), span.start_ms, span.end_ms):
        for row, node in enumerate(values(block.labels, "node")):
            seen.setdefault(node, []).append(block.stamps_ms[block.offsets[row] : block.offsets[row + 1]])
    stamps_ms = {node: np.unique(np.concatenate(parts)) for node, parts in seen.items()}
    return Sightings(stamps_ms, read_states(server, "kube_node_created", ("node",), span.hours))


def united(answers: Sequence[Sightings]) -> Sightings:
    """What several servers saw, as one."""
    nodes = sorted({node for answer in answers for node in answer.stamps_ms})
    stamps = {
        node: np.unique(np.concatenate([a.stamps_ms[node] for a in answers if node in a.stamps_ms])) for node in nodes
    }
    return Sightings(stamps, together([answer.created for answer in answers]))


def created_ms(created: States, window: Window) -> dict[tuple[str, int], int]:
    """When a node was created, as is known in the hour that begins at a stamp: the latest of its name."""
    nodes, found = values(created.labels, "node"), dict[tuple[str, int], int]()
    for row, hour in np.argwhere(~np.isnan(created.values)).tolist():
        place = nodes[row], window.start_ms + hour * MS_PER_HOUR
        found[place] = max(round(created.values[row, hour] * 1000), found.get(place, 0))
    return found
