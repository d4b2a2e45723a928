"""`carbon-etl prune`: of old days keeps sums by the keys of `emissions_daily`, and no hours, nodes, pods or processes.

The emissions file is replaced in one rename and keeps its footer: no reader sees a sum that is short or doubled.
"""

import re
from calendar import monthrange
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pyarrow as pa

from pipeline import plan
from pipeline.books.verification import PRUNED_KEY, day_faults, of_day, stored_days
from pipeline.errors import ConfigError, SchemaError
from pipeline.job import LOCK_SECONDS, Job
from pipeline.sinks.commits import FOOTER_KEY
from pipeline.sinks.partitions import partition_path, read_footer
from pipeline.sinks.plans import hours_rows
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.transforms.pruning import pruned_rows
from pipeline.transforms.settling import MILESTONES

KEEP = re.compile(r"(\d+)(mo|d)")
LEAST_DAYS = MILESTONES[-1].days + 2  # figures may be restated until then, which needs hours
MONTHS = 12
CUT = "a closed period begins or ends within it, which only hours can tell apart"
EDGES = "select distinct start_utc, end_utc from closings where cluster = $cluster"


@dataclass
class Pruned:
    """What became of the days of one cluster before a date.

    Attributes:
        cluster: whose.
        before: the first day that keeps its detail.
        days: pruned now, or in a dry run to be pruned.
        rows_before: of `emissions` in those days.
        rows_after: what is left of them.
        left: days that keep their detail, and why.
    """

    cluster: str
    before: date
    days: int = 0
    rows_before: int = 0
    rows_after: int = 0
    left: dict[str, str] = field(default_factory=dict)

    def lines(self, *, dry_run: bool) -> Iterator[str]:
        """For people."""
        yield from (f"{self.cluster} {day} keeps its detail: {why}" for day, why in self.left.items())
        verb = "would be pruned" if dry_run else "pruned"
        rows = f": {self.rows_before:,} rows to {self.rows_after:,}" if self.days else ""
        yield f"{self.cluster}: {self.days:,} days before {self.before} {verb}{rows}"


def first_kept(keep: str, now: datetime) -> date:
    """The first day that keeps its detail.

    Args:
        keep: `13mo` or `400d`.
        now: the present.

    Raises:
        ConfigError: no such span, or one in which figures are still restated.
    """
    found = KEEP.fullmatch(keep)
    if not found:
        raise ConfigError(f"--keep {keep!r} is no span: write it like 13mo or 400d")
    today = now.date()
    try:
        first = _before(today, int(found[1])) if found[2] == "mo" else today - timedelta(days=int(found[1]))
    except (ValueError, OverflowError):
        raise ConfigError(f"--keep {keep} reaches back beyond the calendar") from None
    if (today - first).days < LEAST_DAYS:
        raise ConfigError(f"--keep {keep} is too short: figures are restated for {LEAST_DAYS} days, which needs hours")
    return first


def _before(today: date, months: int) -> date:
    """The same day so many months ago, or the last of that month."""
    count = today.year * MONTHS + today.month - 1 - months
    year, month = count // MONTHS, count % MONTHS + 1
    return date(year, month, min(today.day, monthrange(year, month)[1]))


def prune(job: Job, clusters: Sequence[str], keep: str) -> list[Pruned]:
    """Prune the old days of the clusters, each under its lock; a day that is not in order keeps its detail.

    Raises:
        ConfigError: as of `first_kept`.
        StoreBusy, StoreFull, StoreUnwritable: what was pruned stands, and the next call goes on.
    """
    began, before = job.clock.monotonic(), first_kept(keep, job.clock.now())
    report, warehouse = job.begin("prune"), job.warehouse()
    done = []
    for cluster in clusters:
        pruned, cut = Pruned(cluster, before), _cut_by_closings(warehouse, cluster)
        done.append(pruned)
        for day in (day for day in stored_days(warehouse, cluster, None) if day < before):
            with warehouse.partition_lock(cluster, day, job.clock, LOCK_SECONDS):
                try:
                    why = CUT if day in cut else _prune(job, warehouse, pruned, day, report.run_id)
                except SchemaError as error:
                    why = str(error)
            if why is not None:
                pruned.left[str(day)] = why
    job.finish(warehouse, report, began)
    return done


def _prune(job: Job, warehouse: Warehouse, pruned: Pruned, day: date, run_id: str) -> str | None:
    """Prune one day under its lock; why it was left, or None."""
    path = partition_path(warehouse.root, "emissions", pruned.cluster, day)
    footer, rows = read_footer(path, FOOTER_KEY), warehouse.read_day("emissions", pruned.cluster, day)
    if footer is None or not rows.num_rows or read_footer(path, PRUNED_KEY) is not None:
        return None
    faults = day_faults(warehouse, pruned.cluster, day)
    if faults:
        return f"{faults[0].what} (`carbon-etl verify` shows all)"
    left = pruned_rows(rows, run_id)
    pruned.days += 1
    pruned.rows_before += rows.num_rows
    pruned.rows_after += left.num_rows
    if not job.dry_run:
        metadata = {FOOTER_KEY: footer, PRUNED_KEY: job.clock.now().isoformat()}
        _replace(job.clock.now(), warehouse, pruned.cluster, day, left.replace_schema_metadata(metadata), run_id)
    return None


def _replace(now: datetime, warehouse: Warehouse, cluster: str, day: date, left: pa.Table, run_id: str) -> None:
    """First `hours` says that nothing is to be made of the hours any more; the emissions file is the commit."""
    noted = [row for row in warehouse.hours(cluster, of_day(day)).to_pylist() if row["revision"] is not None]
    told = {"state": plan.PRUNED, "reason": "pruned to the sums of its day", "written_utc": now}
    warehouse.append("hours", hours_rows(row | told for row in noted), run_id, now.date())
    warehouse.remove_day("processes", cluster, day)
    warehouse.replace_day("emissions", cluster, day, left)


def _cut_by_closings(warehouse: Warehouse, cluster: str) -> set[date]:
    """Days within which a closed period begins or ends: only hours tell what of them is inside."""
    with open_views(warehouse.root, EDGES) as connection:
        edges = connection.sql(EDGES, params={"cluster": cluster}).fetchall()
    return {edge.date() for span in edges for edge in span if edge != of_day(edge.date()).start}
