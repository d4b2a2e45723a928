"""Kepler's experimental series of GPUs (0.11.4) and of the whole machine as its BMC reports it."""

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.demo.gpus import MODEL, Gpu, Holding
from pipeline.demo.kepler_series import JOULE_DECIMALS, WATTS_OVER_MS, NodeSeries, since
from pipeline.demo.nodes import Node, inside
from pipeline.demo.power import PowerCurve
from pipeline.demo.series import Series, filled
from pipeline.samples import Floats, Int64s
from pipeline.units import MS_PER_SECOND

PLATFORM_SHARE = 0.3  # fans, disks and board, on top of everything else


class DeviceSeries:
    """GPU and platform series of one Kepler, as far as it is asked for them."""

    def __init__(self, kepler: NodeSeries) -> None:
        self.kepler = kepler
        self.node = kepler.node

    def all(self) -> Iterator[Series]:
        """Every series, empty ones left out."""
        meter = self.kepler.meter
        if len(self.kepler.scrapes_ms) == 0:
            return
        if meter.gpu:
            for gpu in self.node.gpus:
                yield from filled(self._board(gpu))
            yield from filled(self._pods())
        if meter.platform:
            yield self._platform()

    def _board(self, gpu: Gpu) -> Iterator[Series]:
        """NVML's total since the driver was loaded; active and idle since Kepler started: they never add up to it."""
        at = self.kepler.scrapes_ms
        began = np.unique(self.kepler.began_ms(at))
        labels = {"gpu": str(gpu.number), "gpu_name": MODEL, "gpu_uuid": gpu.uuid, "vendor": "nvidia"}
        total = np.round(gpu.since_driver_joules(at), JOULE_DECIMALS)
        for metric, values in (
            ("kepler_node_gpu_joules_total", total),
            ("kepler_node_gpu_active_joules_total", since(gpu.active, began, at)),
            ("kepler_node_gpu_idle_joules_total", since(gpu.idle, began, at)),
            ("kepler_node_gpu_watts", _watts(gpu.board, at)),
            ("kepler_node_gpu_active_watts", _watts(gpu.active, at)),
            ("kepler_node_gpu_idle_watts", _watts(gpu.idle, at)),
            ("kepler_node_gpu_info", np.ones(len(at))),
        ):
            yield self.kepler.target.series(metric, self.kepler.who | labels, at, values)

    def _pods(self) -> Iterator[Series]:
        """Each pod's sum over its living processes, without the GPU's name, and only while it is above 0."""
        for gpu, holding in ((board, one) for board in self.node.gpus for one in board.holdings):
            pod, at = holding.pod, inside(self.kepler.scrapes_ms, [holding.span_ms])
            labels = {"pod_id": pod.uid, "pod_name": pod.name, "pod_namespace": pod.namespace, "state": "running"}
            # 0.11.4 does not know MIG: it divides the board's active power evenly
            curve = gpu.evenly(gpu.active, holding) if gpu.mode == "mig" else holding.active
            joules = self._living_joules(curve, holding, at)
            shown = joules > 0
            metric = "kepler_pod_gpu_joules_total"
            yield self.kepler.target.series(metric, self.kepler.who | labels, at[shown], joules[shown])

    def _living_joules(self, curve: PowerCurve, holding: Holding, at_ms: Int64s) -> Floats:
        """One of the pod's two processes ends half-way, and with it all it had used leaves the sum."""
        begin, end = holding.span_ms
        if len(at_ms) == 0:
            return np.zeros(0)
        exit_ms = (begin + end) // 2
        first = np.maximum(self.kepler.began_ms(at_ms), begin)
        joules = curve.energy_joules(at_ms) - curve.energy_joules(first)
        gone = curve.energy_joules(np.full(len(at_ms), exit_ms)) - curve.energy_joules(np.minimum(first, exit_ms))
        living: Floats = np.round(joules - np.where(at_ms >= exit_ms, gone / 2, 0.0), JOULE_DECIMALS)
        return living

    def _platform(self) -> Series:
        at, every_ms = self.kepler.scrapes_ms, self.kepler.meter.bmc_seconds * MS_PER_SECOND
        labels = {
            "source": "redfish", "bmc_id": f"bmc-{self.node.name}", "chassis_id": "1", "source_id": "0",
            "source_name": "Server Power Control", "source_type": "PowerControl",
        }  # fmt: skip
        looked = at // every_ms * every_ms if every_ms else at
        watts = _watts(platform_curve(self.node, self.kepler.active), looked, every_ms or WATTS_OVER_MS)
        return self.kepler.target.series("kepler_platform_watts", self.kepler.who | labels, at, watts)


def platform_curve(node: Node, active: Mapping[str, PowerCurve]) -> PowerCurve:
    """The whole machine: packages, dram, GPUs, `PLATFORM_SHARE` of them on top, and what the power supplies lose."""
    zones = [curves[zone] for curves in (active, node.idle) for zone in ("package", "dram")]
    inner = PowerCurve.sum([*zones, *(gpu.board for gpu in node.gpus)])
    loss = node.meters.kepler.psu_loss if node.meters.kepler else 0.0
    return inner.weighted(inner.edges_ms[[0, -1]], [(1 + PLATFORM_SHARE) / (1 - loss)])


def _watts(curve: PowerCurve, at_ms: Int64s, over_ms: int = WATTS_OVER_MS) -> Floats:
    """Mean of the last five seconds, or of another time."""
    joules = curve.energy_joules(at_ms) - curve.energy_joules(at_ms - over_ms)
    watts: Floats = np.round(joules / over_ms * MS_PER_SECOND, JOULE_DECIMALS)
    return watts
