"""GPU boards made by hand: labels and (second, value) pairs as dcgm-exporter shows them, folded like the product."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pyarrow as pa

from pipeline.demo.meters import DcgmMeter, GpuSpec, Meters
from pipeline.demo.spec import FleetSpec
from pipeline.sources.meters import dcgm
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.gpu_quarantine import quarantine_gpus
from pipeline.transforms.gpus import FoldedGpus, fold_boards
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window
from tests.transforms.exposed import GAP_MS, Exposed
from tests.transforms.made import Points, line, scrapes, unowned, window_of

ENERGY, POWER, ACTIVITY = dcgm.ENERGY[0], dcgm.POWER[0], dcgm.ACTIVITY[0]
BOARD = {"UUID": "GPU-a", "Hostname": "n1", "instance": "10.0.0.1:9400", "job": "dcgm"}
AT = scrapes("09:45", "12:15")
LIFE_JOULES = 9_817_723.0  # what a board's counter holds long after its driver was loaded
STEADY = line(100, AT, LIFE_JOULES)


class Boards(Exposed):
    """Boards of one exporter unless labels say otherwise."""

    def __init__(self) -> None:
        super().__init__(**BOARD)

    def energy(self, joules: Points, **labels: str) -> "Boards":
        """The energy counter, given in joules, exposed in millijoules."""
        return self.add(ENERGY, [(second, value * 1000) for second, value in joules], **labels)

    def held(self, joules: Points, pod: str, **labels: str) -> "Boards":
        """The same under a holder's labels."""
        return self.energy(joules, exported_pod=pod, exported_namespace="ml", **labels)

    def boards(self, window: Window) -> FoldedGpus:
        """Folded from the extract around a window."""
        return fold_boards(dcgm.read(self, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS), GAP_MS)

    def fold(self, first: int = 0, hours: int = 1, step_minutes: int = 60, presence: Presence | None = None) -> Energy:
        """Rows of `hours` hours from the `first` after `START`."""
        window = window_of(first, hours)
        rules = FoldRules("demo", GAP_MS, step_minutes)
        return book(self.boards(window).folded, window, rules, unowned(window), presence)

    def refused(self, first: int = 0, hours: int = 1) -> pa.Table:
        """Quarantine rows of these hours."""
        window = window_of(first, hours)
        return quarantine_gpus(self.boards(window), window, "demo")

    def splits(self) -> dict[str, str]:
        """How each pod's part was found in the first hour."""
        gpus = self.boards(window_of(0, 1))
        consumers = gpus.folded.consumers
        return {consumers[c].uid: how for c, how in gpus.splits(window_of(0, 1).start_ms).items()}


def cut(points: Points, begin: float, end: float) -> Points:
    """The points with `begin <= second < end`."""
    return [(second, value) for second, value in points if begin <= second < end]


def by_pod(energy: Energy) -> dict[str, float]:
    """Joules by pod, those of idle under `idle`."""
    rows: Sequence[dict[str, object]] = energy.rows.to_pylist()
    named = {"workload": "pod", "idle": "kind", "system": "kind"}
    return {str(row[named[str(row["kind"])]]): float(str(row["energy_joules"])) for row in rows}


def spec_of(meter: DcgmMeter, seed: int, *boards: GpuSpec) -> FleetSpec:
    """One node with these boards, three hours of it, to simulate."""
    start = datetime(2026, 11, 3, 22, tzinfo=UTC)
    return FleetSpec(seed, start, 3, sockets=(1,), pods_per_node=1, meters=(Meters(dcgm=meter),), gpus=(boards,))
