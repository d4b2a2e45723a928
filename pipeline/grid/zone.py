"""A zone of the grid with its providers open: a cluster's own, or one that is only named."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, cast, get_args

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.prices import MARGIN
from pipeline.providers import FILES, WEB, Access, open_providers
from pipeline.settings import Settings, nearest
from pipeline.settings.intensity import GridProviderName, IntensitySettings, ProviderTable
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.grid import prometheus, yearly
from pipeline.sources.grid.contract import FactorType, FileProvider, Provider, Signal
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.transforms.selection import SelectionRule
from pipeline.window import Clock, Window

EMBEDDED = "embedded in this program, never asked"


class Wanted(NamedTuple):
    """What the command line says beside the zone.

    Attributes:
        signal: `average` or `marginal`; None: whatever providers have.
        factor_type: None: as configured.
        provider: None: every one that the configuration names.
    """

    signal: Signal | None = "average"
    factor_type: FactorType | None = None
    provider: str | None = None


@dataclass(frozen=True)
class Zone:
    """Where power comes from, and who tells how clean it is; `refresh.Asked`.

    Attributes:
        about: the zone as messages name it, with the cluster's name where it is one's.
        place: where it is.
        rule: in which order its providers are trusted, and the factor type.
        signal: `average` or `marginal`.
        web: providers that are asked, by name.
        files: providers that are read whole, by name.
        zones: each of these providers' own name for it.
        refused: why other providers cannot be asked, by name.
    """

    about: str
    place: yearly.Place
    rule: SelectionRule
    signal: Signal
    web: Mapping[str, Provider]
    files: Mapping[str, FileProvider]
    zones: Mapping[str, str]
    refused: Mapping[str, str]

    def held(self, warehouse: Warehouse, window: Window) -> pa.Table:
        """What is known of a window, schema INTENSITY: from the warehouse, and the embedded yearly averages."""
        wide = Window(window.start - MARGIN, window.end + MARGIN)
        tables = [warehouse.intensity_vintages(self.zones, wide, self.signal)]
        if yearly.NAME in self.rule.providers and self.signal == "average":
            tables.append(yearly.fetch(self.place.yearly_code, wide))
        return pa.concat_tables(tables)


@dataclass(frozen=True)
class _Opening:
    """What a provider of a zone is opened with."""

    place: yearly.Place
    intensity: IntensitySettings
    access: Access
    is_cluster: bool

    def open(self, name: str, *, own_name: bool) -> tuple[Provider | FileProvider, str]:
        """The provider and its name for the zone.

        Args:
            name: which.
            own_name: the zone may be named as the provider names it.

        Raises:
            ConfigError: it is not told what it needs, or does not know the zone.
        """
        if name == yearly.NAME:
            raise ConfigError(EMBEDDED)
        if name == prometheus.NAME and not self.is_cluster:
            raise ConfigError("it reads a cluster's own Prometheus: give --cluster instead of a zone")
        provider = self._opened(name, self.intensity)
        try:
            return provider, provider.zone_of(self.place.zone)
        except ConfigError:
            table = getattr(self.intensity, name)
            if not own_name or self.is_cluster or not isinstance(table, ProviderTable):
                raise
            named = table.model_copy(update={"zone": self.place.zone})
            provider = self._opened(name, self.intensity.model_copy(update={name: named}))
            return provider, provider.zone_of(self.place.zone)

    def _opened(self, name: str, intensity: IntensitySettings) -> Provider | FileProvider:
        web, files = open_providers(intensity.model_copy(update={"providers": (name,)}), self.access)
        return (web or files)[name]


def open_zone(
    settings: Settings, zone: str | None, cluster: str | None, wanted: Wanted, env: Mapping[str, str], clock: Clock
) -> Zone:
    """The zone of that name by `[intensity]`, or a cluster's by its own configuration; nothing is asked yet.

    A bare zone is as `grid_zone` has it; beside a provider's name it may also be the provider's own. The key `zone` of
    a provider's table renames a cluster's zone and is not used for a bare one.

    Raises:
        ConfigError: neither or both are given, or the one provider that is wanted cannot be asked.
    """
    opening, about = _opening(settings, zone, cluster, env, clock)
    if wanted.signal == "marginal" and cluster is not None:
        opening = replace(opening, intensity=_with_marginal_zone(settings, cluster, opening.intensity))
    names, factor_type = _names(opening.intensity, wanted), wanted.factor_type or opening.intensity.factor_type
    opened: dict[str, Provider | FileProvider] = {}
    zones: dict[str, str] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            provider, own = opening.open(name, own_name=wanted.provider is not None)
            if wanted.signal is not None:
                _refuse_other(name, provider.offers, wanted.signal, factor_type)
        except ConfigError as error:
            refused[name] = str(error)
        else:
            opened[name], zones[name] = provider, own
    if wanted.provider in refused and wanted.provider != yearly.NAME:
        raise ConfigError(f"provider {wanted.provider} cannot be asked about {about}: {refused[wanted.provider]}")
    return Zone(
        about,
        opening.place,
        SelectionRule(tuple(names), factor_type, opening.intensity.accept),
        wanted.signal or "average",
        {name: cast("Provider", provider) for name, provider in opened.items() if name not in FILES},
        {name: cast("FileProvider", provider) for name, provider in opened.items() if name in FILES},
        zones,
        refused,
    )


def _opening(
    settings: Settings, zone: str | None, cluster: str | None, env: Mapping[str, str], clock: Clock
) -> tuple[_Opening, str]:
    if (zone is None) == (cluster is None):
        raise ConfigError("say which zone: ZONE as in grid_zone, or --cluster NAME")
    asked = settings.clusters[0] if cluster is None else settings.cluster(cluster)
    shards = [
        [PrometheusServer(endpoint, settings.http, env, clock) for endpoint in replicas] for replicas in asked.shards
    ]
    access = Access(settings.http, env, clock, Servers(shards, clock))
    if zone is not None:
        bare = yearly.place(zone, None, None)
        return _Opening(bare, _without_zones(settings.intensity), access, is_cluster=False), zone
    place = yearly.place(asked.grid_zone, asked.cloud, asked.region)
    return _Opening(place, asked.intensity, access, is_cluster=True), f"{place.zone} (cluster {asked.name})"


def _with_marginal_zone(settings: Settings, cluster: str, intensity: IntensitySettings) -> IntensitySettings:
    """Marginal rates have zones of their own, which `[marginal]` gives by cluster."""
    own, name = settings.marginal.zones.get(cluster), settings.marginal.provider
    table = getattr(intensity, name)
    if own is None or table is None:
        return intensity
    return intensity.model_copy(update={name: table.model_copy(update={"zone": own})})


def _names(intensity: IntensitySettings, wanted: Wanted) -> list[str]:
    """Who is asked: for other figures than averages also providers that only have a table: these make no price."""
    if wanted.provider is not None:
        known = get_args(GridProviderName)
        if wanted.provider not in known:
            raise ConfigError(f"no provider {wanted.provider!r}{nearest(wanted.provider, known)}")
        return [wanted.provider]
    own = [] if wanted.signal == "average" else with_table(intensity)
    return list(dict.fromkeys([*intensity.providers, *own]))


def with_table(intensity: IntensitySettings) -> list[str]:
    """Providers that have a table in the configuration, whether or not they are named."""
    return [name for name in (*WEB, prometheus.NAME, *FILES) if getattr(intensity, name) is not None]


def _without_zones(intensity: IntensitySettings) -> IntensitySettings:
    tables = {name: getattr(intensity, name) for name in with_table(intensity)}
    return intensity.model_copy(
        update={
            name: table.model_copy(update={"zone": None})
            for name, table in tables.items()
            if isinstance(table, ProviderTable)
        }
    )


def _refuse_other(name: str, offers: Iterable[tuple[str, str]], signal: Signal, factor_type: FactorType) -> None:
    if (signal, factor_type) not in offers:
        has = " and ".join(" ".join(pair) for pair in sorted(offers))
        raise ConfigError(f"{name} has {has} figures, not {signal} {factor_type}: see --signal and --factor-type")
