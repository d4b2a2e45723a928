"""Which intensity prices an hour: one provider, zone and basis a (cluster, hour), by a rule that never guesses.

The rule (design section 6): of a provider's vintages the newest counts at each instant; a provider answers an hour only
if it covers every step that has energy; the first provider whose quality is at least `accept` wins, then the best of
the rest. A young hour without an answer may be carried by the provider's nearest one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.settings.intensity import FactorType
from pipeline.tables import INTENSITY
from pipeline.units import MS_PER_HOUR
from pipeline.window import EPOCH, HOUR, from_ms, to_ms

QUALITIES = (
    "measured", "estimated", "forecast", "carried", "yearly_zone", "yearly_country", "world", "missing",
)  # fmt: skip
CARRIED = "carried"
SLOTS = 12  # an hour in slots of five minutes, the finest step that exists
SLOT_MS = MS_PER_HOUR // SLOTS
CARRIED_HOURS = 3  # the farthest hour whose figure may stand in
CARRIED_AGE = timedelta(hours=48)  # until then the hour's own may still come


@dataclass(frozen=True, slots=True)
class Answer:
    """What prices one hour.

    Attributes:
        slots_g_per_kwh: intensity in each of twelve five-minute slots, NaN where there is none.
        slot_vintage: which vintage gave a slot (any number, equal for equal), to count provider steps.
        quality: the worst of the vintages used, or `missing`.
    """

    slots_g_per_kwh: Floats
    slot_vintage: Int64s
    provider: str | None
    zone: str | None
    factor_type: str | None
    basis: str | None
    quality: str
    updated_utc: datetime | None


MISSING = Answer(np.full(SLOTS, np.nan), np.zeros(SLOTS, dtype=np.int64), None, None, None, None, "missing", None)


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """A cluster's choice of intensity.

    Attributes:
        providers: in order of trust.
        factor_type: `lifecycle` or `direct`: never mixed.
        accept: the quality at which the order of providers decides.
    """

    providers: tuple[str, ...]
    factor_type: FactorType
    accept: str


class Vintages:
    """Intensity vintages of one cluster's zones, ready to be asked hour by hour.

    Args:
        table: schema INTENSITY, any providers.
        signal: the only one looked at; prices are made of averages.
    """

    def __init__(self, table: pa.Table, signal: str = "average") -> None:
        rows = [row for row in table.to_pylist() if row["signal"] == signal]
        rows.sort(key=_age)
        self._rows = rows
        self._start = np.array([to_ms(row["start_utc"]) for row in rows], dtype=np.int64)
        self._end = np.array([to_ms(row["end_utc"]) for row in rows], dtype=np.int64)
        self._provider = np.array([row["provider"] for row in rows], dtype=object)
        self._factor = np.array([row["factor_type"] for row in rows], dtype=object)

    def select(self, hour_utc: datetime, needed: Bools, rule: SelectionRule, now: datetime) -> Answer:
        """The answer for one hour.

        Args:
            hour_utc: its left edge.
            needed: which of the twelve slots have energy; none needed means all are asked for.
            rule: the cluster's.
            now: decides whether the hour is young enough to be carried.
        """
        wanted = needed if needed.any() else np.ones(SLOTS, dtype=bool)
        young = now - hour_utc - HOUR < CARRIED_AGE
        answers = [
            self._answer(provider, hour_utc, wanted, rule.factor_type)
            or (self._carried(provider, hour_utc, rule.factor_type) if young else None)
            for provider in rule.providers
        ]
        found = [answer for answer in answers if answer is not None]
        good = QUALITIES.index(rule.accept)
        first_good = (answer for answer in found if QUALITIES.index(answer.quality) <= good)
        best = min(found, key=lambda answer: QUALITIES.index(answer.quality), default=MISSING)
        return next(first_good, best)

    def _answer(self, provider: str, hour_utc: datetime, wanted: Bools, factor_type: str) -> Answer | None:
        """One provider's answer, None unless it covers all wanted slots with figures."""
        hour_ms = to_ms(hour_utc)
        overlapping = (
            (self._provider == provider)
            & (self._factor == factor_type)
            & (self._start < hour_ms + MS_PER_HOUR)
            & (self._end > hour_ms)
        )
        vintage = np.full(SLOTS, -1, dtype=np.int64)
        for index in np.flatnonzero(overlapping):  # oldest first: the newest vintage of an instant stays
            first = max(0, -(-(self._start[index] - hour_ms) // SLOT_MS))
            last = min(SLOTS, (self._end[index] - hour_ms) // SLOT_MS)
            vintage[first:last] = index
        values = np.array(
            [
                np.nan
                if i < 0 or self._rows[i]["carbon_intensity_g_per_kwh"] is None
                else self._rows[i]["carbon_intensity_g_per_kwh"]
                for i in vintage
            ]
        )
        if np.isnan(values[wanted]).any():
            return None
        used = [self._rows[i] for i in sorted(set(vintage[wanted].tolist()))]
        bases = {row["basis"] for row in used}
        return Answer(
            slots_g_per_kwh=values,
            slot_vintage=vintage,
            provider=provider,
            zone=used[-1]["zone"],
            factor_type=factor_type,
            basis=bases.pop() if len(bases) == 1 else "unknown",
            quality=max((row["quality"] for row in used), key=QUALITIES.index),
            updated_utc=max((row["updated_utc"] for row in used if row["updated_utc"]), default=None),
        )

    def _carried(self, provider: str, hour_utc: datetime, factor_type: str) -> Answer | None:
        """The mean of the provider's nearest whole hour, the earlier of two; never of a yearly figure."""
        for distance in (n * HOUR for n in range(1, CARRIED_HOURS + 1)):
            for hour in (hour_utc - distance, hour_utc + distance):
                near = self._answer(provider, hour, np.ones(SLOTS, dtype=bool), factor_type)
                if near is not None and QUALITIES.index(near.quality) < QUALITIES.index(CARRIED):
                    flat = np.full(SLOTS, near.slots_g_per_kwh.mean())
                    return replace(near, slots_g_per_kwh=flat, slot_vintage=np.zeros(SLOTS, np.int64), quality=CARRIED)
        return None


def _age(row: dict[str, Any]) -> tuple[datetime, datetime]:
    return row["fetched_utc"], row["updated_utc"] or OLDEST


OLDEST = EPOCH - timedelta(days=1)
SOURCE = ("zone", "provider", "signal", "factor_type")
COMPARED = ("carbon_intensity_g_per_kwh", "quality", "basis", "updated_utc", "model")


def changed_vintages(offered: pa.Table, resolved: pa.Table) -> pa.Table:
    """What of the offered vintages changes any answer: a vintage is stored only when something differs.

    A vintage that another one offered with it supersedes, or that says what is known, is left out over that part of its
    span: stored anew it would be the newest there.

    Args:
        offered: what a provider says now, schema INTENSITY.
        resolved: the newest stored answer at each instant, not overlapping, schema INTENSITY.
    """
    new, old = _by_source(offered), _by_source(resolved)
    rows = [row for source, told in new.items() for row in _changed(told, old.get(source, []))]
    return pa.Table.from_pylist(rows, INTENSITY)


def _by_source(table: pa.Table) -> dict[tuple[object, ...], list[dict[str, Any]]]:
    """Vintages by zone, provider, signal and factor type, the oldest first."""
    found: dict[tuple[object, ...], list[dict[str, Any]]] = {}
    for row in sorted(table.to_pylist(), key=_age):
        found.setdefault(tuple(row[name] for name in SOURCE), []).append(row)
    return found


def _changed(offered: list[dict[str, Any]], stored: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each offered vintage over the parts of its span in which it counts and differs from what is stored."""
    edges = np.array(sorted({to_ms(row[name]) for row in offered for name in ("start_utc", "end_utc")}), dtype=np.int64)
    inside = (to_ms(row[name]) for row in stored for name in ("start_utc", "end_utc"))
    edges = np.union1d(edges, np.array([stamp for stamp in inside if edges[0] < stamp < edges[-1]], dtype=np.int64))
    told, known = _covering(offered, edges).tolist(), _covering(stored, edges).tolist()
    differs = [
        row >= 0 and (held < 0 or any(offered[row][name] != stored[held][name] for name in COMPARED))
        for row, held in zip(told, known, strict=True)
    ]
    begin = 0
    for at in range(1, len(edges)):  # nothing is told at the last edge
        if (told[at], differs[at]) != (told[begin], differs[begin]):
            if differs[begin]:
                span = {"start_utc": from_ms(edges[begin]), "end_utc": from_ms(edges[at])}
                yield offered[told[begin]] | span
            begin = at


def _covering(rows: list[dict[str, Any]], edges: Int64s) -> Int64s:
    """Which row counts from each edge to the next, -1 for none; of rows, the oldest comes first."""
    covering = np.full(len(edges), -1, dtype=np.int64)
    for number, row in enumerate(rows):
        first, last = np.searchsorted(edges, [to_ms(row["start_utc"]), to_ms(row["end_utc"])])
        covering[first:last] = number
    return covering
