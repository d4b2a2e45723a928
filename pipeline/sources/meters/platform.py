"""Meters of whole machines: what a BMC, power supplies or an outlet show of a node, in any series.

A part is a label set: a chassis, a power supply. Target labels count, too: two exporters that read one machine are two
parts, and never in one scrape.
"""

from collections.abc import Sequence

import pyarrow as pa

from pipeline.samples import Samples, Transport
from pipeline.sources.meters.labelled import Key, Labels, understand
from pipeline.sources.prometheus.selectors import Matcher, selector

IDENTITY = pa.schema([("node", pa.string()), ("part", pa.string())])
ADDRESS = "instance"


def read(
    transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int, metric: str, node_label: str
) -> Samples:
    """All samples of a platform meter with `start_ms <= stamp <= end_ms`, identity (node, part), as exposed.

    Args:
        transport: where they are.
        matchers: of the cluster, and of the meter itself.
        start_ms: first stamp.
        end_ms: last stamp.
        metric: its series.
        node_label: which label names the node as its other meters do; without it, the host of `instance` is the node.

    Raises:
        SourceError: as the transport.
    """

    def key(labels: Labels) -> Key:
        named = "" if node_label == ADDRESS else labels.get(node_label, "")
        part = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        return named or labels.get(ADDRESS, "").rsplit(":", 1)[0], part

    return understand(transport.blocks(selector(metric, *matchers), start_ms, end_ms), IDENTITY, key)
