"""The series Kepler 0.11 would have shown for a simulated node: registers, splits, pods, with all their traps."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.demo.kepler_workloads import Counted, container_counted, guest_counted, pod_counted, process_counted
from pipeline.demo.meters import KeplerMeter, span_ms
from pipeline.demo.nodes import REGISTER_JOULES, Node, Span, inside
from pipeline.demo.pods import Pod
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import Container, Process
from pipeline.demo.registers import Registers
from pipeline.demo.series import Series, Target, filled
from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

JOULE_DECIMALS = 6  # Kepler counts whole microjoules
WATTS_OVER_MS = 5_000
TERMINATED_AT_LEAST_JOULES = 10.0
PATHS = {
    "package": "/host/sys/class/powercap/intel-rapl:0",
    "dram": "/host/sys/class/powercap/intel-rapl:0:0",
    "psys": "/host/sys/class/powercap/intel-rapl:1",
}
PRIMARY = ("psys", "package", "dram")  # the zone by which Kepler judges what has ended
CORES_PER_SOCKET = 2
CPU = {"vendor_id": "GenuineIntel", "model_name": "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"}
BUILD = {"arch": "amd64", "branch": "main", "revision": "8f4d0c1e", "version": "v0.11.4", "goversion": "go1.24.2"}


class NodeSeries:
    """All Kepler series of one node."""

    def __init__(self, node: Node, active: Mapping[str, PowerCurve], start_ms: int, meter: KeplerMeter) -> None:
        """Prepare.

        Args:
            node: the machine.
            active: per zone, the energy of its pods, guests and system together.
            start_ms: the fleet's start since the epoch.
            meter: what this Kepler is asked to show.
        """
        self.node = node
        self.active = active
        self.meter = meter
        self.registers = Registers(node, active)
        self.target = Target({"instance": node.instance, "job": "kepler"}, start_ms)
        self.who = {"node_name": node.name} if meter.named else {}
        self.scrapes_ms, self.runs_ms = presence(node, meter.present_hours)
        runs = np.array(self.runs_ms, dtype=np.int64).reshape(-1, 2)
        self.kepler_starts_ms: Int64s = runs[:, 0]
        self.kepler_stops_ms: Int64s = runs[:, 1]

    def all(self, pods: Sequence[Pod]) -> Iterator[Series]:
        """Series of the node and its pods, as far as asked for, empty ones left out."""
        made = [*self._infos()]
        if "node" in self.meter.levels:
            made.extend(one for zone in self.meter.zones for one in self._zone(zone))
        if "pod" in self.meter.levels:
            made.extend(one for pod in pods for one in self._counted(pod_counted(pod)))
        yield from filled(made)

    def detail(self, containers: Sequence[Container], processes: Sequence[Process]) -> Iterator[Series]:
        """Series of containers, processes and virtual machines, as far as asked for, empty ones left out."""
        counted: list[Counted] = []
        if "container" in self.meter.levels:
            counted.extend(container_counted(one) for one in containers)
        if "process" in self.meter.levels:
            counted.extend(process_counted(one) for one in processes)
        if "vm" in self.meter.levels:
            counted.extend(guest_counted(one) for one in self.node.guests)
        yield from filled(series for one in counted for series in self._counted(one))

    def began_ms(self, at_ms: Int64s) -> Int64s:
        """When the Kepler process that answered at each instant had started."""
        return self.kepler_starts_ms[np.searchsorted(self.kepler_starts_ms, at_ms, side="right") - 1]

    def _infos(self) -> Iterator[Series]:
        at = self.scrapes_ms
        yield self.target.series("kepler_build_info", BUILD, at, np.ones(len(at)))
        for core in range(self.node.sockets * CORES_PER_SOCKET):
            where = {
                "processor": str(core),
                "physical_id": str(core // CORES_PER_SOCKET),
                "core_id": str(core % CORES_PER_SOCKET),
            }
            yield self.target.series("kepler_node_cpu_info", CPU | where, at, np.ones(len(at)))

    def _zone(self, zone: str) -> Iterator[Series]:
        """The node's counters and gauge of one zone, each beginning anew with every Kepler process."""
        at = self.scrapes_ms
        if len(at) == 0:
            return
        active, idle = self.active[zone], self.node.idle[zone]
        began = self.began_ms(at)
        active_joules = active.energy_joules(at) - active.energy_joules(began)
        idle_joules = idle.energy_joules(at) - idle.energy_joules(began)
        first_reading = self.registers.joules(zone, began).sum(axis=0)
        top = REGISTER_JOULES[zone] * self.registers.count(zone)
        watts = sum(c.energy_joules(at) - c.energy_joules(at - WATTS_OVER_MS) for c in (active, idle))
        path = PATHS[zone] if self.registers.count(zone) == 1 else f"aggregated-{zone}"
        labels = self.who | {"zone": zone, "path": path}
        for metric, values in (
            # one socket: this is the register itself, so a restart does not show
            ("kepler_node_cpu_joules_total", (first_reading + active_joules + idle_joules) % top),
            ("kepler_node_cpu_active_joules_total", active_joules),
            # at its first reading Kepler knows no usage yet, and books the whole register as idle
            ("kepler_node_cpu_idle_joules_total", first_reading + idle_joules),
            ("kepler_node_cpu_watts", watts / WATTS_OVER_MS * MS_PER_SECOND),
        ):
            yield self.target.series(metric, labels, at, np.round(values, JOULE_DECIMALS))

    def _counted(self, counted: Counted) -> Iterator[Series]:
        """Running and terminated series of one workload, under its name and, where that came late, before it."""
        sights_ms = first_sights_ms(counted.runs_ms, self.runs_ms)
        running_ms = inside(self.scrapes_ms, counted.runs_ms)
        ends_ms, seen_ms = self._terminated(counted, sights_ms)
        for zone in self.meter.zones:
            resets = [*sights_ms, *self.node.dram_resets_ms] if zone == "dram" else list(sights_ms)
            origins_ms = np.unique(np.array(resets, dtype=np.int64))
            curve = counted.curve(zone)
            running = since(curve, origins_ms, running_ms)
            ended = since(curve, origins_ms, ends_ms)
            for state, stamps, values, known in (
                ("running", running_ms, running, _known(counted.unnamed_ms, sights_ms, running_ms)),
                ("terminated", seen_ms, ended, _known(counted.unnamed_ms, sights_ms, ends_ms)),
            ):
                labels = self.who | {**counted.labels, "state": state, "zone": zone}
                for names, rows in ((labels, ~known), (labels | {**counted.names}, known)):
                    yield self.target.series(counted.metric, names, stamps[rows], values[rows])

    def _terminated(self, counted: Counted, sights_ms: Int64s) -> tuple[Int64s, Int64s]:
        """Ends that Kepler shows, and the scrape that shows each: the first one after it by the same Kepler process.

        Where a rival's scrape comes before, it is the one that sees it: Kepler shows what has ended once.
        """
        shown: dict[int, int] = {}
        scrapes_ms = self.scrapes_ms
        primary = counted.curve(next(zone for zone in PRIMARY if zone in self.meter.zones))
        for begin, end in counted.runs_ms:
            kepler = int(np.searchsorted(self.kepler_starts_ms, end, side="right")) - 1
            scrape = int(np.searchsorted(scrapes_ms, end))
            if kepler < 0 or scrape == len(scrapes_ms) or scrapes_ms[scrape] >= self.kepler_stops_ms[kepler]:
                continue
            rivals_ms = self.node.rival_scrapes_ms
            if np.searchsorted(rivals_ms, end) < np.searchsorted(rivals_ms, scrapes_ms[scrape]):
                continue
            first = max(begin, int(self.kepler_starts_ms[kepler]))
            total = primary.energy_joules(np.array([first, end], dtype=np.int64))
            if total[1] - total[0] >= TERMINATED_AT_LEAST_JOULES and first in sights_ms:
                shown[int(scrapes_ms[scrape])] = end
        return np.array([*shown.values()], dtype=np.int64), np.array([*shown], dtype=np.int64)


def presence(node: Node, hours: tuple[float, float] | None) -> tuple[Int64s, tuple[Span, ...]]:
    """Scrapes and lives of the node's Kepler, cut to the hours in which it is installed."""
    begin, end = span_ms(hours, node.kepler_runs_ms[0][0], node.kepler_runs_ms[-1][1])
    runs = [(max(start, begin), min(stop, end)) for start, stop in node.kepler_runs_ms]
    return inside(node.scrapes_ms, [(begin, end)]), tuple(run for run in runs if run[0] < run[1])


def first_sights_ms(lives_ms: Sequence[Span], keplers_ms: Sequence[Span]) -> Int64s:
    """When each Kepler process began to count each life of a workload, in order."""
    sights = [
        max(begin, start) for begin, end in lives_ms for start, stop in keplers_ms if max(begin, start) < min(end, stop)
    ]
    return np.array(sorted(sights), dtype=np.int64)


def since(curve: PowerCurve, origins_ms: Int64s, at_ms: Int64s) -> Floats:
    """Energy since the latest origin not after each instant, in whole microjoules."""
    if len(at_ms) == 0:
        return np.zeros(0)
    origin = origins_ms[np.searchsorted(origins_ms, at_ms, side="right") - 1]
    energy: Floats = np.round(curve.energy_joules(at_ms) - curve.energy_joules(origin), JOULE_DECIMALS)
    return energy


def _known(unnamed_ms: int, sights_ms: Int64s, at_ms: Int64s) -> Bools:
    """Whether Kepler knows a workload's name at each instant."""
    if len(at_ms) == 0:
        return np.zeros(0, dtype=np.bool_)
    sight = sights_ms[np.searchsorted(sights_ms, at_ms, side="right") - 1]
    known: Bools = at_ms >= sight + unnamed_ms
    return known
