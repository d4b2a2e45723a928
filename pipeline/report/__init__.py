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
    ConfigError,
    SourceMalformed,
    SourceRejected,
    StoreFull,
    StoreUnwritable,
)
from pipeline.report.stores import StoreOutcome
from pipeline.settings.market import SCOPES
from pipeline.tables import values
from pipeline.units import JOULES_PER_KWH

PARTIAL_FAILURE, CHECK_FAILED = 69, 65
BOUNDARY = {"package": "CPU", "dram": "DRAM", "psys": "platform rail", "gpu": "GPU boards", "other": "hwmon sensors"}


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
    emissions_gco2e: dict[str, float] = field(default_factory=dict)
    components: list[str] = field(default_factory=list)
    scaled_joules: float = 0.0
    quality_joules: dict[str, float] = field(default_factory=dict)
    basis_joules: dict[str, float] = field(default_factory=dict)
    residual_joules: float | None = None
    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    hours_repriced: int = 0
    restated_gco2e: float = 0.0
    stores: list[StoreOutcome] = field(default_factory=list)

    def add(self, part: "ClusterOutcome") -> None:
        """Add what became of other hours of the cluster; its checks and stores are told of the whole."""
        for name in ("states", "energy_joules", "emissions_gco2e", "quality_joules", "basis_joules"):
            sums = getattr(self, name)
            for key, amount in getattr(part, name).items():
                sums[key] = sums.get(key, 0) + amount
        for name in ("hours_rewritten", "hours_unchanged", "rows", "facility_energy_kwh", "scaled_joules"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        self._add_residual(part.residual_joules)
        self.components = sorted({*self.components, *part.components}, key=list(BOUNDARY).index)
        self.warnings += part.warnings
        self.failures += part.failures

    def add_hours(self, states: Sequence[str], rewritten: int) -> None:
        """Count hours that were folded, by the state in which they are now."""
        for state in states:
            self.states[state] = self.states.get(state, 0) + 1
        self.hours_rewritten += rewritten
        self.hours_unchanged += len(states) - rewritten

    def add_rows(self, emissions: pa.Table) -> None:
        """Add priced rows to the sums."""
        self.rows += emissions.num_rows
        self.components = sorted({*self.components, *values(emissions, "component")}, key=list(BOUNDARY).index)
        of_platform = pc.filter(emissions["energy_joules"], pc.is_valid(emissions["platform_scale"]))
        self.scaled_joules += pc.sum(of_platform).as_py() or 0.0
        _add(self.energy_joules, emissions, "kind", "energy_joules")
        _add(self.quality_joules, emissions, "intensity_quality", "energy_joules")
        _add(self.basis_joules, emissions, "intensity_basis", "energy_joules")
        _add(self.emissions_gco2e, emissions, "intensity_factor_type", "emissions_gco2e")
        self.facility_energy_kwh += pc.sum(emissions["facility_energy_kwh"]).as_py() or 0.0

    def add_repriced(self, hours: int, revised: pa.Table) -> None:
        """Add hours that were priced again, and by how much their known grams changed."""
        self.hours_repriced += hours
        changes = pc.subtract(revised["new_emissions_gco2e"], revised["old_emissions_gco2e"])
        self.restated_gco2e += pc.sum(changes).as_py() or 0.0

    def take_problems(self, problems: Sequence[CarbonEtlError]) -> list[CarbonEtlError]:
        """Note what providers of intensity did not give; what only a person can mend is returned as an error."""
        mended_by_hand = ConfigError | SourceRejected | SourceMalformed
        wrong: list[CarbonEtlError] = [problem for problem in problems if isinstance(problem, mended_by_hand)]
        self.failures += [str(problem) for problem in wrong]
        self.warnings += sorted({str(problem) for problem in problems if problem not in wrong})
        return wrong

    def add_nodes(self, nodes: pa.Table) -> None:
        """Add the residuals of node_energy rows; null where no meter gives system energy of its own."""
        self._add_residual(pc.sum(nodes["residual_joules"]).as_py())

    def _add_residual(self, joules: float | None) -> None:
        if joules is not None:
            self.residual_joules = (self.residual_joules or 0.0) + joules


def _add(sums: dict[str, float], table: pa.Table, by: str, amount: str) -> None:
    """Add up a column for each value of another one; rows that name none have no figure and are left out."""
    grouped = table.group_by(by, use_threads=False).aggregate([(amount, "sum")])
    for name, total in zip(values(grouped, by), values(grouped, f"{amount}_sum"), strict=True):
        if name is not None and total is not None:
            sums[name] = sums.get(name, 0.0) + total


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


def _carbon(cluster: ClusterOutcome, total_joules: float) -> list[str]:
    """A total for each factor type, because they do not add up; below, what their intensity is, in shares of energy."""

    def shares(joules: dict[str, float]) -> str:
        return ", ".join(f"{name} {amount / total_joules:.0%}" for name, amount in sorted(joules.items()))

    totals = [
        f"{grams:,.1f} gCO2e ({factor_type}: {SCOPES['average', factor_type]})"
        for factor_type, grams in sorted(cluster.emissions_gco2e.items())
    ]
    lines = [f"  carbon  {text}" for text in totals or ["not known: no energy has an intensity and a PUE"]]
    return [
        *lines,
        f"          intensity {shares(cluster.quality_joules)}; basis {shares(cluster.basis_joules) or 'none'}",
    ]


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
        lines += [
            f"  energy  {total / JOULES_PER_KWH:,.3f} kWh IT ({shares}); {facility}",
            f"          meter boundary: {_boundary(cluster, total)}",
            *_carbon(cluster, total),
        ]
    failed = [c for c in cluster.checks if not c.passed]
    lines += [f"  check   {'FAILED' if c.required else 'note'} {c.name}: {c.detail}" for c in failed]
    if cluster.checks and not failed:
        lines.append("  check   all held")
    lines += [f"  warning {text}" for text in cluster.warnings] + [f"  failed  {text}" for text in cluster.failures]
    lines += [f"  store   {store.summary()}" for store in cluster.stores]
    return lines
