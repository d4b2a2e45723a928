"""What a run did, for people (a few lines), for machines (JSON) and for the `runs` table."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.checks import Check
from pipeline.errors import (
    CarbonEtlError,
    SourceError,
    SourceMalformed,
    SourceRejected,
    StoreFull,
    StoreUnwritable,
)
from pipeline.tables import values
from pipeline.units import JOULES_PER_KWH

PARTIAL_FAILURE, CHECK_FAILED = 69, 65
BASIS = {
    "lifecycle": "lifecycle: scope 2, location-based, plus upstream (scope 3.3)",
    "direct": "direct: scope 2, location-based",
}
BOUNDARY = {"package": "CPU", "dram": "DRAM", "psys": "platform rail", "gpu": "GPU boards", "other": "hwmon sensors"}


@dataclass
class StoreOutcome:
    """What became of the hours in one store."""

    store: str
    samples_written: int
    hours_published: int
    hours_unpublished: int
    reasons: list[str]


@dataclass
class ClusterOutcome:
    """What became of one cluster in a run; sums are over the hours folded, whether rewritten or found equal."""

    cluster: str
    factor_type: str
    states: dict[str, int] = field(default_factory=dict)
    hours_rewritten: int = 0
    hours_unchanged: int = 0
    rows: int = 0
    energy_joules: dict[str, float] = field(default_factory=dict)
    facility_energy_kwh: float = 0.0
    emissions_gco2e: float = 0.0
    components: list[str] = field(default_factory=list)
    scaled_joules: float = 0.0
    quality_joules: dict[str, float] = field(default_factory=dict)
    residual_joules: float | None = None
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    hours_repriced: int = 0
    restated_gco2e: float = 0.0
    stores: list[StoreOutcome] = field(default_factory=list)

    def add_rows(self, emissions: pa.Table) -> None:
        """Add priced rows to the sums."""
        self.rows += emissions.num_rows
        self.components = sorted({*self.components, *values(emissions, "component")}, key=list(BOUNDARY).index)
        of_platform = pc.filter(emissions["energy_joules"], pc.is_valid(emissions["platform_scale"]))
        self.scaled_joules += pc.sum(of_platform).as_py() or 0.0
        for kind, joules in _sums(emissions, "kind", "energy_joules"):
            self.energy_joules[kind] = self.energy_joules.get(kind, 0.0) + joules
        for quality, joules in _sums(emissions, "intensity_quality", "energy_joules"):
            self.quality_joules[quality] = self.quality_joules.get(quality, 0.0) + joules
        self.facility_energy_kwh += pc.sum(emissions["facility_energy_kwh"]).as_py() or 0.0
        self.emissions_gco2e += pc.sum(emissions["emissions_gco2e"]).as_py() or 0.0

    def add_repriced(self, hours: int, revised: pa.Table) -> None:
        """Add hours that were priced again, and by how much their known grams changed."""
        self.hours_repriced += hours
        changes = pc.subtract(revised["new_emissions_gco2e"], revised["old_emissions_gco2e"])
        self.restated_gco2e += pc.sum(changes).as_py() or 0.0

    def take_problems(self, problems: Sequence[SourceError]) -> list[CarbonEtlError]:
        """Note what providers of intensity did not give; what only a person can mend is returned as an error."""
        wrong: list[CarbonEtlError] = [p for p in problems if isinstance(p, SourceRejected | SourceMalformed)]
        self.failures += [str(problem) for problem in wrong]
        self.warnings += [str(problem) for problem in problems if problem not in wrong]
        return wrong

    def add_nodes(self, nodes: pa.Table) -> None:
        """Add the residuals of node_energy rows; null where no meter gives system energy of its own."""
        residual = pc.sum(nodes["residual_joules"]).as_py()
        if residual is not None:
            self.residual_joules = (self.residual_joules or 0.0) + residual


def _sums(table: pa.Table, by: str, amount: str) -> list[tuple[str, float]]:
    grouped = table.group_by(by).aggregate([(amount, "sum")])
    return list(zip(values(grouped, by), values(grouped, f"{amount}_sum"), strict=True))


@dataclass
class RunReport:
    """Everything one command did."""

    run_id: str
    command: str
    started_utc: datetime
    dry_run: bool
    seconds: float = 0.0
    clusters: list[ClusterOutcome] = field(default_factory=list)
    errors: list[CarbonEtlError] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 done; 69 some partitions failed; the error's own code if nothing succeeded; 65 a check failed."""
        if self.errors:
            worked = any(c.hours_rewritten or c.hours_unchanged for c in self.clusters)
            failed = any(c.failures for c in self.clusters)
            return PARTIAL_FAILURE if worked and failed else self.errors[0].exit_code
        if any(c.required and not c.passed for cluster in self.clusters for c in cluster.checks):
            return CHECK_FAILED
        return 0

    def error_lines(self) -> list[str]:
        """Errors as a person needs them: equal ones once, and one for a disk, however many files it refused."""
        told: dict[object, str] = {}
        for error in self.errors:
            told.setdefault(type(error) if isinstance(error, StoreFull | StoreUnwritable) else str(error), str(error))
        return list(told.values())

    def to_json(self) -> str:
        """The whole report, one line."""
        report = {
            "run_id": self.run_id,
            "command": self.command,
            "started_utc": self.started_utc.isoformat(),
            "seconds": round(self.seconds, 3),
            "dry_run": self.dry_run,
            "exit_code": self.exit_code,
            "clusters": [asdict(cluster) for cluster in self.clusters],
            "errors": [str(error) for error in self.errors],
        }
        return json.dumps(report, default=str)

    def summary(self) -> list[str]:
        """A few lines a cluster."""
        return [line for cluster in self.clusters for line in _summary(cluster, self)]


def _boundary(cluster: ClusterOutcome, total_joules: float) -> str:
    """What the energy holds and what it does not; what a platform meter scaled holds all of its machine."""
    names = [BOUNDARY[component] for component in cluster.components]
    inner = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    scaled = (
        f"; {cluster.scaled_joules / total_joules:.0%} of it scaled to a platform meter"
        if cluster.scaled_joules
        else ""
    )
    return f"{inner}; not PSU, disks, network, fans{scaled}"


def _summary(cluster: ClusterOutcome, report: RunReport) -> list[str]:
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(cluster.states.items())) or (
        "not folded" if cluster.failures else "none due"
    )
    verb = "would write" if report.dry_run else "rewritten"
    done = f"{cluster.hours_rewritten:,} {verb}, {cluster.hours_unchanged:,} unchanged ({report.seconds:.1f} s)"
    lines = [f"{cluster.cluster}: hours {states}; {done}"]
    total = sum(cluster.energy_joules.values())
    if total:
        shares = ", ".join(
            f"{kind} {cluster.energy_joules.get(kind, 0.0) / total:.0%}" for kind in ("workload", "system", "idle")
        )
        facility = f"{cluster.facility_energy_kwh:,.3f} kWh facility"
        qualities = ", ".join(f"{q} {j / total:.0%}" for q, j in sorted(cluster.quality_joules.items()))
        lines += [
            f"  energy  {total / JOULES_PER_KWH:,.3f} kWh IT ({shares}); {facility}",
            f"          meter boundary: {_boundary(cluster, total)}",
            f"  carbon  {cluster.emissions_gco2e:,.1f} gCO2e ({BASIS[cluster.factor_type]}); intensity {qualities}",
        ]
    failed = [c for c in cluster.checks if not c.passed]
    lines += [f"  check   {'FAILED' if c.required else 'note'} {c.name}: {c.detail}" for c in failed]
    if cluster.checks and not failed:
        lines.append("  check   all held")
    lines += [f"  warning {text}" for text in cluster.warnings] + [f"  failed  {text}" for text in cluster.failures]
    for store in cluster.stores:
        reasons = f": {'; '.join(store.reasons)}" if store.reasons else ""
        lines.append(
            f"  store   {store.store}: {store.samples_written:,} samples written, "
            f"{store.hours_published:,} hours published, {store.hours_unpublished:,} not{reasons}"
        )
    return lines
