"""For a scheduler of your own: what is due as JSON, and one day of it as a small run of its own.

    from pipeline.tasks import clusters, days, do_day, finish

Map `do_day` over the `days` of each cluster, then `finish`: it prices again what settled, and publishes.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.ahead import look_ahead
from pipeline.books.closing import close_period
from pipeline.books.periods import period_of
from pipeline.config import load
from pipeline.day import Day
from pipeline.engines import open_engine
from pipeline.errors import ConfigError
from pipeline.job import Job
from pipeline.report import ClusterOutcome
from pipeline.run import do_days, run
from pipeline.settled import settled
from pipeline.site import open_site
from pipeline.terminal import SystemClock, SystemEnvironment
from pipeline.window import Window, parse_time

Task = dict[str, Any]


def clusters(config: str | Path) -> list[str]:
    """The names of the clusters that a configuration file lists, in its order."""
    return [cluster.name for cluster in _job(config).settings.clusters]


def days(config: str | Path, cluster: str, start: str | None = None, end: str | None = None) -> list[Task]:
    """What is due of a cluster, a task a UTC day, as plain JSON.

    Asks the cluster's Prometheus how far back it reaches and the providers what is new, and stores that.

    Args:
        config: path of the configuration file.
        cluster: its name.
        start: first hour of a range, ISO 8601 with a zone; None, like `end`, for every closed hour that is not done.
        end: end of the range, itself outside.

    Raises:
        CarbonEtlError: as of `carbon-etl backfill`; its `exit_code` 75 says that trying again later may help.
    """
    if (start is None) != (end is None):
        raise ConfigError("start and end go together: both for a range, none for all that is due")
    job = _job(config)
    window = None if start is None or end is None else Window(parse_time(start, "start"), parse_time(end, "end"))
    report, site = job.begin("backfill" if window else "run"), open_site(cluster, job.settings, job.env, job.clock)
    ahead = look_ahead(job, site, job.warehouse(), window, report.run_id)
    return [
        {
            "cluster": day.cluster,
            "hours": [hour.isoformat() for hour in day.hours],
            "oldest_ms": day.oldest_ms,
            "overtaken": [hour.isoformat() for hour in sorted(day.overtaken)],
        }
        for day in ahead.days
    ]


def do_day(config: str | Path, task: Task) -> Task:
    """Fold, price and commit one task of `days` in any order and any process; what is done stays, done again.

    Args:
        config: path of the configuration file, on the machine that works.
        task: one of `days`.

    Returns:
        The report that `--json` prints; `exit_code` 65 where a check failed.

    Raises:
        CarbonEtlError: as of `days`.
    """
    job = _job(config)
    began, report, warehouse = job.clock.monotonic(), job.begin("backfill"), job.warehouse()
    site = open_site(task["cluster"], job.settings, job.env, job.clock)
    hours, overtaken = (tuple(map(datetime.fromisoformat, task[name])) for name in ("hours", "overtaken"))
    day = Day(site.name, hours, task["oldest_ms"], report.run_id, frozenset(overtaken))
    outcome = ClusterOutcome(site.name, site.prices.rule.factor_type)
    report.clusters.append(outcome)
    with open_engine(job) as engine:
        do_days(job, engine, site, [day], outcome, report)
    outcome.warnings += sorted(set(site.warnings))
    job.finish(warehouse, report, began)
    if report.errors:
        raise report.errors[0]
    told: Task = json.loads(report.to_json())
    return told


def finish(config: str | Path) -> Task:
    """`carbon-etl run` for all clusters: what is still due, prices that settled, series that are not published.

    Returns:
        The report that `--json` prints, `exit_code` among it.

    Raises:
        CarbonEtlError: as of `days`, where nothing could be begun.
    """
    job = _job(config)
    told: Task = json.loads(run(job, [cluster.name for cluster in job.settings.clusters], None).to_json())
    return told


def close(config: str | Path, period: str, *, as_is: bool = False) -> Task:
    """`carbon-etl close --period` for all clusters.

    Args:
        config: path of the configuration file.
        period: a UTC month, `2026-10`.
        as_is: close although hours are missing or not complete, or energy has no grams.

    Returns:
        `lines`, one a cluster that is closed; `errors`, one a cluster that is not; `exit_code`, the command's.

    Raises:
        CarbonEtlError: as of `days`.
    """
    job = _job(config)
    names = [cluster.name for cluster in job.settings.clusters]
    found = close_period(job, names, period_of(period, None, None), as_is=as_is, again=False)
    return {
        "exit_code": max(one.exit_code for one in found),
        "lines": [one.line(dry_run=False) for one in found if not one.exit_code],
        "errors": [one.line(dry_run=False) for one in found if one.exit_code],
    }


def is_settled(config: str | Path, cluster: str, start: str, end: str, ages: int) -> bool:
    """Whether each UTC day that a range touches has figures, none waiting to be priced again, that passed some ages.

    Days before the first one with figures do not count, for the cluster was not there; without any, nothing is settled.

    Args:
        config: path of the configuration file.
        cluster: its name.
        start: first hour, ISO 8601 with a zone.
        end: end of the range, itself outside.
        ages: how many of 48 h, 7, 30 and 90 days; where a provider is to be asked, it was asked after them.
    """
    window = Window(parse_time(start, "start"), parse_time(end, "end"))
    (found,) = settled(_job(config), [cluster], window.start)
    passed = {
        day.day: not day.waiting
        and ages <= (day.milestones_passed if day.milestones_checked is None else day.milestones_checked)
        for day in found.days
    }
    first = min(passed, default=window.end.date())
    return bool(passed) and all(passed.get(hour.date(), False) for hour in window.hours() if hour.date() >= first)


def _job(config: str | Path) -> Job:
    env = SystemEnvironment()
    return Job(load(Path(config), env), env, SystemClock())
