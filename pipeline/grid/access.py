"""Who would be asked about a cluster's zone, with which credentials; and `carbon-etl grid check`, which asks."""

from collections.abc import Iterator, Mapping

from pipeline.discovery import FAIL, NOTE, OK, Finding
from pipeline.errors import ConfigError, SourceError
from pipeline.grid.fetch import kind
from pipeline.grid.forecasts import forecasters
from pipeline.grid.zone import Zone
from pipeline.settings.intensity import IntensitySettings, TokenTable, WattTimeTable
from pipeline.site import Site
from pipeline.sources.grid import eia, electricity_maps, entsoe, prometheus, watttime, yearly
from pipeline.sources.grid.web import NothingThere, NotInPlan

KEYED = {electricity_maps.ElectricityMaps.name, watttime.WattTime.name, eia.NAME, entsoe.NAME}


def credentials(name: str, intensity: IntensitySettings, env: Mapping[str, str]) -> str:
    """Where a provider's credentials are, never what they are.

    Raises:
        ConfigError: it needs some, and none are named or there.
    """
    if name == prometheus.NAME:
        return "on the cluster's own Prometheus"
    if name not in KEYED:
        return "needs no key"
    table = getattr(intensity, name)
    if isinstance(table, TokenTable) and table.token(env) is not None:
        return f"token from {table.token_env or table.token_file}"
    if isinstance(table, WattTimeTable) and table.login(env) is not None:
        return (
            f"user from {table.username_env or table.username_file}, "
            f"password from {table.password_env or table.password_file}"
        )
    raise ConfigError(f"no credentials are named: write token_env or token_file into [intensity.{name}]")


def would_ask(site: Site, env: Mapping[str, str], note: str = "") -> Iterator[Finding]:
    """For each provider of a cluster, in order of trust: about which zone it would be asked, and with what.

    Args:
        site: the cluster.
        env: where secrets are looked for.
        note: the end of the line of a provider that is asked.
    """
    prices, cluster, intensity = site.prices, site.name, site.settings.intensity
    for name in prices.rule.providers:
        if name == yearly.NAME:
            code = yearly.code_of(prices.place.yearly_code)
            of = f"of {code[0]}" if code else f"without a figure for {prices.place.yearly_code}"
            yield Finding(OK if code else NOTE, cluster, f"{name}: embedded yearly averages {of}")
        elif name in prices.files:
            yield Finding(OK, cluster, f"{name}: zone {prices.zones[name]}, read by each run")
        else:
            try:
                text = f"{name}: zone {prices.zones[name]}, {credentials(name, intensity, env)}"
            except ConfigError as error:
                yield Finding(FAIL, cluster, f"{name}: zone {prices.zones[name]}: {error}")
            else:
                yield Finding(OK, cluster, text + note)


def check(zone: Zone) -> Iterator[Finding]:
    """What each provider of a zone says that its credentials reach; asks them, stores nothing."""
    for name in zone.rule.providers:
        about = f"{zone.about} {name}"
        if name in zone.refused:
            yield Finding(NOTE, about, f"not asked: {zone.refused[name]}")
        elif name in zone.files:
            knows = zone.files[name].knows(zone.zones[name])
            said = f"the files {'have' if knows else 'have no'} figures of {zone.zones[name]}"
            yield Finding(OK if knows else NOTE, about, said)
        else:
            yield from _answers(about, zone, name)


def _answers(about: str, zone: Zone, name: str) -> Iterator[Finding]:
    try:
        for line in zone.web[name].check(zone.place.zone):
            yield Finding(OK, about, line)
    except (NothingThere, NotInPlan) as error:
        yield Finding(NOTE, about, f"{kind(error)}: {error}")
    except (SourceError, ConfigError) as error:
        yield Finding(FAIL, about, f"{kind(error)}: {error}")
    else:
        if name in forecasters(zone):
            yield Finding(OK, about, "has forecasts: `carbon-etl grid fetch --forecast`")
