"""When all boards of a node are metered, and what is known of energy between readings too far apart."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.samples import Floats, GpuSamples, Int64s
from pipeline.transforms.boards import Reports, Spans, distinct, without
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND

Stretches = tuple[Int64s, Int64s, Int64s]  # code, start and end in milliseconds


class Sightings(NamedTuple):
    """Scrapes at which a report was there, also with a value that tells nothing."""

    report: Int64s
    stamp_ms: Int64s


def sightings(samples: GpuSamples, reports: Reports) -> Sightings:
    """All of them, each once."""
    told = (reports.energy, reports.power)
    report = np.concatenate((*(part.code for part in told), reports.codes(samples.refused)))
    stamp = np.concatenate((*(part.stamp_ms for part in told), samples.refused.stamp_ms))
    (report, stamp), _ = distinct(report, stamp)
    return Sightings(report, stamp)


def covered(joined: Spans, seen: Sightings, reports: Reports, max_gap_ms: int) -> Stretches:
    """Time of each node in which all boards that should be there are joined; at least one."""
    (board_of, node_of), place = distinct(reports.board, reports.node)
    (code, stamp), _ = distinct(place[seen.report], seen.stamp_ms)
    should = _expected(code, stamp, max_gap_ms)
    board = reports.board[joined.report]
    first, last = (np.searchsorted(board, board_of, side=side) for side in ("left", "right"))
    own = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)] or [first]).astype(np.int64)
    code = np.repeat(np.arange(len(board_of)), last - first)
    _, hole, hole_start, hole_end = without(*should, code, joined.start_ms[own], joined.end_ms[own])
    node = reports.node[joined.report]
    _, whole, start, end = without(node, joined.start_ms, joined.end_ms, node_of[hole], hole_start, hole_end)
    return whole, start, end


def _expected(code: Int64s, stamp_ms: Int64s, max_gap_ms: int) -> Stretches:
    """Time in which a board should be joined, hour by hour, from sightings sorted by (code, stamp).

    From its first to its last sighting in the hour, and on to the hour's edge if it is also seen within `max_gap_ms`
    beyond it. A board that is not seen in an hour is not there.
    """
    hour = (stamp_ms - 1) // MS_PER_HOUR
    first = np.flatnonzero((np.diff(code, prepend=-1) != 0) | (np.diff(hour, prepend=-1) != 0))
    last = np.append(first[1:], len(code))[: len(first)] - 1
    left, right = hour[first] * MS_PER_HOUR, (hour[first] + 1) * MS_PER_HOUR
    codes, stamps = np.pad(code, 1, constant_values=-1), np.pad(stamp_ms, 1)  # shifted by one: neighbours exist
    before = (codes[first] == code[first]) & (stamps[first] >= left - max_gap_ms)
    after = (codes[last + 2] == code[last]) & (stamps[last + 2] <= right + max_gap_ms)
    start, end = np.where(before, left, stamp_ms[first]), np.where(after, right, stamp_ms[last])
    return code[first], start, end


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Readings of boards by whatever exporter, sorted by (board, stamp), one a stamp.

    Attributes:
        counter_joules: by the energy counter, NaN where only the gauge was read.
        node: where the board was.
        nodes: their number.
    """

    board: Int64s
    stamp_ms: Int64s
    counter_joules: Floats
    node: Int64s
    nodes: int
    max_gap_ms: int
    ceiling_watts: float

    @classmethod
    def of(cls, reports: Reports, max_gap_ms: int, ceiling_watts: float) -> "Unplaced":
        """From all readings."""
        code = np.concatenate((reports.energy.code, reports.power.code))
        stamp = np.concatenate((reports.energy.stamp_ms, reports.power.stamp_ms))
        value = np.concatenate((reports.energy.value, np.full(len(reports.power.value), -1.0)))
        board = reports.board[code]
        order = np.lexsort((code, value, stamp, board))
        code, stamp, value, board = code[order], stamp[order], value[order], board[order]
        last = np.append((board[1:] != board[:-1]) | (stamp[1:] != stamp[:-1]), True)[: len(board)]
        joules = np.where(value < 0, np.nan, value)[last]
        node = reports.node[code[last]]
        return cls(board[last], stamp[last], joules, node, len(reports.nodes), max_gap_ms, ceiling_watts)

    def joules(self, start_ms: int, hours: int) -> Floats:
        """Joules of gaps by (node, hour) of a window, in the hour in which a board returns; NaN where nobody knows.

        That is where its first side lies more than `max_gap_ms` before that hour, its driver was loaded anew, or only
        its power was read.
        """
        result = np.zeros((self.nodes, hours))
        opening = np.diff(self.board, prepend=-1) != 0
        length = np.diff(self.stamp_ms, prepend=0)
        for i in np.flatnonzero(opening | (length > self.max_gap_ms)):
            hour = (self.stamp_ms[i] - 1 - start_ms) // MS_PER_HOUR
            if not 0 <= hour < hours:
                continue
            seen = not opening[i] and self.stamp_ms[i - 1] >= start_ms + hour * MS_PER_HOUR - self.max_gap_ms
            rise = self.counter_joules[i] - self.counter_joules[i - 1] if seen else np.nan
            known = 0 <= rise <= self.ceiling_watts * length[i] / MS_PER_SECOND
            result[self.node[i], hour] += rise if known else np.nan
        return result
