"""What a cluster's servers are: shards and replicas, how their samples come, and how far replicas' clocks are apart."""

from collections.abc import Iterator
from statistics import median

import numpy as np

from pipeline.discovery.findings import NOTE, OK, Finding
from pipeline.discovery.scraped import busiest, samples_of
from pipeline.errors import SourceError
from pipeline.samples import Floats, Int64s
from pipeline.settings import PrometheusEndpoint
from pipeline.site import Site
from pipeline.sources.prometheus.bulk import REMOTE_READ, BulkServer
from pipeline.sources.prometheus.kernels import chosen
from pipeline.units import MS_PER_SECOND

FAR_APART_SECONDS = 5.0  # of an hour; what is nearer moves no figure by more than a scrape does
UNEVEN = 0.05  # of a scrape interval: servers keep to theirs far better

Samples = tuple[Int64s, Floats]


def servers(site: Site, now_ms: int) -> Iterator[Finding]:
    """Whether each server answers, what it is among the others, and by which transport its samples come.

    Raises:
        SourceError: a server without replicas does not answer.
    """
    endpoints = [endpoint for replicas in site.settings.shards for endpoint in replicas]
    for number, server in enumerate(site.servers):
        alone = len(site.servers.shards[site.servers.shard_of[number]]) == 1
        try:
            yield from _server(site, number, server, endpoints[number], now_ms)
        except SourceError as error:
            if alone:
                raise
            yield Finding(NOTE, site.name, f"{site.servers.names[number]} gives nothing: {error}")
        if alone and endpoints[number].replica_of is not None and len(endpoints) > 1:
            text = f"replica_of = {endpoints[number].replica_of!r} names {server.url} alone: replicas share one name"
            yield Finding(NOTE, site.name, text)


def _server(
    site: Site, number: int, server: BulkServer, endpoint: PrometheusEndpoint, now_ms: int
) -> Iterator[Finding]:
    build = server.status("buildinfo") or {}
    server.vector("vector(1)", now_ms)
    name, shards = site.servers.names[number], len(site.servers.shards)
    roles = [f"shard {site.servers.shard_of[number] + 1} of {shards}"] if shards > 1 else []
    roles += [f"replica of {endpoint.replica_of!r}"] if endpoint.replica_of is not None else []
    role = f": {', '.join(roles)}" if roles else ""
    yield Finding(OK, site.name, f"{name} answers (version {build.get('version') or 'unknown'}){role}")
    whose = f" of {name}" if len(site.servers) > 1 else ""
    way = f"samples{whose} come by {server.choice.transport}: {server.choice.reason}"
    if server.choice.transport == REMOTE_READ:
        kernels = chosen()
        way += f"; decoded by {kernels.name} ({kernels.reason})"
    yield Finding(OK, site.name, way)


def clocks(site: Site, now_ms: int) -> Iterator[Finding]:
    """How far the stamps of replicas are apart, told by one counter that both of them scrape."""
    first = 0
    for replicas in site.servers.shards:
        for number in range(first + 1, first + len(replicas)):
            seconds = _apart(site, replicas[0], replicas[number - first], now_ms)
            if seconds is not None:
                ours, theirs = site.servers.names[first], site.servers.names[number]
                text = (
                    f"the clock of {theirs} is {abs(seconds):.1f} s {'ahead of' if seconds >= 0 else 'behind'} {ours}"
                )
                far = abs(seconds) > FAR_APART_SECONDS
                yield Finding(NOTE if far else OK, site.name, text + (": hours begin at other moments" if far else ""))
        first += len(replicas)


def _apart(site: Site, ours: BulkServer, theirs: BulkServer, now_ms: int) -> float | None:
    """By the first of the meters' signs that tells; None where none does, or one does not answer."""
    chosen = {matcher.name for matcher in ours.matchers}
    try:
        for sign in (sign for meter in site.meters for sign in meter.signs):
            labels = busiest(ours, sign, now_ms)
            if labels is None:
                continue
            same = {name: value for name, value in labels.items() if name not in chosen}
            mine = samples_of(ours, sign, labels, now_ms)
            seconds = seconds_apart(mine, samples_of(theirs, sign, same, now_ms))
            if seconds is not None:
                return seconds
    except SourceError:
        return None
    return None


def seconds_apart(ours: Samples, theirs: Samples) -> float | None:
    """How much later the other clock shows the same values of one counter; None where it does not tell.

    A counter is a clock that both read: between two of their samples it is taken to rise evenly.
    """
    (at_ms, value), (their_ms, their_value) = ours, theirs
    if min(len(value), len(their_value)) < 3 or (np.diff(value) <= 0).any() or (np.diff(their_value) <= 0).any():
        return None
    inside = (value >= their_value[0]) & (value <= their_value[-1])
    if not inside.any():
        return None
    origin = int(at_ms[0])
    shown_ms = np.interp(value[inside], their_value, (their_ms - origin).astype(np.float64))
    return float(np.median(shown_ms - (at_ms[inside] - origin))) / MS_PER_SECOND


def spacing(site: Site, now_ms: int) -> Iterator[Finding]:
    """Servers whose samples come at odd distances, as those that merge replicas do, and are not declared as such."""
    endpoints = [endpoint for replicas in site.settings.shards for endpoint in replicas]
    for sign in (meter.signs[0] for meter in site.meters):

        def ask(server: BulkServer, sign: str = sign) -> list[float]:
            labels = busiest(server, sign, now_ms)
            return odd_seconds(samples_of(server, sign, labels, now_ms)[0]) if labels else []

        for number, odd in site.servers.each(ask):
            if odd and not endpoints[number].merges_replicas:
                yield Finding(
                    NOTE,
                    site.name,
                    f"{sign} on {site.servers.names[number]} comes at odd distances (once after {odd[0]:.1f} s): if it "
                    "merges replicas, as Thanos and Mimir do, set merges_replicas = true",
                )


def odd_seconds(stamps_ms: Int64s) -> list[float]:
    """Distances of samples that are no whole number of scrape intervals."""
    apart = np.diff(stamps_ms).astype(np.float64)
    if len(apart) == 0:
        return []
    usual = median(apart.tolist())
    odd = np.abs(apart - np.maximum(np.round(apart / usual), 1) * usual) > UNEVEN * usual
    seconds: list[float] = (apart[odd] / MS_PER_SECOND).tolist()
    return seconds
