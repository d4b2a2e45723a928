"""The series Kepler 0.11 would have shown for a simulated node: registers, splits, pods, with all their traps."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.demo.nodes import REGISTER_JOULES, ZONES, Node, inside
from pipeline.demo.pods import Pod
from pipeline.demo.power import PowerCurve
from pipeline.demo.series import METRIC, Series
from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

JOULE_DECIMALS = 6  # Kepler counts whole microjoules
WATTS_OVER_MS = 5_000
TERMINATED_AT_LEAST_JOULES = 10.0
PATHS = {"package": "/host/sys/class/powercap/intel-rapl:0", "dram": "/host/sys/class/powercap/intel-rapl:0:0"}
JOB = "kepler"
CORES_PER_SOCKET = 2
CPU = {"vendor_id": "GenuineIntel", "model_name": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"}
BUILD = {"arch": "amd64", "branch": "main", "revision": "8f4d0c1e", "version": "v0.11.4", "goversion": "go1.24.2"}


class NodeSeries:
    """All Kepler series of one node."""

    def __init__(self, node: Node, active: Mapping[str, PowerCurve], start_ms: int) -> None:
        """Prepare.

        Args:
            node: the machine.
            active: per zone, the energy of its pods and its system together.
            start_ms: the fleet's start since the epoch.
        """
        self.node = node
        self.active = active
        self.start_ms = start_ms
        self.target = {"instance": node.instance, "job": JOB}
        runs = np.array(node.kepler_runs_ms, dtype=np.int64)
        self.kepler_starts_ms: Int64s = runs[:, 0]
        self.kepler_stops_ms: Int64s = runs[:, 1]

    def all(self, pods: Sequence[Pod]) -> Iterator[Series]:
        """Every series, empty ones left out."""
        made = [*self._infos(), *(one for zone in ZONES for one in self._zone(zone))]
        made.extend(one for pod in pods for one in self._pod(pod))
        yield from (one for one in made if len(one.stamps_ms))

    def _series(self, metric: str, labels: dict[str, str], stamps_ms: Int64s, values: Floats) -> Series:
        return Series({METRIC: metric} | labels | self.target, stamps_ms + self.start_ms, values)

    def _infos(self) -> Iterator[Series]:
        at = self.node.scrapes_ms
        yield self._series("kepler_build_info", BUILD, at, np.ones(len(at)))
        for core in range(self.node.sockets * CORES_PER_SOCKET):
            where = {
                "processor": str(core),
                "physical_id": str(core // CORES_PER_SOCKET),
                "core_id": str(core % CORES_PER_SOCKET),
            }
            yield self._series("kepler_node_cpu_info", CPU | where, at, np.ones(len(at)))

    def _zone(self, zone: str) -> Iterator[Series]:
        """The node's counters and gauge of one zone, each beginning anew with every Kepler process."""
        at = self.node.scrapes_ms
        active, idle = self.active[zone], self.node.idle[zone]
        began = self.kepler_starts_ms[np.searchsorted(self.kepler_starts_ms, at, side="right") - 1]
        active_joules = active.energy_joules(at) - active.energy_joules(began)
        idle_joules = idle.energy_joules(at) - idle.energy_joules(began)
        first_reading = self.registers_joules(zone, began).sum(axis=0)
        top = REGISTER_JOULES[zone] * self.node.sockets
        watts = sum(c.energy_joules(at) - c.energy_joules(at - WATTS_OVER_MS) for c in (active, idle))
        path = PATHS[zone] if self.node.sockets == 1 else f"aggregated-{zone}"
        labels = {"node_name": self.node.name, "zone": zone, "path": path}
        for metric, values in (
            # one socket: this is the register itself, so a restart does not show
            ("kepler_node_cpu_joules_total", (first_reading + active_joules + idle_joules) % top),
            ("kepler_node_cpu_active_joules_total", active_joules),
            # at its first reading Kepler knows no usage yet, and books the whole register as idle
            ("kepler_node_cpu_idle_joules_total", first_reading + idle_joules),
            ("kepler_node_cpu_watts", watts / WATTS_OVER_MS * MS_PER_SECOND),
        ):
            yield self._series(metric, labels, at, np.round(values, JOULE_DECIMALS))

    def registers_joules(self, zone: str, at_ms: Int64s) -> Floats:
        """Each socket's RAPL register, one row a socket."""
        origin = np.zeros(1)
        curves = (self.active[zone], self.node.idle[zone])
        used = sum(c.energy_joules(at_ms) - c.energy_joules(origin) for c in curves)
        shares = np.array(self.node.socket_shares)[:, None]
        first = np.array(self.node.registers_joules[zone])[:, None]
        registers: Floats = (first + shares * used) % REGISTER_JOULES[zone]
        return registers

    def _pod(self, pod: Pod) -> Iterator[Series]:
        """Running and terminated series of one pod, under its name and, where Kepler learnt it late, before that."""
        sights_ms = self.first_sights_ms(pod)
        running_ms = inside(self.node.scrapes_ms, pod.runs_ms)
        ends_ms, seen_ms = self._terminated(pod, sights_ms)
        for zone in ZONES:
            resets = [*sights_ms, *self.node.dram_resets_ms] if zone == "dram" else list(sights_ms)
            origins_ms = np.unique(np.array(resets, dtype=np.int64))
            running = _since(pod.zones[zone], origins_ms, running_ms)
            ended = _since(pod.zones[zone], origins_ms, ends_ms)
            for state, stamps, values, known in (
                ("running", running_ms, running, _known(pod, sights_ms, running_ms)),
                ("terminated", seen_ms, ended, _known(pod, sights_ms, ends_ms)),
            ):
                labels = {"node_name": self.node.name, "pod_id": pod.uid, "state": state, "zone": zone}
                full = labels | {"pod_name": pod.name, "pod_namespace": pod.namespace}
                for names, rows in ((labels, ~known), (full, known)):
                    yield self._series("kepler_pod_cpu_joules_total", names, stamps[rows], values[rows])

    def first_sights_ms(self, pod: Pod) -> Int64s:
        """When each Kepler process began to count each run of the pod, in order."""
        sights = [
            max(begin, start)
            for begin, end in pod.runs_ms
            for start, stop in self.node.kepler_runs_ms
            if max(begin, start) < min(end, stop)
        ]
        return np.array(sorted(sights), dtype=np.int64)

    def _terminated(self, pod: Pod, sights_ms: Int64s) -> tuple[Int64s, Int64s]:
        """Ends that Kepler shows, and the scrape that shows each: the first one after it by the same Kepler process."""
        shown: dict[int, int] = {}
        scrapes_ms = self.node.scrapes_ms
        package = pod.zones["package"]
        for begin, end in pod.runs_ms:
            kepler = int(np.searchsorted(self.kepler_starts_ms, end, side="right")) - 1
            scrape = int(np.searchsorted(scrapes_ms, end))
            if kepler < 0 or scrape == len(scrapes_ms) or scrapes_ms[scrape] >= self.kepler_stops_ms[kepler]:
                continue
            first = max(begin, int(self.kepler_starts_ms[kepler]))
            total = package.energy_joules(np.array([first, end], dtype=np.int64))
            if total[1] - total[0] >= TERMINATED_AT_LEAST_JOULES and first in sights_ms:
                shown[int(scrapes_ms[scrape])] = end
        return np.array([*shown.values()], dtype=np.int64), np.array([*shown], dtype=np.int64)


def _since(curve: PowerCurve, origins_ms: Int64s, at_ms: Int64s) -> Floats:
    """Energy since the latest origin not after each instant."""
    if len(at_ms) == 0:
        return np.zeros(0)
    origin = origins_ms[np.searchsorted(origins_ms, at_ms, side="right") - 1]
    energy: Floats = np.round(curve.energy_joules(at_ms) - curve.energy_joules(origin), JOULE_DECIMALS)
    return energy


def _known(pod: Pod, sights_ms: Int64s, at_ms: Int64s) -> Bools:
    """Whether Kepler knows the pod's name at each instant."""
    if len(at_ms) == 0:
        return np.zeros(0, dtype=np.bool_)
    sight = sights_ms[np.searchsorted(sights_ms, at_ms, side="right") - 1]
    known: Bools = at_ms >= sight + pod.unnamed_ms
    return known
