"""Prices hours again from what the warehouse holds: their joules stay, their grams follow the newest vintages.

`run` does it by itself for hours whose vintages are newer than their price; by hand it also restates hours that were
priced under another configuration.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import chain, groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.closed import left_alone
from pipeline.errors import SchemaError, SinkError, SourceError
from pipeline.job import LOCK_SECONDS, Job
from pipeline.prices import Fresh, Known
from pipeline.publication import publish_cluster
from pipeline.refresh import Refresh
from pipeline.refresh.pue import PueRefresh
from pipeline.report import ClusterOutcome, RunReport
from pipeline.sinks.commits import State
from pipeline.sinks.table_checks import check_conservation
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.site import Site, open_site
from pipeline.sources.grid import yearly
from pipeline.tables import EMISSIONS, values
from pipeline.transforms.revisions import revision_rows
from pipeline.transforms.selection import CARRIED, CARRIED_AGE, CARRIED_HOURS
from pipeline.units import MS_PER_HOUR
from pipeline.window import EPOCH, HOUR, Window, to_ms

PRICE_COLUMNS = (
    "pue_ratio", "pue_source", "intensity_steps", "facility_energy_kwh", "carbon_intensity_g_per_kwh",
    "intensity_zone", "intensity_provider", "intensity_factor_type", "intensity_basis", "intensity_quality",
    "intensity_updated_utc", "emissions_gco2e",
)  # fmt: skip
AT_ODDS = (
    "their joules are not those of node_energy, for a run was killed between the two: `carbon-etl repair` folds them "
    "while raw samples last"
)


@dataclass(frozen=True)
class Priced:
    """One hour that has figures, as `hours` shows it.

    Attributes:
        is_torn: a killed run left its tables at different commits.
    """

    hour_utc: datetime
    state: State
    reason: str | None
    priced_utc: datetime
    config_digest: str
    is_torn: bool = False

    @property
    def fold_digest(self) -> str:
        """The part of the digest that speaks of joules."""
        return self.config_digest.partition("-")[0]

    @property
    def price_digest(self) -> str:
        """The part that speaks of grams."""
        return self.config_digest.partition("-")[2]


def priced_hours(warehouse: Warehouse, cluster: str) -> list[Priced]:
    """The cluster's hours that have figures, in time order."""
    names = ("hour_utc", "state", "reason", "priced_utc", "config_digest")
    torn, rows = warehouse.torn_hours(cluster), warehouse.hours(cluster).to_pylist()
    return [
        Priced(**{name: row[name] for name in names}, is_torn=row["hour_utc"] in torn)
        for row in rows
        if row["state"] in ("complete", "partial")
    ]


def overtaken(
    hours: Sequence[Priced], vintages: pa.Table, pues: pa.Table, carried: Iterable[datetime], now: datetime
) -> set[datetime]:
    """Hours that may be priced otherwise now: a stored vintage is newer than their price, or they are carried no more.

    Args:
        hours: in time order.
        vintages: what may price them, schema INTENSITY.
        pues: what may give them a PUE, schema PUE.
        carried: hours that hold figures of quality `carried`.
        now: the present.
    """
    edges = np.array([to_ms(hour.hour_utc) for hour in hours], dtype=np.int64)
    priced = np.array([to_ms(hour.priced_utc) for hour in hours], dtype=np.int64)
    newer = np.zeros(len(hours), dtype=bool)
    # a release's own table restates nothing by itself, and a stated PUE is as old as time
    stored = vintages.filter(pc.not_equal(vintages["provider"], pa.scalar(yearly.NAME)))
    for start, end, fetched in chain(_told(stored), _told(pues)):
        first, last = np.searchsorted(edges, [to_ms(start) - MS_PER_HOUR + 1, to_ms(end)])
        newer[first:last] |= priced[first:last] < to_ms(fetched)
    found = {hour.hour_utc for hour, is_newer in zip(hours, newer, strict=True) if is_newer}
    for hour in carried:
        near = {hour + distance * HOUR for distance in range(-CARRIED_HOURS, CARRIED_HOURS + 1)}
        if now - hour - HOUR >= CARRIED_AGE or near & found:
            found.add(hour)
    return found & {hour.hour_utc for hour in hours}


def _told(vintages: pa.Table) -> Iterator[tuple[datetime, datetime, datetime]]:
    """Of what span each vintage speaks, and when it was fetched."""
    return zip(*(values(vintages, name) for name in ("start_utc", "end_utc", "fetched_utc")), strict=True)


def reprice(job: Job, clusters: list[str], since: datetime | None) -> RunReport:
    """Price stored hours again, all from `since` on or those overtaken by newer vintages, and publish what changed.

    Asks no provider and no Prometheus; the user's own files are read.
    """
    began, report, warehouse = job.clock.monotonic(), job.begin("reprice"), job.warehouse()
    for name in clusters:
        site = open_site(name, job.settings, job.env, job.clock)
        outcome = ClusterOutcome(name, site.prices.rule.factor_type)
        report.clusters.append(outcome)
        try:
            known = priced_hours(warehouse, name)
            now = job.clock.now()
            asks = (site.prices, warehouse, report.run_id, now, job.dry_run)
            fresh = Fresh(Refresh(*asks).files([hour.hour_utc for hour in known]), PueRefresh(*asks).file())
            chosen = _chosen(site, warehouse, known, fresh, since, now)
            hours = [hour.hour_utc for hour in chosen]
            stays, outcome.warnings = left_alone(warehouse, name, hours, restate_closed=job.restate_closed)
            chosen = [hour for hour in chosen if hour.hour_utc not in stays]
            Repricing(job, site, warehouse, fresh, report.run_id, outcome).price(chosen)
        except (SourceError, SinkError, SchemaError) as error:
            outcome.failures.append(str(error))
            report.errors.append(error)
        report.seconds = job.clock.monotonic() - began
        report.errors += publish_cluster(job.settings, job.env, job.clock, warehouse, outcome, report, since or EPOCH)
    return job.finish(warehouse, report, began)


def _chosen(
    site: Site, warehouse: Warehouse, known: list[Priced], fresh: Fresh, since: datetime | None, now: datetime
) -> list[Priced]:
    if since is not None:
        return [hour for hour in known if hour.hour_utc >= since]
    return settling(site, warehouse, known, fresh, now)


def settling(site: Site, warehouse: Warehouse, known: list[Priced], fresh: Fresh, now: datetime) -> list[Priced]:
    """Torn hours, and those priced under this configuration that newer vintages overtook; others wait for `--since`."""
    mine = [hour for hour in known if hour.price_digest == site.prices.digest]
    if not mine:
        return [hour for hour in known if hour.is_torn]
    window = Window(mine[0].hour_utc, mine[-1].hour_utc + HOUR)
    vintages = pa.concat_tables([site.prices.held(warehouse, window), fresh.vintages])
    pues = pa.concat_tables([site.prices.held_pues(warehouse, window), fresh.pues])
    carried = warehouse.hours_of_quality(site.name, CARRIED)
    found = overtaken(mine, vintages, pues, carried, now)
    return [hour for hour in known if hour.is_torn or hour.hour_utc in found]


@dataclass(frozen=True)
class Repricing:
    """Stored hours of one cluster priced again, day by day under each partition's lock.

    Attributes:
        job: what the command was given.
        site: the cluster.
        warehouse: where the hours are.
        fresh: what a dry run could not store.
        run_id: who commits.
        outcome: what it adds up to.
    """

    job: Job
    site: Site
    warehouse: Warehouse
    fresh: Fresh
    run_id: str
    outcome: ClusterOutcome

    def price(self, hours: Sequence[Priced]) -> None:
        """Price these hours, in time order, and commit those that come out otherwise."""
        if not hours:
            return
        window = Window(hours[0].hour_utc, hours[-1].hour_utc + HOUR)
        known, done = self.site.prices.known(self.warehouse, window, self.fresh), 0
        for (day, fold_digest), of_day in groupby(hours, key=lambda hour: (hour.hour_utc.date(), hour.fold_digest)):
            self.job.on_progress(self.site.name, done, len(hours))
            part = list(of_day)
            with self.warehouse.partition_lock(self.site.name, day, self.job.clock, LOCK_SECONDS):
                self._price_day(day, fold_digest, part, known)
            done += len(part)
        self.job.on_progress(self.site.name, done, len(hours))

    def _price_day(self, day: date, fold_digest: str, hours: Sequence[Priced], known: Known) -> None:
        name, now, outcome = self.site.name, self.job.clock.now(), self.outcome
        if not self.job.dry_run:
            self.warehouse.recover(name, day, now, self.run_id)
        states = {hour.hour_utc: hour for hour in hours}
        rows, nodes = (
            _of(self.warehouse.read_day(table, name, day), set(states)) for table in ("emissions", "node_energy")
        )
        at_odds = _at_odds(rows, nodes, set(states))
        rows = _of(rows.drop_columns(list(PRICE_COLUMNS)), set(states) - at_odds)
        priced, refused = self.site.prices.price(rows, known, now)
        refused |= dict.fromkeys(at_odds, AT_ODDS)
        outcome.warnings += sorted({f"{day}: hours keep their figures: {reason}" for reason in refused.values()})
        kept = set(states) - set(refused)
        tables = DayTables(
            _of(priced.select(EMISSIONS.names), kept),
            _of(nodes, kept),
            _of(self.warehouse.quarantine(name, day), kept),
        )
        commits = [HourCommit(hour, states[hour].state, states[hour].reason) for hour in sorted(kept)]
        stamp = RunStamp(self.run_id, now, f"{fold_digest}-{self.site.prices.digest}")
        result = self.warehouse.commit_day(
            name, day, commits, tables, stamp, revision_rows, kept, dry_run=self.job.dry_run
        )
        outcome.add_rows(tables.emissions)
        outcome.add_repriced(len(kept), result.revised)
        outcome.hours_rewritten += len(result.rewritten)
        outcome.hours_unchanged += len(kept) - len(result.rewritten)


def _at_odds(rows: pa.Table, nodes: pa.Table, hours: set[datetime]) -> set[datetime]:
    """Those of the hours whose rows do not add up to what nodes metered: a killed run tore them between two folds."""
    try:
        check_conservation(rows, nodes)
    except SchemaError:
        if len(hours) == 1:
            return hours
        return set().union(*(_at_odds(_of(rows, {hour}), _of(nodes, {hour}), {hour}) for hour in hours))
    return set()


def _of(rows: pa.Table, hours: set[datetime]) -> pa.Table:
    return rows.filter(pa.array([hour in hours for hour in values(rows, "hour_utc")], pa.bool_()))
