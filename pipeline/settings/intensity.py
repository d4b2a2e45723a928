"""How a cluster is priced: which grid intensity, from which providers, and what each of them needs."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipeline.credentials import Part, secret
from pipeline.settings.values import Duration, Url

FactorType: TypeAlias = Literal["lifecycle", "direct"]
Basis: TypeAlias = Literal["consumption", "production", "unknown"]
GridProviderName: TypeAlias = Literal[
    "electricity_maps", "watttime", "neso", "electricity_maps_csv", "prometheus", "csv", "rte", "energinet", "eia",
    "entsoe", "static",
]  # fmt: skip


class ProviderTable(Part):
    """What every provider of a web API may be told.

    Attributes:
        zone: the provider's own name for where the power comes from, where it is not the cluster's `grid_zone`.
    """

    zone: str | None = None


class TokenTable(ProviderTable):
    """A provider with one secret, given by variable or file."""

    token_env: str | None = None
    token_file: Path | None = None

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.token_env is not None and self.token_file is not None:
            raise ValueError("give the token once: token_env or token_file")
        return self

    def token(self, env: Mapping[str, str]) -> str | None:
        """The secret, read anew at each call; None where none is named.

        Raises:
            ConfigError: the variable or the file is not there, or is no token.
        """
        return secret(self.token_env, self.token_file, env)


class ElectricityMapsTable(TokenTable):
    """Electricity Maps' API, v3 or v4 by its base URL."""

    base_url: Url = "https://api.electricitymaps.com/v3"
    granularity: Literal["hourly", "15_minutes", "5_minutes"] = "hourly"
    flow_traced: bool = True

    @property
    def version(self) -> str:
        """`v3` or `v4`."""
        return self.base_url.rsplit("/", maxsplit=1)[-1]

    @model_validator(mode="after")
    def _known_version(self) -> Self:
        if self.version not in ("v3", "v4"):
            raise ValueError(f"base_url ends with the version of the API, /v3 or /v4, not {self.base_url}")
        if self.version == "v3" and not self.flow_traced:
            raise ValueError("flow_traced = false is asked of v4 only: let base_url end with /v4")
        return self


class WattTimeTable(ProviderTable):
    """WattTime's API v3: a user and a password, both by variable or file."""

    base_url: Url = "https://api.watttime.org"
    username_env: str | None = None
    username_file: Path | None = None
    password_env: str | None = None
    password_file: Path | None = None
    model: str | None = None

    def login(self, env: Mapping[str, str]) -> tuple[str, str] | None:
        """User and password, read anew at each call; None where none are named."""
        user = secret(self.username_env, self.username_file, env)
        password = secret(self.password_env, self.password_file, env)
        return None if user is None or password is None else (user, password)

    @model_validator(mode="after")
    def _both(self) -> Self:
        user, password = (self.username_env, self.username_file), (self.password_env, self.password_file)
        if any(all(pair) for pair in (user, password)) or any(user) != any(password):
            raise ValueError("give username_env or username_file, and password_env or password_file, each once")
        return self


class NesoTable(ProviderTable):
    """Great Britain's Carbon Intensity API; `zone` may be a region's number, 1 to 17."""

    base_url: Url = "https://api.carbonintensity.org.uk"


class PortalTable(ProviderTable):
    """CSV files of Electricity Maps' data portal: one file, or a folder of them."""

    path: Path


class GaugeTable(ProviderTable):
    """A Prometheus expression that gives intensity in g/kWh, on the cluster's own Prometheus."""

    query: str
    factor_type: FactorType = "lifecycle"
    basis: Basis = "unknown"
    quality: Literal["measured", "estimated"] = "estimated"
    step: Duration = timedelta(minutes=5)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.step or self.step % timedelta(minutes=5) or timedelta(hours=1) % self.step:
            raise ValueError("step is 5m, 10m, 15m, 20m, 30m or 1h")
        return self


class RteTable(ProviderTable):
    """RTE eCO2mix, France."""

    base_url: Url = "https://reseaux-energies-rte.opendatasoft.com/api/explore/v2.1"


class EnerginetTable(ProviderTable):
    """Energinet's Energi Data Service, Denmark."""

    base_url: Url = "https://api.energidataservice.dk"


class EiaTable(TokenTable):
    """EIA-930, the lower 48 of the United States; `zone` is the balancing authority, such as CISO."""

    base_url: Url = "https://api.eia.gov/v2"


class EntsoeTable(TokenTable):
    """ENTSO-E's transparency platform; `zone` is the EIC code of the bidding zone."""

    base_url: Url = "https://web-api.tp.entsoe.eu/api"


class CsvTable(Part):
    """A user's own file."""

    path: Path | None = None
    factor_type: FactorType = "lifecycle"


class IntensitySettings(Part):
    """Which grid intensity a cluster is priced with."""

    providers: Annotated[tuple[GridProviderName, ...], Field(min_length=1)] = ("static",)
    factor_type: FactorType = "lifecycle"
    accept: Literal["measured", "estimated", "forecast"] = "estimated"
    strict: bool = False
    csv: CsvTable | None = None
    electricity_maps: ElectricityMapsTable | None = None
    electricity_maps_csv: PortalTable | None = None
    watttime: WattTimeTable | None = None
    neso: NesoTable | None = None
    prometheus: GaugeTable | None = None
    rte: RteTable | None = None
    energinet: EnerginetTable | None = None
    eia: EiaTable | None = None
    entsoe: EntsoeTable | None = None
