"""One server's samples of some hours, read and folded: every meter for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pipeline.meters import Extract, Meter
from pipeline.settings import ClusterSettings
from pipeline.sources import ownership, presence
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.transforms.accounting import with_refused
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, book, join
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window


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


def read_known(server: PrometheusServer, window: Window, max_gap_ms: int) -> Known:
    """As kube-state-metrics shows it in those hours and `max_gap_ms` around them.

    Raises:
        SourceError: the server did not give all of it.
    """
    start_ms, end_ms = window.start_ms - max_gap_ms - 1, window.end_ms + max_gap_ms
    owned = ownership.read(server, server.matchers, start_ms, end_ms)
    stamps_ms, created_ms = presence.read_presence(server, server.matchers, start_ms, end_ms)
    seen = Presence(stamps_ms, created_ms) if stamps_ms else None
    return Known(Owners(owned.pods, owned.replicasets, owned.jobs), owned.started_ms, seen)


def fold_window(
    server: PrometheusServer, meters: Sequence[Meter], window: Window, rules: FoldRules, ceilings: Ceilings,
    settings: ClusterSettings, known: Known,
) -> dict[str, MeterFold]:  # fmt: skip
    """Whole hours by each of the meters, from samples `max_gap` beyond both edges.

    Raises:
        SourceError: the server did not give all of it.
    """
    gap_ms = rules.max_gap_ms
    extract = Extract(
        server, server.matchers, window.start_ms - gap_ms - 1, window.end_ms + gap_ms, gap_ms, ceilings,
        dict(known.started_ms), settings.level, settings.processes,
    )  # fmt: skip
    folds = {}
    for meter in meters:
        reading = meter.read(extract)
        parts = (part for part in (reading.folded, reading.boards) if part is not None)
        energy = join([book(part, window, rules, known.owners, known.presence) for part in parts])
        energy = replace(
            with_refused(energy, reading.refused(window, rules.cluster)),
            processes=reading.processes(window, rules.cluster),
            faults=tuple(reading.faults(window)),
        )
        folds[meter.name] = MeterFold(reading.samples, reading.folded, energy)
    return folds
