"""`carbon-etl grid fetch`: a zone's providers asked by hand, what differs stored."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pyarrow as pa

from pipeline.errors import CarbonEtlError, ConfigError, SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.grid.zone import Zone
from pipeline.job import Job
from pipeline.refresh import Refresh, Refreshed
from pipeline.sources.grid.web import NothingThere, NotInPlan
from pipeline.tables import values
from pipeline.window import Window

KINDS: dict[type[CarbonEtlError], str] = {
    NotInPlan: "not in the plan",
    NothingThere: "nothing there",
    SourceRejected: "refused",
    SourceMalformed: "not understood",
    SourceUnavailable: "no answer",
    ConfigError: "not asked",
}


@dataclass(frozen=True)
class Told:
    """What one provider said.

    Attributes:
        provider: which.
        text: what it was asked and what that changed.
        qualities: rows that differ from what was stored, by quality.
        problems: what it refused or got wrong.
        warnings: what it put beside its figures.
    """

    provider: str
    text: str
    qualities: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[CarbonEtlError, ...] = ()
    warnings: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """What happened, then each problem, told apart by its kind."""
        counts = ", ".join(f"{quality} {count:,}" for quality, count in sorted(self.qualities.items()))
        yield f"  {self.provider}: {self.text}" + (f": {counts}" if counts else "")
        for problem in self.problems:
            yield f"  {self.provider}: {kind(problem)}: {problem}"
        for warning in self.warnings:
            yield f"  {self.provider}: warning: {warning}"


def kind(problem: CarbonEtlError) -> str:
    """What kind of failure it is, in two or three words."""
    return KINDS.get(type(problem), "failed")


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to.

    Attributes:
        heading: what was wanted.
        told: what each provider said.
        refused: why others were not asked.
        errors: what somebody has to mend or wait for; that a provider has nothing there is an answer.
    """

    heading: str
    told: tuple[Told, ...]
    refused: Mapping[str, str]
    errors: tuple[CarbonEtlError, ...]

    def lines(self) -> Iterator[str]:
        """The heading, then each provider."""
        yield self.heading
        for one in self.told:
            yield from one.lines()
        for name, reason in self.refused.items():
            yield f"  {name}: not asked: {reason}"

    @property
    def exit_code(self) -> int:
        """0, or that of the first error."""
        return self.errors[0].exit_code if self.errors else 0


def fetch(job: Job, zone: Zone, window: Window) -> Fetched:
    """Ask a zone's providers about the hours that are due, read its files, and store what differs.

    Raises:
        ConfigError: nobody can be asked, or a file is not what its format says.
        SinkError: the warehouse cannot be written.
    """
    refuse_nobody(zone, list(zone.zones), zone.refused)
    warehouse, began = job.warehouse(), job.clock.monotonic()
    report = job.begin("grid fetch")
    refresh = Refresh(zone, warehouse, report.run_id, job.clock.now(), dry_run=job.dry_run)
    told = [_told(job, refresh, zone, name, window) for name in zone.rule.providers if name in zone.zones]
    heading = f"grid zone {zone.about}: {zone.signal} {zone.rule.factor_type}, {window} ({window.hour_count:,} hours)"
    report.errors += errors_of(told)
    job.finish(warehouse, report, began)
    return Fetched(heading, tuple(told), zone.refused, tuple(report.errors))


def errors_of(told: Sequence[Told]) -> list[CarbonEtlError]:
    """The problems that fail a command."""
    return [problem for one in told for problem in one.problems if not isinstance(problem, NothingThere)]


def refuse_nobody(zone: Zone, able: Sequence[str], refused: Mapping[str, str]) -> None:
    """An error where no provider can be asked, with every reason."""
    if not able:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ConfigError(f"nobody can be asked about {zone.about} ({reasons})")


def _told(job: Job, refresh: Refresh, zone: Zone, name: str, window: Window) -> Told:
    hours, done = list(window.hours()), Refreshed()
    if name in zone.web:
        refresh.ask(done, name, hours, zone.signal)
        nobody = "not asked" if done.problems else "no hour is due, all were asked about before"
        asked = f"{done.asked_hours:,} hours asked" if done.asked_hours else nobody
    else:
        done.fresh = replace(refresh, prices=replace(zone, files={name: zone.files[name]})).files(hours)
        asked = "read"
    text = f"zone {zone.zones[name]}, {asked}"
    if done.fresh.num_rows or not done.problems:
        text += f", {changed(done.fresh, 'figures', dry_run=job.dry_run)}"
    return Told(name, text, Counter(values(done.fresh, "quality")), tuple(done.problems), tuple(done.warnings))


def changed(fresh: pa.Table, what: str, *, dry_run: bool) -> str:
    """How many rows differ from what was stored."""
    if not fresh.num_rows:
        return "nothing differs from what is stored"
    return f"{fresh.num_rows:,} {what} {'would be' if dry_run else 'are'} stored"
