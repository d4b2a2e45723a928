"""The fleets of the trap table. Each is loaded into one Prometheus, and every line about it reads the same samples."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipeline.demo.fleet import Fleet, FleetSpec, simulate
from pipeline.demo.meters import DcgmMeter, GpuSpec, KeplerMeter, LegacyMeter, Meters, ScaphandreMeter
from pipeline.demo.nodes import outside
from pipeline.demo.series import METRIC
from pipeline.samples import Block
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE

START = datetime(2026, 11, 3, 10, tzinfo=UTC)
SCRAPE_SECONDS = 30
GAP_MINUTES = (22, 30)  # of every hour: shorter than max_gap
DOWN_MINUTES = (40, 65)  # of the second of every three hours, over its edge: longer
JUMP_BEFORE_END_MS = 40 * MS_PER_MINUTE
OVERFLOW_JOULES = 2**64 / 1e6  # what a difference below zero is in unsigned microjoules
BY_COMPONENT = ("kepler_container_package_joules_total", "kepler_container_dram_joules_total")
EVERY = Meters(KeplerMeter(), LegacyMeter(), ScaphandreMeter())
TOO_LOW, TOO_LOW_AT = 0.01, "10.0.0.12:8080"  # a fault of 1.0, on the second node
BOARDS = ((GpuSpec("exclusive"),), (GpuSpec("mig"),), (GpuSpec("shared"),))


@dataclass(frozen=True, eq=False, kw_only=True)
class AlteredFleet(Fleet):
    """A fleet of whose samples something was lost or spoilt on the way; its truth stays.

    Attributes:
        alter: from one block a metric to those that are stored.
    """

    alter: Callable[[list[Block]], list[Block]]

    def blocks(self) -> list[Block]:
        """As `Fleet.blocks`, altered."""
        return self.alter(super().blocks())


def altered(spec: FleetSpec, alter: Callable[[list[Block]], list[Block]]) -> Fleet:
    """The fleet of a spec with other samples."""
    fleet = simulate(spec)
    return AlteredFleet(**{field.name: getattr(fleet, field.name) for field in fields(Fleet)}, alter=alter)


def unscraped(spec: FleetSpec, hours: range, minutes: tuple[int, int]) -> Fleet:
    """The fleet of a spec of which nothing is scraped in these minutes of these hours."""
    spans = [
        (hour * MS_PER_HOUR + minutes[0] * MS_PER_MINUTE, hour * MS_PER_HOUR + minutes[1] * MS_PER_MINUTE)
        for hour in hours
    ]
    fleet = simulate(spec)
    nodes = tuple(
        replace(
            node,
            scrapes_ms=outside(node.scrapes_ms, spans),
            exporter_scrapes_ms={name: outside(at, spans) for name, at in node.exporter_scrapes_ms.items()},
        )
        for node in fleet.nodes
    )
    return replace(fleet, nodes=nodes, ksm_scrapes_ms=outside(fleet.ksm_scrapes_ms, spans))


def metric_of(block: Block) -> str:
    """Its name."""
    return str(block.labels[METRIC][0])


def totals_alone(blocks: list[Block]) -> list[Block]:
    """Old Kepler whose container series by component were dropped to save cardinality."""
    return [block for block in blocks if metric_of(block) not in BY_COMPONENT]


def jumping(at_ms: int) -> Callable[[list[Block]], list[Block]]:
    """The counter of one pod, the first of the longest series, rises by an overflow of its unsigned difference."""

    def alter(block: Block) -> Block:
        if metric_of(block) != "kepler_pod_cpu_joules_total":
            return block
        row = int(np.argmax(np.diff(block.offsets)))
        own = slice(int(block.offsets[row]), int(block.offsets[row + 1]))
        values = block.values.copy()
        values[own] += np.where(block.stamps_ms[own] >= at_ms, OVERFLOW_JOULES, 0.0)
        return replace(block, values=values)

    return lambda blocks: [alter(block) for block in blocks]


def with_cpu_usage(blocks: list[Block]) -> list[Block]:
    """Scaphandre shows what share of all cores each process used: of what its power would have to be."""
    by_name = {metric_of(block): block for block in blocks}
    host, process = (by_name[f"scaph_{part}_microwatts"] for part in ("host_power", "process_power_consumption"))
    watts = dict(zip(_places(host), host.values.tolist(), strict=True))
    whole = np.array([watts[place] for place in _places(process)])
    ratio = np.array([TOO_LOW if instance == TOO_LOW_AT else 1.0 for instance, _ in _places(process)])
    name = pa.array(["scaph_process_cpu_usage_percentage"] * process.labels.num_rows)
    labels = process.labels.set_column(process.labels.column_names.index(METRIC), METRIC, name)
    return [*blocks, Block(labels, process.offsets, process.stamps_ms, process.values / ratio / whole * 100)]


def _places(block: Block) -> list[tuple[str, int]]:
    """Instance and stamp of each sample."""
    instances = np.repeat(np.array(block.labels["instance"].to_pylist()), np.diff(block.offsets))
    return list(zip(instances.tolist(), block.stamps_ms.tolist(), strict=True))


def processors(seed: int, hours: int) -> FleetSpec:
    """Three nodes of one, two, one socket, with every meter of processors."""
    return FleetSpec(
        seed, START, hours, sockets=(1, 2, 1), scrape_seconds=SCRAPE_SECONDS, pods_per_node=5, meters=(EVERY,) * 3
    )


def calm(seed: int, hours: int) -> FleetSpec:
    """The same, and three nodes with DCGM: an exclusive, a MIG and a time-sliced board."""
    meters = (*[EVERY] * 3, *[Meters(dcgm=DcgmMeter(collect_seconds=10, activity=True))] * 3)
    return replace(processors(seed, hours), sockets=(1, 2, 1, 1, 1, 1), meters=meters, gpus=((),) * 3 + BOARDS)


def churn(seed: int, hours: int) -> FleetSpec:
    """Jobs from 20 s to 20 minutes, pods replaced in mid-hour, crash loops."""
    return replace(processors(seed, hours), jobs_per_hour=20.0, rollout_ratio=0.5, crash_loops=2)


def restarts(seed: int, hours: int) -> FleetSpec:
    """Both Keplers restart once an hour."""
    return replace(processors(seed, hours), kepler_restarts=hours)


def zero_resets(seed: int, hours: int) -> FleetSpec:
    """Once an hour the dram zone stands still, and Kepler sets the pods' dram counters to 0."""
    return replace(processors(seed, hours), dram_resets=hours)


def late_names(seed: int, hours: int) -> FleetSpec:
    """Pods are replaced, and Kepler learns every pod's name after it has shown its counter."""
    return replace(processors(seed, hours), rollout_ratio=1.0, jobs_per_hour=6.0, late_name_ratio=1.0)


def releases(seed: int, hours: int) -> FleetSpec:
    """Old Kepler: 0.7.3 that says so, 0.7.3 that does not, 0.7.8, and one that skips wraps."""
    old = (
        LegacyMeter("0.7.3"), LegacyMeter("0.7.3", build_info=False), LegacyMeter("0.7.8"),
        LegacyMeter("0.7.12", skips_wraps=True),
    )  # fmt: skip
    return FleetSpec(
        seed, START, hours, sockets=(1,) * 4, pods_per_node=4, meters=tuple(Meters(legacy=one) for one in old)
    )


def zones(seed: int, hours: int) -> FleetSpec:
    """Kepler with psys beside package and dram; Scaphandre takes psys for its host."""
    meters = Meters(KeplerMeter(zones=("package", "dram", "psys")), scaphandre=ScaphandreMeter())
    return FleetSpec(
        seed, START, hours, sockets=(1, 2), pods_per_node=4, meters=(meters,) * 2, platform_shares=(0.3, 0.3)
    )


def scaphandres(seed: int, hours: int) -> FleetSpec:
    """A second scraper for half an hour; process power 100 times too low; 0.5."""
    faults = (
        ScaphandreMeter(frozen_hours=(0.4, 0.9)), ScaphandreMeter(process_power_ratio=TOO_LOW),
        ScaphandreMeter("0.5.0"),
    )  # fmt: skip
    return FleetSpec(
        seed, START, hours, sockets=(1, 1, 1), pods_per_node=4, meters=tuple(Meters(scaphandre=one) for one in faults)
    )


def boards(seed: int, hours: int) -> FleetSpec:
    """DCGM with sentinels, with reloads of the driver, without its energy counter, with one arbitrary holder."""
    faults = (
        DcgmMeter(collect_seconds=10, sentinels=2 * hours), DcgmMeter(collect_seconds=10),
        DcgmMeter(collect_seconds=10, energy_counter=False), DcgmMeter(collect_seconds=10, virtual_gpus=False),
    )  # fmt: skip
    held = GpuSpec(), GpuSpec(driver_reloads=hours), GpuSpec(), GpuSpec("shared")
    return FleetSpec(
        seed, START, hours, sockets=(1,) * 4, pods_per_node=1, meters=tuple(Meters(dcgm=one) for one in faults),
        gpus=tuple((one,) for one in held),
    )  # fmt: skip


def _jump(seed: int, hours: int) -> Fleet:
    spec = replace(processors(seed, hours), meters=(Meters(KeplerMeter()),) * 3)
    return altered(spec, jumping(spec.start_ms + hours * MS_PER_HOUR - JUMP_BEFORE_END_MS))


def _of(spec_of: Callable[[int, int], FleetSpec]) -> Callable[[int, int], Fleet]:
    return lambda seed, hours: simulate(spec_of(seed, hours))


FLEETS: Mapping[str, Callable[[int, int], Fleet]] = {
    **{made.__name__: _of(made) for made in (calm, churn, restarts, zero_resets, late_names)},
    "gaps": lambda seed, hours: unscraped(calm(seed, hours), range(hours), GAP_MINUTES),
    "outages": lambda seed, hours: unscraped(calm(seed, hours), range(1, hours, 3), DOWN_MINUTES),
    "jump": _jump,
    "releases": lambda seed, hours: altered(releases(seed, hours), totals_alone),
    "scaphandres": lambda seed, hours: altered(scaphandres(seed, hours), with_cpu_usage),
    **{made.__name__: _of(made) for made in (zones, boards)},
}
