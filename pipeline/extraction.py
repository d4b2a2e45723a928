"""One server's samples of some hours, read and folded: every meter for itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from pipeline.meters import Meter
from pipeline.samples import Transport
from pipeline.settings import ClusterSettings
from pipeline.shares import Extract
from pipeline.sources import ownership, presence
from pipeline.sources.kube_state import Span
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.prometheus.servers import Servers
from pipeline.starts import Starts
from pipeline.transforms.accounting import with_refused
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, book, join
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import HOUR, Window

MOST_HOURS = 24


class MeterFold(NamedTuple):
    """What one meter says of some hours: its samples, their meaning, its rows."""

    samples: object
    folded: Folded
    energy: Energy


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a cluster's pods and nodes beside their energy, hour by hour.

    Attributes:
        owners: of pods, in each hour of a window.
        starts: of pods.
        presence: which nodes were there when; None where nothing tells.
    """

    owners: Sequence[Owners]
    starts: Starts
    presence: Presence | None


def read_known(servers: Servers[BulkServer], window: Window, max_gap_ms: int) -> Known:
    """As kube-state-metrics shows it in each hour and `max_gap_ms` around it, whichever of the servers scrapes it.

    Raises:
        SourceError: a shard did not give all of it.
    """
    span = Span(window, max_gap_ms)
    answers = servers.each(lambda server: (ownership.read(server, span), presence.read_presence(server, span)))
    of_pods, of_nodes = zip(*(answer for _, answer in answers), strict=True)
    owned, seen = ownership.united(of_pods), presence.united(of_nodes)
    created_ms = presence.created_ms(seen.created, window)
    return Known(
        Owners.by_hour(owned.pods, owned.replicasets, owned.jobs),
        ownership.starts(owned, window.start_ms),
        Presence(seen.stamps_ms, created_ms) if seen.stamps_ms else None,
    )


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
        concurrency: how many questions a server may be asked at a time.
    """

    window: Window
    rules: FoldRules
    ceilings: Ceilings
    settings: ClusterSettings
    known: Known
    concurrency: int = 1

    def energies(self, transport: Transport, matchers: Sequence[Matcher], meters: Sequence[Meter]) -> dict[str, Energy]:
        """What each of the meters says, by its name; of no more samples at a time than must be.

        Raises:
            SourceError: the server did not give all of it.
        """
        extract = self._extract(transport, matchers)
        return {meter.name: join([self._of(meter, part).energy for part in meter.parts(extract)]) for meter in meters}

    def whole(self, transport: Transport, matchers: Sequence[Matcher], meters: Sequence[Meter]) -> dict[str, MeterFold]:
        """The same with all their samples, to look at.

        Raises:
            SourceError: the server did not give all of it.
        """
        extract = self._extract(transport, matchers)
        return {meter.name: self._of(meter, extract) for meter in meters}

    def _extract(self, transport: Transport, matchers: Sequence[Matcher]) -> Extract:
        return Extract(
            transport, matchers, self.window, self.rules.max_gap_ms, self.ceilings, self.known.starts,
            self.settings.level, self.settings.processes, concurrency=self.concurrency,
        )  # fmt: skip

    def _of(self, meter: Meter, extract: Extract) -> MeterFold:
        window, reading = extract.window, meter.read(extract)
        first = (window.start_ms - self.window.start_ms) // MS_PER_HOUR
        owners = self.known.owners[first : first + window.hour_count]
        parts = (part for part in (reading.folded, reading.boards) if part is not None)
        energy = join(
            [book(part, window, self.rules, owners, self.known.presence, extract.anyone_ms) for part in parts]
        )
        energy = replace(
            with_refused(energy, reading.refused(window, self.rules.cluster)),
            processes=reading.processes(window, self.rules.cluster),
            faults=tuple(reading.faults(window)),
        )
        return MeterFold(reading.samples, reading.folded, energy)
