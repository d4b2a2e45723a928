"""Opens a warehouse, wherever it is: a folder, or `s3://bucket/prefix`."""
# ruff: noqa: PLC0415 # an object store is an extra

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.settings import WarehouseSettings
from pipeline.sinks.partitions import OnEffect, nothing
from pipeline.sinks.warehouse import Warehouse

if TYPE_CHECKING:
    from pipeline.sinks.delta.access import Access


def open_warehouse(settings: WarehouseSettings, env: Mapping[str, str], on_effect: OnEffect = nothing) -> Warehouse:
    """The warehouse of a configuration. Hold it for as long as its folder is read: an object store's copy ends with it.

    Args:
        settings: where it is.
        env: where an object store's address and credentials are read.
        on_effect: see `Warehouse`.

    Raises:
        ConfigError: an object store without the extra `s3`.
        StoreUnwritable, StoreUnreachable, SchemaError: an object store that refuses, is silent or damaged.
    """
    if not settings.is_object_store:
        return Warehouse(Path(settings.path), on_effect)
    access = _access(settings, env)
    from pipeline.sinks.delta.warehouse import ObjectStoreWarehouse

    return ObjectStoreWarehouse(access, None if settings.cache is None else Path(settings.cache), on_effect)


def open_path(path: str | Path, env: Mapping[str, str]) -> Warehouse:
    """The warehouse at a path of its own, without a configuration; see `open_warehouse`.

    Raises:
        ConfigError: an address that is none; besides as of `open_warehouse`.
    """
    try:
        settings = WarehouseSettings(path=str(path))
    except ValidationError as error:
        raise ConfigError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    return open_warehouse(settings, env)


def keeps_commits_apart(settings: WarehouseSettings, env: Mapping[str, str]) -> bool:
    """Whether an object store refuses the second of two commits at once: tried beside the tables, nothing is left.

    Raises:
        ConfigError, StoreUnwritable, StoreUnreachable: as of `open_warehouse`.
    """
    access = _access(settings, env)
    from pipeline.sinks.delta.probe import keeps_commits_apart

    return keeps_commits_apart(access)


def _access(settings: WarehouseSettings, env: Mapping[str, str]) -> "Access":
    try:
        from pipeline.sinks.delta.access import Access
    except ImportError:
        raise ConfigError(f"warehouse.path {settings.path} needs deltalake: pip install 'carbon-etl[s3]'") from None
    return Access.of(settings.path, env)
