"""Simulated pods: who owns them, when they ran, what they drew."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.demo.nodes import Span
from pipeline.demo.power import Demand, PowerCurve

NAME_LETTERS = list("bcdfghjklmnpqrstvwxz2456789")  # the alphabet Kubernetes draws its suffixes from
START_BEFORE_ENERGY_MS = (2_000, 90_000)
DRAM_SHARE = (0.1, 0.35)


@dataclass(frozen=True, slots=True)
class Owner:
    """What made a pod: `controller` is its direct owner, `workload` what stands above; None where there is none."""

    kind: str
    name: str
    controller_kind: str | None
    controller: str | None


@dataclass(frozen=True, slots=True)
class Workload:
    """Something a team runs.

    Attributes:
        kind: Deployment, StatefulSet, DaemonSet (one pod a node), CronJob, Job or Pod (without an owner).
        demand: package power of one pod.
        replicas: pods at a time; each CronJob run has that many, too.
        cron_hours: UTC hours at which a CronJob starts.
        cron_minutes: how long one run takes, about.
    """

    namespace: str
    name: str
    kind: str
    demand: Demand
    replicas: int = 1
    cron_hours: tuple[int, ...] = ()
    cron_minutes: float = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Pod:
    """One pod with its energy; times in milliseconds relative to the fleet's start.

    Attributes:
        created_ms: `status.startTime`: 2 to 90 s before the first process ran.
        removed_ms: when the object left the API.
        runs_ms: half-open spans in which it had processes; several for a pod in a crash loop.
        unnamed_ms: for how long Kepler does not know its name, from each time it first sees it.
        zones: its energy per zone.
    """

    uid: str
    name: str
    namespace: str
    node: str
    owner: Owner
    created_ms: int
    removed_ms: int
    runs_ms: tuple[Span, ...]
    unnamed_ms: int
    zones: Mapping[str, PowerCurve]


def suffix(rng: np.random.Generator, length: int = 5) -> str:
    """A random end of a name, as Kubernetes makes them."""
    return "".join(rng.choice(NAME_LETTERS, size=length))


def random_uid(rng: np.random.Generator) -> str:
    """A UUID from the seeded generator."""
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def named(rng: np.random.Generator, workload: Workload, ordinal: int, run: str) -> tuple[str, Owner]:
    """A pod's name and owner; `run` names the ReplicaSet or Job, which several pods may share."""
    kind, name = workload.kind, workload.name
    match kind:
        case "Deployment":
            controller = f"{name}-{run}"
            return f"{controller}-{suffix(rng)}", Owner(kind, name, "ReplicaSet", controller)
        case "CronJob":
            controller = f"{name}-{run}"
            return f"{controller}-{suffix(rng)}", Owner(kind, name, "Job", controller)
        case "Job":
            return f"{name}-{suffix(rng)}", Owner(kind, name, "Job", name)
        case "StatefulSet":
            return f"{name}-{ordinal}", Owner(kind, name, kind, name)
        case "DaemonSet":
            return f"{name}-{suffix(rng)}", Owner(kind, name, kind, name)
        case _:
            return name, Owner("Pod", name, None, None)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Where and when one pod is to run."""

    node: str
    flat_ms: tuple[Span, ...]
    runs_ms: tuple[Span, ...]
    midnight_ms: int
    unnamed_ms: int = 0
    kept_ms: int = 5_000


def place(rng: np.random.Generator, workload: Workload, identity: tuple[str, Owner], where: Placement) -> Pod:
    """One pod of `workload` with random power in both zones and none outside its runs."""
    name, owner = identity
    begin, end = where.runs_ms[0][0], where.runs_ms[-1][1]
    pauses = [(stop, start) for (_, stop), (start, _) in pairwise(where.runs_ms)]
    package = workload.demand.curve(rng, begin, end, where.midnight_ms)
    dram = workload.demand.scaled(rng.uniform(*DRAM_SHARE)).curve(rng, begin, end, where.midnight_ms)
    return Pod(
        uid=random_uid(rng),
        name=name,
        namespace=workload.namespace,
        node=where.node,
        owner=owner,
        created_ms=begin - int(rng.integers(*START_BEFORE_ENERGY_MS)),
        removed_ms=end + where.kept_ms,
        runs_ms=where.runs_ms,
        unnamed_ms=where.unnamed_ms,
        zones={"package": package.silenced(pauses), "dram": dram.silenced([*pauses, *where.flat_ms])},
    )


def crash_loop(rng: np.random.Generator, begin_ms: int, end_ms: int) -> tuple[Span, ...]:
    """Runs of 8 to 70 s with Kubernetes' back-off between them: 10 s, doubling up to five minutes."""
    runs: list[Span] = []
    start, pause_ms = begin_ms, 10_000
    while start < end_ms:
        stop = start + int(rng.integers(8_000, 70_000))
        runs.append((start, stop))
        start, pause_ms = stop + pause_ms, min(pause_ms * 2, 300_000)
    return tuple(runs)
