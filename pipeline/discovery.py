"""What the doctor finds of a cluster's meters: which are there, which accounts where, and how far two are apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from statistics import median

import numpy as np

from pipeline.checks import CROSS_TOLERANCE, NAMED
from pipeline.meters import Meter
from pipeline.site import Site
from pipeline.sources.meters import kepler, kepler_legacy
from pipeline.sources.prometheus.selectors import Matcher, selector
from pipeline.transforms.accounting import accounting, candidates, cross_check
from pipeline.units import MS_PER_MINUTE, MS_PER_SECOND

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
    energies = {name: fold.energy for name, fold in site.fold_meters(hour_utc).items()}
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
