"""Kepler's GPU boards, made by hand."""

from pipeline.samples import Transport
from pipeline.sources.meters import kepler_gpus as source
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.gpus import CEILING_WATTS, FoldedGpus
from pipeline.transforms.kepler_gpus import fold_kepler_boards
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Window
from tests.transforms.made import (
    MAX_GAP_SECONDS,
    Points,
    line,
    scrapes,
    unowned,
    window_of,
)
from tests.transforms.made_gpus import Boards

GAP_MS = MAX_GAP_SECONDS * 1000
AT = scrapes("09:50", "11:10")
BORN = 5e6  # NVML's counter began long ago


def gpus_of(transport: Transport, window: Window, *, legacy: bool = False) -> FoldedGpus:
    read = source.read_legacy if legacy else source.read
    counters = read(transport, [], window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS)
    assert counters is not None
    return fold_kepler_boards(*counters, GAP_MS, CEILING_WATTS)


def folded(transport: Transport, window: Window, step_minutes: int = 60, *, legacy: bool = False) -> Energy:
    rules = FoldRules("demo", GAP_MS, step_minutes)
    return book(gpus_of(transport, window, legacy=legacy).folded, window, rules, unowned(window), None)


class Made(Boards):
    """Boards and pods as new Kepler shows them, in joules."""

    def board(self, total: Points, active: Points = (), idle: Points = (), uuid: str = "GPU-a") -> "Made":
        for metric, points in ((source.TOTAL, total), (source.ACTIVE, active), (source.IDLE, idle)):
            if points:
                self.add(metric, points, node_name="n1", gpu_uuid=uuid)
        return self

    def steady(self, uuid: str = "GPU-a", scale: float = 1.0) -> "Made":
        """300 W, of them 200 W active; `scale`: how much more or less Kepler's own counters see."""
        return self.board(line(300, AT, BORN), line(200 * scale, AT), line(100 * scale, AT), uuid)

    def pod(self, points: Points, uid: str = "u1", name: str = "trainer") -> "Made":
        self.add(source.PODS, points, node_name="n1", pod_id=uid, pod_name=name, pod_namespace="llm", state="running")
        return self

    def hour(self, step_minutes: int = 60) -> Energy:
        return folded(self, window_of(0, 1), step_minutes)
