"""The series dcgm-exporter would have shown for a simulated node's GPUs: by board, under the labels of who holds it."""

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.demo.gpus import MODEL, Gpu, Holding, Slot
from pipeline.demo.meters import DcgmMeter, span_ms
from pipeline.demo.nodes import Node, inside
from pipeline.demo.pods import suffix
from pipeline.demo.series import Series, Target
from pipeline.samples import Bools, Floats, Int64s
from pipeline.units import MS_PER_SECOND

PORT = 9400
POWER_OVER_MS = 1_000
MILLI = 1000
ENERGY_SENTINELS = (9223372036854775794.0, 9223372036854775792.0, 140737488355328.0)
POWER_SENTINELS = (2147483632.0, 2147483635.0)
ENERGY, POWER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "DCGM_FI_DEV_POWER_USAGE"
ACTIVITY = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
HOLDER_LABELS = {
    "exported": ("exported_namespace", "exported_pod", "exported_container"),
    "plain": ("namespace", "pod", "container"),
    "pod_name": ("pod_namespace", "pod_name", "container_name"),
}


class DcgmSeries:
    """All series of one dcgm-exporter."""

    def __init__(self, rng: np.random.Generator, node: Node, start_ms: int, meter: DcgmMeter) -> None:
        """Prepare.

        Args:
            rng: for DCGM's phase, sentinels and names.
            node: the machine.
            start_ms: the fleet's start since the epoch.
            meter: what this exporter shows, and how.
        """
        self.rng = rng
        self.node = node
        self.meter = meter
        begin, end = span_ms(meter.present_hours, -(10**12), 10**12)
        self.scrapes_ms = inside(node.exporter_scrapes_ms["dcgm"], [(begin, end)])
        every = meter.collect_seconds * MS_PER_SECOND
        phase = int(rng.integers(every))
        self.collected_ms: Int64s = (self.scrapes_ms - phase) // every * every + phase
        self.pod = f"nvidia-dcgm-exporter-{suffix(rng)}"
        target = {"instance": f"{node.host}:{PORT}", "job": "nvidia-dcgm-exporter"}
        self.own = {"namespace": "gpu-operator", "pod": self.pod, "container": "nvidia-dcgm-exporter"}
        self.target = Target(target, start_ms)

    def all(self) -> Iterator[Series]:
        """Every series, empty ones left out."""
        for gpu in self.node.gpus:
            yield from self._gpu(gpu)

    def _gpu(self, gpu: Gpu) -> Iterator[Series]:
        at = self.collected_ms
        values: dict[str, Floats] = {}
        if self.meter.energy_counter:
            values[ENERGY] = np.floor(gpu.since_driver_joules(at) * MILLI)
        if self.meter.power_gauge:
            joules = gpu.board.energy_joules(at) - gpu.board.energy_joules(at - POWER_OVER_MS)
            values[POWER] = np.round(joules / POWER_OVER_MS * MS_PER_SECOND, 3)
        self._spoil(values)
        for labels, rows, slot in self._label_sets(gpu):
            for metric, shown in values.items():
                yield self.target.series(metric, labels, self.scrapes_ms[rows], shown[rows])
            if self.meter.activity and slot is not None and gpu.mode == "mig":
                yield self.target.series(ACTIVITY, labels, self.scrapes_ms[rows], self._activity(slot)[rows])

    def _spoil(self, values: Mapping[str, Floats]) -> None:
        """Put the values that mean "none" at random scrapes."""
        for metric, sentinels in ((ENERGY, ENERGY_SENTINELS), (POWER, POWER_SENTINELS)):
            if metric in values:
                rows = self.rng.permutation(len(self.scrapes_ms))[: self.meter.sentinels]
                values[metric][rows] = np.resize(sentinels, len(rows))

    def _activity(self, slot: Slot) -> Floats:
        """Share of its full power that an instance used since the collection before."""
        before = self.collected_ms - self.meter.collect_seconds * MS_PER_SECOND
        used = sum(
            (h.active.energy_joules(self.collected_ms) - h.active.energy_joules(before) for h in slot.holdings),
            start=np.zeros(len(before)),
        )
        activity: Floats = np.round(used / (slot.full_watts * self.meter.collect_seconds), 6)
        return activity

    def _label_sets(self, gpu: Gpu) -> Iterator[tuple[dict[str, str], Bools, Slot | None]]:
        """Each label set of the board, the scrapes that show it, and the slot it stands for."""
        board = self._board_labels(gpu)
        if gpu.mode != "shared":
            for slot in gpu.slots:
                instance = {"GPU_I_PROFILE": slot.profile, "GPU_I_ID": slot.instance} if slot.instance else {}
                for holder, rows in self._holders(slot.holdings):
                    yield self._labels(board | instance, holder), rows, slot
            return
        held = np.zeros(len(self.scrapes_ms), dtype=np.bool_)
        for number, slot in enumerate(gpu.slots):
            virtual = {"vgpu": str(number)} if self.meter.virtual_gpus else {}
            for holder, rows in self._holders(slot.holdings):
                # without virtual GPUs there is one row for the board: that of the first slot with a holder
                shown = rows if self.meter.virtual_gpus else rows & ~held
                if holder is not None and shown.any():
                    yield self._labels(board | virtual, holder), shown, None
            held |= np.logical_or.reduce([rows for holder, rows in self._holders(slot.holdings) if holder is not None])
        if not held.all():
            yield self._labels(board, None), ~held, None

    def _holders(self, holdings: tuple[Holding, ...]) -> Iterator[tuple[Holding | None, Bools]]:
        """Who holds a slot at which collections; None for nobody."""
        free = np.ones(len(self.collected_ms), dtype=np.bool_)
        for holding in holdings:
            begin, end = holding.span_ms
            rows = (self.collected_ms >= begin) & (self.collected_ms < end)
            free &= ~rows
            if rows.any():
                yield holding, rows
        if free.any():
            yield None, free

    def _board_labels(self, gpu: Gpu) -> dict[str, str]:
        return {
            "gpu": str(gpu.number),
            "UUID": gpu.uuid,
            "pci_bus_id": f"00000000:{7 + gpu.number:02X}:00.0",
            "device": f"nvidia{gpu.number}",
            "modelName": MODEL,
            self.meter.hostname_label: self.pod if self.meter.hostname_is_pod else self.node.name,
            "DCGM_FI_DRIVER_VERSION": "570.124.06",
        }

    def _labels(self, board: dict[str, str], holding: Holding | None) -> dict[str, str]:
        """The labels as stored: with honorLabels the holder's take the place of the exporter's, also when empty."""
        names = HOLDER_LABELS[self.meter.dialect]
        who = ("", "", "") if holding is None else (holding.pod.namespace, holding.pod.name, holding.pod.owner.name)
        return board | self.own | dict(zip(names, who, strict=True))
