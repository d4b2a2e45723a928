"""GPU boards folded: a node's meter is the sum of its boards, used by who holds them and idle where nobody does.

Steps are whole slots of five minutes, so it only matters in which slot energy lies: all of a slot's joules may stand on
any interval within it. Joules are whole millionths (binary ones), whose sums are exact: what holders use and what is
idle add up to their boards to the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, GpuSamples, Int64s
from pipeline.transforms.board_coverage import Sightings, Unplaced, covered, sightings
from pipeline.transforms.boards import NO_COUNTERS, Reports, Spans, beside, distinct, join_reports, number_reports
from pipeline.transforms.counters import Intervals
from pipeline.transforms.folded import Consumer, Cross, Folded, Marks, Names
from pipeline.transforms.holders import SPLITS, WHOLE, Holder, Shares, share_out
from pipeline.transforms.names import SeenNames
from pipeline.transforms.vacancies import Vacancies
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

COMPONENT = "gpu"
CEILING_WATTS = 1500.0
SLOT_MS = 5 * MS_PER_MINUTE  # the finest energy step; all others are multiples of it
GRAINS_PER_JOULE = float(1 << 20)
GAUGE = "DCGM_FI_DEV_POWER_USAGE"


@dataclass(frozen=True, slots=True)
class Pieces:
    """A consumer's energy (or nobody's) of one board within one slot, `(start, end]`."""

    node: Int64s
    holder: Int64s  # -1 for nobody
    split: Int64s
    start_ms: Int64s
    end_ms: Int64s
    joules: Floats
    estimated: Bools  # by `Vacancies`


@dataclass(frozen=True, slots=True)
class FoldedGpus:
    """What boards' samples yield.

    Attributes:
        folded: energy of nodes, their pods and idleness.
        reports: the samples, numbered.
        refused: spans whose energy is beyond the ceiling: gaps of their boards.
        blank: report and stamp of values that stand for "none".
        pieces: everything in `folded`, board by board.
        consumer: of each holder number and node.
    """

    folded: Folded
    reports: Reports
    refused: Spans
    blank: Sightings
    pieces: Pieces
    consumer: dict[tuple[int, int], int]

    def splits(self, hour_ms: int) -> dict[int, str]:
        """How each consumer's part of shared boards was found in the hour from `hour_ms`: the least known way."""
        pieces = self.pieces
        inside = (pieces.start_ms >= hour_ms) & (pieces.end_ms <= hour_ms + MS_PER_HOUR) & (pieces.holder >= 0)
        found: dict[int, int] = {}
        rows, _ = distinct(pieces.node[inside], pieces.holder[inside], pieces.split[inside])
        for node, holder, split in np.stack(rows, axis=1).tolist():
            consumer = self.consumer[node, holder]
            found[consumer] = max(split, found.get(consumer, 0))
        return {consumer: SPLITS[split] for consumer, split in sorted(found.items())}


def fold_gpus(
    samples: GpuSamples, max_gap_ms: int, started_ms: dict[str, int], ceiling_watts: float = CEILING_WATTS
) -> Folded:
    """Boards' samples as one node meter each; `started_ms` does not matter: holders have no counters of their own."""
    del started_ms
    return fold_boards(samples, max_gap_ms, ceiling_watts).folded


def fold_boards(samples: GpuSamples, max_gap_ms: int, ceiling_watts: float = CEILING_WATTS) -> FoldedGpus:
    """As `fold_gpus`, with what else is known of the boards."""
    reports = number_reports(samples)
    joined, refused = join_reports(reports, max_gap_ms, ceiling_watts)
    shares = share_out(samples, reports)
    pieces = _pieces(joined, reports, shares, Vacancies.of(joined, reports, shares, max_gap_ms, ceiling_watts))
    seen = sightings(samples, reports)
    active, idle = _by_slot(covered(joined, seen, reports, max_gap_ms), pieces)
    consumers, consumer = _consumers(pieces, shares.holders)
    fallen = joined.where(joined.reset)
    part = (fallen.end_ms - fallen.start_ms) / (fallen.to_ms - fallen.from_ms)
    bridged = reports.node[fallen.report], fallen.start_ms, fallen.end_ms, fallen.bridged_joules * part
    folded = Folded(
        meter=samples.meter,
        meters=[(node, COMPONENT) for node in reports.nodes],
        active=active,
        idle=idle,
        bridged=Intervals(*bridged),
        consumers=consumers,
        used=_used(pieces, consumer, pieces.holder >= 0),
        tails=_used(pieces, consumer, (pieces.holder >= 0) & pieces.estimated),
        names=_names(shares, reports, consumer, max_gap_ms),
        readings=_marks(reports.node[seen.report], seen.stamp_ms),
        restarts=_marks(reports.node[fallen.report], fallen.to_ms),
        wraps=_marks(NO_COUNTERS.code, NO_COUNTERS.stamp_ms),
        unplaced=Unplaced.of(reports, max_gap_ms, ceiling_watts).joules,
        cross=_cross(joined, reports, max_gap_ms, ceiling_watts),
    )
    blank = Sightings(reports.codes(samples.refused), samples.refused.stamp_ms)
    return FoldedGpus(folded, reports, refused, blank, pieces, consumer)


def _pieces(joined: Spans, reports: Reports, shares: Shares, vacancies: Vacancies) -> Pieces:
    """Joined spans cut at slots and given to who held their board at the interval's end, and to nobody before or after.

    Of a span that is partly vacant, nobody's part comes last.
    """
    span, start, end = _cut(joined.start_ms, joined.end_ms)
    joules = _grains(joined.joules_until(span, end)) - _grains(joined.joules_until(span, start))
    first, last = shares.at(joined.report[span], vacancies.told_ms[span])
    count = last - first + vacancies.estimated[span]
    row = np.repeat(np.arange(len(span)), count)
    place = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    vacant = place == (last - first)[row]
    part, held = np.where(vacant, 0, first[row] + place), 1 - vacancies.free[span[row]]
    upto, above = np.where(vacant, 1.0, held * shares.upto[part]), held * np.where(vacant, 1.0, shares.above[part])
    return Pieces(
        node=reports.node[joined.report[span[row]]],
        holder=np.where(vacant, -1, shares.holder[part]),
        split=np.where(vacant, WHOLE, shares.split[part]),
        start_ms=start[row],
        end_ms=end[row],
        joules=_grains(joules[row] * upto) - _grains(joules[row] * above),
        estimated=vacancies.estimated[span[row]],
    )


def _cut(start_ms: Int64s, end_ms: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Index, start and end of the parts of intervals within slots."""
    first, last = start_ms // SLOT_MS, (end_ms - 1) // SLOT_MS
    count = last - first + 1
    owner = np.repeat(np.arange(len(first)), count)
    slot = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + first[owner]
    return owner, np.maximum(start_ms[owner], slot * SLOT_MS), np.minimum(end_ms[owner], (slot + 1) * SLOT_MS)


def _grains(joules: Floats) -> Floats:
    rounded: Floats = np.rint(joules * GRAINS_PER_JOULE) / GRAINS_PER_JOULE
    return rounded


def _by_slot(joined: tuple[Int64s, Int64s, Int64s], pieces: Pieces) -> tuple[Intervals, Intervals]:
    """Used and idle joules of nodes, on the time in which all boards of a node are joined.

    Energy of a slot without such time is real all the same: it stands on one millisecond, so that a missing board shows
    in the coverage and takes nothing from the others.
    """
    node, start, end = joined
    span, start, end = _cut(start, end)
    (nodes, slots), number = distinct(
        np.concatenate((node[span], pieces.node)), np.concatenate((start, pieces.start_ms)) // SLOT_MS
    )
    own, given = number[: len(span)], number[len(span) :]
    bare = np.setdiff1d(given, own)
    number = np.concatenate((own, bare))
    start = np.concatenate((start, slots[bare] * SLOT_MS))
    end = np.concatenate((end, slots[bare] * SLOT_MS + 1))
    order = np.lexsort((end, number))
    number, start, end = number[order], start[order], end[order]
    first = np.diff(number, prepend=-1) > 0

    def laid(chosen: Bools) -> Intervals:
        sums = np.bincount(given[chosen], pieces.joules[chosen], minlength=len(nodes))
        return Intervals(nodes[number], start, end, np.where(first, sums[number], 0.0))

    return laid(pieces.holder >= 0), laid(pieces.holder < 0)


def _consumers(pieces: Pieces, holders: list[Holder]) -> tuple[list[Consumer], dict[tuple[int, int], int]]:
    """Pods on nodes, in order of (node, uid), and the consumer of each (node, holder)."""
    held = pieces.holder >= 0
    pairs = _pairs(distinct(pieces.node[held], pieces.holder[held])[0])
    pods = sorted({(node, holders[holder].uid) for node, holder in pairs})
    number = {pod: i for i, pod in enumerate(pods)}
    return [Consumer(*pod) for pod in pods], {(n, h): number[n, holders[h].uid] for n, h in pairs}


def _used(pieces: Pieces, consumer: dict[tuple[int, int], int], chosen: Bools) -> Intervals:
    """Intervals of consumers, sorted by (consumer, end): of pieces that somebody holds the `chosen`."""
    held = np.flatnonzero(chosen)
    code = _numbered(pieces.node[held], pieces.holder[held], consumer)
    order = np.lexsort((pieces.end_ms[held], code))
    held = held[order]
    return Intervals(code[order], pieces.start_ms[held], pieces.end_ms[held], pieces.joules[held])


def _numbered(node: Int64s, holder: Int64s, consumer: dict[tuple[int, int], int]) -> Int64s:
    """The consumer of each (node, holder), -1 where it never used anything."""
    rows, number = distinct(node, holder)
    return np.array([consumer.get(pair, -1) for pair in _pairs(rows)], dtype=np.int64)[number]


def _pairs(rows: list[Int64s]) -> list[tuple[int, int]]:
    return list(zip(rows[0].tolist(), rows[1].tolist(), strict=True))


def _names(
    shares: Shares, reports: Reports, consumer: dict[tuple[int, int], int], max_gap_ms: int
) -> Callable[[int, int], Names]:
    """The latest full names seen up to `max_gap` around each hour, others where there are none.

    Who left at its beginning was seen before it.
    """
    code = _numbered(reports.node[shares.report], shares.holder, consumer)
    full = np.array([holder.namespace != "" for holder in shares.holders] + [False])[shares.holder]
    order = np.lexsort((shares.holder, shares.stamp_ms, code))
    order = order[code[order] >= 0]
    told, others = (
        SeenNames(code[chosen], shares.stamp_ms[chosen], shares.holder[chosen])
        for chosen in (order[full[order]], order[~full[order]])
    )

    def named(start_ms: int, hours: int) -> Names:
        count = max(consumer.values(), default=-1) + 1
        best, rest = (one.latest(count, start_ms, hours, max_gap_ms + 1, max_gap_ms) for one in (told, others))
        return Names([holder.name for holder in shares.holders], np.where(best >= 0, best, rest))

    return named


def _marks(node: Int64s, stamp_ms: Int64s) -> Marks:
    (node, stamp_ms), _ = distinct(node, stamp_ms)
    return Marks(node, stamp_ms)


def _cross(joined: Spans, reports: Reports, max_gap_ms: int, ceiling_watts: float) -> Cross:
    """The power gauge beside the energy counter."""
    spans, gauged = beside(joined, reports, max_gap_ms, ceiling_watts)
    place = reports.node[spans.report], spans.start_ms, spans.end_ms
    every = np.arange(len(gauged))
    counted = spans.joules_until(every, spans.end_ms) - spans.joules_until(every, spans.start_ms)
    none = NO_COUNTERS
    unknown = Intervals(none.code, none.stamp_ms, none.stamp_ms, none.value)
    return Cross(GAUGE, Intervals(*place, gauged), Intervals(*place, counted), unknown)
