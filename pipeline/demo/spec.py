"""What a fleet shall be like: one frozen description from which everything follows, the seed included."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pipeline.demo.meters import DcgmMeter, GpuSpec, KeplerMeter, LegacyMeter, Meters, ScaphandreMeter
from pipeline.demo.pods import Workload
from pipeline.demo.workloads import DEMO
from pipeline.errors import ConfigError
from pipeline.units import MS_PER_HOUR, MS_PER_MINUTE
from pipeline.window import Window, floor_hour, to_ms

DEMO_HOURS = 48


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several Prometheus servers that scrape the same targets.

    Attributes:
        number: its own scrape phases, jitter and misses follow from it.
        clock_ms: how far its clock is ahead: so much later are its stamps.
        phase_ms: when in each interval it scrapes; None for random, target by target.
        downtimes_ms: half-open spans, relative to the fleet's start, in which it is down.
    """

    number: int
    clock_ms: int = 0
    phase_ms: int | None = None
    downtimes_ms: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """A simulated cluster over `hours` whole hours, scraped a little longer at both ends.

    Attributes:
        seed: equal specs give equal fleets, to the last bit.
        start: whole UTC hour.
        sockets: one entry a node: its number of CPU sockets.
        lead_minutes: scraped before the first hour; `tail_minutes` after the last.
        pods_per_node: long-lived pods, where `workloads` does not name them.
        rollout_ratio: share of those that are replaced once or twice on the way.
        jobs_per_hour: short jobs in the whole fleet.
        crash_loops: pods that end and start again and again.
        late_name_ratio: share of pods whose name Kepler learns only after some scrapes.
        kepler_restarts: per node; `double_restarts` of them are followed by another within two minutes.
        dram_resets: per node, how often the dram zone stands still and the pods' dram counters fall to 0.
        missed_scrape_ratio: of each target.
        silences: per node, spans without an answer, of 5 to 150 minutes; `downtimes`: of Prometheus itself.
        with_ksm: whether kube-state-metrics is scraped.
        meters: per node, what measures it; empty for Kepler 0.11 on each.
        gpus: per node, its boards; pods that come and go on them are added. Empty for none.
        platform_shares: per node, psys is package and dram and this share on top; 0 for a node without psys. Empty for
            none.
        guests: per node, virtual machines beside the pods. Empty for none.
        replica: whose scrapes these are; None for those of a server without replicas. What happened is the same for
            all, `downtimes` aside, of which a replica has its own.
    """

    seed: int
    start: datetime
    hours: int
    cluster: str = "demo"
    sockets: tuple[int, ...] = (1, 2, 1)
    scrape_seconds: int = 30
    ksm_scrape_seconds: int = 30
    lead_minutes: int = 15
    tail_minutes: int = 15
    workloads: tuple[Workload, ...] = ()
    pods_per_node: int = 8
    rollout_ratio: float = 0.0
    jobs_per_hour: float = 0.0
    crash_loops: int = 0
    late_name_ratio: float = 0.0
    kepler_restarts: int = 0
    double_restarts: int = 0
    dram_resets: int = 0
    missed_scrape_ratio: float = 0.0
    silences: int = 0
    downtimes: int = 0
    with_ksm: bool = True
    meters: tuple[Meters, ...] = ()
    gpus: tuple[tuple[GpuSpec, ...], ...] = ()
    platform_shares: tuple[float, ...] = ()
    guests: tuple[int, ...] = ()
    replica: Replica | None = None

    def __post_init__(self) -> None:
        Window(self.start, self.start + timedelta(hours=1))
        if self.hours < 1 or not self.sockets or self.pods_per_node < 1:
            raise ConfigError("a fleet needs at least one hour, one node and one pod a node")
        for name in ("meters", "gpus", "platform_shares", "guests"):
            given = len(getattr(self, name))
            if given not in (0, len(self.sockets)):
                raise ConfigError(f"a fleet of {len(self.sockets)} nodes has {given} entries in {name}")
        for meters, share in zip(self.meters, self.platform_shares or (0.0,) * len(self.sockets), strict=False):
            if meters.kepler is not None and "psys" in meters.kepler.zones and share <= 0:
                raise ConfigError("Kepler shows the zone psys only on a node with a platform share")

    @property
    def window(self) -> Window:
        """The hours whose truth is known."""
        return Window(self.start, self.start + timedelta(hours=self.hours))

    @property
    def start_ms(self) -> int:
        """The start in milliseconds since the epoch; all other `_ms` of a fleet's parts count from it."""
        return to_ms(self.start)

    @property
    def begin_ms(self) -> int:
        """First instant that may be scraped, relative to the start."""
        return -self.lead_minutes * MS_PER_MINUTE

    @property
    def end_ms(self) -> int:
        """Last instant that may be scraped, relative to the start."""
        return self.hours * MS_PER_HOUR + self.tail_minutes * MS_PER_MINUTE

    @property
    def midnight_ms(self) -> int:
        """The UTC midnight before the start, relative to it."""
        return -self.start.hour * MS_PER_HOUR


def steady(seed: int, start: datetime, hours: int, nodes: int = 3, pods_per_node: int = 8) -> FleetSpec:
    """Long-lived pods, every scrape answered; every second node has two sockets."""
    return FleetSpec(seed, start, hours, sockets=_sockets(nodes), pods_per_node=pods_per_node)


def churning(seed: int, start: datetime, hours: int, nodes: int = 3, pods_per_node: int = 6) -> FleetSpec:
    """Jobs from 20 s to 20 minutes, pods replaced in mid-hour, crash loops."""
    calm = steady(seed, start, hours, nodes, pods_per_node)
    return replace(calm, rollout_ratio=0.5, jobs_per_hour=20.0, crash_loops=2)


def restarting(seed: int, start: datetime, hours: int, nodes: int = 3, pods_per_node: int = 6) -> FleetSpec:
    """Kepler restarts on one and two sockets, two of them close together, dram counters falling to 0, late names."""
    calm = steady(seed, start, hours, nodes, pods_per_node)
    return replace(
        calm, kepler_restarts=max(hours, 2), double_restarts=1, dram_resets=2, late_name_ratio=0.3, jobs_per_hour=7.0
    )


def outages(seed: int, start: datetime, hours: int, nodes: int = 3, pods_per_node: int = 6) -> FleetSpec:
    """Missed scrapes, nodes silent for 5 minutes to 2.5 hours, a Prometheus that is down once."""
    calm = steady(seed, start, hours, nodes, pods_per_node)
    return replace(calm, missed_scrape_ratio=0.02, silences=2, downtimes=1, jobs_per_hour=5.0)


def mixed(seed: int, start: datetime, hours: int, pods_per_node: int = 6) -> FleetSpec:
    """Every meter on three nodes: new Kepler with Scaphandre, old Kepler, new Kepler with DCGM.

    The third node has an exclusive, a MIG and a time-sliced GPU. Jobs come and go; nothing restarts. DCGM collects
    every 10 s: with its default of 30 s the counters' delay, which no sample shows, may reach 1 % of a GPU-hour.
    """
    return FleetSpec(
        seed, start, hours, sockets=(2, 1, 1), pods_per_node=pods_per_node, jobs_per_hour=6.0,
        meters=(
            Meters(kepler=KeplerMeter(), scaphandre=ScaphandreMeter()),
            Meters(legacy=LegacyMeter()),
            Meters(kepler=KeplerMeter(), dcgm=DcgmMeter(collect_seconds=10)),
        ),
        gpus=((), (), (GpuSpec("exclusive"), GpuSpec("mig"), GpuSpec("shared"))),
    )  # fmt: skip


def demo_fleet(end_hour: datetime, seed: int = 2026) -> FleetSpec:
    """Two recognisable days on three nodes that end with `end_hour`; about 0.3 M samples.

    Samples reach 12 minutes past `end_hour`, so that its last hour is settled: that must not lie in the future.
    """
    end = floor_hour(end_hour)
    return FleetSpec(
        seed, end - timedelta(hours=DEMO_HOURS), DEMO_HOURS,
        scrape_seconds=60, ksm_scrape_seconds=60, tail_minutes=12,
        workloads=DEMO, crash_loops=0, kepler_restarts=1, late_name_ratio=0.1,
    )  # fmt: skip


def _sockets(nodes: int) -> tuple[int, ...]:
    return tuple(1 + index % 2 for index in range(nodes))
