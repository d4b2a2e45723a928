"""One cluster as a run meets it: its settings turned into things that can be asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.extraction import MeterFold, fold_window, read_known
from pipeline.meters import METERS, Meter
from pipeline.prices import Prices, open_prices
from pipeline.settings import ClusterSettings, Settings
from pipeline.sources.meters import platform
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.reach import oldest_sample_ms
from pipeline.sources.prometheus.selectors import Matcher, parse_matchers
from pipeline.transforms.accounting import Group, choose
from pipeline.transforms.energy import NOTHING, Energy, join
from pipeline.transforms.platform import NodeHour, PlatformReading, checked, fold_platform, scaled
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.scopes import Host, counted_once
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import Clock, Window, to_ms

NAME_LABEL = "__name__"


@dataclass(frozen=True)
class Site:
    """A cluster's address, rules and prices.

    Attributes:
        settings: its part of the config.
        server: where its samples are.
        rules: how they are folded.
        ceilings: what no device can exceed.
        prices: what its energy is priced with.
        digest: of everything that decides its joules, `-`, and of everything that decides its grams.
        warnings: what the server put beside its answers so far.
    """

    settings: ClusterSettings
    server: BulkServer
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

    def oldest_ms(self, now: datetime) -> int | None:
        """Stamp of the oldest raw sample of any configured meter, None without any."""
        signs = (sign for meter in self.meters for sign in meter.signs)
        found = [oldest_sample_ms(self.server, sign, self.server.matchers, to_ms(now)) for sign in signs]
        return min((stamp for stamp in found if stamp is not None), default=None)

    def meters_found(self, start_ms: int, end_ms: int) -> list[Meter]:
        """Meters that have samples with `start_ms <= stamp <= end_ms`, whether the config names them or not.

        Raises:
            SourceError: the server does not answer.
        """
        signs = Matcher(NAME_LABEL, "=~", "|".join(sign for meter in METERS.values() for sign in meter.signs))
        series = f"{{{','.join(str(matcher) for matcher in (signs, *self.server.matchers))}}}"
        span = f"[{end_ms - start_ms + 1}ms]"
        answer = self.server.vector(f"count by ({NAME_LABEL}) (last_over_time({series}{span}))", end_ms)
        names = {labels.get(NAME_LABEL) for labels, _ in answer}
        return [meter for meter in METERS.values() if names & set(meter.signs)]

    def nothing_found(self, now: datetime) -> str:
        """What to say where no configured meter has a sample: which were looked for, and what is there instead."""
        now_ms = to_ms(now)
        others = [meter for meter in self.meters_found(now_ms - MS_PER_HOUR, now_ms) if meter not in self.meters]
        found = "".join(f"; found {meter.title}: add {meter.name!r} to its meters" for meter in others)
        return (
            f"{self.server.url} has no series of any configured meter ({', '.join(m.title for m in self.meters)}) "
            f"for cluster {self.name}{found}: is one scraped there, and is the selector right? "
            "`carbon-etl doctor` shows what is found"
        )

    def fold_meters(self, window: Window) -> dict[str, MeterFold]:
        """Every configured meter for itself, over whole hours.

        Raises:
            SourceError: the server did not give all of it.
        """
        known = read_known(self.server, window, self.rules.max_gap_ms)
        there = self.meters_found(window.start_ms - self.rules.max_gap_ms - 1, window.end_ms + self.rules.max_gap_ms)
        wanted = [meter for meter in self.meters if meter in there]
        return fold_window(self.server, wanted, window, self.rules, self.ceilings, self.settings, known)

    def fold_hours(self, hours: Sequence[datetime], oldest_ms: int) -> Energy:
        """Energy of some hours in time order; those that end before the oldest sample are not asked for.

        Raises:
            SourceError: the server did not give all of it.
        """
        first_ms = oldest_ms - self.rules.max_gap_ms - MS_PER_HOUR
        return join([NOTHING, *(self.fold_hour(hour) for hour in hours if to_ms(hour) >= first_ms)])

    def fold_hour(self, hour_utc: datetime) -> Energy:
        """Energy of an hour, each component group of a node by the one meter that accounts for it.

        Raises:
            SourceError: the server did not give all of it.
        """
        return self.account(self.fold_meters(Window.of_hour(hour_utc)), hour_utc)

    def account(self, folds: Mapping[str, MeterFold], hour_utc: datetime) -> Energy:
        """The energy of an hour that was folded by every meter, held against the platform meter where there is one.

        Raises:
            SourceError: the server did not give all of the platform meter.
        """
        energy = choose({name: fold.energy for name, fold in folds.items()}, self.orders)
        if self.settings.platform is None:
            return energy
        readings = self.fold_platform(hour_utc)
        if self.settings.platform.use == "scale":
            return scaled(energy, readings)
        return checked(energy, readings, METERS)

    def fold_platform(self, hour_utc: datetime) -> dict[NodeHour, PlatformReading]:
        """What the platform meter reads of each node in an hour; nothing where none is configured.

        Raises:
            SourceError: the server did not give all of it.
        """
        wanted, window, gap_ms = self.settings.platform, Window.of_hour(hour_utc), self.rules.max_gap_ms
        if wanted is None:
            return {}
        samples = platform.read(
            self.server, (*self.server.matchers, *parse_matchers(wanted.selector)), window.start_ms - gap_ms - 1,
            window.end_ms + gap_ms, wanted.metric, wanted.node_label,
        )  # fmt: skip
        return fold_platform(samples, window, gap_ms, wanted.unit)

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
    endpoint = cluster.prometheus[0]
    if cluster.platform is not None:
        parse_matchers(cluster.platform.selector)
    server = BulkServer(endpoint, settings.http, env, clock, on_warning=warnings.append)
    prices = open_prices(name, settings, env, clock, server)
    return Site(
        settings=cluster,
        server=server,
        rules=FoldRules(cluster.name, settings.energy.max_gap_ms, cluster.step_minutes),
        ceilings=Ceilings(settings.energy.ceiling_watts.socket, settings.energy.ceiling_watts.gpu),
        prices=prices,
        digest=f"{cluster.digest(settings.energy)}-{prices.digest}",
        warnings=warnings,
    )
