"""Pods on GPU boards as Kepler counts them: sums over a pod's living processes, and no series while the sum is 0.

Two things follow, and no rule for counters elsewhere fits them:

- When a process exits, all that it ever used leaves the sum. A drop is thus a loss and no reset: the value after it is
  mostly old energy of those that live on. Only a rise from scrape to scrape counts; what a drop hides is `system`.
- A pod without a series at a scrape stood at 0 there, or was hidden. Its next value counts if it fits into what the
  node's boards used since that scrape and no other pod did; less what it had up to `max_gap` before, if that is not
  more, for a hidden sum goes on. The pod's age does not matter: old pods come to use a GPU.

A restart of Kepler is seen in its node counters: then every sum begins at 0.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s, Samples
from pipeline.transforms.attribution import FIT_TOLERANCE, ROUNDING_JOULES
from pipeline.transforms.boards import distinct
from pipeline.transforms.counters import Counters, Intervals, StampIndex, merge
from pipeline.transforms.folded import Consumer, Name, Names
from pipeline.transforms.names import SeenNames


@dataclass(frozen=True, slots=True)
class Scrapes:
    """Scrapes of nodes' boards, sorted by (node, stamp), each with the interval that it ends.

    Attributes:
        complete: every board seen at either end is joined over the interval.
        restarted: Kepler restarted in it.
        used_joules: what somebody used by Kepler's split, on whose scale pods are counted.
        active_joules: the same by the boards' own counters.
    """

    node: Int64s
    stamp_ms: Int64s
    complete: Bools
    restarted: Bools
    used_joules: Floats
    active_joules: Floats


@dataclass(frozen=True, slots=True)
class Users:
    """Counters of pods or of their containers.

    Attributes:
        counters: samples, `label` being a position in `label_names`.
        node: of each counter.
        consumer: of each sample.
        consumers: whom it numbers, sorted.
        label_names: namespace and pod.
    """

    counters: Counters
    node: Int64s
    consumer: Int64s
    consumers: list[Consumer]
    label_names: list[Name]
    max_gap_ms: int

    @classmethod
    def of(cls, samples: Samples, nodes: list[str], max_gap_ms: int) -> "Users":
        """Numbered in sorted order; counters on other nodes are left out.

        Of a pod's containers, which are known by ids of their own, the names say whose they are.
        """
        keys = [tuple(row.values()) for row in samples.identity.to_pylist()]
        own = sorted((key for key in keys if key[0] in nodes), key=str)
        number = {key: i for i, key in enumerate(own)}
        names = [(row["namespace"], row["pod"]) for row in samples.names.to_pylist()]
        order = sorted(range(len(names)), key=lambda i: (None not in names[i], str(names[i])))
        rank = np.argsort(np.array(order, dtype=np.int64))
        code = np.array([number.get(key, -1) for key in keys], dtype=np.int64)[samples.code]
        kept = code >= 0
        counters = merge(code[kept], samples.stamp_ms[kept], samples.value[kept], rank[samples.name[kept]])
        label_names, by_id = [names[i] for i in order], "pod_uid" in samples.identity.column_names
        node = np.array([nodes.index(key[0]) for key in own], dtype=np.int64)
        pairs, which = distinct(counters.code, counters.label)
        whose = [
            Consumer(
                int(node[c]),
                own[c][1] if by_id else _by_name(label_names[n]) or own[c][1],
                container=own[c][2] if len(own[c]) > 2 else None,
            )
            for c, n in zip(*(column.tolist() for column in pairs), strict=True)
        ]
        consumers = sorted(set(whose), key=str)
        position = {one: i for i, one in enumerate(consumers)}
        consumer = np.array([position[one] for one in whose], dtype=np.int64)[which]
        return cls(counters, node, consumer, consumers, label_names, max_gap_ms)

    def used(self, scrapes: Scrapes) -> Intervals:
        """What consumers used between neighbouring scrapes of their node, sorted by (consumer, end)."""
        samples, index = self.counters, StampIndex.of(scrapes.node, scrapes.stamp_ms)
        at = index.find(self.node[samples.code], samples.stamp_ms)
        mine = np.flatnonzero((at >= 0) & np.append(scrapes.complete, False)[at])
        at, value = at[mine], samples.value[mine]
        anew = scrapes.restarted[at]
        before, seen = self._before(mine, scrapes.stamp_ms[at - 1])
        joules = np.where(anew | (~seen & (value < before)), value, np.maximum(value - before, 0.0))
        room = scrapes.used_joules - np.bincount(at[seen], joules[seen], minlength=len(scrapes.node))
        limit = room + FIT_TOLERANCE * scrapes.used_joules + ROUNDING_JOULES
        alone = ~seen & (joules <= limit[at])
        together = np.bincount(at[alone], joules[alone], minlength=len(scrapes.node))
        believed = (seen | (alone & (together <= limit)[at])) & (joules > 0)  # who used nothing has no row
        scale = np.divide(
            scrapes.active_joules, scrapes.used_joules, out=np.zeros(len(scrapes.node)), where=scrapes.used_joules > 0
        )
        mine, at, joules = mine[believed], at[believed], joules[believed]
        found = Intervals(self.consumer[mine], scrapes.stamp_ms[at - 1], scrapes.stamp_ms[at], joules * scale[at])
        return found.where(np.lexsort((found.end_ms, found.code)))

    def _before(self, mine: Int64s, scraped_ms: Int64s) -> tuple[Floats, Bools]:
        """The counter's last value up to `max_gap` before each sample, 0 without one; whether it is of that scrape."""
        samples = self.counters
        code, stamp_ms = (np.append(-1, column)[mine] for column in (samples.code, samples.stamp_ms))
        near = (code == samples.code[mine]) & (stamp_ms >= samples.stamp_ms[mine] - self.max_gap_ms)
        value: Floats = np.where(near, np.append(0.0, samples.value)[mine], 0.0)
        return value, near & (stamp_ms == scraped_ms)

    def names(self, start_ms: int, hours: int) -> Names:
        """Namespace and pod of consumers: the latest full ones seen from an hour's start to `max_gap` after it."""
        full = np.array([None not in name for name in self.label_names], dtype=np.bool_)
        order = np.lexsort((self.counters.stamp_ms, self.consumer))
        order = order[full[self.counters.label[order]]]
        seen = SeenNames(self.consumer[order], self.counters.stamp_ms[order], self.counters.label[order])
        return Names(self.label_names, seen.latest(len(self.consumers), start_ms, hours, 0, self.max_gap_ms))


def _by_name(name: Name) -> str | None:
    namespace, pod = name
    return None if namespace is None or pod is None else f"{namespace}/{pod}"
