"""Simulated machines: their sockets, when Kepler ran on them, and when Prometheus managed to scrape them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.demo.meters import KEPLER_ALONE, Meters
from pipeline.demo.power import PowerCurve
from pipeline.errors import ConfigError
from pipeline.samples import Int64s
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE, MS_PER_SECOND

if TYPE_CHECKING:  # they know the node they are on
    from pipeline.demo.gpus import Gpu
    from pipeline.demo.processes import Guest

ZONES = ("package", "dram")
# usual max_energy_range_uj of one socket; psys is one register however many sockets there are
REGISTER_JOULES = {"package": 262143.328850, "dram": 65712.999613, "psys": 262143.328850}
JITTER_MS = (1, 31)
RESTART_GAP_MS = (4_000, 45_000)
SHORTEST_SPACING_MS = 10 * MS_PER_MINUTE
FLAT_MS = 10_000

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One machine with Kepler on it; times in milliseconds relative to the fleet's start.

    Attributes:
        registers_joules: per zone, the RAPL register of each socket when the simulation's first second began.
        socket_shares: how the node's energy splits over its sockets; sums to 1.
        kepler_runs_ms: half-open spans in which one Kepler process lived, in order; the first began long before.
        flat_dram_ms: when the dram zone began to stand still for ten seconds, which sets Kepler's pod counters to 0.
        scrapes_ms: stamps of the scrapes that succeeded.
        system: energy of everything that runs outside pods and virtual machines, per zone.
        idle: per zone.
        meters: what measures it.
        exporter_scrapes_ms: by exporter, the same as `scrapes_ms` for those beside Kepler.
        platform_share: psys is package and dram and this share of them on top; 0 where there is no psys zone.
        guests: virtual machines.
        gpus: in the order of their numbers.
        rival_scrapes_ms: when others scraped Kepler: the first scrape after a workload's end takes it off the list.
    """

    name: str
    instance: str
    sockets: int
    registers_joules: Mapping[str, tuple[float, ...]]
    socket_shares: tuple[float, ...]
    kepler_runs_ms: tuple[Span, ...]
    flat_dram_ms: tuple[int, ...]
    scrapes_ms: Int64s
    system: Mapping[str, PowerCurve]
    idle: Mapping[str, PowerCurve]
    meters: Meters = KEPLER_ALONE
    exporter_scrapes_ms: Mapping[str, Int64s] = field(default_factory=dict)
    platform_share: float = 0.0
    guests: tuple["Guest", ...] = ()
    gpus: tuple["Gpu", ...] = ()
    rival_scrapes_ms: Int64s = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def host(self) -> str:
        """Its address without a port."""
        return self.instance.split(":")[0]

    @property
    def dram_resets_ms(self) -> tuple[int, ...]:
        """When Kepler noticed that the dram zone stood still: half a standstill after it began."""
        return tuple(flat + FLAT_MS // 2 for flat in self.flat_dram_ms)


def flat_spans(flat_dram_ms: Iterable[int]) -> list[Span]:
    """The spans without any active dram energy."""
    return [(flat, flat + FLAT_MS) for flat in flat_dram_ms]


def spread_times(rng: np.random.Generator, count: int, begin_ms: int, end_ms: int) -> list[int]:
    """`count` random instants, one in each of as many equal parts and not in a part's last third.

    Raises:
        ConfigError: the parts would be shorter than ten minutes, so that events could run into each other.
    """
    if count == 0:
        return []
    part_ms = (end_ms - begin_ms) // count
    if part_ms < SHORTEST_SPACING_MS:
        raise ConfigError(
            f"{count} events do not fit into {(end_ms - begin_ms) / MS_PER_HOUR:g} h: simulate more hours"
        )
    return [begin_ms + part_ms * index + int(rng.integers(part_ms // 20, part_ms * 2 // 3)) for index in range(count)]


def kepler_runs(
    rng: np.random.Generator, stops_ms: list[int], doubles: int, begin_ms: int, end_ms: int
) -> tuple[Span, ...]:
    """Kepler's lives, given when it was stopped.

    Args:
        rng: where the pauses come from.
        stops_ms: in order.
        doubles: that many of the first stops are followed by a second one within 15 to 90 s of the new start.
        begin_ms: of the simulation; the first Kepler started one hour to three days earlier.
        end_ms: of the simulation.
    """
    start = begin_ms - int(rng.integers(MS_PER_HOUR, 72 * MS_PER_HOUR))
    runs: list[Span] = []
    for index, planned in enumerate(stops_ms):
        runs.append((start, planned))
        start = planned + int(rng.integers(*RESTART_GAP_MS))
        if index < doubles:
            again = start + int(rng.integers(15_000, 90_000))
            runs.append((start, again))
            start = again + int(rng.integers(*RESTART_GAP_MS))
    return (*runs, (start, end_ms + MS_PER_HOUR))


def scrapes(
    rng: np.random.Generator,
    every_seconds: int,
    begin_ms: int,
    end_ms: int,
    missed_ratio: float,
    phase_ms: int | None = None,
) -> Int64s:
    """Stamps of one target's scrapes: a fixed phase, 1 to 30 ms of jitter, some missed at random."""
    step_ms = every_seconds * MS_PER_SECOND
    phase_ms = int(rng.integers(step_ms)) if phase_ms is None else phase_ms
    ticks = np.arange(begin_ms + phase_ms, end_ms, step_ms, dtype=np.int64)
    stamps = ticks + rng.integers(*JITTER_MS, size=len(ticks))
    return stamps[rng.random(len(stamps)) >= missed_ratio]


def outside(stamps_ms: Int64s, spans_ms: Iterable[Span]) -> Int64s:
    """The stamps that lie in none of the half-open spans."""
    kept = np.ones(len(stamps_ms), dtype=np.bool_)
    for begin, end in spans_ms:
        kept &= (stamps_ms < begin) | (stamps_ms >= end)
    return stamps_ms[kept]


def inside(stamps_ms: Int64s, spans_ms: Iterable[Span]) -> Int64s:
    """The stamps that lie in one of the half-open spans."""
    spans = list(spans_ms)
    kept = np.zeros(len(stamps_ms), dtype=np.bool_)
    for begin, end in spans:
        kept |= (stamps_ms >= begin) & (stamps_ms < end)
    return stamps_ms[kept]


def silent_spans(
    rng: np.random.Generator, count: int, minutes: tuple[float, float], begin_ms: int, end_ms: int
) -> tuple[Span, ...]:
    """`count` spans without answers, of log-uniform length between `minutes`, none running into the next."""
    spans = []
    longest_ms = (end_ms - begin_ms) // max(count, 1) // 3
    for begin in spread_times(rng, count, begin_ms, end_ms):
        length_ms = int(np.exp(rng.uniform(*np.log(minutes))) * MS_PER_MINUTE)
        spans.append((begin, begin + min(length_ms, longest_ms)))
    return tuple(spans)
