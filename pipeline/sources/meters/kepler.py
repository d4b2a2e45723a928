"""Kepler 0.10 and newer: node counters by zone; counters of pods, containers, guests and processes by zone and state.

Labels and traps: the energy sensors' sheet, section 1. Target labels (`instance`, `job`, `pod`) say which exporter was
scraped, not which workload is meant, and change when its pod restarts: they are no part of an identity, except that a
node without `node_name` is known by `instance`.

Zones: `core` and `uncore` lie inside package and are never read. `psys` holds package and dram and more, and a sensor
of another kind (hwmon) holds nobody knows what: they are read only where package does not show the same scrapes, and
the fold decides hour by hour.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import pyarrow as pa

from pipeline.samples import Block, KeplerSamples, Samples, Transport
from pipeline.sources.meters.labelled import (
    NO_NAMES,
    Key,
    KeyOf,
    Labels,
    both,
    keys_of,
    named_in_same_scrape,
    sound_stamps,
    understand,
    without,
)
from pipeline.sources.prometheus.selectors import Matcher, selector

NAME = "kepler"
ACTIVE = "kepler_node_cpu_active_joules_total"
IDLE = "kepler_node_cpu_idle_joules_total"
RAW = "kepler_node_cpu_joules_total"
PODS = "kepler_pod_cpu_joules_total"
CONTAINERS = "kepler_container_cpu_joules_total"
GUESTS = "kepler_vm_cpu_joules_total"
PROCESSES = "kepler_process_cpu_joules_total"
COMPONENTS = ("package", "dram")
RAPL_RANGES_JOULES = {  # max_energy_range_uj as Intel and AMD processors report it
    "package": (65_532.610987, 262_143.328850),
    "dram": (65_712.999613, 262_143.328850),
    "psys": (65_532.610987, 262_143.328850),
}
WITHIN_PACKAGE = ("core", "uncore")
ZONES = Matcher("zone", "!~", "|".join(WITHIN_PACKAGE))
USUAL_ZONES = Matcher("zone", "=~", "|".join(COMPONENTS))
RARE_ZONES = Matcher("zone", "!~", "|".join((*COMPONENTS, *WITHIN_PACKAGE)))
NO_POD = Matcher("pod_id", "=", "")
NO_CONTAINER = Matcher("container_id", "=", "")

NODE_IDENTITY = pa.schema([("node", pa.string()), ("component", pa.string())])
POD_IDENTITY = pa.schema([*NODE_IDENTITY, ("pod_uid", pa.string())])
CONTAINER_IDENTITY = pa.schema([*POD_IDENTITY, ("container", pa.string()), ("container_id", pa.string())])
GUEST_IDENTITY = pa.schema([*NODE_IDENTITY, ("vm_id", pa.string()), ("vm_name", pa.string())])
OUTSIDE_IDENTITY = pa.schema([*NODE_IDENTITY, ("level", pa.string()), ("id", pa.string())])
POD_NAMES = pa.schema([("namespace", pa.string()), ("pod", pa.string())])
NAME_LABELS = {"namespace": "pod_namespace", "pod": "pod_name"}
LABELS = (  # all that identities are made of
    "node_name", "instance", "zone", "pod_id", "pod_namespace", "pod_name", "container_id", "container_name", "vm_id",
    "vm_name", "pid",
)  # fmt: skip
STATE = {"state": "state"}  # of a last total, `terminated`

Level = Literal["pod", "container"]


def read(
    transport: Transport,
    matchers: Sequence[Matcher],
    start_ms: int,
    end_ms: int,
    level: Level = "pod",
    *,
    processes: bool = True,
) -> KeplerSamples:
    """All samples of Kepler's node and workload counters with `start_ms <= stamp <= end_ms`.

    Args:
        transport: where they are.
        matchers: the user's own conditions.
        start_ms: first stamp.
        end_ms: last stamp.
        level: whether workloads are pods, or the containers inside them, named by the pod seen in the same scrape.
        processes: whether the series of processes are read, which show what runs outside workloads.

    Raises:
        SourceError: as the transport.
    """
    asked = _Asked(transport, matchers, start_ms, end_ms)
    active, idle, raw = (
        understand(asked.blocks(metric, ZONES), NODE_IDENTITY, _node_key, labels=LABELS)
        for metric in (ACTIVE, IDLE, RAW)
    )
    hidden = _hidden(active, idle)
    rare = any(component not in COMPONENTS for _, component in set(keys_of(active)) - hidden)
    counters = partial(asked.counters, hidden, (USUAL_ZONES, RARE_ZONES) if rare else (USUAL_ZONES,))
    pods = counters(PODS, POD_IDENTITY, _pod_key, names=NAME_LABELS if level == "container" else NAME_LABELS | STATE)
    containers = counters(CONTAINERS, CONTAINER_IDENTITY, _container_key, names=STATE) if level == "container" else None
    guests = counters(GUESTS, GUEST_IDENTITY, _guest_key)
    known = {(key[0], key[2]) for key in keys_of(guests)}
    outside = understand((), OUTSIDE_IDENTITY, _node_key)
    if processes:
        outside = counters(PROCESSES, OUTSIDE_IDENTITY, _process_key(known), NO_CONTAINER)
    if len(outside.value):
        waiting = {(key[0], key[4]) for key in keys_of(containers)} if containers else set()
        outside = both(outside, counters(CONTAINERS, OUTSIDE_IDENTITY, _stray_key(waiting), NO_POD))
    return KeplerSamples(
        meter=NAME,
        active=without(active, hidden),
        idle=without(idle, hidden),
        raw=without(raw, hidden),
        workloads=pods if containers is None else named_in_same_scrape(containers, pods),
        raw_ranges_joules=RAPL_RANGES_JOULES,
        guests=guests,
        outside=outside,
    )


class _Asked(NamedTuple):
    """Where series are, and which samples of them."""

    transport: Transport
    matchers: Sequence[Matcher]
    start_ms: int
    end_ms: int

    def blocks(self, metric: str, *conditions: Matcher) -> Iterator[Block]:
        """Of a metric."""
        yield from self.transport.blocks(selector(metric, *conditions, *self.matchers), self.start_ms, self.end_ms)

    def counters(
        self, hidden: set[Key], zones: Sequence[Matcher], metric: str, identity: pa.Schema, key_of: KeyOf,
        *conditions: Matcher, names: Mapping[str, str] = NO_NAMES,
    ) -> Samples:  # fmt: skip
        """Counters of a metric in some zones, without those of `hidden` node meters."""

        def key(labels: Labels) -> Key | None:
            return None if hidden and _node_key(labels) in hidden else key_of(labels)

        parts = (block for zone in zones for block in self.blocks(metric, zone, *conditions))
        return understand(parts, identity, key, names, LABELS)


def asked_for(matchers: Sequence[Matcher], level: Level = "pod", *, processes: bool = True) -> list[str]:
    """Selectors that `read` asks for, whatever it finds; there may be more."""
    conditions = {metric: [ZONES] for metric in (ACTIVE, IDLE, RAW)}
    conditions |= {metric: [USUAL_ZONES] for metric in (PODS, *([CONTAINERS] if level == "container" else []), GUESTS)}
    if processes:
        conditions[PROCESSES] = [USUAL_ZONES, NO_CONTAINER]
    return [selector(metric, *own, *matchers) for metric, own in conditions.items()]


def node_of(labels: Labels) -> str:
    """The node a series speaks of: `node_name`, or the host of `instance` where Kepler runs outside Kubernetes."""
    return labels.get("node_name") or labels.get("instance", "").rsplit(":", 1)[0]


def nodes_of(labels: pa.Table) -> list[str]:
    """`node_of` of many series at once."""
    nothing = [None] * labels.num_rows
    names, instances = (
        labels[name].to_pylist() if name in labels.column_names else nothing for name in ("node_name", "instance")
    )
    return [name or (instance or "").rsplit(":", 1)[0] for name, instance in zip(names, instances, strict=True)]


def _hidden(active: Samples, idle: Samples) -> set[Key]:
    """Zones never seen without a better one that holds or repeats them: whatever hour is asked, they cannot account."""
    keys = keys_of(active)
    doubtful = {key[0] for key in keys if key[1] not in COMPONENTS}
    wanted = {key for key in keys if key[0] in doubtful}
    once, again = sound_stamps(active, wanted), sound_stamps(idle, wanted)
    stamps = {key: once[key] & again[key] for key in wanted}

    def needless(key: Key) -> bool:
        node, component = key
        better = () if component in COMPONENTS else ("package",) if component == "psys" else ("package", "psys")
        return any(stamps[key] <= stamps.get((node, other), set()) for other in better)

    return {key for key in wanted if needless(key)}


def _node_key(labels: Labels) -> Key | None:
    return _place(node_of(labels), labels.get("zone", ""))


@lru_cache(maxsize=4096)
def _place(node: str, zone: str) -> Key | None:
    if zone in WITHIN_PACKAGE or not zone:
        return None
    return node, zone if zone in RAPL_RANGES_JOULES else f"other/{zone}"


def _below(labels: Labels, *rest: str | None) -> Key | None:
    node = _node_key(labels)
    return None if node is None else (*node, *rest)


def _pod_key(labels: Labels) -> Key | None:
    return _below(labels, labels.get("pod_id") or f"{labels.get('pod_namespace', '')}/{labels.get('pod_name', '')}")


def _container_key(labels: Labels) -> Key | None:
    """None without a pod: either there is none, or Kepler does not know it yet."""
    if not labels.get("pod_id"):
        return None
    return _below(labels, labels["pod_id"], labels.get("container_name") or None, labels.get("container_id", ""))


def _guest_key(labels: Labels) -> Key | None:
    return _below(labels, labels.get("vm_id", ""), labels.get("vm_name") or labels.get("vm_id", ""))


def _process_key(known_guests: set[tuple[str | None, str | None]]) -> KeyOf:
    """Kepler keeps one accumulator a PID, through a new command and even through a reuse: it is the identity.

    A virtual machine's process is left out where the machine has a counter of its own.
    """

    def key(labels: Labels) -> Key | None:
        if labels.get("container_id") or (node_of(labels), labels.get("vm_id")) in known_guests:
            return None
        return _below(labels, "process", labels.get("pid", ""))

    return key


def _stray_key(known_containers: set[tuple[str | None, str | None]]) -> KeyOf:
    """A container outside pods; not one that is only waiting for Kepler to learn its pod."""

    def key(labels: Labels) -> Key | None:
        holder = labels.get("container_id", "")
        if labels.get("pod_id") or (node_of(labels), holder) in known_containers:
            return None
        return _below(labels, "container", holder)

    return key
