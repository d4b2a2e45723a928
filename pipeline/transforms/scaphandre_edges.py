"""The edges of processes' lives: what they used before their first power was shown, and after their last.

Scaphandre shows a process from the second reading that finds it, and no more once it is gone. So it began in the
interval before the one that its first power is the mean of, and ended in the one after its last: at half of each on
average, and at the power next to it. That energy is idle until then, and all edges of one interval get no more than
there is.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Intervals, StampIndex
from pipeline.transforms.scaphandre_hosts import HostIntervals, HostScrapes
from pipeline.transforms.scaphandre_labels import ProcessGauges
from pipeline.units import MS_PER_SECOND

LONG_MS = 1 << 60


@dataclass(frozen=True, slots=True)
class _Lives:
    """Samples of processes at scrapes of their hosts, sorted by (process, stamp); a pid is a process.

    Attributes:
        scrape: which one each is of.
        stamp_ms: when it was.
        label: label set.
        watts: mean since the scrape before.
        before_ms: how long before it the process was last shown, `after_ms` how long after it again.
    """

    scrape: Int64s
    stamp_ms: Int64s
    label: Int64s
    watts: Floats
    before_ms: Int64s
    after_ms: Int64s

    @classmethod
    def of(cls, scrapes: HostScrapes, gauges: ProcessGauges) -> "_Lives":
        pids = [f"{label.host} {label.pid}" for label in gauges.labels]
        process = np.unique(pids, return_inverse=True)[1].astype(np.int64)[gauges.label]
        at = StampIndex.of(scrapes.host, scrapes.stamp_ms).find(gauges.host[gauges.label], gauges.stamp_ms)
        order = np.lexsort((gauges.stamp_ms, process))
        order = order[at[order] >= 0]
        process, stamp_ms = process[order], gauges.stamp_ms[order]
        between = np.where(np.diff(process) == 0, np.diff(stamp_ms), LONG_MS)
        ends = np.full(min(len(order), 1), LONG_MS)
        before, after = np.concatenate((ends, between)), np.concatenate((between, ends))
        return cls(at[order], stamp_ms, gauges.label[order], gauges.watts[order], before, after)


def process_edges(
    scrapes: HostScrapes, intervals: HostIntervals, gauges: ProcessGauges, idle_joules: Floats, max_gap_ms: int
) -> tuple[Intervals, Int64s]:
    """Estimated energy of processes, as the gauges speak of it.

    A pid shown before or again within `max_gap_ms` did not begin or end. Intervals at whose end no process is shown, or
    that are longer than from one scrape to the next, tell of no edge.

    Args:
        scrapes: of the hosts.
        intervals: their joined ones.
        gauges: the processes.
        idle_joules: what processes leave of each interval.
        max_gap_ms: how far around an interval samples count (locality).

    Returns:
        Energy, whose `code` is an interval, and the label set it is of.
    """
    lives = _Lives.of(scrapes, gauges)
    known = _telling(scrapes, intervals, lives)
    sides = _beginnings(lives, known, intervals, max_gap_ms), _ends(lives, known, max_gap_ms)
    interval, is_edge = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    life = np.tile(np.arange(len(lives.scrape)), len(sides))
    is_edge &= (interval >= 0) & (np.append(intervals.host, -1)[interval] == scrapes.host[lives.scrape[life]])
    code, life = interval[is_edge], life[is_edge]
    start, end = intervals.start_ms[code], intervals.end_ms[code]
    joules = np.maximum(lives.watts[life], 0.0) * (end - start) / MS_PER_SECOND / 2
    wanted, room = np.bincount(code, joules, minlength=len(intervals.host)), np.maximum(idle_joules, 0.0)
    share = np.divide(room, wanted, out=np.ones_like(room), where=wanted > room)
    return Intervals(code, start, end, joules * share[code]), lives.label[life]


def _telling(scrapes: HostScrapes, intervals: HostIntervals, lives: _Lives) -> Int64s:
    """The interval that ends at each scrape, from one scrape to the next and with processes; else -1. Padded by one."""
    shown = np.bincount(lives.scrape, minlength=len(scrapes.host)) > 0
    single = scrapes.stamp_ms[intervals.scrape - 1] == intervals.start_ms
    found = np.full(len(scrapes.host) + 2, -1, dtype=np.int64)
    found[intervals.scrape + 1] = np.where(single & shown[intervals.scrape], np.arange(len(intervals.host)), -1)
    return found


def _beginnings(lives: _Lives, known: Int64s, intervals: HostIntervals, max_gap_ms: int) -> tuple[Int64s, Bools]:
    """The interval before the one that ends at each sample, and whether the process began in it."""
    interval = known[lives.scrape]
    start, end = (np.append(part, 0)[interval] for part in (intervals.start_ms, intervals.end_ms))
    unseen = lives.stamp_ms - lives.before_ms < end - max_gap_ms
    return interval, unseen & (lives.stamp_ms <= start + max_gap_ms)


def _ends(lives: _Lives, known: Int64s, max_gap_ms: int) -> tuple[Int64s, Bools]:
    """The interval after each sample, and whether the process ended in it."""
    return known[lives.scrape + 2], lives.after_ms > max_gap_ms
