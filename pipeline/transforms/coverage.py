"""How much of an hour a node should have been metered, and whether an hour is whole."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import has_hole
from pipeline.samples import Int64s
from pipeline.units import MS_PER_HOUR

State: TypeAlias = Literal["complete", "partial", "empty"]


class Presence:
    """Stamps at which nodes were seen, by whatever sees them best.

    Args:
        stamps_ms: rising stamps of each node.
        created_ms: when Kubernetes says a node was created, where known.
    """

    def __init__(self, stamps_ms: Mapping[str, Int64s], created_ms: Mapping[str, int]) -> None:
        self.stamps_ms, self.created_ms = stamps_ms, created_ms
        everyone = list(stamps_ms.values())
        self._anyone_ms = np.unique(np.concatenate(everyone)) if everyone else np.zeros(0, dtype=np.int64)

    def saw(self, node: str, hour_ms: int) -> bool:
        """Whether the node was seen inside the hour."""
        stamps = self.stamps_ms.get(node, np.zeros(0, dtype=np.int64))
        return bool(((stamps > hour_ms) & (stamps <= hour_ms + MS_PER_HOUR)).any())

    def expected_ratio(self, node: str, hour_ms: int, max_gap_ms: int) -> float:
        """Share of the hour in which the node existed.

        A node begins at its creation or first sight and ends at its last, unless it is seen within `max_gap_ms` beyond
        the hour. When nothing at all is seen beyond its last sight (or before its first), it is the monitoring that was
        silent, not the node that was gone: then it is expected to the hour's edge, and the hole shows.
        """
        stamps = self.stamps_ms.get(node, np.zeros(0, dtype=np.int64))
        end_ms = hour_ms + MS_PER_HOUR
        near = _within(stamps, hour_ms - max_gap_ms, end_ms + max_gap_ms)
        inside = near[(near > hour_ms) & (near <= end_ms)]
        if len(inside) == 0:
            return 0.0
        anyone = _within(self._anyone_ms, hour_ms - max_gap_ms, end_ms + max_gap_ms)
        silent_after = anyone[-1] - near[-1] <= max_gap_ms // 2
        silent_before = near[0] - anyone[0] <= max_gap_ms // 2
        left = hour_ms if near[0] <= hour_ms or silent_before else int(inside[0])
        right = end_ms if near[-1] > end_ms or silent_after else int(inside[-1])
        if node in self.created_ms:
            left = max(hour_ms, self.created_ms[node])
        return max(0, right - left) / MS_PER_HOUR


def _within(rising_ms: Int64s, first_ms: int, last_ms: int) -> Int64s:
    return rising_ms[np.searchsorted(rising_ms, first_ms) : np.searchsorted(rising_ms, last_ms, side="right")]


def hour_state(nodes: pa.Table) -> State:
    """`complete`, `partial` or `empty` of one hour, from its node_energy rows.

    Partial: a node has a hole (expected minus coverage above 1 %) or failed its check.
    """
    if nodes.num_rows == 0:
        return "empty"
    return "partial" if pc.any(pc.or_(has_hole(nodes), pc.is_valid(nodes["check"]))).as_py() else "complete"
