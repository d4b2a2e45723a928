"""Fills simulated nodes with pods, as a `FleetSpec` asks: services, rollouts, jobs, crash loops."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.demo.nodes import Node, Span, flat_spans, spread_times
from pipeline.demo.pods import Placement, Pod, Workload, crash_loop, named, place, suffix
from pipeline.demo.spec import FleetSpec
from pipeline.demo.workloads import AGENT, JOBS, LOOPING, SERVICES
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

JOB_MS = (20_000, 1_200_000)
UNNAMED_MS = (10_000, 75_000)
JOB_KEPT_MS = 10 * MS_PER_MINUTE  # finished jobs stay in the API for a while
LONG_BEFORE_MS = (MS_PER_HOUR, 200 * MS_PER_HOUR)


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """Makes pods from one random stream."""

    rng: np.random.Generator
    spec: FleetSpec
    nodes: tuple[Node, ...]

    def pods(self) -> Iterator[Pod]:
        """All pods of the fleet."""
        if self.spec.workloads:
            for workload in self.spec.workloads:
                yield from self._named_workload(workload)
        else:
            for node in self.nodes:
                yield from self._services(node)
        yield from self._jobs()
        yield from self._crash_loops()

    def _pod(self, node: Node, workload: Workload, runs_ms: tuple[Span, ...], ordinal: int, run: str) -> Pod:
        late = self.rng.random() < self.spec.late_name_ratio
        kept_ms = JOB_KEPT_MS if workload.kind in ("CronJob", "Job") else 5_000
        where = Placement(
            node=node.name,
            flat_ms=tuple(flat_spans(node.flat_dram_ms)),
            runs_ms=runs_ms,
            midnight_ms=self.spec.midnight_ms,
            unnamed_ms=int(self.rng.integers(*UNNAMED_MS)) if late else 0,
            kept_ms=kept_ms,
        )
        return place(self.rng, workload, named(self.rng, workload, ordinal, run), where)

    def _born_before(self) -> int:
        return self.spec.begin_ms - int(self.rng.integers(*LONG_BEFORE_MS))

    def _beyond(self) -> int:
        return self.spec.end_ms + MS_PER_HOUR

    def _replica_set(self) -> str:
        return suffix(self.rng, 10)

    def _services(self, node: Node) -> Iterator[Pod]:
        """One agent and the rest services on one node; some are replaced by a new pod on the way."""
        index = self.nodes.index(node)
        yield self._pod(node, AGENT, ((self._born_before(), self._beyond()),), 0, "")
        for slot in range(self.spec.pods_per_node - 1):
            kind = SERVICES[(slot + index) % len(SERVICES)]
            # a name of its own for each slot: two pods of one StatefulSet or two bare pods must not share one
            workload = replace(
                kind, name=f"{kind.name}-{index}{slot}", demand=kind.demand.scaled(self.rng.uniform(0.4, 1.6))
            )
            begin = self._born_before()
            if self.rng.random() < self.spec.rollout_ratio:
                for end in spread_times(self.rng, 1 + slot % 2, self.spec.begin_ms, self.spec.end_ms):
                    yield self._pod(node, workload, ((begin, end),), 0, self._replica_set())
                    begin = end + int(self.rng.integers(1_000, 40_000))
            yield self._pod(node, workload, ((begin, self._beyond()),), 0, self._replica_set())

    def _named_workload(self, workload: Workload) -> Iterator[Pod]:
        if workload.kind == "CronJob":
            yield from self._cron_runs(workload)
            return
        homes = self.nodes
        if workload.kind != "DaemonSet":
            first = int(self.rng.integers(len(self.nodes)))
            homes = tuple(self.nodes[(first + i) % len(self.nodes)] for i in range(workload.replicas))
        run = self._replica_set()
        for ordinal, node in enumerate(homes):
            yield self._pod(node, workload, ((self._born_before(), self._beyond()),), ordinal, run)

    def _cron_runs(self, workload: Workload) -> Iterator[Pod]:
        hour_ms = self.spec.midnight_ms
        while hour_ms < self.spec.end_ms:
            hour = (hour_ms - self.spec.midnight_ms) // MS_PER_HOUR % 24
            if hour in workload.cron_hours and hour_ms >= self.spec.begin_ms:
                minute = (hour_ms + self.spec.start_ms) // MS_PER_MINUTE
                for ordinal in range(workload.replicas):
                    node = self.nodes[int(self.rng.integers(len(self.nodes)))]
                    begin = hour_ms + int(self.rng.integers(4_000, 95_000))
                    length = int(workload.cron_minutes * MS_PER_MINUTE * self.rng.uniform(0.8, 1.2))
                    yield self._pod(node, workload, ((begin, begin + length),), ordinal, str(minute))
            hour_ms += MS_PER_HOUR

    def _jobs(self) -> Iterator[Pod]:
        """Short jobs at random instants: log-uniform between 20 s and 20 minutes."""
        count = round(self.spec.jobs_per_hour * (self.spec.end_ms - self.spec.begin_ms) / MS_PER_HOUR)
        for number in range(count):
            begin = int(self.rng.integers(self.spec.begin_ms, self.spec.end_ms))
            length = int(np.exp(self.rng.uniform(*np.log(JOB_MS))))
            kind = JOBS[number % len(JOBS)]
            demand = kind.demand.scaled(self.rng.uniform(0.5, 1.5))
            workload = replace(
                kind, name=kind.name if kind.kind == "CronJob" else f"{kind.name}-{number}", demand=demand
            )
            minute = (begin + self.spec.start_ms) // MS_PER_MINUTE
            node = self.nodes[int(self.rng.integers(len(self.nodes)))]
            yield self._pod(node, workload, ((begin, begin + length),), number, str(minute))

    def _crash_loops(self) -> Iterator[Pod]:
        half = (self.spec.begin_ms + self.spec.end_ms) // 2
        for number in range(self.spec.crash_loops):
            node = self.nodes[number % len(self.nodes)]
            runs = crash_loop(self.rng, int(self.rng.integers(self.spec.begin_ms, half)), self.spec.end_ms)
            yield self._pod(node, replace(LOOPING, name=f"{LOOPING.name}-{number}"), runs, number, self._replica_set())
