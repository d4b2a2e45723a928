"""One cluster as a run meets it: its settings turned into things that can be asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.settings import ClusterSettings, Settings
from pipeline.sources import ownership, presence
from pipeline.sources.grid import csv_file, yearly
from pipeline.sources.meters import kepler
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.reach import oldest_sample_ms
from pipeline.tables import INTENSITY, TIMESTAMP, values
from pipeline.transforms.coverage import Presence
from pipeline.transforms.energy import Energy, fold
from pipeline.transforms.owners import Owners
from pipeline.transforms.selection import SelectionRule
from pipeline.transforms.sheet import FoldRules
from pipeline.window import Clock, Window, to_ms

PROVIDERS = (csv_file.NAME, yearly.NAME)


@dataclass(frozen=True)
class Site:
    """A cluster's address, rules and prices.

    Attributes:
        settings: its part of the config.
        server: where its samples are.
        rules: how they are folded.
        selection: how its intensity is chosen.
        place: where its power comes from.
        digest: of everything that decides its figures.
        warnings: what the server put beside its answers so far.
    """

    settings: ClusterSettings
    server: PrometheusServer
    rules: FoldRules
    selection: SelectionRule
    place: yearly.Place
    digest: str
    warnings: list[str]

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.settings.name

    def oldest_ms(self, now: datetime) -> int | None:
        """Stamp of the oldest raw sample of the meter, None without any."""
        return oldest_sample_ms(self.server, kepler.ACTIVE, self.server.matchers, to_ms(now))

    def fold_hour(self, hour_utc: datetime) -> Energy:
        """Read everything one hour may look at, and fold it.

        Raises:
            SourceError: the server did not give all of it.
        """
        window = Window.of_hour(hour_utc)
        start_ms, end_ms = window.start_ms - self.rules.max_gap_ms - 1, window.end_ms + self.rules.max_gap_ms
        matchers = self.server.matchers
        samples = kepler.read(self.server, matchers, start_ms, end_ms)
        owners = ownership.read(self.server, matchers, start_ms, end_ms)
        stamps_ms, created_ms = presence.read_presence(self.server, matchers, start_ms, end_ms)
        return fold(
            samples,
            window,
            self.rules,
            Owners(owners.pods, owners.replicasets, owners.jobs),
            owners.started_ms,
            Presence(stamps_ms, created_ms) if stamps_ms else None,
        )

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
