"""What totals are called, and where the figures of a market-based or marginal view come from."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.credentials import Part
from pipeline.settings.values import ClusterName

# What a total of grams is, by its signal (the grid's average, contracts, a change of load) and its factor type.
SCOPES = {
    ("average", "lifecycle"): "scope 2, location-based, plus upstream (scope 3.3)",
    ("average", "direct"): "scope 2, location-based",
    ("market", "lifecycle"): "scope 2, market-based, plus upstream (scope 3.3)",
    ("market", "direct"): "scope 2, market-based",
    ("marginal", "lifecycle"): "effect of a change of load, of no scope, upstream included",
    ("marginal", "direct"): "effect of a change of load, of no scope",
}


class MarketSettings(Part):
    """Contracts and residual mixes: a dated file."""

    csv: Path


class MarginalSettings(Part):
    """Whose marginal rates are a cluster's.

    Attributes:
        provider: of rows with signal `marginal`.
        zones: its zone by cluster; of a cluster that is not named, `zone` of the provider's own table.
    """

    provider: Literal["watttime"] = "watttime"
    zones: dict[ClusterName, Annotated[str, Field(min_length=1)]] = Field(default={})
