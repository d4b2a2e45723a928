"""What a store lacks of some hours: wanted against held, the revisions of a key added up.

A store cannot overwrite: a key whose samples sum up to another value than they should gets an adjusting entry, the
difference, at the same stamp under the next `revision`.
"""

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

from pipeline.sinks.batches import Labels, Point, Series
from pipeline.sinks.held import Held, equal
from pipeline.sinks.published_series import DISPLAY_SERIES, Key
from pipeline.units import MS_PER_MINUTE
from pipeline.window import HOUR, to_ms

Hour: TypeAlias = Mapping[Key, float]
# Why an hour is published now, which decides what may be written of it. What is not written is pending.
#   first:     never published there: what is absent.
#   between:   published before, and no milestone has passed since: nothing, it moves as a whole or not at all.
#   milestone: what is absent, and differences that are worth an entry; smaller ones count as published.
#   request:   a person asked: every difference.
Occasion: TypeAlias = Literal["first", "between", "milestone", "request"]

WORTH_RATIO = 1e-3  # of the wanted value: the least difference that is written without being asked for
STORED_DIGITS_RATIO = 1e-11  # what entries that cancel may leave: VictoriaMetrics keeps twelve digits of each
NOTHING: Mapping[str, float] = {}


def stamp_ms(hour_utc: datetime) -> int:
    """Where an hour's samples lie: a minute before its end, inside every range that means this hour and no other."""
    return to_ms(hour_utc + HOUR) - MS_PER_MINUTE


@dataclass
class Difference:
    """What is to be written and what differs; counts are by stamp.

    Attributes:
        points: samples to write now, by series: absent ones, and adjusting entries. Stamps rise where hours did.
        missing: how many of them.
        corrections: those of them that stand beside an earlier sample of their key.
        pending: keys that differ and have to wait.
        slight: keys that differ by too little for an entry.
        doubles: identical samples found twice.
    """

    points: dict[Series, list[Point]] = field(default_factory=lambda: defaultdict(list))
    missing: Counter[int] = field(default_factory=Counter)
    corrections: Counter[int] = field(default_factory=Counter)
    pending: Counter[int] = field(default_factory=Counter)
    slight: Counter[int] = field(default_factory=Counter)
    doubles: Counter[int] = field(default_factory=Counter)

    def compare(self, stamp: int, wanted: Hour, held: Mapping[Key, Mapping[str, float]], occasion: Occasion) -> None:
        """Add one hour; a key held but not wanted should add up to nothing, which it does not by itself."""
        absent = 0
        for key, value in wanted.items():
            revisions = held.get(key, NOTHING)
            if len(revisions) == 1 and equal(next(iter(revisions.values())), value):
                continue
            absent += not revisions
            if key[0] not in DISPLAY_SERIES:
                self._weigh(key, stamp, value, revisions, occasion)
            elif not revisions:
                self._write(key, stamp, value)
        for key in held if len(held) > len(wanted) - absent else ():
            if key not in wanted and key[0] not in DISPLAY_SERIES:
                self._weigh(key, stamp, 0.0, held[key], occasion)

    def _weigh(self, key: Key, stamp: int, value: float, revisions: Mapping[str, float], occasion: Occasion) -> None:
        rest, is_absent = remainder(value, revisions.values()), not revisions
        if not rest and not is_absent:
            return
        is_worth_it = not abs(rest) <= WORTH_RATIO * abs(value)  # a NaN is
        may_write = {"first": is_absent, "between": False, "milestone": is_absent or is_worth_it, "request": True}
        if may_write[occasion]:
            revision = _next_revision(revisions)
            self._write((key[0], _with_revision(key[1], revision)), stamp, rest)
            self.corrections[stamp] += revision != "0"
        elif is_worth_it:
            self.pending[stamp] += 1
        else:
            self.slight[stamp] += 1

    def _write(self, series: Series, stamp: int, value: float) -> None:
        self.points[series].append((stamp, value))
        self.missing[stamp] += 1


def difference(
    batch: Mapping[datetime, Hour], answers: Iterable[Held], occasions: Mapping[datetime, Occasion]
) -> Difference:
    """Hours in time order against what a store holds of each of their clusters, over the union of their keys."""
    answers, found = list(answers), Difference()
    for hour, wanted in batch.items():
        stamp = stamp_ms(hour)
        held: dict[Key, dict[str, float]] = {}
        for answer in answers:
            held.update(answer.values.get(stamp, {}))
        found.doubles[stamp] += sum(answer.doubles[stamp] for answer in answers)
        found.compare(stamp, wanted, held, occasions.get(hour, "first"))
    return found


def remainder(wanted: float, held: Collection[float]) -> float:
    """What must be added to samples of one key and stamp so that they sum up to `wanted`; 0 where they do."""
    if not held:
        return wanted
    rest = math.fsum([wanted, *(-value for value in held)])
    lost_in_rounding = abs(rest) <= STORED_DIGITS_RATIO * max(map(abs, held))
    return 0.0 if lost_in_rounding or equal(math.fsum(held), wanted) else rest


def _next_revision(held: Collection[str]) -> str:
    """The number of samples that a key holds, or the next that is free."""
    return next(text for n in itertools.count(len(held)) if (text := str(n)) not in held)


@lru_cache(maxsize=65_536)
def _with_revision(labels: Labels, revision: str) -> Labels:
    return tuple(sorted((*labels, ("revision", revision))))
