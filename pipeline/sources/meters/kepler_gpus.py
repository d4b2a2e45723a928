"""GPU boards as Kepler shows them: 0.11.4 and newer by UUID, 0.9 and older by the device's number and mode.

Labels: the energy sensors' sheet, sections 1.1, 2.1, 2.2 and 2.4. Both call the node's counter alike, so labels tell
the dialect: only new series have `gpu_uuid`, only old ones `mode`. New Kepler shows NVML's own counter beside those of
its split; old Kepler shows the two modes alone, and what a board used is their sum.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.samples import Block, GpuSamples, Samples, Transport
from pipeline.sources.meters import kepler, kepler_legacy
from pipeline.sources.meters.dcgm import IDENTITY, NAMES
from pipeline.sources.meters.labelled import Key, KeyOf, Labels, keys_of, named_in_same_scrape, understand
from pipeline.sources.prometheus.selectors import Matcher, selector

TOTAL = "kepler_node_gpu_joules_total"
ACTIVE = "kepler_node_gpu_active_joules_total"
IDLE = "kepler_node_gpu_idle_joules_total"
PODS = "kepler_pod_gpu_joules_total"
CONTAINERS = "kepler_container_gpu_joules_total"
SPLIT = "kepler_node_gpu_{active,idle}_joules_total"
OF_A_BOARD = Matcher("gpu_uuid", "!=", "")  # what old Kepler's series of the same name lack
# what of `TOTAL` is each meter's, and the labels that number its boards
SIGNS = {
    kepler.NAME: (OF_A_BOARD, "gpu_uuid"),
    kepler_legacy.NAME: (kepler_legacy.DYNAMIC, "exported_instance, instance, package, index"),
}

POD_IDENTITY = pa.schema([("node", pa.string()), ("pod_uid", pa.string())])
RUN_IDENTITY = pa.schema([*POD_IDENTITY, ("container", pa.string()), ("container_id", pa.string())])
CONTAINER_IDENTITY = pa.schema([("node", pa.string()), ("container_id", pa.string())])
HELD_BY_NOBODY = dict.fromkeys(NAMES.names, "")  # no series has an empty label: a board itself tells no holder
OLD_NAMES = {"namespace": "container_namespace", "pod": "pod_name"}


class BoardCounters(NamedTuple):
    """All samples of one Kepler family's GPU counters that an extract holds; joules.

    Attributes:
        boards: what each board used, as of any GPU meter, held by nobody; the exporter is empty.
        active: the same identity: what somebody used of it, from 0 at Kepler's start.
        idle: the same: the rest, from 0 at Kepler's start; old Kepler may lack it.
        users: identity (node, pod_uid), of containers (node, pod_uid, container, container_id) or, by old Kepler,
            (node, container_id); names (namespace, pod).
        split: what `active` and `idle` are called where `boards` have a counter of their own; None where they are
            the sum of the two.
    """

    boards: GpuSamples
    active: Samples
    idle: Samples
    users: Samples
    split: str | None


def asked_for(matchers: Sequence[Matcher]) -> str:
    """What `read` asks for first: of nodes without boards, all."""
    return selector(TOTAL, OF_A_BOARD, *matchers)


def read(
    transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int, level: kepler.Level = "pod"
) -> BoardCounters | None:
    """Counters of new Kepler's boards and of who uses them, `start_ms <= stamp <= end_ms`; None without any board.

    `level` is as of processors.

    Raises:
        SourceError: as the transport.
    """

    def ask(metric: str) -> list[Block]:
        return list(transport.blocks(selector(metric, *matchers), start_ms, end_ms))

    total = list(transport.blocks(asked_for(matchers), start_ms, end_ms))
    if not total:
        return None
    users = understand(ask(PODS), POD_IDENTITY, _pod_key, kepler.NAME_LABELS)
    if level == "container":
        users = named_in_same_scrape(understand(ask(CONTAINERS), RUN_IDENTITY, _run_key, kepler.STATE), users)
    return BoardCounters(
        boards=_boards(kepler.NAME, _counted(understand(total, IDENTITY, _board_key, HELD_BY_NOBODY))),
        active=understand(ask(ACTIVE), IDENTITY, _board_key),
        idle=understand(ask(IDLE), IDENTITY, _board_key),
        users=users,
        split=SPLIT,
    )


def read_legacy(transport: Transport, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> BoardCounters | None:
    """The same of old Kepler and of containers, without the pseudo containers: what they use is the remainder.

    Raises:
        SourceError: as the transport.
    """

    def ask(metric: str, mode: str) -> list[Block]:
        wanted = selector(metric, Matcher("mode", "=", mode), *matchers)
        return list(transport.blocks(wanted, start_ms, end_ms))

    dynamic = ask(TOTAL, "dynamic")
    if not dynamic:
        return None
    rows = (row for block in dynamic for row in block.labels.to_pylist())
    targets = kepler_legacy.Targets({name: value for name, value in row.items() if value} for row in rows)
    active = understand(dynamic, IDENTITY, _device_key, HELD_BY_NOBODY)
    idle = understand(ask(TOTAL, "idle"), IDENTITY, _device_key, HELD_BY_NOBODY)
    return BoardCounters(
        boards=_boards(kepler_legacy.NAME, _sum(active, idle)),
        active=active,
        idle=idle,
        users=understand(ask(CONTAINERS, "dynamic"), CONTAINER_IDENTITY, _container_key(targets), OLD_NAMES),
        split=None,
    )


def _boards(meter: str, energy: Samples) -> GpuSamples:
    none = understand((), IDENTITY, _board_key, HELD_BY_NOBODY)
    return GpuSamples(meter=meter, energy=energy, power=none, activity=none, refused=none)


def _counted(total: Samples) -> Samples:
    """Without zeros: NVML counts no energy on boards before Volta, and what is not counted is not 0."""
    shown = total.value != 0
    return replace(
        total, code=total.code[shown], name=total.name[shown], stamp_ms=total.stamp_ms[shown], value=total.value[shown]
    )


def _sum(active: Samples, idle: Samples) -> Samples:
    """Both modes of each board at the scrapes that hold the first; idle counts 0 where it is not shown."""
    known = keys_of(idle)
    shown = dict(zip(zip((known[code] for code in idle.code), idle.stamp_ms, strict=True), idle.value, strict=True))
    keys = keys_of(active)
    beside = [shown.get((keys[code], at), 0.0) for code, at in zip(active.code, active.stamp_ms, strict=True)]
    return replace(active, value=active.value + np.array(beside, dtype=np.float64))


def _board_key(labels: Labels) -> Key:
    node = kepler.node_of(labels)
    return node, "", labels.get("gpu_uuid") or f"{node}/{labels.get('gpu', '')}"


def _device_key(labels: Labels) -> Key:
    node = kepler_legacy.node_of(labels)
    return node, "", f"{node}/{labels.get('package') or labels.get('index') or ''}"


def _pod_key(labels: Labels) -> Key:
    named = f"{labels.get('pod_namespace', '')}/{labels.get('pod_name', '')}"
    return kepler.node_of(labels), labels.get("pod_id") or named


def _run_key(labels: Labels) -> Key | None:
    if not labels.get("pod_id"):
        return None
    name, run = labels.get("container_name") or None, labels.get("container_id", "")
    return kepler.node_of(labels), labels["pod_id"], name, run


def _container_key(targets: kepler_legacy.Targets) -> KeyOf:
    def key(labels: Labels) -> Key | None:
        called = [labels.get(name) or "" for name in ("container_id", "pod_name", "container_name")]
        if set(called) & set(kepler_legacy.SYSTEM):
            return None
        named = "/".join((labels.get("container_namespace") or "", *called[1:]))
        return targets.node_of(labels), called[0] or named

    return key
