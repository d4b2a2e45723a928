"""What Kepler 0.10 and later counts for: pods, containers, processes, virtual machines; and under which labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.demo.nodes import Span
from pipeline.demo.pods import Pod
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import Container, Guest, Process

COMM_LETTERS = 15  # what the kernel keeps of a command's name


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """One workload's counters.

    Attributes:
        metric: their name.
        labels: those that stay.
        names: those that Kepler learns `unnamed_ms` after it first sees the workload.
        curve: energy per zone.
        runs_ms: half-open spans in which it lived; each begins from 0.
        unnamed_ms: 0 for none.
    """

    metric: str
    labels: Mapping[str, str]
    names: Mapping[str, str]
    curve: Callable[[str], PowerCurve]
    runs_ms: tuple[Span, ...]
    unnamed_ms: int = 0


def pod_counted(pod: Pod) -> Counted:
    """A pod, known by its UID before its name."""
    names = {"pod_name": pod.name, "pod_namespace": pod.namespace}
    metric = "kepler_pod_cpu_joules_total"
    return Counted(metric, {"pod_id": pod.uid}, names, pod.zones.__getitem__, pod.runs_ms, pod.unnamed_ms)


def container_counted(one: Container) -> Counted:
    """A container: no namespace and no pod name; its pod's UID and its own name come late."""
    return Counted(
        metric="kepler_container_cpu_joules_total",
        labels={"container_id": one.container_id, "runtime": "containerd"},
        names={"container_name": one.name, "pod_id": one.pod.uid},
        curve=one.curve,
        runs_ms=(one.span_ms,),
        unnamed_ms=one.pod.unnamed_ms,
    )


def process_counted(one: Process) -> Counted:
    """A process; those of the host have neither container nor virtual machine."""
    labels = {"pid": str(one.pid), "comm": (one.exe or one.cmdline)[:COMM_LETTERS], "exe": one.exe, "type": "regular"}
    if one.container is not None:
        labels |= {"type": "container", "container_id": one.container.container_id}
    elif one.guest is not None:
        labels |= {"type": "vm", "vm_id": one.guest.vm_id}
    return Counted("kepler_process_cpu_joules_total", labels, {}, one.zones.__getitem__, (one.span_ms,))


def guest_counted(guest: Guest) -> Counted:
    """A virtual machine."""
    labels = {"vm_id": guest.vm_id, "vm_name": guest.name, "hypervisor": "kvm"}
    return Counted("kepler_vm_cpu_joules_total", labels, {}, guest.zones.__getitem__, (guest.span_ms,))
