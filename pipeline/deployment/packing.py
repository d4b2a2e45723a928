"""A configuration taken elsewhere: its secrets and files by the places that they will have there."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.deployment.destinations import secured_servers
from pipeline.deployment.toml_text import to_toml
from pipeline.errors import ConfigError
from pipeline.settings import Settings

ENV, FILE = "_env", "_file"  # how the keys end that name a secret
NOT_IN_A_NAME = re.compile(r"[^-._A-Za-z0-9]+")


@dataclass(frozen=True)
class Places:
    """Where a deployed pipeline finds what it is given.

    Attributes:
        secrets: folder of secret files.
        files: folder of the configuration's other files; None where they stay where they are.
        state: the folder that it may write.
    """

    secrets: Path
    files: Path | None
    state: Path


@dataclass(frozen=True)
class Packed:
    """A configuration for `Places`, and what has to be put there.

    Attributes:
        config: TOML, no secret in it.
        secrets: by the name of its file, the variable (text) or the file that holds it here.
        files: by the name of its file, the file here.
        asks_amazon: whether keys of AWS have to be found there, by variables or by a role.
    """

    config: str
    secrets: Mapping[str, str | Path]
    files: Mapping[str, Path]
    asks_amazon: bool

    def texts(self) -> dict[str, str]:
        """The content of each file.

        Raises:
            ConfigError: one cannot be read.
        """
        try:
            return {name: path.read_text(encoding="utf-8") for name, path in self.files.items()}
        except OSError as error:
            raise ConfigError(f"cannot read {error.filename}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"a file of the configuration is not text: {error}") from error


def pack(settings: Settings, places: Places) -> Packed:
    """The configuration as it reads at `places`; it says what it said, and no defaults.

    Raises:
        ConfigError: a folder, where only files can be taken along.
    """
    luggage = _Luggage(places)
    table = luggage.repacked(settings)
    table.pop("warehouse", None)
    for cluster in table["clusters"]:
        if cluster.get("intensity") in ({}, table.get("intensity")):
            del cluster["intensity"]  # inherited, and inherited again
    is_signed = any(server.sigv4 is not None for server in secured_servers(settings))
    return Packed(
        to_toml({"warehouse": _warehouse(settings, places)} | table),
        luggage.secrets,
        luggage.files,
        asks_amazon=is_signed or settings.warehouse.is_object_store,
    )


def _warehouse(settings: Settings, places: Places) -> dict[str, str]:
    """In the folder of the state, or in the object store with its copy there."""
    if settings.warehouse.is_object_store:
        return {"path": settings.warehouse.path, "cache": str(places.state / "cache")}
    return {"path": str(places.state / "warehouse")}


@dataclass
class _Luggage:
    """What was met on the way through the configuration."""

    places: Places
    secrets: dict[str, str | Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    def repacked(self, part: BaseModel) -> dict[str, Any]:
        """The keys that are set, secrets and files by their new places."""
        found: dict[str, Any] = {}
        for name in type(part).model_fields:
            value = getattr(part, name)
            if name not in part.model_fields_set or value is None:
                continue
            for ending in (ENV, FILE):
                if name.endswith(ending):
                    key = name.removesuffix(ending) + FILE
                    placed = self._secrets(value)
                    found[key] = {**found[key], **placed} if key in found and isinstance(placed, dict) else placed
                    break
            else:
                found[name] = self._other(value)
        return found

    def _secrets(self, value: Any) -> Any:  # noqa: ANN401 # one secret, or one for each header
        if isinstance(value, Mapping):
            return {header: self._secrets(source) for header, source in value.items()}
        return str(self.places.secrets / _named(self.secrets, value))

    def _other(self, value: Any) -> Any:  # noqa: ANN401 # whatever a part holds
        if isinstance(value, BaseModel):
            return self.repacked(value)
        if isinstance(value, Path):
            return self._file(value)
        return [self._other(item) for item in value] if isinstance(value, list | tuple) else value

    def _file(self, path: Path) -> str:
        if self.places.files is None or path.is_relative_to(self.places.state):
            return str(path.absolute())
        if path.is_dir():
            raise ConfigError(
                f"{path} is a folder: name one file, or put the folder on the volume and write its path there, "
                f"{self.places.state}/..."
            )
        return str(self.places.files / _named(self.files, path))


def _named(taken: dict[str, Any], source: str | Path) -> str:
    """A name for what comes from `source`: its own, with its folders' before it where another source has that."""
    parts = list(_parts(source))
    for first in reversed(range(len(parts))):
        name = "-".join(parts[first:])
        if taken.setdefault(name, source) == source:
            return name
    raise ConfigError(f"{source}: another file cannot be told from it by name: rename one")


def _parts(source: str | Path) -> Iterator[str]:
    parts = source.absolute().parts[1:] if isinstance(source, Path) else [source]
    yield from (NOT_IN_A_NAME.sub("-", part).strip("-.") or "file" for part in parts)
