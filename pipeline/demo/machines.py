"""Makes the machines of a fleet, as its spec asks: sockets, meters' lives, scrapes, idle power, GPUs, guests."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import numpy as np

from pipeline.demo.gpus import gpus
from pipeline.demo.meters import KEPLER_ALONE
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
from pipeline.demo.power import Demand, PowerCurve
from pipeline.demo.processes import guests
from pipeline.demo.spec import FleetSpec, Replica
from pipeline.samples import Int64s
from pipeline.units import MS_PER_HOUR

IDLE_WATTS = {"package": (25.0, 45.0), "dram": (3.0, 6.0)}  # a socket
SYSTEM_WATTS = {"package": (3.0, 8.0), "dram": (0.5, 1.5)}
SILENCE_MINUTES = (5.0, 150.0)
DOWNTIME_MINUTES = (4.0, 90.0)
EXPORTERS = ("scaphandre", "dcgm")
# random streams: one part's choices do not shift another's
MACHINES, PODS, CLUSTER, EXPORTER, PLATFORM, GUESTS, GPUS, CONTAINERS, DRIVERS, REPLICAS = range(10)


def simulate_nodes(spec: FleetSpec, downtimes: tuple[Span, ...]) -> tuple[Node, ...]:
    """The machines of a fleet, with everything on them but pods.

    Args:
        spec: what to make.
        downtimes: of Prometheus.

    Raises:
        ConfigError: more events asked for than fit into the hours.
    """
    return tuple(_equipped(spec, index, _node(spec, index, downtimes)) for index in range(len(spec.sockets)))


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
    if spec.replica is not None:
        stamps = replica_scrapes(spec, spec.replica, spec.scrape_seconds, index)
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
        exporter_scrapes_ms={name: outside(at, [*silent, *downtimes]) for name, at in _exporters(spec, index)},
    )


def _exporters(spec: FleetSpec, index: int) -> list[tuple[str, Int64s]]:
    """Scrapes of what stands beside Kepler, each with a phase of its own."""

    def stamps(number: int) -> Int64s:
        if spec.replica is not None:
            return replica_scrapes(spec, spec.replica, spec.scrape_seconds, index, number + 1)
        rng = np.random.default_rng([spec.seed, EXPORTER, index, number])
        return scrapes(rng, spec.scrape_seconds, spec.begin_ms, spec.end_ms, spec.missed_scrape_ratio)

    return [(name, stamps(number)) for number, name in enumerate(EXPORTERS)]


def replica_scrapes(spec: FleetSpec, replica: Replica, every_seconds: int, *target: int) -> Int64s:
    """When a replica scrapes a target, by the true time."""
    rng = np.random.default_rng([spec.seed, REPLICAS, replica.number, *target])
    at = scrapes(rng, every_seconds, spec.begin_ms, spec.end_ms, spec.missed_scrape_ratio, replica.phase_ms)
    return outside(at, replica.downtimes_ms)


def _equipped(spec: FleetSpec, index: int, node: Node) -> Node:
    """The node with what its spec asks for beyond sockets."""

    def stream(part: int) -> np.random.Generator:
        return np.random.default_rng([spec.seed, part, index])

    share = spec.platform_shares[index] if spec.platform_shares else 0.0
    node = replace(node, meters=spec.meters[index] if spec.meters else KEPLER_ALONE, platform_share=share)
    if spec.guests:
        begin, end = node.kepler_runs_ms[0][0] - MS_PER_HOUR, node.kepler_runs_ms[-1][1]
        made = guests(stream(GUESTS), node.name, spec.guests[index], begin, end)
        node = replace(node, guests=tuple(replace(one, zones=with_psys(one.zones, share)) for one in made))
    if share > 0:
        first = (float(stream(PLATFORM).uniform(0, REGISTER_JOULES["psys"])),)
        node = replace(
            node,
            registers_joules={**node.registers_joules, "psys": first},
            system=with_psys(node.system, share),
            idle=with_psys(node.idle, share),
        )
    if spec.gpus and spec.gpus[index]:
        node = replace(node, gpus=gpus(stream(GPUS), spec, node, spec.gpus[index]))
    return node


def equipped_pods(nodes: tuple[Node, ...], pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The pods, those on GPUs among them, with psys where their node has it."""
    shares = {node.name: node.platform_share for node in nodes}
    on_gpus = tuple(holding.pod for node in nodes for gpu in node.gpus for holding in gpu.holdings)
    if not any(shares.values()):
        return pods + on_gpus
    return tuple(replace(pod, zones=with_psys(pod.zones, shares[pod.node])) for pod in pods + on_gpus)


def with_psys(zones: Mapping[str, PowerCurve], share: float) -> Mapping[str, PowerCurve]:
    """The zones and, where the share is above 0, psys: all of them and the share on top."""
    if share <= 0:
        return zones
    both = PowerCurve.sum(zones[zone] for zone in ZONES)
    return {**zones, "psys": both.weighted(both.edges_ms[[0, -1]], [1 + share])}
