"""How much of an hour a node should have been metered, and whether an hour is whole."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import has_hole
from pipeline.samples import Floats, Int64s
from pipeline.units import MS_PER_HOUR

State: TypeAlias = Literal["complete", "partial", "empty"]


class Presence:
    """Stamps at which nodes were seen, by whatever sees them best.

    Args:
        stamps_ms: rising stamps of each node.
        created_ms: when Kubernetes says a node was created, by node and first stamp of the hour in which it says so.
        anyone_ms: rising stamps at which any node was seen, if there are more than these.
    """

    def __init__(
        self,
        stamps_ms: Mapping[str, Int64s],
        created_ms: Mapping[tuple[str, int], int],
        anyone_ms: Int64s | None = None,
    ) -> None:
        self.stamps_ms, self.created_ms = stamps_ms, created_ms
        everyone = [np.zeros(0, dtype=np.int64), *stamps_ms.values()]
        self._anyone_ms = np.unique(np.concatenate(everyone)) if anyone_ms is None else anyone_ms

    def expected_ratios(self, node: str, hours_ms: Int64s, max_gap_ms: int) -> Floats:
        """Share of each hour in which the node existed, NaN for an hour in which it was not seen.

        A node begins at its creation or first sight and ends at its last, unless it is seen within `max_gap_ms` beyond
        the hour. When nothing at all is seen beyond its last sight (or before its first), it is the monitoring that was
        silent, not the node that was gone: then it is expected to the hour's edge, and the hole shows.
        """
        stamps = self.stamps_ms.get(node, np.zeros(0, dtype=np.int64))
        ratios = np.full(len(hours_ms), np.nan)
        inside = np.searchsorted(stamps, (hours_ms, hours_ms + MS_PER_HOUR), side="right")
        seen = np.flatnonzero(inside[0] < inside[1])
        if len(seen) == 0:
            return ratios
        start_ms, end_ms = hours_ms[seen], hours_ms[seen] + MS_PER_HOUR
        first, last = stamps[inside[0][seen]], stamps[inside[1][seen] - 1]
        near, anyone = (_edges(one, start_ms - max_gap_ms, end_ms + max_gap_ms) for one in (stamps, self._anyone_ms))
        silent_before, silent_after = near[0] - anyone[0] <= max_gap_ms // 2, anyone[1] - near[1] <= max_gap_ms // 2
        left = np.where((near[0] <= start_ms) | silent_before, start_ms, first)
        right = np.where((near[1] > end_ms) | silent_after, end_ms, last)
        created = np.array([self.created_ms.get((node, hour_ms), -1) for hour_ms in start_ms.tolist()])
        left = np.where(created >= 0, np.maximum(start_ms, created), left)
        ratios[seen] = np.maximum(0, right - left) / MS_PER_HOUR
        return ratios


def _edges(rising_ms: Int64s, first_ms: Int64s, last_ms: Int64s) -> tuple[Int64s, Int64s]:
    """The first and the last of some stamps within each span; there are some."""
    return (
        rising_ms[np.searchsorted(rising_ms, first_ms)],
        rising_ms[np.searchsorted(rising_ms, last_ms, side="right") - 1],
    )


def hour_state(nodes: pa.Table) -> State:
    """`complete`, `partial` or `empty` of one hour, from its node_energy rows.

    Partial: a node has a hole (expected minus coverage above 1 %) or failed its check.
    """
    if nodes.num_rows == 0:
        return "empty"
    return "partial" if pc.any(pc.or_(has_hole(nodes), pc.is_valid(nodes["check"]))).as_py() else "complete"
