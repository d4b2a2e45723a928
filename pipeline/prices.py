"""What a cluster's energy is priced with: its zone, its providers in order of trust, its PUE."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.providers import Access, open_providers
from pipeline.settings import ClusterSettings, Settings
from pipeline.sinks.warehouse import Warehouse
from pipeline.sources.grid import yearly
from pipeline.sources.grid.contract import FileProvider, Provider
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.servers import Servers
from pipeline.sources.pue import PueSource, StatedPue, open_pue
from pipeline.transforms.emissions import slots_with_energy
from pipeline.transforms.platform import price_with_platform
from pipeline.transforms.pue_selection import PueVintages
from pipeline.transforms.selection import CARRIED_HOURS, QUALITIES, Answer, SelectionRule, Vintages
from pipeline.window import Clock, Window

MARGIN = timedelta(hours=CARRIED_HOURS)  # an hour may be carried by one so far away


class Fresh(NamedTuple):
    """What a run has learned: schemas INTENSITY and PUE; stored already, unless it is a dry run."""

    vintages: pa.Table
    pues: pa.Table


class Known(NamedTuple):
    """All that may price some hours."""

    vintages: Vintages
    pues: PueVintages


@dataclass(frozen=True)
class Prices:
    """A cluster's prices, its providers open.

    Attributes:
        settings: its part of the config.
        place: where its power comes from.
        rule: how one intensity is chosen of all.
        web: providers that are asked where their figures may have changed, by name.
        files: providers that are read whole, by name.
        zones: each stored provider's own name for the cluster's zone.
        pue: where its PUE is from.
        digest: of everything that decides grams, given joules.
    """

    settings: ClusterSettings
    place: yearly.Place
    rule: SelectionRule
    web: Mapping[str, Provider]
    files: Mapping[str, FileProvider]
    zones: Mapping[str, str]
    pue: PueSource
    digest: str

    def held(self, warehouse: Warehouse, window: Window) -> pa.Table:
        """All that may price a window, schema INTENSITY: what the warehouse holds, and the embedded yearly averages."""
        wide = Window(window.start - MARGIN, window.end + MARGIN)
        tables = [warehouse.intensity_vintages(self.zones, wide)]
        if yearly.NAME in self.rule.providers:
            tables.append(yearly.fetch(self.place.yearly_code, wide))
        return pa.concat_tables(tables)

    def held_pues(self, warehouse: Warehouse, window: Window) -> pa.Table:
        """All that may give a window's hours their PUE, schema PUE: what the warehouse holds, or what is stated."""
        if isinstance(self.pue, StatedPue):
            return self.pue.rows(window)
        return warehouse.pue_vintages(self.settings.name, self.pue.source, window)

    def known(self, warehouse: Warehouse, window: Window, fresh: Fresh) -> Known:
        """What is held of a window, and what a dry run could not store."""
        return Known(
            Vintages(pa.concat_tables([self.held(warehouse, window), fresh.vintages])),
            PueVintages(pa.concat_tables([self.held_pues(warehouse, window), fresh.pues])),
        )

    def price(self, rows: pa.Table, known: Known, now: datetime) -> tuple[pa.Table, dict[datetime, str]]:
        """Energy rows with their prices, and the hours that `strict` refuses, each with its reason.

        Args:
            rows: energy rows, without price columns.
            known: all that may price them.
            now: the present.
        """
        answers = {
            hour: known.vintages.select(hour, needed, self.rule, now)
            for hour, needed in slots_with_energy(rows).items()
        }
        return self.price_by(rows, answers, known.pues), self._refused(answers)

    def price_by(self, rows: pa.Table, answers: Mapping[datetime, Answer], pues: PueVintages) -> pa.Table:
        """Energy rows with their prices; the PUE is not applied to what a platform meter scaled that holds it."""
        return price_with_platform(rows, answers, pues.at(answers), self.settings.pue_included)

    def _refused(self, answers: Mapping[datetime, Answer]) -> dict[datetime, str]:
        if not self.settings.intensity.strict:
            return {}
        return {
            hour: f"strict: the best intensity is {answer.quality}, {self.rule.accept} is asked for"
            for hour, answer in answers.items()
            if QUALITIES.index(answer.quality) > QUALITIES.index(self.rule.accept)
        }


def open_prices(
    cluster_name: str, settings: Settings, env: Mapping[str, str], clock: Clock, servers: Servers[PrometheusServer]
) -> Prices:
    """The prices of the cluster of that name, checked; nothing is asked yet.

    Raises:
        ConfigError: a provider that cannot deliver what the cluster declares, or a zone that no provider knows.
    """
    cluster = settings.cluster(cluster_name)
    place = yearly.place(cluster.grid_zone, cluster.cloud, cluster.region)
    rule = SelectionRule(cluster.intensity.providers, cluster.intensity.factor_type, cluster.intensity.accept)
    where = f"cluster {cluster.name}"
    try:
        web, files = open_providers(cluster.intensity, Access(settings.http, env, clock, servers))
        asked: dict[str, Provider | FileProvider] = {**web, **files}
        zones = {name: provider.zone_of(place.zone) for name, provider in asked.items()}
        pue = open_pue(cluster, servers)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    for name, provider in asked.items():
        if ("average", rule.factor_type) not in provider.offers:
            raise ConfigError(f"{where}: {_cannot(name, provider.offers, rule.factor_type)}")
    if yearly.NAME in rule.providers and rule.factor_type != yearly.FACTOR_TYPE:
        raise ConfigError(f"{where}: provider static has {yearly.FACTOR_TYPE} factors only: remove it from providers")
    by_file = any(provider.knows(zones[name]) for name, provider in files.items())
    embedded = yearly.NAME in rule.providers and yearly.code_of(place.yearly_code) is not None
    if not web and not by_file and not embedded:
        near = yearly.nearest_zones(place.zone)
        raise ConfigError(
            f"{where}: no provider knows grid zone {place.zone!r}"
            + (f": did you mean {' or '.join(near)}?" if near else "")
        )
    return Prices(cluster, place, rule, web, files, zones, pue, cluster.price_digest())


def _cannot(name: str, offers: Iterable[tuple[str, str]], wanted: str) -> str:
    has = " and ".join(sorted({factor for signal, factor in offers if signal == "average"}))
    figures = f"{has} factors only" if has else "no average intensity"
    return f"provider {name} has {figures}, the cluster declares {wanted}: change factor_type, or leave it out"
