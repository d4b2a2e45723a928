"""Simulated fleets: physical joules known exactly, and the samples a Prometheus would have collected of them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa

from pipeline.demo.cluster_series import ClusterSeries
from pipeline.demo.kepler_series import NodeSeries
from pipeline.demo.nodes import (
    REGISTER_JOULES,
    ZONES,
    Node,
    Span,
    flat_spans,
    kepler_runs,
    outside,
    scrapes,
    silent_spans,
    spread_times,
)  # fmt: skip
from pipeline.demo.pods import Pod
from pipeline.demo.population import Population
from pipeline.demo.power import Demand, PowerCurve
from pipeline.demo.series import METRIC, Series, block_of
from pipeline.demo.spec import FleetSpec, churning, demo_fleet, outages, restarting, steady
from pipeline.samples import Block, Floats, Int64s
from pipeline.tables import NUMBER, TEXT, TIMESTAMP
from pipeline.units import MS_PER_HOUR

__all__ = ["Fleet", "FleetSpec", "churning", "demo_fleet", "outages", "restarting", "simulate", "steady"]

IDLE_WATTS = {"package": (25.0, 45.0), "dram": (3.0, 6.0)}  # a socket
SYSTEM_WATTS = {"package": (3.0, 8.0), "dram": (0.5, 1.5)}
SILENCE_MINUTES = (5.0, 150.0)
DOWNTIME_MINUTES = (4.0, 90.0)
MACHINES, PODS, CLUSTER = range(3)  # random streams: one part's choices do not shift another's

TRUTH_PODS = pa.schema([
    ("hour_utc", TIMESTAMP), ("node", TEXT), ("component", TEXT), ("namespace", TEXT), ("pod", TEXT), ("pod_uid", TEXT),
    ("energy_joules", NUMBER),
])  # fmt: skip
TRUTH_NODES = pa.schema([
    ("hour_utc", TIMESTAMP), ("node", TEXT), ("component", TEXT), ("active_joules", NUMBER), ("idle_joules", NUMBER),
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Fleet:
    """One simulated cluster.

    Attributes:
        spec: what it was made from.
        nodes: its machines.
        pods: everything that ever ran on them.
        active: per node name and zone, the energy of the node's pods and system together.
        ksm_scrapes_ms: stamps of the scrapes of kube-state-metrics, relative to the start.
    """

    spec: FleetSpec
    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    active: Mapping[str, Mapping[str, PowerCurve]]
    ksm_scrapes_ms: Int64s

    @cached_property
    def truth_pods(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component, pod_uid) in which the pod used any.

        They contain what no sample shows: the tail after the last scrape, and what ran while Kepler did not.
        """
        rows = []
        for pod in self.pods:
            for zone in ZONES:
                hourly = self._hourly(pod.zones[zone])
                who = (pod.node, zone, pod.namespace, pod.name, pod.uid)
                rows += [(hour, *who, joules) for hour, joules in hourly if joules > 0]
        return _table(rows, TRUTH_PODS)

    @cached_property
    def truth_nodes(self) -> pa.Table:
        """Physical joules, one row per (hour_utc, node, component): all pods and the system, and idle."""
        rows = []
        for node in self.nodes:
            for zone in ZONES:
                both = zip(self._hourly(self.active[node.name][zone]), self._hourly(node.idle[zone]), strict=True)
                rows += [(hour, node.name, zone, active, idle) for (hour, active), (_, idle) in both]
        return _table(rows, TRUTH_NODES)

    def blocks(self) -> list[Block]:
        """All samples: one block a metric, metrics in alphabetical order."""
        metrics: defaultdict[str, list[Series]] = defaultdict(list)
        for series in self._series():
            metrics[series.labels[METRIC]].append(series)
        return [block_of(metrics[name]) for name in sorted(metrics)]

    def _series(self) -> Iterator[Series]:
        start_ms = self.spec.start_ms
        for node in self.nodes:
            own = [pod for pod in self.pods if pod.node == node.name]
            yield from NodeSeries(node, self.active[node.name], start_ms).all(own)
        if self.spec.with_ksm:
            yield from ClusterSeries(self.ksm_scrapes_ms, start_ms).all(self.nodes, self.pods)

    def _hourly(self, curve: PowerCurve) -> Iterator[tuple[int, float]]:
        """Left edge in microseconds since the epoch, and joules, of each hour."""
        edges_ms = np.arange(self.spec.hours + 1, dtype=np.int64) * MS_PER_HOUR
        joules: Floats = np.diff(curve.energy_joules(edges_ms))
        yield from zip(((self.spec.start_ms + edges_ms[:-1]) * 1000).tolist(), joules.tolist(), strict=True)


def simulate(spec: FleetSpec) -> Fleet:
    """The fleet of a spec; equal specs give equal fleets.

    Raises:
        ConfigError: more events asked for than fit into the hours.
    """
    rng = np.random.default_rng([spec.seed, CLUSTER])
    downtimes = silent_spans(rng, spec.downtimes, DOWNTIME_MINUTES, spec.begin_ms, spec.end_ms)
    nodes = tuple(_node(spec, index, downtimes) for index in range(len(spec.sockets)))
    pods = tuple(Population(np.random.default_rng([spec.seed, PODS]), spec, nodes).pods())
    ksm = scrapes(rng, spec.ksm_scrape_seconds, spec.begin_ms, spec.end_ms, spec.missed_scrape_ratio)
    active = {
        node.name: {
            zone: PowerCurve.sum([node.system[zone], *(p.zones[zone] for p in pods if p.node == node.name)])
            for zone in ZONES
        }
        for node in nodes
    }
    return Fleet(spec, nodes, pods, active, outside(ksm, downtimes))


def _node(spec: FleetSpec, index: int, downtimes: tuple[Span, ...]) -> Node:
    rng = np.random.default_rng([spec.seed, MACHINES, index])
    sockets = spec.sockets[index]
    share = float(rng.uniform(0.4, 0.6))
    runs = kepler_runs(
        rng, spread_times(rng, spec.kepler_restarts, spec.begin_ms, spec.end_ms), spec.double_restarts,
        spec.begin_ms, spec.end_ms,
    )  # fmt: skip
    flat = tuple(spread_times(rng, spec.dram_resets, spec.begin_ms, spec.end_ms))
    silent = silent_spans(rng, spec.silences, SILENCE_MINUTES, spec.begin_ms, spec.end_ms)
    stamps = scrapes(rng, spec.scrape_seconds, spec.begin_ms, spec.end_ms, spec.missed_scrape_ratio)
    kepler_away = [(stop, start) for (_, stop), (start, _) in pairwise(runs)]
    born_ms, gone_ms = runs[0][0] - MS_PER_HOUR, runs[-1][1]

    def curves(watts: Mapping[str, tuple[float, float]]) -> dict[str, PowerCurve]:
        demands = {zone: Demand(sockets * rng.uniform(*watts[zone])) for zone in ZONES}
        made = {zone: demands[zone].curve(rng, born_ms, gone_ms, spec.midnight_ms) for zone in ZONES}
        return made | {"dram": made["dram"].silenced(flat_spans(flat))}

    return Node(
        name=f"node-{index + 1}",
        instance=f"10.0.0.{11 + index}:28282",
        sockets=sockets,
        registers_joules={z: tuple(rng.uniform(0, REGISTER_JOULES[z], sockets).tolist()) for z in ZONES},
        socket_shares=(1.0,) if sockets == 1 else (share, *[(1 - share) / (sockets - 1)] * (sockets - 1)),
        kepler_runs_ms=runs,
        flat_dram_ms=flat,
        scrapes_ms=outside(stamps, [*kepler_away, *silent, *downtimes]),
        system=curves(SYSTEM_WATTS),
        idle=curves(IDLE_WATTS),
    )


def _table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
