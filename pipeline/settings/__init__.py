"""What a configuration may say, and what of it cannot be meant."""

import difflib
from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pipeline.credentials import Part
from pipeline.errors import ConfigError
from pipeline.settings.closing import ClosingSettings
from pipeline.settings.clusters import ClusterSettings
from pipeline.settings.energy import EnergySettings
from pipeline.settings.intensity import IntensitySettings
from pipeline.settings.market import MarginalSettings, MarketSettings
from pipeline.settings.servers import HttpSettings, PrometheusEndpoint, PublishSettings, StoreSettings
from pipeline.settings.teams import TeamsSettings
from pipeline.settings.warehouse import WarehouseSettings

__all__ = [
    "ClosingSettings",
    "ClusterSettings",
    "EnergySettings",
    "HttpSettings",
    "IntensitySettings",
    "PrometheusEndpoint",
    "PublishSettings",
    "Settings",
    "StoreSettings",
    "WarehouseSettings",
    "nearest",
]


class Settings(Part):
    """The whole configuration."""

    warehouse: WarehouseSettings = WarehouseSettings()
    clusters: Annotated[tuple[ClusterSettings, ...], Field(min_length=1)]
    intensity: IntensitySettings = IntensitySettings()
    market: MarketSettings | None = None
    marginal: MarginalSettings = MarginalSettings()
    remote_write: tuple[StoreSettings, ...] = ()
    energy: EnergySettings = EnergySettings()
    publish: PublishSettings = PublishSettings()
    http: HttpSettings = HttpSettings()
    closing: ClosingSettings = ClosingSettings()
    teams: TeamsSettings | None = None

    @model_validator(mode="before")
    @classmethod
    def _inherit_intensity(cls, values: Any) -> Any:  # noqa: ANN401 # the type of a raw TOML table
        """`[clusters.intensity]` replaces `providers` and merges the rest of `[intensity]`."""
        if not isinstance(values, dict) or not isinstance(values.get("clusters"), list):
            return values
        base = values.get("intensity", {})
        if not isinstance(base, dict):
            return values
        return values | {"clusters": [_with_intensity(item, base) for item in values["clusters"]]}

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        for what, names in (
            ("cluster", [c.name for c in self.clusters]),
            ("store", [s.name for s in self.remote_write]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what} name used twice: {twice[0]}")
        return self

    @model_validator(mode="after")
    def _notes_are_kept(self) -> Self:
        """What is noted of a store in files beside the tables has no place in an object store."""
        for store in self.remote_write:
            if self.warehouse.is_object_store and (store.query_url == "none" or store.publish == "blocks"):
                why = 'query_url = "none"' if store.query_url == "none" else 'publish = "blocks"'
                raise ValueError(f"store {store.name}: {why} keeps files: give warehouse.path a folder")
        return self

    def cluster(self, name: str) -> ClusterSettings:
        """The cluster of that name."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        raise ConfigError(f"no cluster {name!r} in the config{nearest(name, [c.name for c in self.clusters])}")


def _with_intensity(item: Any, base: dict[str, Any]) -> Any:  # noqa: ANN401 # the type of a raw TOML table
    if not isinstance(item, dict) or not isinstance(item.get("intensity", {}), dict):
        return item
    return item | {"intensity": base | item.get("intensity", {})}


def nearest(word: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """The end of a message about an unknown word: the known one that was probably meant, or else all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    everything = f": known are {', '.join(sorted(known))}" if otherwise is None else otherwise
    return f": did you mean {close[0]!r}?" if close else everything
