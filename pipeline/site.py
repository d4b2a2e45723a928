"""One cluster as a run meets it: its settings turned into things that can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.meters import METERS, Extract, Meter
from pipeline.settings import ClusterSettings, Settings
from pipeline.sources import ownership, presence
from pipeline.sources.grid import csv_file, yearly
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.reach import oldest_sample_ms
from pipeline.sources.prometheus.selectors import Matcher
from pipeline.tables import INTENSITY, TIMESTAMP, values
from pipeline.transforms.accounting import Group, choose, with_refused
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, book
from pipeline.transforms.folded import Folded
from pipeline.transforms.owners import Owners
from pipeline.transforms.plausibility import Ceilings
from pipeline.transforms.selection import SelectionRule
from pipeline.transforms.sheet import FoldRules
from pipeline.units import MS_PER_HOUR
from pipeline.window import Clock, Window, to_ms

PROVIDERS = (csv_file.NAME, yearly.NAME)
NAME_LABEL = "__name__"


class MeterFold(NamedTuple):
    """What one meter says of an hour: its samples, their meaning, its rows."""

    samples: object
    folded: Folded
    energy: Energy


@dataclass(frozen=True)
class Site:
    """A cluster's address, rules and prices.

    Attributes:
        settings: its part of the config.
        server: where its samples are.
        rules: how they are folded.
        ceilings: what no device can exceed.
        selection: how its intensity is chosen.
        place: where its power comes from.
        digest: of everything that decides its figures.
        warnings: what the server put beside its answers so far.
    """

    settings: ClusterSettings
    server: PrometheusServer
    rules: FoldRules
    ceilings: Ceilings
    selection: SelectionRule
    place: yearly.Place
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

    def fold_meters(self, hour_utc: datetime) -> dict[str, MeterFold]:
        """Read everything one hour may look at, and fold it: every configured meter for itself.

        Raises:
            SourceError: the server did not give all of it.
        """
        window = Window.of_hour(hour_utc)
        start_ms, end_ms = window.start_ms - self.rules.max_gap_ms - 1, window.end_ms + self.rules.max_gap_ms
        matchers = self.server.matchers
        owned = ownership.read(self.server, matchers, start_ms, end_ms)
        stamps_ms, created_ms = presence.read_presence(self.server, matchers, start_ms, end_ms)
        seen = Presence(stamps_ms, created_ms) if stamps_ms else None
        owners = Owners(owned.pods, owned.replicasets, owned.jobs)
        gap_ms = self.rules.max_gap_ms
        extract = Extract(self.server, matchers, start_ms, end_ms, gap_ms, self.ceilings, owned.started_ms)
        there, folds = self.meters_found(start_ms, end_ms), {}
        for meter in self.meters:
            if meter in there:
                reading = meter.read(extract)
                energy = book(reading.folded, window, self.rules, owners, seen)
                energy = with_refused(energy, reading.refused(window, self.name))
                energy = replace(
                    energy,
                    processes=reading.processes(window, self.name),
                    faults=tuple(reading.faults(window)),
                )
                folds[meter.name] = MeterFold(reading.samples, reading.folded, energy)
        return folds

    def fold_hour(self, hour_utc: datetime) -> Energy:
        """Energy of an hour, each component group of a node by the one meter that accounts for it.

        Raises:
            SourceError: the server did not give all of it.
        """
        return choose({name: fold.energy for name, fold in self.fold_meters(hour_utc).items()}, self.orders)

    def offered_vintages(self, window: Window, now: datetime) -> pa.Table:
        """What providers whose figures are kept in the warehouse say about a window now, schema INTENSITY."""
        source = self.settings.intensity.csv
        if csv_file.NAME not in self.selection.providers or source is None or source.path is None:
            return INTENSITY.empty_table()
        offered = csv_file.read(source.path, source.factor_type, now)
        begins = pc.less(offered["start_utc"], pa.scalar(window.end, TIMESTAMP))
        ends = pc.greater(offered["end_utc"], pa.scalar(window.start, TIMESTAMP))
        return offered.filter(pc.and_(pc.and_(begins, ends), pc.equal(offered["zone"], pa.scalar(self.place.zone))))

    def embedded_vintages(self, window: Window) -> pa.Table:
        """The embedded yearly averages over a window, schema INTENSITY; never stored: a release carries them."""
        wanted = yearly.NAME in self.selection.providers
        return yearly.fetch(self.place.yearly_code, window) if wanted else INTENSITY.empty_table()


def open_site(name: str, settings: Settings, env: Mapping[str, str], clock: Clock) -> Site:
    """The cluster of that name, its prices checked.

    Raises:
        ConfigError: a provider that cannot deliver what the cluster declares, or a zone that no provider knows.
    """
    cluster = settings.cluster(name)
    place = yearly.place(cluster.grid_zone, cluster.cloud, cluster.region)
    check_prices(cluster, place, clock.now())
    warnings: list[str] = []
    endpoint = cluster.prometheus[0]
    return Site(
        settings=cluster,
        server=PrometheusServer(endpoint, settings.http, env, clock, on_warning=warnings.append),
        rules=FoldRules(cluster.name, settings.energy.max_gap_ms, cluster.step_minutes),
        ceilings=Ceilings(settings.energy.ceiling_watts.socket, settings.energy.ceiling_watts.gpu),
        selection=SelectionRule(cluster.intensity.providers, cluster.intensity.factor_type, cluster.intensity.accept),
        place=place,
        digest=cluster.digest(settings.energy),
        warnings=warnings,
    )


def check_prices(cluster: ClusterSettings, place: yearly.Place, now: datetime) -> None:
    """Refuse providers that do not exist or cannot deliver, and zones that none of them knows.

    Raises:
        ConfigError: one line: which cluster, which provider, what to write instead.
    """
    where, wanted = f"cluster {cluster.name}", cluster.intensity.factor_type
    source = cluster.intensity.csv
    for provider in cluster.intensity.providers:
        if provider not in PROVIDERS:
            raise ConfigError(f"{where}: unknown intensity provider {provider!r}: known are {', '.join(PROVIDERS)}")
    if yearly.NAME in cluster.intensity.providers and wanted != yearly.FACTOR_TYPE:
        raise ConfigError(f"{where}: provider static has {yearly.FACTOR_TYPE} factors only: remove it from providers")
    known = yearly.NAME in cluster.intensity.providers and yearly.code_of(place.yearly_code) is not None
    if csv_file.NAME in cluster.intensity.providers:
        if source is None or source.path is None:
            raise ConfigError(f'{where}: provider csv needs [intensity.csv] path = "..."')
        if source.factor_type != wanted:
            raise ConfigError(f"{where}: provider csv has {source.factor_type} factors, the cluster declares {wanted}")
        known |= place.zone in _zones_of(source.path, source.factor_type, now)
    if not known:
        near = yearly.nearest_zones(place.zone)
        raise ConfigError(
            f"{where}: no provider knows grid zone {place.zone!r}"
            + (f": did you mean {' or '.join(near)}?" if near else "")
        )


def _zones_of(path: Path, factor_type: str, now: datetime) -> set[str]:
    return set(values(csv_file.read(path, factor_type, now), "zone"))
