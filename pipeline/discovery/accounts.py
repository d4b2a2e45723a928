"""Which meter and which server account for which nodes in an hour, and how far two of one node are apart."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import combinations
from statistics import mean

from pipeline.checks import CROSS_TOLERANCE, PLATFORM, SCOPES, check_energy
from pipeline.discovery.findings import FAIL, NOTE, OK, Finding, some
from pipeline.settings.scopes import PlatformSettings
from pipeline.site import Site
from pipeline.tables import values
from pipeline.transforms.accounting import accounting, candidates, cross_check
from pipeline.transforms.energy import Energy
from pipeline.transforms.replicas import Accounted
from pipeline.window import Window


def accounts(site: Site, hour_utc: datetime) -> Iterator[Finding]:
    """Which meter accounts for which nodes in the newest closed hour, and how far two of one node are apart."""
    window = Window.of_hour(hour_utc)
    joined = site.joined(window)
    energies = {name: one.energy for name, one in joined.items()}
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
        text = f"{meter} accounts for the {group} of {len(of_meter)} nodes in {hour_utc:%FT%H:%MZ}: {some(of_meter)}"
        yield Finding(OK, site.name, text)
    yield from _beside(site, ratios)
    if len(site.servers) > 1:
        for name, one in joined.items():
            yield from _by_server(site, name, one)
    yield from _strangers(site, seen)
    yield from _boundaries(site, site.account(joined, window), window)


def _beside(site: Site, ratios: Mapping[tuple[str, str], Mapping[str, float]]) -> Iterator[Finding]:
    """What a second reader gives of each node's energy by the one that accounts, both by name."""
    for (ours, theirs), by_node in sorted(ratios.items()):
        least, most = (pick(by_node, key=lambda node: (by_node[node], node)) for pick in (min, max))
        apart = max(abs(ratio - 1.0) for ratio in by_node.values()) > CROSS_TOLERANCE
        yield Finding(
            NOTE if apart else OK,
            site.name,
            f"{theirs} beside {ours} on {len(by_node)} nodes: it gives {by_node[least]:.3f} ({least}) to "
            f"{by_node[most]:.3f} ({most}) of the energy",
        )


def _by_server(site: Site, meter: str, joined: Accounted) -> Iterator[Finding]:
    """Which server accounts for what one meter reads, how well each covers it, and how far replicas are apart."""
    servers = site.servers
    covered: dict[int, list[float]] = {}
    mine: dict[int, int] = {}
    ratios: dict[tuple[str, str], dict[str, float]] = {}
    for place, offers in joined.offers.items():
        winner = int(accounting(offers))
        mine[winner] = mine.get(winner, 0) + 1
        for offer in offers:
            covered.setdefault(int(offer.meter), []).append(offer.coverage_ratio)
        ours = next(offer for offer in offers if int(offer.meter) == winner)
        replicas = [offer for offer in offers if servers.shard_of[int(offer.meter)] == servers.shard_of[winner]]
        check = cross_check(ours, replicas)
        if check is not None:
            ratios.setdefault((servers.names[winner], servers.names[int(check[0])]), {})[place.node] = check[1]
    for number, ratio in sorted(covered.items()):
        yield Finding(
            OK,
            site.name,
            f"{meter} on {servers.names[number]}: {mean(ratio):.1%} covered of what it shows, on average; it accounts "
            f"for {mine.get(number, 0)} of {len(ratio)}",
        )
    yield from _beside(site, ratios)
    for text in sorted({remark.text for remark in joined.remarks}):
        nodes = {remark.node for remark in joined.remarks if remark.text == text}
        advice = "give replicas one replica_of, and every node one shard"
        yield Finding(FAIL, site.name, f"{some(nodes)} {'is' if len(nodes) == 1 else 'are'} {text}: {advice}")


def _strangers(site: Site, seen: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Meters of processors that agree on no node's name: on the same machines, energy would count twice."""
    for one, other in combinations([name for name in site.settings.meters if seen.get(name)], 2):
        if not seen[one] & seen[other]:
            yield Finding(
                NOTE,
                site.name,
                f"{one} ({some(seen[one])}) and {other} ({some(seen[other])}) name no node alike: if these are the "
                "same machines, their energy counts twice; leave one of them out of meters",
            )


def _boundaries(site: Site, energy: Energy, window: Window) -> Iterator[Finding]:
    """Who holds whom and which of them accounts; what the platform meter says; which of these names nobody knows."""
    read = set(values(energy.nodes, "node"))
    for host in site.settings.hosts:
        yield Finding(OK, site.name, f'{host.node} holds {some(host.guests)}: count = "{host.count}"')
    named = {name for host in site.settings.hosts for name in (host.node, *host.guests)}
    if named - read:
        yield Finding(
            NOTE, site.name, f"hosts names {some(named - read)}, which no meter reads in {window.start:%FT%H:%MZ}"
        )
    counted = site.counted_once(energy)
    for check in check_energy(counted.nodes, [], counted.remarks):
        if check.name in (SCOPES, PLATFORM) and not check.passed:
            yield Finding(NOTE if check.name == PLATFORM else OK, site.name, check.detail)
    if site.settings.platform is not None:
        yield from _platform(site, site.settings.platform, energy, window)


def _platform(site: Site, platform: PlatformSettings, energy: Energy, window: Window) -> Iterator[Finding]:
    read, found = set(values(energy.nodes, "node")), {node for _, node in site.fold_platform(window)}
    if found - read:
        yield Finding(
            NOTE,
            site.name,
            f"{platform.metric} names {some(found - read)}, which no meter reads: is node_label = "
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
        yield Finding(NOTE, site.name, f"{told}compared on none of {len(read)} nodes in {window.start:%FT%H:%MZ}")
        return
    least, most = (pick(ratios, key=lambda node: (ratios[node], node)) for pick in (min, max))
    yield Finding(
        OK,
        site.name,
        f"{told}on {len(ratios)} of {len(read)} nodes, {ratios[least]:.3f} ({least}) to {ratios[most]:.3f} ({most}) "
        "times what is metered",
    )
