"""`carbon-etl close`: keeps the totals of a period as they are reported; what they come to later is a restatement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import plan
from pipeline.books.periods import Period
from pipeline.equality import close as equal
from pipeline.errors import ConfigError
from pipeline.job import Job
from pipeline.report import CHECK_FAILED
from pipeline.settings.market import SCOPES
from pipeline.sinks.closings import rows_of
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import CLOSINGS, values
from pipeline.transforms.closing import SUMS, closing_rows
from pipeline.units import JOULES_PER_KWH
from pipeline.window import HOUR, Window

TRY_LATER = 75
WHOLE = ("complete", plan.PRUNED)
ASKED = "(select $period as period, $cluster as cluster, $start as start_utc, $end as end_utc)"
BEFORE = "from closings_newest where period = $period and cluster = $cluster order by namespace"


@dataclass
class Closing:
    """What became of closing one period of one cluster.

    Attributes:
        period: its name.
        cluster: whose.
        refusal: why it was not closed, in a line; None where it was, or would be in a dry run.
        exit_code: 0; 65 where something lacks for good, 75 where a run may bring it, 2 where there is nothing to close.
        stands_since_utc: when these very totals were closed before: they stand, and nothing is written.
        rows: the totals, as stored in `closings`.
    """

    period: str
    cluster: str
    refusal: str | None = None
    exit_code: int = 0
    stands_since_utc: datetime | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, why: str, exit_code: int) -> None:
        """It is not closed."""
        self.refusal, self.exit_code = why, exit_code

    def line(self, *, dry_run: bool) -> str:
        """One line for people."""
        what = f"{self.cluster} {self.period}"
        if self.refusal is not None:
            return f"{what} is not closed: {self.refusal}"
        if self.stands_since_utc is not None:
            return f"{what} was closed at {self.stands_since_utc:%FT%H:%MZ} with these totals: they stand"
        kwh = math.fsum(row["energy_joules"] for row in self.rows) / JOULES_PER_KWH
        grams = [row["emissions_gco2e"] for row in self.rows if row["emissions_gco2e"] is not None]
        scope = SCOPES.get(("average", self.rows[0]["intensity_factor_type"]), "no grams known")
        lacking = self.rows[0]["lacking_hours"]
        return (
            f"{what} {'would be' if dry_run else 'is'} closed: {kwh:,.3f} kWh IT, {math.fsum(grams):,.1f} gCO2e "
            f"({scope}), {len(self.rows)} namespaces{f', {lacking:,} hours not complete' if lacking else ''}"
        )


def close_period(job: Job, clusters: Sequence[str], period: Period, *, as_is: bool, again: bool) -> list[Closing]:
    """Keep the totals of a period, cluster by cluster; one that is refused does not stop the others.

    Args:
        job: what the command was given.
        clusters: whose.
        period: what is closed.
        as_is: close it although hours are missing or not complete, or energy has no grams.
        again: close anew what was closed with other totals; later changes are then measured against these.

    Raises:
        SinkError: the warehouse cannot be written.
    """
    began, report, warehouse = job.clock.monotonic(), job.begin("close"), job.warehouse()
    found = []
    for cluster in clusters:
        closing = _closing(job, warehouse, Closing(period.name, cluster), period.window, as_is=as_is, again=again)
        found.append(closing)
        if closing.refusal is None and closing.stands_since_utc is None and not job.dry_run:
            rows = pa.Table.from_pylist([row | {"run_id": report.run_id} for row in closing.rows], CLOSINGS)
            warehouse.append("closings", rows, report.run_id, report.started_utc.date())
    job.finish(warehouse, report, began)
    return found


def _closing(job: Job, warehouse: Warehouse, closing: Closing, window: Window, *, as_is: bool, again: bool) -> Closing:
    now = job.clock.now()  # before anything is read: what is committed meanwhile then counts as later
    known = warehouse.hours(closing.cluster)
    waiting, holed = lacking_hours(known, window, now)
    about = {
        "period": closing.period,
        "cluster": closing.cluster,
        "config_digest": _digests(known, window),
        "closed_utc": now,
        "start_utc": window.start,
        "end_utc": window.end,
        "lacking_hours": len(waiting) + len(holed),
        "materiality_ratio": job.settings.closing.materiality,
    }
    named = {"period": closing.period, "cluster": closing.cluster}
    try:
        rows = closing_rows(_ask(warehouse, rows_of(ASKED), **named, start=window.start, end=window.end), about)
    except ConfigError as error:
        closing.refuse(str(error), error.exit_code)
        return closing
    closing.rows, before = rows.to_pylist(), _ask(warehouse, BEFORE, **named)
    if before.num_rows and _same(rows, before):
        closing.stands_since_utc = before["closed_utc"][0].as_py()
    elif not closing.rows:
        closing.refuse(f"nothing is stored of {window}", ConfigError.exit_code)
    elif before.num_rows and not again:
        closing.refuse("it was closed with other totals: --show tells how they differ, --again closes anew", 2)
    elif not as_is:
        _refuse_what_lacks(closing, waiting, holed, window)
    return closing


def lacking_hours(known: pa.Table, window: Window, now: datetime) -> tuple[list[datetime], list[datetime]]:
    """The hours of a window that a run may still bring or complete, and those that stay as they are and are not whole.

    Args:
        known: newest fold rows of the cluster, schema HOURS.
        window: the span.
        now: the present.
    """
    states = dict(zip(values(known, "hour_utc"), values(known, "state"), strict=True))
    first = min(states, default=window.start)
    waiting = [
        hour for hour in window.hours() if hour >= first and not plan.is_done(states.get(hour), now - hour - HOUR)
    ]
    lacking = [hour for hour in window.hours() if states.get(hour) not in WHOLE]
    return waiting, sorted(set(lacking) - set(waiting))


def _refuse_what_lacks(
    closing: Closing, waiting: Sequence[datetime], holed: Sequence[datetime], window: Window
) -> None:
    kwh = math.fsum(row["unpriced_energy_joules"] for row in closing.rows) / JOULES_PER_KWH
    if waiting:
        closing.refuse(
            f"{len(waiting):,} of {window.hour_count:,} hours are not done, the first {waiting[0]:%FT%H:%MZ}: "
            "run first, or --as-is",
            TRY_LATER,
        )
    elif holed:
        closing.refuse(
            f"{len(holed):,} of {window.hour_count:,} hours are not complete, the first {holed[0]:%FT%H:%MZ}: "
            "queries/holes.sql shows where, --as-is closes all the same",
            CHECK_FAILED,
        )
    elif kwh:
        closing.refuse(
            f"{kwh:,.3f} kWh have no grams: `carbon-etl settled` shows the days, --as-is closes all the same",
            CHECK_FAILED,
        )


def _digests(known: pa.Table, window: Window) -> str:
    """The configurations under which the hours of the window were made."""
    told = zip(values(known, "hour_utc"), values(known, "config_digest"), strict=True)
    return ", ".join(sorted({digest for hour, digest in told if hour in window and digest}))


def _same(rows: pa.Table, before: pa.Table) -> bool:
    """Whether two closings tell the same of the same namespaces."""
    if values(rows, "namespace") != values(before, "namespace"):
        return False
    pairs = [(rows[name].to_numpy().astype(np.float64), before[name].to_numpy().astype(np.float64)) for name in SUMS]
    return all(bool(equal(old, new).all()) for new, old in pairs)


def _ask(warehouse: Warehouse, query: str, **parameters: object) -> pa.Table:
    with open_views(warehouse.root, query) as connection:
        return connection.sql(query, params=parameters).to_arrow_table()
