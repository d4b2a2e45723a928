"""What a configuration may say, and what of it cannot be meant."""

import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pipeline.credentials import Credentials, Part
from pipeline.errors import ConfigError
from pipeline.window import parse_time

CLUSTER_NAME = re.compile(r"[a-z0-9-]{1,63}")
DURATION = re.compile(r"(\d+)(s|m|h|d)")
DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
STEPS = {"1h": 60, "30m": 30, "15m": 15, "5m": 5}


def _duration(value: object) -> object:
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return (
            value
            if isinstance(value, timedelta)
            else _refuse(f"{value!r} is not a duration: write 30s, 10m, 1h or 30d")
        )
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])})


def _refuse(reason: str) -> object:
    raise ValueError(reason)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if "@" in value:  # before the address is ever shown
        raise ValueError("credentials do not belong in an address: use username with password_env or password_file")
    if parts.query or parts.fragment:
        raise ValueError("an address ends before '?' and '#': give the server and its path prefix only")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
        raise ValueError(f"{value!r} is not an http(s) address")
    return value.rstrip("/")


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is left out or one that exists."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _moment(value: object) -> object:
    """A start written as text or as a TOML time, in UTC; both need a zone."""
    if isinstance(value, str):
        return parse_time(value, "start")
    return parse_time(value.isoformat(), "start") if isinstance(value, date) else value


def _cluster_name(value: str) -> str:
    if not CLUSTER_NAME.fullmatch(value) or "--" in value:
        raise ValueError(f"cluster name {value!r}: use 1 to 63 of a-z, 0-9 and single '-'")
    return value


CpuMeter: TypeAlias = Literal["kepler", "kepler_legacy", "scaphandre"]
GpuMeter: TypeAlias = Literal["dcgm", "kepler", "kepler_legacy"]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Url = Annotated[str, AfterValidator(_url)]


class PrometheusEndpoint(Credentials):
    """One Prometheus-compatible address that a cluster's samples are read from."""

    url: Url
    selector: str = "{}"
    replica_of: str | None = None


class StoreSettings(Credentials):
    """One store that derived series are written to."""

    url: Url
    name: str = ""
    query_url: Url = ""
    horizon: Duration | None = None

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:  # noqa: ANN401 # the type of a raw TOML table
        if isinstance(values, dict) and isinstance(values.get("url"), str):
            parts = urlsplit(values["url"])
            base = values["url"].removesuffix("/").removesuffix("/api/v1/write")
            values = {"name": re.sub(r"[^a-z0-9.-]", "-", parts.netloc.lower()), "query_url": base} | values
        return values


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


class ClusterSettings(Part):
    """One Kubernetes cluster (or set of hosts): where its samples are and how it is priced."""

    name: Annotated[str, AfterValidator(_cluster_name)]
    prometheus: tuple[PrometheusEndpoint, ...]
    grid_zone: str | None = None
    cloud: Literal["aws", "gcp", "azure"] | None = None
    region: str | None = None
    pue: Annotated[float, Field(ge=1.0, le=3.0)]
    meters: tuple[CpuMeter, ...] = ("kepler", "kepler_legacy", "scaphandre")
    gpu_meters: tuple[GpuMeter, ...] = ("dcgm", "kepler")
    energy_step: Literal["1h", "30m", "15m", "5m"] = "1h"
    start: Annotated[datetime, BeforeValidator(_moment)] | None = None
    intensity: IntensitySettings = IntensitySettings()

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, values: Any) -> Any:  # noqa: ANN401 # the type of a raw TOML table
        if isinstance(values, dict) and "prometheus_url" in values:
            values = dict(values)
            if "prometheus" in values:
                raise ValueError("give prometheus_url or prometheus, not both")
            values["prometheus"] = [{"url": values.pop("prometheus_url")}]
        return values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.grid_zone is None) == (self.cloud is None):
            raise ValueError(
                'say where its power comes from: grid_zone = "DE", or cloud = "aws" with region = "eu-central-1"'
            )
        if (self.cloud is None) != (self.region is None):
            raise ValueError("cloud and region go together")
        for key, meters in (("meters", self.meters), ("gpu_meters", self.gpu_meters)):
            if len(set(meters)) < len(meters):
                raise ValueError(f"{key} names a meter twice: the first of equally covered ones accounts")
        if not self.meters and not self.gpu_meters:
            raise ValueError("meters and gpu_meters are both empty: nothing would be measured")
        if len(self.prometheus) != 1:
            raise ValueError(
                "exactly one prometheus entry is supported in this version: replicas and shards are not yet"
            )
        return self

    @property
    def step_minutes(self) -> int:
        """Length of an energy step in minutes."""
        return STEPS[self.energy_step]

    def digest(self, energy: "EnergySettings") -> str:
        """Twelve hex digits that change when anything that decides this cluster's joules or grams changes."""
        decides = self.model_dump(mode="json", exclude={"prometheus", "start"}) | energy.model_dump(mode="json")
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:12]


class WarehouseSettings(Part):
    """Where the parquet tables live."""

    path: str = "warehouse"

    @model_validator(mode="after")
    def _local(self) -> Self:
        if "://" in self.path:
            raise ValueError(f"{self.path}: object stores are not supported in this version: give a local folder")
        return self


class CeilingSettings(Part):
    """The most watts that one device can draw: what lies above is quarantined."""

    socket: Annotated[float, Field(gt=0)] = 2000.0
    gpu: Annotated[float, Field(gt=0)] = 1500.0


class EnergySettings(Part):
    """How samples are joined into energy."""

    max_gap: Duration = timedelta(minutes=10)
    settle: Duration = timedelta(minutes=12)
    ceiling_watts: CeilingSettings = CeilingSettings()

    @model_validator(mode="after")
    def _settles_after_gap(self) -> Self:
        if self.settle < self.max_gap + timedelta(minutes=1):
            raise ValueError(
                "settle must exceed max_gap by a scrape (1m at least): an hour's last samples must have arrived"
            )
        if self.max_gap > timedelta(minutes=30) or self.max_gap < timedelta(minutes=1):
            raise ValueError("max_gap must lie between 1m and 30m")
        return self

    @property
    def max_gap_ms(self) -> int:
        """The longest joined interval in milliseconds."""
        return self.max_gap // timedelta(milliseconds=1)


class PublishSettings(Part):
    """What is written to the stores."""

    max_series: Annotated[int, Field(ge=1)] = 20_000
    horizon: Duration | None = None


class HttpSettings(Part):
    """Limits of every call out."""

    timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    retry_seconds: Annotated[float, Field(ge=0)] = 60.0
    max_response_mb: Annotated[int, Field(ge=1)] = 512


class Settings(Part):
    """The whole configuration."""

    warehouse: WarehouseSettings = WarehouseSettings()
    clusters: Annotated[tuple[ClusterSettings, ...], Field(min_length=1)]
    intensity: IntensitySettings = IntensitySettings()
    remote_write: tuple[StoreSettings, ...] = ()
    energy: EnergySettings = EnergySettings()
    publish: PublishSettings = PublishSettings()
    http: HttpSettings = HttpSettings()

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


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown word: the known one that was probably meant, or all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": known are {', '.join(sorted(known))}"
