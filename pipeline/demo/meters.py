"""Which meters a simulated node carries, in which version and with which of their known faults; and its GPUs.

All meters of a node read the same physical energy. What each of them does with it: `*_series.py`.
"""

import re
from dataclasses import dataclass
from itertools import pairwise

from pipeline.errors import ConfigError
from pipeline.units import MS_PER_HOUR

Hours = tuple[float, float]

KEPLER_LEVELS = ("node", "pod", "container", "process", "vm")
GPU_MODES = ("exclusive", "mig", "shared")
DCGM_DIALECTS = ("exported", "plain", "pod_name")
A100_PROFILES = ("3g.20gb", "2g.10gb", "1g.5gb", "1g.5gb")


@dataclass(frozen=True, slots=True)
class KeplerMeter:
    """Kepler from 0.10 on.

    Attributes:
        zones: those it shows: package, dram, psys; psys needs a node with a platform share.
        levels: of node, pod, container, process and vm.
        named: whether `node_name` is filled; without Kubernetes and flag it is empty up to 0.11.4.
        gpu: the experimental GPU series of 0.11.4.
        platform: `kepler_platform_watts` from the node's BMC.
        bmc_seconds: how often the BMC looks: it shows the mean between its last two looks, however stale. 0 for the
            mean of the five seconds before each scrape.
        psu_loss: share of the machine's power that its power supplies lose, of what they draw.
        present_hours: installed then and removed then, in hours from the fleet's start; None for all the time.
    """

    zones: tuple[str, ...] = ("package", "dram")
    levels: tuple[str, ...] = ("node", "pod")
    named: bool = True
    gpu: bool = False
    platform: bool = False
    bmc_seconds: int = 0
    psu_loss: float = 0.0
    present_hours: Hours | None = None

    def __post_init__(self) -> None:
        _known("zone", self.zones, ("package", "dram", "psys"))
        _known("level", self.levels, KEPLER_LEVELS)
        _rising(self.present_hours)


@dataclass(frozen=True, slots=True)
class LegacyMeter:
    """Kepler 0.5 to 0.9.

    Attributes:
        version: such as `0.7.12`; the labels and the unit of the container totals follow from it.
        idle: whether containers have idle series of package and dram.
        build_info: whether `kepler_exporter_build_info` is there.
        gpu: whether the node's boards and what containers compute on them are shown.
        gpu_idle: whether boards have idle series.
        honor_labels: whether the node series keep their own `instance` instead of `exported_instance`.
        skips_wraps: whether the three seconds in which a register wraps are lost.
        present_hours: as in `KeplerMeter`.
    """

    version: str = "0.7.12"
    idle: bool = True
    build_info: bool = True
    gpu: bool = False
    gpu_idle: bool = True
    honor_labels: bool = False
    skips_wraps: bool = False
    present_hours: Hours | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"0\.[5-9]\.\d+", self.version):
            raise ConfigError(f"old Kepler ends before 0.10 and begins with 0.5: not {self.version!r}")
        _rising(self.present_hours)

    @property
    def release(self) -> tuple[int, ...]:
        """The version as numbers, for comparisons."""
        return tuple(int(part) for part in self.version.split("."))


@dataclass(frozen=True, slots=True)
class ScaphandreMeter:
    """Scaphandre 0.5 or 1.x.

    Attributes:
        version: `0.5.0` counts the packages; `1.0.2` packages and dram, or psys where there is one.
        containers: whether it runs with `--containers`.
        kubernetes_labels: whether its lookup of pods works; it then still comes 20 s late.
        frozen_hours: while a second scraper freezes all values, in hours from the fleet's start.
        process_power_ratio: factor on every process' power: 0.01 in the fault of 1.0, above 1 in that of 0.x.
        guest_energy_ratio: share of a guest's energy that the guest's own Scaphandre shows (0.2 in all releases); None
            where the guests are not scraped.
        present_hours: as in `KeplerMeter`.
    """

    version: str = "1.0.2"
    containers: bool = True
    kubernetes_labels: bool = True
    frozen_hours: Hours | None = None
    process_power_ratio: float = 1.0
    guest_energy_ratio: float | None = None
    present_hours: Hours | None = None

    def __post_init__(self) -> None:
        _rising(self.frozen_hours)
        _rising(self.present_hours)

    @property
    def old(self) -> bool:
        """Whether this is 0.x."""
        return self.version.startswith("0.")


@dataclass(frozen=True, slots=True)
class DcgmMeter:
    """dcgm-exporter.

    Attributes:
        energy_counter: whether the energy counter is exported; many lists of fields lack it.
        power_gauge: the same for the power gauge.
        activity: whether each MIG instance shows its GR_ENGINE_ACTIVE.
        dialect: `exported`: the holder in exported_pod and so on; `plain`: honorLabels; `pod_name`: the old option.
        hostname_label: `Hostname`, or `hostname` as of May 2026.
        hostname_is_pod: older installs: the exporter pod's name in place of the node's.
        virtual_gpus: whether each pod on a shared GPU is shown; else one of them, arbitrarily.
        collect_seconds: DCGM's own interval, 30 by default; scrapes in between repeat values.
        sentinels: per GPU, samples that hold one of the values that mean "none".
        present_hours: as in `KeplerMeter`.
    """

    energy_counter: bool = True
    power_gauge: bool = True
    activity: bool = False
    dialect: str = "exported"
    hostname_label: str = "Hostname"
    hostname_is_pod: bool = False
    virtual_gpus: bool = True
    collect_seconds: int = 30
    sentinels: int = 0
    present_hours: Hours | None = None

    def __post_init__(self) -> None:
        _known("dialect", (self.dialect,), DCGM_DIALECTS)
        _known("label", (self.hostname_label,), ("Hostname", "hostname"))
        _rising(self.present_hours)


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """One GPU of a node.

    Attributes:
        mode: `exclusive`, `mig` or `shared` (time-slicing).
        profiles: MIG instances.
        replicas: pods that may share it at a time.
        driver_reloads: how often the driver is loaded anew, which sets NVML's energy counter to 0.
    """

    mode: str = "exclusive"
    profiles: tuple[str, ...] = A100_PROFILES
    replicas: int = 3
    driver_reloads: int = 0

    def __post_init__(self) -> None:
        _known("GPU mode", (self.mode,), GPU_MODES)


@dataclass(frozen=True, slots=True)
class Meters:
    """All meters of one node; None for those it does not carry."""

    kepler: KeplerMeter | None = None
    legacy: LegacyMeter | None = None
    scaphandre: ScaphandreMeter | None = None
    dcgm: DcgmMeter | None = None


def span_ms(hours: Hours | None, begin_ms: int, end_ms: int) -> tuple[int, int]:
    """Hours from the fleet's start as a half-open span in milliseconds; all of `begin_ms` to `end_ms` for None."""
    return (begin_ms, end_ms) if hours is None else (round(hours[0] * MS_PER_HOUR), round(hours[1] * MS_PER_HOUR))


def _known(what: str, given: tuple[str, ...], known: tuple[str, ...]) -> None:
    strange = [value for value in given if value not in known]
    if strange or not given:
        raise ConfigError(f"a simulated meter has a {what} of {', '.join(known)}: not {strange or 'none'}")


def _rising(hours: Hours | None) -> None:
    if hours is not None and any(end <= begin for begin, end in pairwise(hours)):
        raise ConfigError(f"{hours} is not a span of hours")


KEPLER_ALONE = Meters(kepler=KeplerMeter())
