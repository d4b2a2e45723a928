"""What the registers of hosts with Scaphandre counted, scrape by scrape: the node's own energy.

A refresh that Scaphandre did not make repeats every register to the microjoule, which no living socket does: such a
scrape is no reading, and the next one spans the whole standstill, under the same gap rule.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.samples import Bools, Floats, Int64s, Samples, ScaphandreSamples
from pipeline.tables import values
from pipeline.transforms.counters import Counters, StampIndex, merge
from pipeline.transforms.registers import CEILING_WATTS, RegisterSteps, rises

COMPONENTS = ("package", "dram", "psys")


@dataclass(frozen=True, slots=True)
class HostScrapes:
    """Scrapes at which a host's sockets were seen, sorted by (host, stamp).

    Attributes:
        hosts: addresses, sorted.
        host: number of each scrape's host.
        stamp_ms: when it was.
        repeated: whether every register shows what it showed in the scrape before.
        fell: whether any register shows less than in the scrape before: then all power is missing.
        unknown: whether a gap ends here: since the reading before nobody knows what the registers counted.
        shown_joules: sum of what the sockets and their memory show, shape (2, scrapes).
        registers: how many registers of each component were seen, shape (3, scrapes).
    """

    hosts: list[str]
    host: Int64s
    stamp_ms: Int64s
    repeated: Bools
    fell: Bools
    unknown: Bools
    shown_joules: Floats
    registers: Int64s


@dataclass(frozen=True, slots=True)
class HostIntervals:
    """Joined intervals `(start, end]` of hosts, sorted by (host, end).

    Attributes:
        scrape: the scrape that ends each.
        host, start_ms, end_ms: which and when.
        joules: by component (package, dram, psys), shape (3, intervals); psys NaN where there is none or unknown.
        wrapped: the same: whether one of its registers wrapped.
    """

    scrape: Int64s
    host: Int64s
    start_ms: Int64s
    end_ms: Int64s
    joules: Floats
    wrapped: Bools


@dataclass(frozen=True, slots=True)
class _Registers:
    """Registers of all hosts and where their samples are."""

    counters: Counters
    component: Int64s  # indexed by register
    host: Int64s  # indexed by register
    ranges_joules: list[tuple[float, ...]]
    ceiling_watts: float  # of one register


def fold_hosts(
    samples: ScaphandreSamples, max_gap_ms: int, ceiling_watts: float = CEILING_WATTS
) -> tuple[HostScrapes, HostIntervals]:
    """Scrapes of all hosts, and the intervals between readings in which every socket and its memory are known.

    Registers that come or go, or whose wrap cannot be told, leave the interval unjoined: a node is known whole or not.
    No register counts more than `ceiling_watts`.
    """
    hosts = sorted(
        {str(row["host"]) for row in samples.registers.identity.to_pylist() if row["component"] == "package"}
    )
    registers = _registers(samples, hosts, ceiling_watts)
    code, stamp = registers.counters.code, registers.counters.stamp_ms
    of_socket = registers.component[code] == 0
    seen = np.unique(np.stack((registers.host[code[of_socket]], stamp[of_socket])), axis=1)
    host, stamp_ms = seen[0], seen[1]
    at = StampIndex.of(host, stamp_ms).find(registers.host[code], stamp)

    first = np.flatnonzero((at[1:] == at[:-1] + 1) & (code[1:] == code[:-1]) & (at[:-1] >= 0))  # neighbours in time
    counts = _per_scrape(registers, at, np.flatnonzero(at >= 0), len(host))
    both = _per_scrape(registers, at, first + 1, len(host))
    equal = first[registers.counters.value[first + 1] == registers.counters.value[first]]
    same = _per_scrape(registers, at, equal + 1, len(host))
    lower = first[registers.counters.value[first + 1] < registers.counters.value[first]]
    fell = _per_scrape(registers, at, lower + 1, len(host)).sum(axis=0) > 0
    before = np.concatenate((counts[:, :1], counts[:, :-1]), axis=1)
    opening = np.diff(host, prepend=-1) != 0
    whole = (both[:2] == counts[:2]).all(axis=0) & (counts[:2] == before[:2]).all(axis=0) & ~opening
    repeated = whole & (same[:2] == counts[:2]).all(axis=0)

    begin = _previous_readings(host, stamp_ms, repeated, max_gap_ms)
    candidate = whole & ~repeated & (begin >= 0)
    intervals, joined = _joined(registers, at, first, host, stamp_ms, begin, candidate, max_gap_ms)
    far = np.diff(stamp_ms, prepend=0) > max_gap_ms
    shown = np.stack([_shown(registers, at, component, len(host)) for component in (0, 1)])
    unknown = opening | far | (~repeated & ~joined)
    return HostScrapes(hosts, host, stamp_ms, repeated, fell, unknown, shown, counts), intervals


def _registers(samples: ScaphandreSamples, hosts: list[str], ceiling_watts: float) -> _Registers:
    keys = [tuple(row.values()) for row in samples.registers.identity.to_pylist()]
    known = sorted({key for key in keys if key[0] in hosts})
    number = {key: i for i, key in enumerate(known)}
    return _Registers(
        counters=merged(samples.registers, [number.get(key, -1) for key in keys]),
        component=np.array([COMPONENTS.index(component) for _, component, _ in known], dtype=np.int64),
        host=np.array([hosts.index(host) for host, _, _ in known], dtype=np.int64),
        ranges_joules=[tuple(samples.ranges_joules[component]) for _, component, _ in known],
        ceiling_watts=ceiling_watts,
    )


def merged(samples: Samples, renumber: list[int]) -> Counters:
    """Samples of identities under other numbers, one a stamp; those numbered -1 are left out."""
    code = np.array(renumber, dtype=np.int64)[samples.code] if renumber else samples.code
    kept = code >= 0
    return merge(code[kept], samples.stamp_ms[kept], samples.value[kept], samples.name[kept])


def host_numbers(identity: pa.Table, hosts: list[str]) -> list[int]:
    """The number of each row's host, -1 for hosts without sockets."""
    number = {host: i for i, host in enumerate(hosts)}
    return [number.get(str(host), -1) for host in values(identity, "host")]


def _per_scrape(registers: _Registers, at: Int64s, chosen: Int64s, scrapes: int) -> Int64s:
    """How many of the chosen samples each scrape holds, by component; shape (3, scrapes)."""
    component = registers.component[registers.counters.code[chosen]]
    counts = np.bincount(component * scrapes + at[chosen], minlength=len(COMPONENTS) * scrapes)
    return counts.astype(np.int64).reshape(len(COMPONENTS), scrapes)


def _shown(registers: _Registers, at: Int64s, component: int, scrapes: int) -> Floats:
    chosen = (at >= 0) & (registers.component[registers.counters.code] == component)
    return np.bincount(at[chosen], registers.counters.value[chosen], minlength=scrapes).astype(np.float64)


def _previous_readings(host: Int64s, stamp_ms: Int64s, repeated: Bools, max_gap_ms: int) -> Int64s:
    """The scrape from which each scrape's registers moved, -1 where it lies too far back to be known.

    Of a standstill only its beginning counts, and it must be seen: a scrape with other values at most `max_gap` back.
    """
    position = np.arange(len(host))
    oldest = StampIndex.of(host, stamp_ms).count_to(host, stamp_ms - max_gap_ms - 1) if len(host) else position
    run = np.maximum.accumulate(np.where(repeated, 0, position)) if len(host) else position
    previous = np.maximum(position - 1, 0)
    begin = np.maximum(run[previous], oldest)
    still = begin < previous
    visible = ~still | ((run[previous] == begin) & (begin - 1 >= oldest))
    near = (previous >= oldest) & (position > 0) & (host[previous] == host)
    return np.where(near & visible, begin, -1).astype(np.int64)


def _joined(
    registers: _Registers, at: Int64s, first: Int64s, host: Int64s, stamp_ms: Int64s, begin: Int64s, candidate: Bools,
    max_gap_ms: int,
) -> tuple[HostIntervals, Bools]:  # fmt: skip
    """Intervals of those candidate scrapes at which every register is known."""
    scrapes, first = len(host), first[candidate[at[first + 1]]]
    scrape, code, value = at[first + 1], registers.counters.code[first], registers.counters.value
    start = begin[scrape]
    earlier = np.maximum(start - 1, 0)  # tells that a standstill did not begin before it
    known_ms = np.where((start > 0) & (host[earlier] == host[start]), stamp_ms[earlier], np.iinfo(np.int64).min)
    steps = RegisterSteps(
        code, stamp_ms[start], stamp_ms[scrape], known_ms, value[first], value[first + 1], registers.ranges_joules
    )
    none = np.zeros(0), np.zeros(0, dtype=bool)
    rise, wrapped = rises(steps, max_gap_ms, registers.ceiling_watts) if len(first) else none
    component = registers.component[code]
    cell = component * scrapes + scrape

    def summed(amount: Floats) -> Floats:
        sums = np.bincount(cell, amount, minlength=len(COMPONENTS) * scrapes)
        return sums.astype(np.float64).reshape(len(COMPONENTS), scrapes)

    joules, wraps, seen = summed(rise), summed(wrapped.astype(np.float64)), summed(np.ones(len(rise)))
    joules[2, seen[2] == 0] = np.nan
    joined = candidate & np.isfinite(joules[:2]).all(axis=0)
    chosen = np.flatnonzero(joined)
    return HostIntervals(
        chosen, host[chosen], stamp_ms[begin[chosen]], stamp_ms[chosen], joules[:, chosen], wraps[:, chosen] > 0
    ), joined
