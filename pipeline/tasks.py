"""For a scheduler of your own: what is due as JSON, and one day of it as a small run of its own.

    from pipeline.tasks import days, do_day

Map `do_day` over `days`, then call `carbon-etl run`: it prices again what settled, and publishes.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.ahead import look_ahead
from pipeline.config import load
from pipeline.day import Day
from pipeline.engines import open_engine
from pipeline.errors import ConfigError
from pipeline.job import Job
from pipeline.report import ClusterOutcome
from pipeline.run import do_days
from pipeline.site import open_site
from pipeline.terminal import SystemClock, SystemEnvironment
from pipeline.window import Window, parse_time

Task = dict[str, Any]


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


def _job(config: str | Path) -> Job:
    env = SystemEnvironment()
    return Job(load(Path(config), env), env, SystemClock())
