"""What the doctor finds of a cluster's meters: which are there, which accounts where, and how far two are apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from statistics import median

import numpy as np

from pipeline.checks import CROSS_TOLERANCE, NAMED, PLATFORM, SCOPES, check_energy
from pipeline.meters import Meter
from pipeline.settings.scopes import PlatformSettings
from pipeline.site import Site
from pipeline.sources.meters import kepler, kepler_gpus, kepler_legacy
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.tables import values
from pipeline.transforms.accounting import accounting, candidates, cross_check
from pipeline.transforms.energy import Energy
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND
from pipeline.window import Window

OK, NOTE, FAIL = 0, 1, 2
LOOK_BACK = "15m"
LOOK_BACK_MS = 15 * MS_PER_MINUTE


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
    def is_failure(self) -> bool:
        """Whether it needs somebody."""
        return self.level == FAIL

    @property
    def style(self) -> str | None:
        """The line's colour on a terminal."""
        return (None, "yellow", "red")[self.level]


def count(site: Site, metric: str, now_ms: int, by: str = "", *matchers: Matcher) -> int:
    """How many series of a metric, or how many of their values of some labels, had a sample lately."""
    series = f"last_over_time({selector(metric, *matchers, *site.server.matchers)}[{LOOK_BACK}])"
    answer = site.server.vector(f"count(count by ({by}) ({series}))" if by else f"count({series})", now_ms)
    return int(answer[0][1]) if answer else 0


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
        clusters = site.server.vector(f"count by (cluster) ({selector(sign, *site.server.matchers)})", now_ms)
        if len(clusters) > 1:
            names = ", ".join(sorted(labels.get("cluster", "(none)") for labels, _ in clusters))
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


def accounts(site: Site, hour_utc: datetime) -> Iterator[Finding]:
    """Which meter accounts for which nodes in the newest closed hour, and how far two of one node are apart."""
    folds = site.fold_meters(Window.of_hour(hour_utc))
    energies = {name: fold.energy for name, fold in folds.items()}
    nodes: dict[tuple[str, str], set[str]] = {}
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    seen: dict[str, set[str]] = {}
    for place, offers in candidates(energies, site.orders).items():
        winner = accounting(offers)
        ours = next(offer for offer in offers if offer.meter == winner)
        nodes.setdefault((place.group, winner), set()).add(place.node)
        check = cross_check(ours, offers)
        if check is not None:
            ratios.setdefault((winner, check[0]), {})[place.node] = check[1]
        for offer in offers:
            seen.setdefault(offer.meter, set()).add(place.node)
    for (group, meter), of_meter in sorted(nodes.items()):
        text = f"{meter} accounts for the {group} of {len(of_meter)} nodes in {hour_utc:%FT%H:%MZ}: {_some(of_meter)}"
        yield Finding(OK, site.name, text)
    for (ours_, theirs), by_node in sorted(ratios.items()):
        least, most = (pick(by_node, key=lambda node: (by_node[node], node)) for pick in (min, max))
        apart = max(abs(ratio - 1.0) for ratio in by_node.values()) > CROSS_TOLERANCE
        yield Finding(
            NOTE if apart else OK,
            site.name,
            f"{theirs} beside {ours_} on {len(by_node)} nodes: it gives {by_node[least]:.3f} ({least}) to "
            f"{by_node[most]:.3f} ({most}) of the energy",
        )
    yield from _strangers(site, seen)
    yield from _boundaries(site, site.account(folds, hour_utc), hour_utc)


def _strangers(site: Site, seen: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Meters of processors that agree on no node's name: on the same machines, energy would count twice."""
    for one, other in combinations([name for name in site.settings.meters if seen.get(name)], 2):
        if not seen[one] & seen[other]:
            yield Finding(
                NOTE,
                site.name,
                f"{one} ({_some(seen[one])}) and {other} ({_some(seen[other])}) name no node alike: if these are the "
                "same machines, their energy counts twice; leave one of them out of meters",
            )


def _boundaries(site: Site, energy: Energy, hour_utc: datetime) -> Iterator[Finding]:
    """Who holds whom and which of them accounts; what the platform meter says; which of these names nobody knows."""
    read = set(values(energy.nodes, "node"))
    for host in site.settings.hosts:
        yield Finding(OK, site.name, f'{host.node} holds {_some(host.guests)}: count = "{host.count}"')
    named = {name for host in site.settings.hosts for name in (host.node, *host.guests)}
    if named - read:
        yield Finding(
            NOTE, site.name, f"hosts names {_some(named - read)}, which no meter reads in {hour_utc:%FT%H:%MZ}"
        )
    counted = site.counted_once(energy)
    for check in check_energy(counted.nodes, [], counted.remarks):
        if check.name in (SCOPES, PLATFORM) and not check.passed:
            yield Finding(NOTE if check.name == PLATFORM else OK, site.name, check.detail)
    if site.settings.platform is not None:
        yield from _platform(site, site.settings.platform, energy, hour_utc)


def _platform(site: Site, platform: PlatformSettings, energy: Energy, hour_utc: datetime) -> Iterator[Finding]:
    read, found = set(values(energy.nodes, "node")), {node for _, node in site.fold_platform(hour_utc)}
    if found - read:
        yield Finding(
            NOTE,
            site.name,
            f"{platform.metric} names {_some(found - read)}, which no meter reads: is node_label = "
            f'"{platform.node_label}" right?',
        )
    columns = (values(energy.nodes, name) for name in ("node", "cross_meter", "cross_ratio", "platform_scale"))
    ratios = {
        node: ratio if meter == PLATFORM else scale
        for node, meter, ratio, scale in zip(*columns, strict=True)
        if meter == PLATFORM or scale is not None
    }
    held = f"; by declaration it holds {' and '.join(platform.includes)}" if platform.includes else ""
    told = f'platform meter {platform.metric} (use = "{platform.use}"{held}): '
    if not ratios:
        yield Finding(NOTE, site.name, f"{told}compared on none of {len(read)} nodes in {hour_utc:%FT%H:%MZ}")
        return
    least, most = (pick(ratios, key=lambda node: (ratios[node], node)) for pick in (min, max))
    yield Finding(
        OK,
        site.name,
        f"{told}on {len(ratios)} of {len(read)} nodes, {ratios[least]:.3f} ({least}) to {ratios[most]:.3f} ({most}) "
        "times what is metered",
    )


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - NAMED
    return ", ".join(ordered[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _scrape_seconds(site: Site, sign: str, now_ms: int) -> float | None:
    """The usual distance of the samples of one series; not the window over their number, for Kepler may be new."""
    series = selector(sign, *site.server.matchers)
    answer = site.server.vector(f"topk(1, count_over_time({series}[{LOOK_BACK}]))", now_ms)
    if not answer:
        return None
    own = selector(sign, *(Matcher(name, "=", value) for name, value in answer[0][0].items()))
    distances = [
        distance
        for block in site.server.blocks(own, now_ms - LOOK_BACK_MS, now_ms)
        for distance in np.diff(block.stamps_ms).tolist()
    ]
    return median(distances) / MS_PER_SECOND if distances else None
