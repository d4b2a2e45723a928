"""Simulated GPUs: who holds which part of them when, and what that draws."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.demo.meters import GpuSpec
from pipeline.demo.nodes import Node, Span, flat_spans, spread_times
from pipeline.demo.pods import Placement, Pod, Workload, named, place, random_uid
from pipeline.demo.power import Demand, PowerCurve
from pipeline.demo.spec import FleetSpec
from pipeline.samples import Floats, Int64s
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

MODEL = "NVIDIA A100-SXM4-40GB"
IDLE_WATTS = (45.0, 60.0)
IDLE_WOBBLE = 0.1  # of it comes and goes
BUSY_WATTS = 300.0  # above idle, at full load of the whole board
LOAD = (0.25, 0.6)
HELD_MS = (12 * MS_PER_MINUTE, 90 * MS_PER_MINUTE)
FREE_MS = (2 * MS_PER_MINUTE, 12 * MS_PER_MINUTE)
LAZY_SHARE = 0.2  # of the time a GPU is held, in which its holder computes nothing
JOBS = (
    Workload("llm", "finetune", "Job", Demand(6.0)),
    Workload("analytics", "embed", "Job", Demand(4.0)),
    Workload("llm", "serve", "Deployment", Demand(5.0)),
)


@dataclass(frozen=True, slots=True, eq=False)
class Holding:
    """One pod with one slot of a GPU, from its start to its end; `active` is what it computes with it."""

    pod: Pod
    span_ms: Span
    active: PowerCurve


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A part of a GPU that one pod at a time may hold.

    Attributes:
        instance: GPU_I_ID of a MIG instance; else empty.
        profile: its profile; else empty.
        weight: its part of the board; the weights of a board sum to 1.
        full_watts: what it draws above idle at full load.
        holdings: in order.
    """

    instance: str
    profile: str
    weight: float
    full_watts: float
    holdings: tuple[Holding, ...]


@dataclass(frozen=True, eq=False)
class Gpu:
    """One board.

    Attributes:
        number: its index on the node.
        uuid: NVIDIA's name for it.
        mode: `exclusive`, `mig` or `shared`.
        idle: what it draws whatever happens.
        slots: its parts.
        before_joules: energy used from the first load of the driver to the fleet's start.
        reloads_ms: when it was loaded anew.
    """

    number: int
    uuid: str
    mode: str
    idle: PowerCurve
    slots: tuple[Slot, ...]
    before_joules: float
    reloads_ms: tuple[int, ...]

    @cached_property
    def active(self) -> PowerCurve:
        """What all holders compute."""
        nothing = PowerCurve(self.idle.edges_ms, np.zeros(len(self.idle.edges_ms)))
        return PowerCurve.sum([nothing, *(holding.active for holding in self.holdings)])

    @cached_property
    def board(self) -> PowerCurve:
        """The whole board."""
        return PowerCurve.sum([self.active, self.idle])

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """Of all slots."""
        return tuple(holding for slot in self.slots for holding in slot.holdings)

    def since_driver_joules(self, at_ms: Int64s) -> Floats:
        """NVML's counter: energy since the driver was loaded last, the first time long before the fleet's start."""
        loads = np.array(self.reloads_ms, dtype=np.int64)
        bases = np.concatenate([
            self.board.energy_joules(np.zeros(1)) - self.before_joules, self.board.energy_joules(loads),
        ])  # fmt: skip
        joules: Floats = self.board.energy_joules(at_ms) - bases[np.searchsorted(loads, at_ms, side="right")]
        return joules

    def idle_of(self, slot: Slot) -> PowerCurve:
        """The part of the idle power that belongs to one slot, held or not; on a shared GPU no such part exists."""
        return self.idle.weighted(self.idle.edges_ms[[0, -1]], [slot.weight])

    def held_idle(self) -> Iterator[tuple[Slot, Holding, PowerCurve]]:
        """The part of the idle power that is each holding's: its slot's part, on a shared GPU that of one holder."""
        for slot in self.slots:
            for holding in slot.holdings:
                if self.mode == "shared":
                    yield slot, holding, self.evenly(self.idle, holding)
                else:
                    yield slot, holding, self.idle.weighted(holding.span_ms, [slot.weight])

    def evenly(self, curve: PowerCurve, holding: Holding) -> PowerCurve:
        """The curve divided evenly among those who hold a part of the board at a time: this holding's part."""
        bounds = np.unique([edge for other in self.holdings for edge in other.span_ms])
        middles = (bounds[:-1] + bounds[1:]) / 2
        held = [[begin < middle < end for begin, end in (h.span_ms for h in self.holdings)] for middle in middles]
        counts = np.array(held, dtype=np.float64).sum(axis=1)
        begin, end = holding.span_ms
        return curve.weighted(bounds, np.where((middles > begin) & (middles < end), 1 / np.maximum(counts, 1), 0.0))


def gpus(rng: np.random.Generator, spec: FleetSpec, node: Node, boards: Sequence[GpuSpec]) -> tuple[Gpu, ...]:
    """The GPUs of one node, with pods that come and go on them."""
    return tuple(_gpu(rng, spec, node, number, board) for number, board in enumerate(boards))


def _gpu(rng: np.random.Generator, spec: FleetSpec, node: Node, number: int, board: GpuSpec) -> Gpu:
    begin, end = spec.begin_ms - MS_PER_HOUR, spec.end_ms + MS_PER_HOUR
    match board.mode:
        case "mig":
            slices = [int(profile.partition("g.")[0]) for profile in board.profiles]
            parts = [
                (str(3 + i), p, n / sum(slices)) for i, (p, n) in enumerate(zip(board.profiles, slices, strict=True))
            ]
        case "shared":
            parts = [("", "", 1 / board.replicas)] * board.replicas
        case _:
            parts = [("", "", 1.0)]
    uuid = f"GPU-{random_uid(rng)}"
    idle_watts = float(rng.uniform(*IDLE_WATTS))
    wobble = Demand(idle_watts * IDLE_WOBBLE).curve(rng, begin, end, 0)
    idle = PowerCurve.of_watts(wobble.edges_ms, idle_watts * (1 - IDLE_WOBBLE) + wobble.watts)
    before = float(rng.uniform(1e6, 1e7))
    slots = tuple(_slot(rng, spec, node, f"{number}{index}", part) for index, part in enumerate(parts))
    reloads = tuple(spread_times(rng, board.driver_reloads, spec.begin_ms, spec.end_ms))
    return Gpu(number, uuid, board.mode, idle, slots, before, reloads)


def _slot(rng: np.random.Generator, spec: FleetSpec, node: Node, place_name: str, part: tuple[str, str, float]) -> Slot:
    instance, profile, weight = part
    full_watts = BUSY_WATTS * weight
    holdings: list[Holding] = []
    begin = spec.begin_ms - int(rng.integers(0, HELD_MS[0]))
    while begin < spec.end_ms:
        length = int(np.exp(rng.uniform(*np.log(HELD_MS))))
        number = len(holdings)
        kind = JOBS[(number + int(place_name)) % len(JOBS)]
        workload = Workload(kind.namespace, f"{kind.name}-{node.name}-{place_name}-{number}", kind.kind, kind.demand)
        where = Placement(node.name, tuple(flat_spans(node.flat_dram_ms)), ((begin, begin + length),), spec.midnight_ms)
        pod = place(rng, workload, named(rng, workload, 0, "7c9f4d5b6d"), where)
        holdings.append(Holding(pod, where.runs_ms[0], _computing(rng, where.runs_ms[0], full_watts)))
        begin += length + int(rng.integers(*FREE_MS))
    return Slot(instance, profile, weight, full_watts, tuple(holdings))


def _computing(rng: np.random.Generator, span_ms: Span, full_watts: float) -> PowerCurve:
    """What a holder draws above idle: never more than its part can, and nothing for a fifth of the time."""
    begin, end = span_ms
    curve = Demand(full_watts * float(rng.uniform(*LOAD))).curve(rng, begin, end, 0)
    capped = PowerCurve.of_watts(curve.edges_ms, np.minimum(curve.watts, full_watts))
    lazy = int((end - begin) * LAZY_SHARE)
    pause = begin + int(rng.integers(end - begin - lazy))
    return capped.silenced([(pause, pause + lazy)])
