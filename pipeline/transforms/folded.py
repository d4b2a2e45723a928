"""What every meter's fold ends in: joined intervals of energy, and what is known of who used them.

A meter differs from another only in how its samples become this; booking into rows, reconciliation, coverage and the
choice between meters are common to all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from pipeline.samples import Bools, Floats, Int64s
from pipeline.transforms.counters import Intervals

Name: TypeAlias = tuple[str | None, str | None]  # namespace, pod


class Consumer(NamedTuple):
    """Who used energy on one node meter.

    Attributes:
        meter: number of the (node, component) pair.
        uid: pod UID, or what stands for it.
        kind: `workload`, or `system` where the meter itself measures what is outside workloads: in hours in which a
            node meter has such consumers, system is their sum and not the remainder.
        container: its name, where container rows are kept.
        workload_kind: fixed kind that no owner series tells, such as `VirtualMachine`.
        workload: its fixed name.
    """

    meter: int
    uid: str
    kind: Literal["workload", "system"] = "workload"
    container: str | None = None
    workload_kind: str | None = None
    workload: str | None = None


class Names(NamedTuple):
    """Under which names consumers are known.

    Attributes:
        known: all names.
        number: (consumers, hours), position of a consumer's name in each hour, -1 where it has none.
    """

    known: list[Name]
    number: Int64s

    @classmethod
    def by_hour(cls, told: Sequence[Mapping[int, Name]], consumers: int) -> "Names":
        """From the names of so many consumers, hour by hour."""
        position = {name: i for i, name in enumerate(dict.fromkeys(name for hour in told for name in hour.values()))}
        number = np.full((consumers, len(told)), -1, dtype=np.int64)
        for index, hour in enumerate(told):
            number[list(hour), index] = [position[name] for name in hour.values()]
        return cls(list(position), number)

    @classmethod
    def always(cls, names: Mapping[int, Name], consumers: int, hours: int) -> "Names":
        """The same names in every hour."""
        known, number = cls.by_hour([names], consumers)
        return cls(known, np.broadcast_to(number, (consumers, hours)))


class Marks(NamedTuple):
    """Moments of node meters: readings, restarts, wraps."""

    meter: Int64s
    stamp_ms: Int64s


@dataclass(frozen=True, slots=True)
class Cross:
    """A second meter of the same energy, over the intervals in which both can be compared.

    `unknown` are intervals in which the second meter cannot tell: their hours have no ratio.
    """

    name: str
    measured: Intervals
    compared: Intervals
    unknown: Intervals


@dataclass(frozen=True, slots=True)
class Implausible:
    """Intervals that no machine can have used: taken out of all others, each with its evidence.

    Attributes:
        metered: of node meters (`code` numbers `meters`): active and idle energy together.
        used: of consumers (`code` numbers `consumers`) on node meters that are themselves believed.
        metered_evidence: one line for each of `metered`: which samples, how many watts, which limit.
        used_evidence: the same for `used`.
    """

    metered: Intervals
    used: Intervals
    metered_evidence: list[str]
    used_evidence: list[str]


@dataclass(frozen=True)
class Folded:
    """One meter's samples as energy.

    Attributes:
        meter: its name.
        meters: (node, component) of each node meter, sorted.
        active: accounting intervals of node meters (`code` numbers `meters`): energy that somebody used.
        idle: the same intervals: energy that nobody used.
        bridged: what of `idle` was filled in at restarts, including tails that were then moved from it to `active`; of
            GPU boards, of both.
        consumers: everybody who used energy.
        used: their intervals (`code` numbers `consumers`).
        names: of consumers in each hour of a window, given its first stamp and number of hours.
        readings: when node meters were read.
        restarts: readings after which an exporter is known to have restarted.
        wraps: readings at which a register wrapped.
        unplaced: joules of gaps per (meter, hour) of a window, given its first stamp and number of hours; NaN where
            nobody knows.
        cross: the second meter, where there is one.
        unmetered: nodes that have consumers but no readable meter in the hour from a stamp, sorted.
        tails: the part of `used` that was estimated.
        implausible: what was taken out because no machine can have used it.
        splits: how a consumer's part of shared energy was found in the hour from a stamp: `whole`, `activity`,
            `profile` or `even`; consumers that share nothing are left out.
    """

    meter: str
    meters: list[tuple[str, str]]
    active: Intervals
    idle: Intervals
    bridged: Intervals
    consumers: list[Consumer]
    used: Intervals
    names: Callable[[int, int], Names]
    readings: Marks
    restarts: Marks
    wraps: Marks
    unplaced: Callable[[int, int], Floats]
    cross: Cross | None = None
    unmetered: Callable[[int], list[str]] = lambda _hour_ms: []
    implausible: Implausible | None = None
    tails: Intervals | None = None
    splits: Callable[[int], Mapping[int, str]] = lambda _hour_ms: {}

    @cached_property
    def is_system(self) -> Bools:
        """Which consumers the meter itself measures outside workloads."""
        return np.array([consumer.kind == "system" for consumer in self.consumers], dtype=bool)

    @cached_property
    def consumer_meter(self) -> Int64s:
        """The node meter of each consumer."""
        return np.array([consumer.meter for consumer in self.consumers], dtype=np.int64)
