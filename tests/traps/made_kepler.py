"""Kepler 0.10 and newer as Prometheus stores it, one node in hand-made numbers."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Self

from pipeline.transforms.energy import Energy
from tests.transforms.exposed import Exposed
from tests.transforms.made import Points, line, scrapes, where

SEEN = scrapes("09:45", "11:15")
HOUR_SECONDS = 3600
NODE = {"node_name": "n1", "instance": "10.0.0.1:28282", "job": "kepler", "namespace": "monitoring", "pod": "kepler-x"}
WEB = {"pod_id": "uid-web", "pod_name": "web", "pod_namespace": "shop"}


class Kepler(Exposed):
    """One node's series; every one carries the labels of Kepler's own pod."""

    def __init__(self) -> None:
        super().__init__(**NODE)

    def zone(self, active: Points, idle: Points, raw: Points = (), zone: str = "package") -> Self:
        """The node's own counters of one zone."""
        for part, points in (("active_", active), ("idle_", idle), ("", raw)):
            if points:
                self.add(f"kepler_node_cpu_{part}joules_total", points, zone=zone, path="/sys")
        return self

    def pod(self, points: Points, state: str = "running", zone: str = "package", **labels: str) -> Self:
        """One pod's counter."""
        return self.add("kepler_pod_cpu_joules_total", points, state=state, zone=zone, **(WEB | labels))

    def process(self, points: Points, pid: str, zone: str = "package", **labels: str) -> Self:
        """One process' counter."""
        told = {"pid": pid, "comm": "sshd", "exe": "/sshd", "type": "regular", "state": "running"} | labels
        return self.add("kepler_process_cpu_joules_total", points, zone=zone, **told)

    def fold(self, started: Mapping[str, float] | None = None) -> Energy:
        """The hour from 10:00."""
        return self.booked("kepler", started=started)


def steady(active_watts: float = 60, idle_watts: float = 40) -> Kepler:
    """A node of one zone that never surprises anybody."""
    return Kepler().zone(line(active_watts, SEEN), line(idle_watts, SEEN, 1_000.0))


def energies(energy: Energy, **wanted: object) -> float:
    """Joules of all rows with these values."""
    return float(sum(row["energy_joules"] for row in where(energy.rows, **wanted)))


def counter_increase(points: Points) -> float:
    """What PromQL's `increase` believes between the first and the last sample: every drop is a start from zero."""
    return sum(after if after < before else after - before for (_, before), (_, after) in pairwise(points))
