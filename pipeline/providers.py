"""Every provider of grid intensity that can be asked. Adding one is adding an entry.

Kinds: a web API or a gauge is a `contract.Provider`, asked only where its figures may have changed; a file is read
whole by each run; the embedded yearly table is part of this program and never stored.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from pipeline.errors import ConfigError
from pipeline.settings import HttpSettings, intensity
from pipeline.sources.grid import (
    csv_file,
    eia,
    electricity_maps,
    electricity_maps_csv,
    energinet,
    entsoe,
    neso,
    prometheus,
    rte,
    watttime,
)
from pipeline.sources.grid.contract import FileProvider, Provider
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.window import Clock


class Access(NamedTuple):
    """What a provider is opened with.

    Attributes:
        http: limits of every call.
        env: where secrets are read.
        clock: for deadlines and pacing.
        servers: the cluster's own, for figures that lie there.
    """

    http: HttpSettings
    env: Mapping[str, str]
    clock: Clock
    servers: Servers[PrometheusServer]


Web: TypeAlias = Callable[[Any, HttpSettings, Mapping[str, str], Clock], Provider]

# What opens a provider, and its table where the configuration has none; None: it cannot do without.
WEB: dict[str, tuple[Web, Callable[[], Any] | None]] = {
    electricity_maps.ElectricityMaps.name: (electricity_maps.ElectricityMaps, intensity.ElectricityMapsTable),
    watttime.WattTime.name: (watttime.WattTime, intensity.WattTimeTable),
    neso.NAME: (neso.Neso, intensity.NesoTable),
    rte.NAME: (rte.Rte, intensity.RteTable),
    energinet.NAME: (energinet.Energinet, intensity.EnerginetTable),
    eia.NAME: (eia.Eia, intensity.EiaTable),
    entsoe.NAME: (entsoe.Entsoe, intensity.EntsoeTable),
}
FILES: dict[str, Callable[[Any], FileProvider]] = {
    csv_file.NAME: csv_file.CsvFile,
    electricity_maps_csv.NAME: electricity_maps_csv.ElectricityMapsCsv,
}


def open_providers(
    settings: intensity.IntensitySettings, access: Access
) -> tuple[dict[str, Provider], dict[str, FileProvider]]:
    """The providers that the configuration names, in its order: those that are asked, and those that are files.

    Raises:
        ConfigError: one that needs a table has none.
    """
    asked: dict[str, Provider] = {}
    files: dict[str, FileProvider] = {}
    for name in settings.providers:
        if name in WEB:
            opened, default = WEB[name]
            asked[name] = opened(_table(name, settings, default), access.http, access.env, access.clock)
        elif name in FILES:
            files[name] = FILES[name](_table(name, settings, None))
        elif name == prometheus.NAME:
            asked[name] = prometheus.PrometheusGauge(_table(name, settings, None), access.servers, access.clock)
    return asked, files


def _table(name: str, settings: intensity.IntensitySettings, default: Callable[[], Any] | None) -> Any:  # noqa: ANN401 # one of many tables
    given = getattr(settings, name)
    if given is None and default is None:
        raise ConfigError(f"provider {name} needs its table: write [intensity.{name}] (docs/reference.md)")
    return default() if given is None and default is not None else given
