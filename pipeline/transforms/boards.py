"""GPU boards' samples become energy: joined intervals of each board, no instant of it counted twice.

A board may be reported by several exporters, and by an energy counter and a power gauge: of all that cover an instant
the first counts, counters before gauges and exporters by name. Where an exporter ends and another begins, the board's
counter goes on, so the time between them is joined too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from pipeline.samples import Bools, Floats, GpuSamples, Int64s, Samples
from pipeline.transforms.counters import Counters, StampIndex, merge
from pipeline.units import MS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Reports:
    """Boards as exporters report them, numbered in order of (board, exporter, node).

    Attributes:
        nodes: names, sorted.
        boards: UUIDs, sorted.
        node: of each report.
        board: of each report.
        level: rank of each report among those of its board, by exporter.
        energy: counters by report, joules.
        power: gauges by report, watts.
        number: of each (node, exporter, board).
    """

    nodes: list[str]
    boards: list[str]
    node: Int64s
    board: Int64s
    level: Int64s
    energy: Counters
    power: Counters
    number: dict[tuple[str, str, str], int]

    def codes(self, part: Samples) -> Int64s:
        """The report of each sample, -1 for boards without energy and power."""
        numbers = [self.number.get(key, -1) for key in _keys(part)]
        return np.array(numbers, dtype=np.int64)[part.code] if numbers else part.code


@dataclass(frozen=True, slots=True)
class Spans:
    """Parts `(start_ms, end_ms]` of joined intervals `(from_ms, to_ms]` of reports.

    Attributes:
        joules: of the whole interval.
        reset: the counter fell: its driver was loaded anew.
        counted: by the energy counter, else by the power gauge.
        bridged_joules: what of `joules` no counter saw, because its driver was loaded anew in between.
    """

    report: Int64s
    start_ms: Int64s
    end_ms: Int64s
    from_ms: Int64s
    to_ms: Int64s
    joules: Floats
    reset: Bools
    counted: Bools
    bridged_joules: Floats

    def where(self, chosen: Bools | Int64s) -> "Spans":
        """The chosen ones."""
        return Spans(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def joules_until(self, index: Int64s, stamp_ms: Int64s) -> Floats:
        """Joules of whole intervals, each from its start to a stamp within it."""
        share = (stamp_ms - self.from_ms[index]) / (self.to_ms - self.from_ms)[index]
        joules: Floats = self.joules[index] * share
        return joules


def number_reports(samples: GpuSamples) -> Reports:
    """All boards of an extract; of a board's values at one stamp, repeated for its holders, the greatest counts."""
    keys = {key for part in (samples.energy, samples.power, samples.refused) for key in _keys(part)}
    ordered = sorted(keys, key=lambda key: (key[2], key[1], key[0]))
    nodes, boards = sorted({key[0] for key in keys}), sorted({key[2] for key in keys})
    node_of, board_of = ({name: i for i, name in enumerate(names)} for names in (nodes, boards))
    board = np.array([board_of[key[2]] for key in ordered], dtype=np.int64)
    reports = Reports(
        nodes=nodes,
        boards=boards,
        node=np.array([node_of[key[0]] for key in ordered], dtype=np.int64),
        board=board,
        level=np.arange(len(board)) - np.searchsorted(board, board),
        energy=NO_COUNTERS,
        power=NO_COUNTERS,
        number={key: i for i, key in enumerate(ordered)},
    )
    merged = (
        merge(reports.codes(part), part.stamp_ms, part.value, part.name) for part in (samples.energy, samples.power)
    )
    return replace(reports, energy=next(merged), power=next(merged))


def _keys(part: Samples) -> list[tuple[str, str, str]]:
    return [(str(row["node"]), str(row["exporter"]), str(row["board"])) for row in part.identity.to_pylist()]


def join_reports(reports: Reports, max_gap_ms: int, ceiling_watts: float) -> tuple[Spans, Spans]:
    """Disjoint spans of each board, and apart from them those whose energy no board can use."""
    joined: list[Spans] = []
    refused: list[Spans] = []
    counters, gauges = (
        [_intervals(part, *pairs, max_gap_ms, watts=watts) for pairs in (_own(part), _handovers(part, reports.board))]
        for part, watts in ((reports.energy, False), (reports.power, True))
    )
    steady = counters[0].where(_plausible(counters[0], ceiling_watts) & ~counters[0].reset)
    believed = [part.where(_plausible(part, ceiling_watts)) for part in gauges]
    bridged = (_bridged(*pair, steady, reports.board, max_gap_ms) for pair in zip(counters, believed, strict=True))
    for own, between in (bridged, gauges):
        fits, handover_fits = (_plausible(part, ceiling_watts) for part in (own, between))
        for level in range(int(reports.level.max()) + 1 if len(reports.level) else 0):
            here = reports.level[own.report] == level
            joined.append(own.where(here & fits))
            refused.append(own.where(here & ~fits))
        joined.append(between.where(handover_fits))
    return _prefer(joined, reports.board), _prefer(refused, reports.board)


def _own(samples: Counters) -> tuple[Int64s, Int64s]:
    """Neighbouring samples of one report."""
    first = np.flatnonzero(samples.code[1:] == samples.code[:-1])
    return first, first + 1


def _handovers(samples: Counters, board: Int64s) -> tuple[Int64s, Int64s]:
    """Neighbouring samples of one board by two reports."""
    order = np.lexsort((samples.code, samples.stamp_ms, board[samples.code]))
    first, second = order[:-1], order[1:]
    same = board[samples.code[first]] == board[samples.code[second]]
    other = samples.code[first] != samples.code[second]
    kept = same & other & (samples.stamp_ms[first] < samples.stamp_ms[second])
    return first[kept], second[kept]


def _intervals(samples: Counters, first: Int64s, second: Int64s, max_gap_ms: int, *, watts: bool) -> Spans:
    """Pairs of samples no further apart than `max_gap_ms` as energy.

    A counter that fell counts from zero; a gauge's value holds since the sample before (the backward step).
    """
    close = samples.stamp_ms[second] - samples.stamp_ms[first] <= max_gap_ms
    first, second = first[close], second[close]
    start, end = samples.stamp_ms[first], samples.stamp_ms[second]
    rise = samples.value[second] - samples.value[first]
    reset = np.zeros(len(rise), dtype=bool) if watts else rise < 0
    counted = np.where(reset, samples.value[second], rise)
    joules = samples.value[second] * (end - start) / MS_PER_SECOND if watts else counted
    by_counter, unseen = np.full(len(rise), not watts), np.zeros(len(rise))
    return Spans(samples.code[second], start, end, start, end, joules, reset, by_counter, unseen)


def _bridged(spans: Spans, gauged: Spans, steady: Spans, board: Int64s, max_gap_ms: int) -> Spans:
    """Counted spans, those in which the driver was loaded anew raised to watts x length: the old counter is lost.

    Watts are the gauge's at the same two scrapes, else the board's mean by its counter in the `max_gap_ms` before.
    """
    joules, gauged = spans.joules.copy(), gauged.where(np.lexsort((gauged.to_ms, gauged.report)))
    at = StampIndex.of(gauged.report, gauged.to_ms).find(spans.report, spans.to_ms)
    beside = (at >= 0) & (np.append(gauged.from_ms, -1)[at] == spans.from_ms)
    for k in np.flatnonzero(spans.reset).tolist():
        before = (board[steady.report] == board[spans.report[k]]) & (steady.to_ms <= spans.from_ms[k])
        before &= steady.from_ms >= spans.to_ms[k] - max_gap_ms
        if beside[k]:
            joules[k] = max(joules[k], gauged.joules[at[k]])
        elif before.any():
            watts = steady.joules[before].sum() / (steady.to_ms - steady.from_ms)[before].sum()  # per millisecond
            joules[k] = max(joules[k], watts * (spans.to_ms - spans.from_ms)[k])
    return replace(spans, joules=joules, bridged_joules=joules - spans.joules)


def _plausible(spans: Spans, ceiling_watts: float) -> Bools:
    within: Bools = spans.joules <= ceiling_watts * (spans.to_ms - spans.from_ms) / MS_PER_SECOND
    return within


def _prefer(candidates: Sequence[Spans], board: Int64s) -> Spans:
    """Of each candidate what those before it leave of its board's time; sorted by (board, end)."""
    chosen = _NO_SPANS
    for spans in candidates:
        owner, _, start, end = without(
            board[spans.report], spans.start_ms, spans.end_ms, board[chosen.report], chosen.start_ms, chosen.end_ms
        )
        left = spans.where(owner)
        left = replace(left, start_ms=start, end_ms=end)
        chosen = Spans(*(np.concatenate((getattr(chosen, f.name), getattr(left, f.name))) for f in fields(Spans)))
    return chosen.where(np.lexsort((chosen.end_ms, board[chosen.report])))


def beside(joined: Spans, reports: Reports, max_gap_ms: int, ceiling_watts: float) -> tuple[Spans, Floats]:
    """Steadily counted spans over which the same report's gauge was read at the same scrapes, and its joules."""
    gauged = _intervals(reports.power, *_own(reports.power), max_gap_ms, watts=True)
    gauged = gauged.where(_plausible(gauged, ceiling_watts))
    at = StampIndex.of(gauged.report, gauged.to_ms).find(joined.report, joined.to_ms)
    both = joined.counted & ~joined.reset & (at >= 0) & (np.append(gauged.from_ms, -1)[at] == joined.from_ms)
    spans, at = joined.where(both), at[both]
    parts: Floats = gauged.joules_until(at, spans.end_ms) - gauged.joules_until(at, spans.start_ms)
    return spans, parts


def without(
    code: Int64s, start_ms: Int64s, end_ms: Int64s, other: Int64s, other_start_ms: Int64s, other_end_ms: Int64s
) -> tuple[Int64s, Int64s, Int64s, Int64s]:
    """What is left of spans where no other span of the same code lies.

    Returns:
        Index of the span, code, start and end of each part; the index means nothing where spans of a code overlap.
    """
    number, nothing = np.arange(len(code)), np.zeros(len(other), dtype=np.int64)
    one = np.ones(len(code), dtype=np.int64)
    codes = np.concatenate((code, code, other, other))
    stamps = np.concatenate((start_ms, end_ms, other_start_ms, other_end_ms))
    order = np.lexsort((stamps, codes))
    inside = np.cumsum(np.concatenate((one, -one, nothing, nothing))[order])
    owner = np.cumsum(np.concatenate((number, -number, nothing, nothing))[order])
    covered = np.cumsum(np.concatenate((0 * one, 0 * one, nothing + 1, nothing - 1))[order])
    left, right = stamps[order][:-1], stamps[order][1:]
    kept = (inside[:-1] > 0) & (covered[:-1] == 0) & (right > left)
    return owner[:-1][kept], codes[order][:-1][kept], left[kept], right[kept]


def changes(columns: Sequence[Int64s]) -> Int64s:
    """1 where a row differs from the one before it (the first does), else 0."""
    changed = np.zeros(len(columns[0]), dtype=np.int64)
    changed[:1] = 1
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed


def distinct(*columns: Int64s) -> tuple[list[Int64s], Int64s]:
    """Rows of the columns each once, sorted, and which of them each row is."""
    order = np.lexsort(columns[::-1])
    first = changes([column[order] for column in columns])
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.cumsum(first) - 1
    return [column[order][first > 0] for column in columns], number


_WHOLE: Int64s = np.zeros(0, dtype=np.int64)
NO_COUNTERS = Counters(_WHOLE, _WHOLE, np.zeros(0), _WHOLE)
_NO: Bools = np.zeros(0, dtype=bool)
_NO_SPANS = Spans(_WHOLE, _WHOLE, _WHOLE, _WHOLE, _WHOLE, np.zeros(0), _NO, _NO, np.zeros(0))
