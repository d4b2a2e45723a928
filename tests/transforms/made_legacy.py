"""Nodes of an old Kepler, made by hand, and simulated fleets of them."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import pyarrow as pa

from pipeline.demo.fleet import Fleet, churning, outages, restarting, steady
from pipeline.demo.transport import FleetTransport
from pipeline.samples import Block, LegacySamples, Transport
from pipeline.sources.meters import kepler_legacy as source
from pipeline.starts import UNKNOWN, Starts
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.folded import Folded
from pipeline.transforms.legacy import fold_legacy
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    NOBODY,
    Counter,
    Points,
    clock,
    differences,
    joined,
    line,
    scrapes,
    stamp_ms,
    unowned,
    window_of,
)

GAP_MS = MAX_GAP_SECONDS * 1000
NO_NAMES = pa.schema([])
SEEN = scrapes("09:45", "11:15")
HOUR_SECONDS = 3600


class Made:
    """Old Kepler's samples, made by hand and folded like the product does: from extracts around a window."""

    def __init__(self) -> None:
        self.sockets, self.containers, self.totals, self.versions = Counter(), Counter(), Counter(), Counter()

    def node(
        self, points: Points, mode: str = "dynamic", socket: str = "0", component: str = "package", node: str = "n1"
    ) -> "Made":
        """Samples of one socket."""
        self.sockets.add((node, component, mode, socket), (), points)
        return self

    def container(
        self,
        container_id: str,
        points: Points,
        pod: str | None = "web",
        namespace: str | None = "shop",
        component: str = "package",
        node: str = "n1",
    ) -> "Made":
        """Samples of one container; call it again for another label set."""
        self.containers.add((node, component, container_id), (namespace, pod), points)
        return self

    def total(
        self, container_id: str, points: Points, pod: str | None = "web", namespace: str | None = "shop"
    ) -> "Made":
        """Samples of one container's sum of all components on n1."""
        self.totals.add(("n1", container_id), (namespace, pod), points)
        return self

    def version(self, version: str, seconds: list[float]) -> "Made":
        """Scrapes of n1 that declared a version."""
        self.versions.add(("n1", version), (), [(second, 1.0) for second in seconds])
        return self

    def samples(self, start_ms: int = 0, end_ms: int = 1 << 60) -> LegacySamples:
        """All samples, or those of an extract."""
        edges = start_ms, end_ms
        return LegacySamples(
            meter=source.NAME,
            sockets=self.sockets.samples(source.SOCKET_IDENTITY, NO_NAMES, *edges),
            containers=self.containers.samples(source.CONTAINER_IDENTITY, source.POD_NAMES, *edges),
            totals=self.totals.samples(source.TOTAL_IDENTITY, source.POD_NAMES, *edges),
            versions=self.versions.samples(source.VERSION_IDENTITY, NO_NAMES, *edges),
        )

    def folded(self, first: int = 0, hours: int = 1, started: Mapping[str, float] | None = None) -> Folded:
        """Before booking."""
        window = window_of(first, hours)
        started_ms = {pod: stamp_ms(second) for pod, second in (started or {}).items()}
        return fold_legacy(
            self.samples(window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS),
            GAP_MS,
            Starts.always(started_ms),
        )

    def fold(
        self, first: int = 0, hours: int = 1, step_minutes: int = 60, started: Mapping[str, float] | None = None
    ) -> Energy:
        """Energy of `hours` hours from the `first` after `START`."""
        folded = self.folded(first, hours, started)
        return book(folded, window_of(first, hours), FoldRules("demo", GAP_MS, step_minutes), [NOBODY] * hours, None)

    def both_ways(self, first: int, hours: int) -> Energy:
        """The whole range, after checking that hour by hour gives the same."""
        whole = self.fold(first, hours)
        assert differences(whole, joined([self.fold(first + i, 1) for i in range(hours)])) == []
        return whole


def machine(seen: list[float] = SEEN, component: str = "package") -> Made:
    """One socket of 60 W dynamic and 40 W idle."""
    return Made().node(line(60, seen), component=component).node(line(40, seen), "idle", component=component)


def restarted(joules_then: float, extra: float = 0.0) -> tuple[list[float], Points]:
    """60 W, reset between 10:20:00 and 10:20:30."""
    before, after = [s for s in SEEN if s <= clock("10:20")], [s for s in SEEN if s > clock("10:20")]
    return after, [*line(60 + extra, before, 50_000), *line(60 + extra, after, joules_then)]


START_UTC = datetime(2026, 11, 3, 22, tzinfo=UTC)
KINDS = {"steady": steady, "churning": churning, "restarting": restarting, "outages": outages}


def folded_energy(transport: Transport, window: Window) -> Energy:
    samples = source.read(transport, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    return book(fold_legacy(samples, GAP_MS, UNKNOWN), window, FoldRules("demo", GAP_MS, 60), unowned(window), None)


class OnlyTotals:
    """A fleet whose component series of containers somebody dropped by relabelling."""

    def __init__(self, fleet: Fleet) -> None:
        self.inner = FleetTransport(fleet)

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        dropped = any(selector.startswith(source.CONTAINER.format(component)) for component in source.COMPONENTS)
        return iter(()) if dropped else self.inner.blocks(selector, start_ms, end_ms)
