"""One cluster as a run meets it: its settings turned into things that can be asked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import NamedTuple

from pipeline.extraction import MOST_HOURS, Fold, MeterFold, first_window, read_known
from pipeline.meters import METERS, Meter, meters_on
from pipeline.prices import Prices, open_prices
from pipeline.settings import ClusterSettings, Settings
from pipeline.sources.concurrency import at_once
from pipeline.sources.meters import platform
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.reach import oldest_sample_ms
from pipeline.sources.prometheus.selectors import parse_matchers
from pipeline.sources.prometheus.servers import Servers
from pipeline.sources.servers import older_scrapes, open_servers
from pipeline.transforms.accounting import Group, choose
from pipeline.transforms.energy import NOTHING, Energy, join
from pipeline.transforms.platform import NodeHour, PlatformReading, checked, fold_platform, scaled
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.replicas import Accounted, best_read, join_meters, with_skews
from pipeline.transforms.scopes import Host, counted_once
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import Clock, Window, to_ms


class ServerFold(NamedTuple):
    """Some hours by one server.

    Attributes:
        number: of the server, in the config's order.
        meters: what each of the configured meters says there, by name.
    """

    number: int
    meters: dict[str, MeterFold]


@dataclass(frozen=True)
class Site:
    """A cluster's address, rules and prices.

    Attributes:
        settings: its part of the config.
        servers: where its samples are.
        rules: how they are folded.
        ceilings: what no device can exceed.
        prices: what its energy is priced with.
        digest: of everything that decides its joules, `-`, and of everything that decides its grams.
        warnings: what servers put beside their answers so far, and which of them gave none.
    """

    settings: ClusterSettings
    servers: Servers[BulkServer]
    rules: FoldRules
    ceilings: Ceilings
    prices: Prices
    digest: str
    warnings: list[str]

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.settings.name

    @property
    def orders(self) -> dict[Group, tuple[str, ...]]:
        """The meters of each component group, the most trusted first."""
        return {"cpu": self.settings.meters, "gpu": self.settings.gpu_meters}

    @property
    def meters(self) -> list[Meter]:
        """All meters that the config names, in its order."""
        return [METERS[n] for n in dict.fromkeys(n for order in self.orders.values() for n in order)]

    @property
    def server(self) -> BulkServer:
        """The first of its servers; the only one of most clusters."""
        return self.servers.first

    def oldest_ms(self, now: datetime) -> int | None:
        """Stamp of the oldest raw sample of any configured meter on any server, None without any.

        Raises:
            SourceError: a shard does not answer.
        """

        def ask(server: BulkServer) -> list[int | None]:
            oldest = partial(oldest_sample_ms, server, matchers=server.matchers, now_ms=to_ms(now))
            return at_once([partial(oldest, sign) for meter in self.meters for sign in meter.signs], server.concurrency)

        found = [stamp for _, stamps in self.servers.each(ask) for stamp in stamps]
        return min((stamp for stamp in found if stamp is not None), default=None)

    def meters_found(self, start_ms: int, end_ms: int) -> list[Meter]:
        """Meters of which any server has samples with `start_ms <= stamp <= end_ms`, whether the config names them.

        Raises:
            SourceError: a shard does not answer.
        """
        answers = self.servers.each(lambda server: meters_on(server, start_ms, end_ms))
        found = {meter.name for _, meters in answers for meter in meters}
        return [meter for meter in METERS.values() if meter.name in found]

    def nothing_found(self, now: datetime) -> str:
        """What to say where no configured meter has a sample: which were looked for, and what is there instead."""
        now_ms = to_ms(now)
        others = [meter for meter in self.meters_found(now_ms - MS_PER_HOUR, now_ms) if meter not in self.meters]
        found = "".join(f"; found {meter.title}: add {meter.name!r} to its meters" for meter in others)
        return (
            f"{self.servers.said} has no series of any configured meter ({', '.join(m.title for m in self.meters)}) "
            f"for cluster {self.name}{found}: is one scraped there, and is the selector right? "
            "`carbon-etl doctor` shows what is found"
        )

    def fold_meters(self, window: Window) -> dict[str, MeterFold]:
        """Every configured meter for itself, over whole hours, as the first server that answers shows them.

        Raises:
            SourceError: a shard did not give all of it.
        """
        return self.fold_servers(window)[0].meters

    def fold_servers(self, window: Window) -> list[ServerFold]:
        """Every configured meter of every server that answers for itself, over whole hours, with all its samples.

        Raises:
            SourceError: a shard did not give all of it.
        """
        fold = self._fold(window)

        def whole(server: BulkServer) -> dict[str, MeterFold]:
            return fold.whole(self.servers.transport_of(server), server.matchers, self._read_on(server, window))

        return [ServerFold(number, meters) for number, meters in self.servers.each(whole)]

    def _fold(self, window: Window) -> Fold:
        known = read_known(self.servers, window, self.rules.max_gap_ms)
        return Fold(window, self.rules, self.ceilings, self.settings, known, self.server.concurrency)

    def _read_on(self, server: BulkServer, window: Window) -> list[Meter]:
        """Configured meters of which a server has samples that the fold of some hours may look at."""
        there = meters_on(server, window.start_ms - self.rules.max_gap_ms - 1, window.end_ms + self.rules.max_gap_ms)
        return [meter for meter in self.meters if meter in there]

    def joined(self, window: Window) -> dict[str, Accounted]:
        """Whole hours by every configured meter, of each node by one of the servers that show it.

        Raises:
            SourceError: a shard did not give all of it.
        """
        fold = self._fold(window)

        def energies(server: BulkServer) -> dict[str, Energy]:  # without samples: of all servers there is no room
            transport = self.servers.transport_of(server)
            found = fold.energies(transport, server.matchers, self._read_on(server, window))
            return {name: with_skews(energy, older_scrapes(server, name)) for name, energy in found.items()}

        return self.join(self.servers.each(energies))

    def join(self, answers: Iterable[tuple[int, Mapping[str, Energy]]]) -> dict[str, Accounted]:
        """Every meter by all servers that answered, from each one's number and energies."""
        return join_meters(answers, [meter.name for meter in self.meters], self.servers.shard_of, self.servers.names)

    def fold_hours(self, hours: Sequence[datetime], oldest_ms: int) -> Energy:
        """Energy of some hours in time order; those that end before the oldest sample are not asked for.

        Raises:
            SourceError: a shard did not give all of it.
        """
        first_ms = oldest_ms - self.rules.max_gap_ms - MS_PER_HOUR
        left, parts = [hour for hour in hours if to_ms(hour) >= first_ms], [NOTHING]
        while left:
            window = first_window(left, MOST_HOURS)
            parts.append(self.fold(window))
            left = left[window.hour_count :]
        return join(parts)

    def fold(self, window: Window) -> Energy:
        """Energy of whole hours, each component group of a node by the one meter that accounts for it in an hour.

        Raises:
            SourceError: a shard did not give all of it.
        """
        return self.account(self.joined(window), window)

    def account(self, joined: Mapping[str, Accounted], window: Window) -> Energy:
        """The energy of hours that were folded by every meter, held against the platform meter where there is one.

        Raises:
            SourceError: a shard did not give all of the platform meter.
        """
        energy = choose({name: one.energy for name, one in joined.items()}, self.orders)
        energy = replace(energy, remarks=tuple(remark for one in joined.values() for remark in one.remarks))
        if self.settings.platform is None:
            return energy
        readings = self.fold_platform(window)
        if self.settings.platform.use == "scale":
            return scaled(energy, readings)
        return checked(energy, readings, METERS)

    def fold_platform(self, window: Window) -> dict[NodeHour, PlatformReading]:
        """What the platform meter reads of each node in whole hours; nothing where none is configured.

        Raises:
            SourceError: a shard did not give all of it.
        """
        wanted, gap_ms = self.settings.platform, self.rules.max_gap_ms
        if wanted is None:
            return {}

        def ask(server: BulkServer) -> dict[NodeHour, PlatformReading]:
            samples = platform.read(
                server, (*server.matchers, *parse_matchers(wanted.selector)), window.start_ms - gap_ms - 1,
                window.end_ms + gap_ms, wanted.metric, wanted.node_label,
            )  # fmt: skip
            return fold_platform(samples, window, gap_ms, wanted.unit)

        return best_read([answer for _, answer in self.servers.each(ask)])

    def counted_once(self, energy: Energy) -> Energy:
        """Final figures of some hours without those of a host that its guests show, too, or the other way round."""
        return counted_once(energy, [Host(host.node, host.guests, host.count) for host in self.settings.hosts])


def open_site(name: str, settings: Settings, env: Mapping[str, str], clock: Clock) -> Site:
    """The cluster of that name, its prices checked.

    Raises:
        ConfigError: a provider that cannot deliver what the cluster declares, or a zone that no provider knows.
    """
    cluster = settings.cluster(name)
    warnings: list[str] = []
    if cluster.platform is not None:
        parse_matchers(cluster.platform.selector)
    servers = open_servers(cluster.shards, settings.http, env, clock, settings.energy.max_gap_ms, warnings.append)
    prices = open_prices(name, settings, env, clock, servers)
    return Site(
        settings=cluster,
        servers=servers,
        rules=FoldRules(cluster.name, settings.energy.max_gap_ms, cluster.step_minutes),
        ceilings=Ceilings(settings.energy.ceiling_watts.socket, settings.energy.ceiling_watts.gpu),
        prices=prices,
        digest=f"{cluster.digest(settings.energy)}-{prices.digest}",
        warnings=warnings,
    )
