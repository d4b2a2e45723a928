"""Kepler's GPU boards folded: a board's own counter says how much, Kepler's split says whether somebody used it.

Boards are folded as those of any GPU meter, each alone. Kepler's split and its pods are sums of watts times seconds on
a scale of their own, so both are taken as shares: of an interval in which the split rose by 90 J active and 10 J idle,
nine tenths of the board's joules are active, and a pod that rose by 45 J used half of those.

Where nobody tells how energy divides, all of it is active, and `system` for want of a user.
"""

from dataclasses import dataclass, replace

import numpy as np

from pipeline.samples import Bools, Floats, GpuSamples, Int64s, Samples
from pipeline.transforms.board_users import Scrapes, Users
from pipeline.transforms.boards import Reports, Spans, distinct, join_reports
from pipeline.transforms.counters import Intervals, StampIndex, StepGrid, joined_intervals, merge
from pipeline.transforms.folded import Cross, Folded, Marks
from pipeline.transforms.gpus import SLOT_MS, FoldedGpus, fold_boards


@dataclass(frozen=True, slots=True)
class _Divided:
    """Joined spans of boards and their division, one entry a span; joules of the whole span.

    Attributes:
        by_split: what Kepler's own counters say of the span, active and idle together; NaN where they do not.
        used: the active part of that.
        active: the active part of the board's own joules.
        bridged: what of its idle part was used while Kepler restarted: nobody saw whether it was.
        restarted: whether Kepler did in between.
        tells_idle: whether idle energy is shown at all.
    """

    spans: Spans
    by_split: Floats
    used: Floats
    active: Floats
    bridged: Floats
    restarted: Bools
    tells_idle: Bools

    def part(self, joules: Floats) -> Floats:
        """Of joules of whole spans what lies in the time that counts: all of it, unless two nodes show one board."""
        spans = self.spans
        counts = spans.end_ms - spans.start_ms
        share: Floats = joules * (counts / (spans.to_ms - spans.from_ms))
        return share


def fold_kepler_boards(
    boards: GpuSamples,
    active: Samples,
    idle: Samples,
    users: Samples,
    split: str | None,
    max_gap_ms: int,
    ceiling_watts: float,
) -> FoldedGpus:
    """Nodes' boards and the pods on them.

    Args:
        boards: what each board used, held by nobody.
        active: identity as of `boards`: from 0 at Kepler's start, what somebody used.
        idle: the same: the rest; boards without it tell no idle energy.
        users: identity (node, pod_uid), also (..., container, container_id), or (node, container_id) where a pod is
            known by its names alone.
        split: the name of `active` and `idle` as a second meter of `boards`; None where these are their sum.
        max_gap_ms: the longest joined interval.
        ceiling_watts: of one board.
    """
    gpus = fold_boards(boards, max_gap_ms, ceiling_watts)
    reports, joined = gpus.reports, join_reports(gpus.reports, max_gap_ms, ceiling_watts)[0]
    divided = _divided(reports, joined, active, idle)
    scrapes = _scrapes(reports, divided)
    pods = Users.of(users, reports.nodes, max_gap_ms)
    restarts = _restart_marks(gpus.folded.restarts, reports, divided)
    folded = replace(
        _laid(gpus.folded, reports, divided),
        consumers=pods.consumers,
        used=pods.used(scrapes),
        names=pods.names,
        restarts=restarts,
        cross=None if split is None else _cross(split, reports, divided),
    )
    return replace(gpus, folded=folded)


def _divided(reports: Reports, spans: Spans, active: Samples, idle: Samples) -> _Divided:
    """Both counters at both ends of every span; a drop of either is a restart of Kepler on that node."""
    first, second = (
        [_at(reports, part, spans.report, stamp) for part in (active, idle)] for stamp in (spans.from_ms, spans.to_ms)
    )
    tells_idle = np.isfinite(second[1])
    fell = (second[0] < first[0]) | (second[1] < first[1])
    restarted = _restarted(reports.node[spans.report], spans, fell)
    used, rest = (np.where(restarted, after, after - before) for before, after in zip(first, second, strict=True))
    by_split = used + np.where(tells_idle, rest, 0.0)
    with np.errstate(invalid="ignore"):
        told = by_split > 0
        share = np.divide(used, by_split, out=np.ones(len(used)), where=told)
        # what Kepler lost with its old process is idle, as of processors, unless idle energy is shown nowhere
        lost = restarted & np.isfinite(by_split) & tells_idle
        of_board = np.where(lost, np.minimum(used, spans.joules), spans.joules * share)
        bridged = np.where(lost, np.maximum(spans.joules - by_split, 0.0), 0.0)
    return _Divided(spans, by_split, used, of_board, bridged, restarted, tells_idle)


def _at(reports: Reports, part: Samples, report: Int64s, stamp_ms: Int64s) -> Floats:
    """A counter of each report at a stamp, NaN where it was not seen."""
    code = reports.codes(part)
    known = code >= 0
    counters = merge(code[known], part.stamp_ms[known], part.value[known], part.name[known])
    at = StampIndex.of(counters.code, counters.stamp_ms).find(report, stamp_ms)
    value: Floats = np.append(counters.value, np.nan)[at]  # position -1 reads the NaN
    return value


def _restarted(node: Int64s, spans: Spans, fell: Bools) -> Bools:
    """Spans in which any board of their node shows a restart: it is one Kepler that counts them all."""
    (nodes, stamps), _ = distinct(node[fell], spans.to_ms[fell])
    restarts = StampIndex.of(nodes, stamps)
    return restarts.count_to(node, spans.to_ms) > restarts.count_to(node, spans.from_ms)


def _scrapes(reports: Reports, divided: _Divided) -> Scrapes:
    """The node's scrapes, and what its pods may have used before each: nothing where one of its boards is missing."""
    seen = reports.energy
    node = reports.node[seen.code]
    (nodes, stamps), number = distinct(node, seen.stamp_ms)
    boards = np.bincount(number, minlength=len(nodes))
    index, spans = StampIndex.of(nodes, stamps), divided.spans
    end, start = (index.find(reports.node[spans.report], stamp) for stamp in (spans.to_ms, spans.from_ms))
    whole = (start >= 0) & (end == start + 1) & np.isfinite(divided.by_split)

    def total(joules: Floats) -> Floats:
        return np.bincount(end[whole], joules[whole], minlength=len(nodes)).astype(np.float64)

    joined = total(np.ones(len(end)))
    complete = (joined > 0) & (joined == boards) & (joined == np.append(0, boards[:-1])[: len(boards)])
    return Scrapes(
        node=nodes,
        stamp_ms=stamps,
        complete=complete,
        restarted=total(divided.restarted.astype(np.float64)) > 0,
        used_joules=total(divided.used),
        active_joules=total(divided.active),
    )


def _laid(folded: Folded, reports: Reports, divided: _Divided) -> Folded:
    """The boards' intervals, each divided as its slot is: until now all of it was idle."""
    whole, spans = folded.idle, divided.spans
    node = reports.node[spans.report]
    if not len(node):
        return folded
    origin, last = int(spans.start_ms.min()) // SLOT_MS, int(spans.end_ms.max()) // SLOT_MS
    grid = StepGrid(origin * SLOT_MS, SLOT_MS, last - origin + 1)

    def by_slot(joules: Floats) -> Floats:
        intervals = Intervals(node, spans.start_ms, spans.end_ms, divided.part(joules))
        sums = grid.spread(intervals, len(reports.nodes))
        return np.asarray(sums[whole.code, whole.start_ms // SLOT_MS - origin])

    total = by_slot(spans.joules)

    def shared(joules: Floats) -> Intervals:
        share = np.divide(by_slot(joules), total, out=np.zeros_like(total), where=total > 0)
        return replace(whole, joules=whole.joules * np.minimum(share, 1.0))

    active, bridged = shared(divided.active), shared(divided.bridged)
    idle = replace(whole, joules=whole.joules - active.joules)
    told = by_slot(divided.tells_idle.astype(np.float64)) > 0
    return replace(
        folded,
        active=active,
        idle=idle.where(told),
        bridged=joined_intervals(folded.bridged, bridged.where(bridged.joules > 0)),
    )


def _restart_marks(fallen: Marks, reports: Reports, divided: _Divided) -> Marks:
    """Readings after which a driver or Kepler is known to have restarted."""
    own = divided.spans.where(divided.restarted)
    columns = (fallen.meter, reports.node[own.report]), (fallen.stamp_ms, own.to_ms)
    (meter, stamp_ms), _ = distinct(*(np.concatenate(column) for column in columns))
    return Marks(meter, stamp_ms)


def _cross(name: str, reports: Reports, divided: _Divided) -> Cross:
    """Kepler's split beside the board's own counter, where both rose steadily."""
    steady = np.isfinite(divided.by_split) & divided.tells_idle & ~divided.restarted & ~divided.spans.reset
    spans = divided.spans.where(steady)
    node = reports.node[spans.report]
    measured, compared = (
        Intervals(node, spans.start_ms, spans.end_ms, divided.part(joules)[steady])
        for joules in (divided.by_split, divided.spans.joules)
    )
    return Cross(name, measured, compared, unknown=measured.where(np.zeros(len(node), dtype=bool)))
