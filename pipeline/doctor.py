"""`carbon-etl doctor`: what each cluster has, what is missing, and what to do about it. Read only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.discovery import FAIL, NOTE, OK, Finding, accounts, clocks, count, meters, servers, spacing
from pipeline.discovery.holes import holes
from pipeline.errors import CarbonEtlError
from pipeline.grid.access import would_ask
from pipeline.plan import last_closed
from pipeline.settings import ClusterSettings, Settings, StoreSettings
from pipeline.settings.pue import LEAST_PUE, MOST_PUE
from pipeline.sinks import locks
from pipeline.sinks.block_sets import BlockSets
from pipeline.sinks.horizons import duration
from pipeline.sinks.opening import keeps_commits_apart, open_warehouse
from pipeline.sinks.unread_store import UnreadStore, open_store
from pipeline.site import Site, open_site
from pipeline.sources.grid import yearly
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.servers import SILENT
from pipeline.sources.pue import PueAnswer, PueFile, PueQuery, StatedPue, published_pue
from pipeline.tables import values
from pipeline.window import HOUR, Clock, Window, floor_hour, from_ms, to_ms

OWNER_SERIES = ("kube_pod_owner", "kube_replicaset_owner", "kube_job_owner", "kube_pod_start_time", "kube_node_info")


def examine(
    settings: Settings, clusters: Sequence[ClusterSettings], env: Mapping[str, str], clock: Clock
) -> Iterator[Finding]:
    """All findings: the warehouse, then each cluster, then each store; one failing part does not hide the others."""
    settings = settings.model_copy(update={"http": settings.http.model_copy(update={"retry_seconds": 0.0})})
    yield from _guarded("warehouse", _warehouse(settings, env))
    for cluster in clusters:
        yield from _guarded(cluster.name, _cluster(cluster, settings, env, clock))
    if not settings.remote_write:
        yield Finding(
            NOTE, "stores", "none configured: figures go to parquet only; add [[remote_write]] for dashboards"
        )
    for store in settings.remote_write:
        yield from _guarded(f"store {store.name}", _store(store, settings, env, clock))


def _guarded(about: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except CarbonEtlError as error:
        yield Finding(FAIL, about, str(error))


def _warehouse(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    if settings.warehouse.is_object_store:
        is_so = keeps_commits_apart(settings.warehouse, env)
        told = "of two commits at once one is refused" if is_so else "it lets two commits at once overwrite each other"
        yield Finding(OK if is_so else FAIL, "warehouse", f"{settings.warehouse.path}: {told} (conditional PUT)")
        return
    root = Path(settings.warehouse.path).absolute()
    probe = locks.probe_locks(root)
    yield Finding(OK if probe.honoured else FAIL, "warehouse", f"{root}: {probe.detail}")


def _cluster(cluster: ClusterSettings, settings: Settings, env: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    site = open_site(cluster.name, settings, env, clock)
    yield from _guarded(site.name, _asked(site, settings, env, clock))
    for warning in sorted(set(site.warnings)):
        if not warning.startswith(SILENT):  # told already
            yield Finding(NOTE, site.name, f"the server warns: {warning}")


def _asked(site: Site, settings: Settings, env: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    """All that the cluster's servers are asked for."""
    now_ms = to_ms(clock.now())
    yield from servers(site, now_ms)
    yield from meters(site, now_ms, settings.energy.max_gap_ms)
    yield from clocks(site, now_ms)
    yield from spacing(site, now_ms)
    yield from _owners(site, now_ms)
    yield from _reach(site, clock)
    yield from _price(site)
    yield from would_ask(site, env, "; not asked here: `carbon-etl grid check` does")
    yield from _guarded(site.name, _pue(site, clock.now()))
    yield from accounts(site, last_closed(clock.now(), settings.energy.settle) - HOUR)
    yield from holes(site, open_warehouse(settings.warehouse, env), clock.now())


def _owners(site: Site, now_ms: int) -> Iterator[Finding]:
    missing = [metric for metric in OWNER_SERIES if count(site, metric, now_ms) == 0]
    if not missing:
        yield Finding(OK, site.name, "kube-state-metrics: owners, pod start times and nodes are known")
    elif len(missing) == len(OWNER_SERIES):
        yield Finding(
            NOTE,
            site.name,
            "no kube-state-metrics: owners are guessed from pod names (owner_source = guessed); scrape it to know",
        )
    else:
        yield Finding(
            NOTE, site.name, f"kube-state-metrics lacks {', '.join(missing)}: what they tell is guessed or left out"
        )


def _reach(site: Site, clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    oldest_ms = site.oldest_ms(now)
    if oldest_ms is None:
        return
    age = now - from_ms(oldest_ms)
    yield Finding(
        OK, site.name, f"raw samples reach back to {from_ms(oldest_ms):%FT%H:%MZ}: the first backfill can start there"
    )
    kept, source = _kept(site, age)
    pause = max(kept, timedelta(hours=1))
    yield Finding(
        OK,
        site.name,
        f"runs may pause {pause / timedelta(days=1):.1f} days at most ({source}); what expires unread is lost",
    )


def _kept(site: Site, age: timedelta) -> tuple[timedelta, str]:
    """How long raw samples stay, and who says so: the longest of a shard's replicas, the shortest of the shards."""

    def ask(server: BulkServer) -> tuple[timedelta, str]:
        retention = str((server.status("runtimeinfo") or {}).get("storageRetention", ""))
        kept = duration(retention.split(" or ", maxsplit=1)[0]) if retention else None
        return (kept, f"retention {retention}") if kept else (age, "as far as samples reach now")

    return min(max(told) for told in site.servers.by_shard(ask))


def _price(site: Site) -> Iterator[Finding]:
    providers = ", ".join(site.prices.rule.providers)
    yield Finding(
        OK,
        site.name,
        f"grid zone {site.prices.place.zone}, providers {providers}, {site.prices.rule.factor_type}",
    )
    code = yearly.code_of(site.prices.place.yearly_code)
    if yearly.NAME in site.prices.rule.providers and code is not None:
        if code[1] == "yearly_country":
            yield Finding(
                NOTE,
                site.name,
                f"static has no figure for {site.prices.place.yearly_code}: it answers with the country's ({code[0]})",
            )
        if yearly.is_unverified(site.prices.place.yearly_code):
            yield Finding(
                NOTE, site.name, f"static's figures for {code[0]} are lifecycle by assumption (lifecycle-unverified)"
            )


def _pue(site: Site, now: datetime) -> Iterator[Finding]:
    """Where hours get their PUE, and what it is now."""
    pue, last = site.prices.pue, Window.of_hour(floor_hour(now) - HOUR)
    if isinstance(pue, StatedPue):
        rows = pue.rows(last)
        yield Finding(OK, site.name, f"PUE {pue.ratio:g} ({pue.source})")
    elif isinstance(pue, PueFile):
        rows = pue.read(now)
        yield _of_file(site, pue, rows, last)
    else:
        (answer,) = pue.fetch(last, now)
        rows = answer.rows
        yield _of_query(site, pue, answer, last)
    if LEAST_PUE in values(rows, "pue_ratio"):
        yield Finding(NOTE, site.name, "a PUE of 1 says that the site draws nothing besides its machines: is that so?")
    published = published_pue(site.settings)
    if published is not None and published.source != pue.source:
        text = (
            f"the cloud publishes PUE {published.ratio:g} ({published.source}): pue = {{ published = true }} takes it"
        )
        yield Finding(OK, site.name, text)


def _of_file(site: Site, pue: PueFile, rows: pa.Table, last: Window) -> Finding:
    known = [ratio for ratio in values(rows, "pue_ratio") if ratio is not None]
    if not known:
        return Finding(FAIL, site.name, f"{pue.path} has no PUE of cluster {site.name}: its hours have no grams")
    end = max(values(rows, "end_utc"))
    text = f"PUE {min(known):g} to {max(known):g} by {pue.path}, {len(known):,} figures, the last to {end:%FT%H:%MZ}"
    if end < last.end:
        return Finding(NOTE, site.name, f"{text}: later hours have no grams until it goes on")
    return Finding(OK, site.name, text)


def _of_query(site: Site, pue: PueQuery, answer: PueAnswer, last: Window) -> Finding:
    by = f"by {pue.source} for the hour from {last.start:%FT%H:%MZ}"
    for value in answer.refused.values():
        return Finding(FAIL, site.name, f"PUE {value:g} {by}: {LEAST_PUE:g} to {MOST_PUE:g} is taken, so no grams")
    for ratio in values(answer.rows, "pue_ratio"):
        return Finding(OK, site.name, f"PUE {ratio:g} {by}")
    return Finding(NOTE, site.name, f"no PUE {by}: it gives nothing there, so that hour has no grams")


def _store(
    store_settings: StoreSettings, settings: Settings, env: Mapping[str, str], clock: Clock
) -> Iterator[Finding]:
    root = Path(settings.warehouse.path).absolute()
    with open_store(store_settings, settings.http, env, clock, settings.publish.horizon, root) as store:
        about = f"store {store.name}"
        horizon = store.horizon()
        level = NOTE if horizon.length < timedelta(days=2) else OK
        days, hours = horizon.length / timedelta(days=1), horizon.length / timedelta(hours=1)
        reach = f"{days:,.1f} days" if level == OK else f"{hours:.1f} h"
        advice = f"; to widen it {horizon.advice}" if horizon.advice else ""
        yield Finding(level, about, f"takes hours up to {reach} old ({horizon.explanation}){advice}")
        for cluster in settings.clusters:
            for one in BlockSets(root, store_settings).pending(cluster.name):
                yield Finding(NOTE, about, one.line())
        if isinstance(store, UnreadStore):
            yield Finding(NOTE, about, f"cannot be read: what it was sent is noted in {store.ledger.path}")
            return
        store.refuse_doubling()
        yield Finding(OK, about, f"{store.kind}: every sample counts once")
