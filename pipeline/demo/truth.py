"""What physically happened in a simulated fleet, hour by hour: the joules that meters and pipeline are held against.

They contain what no sample shows: the tail after the last scrape, and what ran while a meter did not.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from pipeline.demo.gpus import Gpu
from pipeline.demo.nodes import Node
from pipeline.demo.pods import Pod
from pipeline.demo.power import PowerCurve
from pipeline.demo.processes import Container, Process
from pipeline.samples import Floats
from pipeline.tables import NUMBER, TEXT, TIMESTAMP
from pipeline.units import MS_PER_HOUR

PLACE: list[tuple[str, pa.DataType]] = [("hour_utc", TIMESTAMP), ("node", TEXT)]
POD: list[tuple[str, pa.DataType]] = [("namespace", TEXT), ("pod", TEXT), ("pod_uid", TEXT)]
SPLIT: list[tuple[str, pa.DataType]] = [("active_joules", NUMBER), ("idle_joules", NUMBER)]
PODS = pa.schema([*PLACE, ("component", TEXT), *POD, ("energy_joules", NUMBER)])
NODES = pa.schema([*PLACE, ("component", TEXT), *SPLIT])
CONTAINERS = pa.schema([
    *PLACE, ("component", TEXT), *POD, ("container_id", TEXT), ("container", TEXT), ("energy_joules", NUMBER),
])  # fmt: skip
PROCESSES = pa.schema([
    *PLACE, ("component", TEXT), ("pid", pa.int64()), ("exe", TEXT), ("cmdline", TEXT), ("container_id", TEXT),
    ("pod_uid", TEXT), ("vm_name", TEXT), ("energy_joules", NUMBER),
])  # fmt: skip
GPUS = pa.schema([*PLACE, ("gpu_uuid", TEXT), *SPLIT])
HOLDERS = pa.schema([*PLACE, ("gpu_uuid", TEXT), ("gpu_instance", TEXT), *POD, *SPLIT])
PLATFORMS = pa.schema([*PLACE, ("energy_joules", NUMBER)])

Row = tuple[object, ...]


class Hours:
    """Lays power curves onto the fleet's hours."""

    def __init__(self, start_ms: int, hours: int) -> None:
        self.edges_ms = np.arange(hours + 1, dtype=np.int64) * MS_PER_HOUR
        self.lefts_us: list[int] = ((start_ms + self.edges_ms[:-1]) * 1000).tolist()

    def joules(self, curve: PowerCurve) -> list[float]:
        """Energy of each hour."""
        energy: Floats = np.diff(curve.energy_joules(self.edges_ms))
        made: list[float] = energy.tolist()
        return made

    def rows(self, curve: PowerCurve, *who: object) -> Iterator[Row]:
        """A row for each hour with energy."""
        hourly = zip(self.lefts_us, self.joules(curve), strict=True)
        yield from ((hour, *who, joules) for hour, joules in hourly if joules > 0)

    def split_rows(self, active: PowerCurve, idle: PowerCurve, *who: object) -> Iterator[Row]:
        """A row for each hour, with the energy of both curves."""
        both = zip(self.lefts_us, self.joules(active), self.joules(idle), strict=True)
        yield from ((hour, *who, *joules) for hour, *joules in both)


def pod_rows(hours: Hours, pods: Iterable[Pod]) -> Iterator[Row]:
    """Rows of `PODS`, without the GPUs."""
    for pod in pods:
        for zone, curve in pod.zones.items():
            yield from hours.rows(curve, pod.node, zone, pod.namespace, pod.name, pod.uid)


def container_rows(hours: Hours, containers: Iterable[Container]) -> Iterator[Row]:
    """Rows of `CONTAINERS`."""
    for one in containers:
        pod = one.pod
        for zone in pod.zones:
            who = (pod.node, zone, pod.namespace, pod.name, pod.uid, one.container_id, one.name)
            yield from hours.rows(one.curve(zone), *who)


def process_rows(hours: Hours, node: Node, processes: Iterable[Process]) -> Iterator[Row]:
    """Rows of `PROCESSES`."""
    for one in processes:
        inside = (one.container.container_id, one.container.pod.uid) if one.container else (None, None)
        guest = one.guest.name if one.guest else None
        for zone, curve in one.zones.items():
            yield from hours.rows(curve, node.name, zone, one.pid, one.exe, one.cmdline, *inside, guest)


def holder_rows(hours: Hours, node: Node, gpu: Gpu) -> Iterator[Row]:
    """Rows of `HOLDERS` of one GPU: what each holder computed and its part of idle, and the idle part of nobody."""
    unheld = {"": gpu.idle} if gpu.mode == "shared" else {slot.instance: gpu.idle_of(slot) for slot in gpu.slots}
    free = {instance: hours.joules(idle) for instance, idle in unheld.items()}
    for slot, holding, idle in gpu.held_idle():
        pod = holding.pod
        who = (node.name, gpu.uuid, slot.instance or None, pod.namespace, pod.name, pod.uid)
        both = zip(hours.lefts_us, hours.joules(holding.active), hours.joules(idle), strict=True)
        yield from ((hour, *who, active, held) for hour, active, held in both if active + held > 0)
        free[slot.instance] = [left - held for left, held in zip(free[slot.instance], hours.joules(idle), strict=True)]
    for instance, joules in free.items():
        nobody = (node.name, gpu.uuid, instance or None, None, None, None)
        yield from ((hour, *nobody, 0.0, max(0.0, left)) for hour, left in zip(hours.lefts_us, joules, strict=True))


def gpu_pod_rows(hours: Hours, node: Node, gpu: Gpu) -> Iterator[Row]:
    """Rows of `PODS` for one GPU: what each holder computed and its part of idle."""
    for _, holding, idle in gpu.held_idle():
        pod = holding.pod
        whole = PowerCurve.sum([holding.active, idle])
        yield from hours.rows(whole, node.name, "gpu", pod.namespace, pod.name, pod.uid)


def gpu_node_rows(hours: Hours, node: Node) -> Iterator[Row]:
    """Rows of `NODES` for all GPUs of a node: what has a holder, and what has none."""
    board = PowerCurve.sum([gpu.board for gpu in node.gpus])
    held = PowerCurve.sum([
        board.weighted(board.edges_ms[[0, -1]], [0.0]),
        *(curve for gpu in node.gpus for _, holding, idle in gpu.held_idle() for curve in (holding.active, idle)),
    ])  # fmt: skip
    both = zip(hours.lefts_us, hours.joules(board), hours.joules(held), strict=True)
    yield from ((hour, node.name, "gpu", used, max(0.0, whole - used)) for hour, whole, used in both)


def table(rows: Iterable[Row], schema: pa.Schema) -> pa.Table:
    """The rows as a table."""
    held: Sequence[Row] = list(rows)
    columns = zip(*held, strict=True) if held else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)
