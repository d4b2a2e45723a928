"""The series Scaphandre would have shown for a simulated node: wrapping counters, and power since the last scrape."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pipeline.demo.meters import ScaphandreMeter, span_ms
from pipeline.demo.nodes import Node, inside, outside
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import Guest, Process
from pipeline.demo.registers import Registers
from pipeline.demo.series import Series, Target, filled
from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

PORT = 8080
PER_JOULE = 1_000_000
LATE_POD_MS = 20_000  # how old its list of pods may be
CORE_SHARE = 0.7  # of a package; it lies inside the socket's counter
CORE_TOP_JOULES = 262143.328850


class ScaphandreSeries:
    """All series of one Scaphandre."""

    def __init__(self, node: Node, active: Mapping[str, PowerCurve], start_ms: int, meter: ScaphandreMeter) -> None:
        """Prepare.

        Args:
            node: the machine.
            active: per zone, the energy of its pods, guests and system together.
            start_ms: the fleet's start since the epoch.
            meter: version and faults.
        """
        self.node = node
        self.meter = meter
        self.start_ms = start_ms
        self.registers = Registers(node, active)
        self.target = Target({"instance": f"{node.host}:{PORT}", "job": "scaphandre"}, start_ms)
        scrapes_ms = node.exporter_scrapes_ms["scaphandre"]
        begin, end = span_ms(meter.present_hours, -(10**12), 10**12)
        self.scrapes_ms = inside(scrapes_ms, [(begin, end)])
        frozen = [] if meter.frozen_hours is None else [span_ms(meter.frozen_hours, 0, 0)]
        # it reads the machine when scraped, and not at all while a second scraper asks too often
        self.refreshes_ms = outside(self.scrapes_ms, frozen)
        self.held: Int64s = np.searchsorted(self.refreshes_ms, self.scrapes_ms, side="right") - 1
        self.scrapes_ms, self.held = self.scrapes_ms[self.held >= 0], self.held[self.held >= 0]
        self.host = self._host_joules(self.refreshes_ms)
        # a counter that fell means "no record" to it; so does the first
        self.measured: Bools = np.concatenate([[False], np.diff(self.host) >= 0])

    def all(self, processes: Sequence[Process]) -> Iterator[Series]:
        """Every series, empty ones left out."""
        if len(self.scrapes_ms) == 0:
            return
        made = [*self._host(), *self._sockets(), *self._domains()]
        made.extend(series for one in processes for series in self._process(one))
        if self.meter.guest_energy_ratio is not None:
            ratio = self.meter.guest_energy_ratio
            made.extend(series for guest in self.node.guests for series in self._guest(guest, ratio))
        yield from filled(made)

    @property
    def zones(self) -> tuple[str, ...]:
        """What this version counts as the host: packages, from 1.0 on dram, too, or psys where there is one."""
        if self.meter.old:
            return ("package",)
        return ("psys",) if self.node.platform_share > 0 else ("package", "dram")

    def _host_joules(self, at_ms: Int64s) -> Floats:
        """Registers that wrap, each on its own, in one sum."""
        joules: Floats = np.sum([self.registers.joules(zone, at_ms).sum(axis=0) for zone in self.zones], axis=0)
        return joules

    def _shown(self, metric: str, labels: Mapping[str, str], values: Floats, kept: Bools) -> Series:
        """A series with one value a refresh, as the scrapes find it; `kept`: which refreshes have a value."""
        rows = self.held[kept[self.held]]
        return self.target.series(metric, labels, self.scrapes_ms[kept[self.held]], values[rows])

    def _micro(self, joules: Floats) -> Floats:
        return np.floor(joules * PER_JOULE + 1e-3)

    def _microwatts(self, joules: Floats) -> Floats:
        """Mean power since the refresh before; the first entry is of no use."""
        seconds = np.diff(self.refreshes_ms) / MS_PER_SECOND
        power = np.concatenate([[0.0], np.diff(joules) * PER_JOULE / seconds])
        return np.floor(power) if self.meter.old else power

    def _used(self, zones: Mapping[str, PowerCurve]) -> Floats:
        """Energy up to each refresh in the zones that this version counts."""
        used: Floats = np.sum([zones[zone].energy_joules(self.refreshes_ms) for zone in self.zones], axis=0)
        return used

    def _all(self) -> Bools:
        return np.ones(len(self.refreshes_ms), dtype=np.bool_)

    def _host(self) -> Iterator[Series]:
        source = {"value_source": "powercap_rapl_psys"} if self.zones == ("psys",) else {}
        yield self._shown("scaph_host_energy_microjoules", source, self._micro(self.host), self._all())
        power = np.floor(self._microwatts(self.host))
        yield self._shown("scaph_host_power_microwatts", source, power, self.measured)
        version = np.full(len(self.refreshes_ms), float(_self_version(self.meter.version)))
        yield self._shown("scaph_self_version", {}, version, self._all())

    def _sockets(self) -> Iterator[Series]:
        """One counter a package; its power is 0 where it wrapped."""
        for number, joules in enumerate(self.registers.joules("package", self.refreshes_ms)):
            labels = {"socket_id": str(number)}
            yield self._shown("scaph_socket_energy_microjoules", labels, self._micro(joules), self._all())
            power = np.floor(np.maximum(self._microwatts(joules), 0.0))
            yield self._shown("scaph_socket_power_microwatts", labels, power, self._after_first())

    def _domains(self) -> Iterator[Series]:
        """Cores, which lie inside the packages, and dram, which does not; no power where one wrapped."""
        used = self.registers.used_joules("package", self.refreshes_ms)
        shares = self.registers.shares("package")
        cores = [
            (CORE_SHARE * share * used + 1e5 * (number + 1)) % CORE_TOP_JOULES for number, share in enumerate(shares)
        ]
        drams = self.registers.joules("dram", self.refreshes_ms)
        for domain, (name, registers) in enumerate((("core", cores), ("dram", [*drams]))):
            for number, joules in enumerate(registers):
                labels = {"domain_name": name, "domain_id": str(domain), "socket_id": str(number)}
                yield self._shown("scaph_domain_energy_microjoules", labels, self._micro(joules), self._all())
                fell = np.concatenate([[True], np.diff(joules) < 0])
                power = np.floor(np.maximum(self._microwatts(joules), 0.0))
                yield self._shown("scaph_domain_power_microwatts", labels, power, ~fell)

    def _after_first(self) -> Bools:
        return np.arange(len(self.refreshes_ms)) > 0

    def _process(self, process: Process) -> Iterator[Series]:
        """Power of one process: from the second refresh that finds it, with its pod's labels once they are known."""
        begin, end = process.span_ms
        there = (self.refreshes_ms >= begin) & (self.refreshes_ms < end)
        twice = there & np.concatenate([[False], there[:-1]]) & self.measured
        power = self._microwatts(self._used(process.zones)) * self.meter.process_power_ratio
        power = np.floor(power) if self.meter.old else power
        metric = "scaph_process_power_consumption_microwatts"
        labels = {"pid": str(process.pid), "exe": process.exe, "cmdline": process.cmdline}
        if process.guest is not None:
            labels |= {"vmname": process.guest.name}
        if process.container is None or not self.meter.containers:
            yield self._shown(metric, labels, power, twice)
            return
        container, pod = process.container, process.container.pod
        labels |= {"container_id": container.container_id, "container_runtime": "containerd"}
        known = (self.refreshes_ms >= begin + LATE_POD_MS) & self.meter.kubernetes_labels
        late = {
            "container_scheduler": "kubernetes",
            "kubernetes_pod_name": pod.name,
            "kubernetes_pod_namespace": pod.namespace,
            "kubernetes_node_name": self.node.name,
        }
        yield self._shown(metric, labels, power, twice & ~known)
        yield self._shown(metric, labels | late, power, twice & known)

    def _guest(self, guest: Guest, ratio: float) -> Iterator[Series]:
        """What a Scaphandre inside the guest shows: a counter that the host's one keeps, `ratio` of the truth."""
        target = Target({"instance": guest.instance, "job": "scaphandre", "vm": guest.name}, self.start_ms)
        used = self._used(guest.zones)[self.held]
        values = np.floor(used * PER_JOULE * ratio)
        yield target.series("scaph_host_energy_microjoules", {}, self.scrapes_ms, values)
        yield target.series("scaph_socket_energy_microjoules", {"socket_id": "0"}, self.scrapes_ms, values)


def _self_version(version: str) -> str:
    """`1.0.2` is shown as 1.02."""
    major, minor, patch = version.split(".")
    return f"{major}.{minor}{patch}"
