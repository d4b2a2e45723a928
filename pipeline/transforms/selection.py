"""Which intensity prices an hour: one provider, zone and basis a (cluster, hour), by a rule that never guesses.

The rule (design section 6): of a provider's vintages the newest counts at each instant; a provider answers an hour only
if it covers every step that has energy; the first provider whose quality is at least `accept` wins, then the best of
the rest. A young hour without an answer may be carried by the provider's nearest one.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s
from pipeline.settings.intensity import FactorType
from pipeline.units import MS_PER_HOUR
from pipeline.window import EPOCH, HOUR, to_ms

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
        oldest = EPOCH - timedelta(days=1)
        rows.sort(key=lambda row: (row["fetched_utc"], row["updated_utc"] or oldest))
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


COMPARED = ("carbon_intensity_g_per_kwh", "quality", "basis", "updated_utc", "model")


def changed_vintages(offered: pa.Table, resolved: pa.Table) -> pa.Table:
    """The offered vintages that change any answer: a vintage is stored only when something differs.

    Args:
        offered: what a provider says now, schema INTENSITY.
        resolved: the newest stored answer at each instant, not overlapping, schema INTENSITY.
    """
    known: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in resolved.to_pylist():
        known.setdefault(_source(row), []).append(row)
    return offered.filter(
        pa.array([not _is_known(row, known.get(_source(row), [])) for row in offered.to_pylist()], pa.bool_())
    )


def _source(row: dict[str, object]) -> tuple[object, ...]:
    return tuple(row[name] for name in ("zone", "provider", "signal", "factor_type"))


def _is_known(row: dict[str, Any], stored: list[dict[str, Any]]) -> bool:
    """Whether the stored answers over the row's whole span are all the row's own."""
    overlapping = [s for s in stored if s["start_utc"] < row["end_utc"] and s["end_utc"] > row["start_utc"]]
    covered = sum(
        (min(s["end_utc"], row["end_utc"]) - max(s["start_utc"], row["start_utc"]) for s in overlapping), timedelta()
    )
    same = all(s[name] == row[name] for s in overlapping for name in COMPARED)
    return same and covered == row["end_utc"] - row["start_utc"]
