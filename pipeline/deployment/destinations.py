"""Whom a deployed pipeline calls, from its configuration: what a firewall has to let through."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args
from urllib.parse import urlsplit

from pipeline.errors import ConfigError
from pipeline.settings import IntensitySettings, Settings
from pipeline.settings.servers import SecuredServer

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, order=True)
class Destination:
    """One address.

    Attributes:
        host: name or number.
        port: of TCP.
        is_public: known to lie in the public internet: a vendor's own address.
    """

    host: str
    port: int
    is_public: bool = False

    @property
    def address(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """Its number, where it is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def is_loopback(self) -> bool:
        """Whether it is the machine, or the pod, itself."""
        address = self.address
        return self.host == "localhost" or (address is not None and (address.is_loopback or address.is_unspecified))


def destination(url: str, *, is_public: bool = False) -> Destination:
    """Whom an address calls."""
    parts = urlsplit(url)
    return Destination(str(parts.hostname), parts.port or PORTS[parts.scheme], is_public)


def destinations(settings: Settings) -> list[Destination]:
    """Everybody whom a run of this configuration may call, each once."""
    return sorted({*_servers(settings), *_providers(settings), *_amazon(settings)})


def refuse_loopback(settings: Settings, store_url: str) -> None:
    """Addresses that mean another machine once the pipeline runs in a pod.

    Raises:
        ConfigError: one of them, with what to write.
    """
    for one in destinations(settings):
        if one.is_loopback:
            raise ConfigError(
                f"in a pod {one.host}:{one.port} is the pod itself: write the Service that pods reach, such as "
                f"http://kube-prometheus-stack-prometheus.monitoring.svc:9090, and as remote_write {store_url}, "
                "the store that is deployed beside it, or none, which means the same"
            )


def secured_servers(settings: Settings) -> list[SecuredServer]:
    """Every server that the configuration gives credentials for: those of samples, those of series."""
    return [*settings.remote_write, *(endpoint for cluster in settings.clusters for endpoint in cluster.prometheus)]


def _servers(settings: Settings) -> Iterator[Destination]:
    yield from (destination(server.url) for server in secured_servers(settings))
    yield from (destination(store.query_url) for store in settings.remote_write if store.query_url != "none")


def _providers(settings: Settings) -> Iterator[Destination]:
    """Those in the order of a cluster, and those that only have a table: marginal rates are asked of these."""
    for cluster in settings.clusters:
        for name, vendors in _vendors().items():
            table = getattr(cluster.intensity, name)
            if table is not None or name in cluster.intensity.providers:
                url = vendors if table is None else table.base_url
                yield destination(url, is_public=url == vendors)


def _vendors() -> dict[str, str]:
    """The vendor's own address of each provider that has one."""
    tables = {name: get_args(field.annotation) for name, field in IntensitySettings.model_fields.items()}
    fields = {name: getattr(kinds[0], "model_fields", {}).get("base_url") for name, kinds in tables.items() if kinds}
    return {name: field.default for name, field in fields.items() if field is not None}


def _amazon(settings: Settings) -> Iterator[Destination]:
    """Who gives the keys that requests are signed with, and where objects lie; both may have private addresses."""
    for server in secured_servers(settings):
        if server.sigv4 is not None:
            yield Destination(f"sts.{server.sigv4.region}.amazonaws.com", 443)
    if settings.warehouse.is_object_store:
        yield Destination("s3.amazonaws.com", 443)
