"""What is read of a server, and how it is taken in parts that fit into memory: some hours, or some nodes, at a time.

A part's rows are those that it has in any other cut: of an hour because whatever is decided about it follows from its
neighbourhood, of a node because no sample of one says anything of another.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pipeline.samples import Int64s, Transport
from pipeline.sources.meters import kepler, kepler_gpus
from pipeline.sources.meters.kepler_nodes import Group, Nodes, packed, read_nodes
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.slabs import Share, Shares, Slab
from pipeline.starts import Starts
from pipeline.transforms.plausibility import Ceilings
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Window

MOST_SAMPLES = 4_000_000  # of hours that are read together, 16 bytes each
PORTION_SAMPLES = 1_000_000  # of nodes that are read together
FOLD_SAMPLES = 300_000  # folded at a time: arrays of so many fit a processor's cache
A_SCRAPE = 50  # series of workloads beside one of a node, until the first nodes have told how many there are


class Extract(NamedTuple):
    """Where and from when to when samples are read, and what their fold needs to know.

    Attributes:
        transport: where they are.
        matchers: of the cluster.
        window: whole hours; samples are read `max_gap_ms` beyond both edges.
        max_gap_ms: the longest joined interval.
        ceilings: what no device can exceed.
        starts: of pods.
        level: whether Kepler's workloads are pods or the containers inside them.
        processes: whether series of processes are read.
        unshared: where series are that name no node, if `transport` shows those of some nodes only.
        anyone_ms: when any node was seen, if `transport` shows some only.
        concurrency: how many questions may wait for an answer at a time.
    """

    transport: Transport
    matchers: Sequence[Matcher]
    window: Window
    max_gap_ms: int
    ceilings: Ceilings
    starts: Starts
    level: kepler.Level = "pod"
    processes: bool = True
    unshared: Transport | None = None
    anyone_ms: Int64s | None = None
    concurrency: int = 1

    @property
    def start_ms(self) -> int:
        """First stamp."""
        return self.window.start_ms - self.max_gap_ms - 1

    @property
    def end_ms(self) -> int:
        """Last stamp."""
        return self.window.end_ms + self.max_gap_ms

    @property
    def asked(self) -> tuple[Transport, Sequence[Matcher], int, int]:
        """What every reader of samples is told."""
        return self.transport, self.matchers, self.start_ms, self.end_ms

    def slab(self) -> Slab:
        """All of its samples, read once."""
        return Slab(self.transport, self.start_ms, self.end_ms)


def by_hours(extract: Extract) -> Iterator[Extract]:
    """Hour by hour; neighbours, which look at the same samples, are read together as far as there is room.

    What was asked for of the first hours is asked for of later ones at once.
    """
    left, count, selectors = list(extract.window.hours()), 1, list[str]()
    while left:
        together = extract._replace(window=Window(left[0], left[:count][-1] + HOUR))
        left, slab = left[count:], together.slab()
        slab.fill(selectors, extract.concurrency)
        yield from (together._replace(transport=slab, window=Window.of_hour(h)) for h in together.window.hours())
        selectors = slab.selectors
        room_ms = MOST_SAMPLES / max(slab.samples, 1) * (together.end_ms - together.start_ms)
        count = max(1, int((room_ms - 2 * extract.max_gap_ms) / MS_PER_HOUR))


class Portion(NamedTuple):
    """Some nodes, read: where from, what there is, and whose it is."""

    extract: Extract
    slab: Slab
    groups: Sequence[Group]


def by_nodes(extract: Extract) -> Iterator[Extract]:
    """Kepler's nodes, some at a time, all hours of each.

    What is read at once grows with these and not with the cluster; it is folded in smaller parts.
    """
    nodes = read_nodes(*extract.asked)
    if not nodes.groups:
        yield extract
        return
    extract, apart = extract._replace(anyone_ms=nodes.stamps_ms), False
    for portion in _portions(extract, nodes):
        apart = len(portion.groups) < len(nodes.groups)
        yield from _folds(portion)
    if apart:
        yield extract._replace(matchers=(nodes.none(), *extract.matchers))


def _portions(extract: Extract, nodes: Nodes) -> Iterator[Portion]:
    """All nodes, as many at a time as fit: the first few, read, tell how many may follow."""
    left, per_scrape, concurrency = nodes.groups, float(A_SCRAPE), extract.concurrency
    while left:
        now = next(packed(left, PORTION_SAMPLES / per_scrape))
        left = left[len(now) :]
        narrow = [nodes.only(now)] if len(now) < len(nodes.groups) else []
        own = extract._replace(matchers=(*narrow, *extract.matchers))
        portion = Portion(own, own.slab(), now)
        asked = kepler.asked_for(own.matchers, own.level, processes=own.processes)
        portion.slab.fill([*asked, kepler_gpus.asked_for(own.matchers)], concurrency)
        per_scrape, concurrency = _per_scrape(portion), 1  # threads that all decode much get in each other's way
        yield portion


def _folds(portion: Portion) -> Iterator[Extract]:
    """Its nodes, some at a time; what names no node goes with the first."""
    extract, slab, left = portion
    shares, per_scrape = Shares(slab, kepler.nodes_of, _named(left)), _per_scrape(portion)
    for now in packed(left, FOLD_SAMPLES / per_scrape):
        share = Share(shares, _named(now), others=now[0] is left[0])
        yield extract._replace(transport=share, unshared=slab)


def _named(groups: Sequence[Group]) -> list[str]:
    return [node for group in groups for node in group.nodes]


def _per_scrape(portion: Portion) -> float:
    return max(1.0, portion.slab.samples / sum(group.scrapes for group in portion.groups))
