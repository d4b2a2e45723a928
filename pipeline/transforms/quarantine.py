"""What was taken out as implausible, as quarantine rows and as sums beside those of the node."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Intervals, StepGrid
from pipeline.transforms.folded import Folded
from pipeline.transforms.identities import who
from pipeline.transforms.sheet import IMPLAUSIBLE, WITHHELD, Sheet, filled
from pipeline.units import MS_PER_HOUR


def implausible_joules(folded: Folded, by_hour: StepGrid) -> Floats:
    """Joules taken out per (node meter, hour): the meter's own, and those of its consumers."""
    meters = len(folded.meters)
    if folded.implausible is None:
        return np.zeros((meters, by_hour.count))
    used = by_hour.spread(folded.implausible.used, len(folded.consumers))
    joules = by_hour.spread(folded.implausible.metered, meters)
    np.add.at(joules, folded.consumer_meter, used)
    return joules


def implausible_rows(sheet: Sheet) -> pa.Table:
    """Quarantine rows, schema WITHHELD: one per hour and node meter or consumer, with the evidence of its greatest.

    A consumer's row says who it is as its row in `emissions` would; a node meter's has no kind: it is active and idle.
    """
    out = sheet.folded.implausible
    if out is None:
        return WITHHELD.empty_table()
    metered = _node_hours(sheet, out.metered, out.metered_evidence)
    used = _node_hours(sheet, out.used, out.used_evidence)
    whose = who(sheet.folded, sheet.window, sheet.owners, used.code, used.hour)
    return pa.concat_tables(
        [
            _rows(sheet, metered, metered.code, {}),
            _rows(sheet, used, sheet.folded.consumer_meter[used.code], whose),
        ]
    )


class _NodeHours(NamedTuple):
    """What was taken out of each hour of whatever `code` numbers."""

    code: Int64s
    hour: Int64s
    joules: Floats
    evidence: list[str]


def _node_hours(sheet: Sheet, intervals: Intervals, evidence: Sequence[str]) -> _NodeHours:
    window = sheet.window
    by_hour = StepGrid(window.start_ms, MS_PER_HOUR, window.hour_count)
    count = int(intervals.code.max(initial=-1)) + 1
    code, hour = np.nonzero(by_hour.cover(intervals, count) > 0)
    joules = by_hour.spread(intervals, count)[code, hour]
    said = []
    for one, start_ms in zip(code.tolist(), (window.start_ms + hour * MS_PER_HOUR).tolist(), strict=True):
        within = _overlapping(intervals, np.flatnonzero(intervals.code == one), start_ms)
        worst = max(within, key=lambda k: (intervals.joules[k], -intervals.start_ms[k]))
        said.append(evidence[worst] + (f" (and {len(within) - 1} more intervals)" if len(within) > 1 else ""))
    return _NodeHours(code, hour, joules, said)


def _rows(sheet: Sheet, out: _NodeHours, meter: Int64s, whose: Mapping[str, Any]) -> pa.Table:
    told = {
        "energy_joules": pa.array(out.joules),
        "check": pa.repeat(IMPLAUSIBLE, len(out.code)),
        "evidence": pa.array(out.evidence, pa.string()),
    }
    return filled(WITHHELD, {**sheet.places(out.hour, meter), **whose, **told}, len(out.code))


def _overlapping(intervals: Intervals, own: Int64s, start_ms: int) -> list[int]:
    inside: Bools = (intervals.start_ms[own] < start_ms + MS_PER_HOUR) & (intervals.end_ms[own] > start_ms)
    return [int(k) for k in own[inside]]
