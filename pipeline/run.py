"""The story of one run: for each cluster look ahead, do its days, price again what settled; then publish and report.

A day (`day.py`) recovers, extracts, folds, prices, checks and commits under its own lock, so days may be done in any
order and by anybody (`engines`). Asking providers, pricing again and publishing are done here, in time order.
"""

from collections.abc import Iterator
from datetime import datetime

import structlog

from pipeline.ahead import look_ahead
from pipeline.checks import Findings
from pipeline.day import Day, DayOutcome
from pipeline.engines import Engine, open_engine
from pipeline.errors import SchemaError, SinkError, SourceError, SourceUnavailable, StoreFull, StoreUnwritable
from pipeline.job import Job
from pipeline.publication import publish_cluster
from pipeline.report import ClusterOutcome, RunReport
from pipeline.reprice import Repricing
from pipeline.site import Site, open_site
from pipeline.window import Window

LOG = structlog.get_logger()
SAME_FATE = 3  # days in a row that a disk refused, after which the others would fare no better


def run(job: Job, clusters: list[str], window: Window | None, *, resume: bool = False) -> RunReport:
    """All due hours of the clusters, or those of `window` (backfill), then all that is unpublished to every store.

    Args:
        job: what the command was given.
        clusters: their names.
        window: the hours of a backfill; None for those that are not done.
        resume: of the window, leave out what is done under this configuration.
    """
    began, report, warehouse = job.clock.monotonic(), job.begin("backfill" if window else "run"), job.warehouse()
    with open_engine(job) as engine:
        for name in clusters:
            site = open_site(name, job.settings, job.env, job.clock)
            outcome = ClusterOutcome(name, site.prices.rule.factor_type)
            report.clusters.append(outcome)
            try:
                ahead = look_ahead(job, site, warehouse, window, report.run_id, resume=resume)
                do_days(job, engine, site, ahead.days, outcome, report)
                Repricing(job, site, warehouse, ahead.fresh, report.run_id, outcome).price(ahead.again)
                outcome.warnings += [*ahead.told.warnings, *ahead.warnings]
                report.errors += outcome.take_problems(ahead.told.problems)
            except (SourceError, SinkError, SchemaError) as error:
                outcome.failures.append(str(error))
                report.errors.append(error)
            outcome.warnings += sorted(set(site.warnings))
            report.seconds = job.clock.monotonic() - began
            report.errors += publish_cluster(job.settings, job.env, job.clock, warehouse, outcome, report)
    return job.finish(warehouse, report, began)


def do_days(job: Job, engine: Engine, site: Site, days: list[Day], outcome: ClusterOutcome, report: RunReport) -> None:
    """Have the days done, and add up what became of them in time order, whichever ended first."""
    ended: list[DayOutcome] = []
    if days:
        job.on_progress(site.name, 0, sum(len(day.hours) for day in days))
    for one in engine.outcomes(_offered(job, site, days, ended)):
        ended.append(one)
        _show(job, days, ended)
    findings, refused = Findings(), dict[datetime, str]()
    for one in sorted(ended, key=lambda one: one.day.hours):
        outcome.add(one.part)
        one.tell(findings)
        refused |= one.refused
        site.warnings.extend(one.warnings)
        report.errors += [] if one.error is None else [one.error]
    outcome.checks = findings.checks()
    if len(ended) < len(days):
        untried = f"{days[len(ended)].date} to {days[-1].date}"
        outcome.failures.append(f"{untried}: not tried, for Prometheus or the disk is gone: run again later")
    if refused:
        error = SourceUnavailable(_refusal(site.name, refused))
        outcome.failures.append(str(error))
        report.errors.append(error)


def _offered(job: Job, site: Site, days: list[Day], ended: list[DayOutcome]) -> Iterator[Day]:
    """The days, for as long as there is somewhere to read them from and to write them to."""
    looked_at = 0
    for day in days:
        news, looked_at = ended[looked_at:], len(ended)
        if any(isinstance(one.error, SourceUnavailable) for one in news) and not _answers(site, job.clock.now()):
            return
        if [isinstance(one.error, StoreFull | StoreUnwritable) for one in ended[-SAME_FATE:]] == [True] * SAME_FATE:
            return
        yield day


def _answers(site: Site, now: datetime) -> bool:
    """Whether the cluster's Prometheus is there at all."""
    try:
        site.oldest_ms(now)
    except SourceError:
        return False
    return True


def _show(job: Job, days: list[Day], ended: list[DayOutcome]) -> None:
    """Progress, on the terminal or as a line in the log."""
    newest, due = ended[-1], sum(len(day.hours) for day in days)
    done = sum(len(one.day.hours) for one in ended)
    job.on_progress(newest.day.cluster, done, due)
    about = {"cluster": newest.day.cluster, "day": str(newest.day.date), "done_hours": done, "due_hours": due}
    if newest.error is not None:
        LOG.warning("day failed", **about, error=str(newest.error))
    else:
        part = newest.part
        hours = part.hours_rewritten + part.hours_unchanged
        LOG.info(
            "day committed", **about, hours=hours, rewritten=part.hours_rewritten, rows=part.rows,
            seconds=round(newest.seconds, 3),
        )  # fmt: skip


def _refusal(cluster: str, refused: dict[datetime, str]) -> str:
    """The hours that `strict` refused in one line."""
    return (
        f"cluster {cluster}: {len(refused):,} hours from {min(refused):%FT%H:%MZ} on are "
        f"not priced ({'; '.join(sorted(set(refused.values())))}): run again later, or accept less"
    )
