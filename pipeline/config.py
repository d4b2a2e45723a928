"""Reads the configuration: TOML, overridden by `CARBON_ETL__A__B` variables, checked whole before anything runs."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.credentials import Part
from pipeline.errors import ConfigError
from pipeline.settings import ClusterSettings, Settings, nearest

ENV_PREFIX = "CARBON_ETL__"


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
    """One text for each mistake: not again for what follows from it, nor for each cluster that inherits it."""
    found = {item["loc"]: item for item in error.errors()}
    for place, item in found.items():
        inherited = place[:1] == ("clusters",) and place[2:] in found
        follows = item["type"] == "too_short" and any(len(o) > len(place) and o[: len(place)] == place for o in found)
        if inherited or follows:
            continue
        where = ".".join(str(part) for part in place) or "config"
        if item["type"] == "extra_forbidden":
            yield f"unknown key {where}{nearest(str(place[-1]), _known_keys(place[:-1]))}"
        elif item["type"] == "missing":
            yield f"{where} is missing{MISSING_HINTS.get(str(place[-1]), '')}"
        elif item["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", item["ctx"]["expected"])
            yield f"{where}: {item['input']!r} is none of {', '.join(known)}{nearest(str(item['input']), known, '')}"
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
