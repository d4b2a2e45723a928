"""Raw samples in memory: what every transport yields and every fold reads.

Only three things are known of a sample: its series' labels, its stamp in whole milliseconds, its float64 value. No rule
may need more (JSON transports have no stale markers, no chunk edges, no exemplars), so that all transports are equal.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some series with their samples; one series may come in several blocks, each part later than the one before.

    Attributes:
        labels: one row a series; one string column per label name, null where the series lacks the label.
        offsets: series i owns samples `offsets[i]:offsets[i + 1]`; length is `labels.num_rows + 1`.
        stamps_ms: int64 milliseconds since the epoch, rising within a series.
        values: float64, same length.
    """

    labels: pa.Table
    offsets: Int64s
    stamps_ms: Int64s
    values: Floats


class Transport(Protocol):
    """How samples leave a time series database: one method, so that bulk transports stand beside the query API."""

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples of all series matching `selector` with `start_ms <= stamp <= end_ms`, never resampled.

        Raises:
            SourceError: unreachable, refused, or an answer that cannot be trusted whole.
        """
        ...


@runtime_checkable
class Several(Transport, Protocol):
    """A transport that may answer several selectors at once, for less than each of them by itself costs."""

    def together(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]] | None:
        """The blocks of each selector; None where each has to be asked for by itself.

        Raises:
            SourceError: as `blocks`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of counters whose labels have been understood, in no particular order.

    Attributes:
        identity: one row a counter; several series (states, renames, restarted targets) may be one counter.
        names: one row a label set that may change during a counter's life (a pod's name and namespace).
        code: row of `identity` of each sample.
        name: row of `names` of each sample.
        stamp_ms: int64 milliseconds since the epoch.
        value: float64 joules, as exposed.
    """

    identity: pa.Table
    names: pa.Table
    code: Int64s
    name: Int64s
    stamp_ms: Int64s
    value: Floats


# node -> socket -> rising stamps (ms) at which that socket's processors were seen
SocketStamps: TypeAlias = Mapping[str, Mapping[str, Int64s]]


@dataclass(frozen=True, slots=True)
class MeterSamples:
    """All samples of one meter that an extract holds.

    Attributes:
        meter: its name, such as `kepler`.
        active: identity (node, component): joules while busy, from 0 at the exporter's start.
        idle: the same: the rest, from anywhere at the exporter's start.
        raw: the same: the register beneath both, which wraps.
        workloads: identity (node, component, pod_uid); names (namespace, pod).
        raw_ranges_joules: by component, at which values one socket's register may wrap.
    """

    meter: str
    active: Samples
    idle: Samples
    raw: Samples
    workloads: Samples
    raw_ranges_joules: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class ScaphandreSamples:
    """All samples of Scaphandre that an extract holds; a `host` is one exporter's address without its port.

    Attributes:
        meter: `scaphandre`.
        registers: identity (host, component, register): joules of one socket (`package`), of one socket's memory
            (`dram`) or of the whole platform (`psys`), as the hardware counts them: they wrap.
        totals: identity (host): Scaphandre's own sum of registers in joules, good only for telling what it sums.
        processes: identity (host, pid, exe, cmdline, container_id, guest, node); names (namespace, pod): watts, the
            mean since the exporter's previous refresh.
        busy: identity (host): CPU time of all processes as a share of all cores, 1 when every core is busy.
        versions: identity (host): 0.50 for 0.5.0, 1.02 for 1.0.2.
        pods: identity (container_id, pod_uid, namespace, pod): which pod a container belongs to, as Kubernetes knows.
        ranges_joules: by component, at which values one register may wrap.
    """

    meter: str
    registers: Samples
    totals: Samples
    processes: Samples
    busy: Samples
    versions: Samples
    pods: Samples
    ranges_joules: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class LegacySamples:
    """All samples of Kepler 0.5 to 0.9 that an extract holds; every counter starts at 0 with its exporter.

    Attributes:
        meter: its name.
        sockets: identity (node, component, mode, socket); mode is `dynamic` or `idle`. Components beside package and
            dram are there only to tell what part of `totals` they are.
        containers: identity (node, component, container_id); names (namespace, pod): dynamic joules.
        totals: identity (node, container_id); names as above: dynamic joules of all components in one, at those scrapes
            of a node that hold no component of any container; in whatever unit that version exposed.
        versions: identity (node, version): when which version was seen; the values mean nothing.
    """

    meter: str
    sockets: Samples
    containers: Samples
    totals: Samples
    versions: Samples


@dataclass(frozen=True, slots=True)
class GpuSamples:
    """All samples of GPU boards that an extract holds.

    Identity (node, exporter, board) is what one exporter says of one board under one node's name; names (namespace,
    pod, container, pod_uid, instance, profile) are who holds which MIG instance of it, pod null for nobody.

    Attributes:
        meter: its name.
        energy: joules since the driver was loaded, the whole board's under every name.
        power: watts, the same.
        activity: 0..1, share of the time in which an instance's engines were busy.
        refused: values in place of energy or power that stand for "none", as exposed.
    """

    meter: str
    energy: Samples
    power: Samples
    activity: Samples
    refused: Samples


@dataclass(frozen=True, slots=True)
class KeplerSamples(MeterSamples):
    """All samples of Kepler 0.10 or newer that an extract holds.

    `workloads` are pods, or containers: identity then has (container, container_id) besides. Their names have a state
    besides. A component that is none of Kepler's own zones is `other/<zone>`.

    Attributes:
        guests: identity (node, component, vm_id, vm_name): virtual machines.
        outside: identity (node, component, level, id): processes and containers that no workload holds; level is
            `process` or `container`. Empty where the process level is not kept.
    """

    guests: Samples
    outside: Samples
