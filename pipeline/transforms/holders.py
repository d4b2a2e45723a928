"""Who holds which part of a GPU board at a scrape, and what share of the board's energy is theirs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pipeline.samples import Floats, GpuSamples, Int64s, Samples
from pipeline.tables import values
from pipeline.transforms.boards import Reports, changes
from pipeline.transforms.counters import StampIndex, merge
from pipeline.transforms.folded import Name

SPLITS = ("whole", "activity", "profile", "even")  # from the best known to the least
WHOLE, ACTIVITY, PROFILE, EVEN = range(len(SPLITS))
SLICES = re.compile(r"(?:(?P<compute>\d+)c\.)?(?P<slices>\d+)g\.")


class Holder(NamedTuple):
    """A container with a part of a board; `uid` is its pod's UID or stands for it."""

    uid: str
    namespace: str
    pod: str
    container: str

    @property
    def name(self) -> Name:
        """Namespace (null where unknown) and pod."""
        return self.namespace or None, self.pod


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is seen on what at scrapes, each part once, sorted by (report, stamp, instance, holder).

    Attributes:
        scrape: number of the (report, stamp).
        slot: number of the (report, stamp, instance).
        slices: of the instance, 0 where it shows none.
    """

    report: Int64s
    stamp_ms: Int64s
    instance: Int64s
    holder: Int64s
    slices: Int64s
    scrape: Int64s
    slot: Int64s


@dataclass(frozen=True, slots=True)
class Shares:
    """What each part is of its board's energy, sorted by (report, stamp).

    Attributes:
        holder: number of each part's holder, -1 for nobody.
        split: how the share was found, a position in `SPLITS`.
        above: the shares of the scrape's parts before this one, added up.
        upto: the same with this one; 1 at the scrape's last.
        holders: whom `holder` numbers, sorted.
    """

    report: Int64s
    stamp_ms: Int64s
    holder: Int64s
    split: Int64s
    above: Floats
    upto: Floats
    holders: list[Holder]

    def at(self, report: Int64s, stamp_ms: Int64s) -> tuple[Int64s, Int64s]:
        """First part of each scrape, and the position after its last."""
        index = StampIndex.of(self.report, self.stamp_ms)
        return index.count_to(report, stamp_ms - 1), index.count_to(report, stamp_ms)

    def held(self, report: Int64s, stamp_ms: Int64s) -> Int64s:
        """How many parts of each scrape somebody holds; -1 where there was no such scrape."""
        first, last = self.at(report, stamp_ms)
        held = np.append(0, np.cumsum(self.holder >= 0))
        return np.where(last > first, held[last] - held[first], -1)


def share_out(samples: GpuSamples, reports: Reports) -> Shares:
    """The shares of all scrapes.

    One part gets all. MIG instances divide the board by engine activity times slices where all of them show activity,
    else by slices where all have a profile, else evenly; those who share an instance, or a board that is not
    partitioned, divide it evenly. What nobody holds is nobody's.
    """
    sources = samples.energy, samples.power
    holders = sorted({h for part in sources for h in _holders(part) if h is not None})
    instances = ["", *sorted({i for part in sources for i in _instances(part)} - {""})]
    rows = [_rows(part, reports, holders, instances) for part in sources]
    parts = _parts([np.concatenate(column) for column in zip(*rows, strict=True)])
    sharing = _count(parts.slot)
    weight, split = _weights(parts, _activity(samples.activity, reports, parts, instances))
    raw = weight / sharing
    share = raw / np.bincount(parts.scrape, raw)[parts.scrape] if len(raw) else raw
    split = np.where(_count(parts.scrape) == 1, WHOLE, np.where(sharing > 1, EVEN, split))
    above, upto = _added_up(share, parts.scrape)
    return Shares(parts.report, parts.stamp_ms, parts.holder, split, above, upto, holders)


def slices_of(profile: str | None) -> int:
    """Compute slices of a MIG profile such as `3g.20gb` or `1c.3g.20gb`; 0 where it tells none."""
    found = SLICES.match(profile or "")
    return int(found["compute"] or found["slices"]) if found else 0


def _holders(part: Samples) -> list[Holder | None]:
    """The holder that each label set names."""
    return [
        Holder(row["pod_uid"] or f"{row['namespace'] or ''}/{row['pod']}", row["namespace"] or "", row["pod"],
               row["container"] or "")
        if row["pod"]
        else None
        for row in part.names.to_pylist()
    ]  # fmt: skip


def _instances(part: Samples) -> list[str]:
    """The instance that each label set names, empty for the whole board."""
    return [instance or "" for instance in values(part.names, "instance")]


def _rows(part: Samples, reports: Reports, holders: Sequence[Holder], instances: Sequence[str]) -> list[Int64s]:
    """Report, stamp, instance, holder (-1 for nobody) and slices of each sample."""
    holder_of = {holder: i for i, holder in enumerate(holders)}
    holder = [-1 if h is None else holder_of[h] for h in _holders(part)]
    instance = [instances.index(i) for i in _instances(part)]
    slices = [slices_of(profile) for profile in values(part.names, "profile")]
    told = (np.array(of_name, dtype=np.int64)[part.name] for of_name in (instance, holder, slices))
    return [reports.codes(part), part.stamp_ms, *told]


def _parts(rows: Sequence[Int64s]) -> Parts:
    """Each part of each scrape once, with the most slices that one of its label sets shows.

    A board next to its own instances, and nobody next to a holder, are no parts.
    """
    order = np.lexsort(rows[::-1])
    rows = [column[order] for column in rows]
    last = np.append(changes(rows[:4])[1:], 1) > 0 if len(order) else order > 0
    rows = [column[last] for column in rows]
    for columns, nothing in ((2, 0), (3, -1)):
        group = np.cumsum(changes(rows[:columns])) - 1
        something = rows[columns] > nothing
        kept = something | (np.bincount(group, something)[group] == 0) if len(group) else something
        rows = [column[kept] for column in rows]
    scrape, slot = (np.cumsum(changes(rows[:columns])) - 1 for columns in (2, 3))
    report, stamp, instance, holder, slices = rows
    return Parts(report, stamp, instance, holder, slices, scrape, slot)


def _count(group: Int64s) -> Int64s:
    """Size of each row's group."""
    return np.bincount(group)[group] if len(group) else group


def _activity(activity: Samples, reports: Reports, parts: Parts, instances: Sequence[str]) -> Floats:
    """Engine activity of each part's instance at its scrape, NaN where it was not shown."""
    numbers = {instance: i for i, instance in enumerate(instances)}
    named = np.array([numbers.get(i, -1) for i in _instances(activity)], dtype=np.int64)
    report, instance = reports.codes(activity), named[activity.name] if len(named) else activity.name
    known = (report >= 0) & (instance >= 0) & (activity.value <= 1)
    busy = merge(
        (report * len(instances) + instance)[known], activity.stamp_ms[known], activity.value[known],
        activity.name[known],
    )  # fmt: skip
    at = StampIndex.of(busy.code, busy.stamp_ms).find(parts.report * len(instances) + parts.instance, parts.stamp_ms)
    shown: Floats = np.append(busy.value, np.nan)[at]  # position -1 reads the NaN
    return shown


def _weights(parts: Parts, activity: Floats) -> tuple[Floats, Int64s]:
    """Weight of each part's instance within its scrape, and how it was found."""
    if not len(activity):
        return activity, parts.scrape
    profiled = np.bincount(parts.scrape, parts.slices == 0)[parts.scrape] == 0
    slices = np.where(profiled, parts.slices, 1).astype(np.float64)
    busy = activity * slices
    known = np.bincount(parts.scrape, busy)[parts.scrape] > 0  # NaN, where one is not shown, is not above 0
    weight: Floats = np.where(known, busy, slices)
    return weight, np.where(known, ACTIVITY, np.where(profiled, PROFILE, EVEN))


def _added_up(share: Floats, scrape: Int64s) -> tuple[Floats, Floats]:
    """Shares of a scrape added up before and after each part, step by step so that no other scrape matters."""
    first = np.searchsorted(scrape, scrape)
    place = np.arange(len(scrape)) - first
    upto = share.copy()
    for step in range(1, int(place.max(initial=0)) + 1):
        here = np.flatnonzero(place == step)
        upto[here] += upto[here - 1]
    above = np.where(place == 0, 0.0, np.append(0.0, upto[:-1])[: len(upto)])
    last = np.append(scrape[1:] != scrape[:-1], True)[: len(scrape)]
    return np.minimum(above, 1.0), np.where(last, 1.0, np.minimum(upto, 1.0))
