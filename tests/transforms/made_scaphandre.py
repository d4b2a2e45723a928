"""Scaphandre made by hand: registers and process gauges as lists of (second, value), small enough to add up on paper.

Seconds count from `START`, values are joules and watts; they travel as microjoules and microwatts, as exposed.
"""

from collections import defaultdict
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np

from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.transport import FleetTransport
from pipeline.samples import ScaphandreSamples
from pipeline.sources.meters import scaphandre
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.scaphandre import fold_scaphandre
from pipeline.transforms.scaphandre_usage import Usage, measure
from pipeline.transforms.sheet import FoldRules
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    NOBODY,
    PACKAGE_RANGE,
    Points,
    differences,
    joined,
    stamp_ms,
    window_of,
)

GAP_MS = MAX_GAP_SECONDS * 1000
INSTANCE = "10.0.0.1:8080"
POD = {"kubernetes_pod_name": "web", "kubernetes_pod_namespace": "shop", "container_id": "c1"}


class MadeScaphandre:
    """One cluster's Scaphandre samples, folded like the product does: from extracts around a window."""

    def __init__(self) -> None:
        self._series: defaultdict[str, list[Series]] = defaultdict(list)

    def add(self, metric: str, points: Points, per_unit: float = 1.0, **labels: str) -> "MadeScaphandre":
        """Any series."""
        stamps = np.array([stamp_ms(second) for second, _ in points], dtype=np.int64)
        values = np.array([value * per_unit for _, value in points], dtype=np.float64)
        told = {METRIC: metric, "instance": INSTANCE} | {name: text for name, text in labels.items() if text}
        if len(stamps):
            self._series[metric].append(Series(told, stamps, values))
        return self

    def socket(self, points: Points, socket: str = "0", instance: str = INSTANCE) -> "MadeScaphandre":
        """One socket's register."""
        return self.add(scaphandre.SOCKETS, points, 1e6, socket_id=socket, instance=instance)

    def dram(self, points: Points, socket: str = "0", instance: str = INSTANCE) -> "MadeScaphandre":
        """The register of one socket's memory."""
        labels = {"socket_id": socket, "domain_id": "1", "domain_name": "dram"}
        return self.add(scaphandre.DOMAINS, points, 1e6, instance=instance, **labels)

    def process(self, pid: int, points: Points, exe: str = "app", **labels: str) -> "MadeScaphandre":
        """Power of one process under one label set: call it again for another."""
        told = {"pid": str(pid), "exe": exe, "cmdline": f"{exe}--run"} | labels
        return self.add(scaphandre.PROCESSES, points, 1e6, **told)

    def version(self, number: float, seconds: Iterable[float]) -> "MadeScaphandre":
        """What Scaphandre says of itself."""
        return self.add(scaphandre.VERSION, [(second, number) for second in seconds])

    def transport(self) -> FleetTransport:
        """All of it, as a server would hand it out."""
        blocks = [block_of(series) for _, series in sorted(self._series.items())]
        return FleetTransport(SimpleNamespace(blocks=lambda: blocks))

    def samples(self, first: int = 0, hours: int = 1) -> ScaphandreSamples:
        """Those of an extract around hours counted from `START`."""
        window = window_of(first, hours)
        return scaphandre.read(self.transport(), [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)

    def usage(self, first: int = 0, hours: int = 1) -> Usage:
        """Measured hosts and processes."""
        return measure(self.samples(first, hours), GAP_MS)

    def folded(self, first: int = 0, hours: int = 1) -> Folded:
        """The fold itself."""
        return fold_scaphandre(self.samples(first, hours), GAP_MS, {})

    def fold(self, first: int = 0, hours: int = 1, step_minutes: int = 60, owners: Owners = NOBODY) -> Energy:
        """Energy of hours counted from `START`."""
        rules = FoldRules("demo", GAP_MS, step_minutes)
        return book(self.folded(first, hours), window_of(first, hours), rules, [owners] * hours, None)


def register(watts: float, seconds: Iterable[float], at: float = 1000.0, wraps: float = PACKAGE_RANGE) -> Points:
    """A register that shows `at` in the first of the seconds, rises evenly and wraps."""
    held = list(seconds)
    return [(second, (at + watts * (second - held[0])) % wraps) for second in held]


def flat(watts: float, seconds: Iterable[float]) -> Points:
    """A steady gauge."""
    return [(second, watts) for second in seconds]


def fold_both_ways(made: MadeScaphandre, first: int, hours: int, step_minutes: int = 60) -> Energy:
    """The whole range at once, after checking that hour by hour gives equal tables."""
    whole = made.fold(first, hours, step_minutes)
    assert differences(whole, joined([made.fold(first + i, 1, step_minutes) for i in range(hours)])) == []
    return whole
