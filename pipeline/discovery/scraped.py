"""Which meters a cluster's servers scrape lately, and whether often enough."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from pipeline.discovery.findings import FAIL, NOTE, OK, Finding
from pipeline.meters import Meter
from pipeline.samples import Floats, Int64s
from pipeline.site import Site
from pipeline.sources.meters import kepler, kepler_gpus, kepler_legacy
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND

LOOK_BACK = "15m"
LOOK_BACK_MS = 15 * MS_PER_MINUTE


def count(site: Site, metric: str, now_ms: int, by: str = "", *matchers: Matcher) -> int:
    """How many series of a metric, or how many of their values of some labels, had a sample lately.

    Shards are added up, of replicas the one that shows the most counts.
    """

    def ask(server: PrometheusServer) -> int:
        series = f"last_over_time({selector(metric, *matchers, *server.matchers)}[{LOOK_BACK}])"
        answer = server.vector(f"count(count by ({by}) ({series}))" if by else f"count({series})", now_ms)
        return int(answer[0][1]) if answer else 0

    return sum(max(found) for found in site.servers.by_shard(ask))


def meters(site: Site, now_ms: int, max_gap_ms: int) -> Iterator[Finding]:
    """Which meters are scraped lately, whether they are read, and whether often enough."""
    found = site.meters_found(now_ms - LOOK_BACK_MS, now_ms)
    used = [meter for meter in found if meter in site.meters]
    for meter in found:
        if meter not in used:
            yield Finding(NOTE, site.name, f"{meter.title} is scraped too, but not among its meters: it is not read")
    if not used:
        yield _no_meter(site, now_ms)
        return
    for meter in used:
        if meter.name == kepler.NAME:
            yield from _kepler(site, now_ms)
        else:
            yield Finding(OK, site.name, f"meter {meter.name} ({meter.title}): samples in the last {LOOK_BACK}")
        if meter.name == kepler_legacy.NAME:
            yield from _own_namespace(site, now_ms)
        yield from _boards(site, meter, now_ms)
    yield from _scraping(site, used, now_ms, max_gap_ms)


def _kepler(site: Site, now_ms: int) -> Iterator[Finding]:
    nodes = count(site, kepler.ACTIVE, now_ms, "node_name, instance")
    pods = count(site, kepler.PODS, now_ms, "pod_id")
    yield Finding(OK, site.name, f"meter kepler (0.10 or newer): {nodes} nodes, {pods} pods in the last {LOOK_BACK}")
    if pods == 0:
        yield Finding(
            NOTE,
            site.name,
            "no pod series: start Kepler with --kube.enable and the pod metrics level, else all is system",
        )


def _boards(site: Site, meter: Meter, now_ms: int) -> Iterator[Finding]:
    """GPUs that a Kepler shows beside processors, and whether they are read."""
    if meter.name not in kepler_gpus.SIGNS:
        return
    condition, labels = kepler_gpus.SIGNS[meter.name]
    boards = count(site, kepler_gpus.TOTAL, now_ms, labels, condition)
    if not boards:
        return
    text = f"{meter.name} shows {boards} GPUs in the last {LOOK_BACK}"
    if meter.name in site.settings.gpu_meters:
        yield Finding(OK, site.name, text)
    else:
        unread = f"{text}, but is not among gpu_meters: their energy is not read from it"
        yield Finding(NOTE, site.name, unread)


def _own_namespace(site: Site, now_ms: int) -> Iterator[Finding]:
    """Many published queries group old Kepler's series by a label that says where Kepler itself runs."""
    containers = kepler_legacy.CONTAINER.format("package")
    for metric in (containers, kepler_legacy.TOTAL):
        if count(site, metric, now_ms, "", Matcher("namespace", "!=", "")):
            yield Finding(
                NOTE,
                site.name,
                f"{metric} has a label namespace: it is that of Kepler's own pod, so queries and rules that group "
                "by it give all energy to one namespace; container_namespace is the workload's (figures here use it)",
            )
            return


def _scraping(site: Site, used: Sequence[Meter], now_ms: int, max_gap_ms: int) -> Iterator[Finding]:
    """Whether samples come often enough, and from one cluster only."""
    for sign in (sign for meter in used for sign in meter.signs):
        interval = _scrape_seconds(site, sign, now_ms)
        if interval is not None and interval * 1000 * 3 > max_gap_ms:
            yield Finding(
                NOTE,
                site.name,
                f"{sign} is scraped about every {interval:.0f} s: two missed scrapes break energy.max_gap, raise it",
            )
        clusters = _clusters(site, sign, now_ms)
        if len(clusters) > 1:
            names = ", ".join(sorted(clusters))
            yield Finding(
                FAIL,
                site.name,
                f"{sign} carries several cluster labels ({names}): set selector = '{{cluster=\"...\"}}'",
            )


def _no_meter(site: Site, now_ms: int) -> Finding:
    if count(site, "kepler_build_info", now_ms):
        return Finding(
            FAIL,
            site.name,
            "Kepler runs but shows no energy: most virtual machines have no RAPL, so nothing there can be measured",
        )
    wanted = ", ".join(meter.title for meter in site.meters)
    return Finding(
        FAIL, site.name,
        f"no series of any configured meter ({wanted}) in the last {LOOK_BACK}: install one and scrape it, or correct "
        "the selector (on virtual machines without RAPL Kepler exits: nothing there can be measured)",
    )  # fmt: skip


def _clusters(site: Site, sign: str, now_ms: int) -> set[str]:
    """Values of the label `cluster` on any server."""

    def ask(server: PrometheusServer) -> set[str]:
        answer = server.vector(f"count by (cluster) ({selector(sign, *server.matchers)})", now_ms)
        return {labels.get("cluster", "(none)") for labels, _ in answer}

    return {name for _, names in site.servers.each(ask) for name in names}


def _scrape_seconds(site: Site, sign: str, now_ms: int) -> float | None:
    """The usual distance of the samples of one series; not the window over their number, for Kepler may be new."""

    def ask(server: PrometheusServer) -> list[int]:
        labels = busiest(server, sign, now_ms)
        distances: list[int] = np.diff(samples_of(server, sign, labels, now_ms)[0]).tolist() if labels else []
        return distances

    distances = site.servers.first_answer(ask)
    return median(distances) / MS_PER_SECOND if distances else None


def busiest(server: PrometheusServer, sign: str, now_ms: int) -> dict[str, str] | None:
    """Labels of that series of a metric which had the most samples lately."""
    answer = server.vector(f"topk(1, count_over_time({selector(sign, *server.matchers)}[{LOOK_BACK}]))", now_ms)
    return answer[0][0] if answer else None


def samples_of(server: PrometheusServer, sign: str, labels: Mapping[str, str], now_ms: int) -> tuple[Int64s, Floats]:
    """The latest stamps and values of the series with these labels."""
    own = selector(sign, *(Matcher(name, "=", value) for name, value in labels.items()), *server.matchers)
    parts = [(block.stamps_ms, block.values) for block in server.blocks(own, now_ms - LOOK_BACK_MS, now_ms)]
    stamps_ms, values = (np.concatenate([part[i] for part in parts] or [np.zeros(0)]) for i in range(2))
    return stamps_ms.astype(np.int64), values.astype(np.float64)
