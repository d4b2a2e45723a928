"""The configuration: a TOML file, overridden by `CARBON_ETL__A__B` variables, checked whole before anything runs.

Secrets are never values here, only the names of variables or files; `Secret.read` is called where a request is made.
"""

import base64
import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import ConfigError
from pipeline.window import parse_time

ENV_PREFIX = "CARBON_ETL__"
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


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Url = Annotated[str, AfterValidator(_url)]


class Part(BaseModel):
    """Base of every part: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Credentials(Part):
    """How to authenticate: a bearer token, or a user with a password; both only by variable or file."""

    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    bearer_token_env: str | None = None
    bearer_token_file: Path | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        bearer = [self.bearer_token_env, self.bearer_token_file]
        password = [self.password_env, self.password_file]
        if sum(x is not None for x in bearer) > 1 or sum(x is not None for x in password) > 1:
            raise ValueError("give a secret once: by _env or by _file")
        if any(bearer) and (self.username or any(password)):
            raise ValueError("a bearer token and a password exclude each other")
        if (self.username is None) != (not any(password)):
            raise ValueError("username needs password_env or password_file, and they need it")
        if ":" in (self.username or ""):
            raise ValueError("a username cannot hold ':'")
        return self

    def header(self, env: Mapping[str, str]) -> dict[str, str]:
        """The Authorization header, read anew at each call because mounted tokens rotate; empty without credentials."""
        token = _secret(self.bearer_token_env, self.bearer_token_file, env)
        if token is not None:
            if not token.isascii():
                raise ConfigError(f"the bearer token in {self.bearer_token_env or self.bearer_token_file} is not ASCII")
            return {"Authorization": f"Bearer {token}"}
        password = _secret(self.password_env, self.password_file, env)
        if password is not None:
            return {"Authorization": "Basic " + base64.b64encode(f"{self.username}:{password}".encode()).decode()}
        return {}


def _secret(variable: str | None, path: Path | None, env: Mapping[str, str]) -> str | None:
    if variable is not None:
        if variable not in env:
            raise ConfigError(f"the environment has no {variable}, which the config names as a secret: set it")
        return _one_word(env[variable], variable)
    if path is not None:
        try:
            return _one_word(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ConfigError(f"cannot read the secret file {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise ConfigError(f"the secret file {path} is not text") from None
    return None


def _one_word(text: str, where: str) -> str:
    """A secret that can be sent in a header; never shown, whatever is wrong with it."""
    secret = text.strip()
    if not secret or not secret.isprintable():
        what = "holds line breaks or control characters" if secret else "is empty"
        raise ConfigError(f"the secret in {where} {what}: it must be one line of text")
    return secret


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
    meters: tuple[Literal["kepler"], ...] = ("kepler",)
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


class EnergySettings(Part):
    """How samples are joined into energy."""

    max_gap: Duration = timedelta(minutes=10)
    settle: Duration = timedelta(minutes=12)

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
        raise ConfigError(f"no cluster {name!r} in the config{_nearest(name, [c.name for c in self.clusters])}")


def _with_intensity(item: Any, base: dict[str, Any]) -> Any:  # noqa: ANN401 # the type of a raw TOML table
    if not isinstance(item, dict) or not isinstance(item.get("intensity", {}), dict):
        return item
    return item | {"intensity": base | item.get("intensity", {})}


def load(path: Path, env: Mapping[str, str]) -> Settings:
    """Read, override from the environment, and check.

    Raises:
        ConfigError: one line naming the file, the key and what to write instead.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"no config at {path}: write one (README, 'Configure'), or pass --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    for name in sorted(env):
        if name.startswith(ENV_PREFIX):
            _override(raw, name, env[name])
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {'; '.join(_explain(error))}") from error


def _override(raw: dict[str, Any], variable: str, text: str) -> None:
    """Set the value at `CARBON_ETL__A__B`; list items are found by their name, `-` written as `_`."""
    try:
        value: object = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    here: Any = raw
    keys = variable.removeprefix(ENV_PREFIX).lower().split("__")
    for key, following in zip(keys, [*keys[1:], None], strict=True):
        if isinstance(here, list):
            here = _entry(here, key, variable)
            if following is None:
                raise ConfigError(f"{variable}: {key!r} is a table; name one of its keys after two underscores")
        elif following is None:
            here[key] = value
        else:
            here = here.setdefault(key, {})
        if following is not None and not isinstance(here, dict | list):
            raise ConfigError(f"{variable}: {key!r} is a value, nothing lies under it")


def _entry(entries: list[Any], name: str, variable: str) -> dict[str, Any]:
    names = [str(item.get("name", "")) for item in entries if isinstance(item, dict)]
    matches = [item for item in entries if isinstance(item, dict) and _as_variable(item.get("name", "")) == name]
    if len(matches) != 1:
        listed = ", ".join(_as_variable(n).upper() for n in names if n) or "none has a name"
        raise ConfigError(f"{variable}: {len(matches)} entries are named {name!r}, need exactly one of {listed}")
    return matches[0]


def _as_variable(name: object) -> str:
    return str(name).lower().replace("-", "_").replace(".", "_")


def _explain(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "config"
        if item["type"] == "extra_forbidden":
            known = _known_keys(item["loc"][:-1])
            yield f"unknown key {where}{_nearest(str(item['loc'][-1]), known)}"
        elif item["type"] == "missing":
            yield f"{where} is missing{MISSING_HINTS.get(str(item['loc'][-1]), '')}"
        else:
            yield f"{where}: {item['msg'].removeprefix('Value error, ')}"


MISSING_HINTS = {
    "pue": ": there is no silent default, write pue = 1.2 (facility energy over IT energy of that site)",
    "prometheus": ': write prometheus_url = "http://..."',
    "clusters": ": write one [[clusters]] table per cluster",
}


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location:
        if isinstance(part, str):
            model = _part_of(model.model_fields[part].annotation)
    return [*model.model_fields, *(["prometheus_url"] if model is ClusterSettings else [])]


def _part_of(annotation: Any) -> Any:  # noqa: ANN401 # walks typing objects
    """The config part inside `X | None`, `tuple[X, ...]` or `Annotated[...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    inner = (_part_of(arg) for arg in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f": did you mean {close[0]!r}?" if close else f": known are {', '.join(sorted(known))}"
