"""What processes used of their host's energy, interval by interval, as Scaphandre's power gauges tell it.

A process' gauge is the host's power times the process' share of all cores. What Scaphandre calls the host depends on
its version: the packages in 0.x, packages and dram in 1.x, psys in 1.x where there is one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.samples import Bools, Floats, Int64s, ScaphandreSamples
from pipeline.transforms.counters import Intervals, StampIndex, joined_intervals
from pipeline.transforms.gauges import backward_steps
from pipeline.transforms.registers import CEILING_WATTS
from pipeline.transforms.scaphandre_edges import process_edges
from pipeline.transforms.scaphandre_hosts import HostIntervals, HostScrapes, fold_hosts, host_numbers, merged
from pipeline.transforms.scaphandre_labels import Holders, ProcessGauges, process_gauges
from pipeline.transforms.sightings import Sightings

OLD_BEFORE = 1.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Hosts and their processes over the intervals in which both are known.

    Attributes:
        scrapes: when hosts were read.
        unknown: scrapes at which a gap ends, of registers or of processes.
        intervals: joined ones, sorted by (host, end).
        nodes: node names, sorted.
        node: which of them each interval is of, and `scrape_node` each scrape, by what was seen around it.
        reading_node: the same of each scrape by itself; -1 for those without processes, which do not tell.
        per_joule: joules of package and dram in each joule that process gauges speak of, shape (2, intervals).
        gauges: the process gauges.
        guest, pod, container: whose each entry is, -1 for none, see `Holders`.
        label: label set of each entry.
        spent: its energy as the gauges speak of it; `code` is the interval.
        filled: entries of scrapes without any process, carried from the scrapes around.
        tail: entries before a process' first power or after its last, estimated.
    """

    scrapes: HostScrapes
    unknown: Bools
    intervals: HostIntervals
    nodes: list[str]
    node: Int64s
    scrape_node: Int64s
    reading_node: Int64s
    per_joule: Floats
    gauges: ProcessGauges
    guest: Int64s
    pod: Int64s
    container: Int64s
    label: Int64s
    spent: Intervals
    filled: Bools
    tail: Bools


def measure(samples: ScaphandreSamples, max_gap_ms: int, ceiling_watts: float = CEILING_WATTS) -> Usage:
    """All processes' energy over the joined intervals of their hosts.

    An interval without any process is not joined, for nobody could tell use from idleness; except one alone, and those
    that Scaphandre leaves where registers wrap: there processes are given the mean of the power around. No socket draws
    more than `ceiling_watts`.
    """
    scrapes, intervals = fold_hosts(samples, max_gap_ms, ceiling_watts)
    gauges = process_gauges(samples, scrapes.hosts)
    interval, label, watts, filled = _powers(scrapes, intervals, gauges, max_gap_ms)
    per_joule = _per_joule(samples, scrapes, intervals, max_gap_ms)
    seen = np.bincount(interval, minlength=len(intervals.host)) > 0
    kept = seen & np.isfinite(per_joule).all(axis=0)
    renumber = np.cumsum(kept) - 1
    of_kept = kept[interval]
    interval, label, watts, filled = renumber[interval[of_kept]], label[of_kept], watts[of_kept], filled[of_kept]
    unknown = scrapes.unknown.copy()
    unknown[intervals.scrape[~kept]] = True
    intervals = HostIntervals(
        intervals.scrape[kept], intervals.host[kept], intervals.start_ms[kept], intervals.end_ms[kept],
        intervals.joules[:, kept], intervals.wrapped[:, kept],
    )  # fmt: skip
    spent = backward_steps(interval, intervals.start_ms[interval], intervals.end_ms[interval], watts, max_gap_ms)
    idle = _of_host(intervals, per_joule[:, kept]) - np.bincount(spent.code, spent.joules, minlength=kept.sum())
    unseen, whose = process_edges(scrapes, intervals, gauges, idle, max_gap_ms)
    tail = np.repeat([False, True], [len(label), len(whose)])
    spent, label, filled = joined_intervals(spent, unseen), np.append(label, whose), np.append(filled, whose < 0)
    guest, pod, container = Holders.of(gauges, samples.pods).find(label, spent.start_ms, spent.end_ms, max_gap_ms)
    nodes = _nodes(scrapes, intervals, gauges, max_gap_ms)
    return Usage(
        scrapes, unknown, intervals, *nodes, per_joule[:, kept], gauges,
        guest, pod, container, label, spent, filled, tail,
    )  # fmt: skip


def _powers(
    scrapes: HostScrapes, intervals: HostIntervals, gauges: ProcessGauges, max_gap_ms: int
) -> tuple[Int64s, Int64s, Floats, Bools]:
    """(interval, label, watts, filled) of every process in every interval."""
    index = StampIndex.of(scrapes.host, scrapes.stamp_ms)
    at = index.find(gauges.host[gauges.label], gauges.stamp_ms)
    order = np.argsort(at, kind="stable")
    order = order[at[order] >= 0]
    edges = np.searchsorted(at[order], np.arange(len(scrapes.host) + 1))
    count = np.diff(edges)

    of_scrape = np.full(len(scrapes.host), -1, dtype=np.int64)
    of_scrape[intervals.scrape] = np.arange(len(intervals.scrape))
    direct = order[of_scrape[at[order]] >= 0]
    parts = [(of_scrape[at[direct]], gauges.label[direct], gauges.watts[direct], np.zeros(len(direct), dtype=bool))]
    begin = index.find(intervals.host, intervals.start_ms)
    for k in np.flatnonzero(count[intervals.scrape] == 0):
        sides = _around(scrapes, count, int(begin[k]), int(intervals.scrape[k]), max_gap_ms)
        around = np.concatenate([order[:0], *(order[edges[s] : edges[s + 1]] for s in sides)])
        parts.append((
            np.full(len(around), k), gauges.label[around], gauges.watts[around] / 2, np.ones(len(around), dtype=bool)
        ))  # fmt: skip
    interval, label, watts, filled = (np.concatenate([part[i] for part in parts]) for i in range(4))
    return interval.astype(np.int64), label.astype(np.int64), watts.astype(np.float64), filled.astype(bool)


def _around(scrapes: HostScrapes, count: Int64s, begin: int, hole: int, max_gap_ms: int) -> tuple[int, ...]:
    """The scrapes with processes on both sides of one without, from whose reading `begin` it goes on; () for too far.

    Next to it, another one without may only stand where both show a register that fell: each is then a wrap's own.
    """
    before, after = begin, hole + 1
    oldest, newest = scrapes.stamp_ms[hole] - max_gap_ms, scrapes.stamp_ms[begin] + max_gap_ms

    def near(scrape: int) -> bool:
        inside = 0 <= scrape < len(scrapes.host) and scrapes.host[scrape] == scrapes.host[hole]
        return bool(inside and oldest <= scrapes.stamp_ms[scrape] <= newest)

    while near(before) and count[before] == 0 and scrapes.fell[before] and scrapes.fell[hole]:
        before -= 1
    while near(after) and count[after] == 0 and scrapes.fell[after] and scrapes.fell[hole]:
        after += 1
    fresh = near(before) and near(after) and not scrapes.repeated[after]
    return (before, after) if fresh and count[before] > 0 and count[after] > 0 else ()


def _per_joule(samples: ScaphandreSamples, scrapes: HostScrapes, intervals: HostIntervals, max_gap_ms: int) -> Floats:
    """Joules of package and dram in each joule of what Scaphandre calls the host; NaN where psys is not known.

    The version tells, else what the host counter sums; where neither is exported, it is taken for a 1.x.
    """
    package, dram, psys = intervals.joules
    both = package + dram
    alone = _sums_packages(samples, scrapes, intervals)
    version = _versions(samples, scrapes, intervals, max_gap_ms)
    old = np.where(np.isfinite(version), version < OLD_BEFORE, alone & (scrapes.registers[2, intervals.scrape] == 0))
    by_psys = ~old & (scrapes.registers[2, intervals.scrape] > 0)
    host = np.where(old, package, np.where(by_psys, psys, both))
    known = np.isfinite(host) & (host > 0)
    shares = np.stack((package, np.where(old, 0.0, dram)))
    per_joule: Floats = np.divide(shares, host, out=np.full_like(shares, np.nan), where=known)
    return per_joule


def _of_host(intervals: HostIntervals, per_joule: Floats) -> Floats:
    """The packages' joules, as many times as the host has what they have; 0 where they stood still."""
    package = intervals.joules[0]
    joules: Floats = np.divide(package, per_joule[0], out=np.zeros_like(package), where=per_joule[0] > 0)
    return joules


def _versions(samples: ScaphandreSamples, scrapes: HostScrapes, intervals: HostIntervals, max_gap_ms: int) -> Floats:
    """Scaphandre's version in each interval, NaN where it does not say."""
    told = merged(samples.versions, host_numbers(samples.versions.identity, scrapes.hosts))
    distinct, fact = np.unique(told.value, return_inverse=True)
    found = Sightings.of(told.code, told.stamp_ms, fact.astype(np.int64)).find(
        intervals.host, intervals.start_ms, intervals.end_ms, max_gap_ms
    )
    versions: Floats = np.append(distinct, np.nan)[found]
    return versions


def _sums_packages(samples: ScaphandreSamples, scrapes: HostScrapes, intervals: HostIntervals) -> Bools:
    """Whether the host counter is the sum of packages rather than of packages and dram."""
    totals = merged(samples.totals, host_numbers(samples.totals.identity, scrapes.hosts))
    at = StampIndex.of(totals.code, totals.stamp_ms).find(intervals.host, intervals.end_ms)
    total = np.append(totals.value, np.nan)[at]
    package, dram = scrapes.shown_joules[:, intervals.scrape]
    return np.asarray(np.abs(total - package) < np.abs(total - package - dram), dtype=bool)


def _nodes(
    scrapes: HostScrapes, intervals: HostIntervals, gauges: ProcessGauges, max_gap_ms: int
) -> tuple[list[str], Int64s, Int64s, Int64s]:
    """Node names, and the node of each interval, scrape and reading: as its pods' processes name it, else its address.

    Readings also tell where a node was beyond an hour's edges; each is told by its own labels, to look no further.
    """
    told = sorted({label.node for label in gauges.labels if label.node})
    fact = np.array([told.index(label.node) if label.node else -1 for label in gauges.labels], dtype=np.int64)
    names = Sightings.of(gauges.host[gauges.label], gauges.stamp_ms, fact[gauges.label])
    nodes = sorted({*told, *scrapes.hosts})
    number = {name: i for i, name in enumerate(nodes)}
    of_fact = np.array([*(number[name] for name in told), -1], dtype=np.int64)
    of_host = np.array([number[host] for host in scrapes.hosts], dtype=np.int64)

    def named(host: Int64s, start_ms: Int64s, end_ms: Int64s, reach_ms: int) -> Int64s:
        found = names.find(host, start_ms, end_ms, reach_ms)
        return np.where(found >= 0, of_fact[found], of_host[host]).astype(np.int64)

    stamps = StampIndex.of(scrapes.host, scrapes.stamp_ms).find(gauges.host[gauges.label], gauges.stamp_ms)
    telling = np.bincount(stamps[stamps >= 0], minlength=len(scrapes.host)) > 0
    own = named(scrapes.host, scrapes.stamp_ms, scrapes.stamp_ms, 0)
    return (
        nodes,
        named(intervals.host, intervals.start_ms, intervals.end_ms, max_gap_ms),
        named(scrapes.host, scrapes.stamp_ms, scrapes.stamp_ms, max_gap_ms),
        np.where(telling, own, -1).astype(np.int64),
    )
