"""One server's samples of some hours, read and folded: every meter for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from pipeline.meters import Extract, Meter
from pipeline.samples import Transport
from pipeline.settings import ClusterSettings
from pipeline.sources import ownership, presence
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.prometheus.servers import Servers
from pipeline.sources.slabs import Slab
from pipeline.transforms.accounting import with_refused
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, book, join
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Window

MOST_SAMPLES = 6_000_000  # kept at a time, 16 bytes each
MOST_HOURS = 24


class MeterFold(NamedTuple):
    """What one meter says of some hours: its samples, their meaning, its rows."""

    samples: object
    folded: Folded
    energy: Energy


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a cluster's pods and nodes beside their energy.

    Attributes:
        owners: of pods.
        started_ms: when pods started, by uid.
        presence: which nodes were there when; None where nothing tells.
    """

    owners: Owners
    started_ms: Mapping[str, int]
    presence: Presence | None


def read_known(servers: Servers[BulkServer], window: Window, max_gap_ms: int) -> Known:
    """As kube-state-metrics shows it in those hours and `max_gap_ms` around them, whichever of the servers scrapes it.

    Raises:
        SourceError: a shard did not give all of it.
    """
    start_ms, end_ms = window.start_ms - max_gap_ms - 1, window.end_ms + max_gap_ms

    def ask(server: PrometheusServer) -> tuple[ownership.OwnerSeries, presence.Sightings]:
        owned = ownership.read(server, server.matchers, start_ms, end_ms)
        return owned, presence.read_presence(server, server.matchers, start_ms, end_ms)

    answers = [answer for _, answer in servers.each(ask)]
    owned = ownership.united([answer[0] for answer in answers])
    stamps_ms, created_ms = presence.united([answer[1] for answer in answers])
    seen = Presence(stamps_ms, created_ms) if stamps_ms else None
    return Known(Owners(owned.pods, owned.replicasets, owned.jobs), owned.started_ms, seen)


class Slabs:
    """Neighbouring hours of each server's samples, read together.

    Args:
        servers: of the cluster.
        window: the hours.
        max_gap_ms: samples are read so far beyond both edges.
    """

    def __init__(self, servers: Servers[BulkServer], window: Window, max_gap_ms: int) -> None:
        self._servers, self._window, self._max_gap_ms = servers, window, max_gap_ms
        self._slabs: dict[BulkServer, Slab] = {}

    def of(self, server: BulkServer) -> Slab:
        """One server's."""
        if server not in self._slabs:
            start_ms = self._window.start_ms - self._max_gap_ms - 1
            transport = self._servers.transport_of(server)
            self._slabs[server] = Slab(transport, start_ms, self._window.end_ms + self._max_gap_ms)
        return self._slabs[server]

    @property
    def hours_with_room(self) -> int:
        """How many hours like these there is room for together."""
        around_ms = 2 * self._max_gap_ms
        samples = sum(slab.samples for slab in self._slabs.values())
        per_ms = samples / (self._window.hour_count * MS_PER_HOUR + around_ms)
        if per_ms == 0:
            return MOST_HOURS
        return max(1, min(MOST_HOURS, int((MOST_SAMPLES / per_ms - around_ms) / MS_PER_HOUR)))


def first_window(hours: Sequence[datetime], count: int) -> Window:
    """The first of some hours in time order, with those that follow it at once: `count` of them at most."""
    most = next(
        (i for i in range(1, min(count, len(hours))) if hours[i] - hours[i - 1] != HOUR), min(count, len(hours))
    )
    return Window(hours[0], hours[0] + most * HOUR)


class Fold(NamedTuple):
    """How the samples of one cluster's hours are read and folded.

    Attributes:
        window: whole hours; samples are read `max_gap` beyond both edges.
        rules: of the fold.
        ceilings: what no device can exceed.
        settings: of the cluster.
        known: beside the samples.
    """

    window: Window
    rules: FoldRules
    ceilings: Ceilings
    settings: ClusterSettings
    known: Known

    def energies(self, transport: Transport, matchers: Sequence[Matcher], meters: Sequence[Meter]) -> dict[str, Energy]:
        """What each of the meters says, by its name; of no more samples at a time than must be.

        Raises:
            SourceError: the server did not give all of it.
        """
        extract = self._extract(transport, matchers)
        return {
            meter.name: join([self._of(meter, share).energy for share in meter.shares(extract)]) for meter in meters
        }

    def whole(self, transport: Transport, matchers: Sequence[Matcher], meters: Sequence[Meter]) -> dict[str, MeterFold]:
        """The same with all their samples, to look at.

        Raises:
            SourceError: the server did not give all of it.
        """
        extract = self._extract(transport, matchers)
        return {meter.name: self._of(meter, extract) for meter in meters}

    def _extract(self, transport: Transport, matchers: Sequence[Matcher]) -> Extract:
        gap_ms = self.rules.max_gap_ms
        return Extract(
            transport, matchers, self.window.start_ms - gap_ms - 1, self.window.end_ms + gap_ms, gap_ms, self.ceilings,
            dict(self.known.started_ms), self.settings.level, self.settings.processes,
        )  # fmt: skip

    def _of(self, meter: Meter, extract: Extract) -> MeterFold:
        window, reading = self.window, meter.read(extract)
        parts = (part for part in (reading.folded, reading.boards) if part is not None)
        energy = join([book(part, window, self.rules, self.known.owners, self.known.presence) for part in parts])
        energy = replace(
            with_refused(energy, reading.refused(window, self.rules.cluster)),
            processes=reading.processes(window, self.rules.cluster),
            faults=tuple(reading.faults(window)),
        )
        return MeterFold(reading.samples, reading.folded, energy)
