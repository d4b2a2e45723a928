"""The series Kepler 0.5 to 0.9 would have shown for a simulated node: containers with namespaces, dynamic and idle."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from pipeline.demo.gpus import Gpu
from pipeline.demo.kepler_series import first_sights_ms, presence
from pipeline.demo.meters import LegacyMeter
from pipeline.demo.nodes import ZONES, Node, Span, inside
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import HOST_PROCESSES, Container
from pipeline.demo.registers import Registers
from pipeline.demo.series import Series, Target, filled
from pipeline.samples import Floats, Int64s

PORT = 9102
SAMPLING_MS = 3_000
FAR_MS = 10**12
PER_JOULE = 1000  # it counts millijoules
KERNEL_SHARE = sum(one.share for one in HOST_PROCESSES if one.kernel)
PSEUDO = {"system_processes": ("system", 1 - KERNEL_SHARE), "kernel_processes": ("kernel", KERNEL_SHARE)}
RAPL_SYSFS = (0, 7, 11)  # from here on; `intel_rapl` before
ONE_SOURCE = (0, 7, 3)  # from here on containers carry a source, and totals an idle series in any case
MILLIJOULES = (0, 7, 3)
WHOLE_JOULES = ((0, 7, 4), (0, 7, 11))  # half-open
COMMANDS_UNTIL = (0, 6)
GPU = "gpu"


class LegacySeries:
    """All series of an old Kepler on one node."""

    def __init__(self, node: Node, active: Mapping[str, PowerCurve], start_ms: int, meter: LegacyMeter) -> None:
        """Prepare.

        Args:
            node: the machine.
            active: per zone, the energy of its pods, guests and system together.
            start_ms: the fleet's start since the epoch.
            meter: version and faults.
        """
        self.node = node
        self.active = active
        self.meter = meter
        self.registers = Registers(node, active)
        own = {"namespace": "kepler", "pod": f"kepler-exporter-{node.name[-1]}x7kq", "container": "kepler-exporter"}
        instance = f"{node.host}:{PORT}"
        self.target = Target({"instance": instance, "job": "kepler-exporter"} | own, start_ms)
        # without honor_labels the target's instance wins, and Kepler's own is moved aside
        self.node_target = Target({**self.target.labels, "instance": node.name}, start_ms)
        self.scrapes_ms, self.runs_ms = presence(node, meter.present_hours)
        self.source = "rapl-sysfs" if meter.release >= RAPL_SYSFS else "intel_rapl"
        self.gpus = node.gpus if meter.gpu else ()
        self.components = (*ZONES, GPU) if self.gpus else ZONES

    def all(self, containers: Sequence[Container]) -> Iterator[Series]:
        """Every series, empty ones left out."""
        if len(self.scrapes_ms) == 0:
            return
        yield from self._infos()
        for zone in ZONES:
            yield from self._node_zone(zone)
        for gpu in self.gpus:
            yield from self._board(gpu)
        spans = [one.span_ms for one in containers]
        idle = {component: self._shared(component, spans) for component in self.components}
        for one in containers:
            pod = one.pod
            who = self._named(one.container_id, one.name, pod.name, pod.namespace) | self._command(one.exe)
            curves = {zone: self._metered(zone, one.curve(zone)) for zone in ZONES}
            yield from filled(self._counters(who, one.span_ms, curves | self._on_gpus(one), idle))
        for name, (namespace, share) in PSEUDO.items():
            who = self._named(name, name, name, namespace) | self._command("")
            curves = {zone: self._metered(zone, self._outside_pods(zone, share)) for zone in ZONES}
            yield from filled(self._counters(who, (-FAR_MS, FAR_MS), curves | self._on_gpus(None), idle))

    def _infos(self) -> Iterator[Series]:
        ones = np.ones(len(self.scrapes_ms))
        sources = {"components_power_source": self.source, "platform_power_source": "none", "source": "os"}
        yield self.target.series("kepler_node_info", sources | {"cpu_architecture": "Ice Lake"}, self.scrapes_ms, ones)
        if self.meter.build_info:
            build = {"branch": "main", "os": "linux", "arch": "amd64", "revision": "a97f33a", "goversion": "go1.21.13"}
            labels = build | {"version": f"v{self.meter.version}"}
            yield self.target.series("kepler_exporter_build_info", labels, self.scrapes_ms, ones)

    def _named(self, container_id: str, container: str, pod: str, namespace: str) -> dict[str, str]:
        return {
            "container_id": container_id,
            "container_name": container,
            "pod_name": pod,
            "container_namespace": namespace,
        }

    def _command(self, exe: str) -> dict[str, str]:
        return {"command": exe} if self.meter.release < COMMANDS_UNTIL else {}

    def _node_zone(self, zone: str) -> Iterator[Series]:
        """Dynamic and idle of each socket, both from 0 at Kepler's start."""
        origins = first_sights_ms([(-FAR_MS, FAR_MS)], self.runs_ms)
        for number, share in enumerate(self.registers.shares(zone)):
            spans = self._skips[zone][number]
            for mode, curve in (("dynamic", self.active[zone]), ("idle", self.node.idle[zone])):
                joules = share * _since(curve.silenced(spans), origins, self.scrapes_ms)
                yield self._of_node(zone, {"package": str(number), "mode": mode, "source": self.source}, joules)

    def _board(self, gpu: Gpu) -> Iterator[Series]:
        """Dynamic and idle of one board, both from 0 at Kepler's start."""
        origins = first_sights_ms([(-FAR_MS, FAR_MS)], self.runs_ms)
        device = "package" if self.meter.release >= ONE_SOURCE else "index"
        for mode, curve in (("dynamic", gpu.active), ("idle", gpu.idle)):
            if mode == "dynamic" or self.meter.gpu_idle:
                labels = {device: str(gpu.number), "mode": mode, "source": "nvml"}
                yield self._of_node(GPU, labels, _since(curve, origins, self.scrapes_ms))

    def _of_node(self, component: str, labels: dict[str, str], joules: Floats) -> Series:
        target = self.node_target if self.meter.honor_labels else self.target
        moved = {} if self.meter.honor_labels else {"exported_instance": self.node.name}
        metric = f"kepler_node_{component}_joules_total"
        return target.series(metric, labels | moved, self.scrapes_ms, _cut(joules, PER_JOULE))

    def _on_gpus(self, one: Container | None) -> dict[str, PowerCurve]:
        """What a container computes on GPUs, where they are shown: 0 for all but a holder's main container."""
        if not self.gpus:
            return {}
        own = [
            holding.active
            for gpu in self.gpus
            for holding in gpu.holdings
            if one is not None and holding.pod.uid == one.pod.uid and one.name == one.pod.owner.name
        ]
        return {GPU: PowerCurve.sum([PowerCurve.of_watts(self.gpus[0].idle.edges_ms[[0, -1]], np.zeros(1)), *own])}

    def _outside_pods(self, zone: str, share: float) -> PowerCurve:
        """One pseudo container: its part of the system; virtual machines are system processes."""
        system = self.node.system[zone]
        parts = [system.weighted(system.edges_ms[[0, -1]], [share])]
        parts += [guest.zones[zone] for guest in self.node.guests] if share == 1 - KERNEL_SHARE else []
        return PowerCurve.sum(parts)

    def _shared(self, zone: str, spans: Sequence[Span]) -> PowerCurve:
        """Idle energy of one container: idle is divided evenly among all that there are, pseudo ones included."""
        edges = np.unique(np.array([-FAR_MS, FAR_MS, *(edge for span in spans for edge in span)]))
        begins, ends = (np.sort(np.array([span[side] for span in spans])) for side in (0, 1))
        there = np.searchsorted(begins, edges[:-1], side="right") - np.searchsorted(ends, edges[:-1], side="right")
        whole = PowerCurve.sum([gpu.idle for gpu in self.gpus]) if zone == GPU else self.node.idle[zone]
        return self._metered(zone, whole).weighted(edges, 1 / (there + len(PSEUDO)))

    def _counters(
        self, who: dict[str, str], span_ms: Span, dynamic: Mapping[str, PowerCurve], idle: Mapping[str, PowerCurve]
    ) -> Iterator[Series]:
        """Component counters and the total, dynamic and idle, from 0 with the container and with Kepler."""
        at = inside(self.scrapes_ms, [span_ms])
        origins = first_sights_ms([span_ms], self.runs_ms)
        new = self.meter.release >= ONE_SOURCE
        for mode, curves in (("dynamic", dynamic), ("idle", idle)):
            shown = mode == "dynamic" or self.meter.idle
            joules = {zone: _since(curves[zone], origins, at) for zone in self.components}
            for zone in self.components if shown else ():
                labels = who | {"mode": mode} | ({"source": self.source} if new else {})
                values = _cut(joules[zone], PER_JOULE)
                yield self.target.series(f"kepler_container_{zone}_joules_total", labels, at, values)
            if shown or new:
                total = sum(joules.values(), start=np.zeros(len(at))) * shown
                labels = who | {"mode": mode} | ({"source": ""} if new else {})
                yield self.target.series("kepler_container_joules_total", labels, at, self._total(total))

    def _total(self, joules: Floats) -> Floats:
        """Containers' totals in the unit that this release gives them under the same name."""
        release = self.meter.release
        if release == MILLIJOULES:
            return np.floor(joules * PER_JOULE)
        return _cut(joules, 1 if WHOLE_JOULES[0] <= release < WHOLE_JOULES[1] else PER_JOULE)

    def _metered(self, zone: str, curve: PowerCurve) -> PowerCurve:
        """What of a curve this Kepler notices: a socket that wraps loses its part of three seconds."""
        if zone == GPU:
            return curve
        for spans, share in zip(self._skips[zone], self.registers.shares(zone), strict=True):
            if spans:
                edges = [-FAR_MS, *(edge for span in spans for edge in span), FAR_MS]
                factors = [1.0 - share * (number % 2) for number in range(len(edges) - 1)]
                curve = curve.weighted(edges, factors)
        return curve

    @cached_property
    def _skips(self) -> Mapping[str, list[list[Span]]]:
        """By zone and socket, the sampling intervals in which the register wraps; none where wraps are handled."""
        found: dict[str, list[list[Span]]] = {}
        begin, end = int(self.scrapes_ms[0]), int(self.scrapes_ms[-1])
        for zone in ZONES:
            found[zone] = []
            for number in range(self.registers.count(zone)):
                wraps = self.registers.wraps_ms(zone, number, begin, end) if self.meter.skips_wraps else np.zeros(0)
                firsts = [int(wrap // SAMPLING_MS) * SAMPLING_MS for wrap in wraps]
                found[zone].append([(first, first + SAMPLING_MS) for first in firsts])
        return found


def _since(curve: PowerCurve, origins_ms: Int64s, at_ms: Int64s) -> Floats:
    """Energy since the latest origin not after each instant."""
    if len(at_ms) == 0:
        return np.zeros(0)
    origin = origins_ms[np.searchsorted(origins_ms, at_ms, side="right") - 1]
    joules: Floats = curve.energy_joules(at_ms) - curve.energy_joules(origin)
    return joules


def _cut(joules: Floats, per_joule: int) -> Floats:
    """Whole units of `1 / per_joule` joules, as an integer division leaves them."""
    whole: Floats = np.floor(np.maximum(joules, 0.0) * per_joule + 1e-6) / per_joule
    return whole
