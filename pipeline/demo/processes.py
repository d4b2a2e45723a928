"""What runs in simulated pods and beside them: containers, processes, virtual machines; each with its share of energy.

The choices here come from random streams of their own, so that a fleet's pods and power do not depend on them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.demo.nodes import ZONES, Node, Span
from pipeline.demo.pods import Pod, random_uid
from pipeline.demo.power import Demand, PowerCurve
from pipeline.units import MS_PER_HOUR

SIDECAR_SHARE = 0.15
EXES = ("python3", "java", "node", "postgres", "nginx")
GUEST_WATTS = {"package": (8.0, 20.0), "dram": (1.0, 3.0)}
ALWAYS: Span = (-400 * MS_PER_HOUR, 400 * 24 * MS_PER_HOUR)


@dataclass(frozen=True, slots=True)
class HostProcess:
    """Something that runs outside pods: `share` of the node's system energy."""

    pid: int
    exe: str
    cmdline: str
    share: float
    kernel: bool = False


HOST_PROCESSES = (
    HostProcess(812, "kubelet", "/usr/bin/kubelet--config=/etc/kubernetes/kubelet.yaml", 0.35),
    HostProcess(640, "containerd", "/usr/bin/containerd", 0.2),
    HostProcess(301, "systemd-journald", "/lib/systemd/systemd-journald", 0.15),
    HostProcess(733, "sshd", "/usr/sbin/sshd-D", 0.1),
    HostProcess(17, "", "kworker/u8:1", 0.2, kernel=True),
)


@dataclass(frozen=True, slots=True, eq=False)
class Container:
    """One run of one container of a pod; a pod in a crash loop has a new one each time."""

    container_id: str
    name: str
    pid: int
    exe: str
    pod: Pod
    span_ms: Span
    share: float

    def curve(self, zone: str) -> PowerCurve:
        """Its energy in one zone."""
        return self.pod.zones[zone].weighted(self.span_ms, [self.share])


@dataclass(frozen=True, slots=True, eq=False)
class Guest:
    """A virtual machine beside the pods, one qemu process on the host."""

    vm_id: str
    name: str
    pid: int
    instance: str
    zones: Mapping[str, PowerCurve]
    span_ms: Span = ALWAYS


@dataclass(frozen=True, slots=True, eq=False)
class Process:
    """One process with its energy per zone."""

    pid: int
    exe: str
    cmdline: str
    span_ms: Span
    zones: Mapping[str, PowerCurve]
    container: Container | None = None
    guest: Guest | None = None


def containers(rng: np.random.Generator, pods: Sequence[Pod]) -> tuple[Container, ...]:
    """Every container of every run; each third pod has a sidecar, too."""
    found: list[Container] = []
    for number, pod in enumerate(pods):
        shares = (
            {pod.owner.name: 1 - SIDECAR_SHARE, "sidecar": SIDECAR_SHARE} if number % 3 == 2 else {pod.owner.name: 1}
        )
        exe = EXES[number % len(EXES)]
        for run in pod.runs_ms:
            for name, share in shares.items():
                identity = rng.bytes(32).hex()
                found.append(Container(identity, name, 2000 + 3 * len(found), exe, pod, run, share))
    return tuple(found)


def guests(rng: np.random.Generator, node: str, count: int, begin_ms: int, end_ms: int) -> tuple[Guest, ...]:
    """Virtual machines that run all the time."""
    return tuple(
        Guest(
            vm_id=random_uid(rng),
            name=f"{node}-vm-{number + 1}",
            pid=1500 + number,
            instance=f"10.0.{node.rpartition('-')[2]}.{101 + number}:8080",
            zones={
                zone: Demand(float(rng.uniform(*GUEST_WATTS[zone]))).curve(rng, begin_ms, end_ms, 0) for zone in ZONES
            },
        )
        for number in range(count)
    )


def processes(node: Node, own: Sequence[Container]) -> Iterator[Process]:
    """All processes of a node: together they use exactly its active energy."""
    for host in HOST_PROCESSES:
        zones = {zone: curve.weighted(ALWAYS, [host.share]) for zone, curve in node.system.items()}
        yield Process(host.pid, host.exe, host.cmdline, ALWAYS, zones)
    for guest in node.guests:
        cmdline = f"/usr/bin/qemu-system-x86_64-nameguest={guest.name},debug-threads=on"
        yield Process(guest.pid, "qemu-system-x86_64", cmdline, ALWAYS, guest.zones, guest=guest)
    for one in own:
        zones = {zone: one.curve(zone) for zone in one.pod.zones}
        yield Process(one.pid, one.exe, f"{one.exe}--name={one.name}", one.span_ms, zones, container=one)
