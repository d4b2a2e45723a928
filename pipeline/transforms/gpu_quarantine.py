"""What was not believed of GPU boards, as rows with their evidence."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.tables import METHOD_VERSION
from pipeline.transforms.gpus import COMPONENT, FoldedGpus
from pipeline.transforms.sheet import WITHHELD
from pipeline.units import MS_PER_HOUR, MS_PER_SECOND
from pipeline.window import Window, from_ms

IMPLAUSIBLE = "implausible"
SHOWN = 3  # of a node-hour's refusals in its evidence


class _Refusal(NamedTuple):
    """One value or interval that was not believed; joules null where the value was a code for "none"."""

    stamp_ms: int
    report: int
    text: str
    joules: float | None


def quarantine_gpus(gpus: FoldedGpus, window: Window, cluster: str) -> pa.Table:
    """One row per hour and node, by where refused intervals end; schema WITHHELD.

    `energy_joules` is what the refused intervals would have added, null where nothing but codes for "none" was refused.
    """
    reports = gpus.reports
    found: defaultdict[tuple[int, int], list[_Refusal]] = defaultdict(list)
    for refusal in sorted(set(_refusals(gpus))):  # once, also where holders repeat it
        hour = (refusal.stamp_ms - 1 - window.start_ms) // MS_PER_HOUR
        if 0 <= hour < window.hour_count:
            found[hour, int(reports.node[refusal.report])].append(refusal)
    rows = [
        {
            "hour_utc": from_ms(window.start_ms + hour * MS_PER_HOUR),
            "cluster": cluster,
            "node": reports.nodes[node],
            "component": COMPONENT,
            "energy_joules": _sum(refusals),
            "meter": gpus.folded.meter,
            "check": IMPLAUSIBLE,
            "evidence": f"{len(refusals)} refused: " + "; ".join(one.text for one in refusals[:SHOWN]),
            "method_version": METHOD_VERSION,
        }
        for (hour, node), refusals in sorted(found.items())
    ]
    return pa.Table.from_pylist(rows, WITHHELD)


def _refusals(gpus: FoldedGpus) -> Iterator[_Refusal]:
    spans, reports = gpus.refused, gpus.reports
    every = np.arange(len(spans.report))
    joules = spans.joules_until(every, spans.end_ms) - spans.joules_until(every, spans.start_ms)
    for i in every.tolist():
        report, end, seconds = (
            int(spans.report[i]),
            int(spans.end_ms[i]),
            (spans.to_ms[i] - spans.from_ms[i]) / MS_PER_SECOND,
        )
        board = reports.boards[reports.board[report]]
        text = f"{board}: {spans.joules[i] / seconds:.6g} W over {seconds:g} s to {from_ms(int(spans.to_ms[i])):%FT%TZ}"
        yield _Refusal(end, report, text, float(joules[i]))
    for report, stamp in zip(gpus.blank.report.tolist(), gpus.blank.stamp_ms.tolist(), strict=True):
        text = f'{reports.boards[reports.board[report]]}: a code for "none" at {from_ms(stamp):%FT%TZ}'
        yield _Refusal(stamp, report, text, None)


def _sum(refusals: list[_Refusal]) -> float | None:
    known = [one.joules for one in refusals if one.joules is not None]
    return float(np.sum(known)) if known else None
