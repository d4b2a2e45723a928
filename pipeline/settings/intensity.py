"""How a cluster is priced: which grid intensity, from which provider."""

from pathlib import Path
from typing import Literal

from pipeline.credentials import Part


class ProviderTable(Part):
    """What a grid provider needs; each provider reads its own keys."""

    path: Path | None = None
    factor_type: Literal["lifecycle", "direct"] = "lifecycle"


class IntensitySettings(Part):
    """Which grid intensity a cluster is priced with."""

    providers: tuple[str, ...] = ("static",)
    factor_type: Literal["lifecycle", "direct"] = "lifecycle"
    accept: Literal["measured", "estimated", "forecast"] = "estimated"
    csv: ProviderTable | None = None
