"""Simulated fleets: physical joules known exactly, and the samples a Prometheus would have collected of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from pipeline.demo import truth
from pipeline.demo.cluster_series import ClusterSeries
from pipeline.demo.dcgm_series import DcgmSeries
from pipeline.demo.kepler_devices import DeviceSeries, platform_curve
from pipeline.demo.kepler_series import NodeSeries
from pipeline.demo.legacy_series import LegacySeries
from pipeline.demo.machines import (
    CLUSTER,
    CONTAINERS,
    DOWNTIME_MINUTES,
    DRIVERS,
    PODS,
    equipped_pods,
    replica_scrapes,
    simulate_nodes,
)
from pipeline.demo.nodes import Node, outside, scrapes, silent_spans
from pipeline.demo.pods import Pod
from pipeline.demo.population import Population
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import Container, Process, containers, processes
from pipeline.demo.scaphandre_series import ScaphandreSeries
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.spec import FleetSpec, churning, demo_fleet, mixed, outages, restarting, steady
from pipeline.samples import Block, Int64s

__all__ = ["Fleet", "FleetSpec", "churning", "demo_fleet", "mixed", "outages", "restarting", "simulate", "steady"]


@dataclass(frozen=True, eq=False)
class Fleet:
    """One simulated cluster.

    Attributes:
        spec: what it was made from.
        nodes: its machines.
        pods: everything that ever ran on them.
        active: per node name and zone, the energy of the node's pods, guests and system together.
        ksm_scrapes_ms: stamps of the scrapes of kube-state-metrics, relative to the start.
        scraped: names of the nodes whose exporters are scraped; None for all.
    """

    spec: FleetSpec
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    active: Mapping[str, Mapping[str, PowerCurve]]
    ksm_scrapes_ms: Int64s
    scraped: frozenset[str] | None = None

    @cached_property
    def truth_pods(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component, pod_uid) in which the pod used any.

        Component `psys` contains package and dram; `gpu` is what a pod computed and its part of the idle power of what
        it held.
        """
        rows = [*truth.pod_rows(self._hours, self.pods)]
        rows += [row for node in self.nodes for gpu in node.gpus for row in truth.gpu_pod_rows(self._hours, node, gpu)]
        return truth.table(rows, truth.PODS)

    @cached_property
    def truth_nodes(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component): all pods, guests and the system; and idle.

        Component `psys` contains package and dram. Of `gpu`, active is all that has a holder, idle is nobody's.
        """
        hours, rows = self._hours, list[truth.Row]()
        for node in self.nodes:
            for zone, idle in node.idle.items():
                rows += hours.split_rows(self.active[node.name][zone], idle, node.name, zone)
            if node.gpus:
                rows += truth.gpu_node_rows(hours, node)
        return truth.table(rows, truth.NODES)

    @cached_property
    def truth_containers(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component, container_id) in which the container used any."""
        every = (one for own in self.containers.values() for one in own)
        return truth.table(truth.container_rows(self._hours, every), truth.CONTAINERS)

    @cached_property
    def truth_processes(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component, pid) in which the process used any.

        All processes of a node together are its active energy. Guests carry `vm_name`.
        """
        pairs = ((node, self.processes[node.name]) for node in self.nodes)
        rows = (row for node, own in pairs for row in truth.process_rows(self._hours, node, own))
        return truth.table(rows, truth.PROCESSES)

    @cached_property
    def truth_gpus(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, gpu_uuid): what was computed, and the idle power beneath it."""
        pairs = [(node, gpu) for node in self.nodes for gpu in node.gpus]
        rows = (row for node, gpu in pairs for row in self._hours.split_rows(gpu.active, gpu.idle, node.name, gpu.uuid))
        return truth.table(rows, truth.GPUS)

    @cached_property
    def truth_gpu_holders(self) -> pa.Table:
        """The same energy by holder: (hour_utc, node, gpu_uuid, gpu_instance, pod_uid); pod_uid null: idle of nobody.

        Idle power of a MIG board is split by the slices of its instances, that of a shared one evenly among holders.
        """
        pairs = [(node, gpu) for node in self.nodes for gpu in node.gpus]
        rows = (row for node, gpu in pairs for row in truth.holder_rows(self._hours, node, gpu))
        return truth.table(rows, truth.HOLDERS)

    @cached_property
    def truth_platforms(self) -> pa.Table:
        """Physical joules of the whole machine as its BMC sees them, one row per (hour_utc, node)."""
        curves = [(node, platform_curve(node, self.active[node.name])) for node in self.nodes]
        rows = (row for node, curve in curves for row in self._hours.rows(curve, node.name))
        return truth.table(rows, truth.PLATFORMS)

    @cached_property
    def containers(self) -> Mapping[str, tuple[Container, ...]]:
        """By node name, in the order of the pods."""
        return {
            node.name: containers(np.random.default_rng([self.spec.seed, CONTAINERS, index]), self._pods_of(node))
            for index, node in enumerate(self.nodes)
        }

    @cached_property
    def processes(self) -> Mapping[str, tuple[Process, ...]]:
        """By node name: those of the host, of guests, of containers."""
        return {node.name: tuple(processes(node, self.containers[node.name])) for node in self.nodes}

    def blocks(self) -> list[Block]:
        """All samples: one block a metric, metrics in alphabetical order."""
        metrics: defaultdict[str, list[Series]] = defaultdict(list)
        clock_ms = self.spec.replica.clock_ms if self.spec.replica else 0
        for series in self._series():
            metrics[series.labels[METRIC]].append(replace(series, stamps_ms=series.stamps_ms + clock_ms))
        return [block_of(metrics[name]) for name in sorted(metrics)]

    @property
    def _hours(self) -> truth.Hours:
        return truth.Hours(self.spec.start_ms, self.spec.hours)

    def _pods_of(self, node: Node) -> list[Pod]:
        return [pod for pod in self.pods if pod.node == node.name]

    def _series(self) -> Iterator[Series]:
        for index, node in enumerate(self.nodes):
            if self.scraped is None or node.name in self.scraped:
                yield from self._node_series(index, node)
        if self.spec.with_ksm:
            yield from ClusterSeries(self.ksm_scrapes_ms, self.spec.start_ms).all(self.nodes, self.pods)

    def _node_series(self, index: int, node: Node) -> Iterator[Series]:
        meters, start_ms, active = node.meters, self.spec.start_ms, self.active[node.name]
        if meters.kepler is not None:
            kepler = NodeSeries(node, active, start_ms, meters.kepler)
            yield from kepler.all(self._pods_of(node))
            if {"container", "process", "vm"} & set(meters.kepler.levels):
                yield from kepler.detail(self.containers[node.name], self.processes[node.name])
            yield from DeviceSeries(kepler).all()
        if meters.legacy is not None:
            yield from LegacySeries(node, active, start_ms, meters.legacy).all(self.containers[node.name])
        if meters.scaphandre is not None:
            yield from ScaphandreSeries(node, active, start_ms, meters.scaphandre).all(self.processes[node.name])
        if meters.dcgm is not None:
            rng = np.random.default_rng([self.spec.seed, DRIVERS, index])
            yield from DcgmSeries(rng, node, start_ms, meters.dcgm).all()


def simulate(spec: FleetSpec) -> Fleet:
    """The fleet of a spec; equal specs give equal fleets.

    Raises:
        ConfigError: more events asked for than fit into the hours.
    """
    rng = np.random.default_rng([spec.seed, CLUSTER])
    downtimes = silent_spans(rng, spec.downtimes, DOWNTIME_MINUTES, spec.begin_ms, spec.end_ms)
    if spec.replica is not None:
        downtimes = spec.replica.downtimes_ms
    nodes = simulate_nodes(spec, downtimes)
    population = Population(np.random.default_rng([spec.seed, PODS]), spec, nodes)
    pods = equipped_pods(nodes, tuple(population.pods()))
    ksm = scrapes(rng, spec.ksm_scrape_seconds, spec.begin_ms, spec.end_ms, spec.missed_scrape_ratio)
    if spec.replica is not None:
        ksm = replica_scrapes(spec, spec.replica, spec.ksm_scrape_seconds)
    active = {
        node.name: {
            zone: PowerCurve.sum([
                system,
                *(pod.zones[zone] for pod in pods if pod.node == node.name),
                *(guest.zones[zone] for guest in node.guests),
            ])
            for zone, system in node.system.items()
        }
        for node in nodes
    }  # fmt: skip
    return Fleet(spec, nodes, pods, active, outside(ksm, downtimes))
