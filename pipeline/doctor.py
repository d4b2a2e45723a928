"""`carbon-etl doctor`: what each cluster has, what is missing, and what to do about it. Read only."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median

import numpy as np

from pipeline.errors import CarbonEtlError
from pipeline.settings import ClusterSettings, Settings, StoreSettings
from pipeline.sinks import locks
from pipeline.sinks.horizons import duration
from pipeline.sinks.stores import Store
from pipeline.site import Site, open_site
from pipeline.sources.grid import yearly
from pipeline.sources.meters import kepler
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND
from pipeline.window import Clock, from_ms, to_ms

OK, NOTE, FAIL = 0, 1, 2
LOOK_BACK = "15m"
LOOK_BACK_MS = 15 * MS_PER_MINUTE
OTHER_METERS = {
    "kepler_container_joules_total": "Kepler 0.9 or older",
    "scaph_host_power_microwatts": "Scaphandre",
    "DCGM_FI_DEV_POWER_USAGE": "dcgm-exporter",
}
OWNER_SERIES = ("kube_pod_owner", "kube_replicaset_owner", "kube_job_owner", "kube_pod_start_time", "kube_node_info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist: how serious, about what, and what to do."""

    level: int
    about: str
    text: str

    @property
    def mark(self) -> str:
        """The line's first sign."""
        return ("✓", "!", "✗")[self.level]

    @property
    def style(self) -> str | None:
        """The line's colour on a terminal."""
        return (None, "yellow", "red")[self.level]


def examine(
    settings: Settings, clusters: Sequence[ClusterSettings], env: Mapping[str, str], clock: Clock
) -> Iterator[Finding]:
    """All findings: the warehouse, then each cluster, then each store; one failing part does not hide the others."""
    settings = settings.model_copy(update={"http": settings.http.model_copy(update={"retry_seconds": 0.0})})
    yield from _guarded("warehouse", _warehouse(settings))
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


def _warehouse(settings: Settings) -> Iterator[Finding]:
    root = Path(settings.warehouse.path).absolute()
    probe = locks.probe_locks(root)
    yield Finding(OK if probe.honoured else FAIL, "warehouse", f"{root}: {probe.detail}")


def _cluster(cluster: ClusterSettings, settings: Settings, env: Mapping[str, str], clock: Clock) -> Iterator[Finding]:
    site = open_site(cluster.name, settings, env, clock)
    now_ms = to_ms(clock.now())
    build = site.server.status("buildinfo") or {}
    site.server.vector("vector(1)", now_ms)
    yield Finding(OK, site.name, f"{site.server.url} answers (version {build.get('version') or 'unknown'})")
    yield from _meters(site, now_ms, settings.energy.max_gap_ms)
    yield from _owners(site, now_ms)
    yield from _reach(site, clock)
    yield from _price(site)
    for warning in sorted(set(site.warnings)):
        yield Finding(NOTE, site.name, f"the server warns: {warning}")


def _count(site: Site, metric: str, now_ms: int, by: str = "", *matchers: Matcher) -> int:
    series = f"last_over_time({selector(metric, *matchers, *site.server.matchers)}[{LOOK_BACK}])"
    answer = site.server.vector(f"count(count by ({by}) ({series}))" if by else f"count({series})", now_ms)
    return int(answer[0][1]) if answer else 0


def _meters(site: Site, now_ms: int, max_gap_ms: int) -> Iterator[Finding]:
    nodes = _count(site, kepler.ACTIVE, now_ms, "node_name, instance", kepler.ZONES)
    if nodes == 0:
        yield from _no_kepler(site, now_ms)
        return
    pods = _count(site, kepler.PODS, now_ms, "pod_id")
    yield Finding(OK, site.name, f"meter kepler (0.10 or newer): {nodes} nodes, {pods} pods in the last {LOOK_BACK}")
    if pods == 0:
        yield Finding(
            NOTE,
            site.name,
            "no pod series: start Kepler with --kube.enable and the pod metrics level, else all is system",
        )
    interval = _scrape_seconds(site, now_ms)
    if interval is not None and interval * 1000 * 3 > max_gap_ms:
        yield Finding(
            NOTE, site.name, f"scraped about every {interval:.0f} s: two missed scrapes break energy.max_gap, raise it"
        )
    clusters = site.server.vector(f"count by (cluster) ({selector(kepler.ACTIVE, *site.server.matchers)})", now_ms)
    if len(clusters) > 1:
        names = ", ".join(sorted(labels.get("cluster", "(none)") for labels, _ in clusters))
        yield Finding(
            FAIL, site.name, f"its series carry several cluster labels ({names}): set selector = '{{cluster=\"...\"}}'"
        )
    for metric, name in OTHER_METERS.items():
        if _count(site, metric, now_ms):
            yield Finding(NOTE, site.name, f"{name} is scraped too; this version reads Kepler 0.10 and newer only")


def _no_kepler(site: Site, now_ms: int) -> Iterator[Finding]:
    if _count(site, "kepler_build_info", now_ms):
        yield Finding(
            FAIL,
            site.name,
            "Kepler runs but shows no energy: most virtual machines have no RAPL, so nothing there can be measured",
        )
        return
    others = [name for metric, name in OTHER_METERS.items() if _count(site, metric, now_ms)]
    found = f"; found {', '.join(others)}, which this version does not read" if others else ""
    yield Finding(
        FAIL, site.name,
        f"no Kepler 0.10+ series in the last {LOOK_BACK}{found}: install Kepler and scrape it, or correct the selector "
        "(on virtual machines without RAPL Kepler exits: nothing there can be measured)",
    )  # fmt: skip


def _scrape_seconds(site: Site, now_ms: int) -> float | None:
    """The usual distance of the samples of one series; not the window over their number, for Kepler may be new."""
    series = selector(kepler.ACTIVE, kepler.ZONES, *site.server.matchers)
    answer = site.server.vector(f"topk(1, count_over_time({series}[{LOOK_BACK}]))", now_ms)
    if not answer:
        return None
    own = selector(kepler.ACTIVE, *(Matcher(name, "=", value) for name, value in answer[0][0].items()))
    distances = [
        distance
        for block in site.server.blocks(own, now_ms - LOOK_BACK_MS, now_ms)
        for distance in np.diff(block.stamps_ms).tolist()
    ]
    return median(distances) / MS_PER_SECOND if distances else None


def _owners(site: Site, now_ms: int) -> Iterator[Finding]:
    missing = [metric for metric in OWNER_SERIES if _count(site, metric, now_ms) == 0]
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
    retention = str((site.server.status("runtimeinfo") or {}).get("storageRetention", ""))
    kept = duration(retention.split(" or ", maxsplit=1)[0]) if retention else None
    pause = max(kept or age, timedelta(hours=1))
    source = f"retention {retention}" if kept else "as far as samples reach now"
    yield Finding(
        OK,
        site.name,
        f"runs may pause {pause / timedelta(days=1):.1f} days at most ({source}); what expires unread is lost",
    )


def _price(site: Site) -> Iterator[Finding]:
    providers = ", ".join(site.selection.providers)
    yield Finding(
        OK,
        site.name,
        f"grid zone {site.place.zone}, providers {providers}, {site.selection.factor_type}, PUE {site.settings.pue:g}",
    )
    code = yearly.code_of(site.place.yearly_code)
    if yearly.NAME in site.selection.providers and code is not None:
        if code[1] == "yearly_country":
            yield Finding(
                NOTE,
                site.name,
                f"static has no figure for {site.place.yearly_code}: it answers with the country's ({code[0]})",
            )
        if yearly.is_unverified(site.place.yearly_code):
            yield Finding(
                NOTE, site.name, f"static's figures for {code[0]} are lifecycle by assumption (lifecycle-unverified)"
            )
    published = yearly.published_pue(site.settings.cloud, site.settings.region)
    if published:
        yield Finding(OK, site.name, f"the provider publishes PUE {published}; the config says {site.settings.pue:g}")


def _store(
    store_settings: StoreSettings, settings: Settings, env: Mapping[str, str], clock: Clock
) -> Iterator[Finding]:
    with Store(store_settings, settings.http, env, clock, settings.publish.horizon) as store:
        about = f"store {store.name}"
        horizon = store.horizon()
        level = NOTE if horizon.length < timedelta(days=2) else OK
        days, hours = horizon.length / timedelta(days=1), horizon.length / timedelta(hours=1)
        reach = f"{days:,.1f} days" if level == OK else f"{hours:.1f} h"
        advice = f"; to widen it {horizon.advice}" if horizon.advice else ""
        yield Finding(level, about, f"takes hours up to {reach} old ({horizon.explanation}){advice}")
        store.refuse_doubling()
        yield Finding(OK, about, f"{store.kind}: every sample counts once")
