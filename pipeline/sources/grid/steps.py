"""A provider's figures as rows: checked, in time order, one for each interval."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import SourceMalformed
from pipeline.sources.grid.contract import Payload
from pipeline.tables import FORECASTS, INTENSITY, TIMESTAMP
from pipeline.window import EPOCH, Window

SHORTEST_STEP = timedelta(minutes=5)
PLAUSIBLE_G_PER_KWH = 2_000.0  # above any grid, marginal included: then the unit is lb/MWh or worse


@dataclass(frozen=True, slots=True)
class Step:
    """One interval of a provider's answer; None is a withdrawn figure, not zero."""

    start_utc: datetime
    end_utc: datetime
    g_per_kwh: float | None
    quality: str
    updated_utc: datetime | None = None
    model: str | None = None


def vintages(payload: Payload, provider: str, basis: str, steps: list[Step]) -> pa.Table:
    """A provider's steps as INTENSITY rows in time order, those that touch the payload's span only.

    Of two figures for one interval the one updated last counts, then the better quality, then the later in the answer.

    Raises:
        SourceMalformed: a step that is not whole five minutes or overlaps another, or a value that is no intensity.
    """
    rows = [
        _row(payload, provider, step)
        | {"basis": basis, "quality": step.quality, "updated_utc": step.updated_utc, "model": step.model}
        for step in _in_order(payload, provider, steps)
    ]
    return pa.Table.from_pylist(rows, INTENSITY)


def forecasts(payload: Payload, provider: str, issued_utc: datetime | None, steps: list[Step]) -> pa.Table:
    """A provider's outlook as FORECASTS rows, ordered and checked as `vintages`; what is null says nothing.

    Without a time of issue it is as old as its answer.
    """
    rows = [
        _row(payload, provider, step) | {"issued_utc": issued_utc or payload.fetched_utc}
        for step in _in_order(payload, provider, steps)
        if step.g_per_kwh is not None
    ]
    return pa.Table.from_pylist(rows, FORECASTS)


def _row(payload: Payload, provider: str, step: Step) -> dict[str, object]:
    """What a vintage and a forecast have in common."""
    ask = payload.ask
    return {
        "zone": ask.zone,
        "start_utc": step.start_utc,
        "end_utc": step.end_utc,
        "carbon_intensity_g_per_kwh": step.g_per_kwh,
        "provider": provider,
        "signal": ask.signal,
        "factor_type": ask.factor_type,
        "fetched_utc": payload.fetched_utc,
        "payload_id": payload.payload_id,
    }


def _in_order(payload: Payload, provider: str, steps: list[Step]) -> list[Step]:
    ask = payload.ask
    best: dict[tuple[datetime, datetime], Step] = {}
    for step in steps:
        if step.start_utc < ask.end and step.end_utc > ask.start:
            _check(step, provider)
            span = step.start_utc, step.end_utc
            best[span] = _newer(best[span], step) if span in best else step
    ordered = [best[span] for span in sorted(best)]
    for one, following in pairwise(ordered):
        if following.start_utc < one.end_utc:
            raise SourceMalformed(
                f"{provider} gives two figures of different length at {following.start_utc:%FT%H:%MZ}"
            )
    return ordered


QUALITY_ORDER = ("measured", "estimated", "forecast")


def _age(step: Step) -> tuple[datetime, int]:
    return step.updated_utc or EPOCH, -QUALITY_ORDER.index(step.quality)


def _newer(known: Step, step: Step) -> Step:
    return step if _age(step) >= _age(known) else known


def _check(step: Step, provider: str) -> None:
    where = f"{provider} at {step.start_utc:%FT%H:%MZ}"
    if step.end_utc <= step.start_utc or any((edge - EPOCH) % SHORTEST_STEP for edge in (step.start_utc, step.end_utc)):
        raise SourceMalformed(f"{where}: a step to {step.end_utc:%FT%H:%MZ} is not of whole five minutes")
    value = step.g_per_kwh
    if value is not None and not 0 <= value <= PLAUSIBLE_G_PER_KWH:
        raise SourceMalformed(f"{where}: {value!r} is no intensity in g/kWh (0 to {PLAUSIBLE_G_PER_KWH:g})")


def touching(rows: pa.Table, zone: str, window: Window) -> pa.Table:
    """The rows of a zone that touch a window."""
    begins = pc.less(rows["start_utc"], pa.scalar(window.end, TIMESTAMP))
    ends = pc.greater(rows["end_utc"], pa.scalar(window.start, TIMESTAMP))
    return rows.filter(pc.and_(pc.and_(begins, ends), pc.equal(rows["zone"], pa.scalar(zone))))
