"""Every client of the product as a function of an address: a secret is sent, limits are 1 MB and half a second."""

from collections.abc import Callable
from contextlib import closing

from pipeline.credentials import Credentials
from pipeline.settings import HttpSettings, PrometheusEndpoint, StoreSettings
from pipeline.sinks import remote_write
from pipeline.sinks.store_client import open_client
from pipeline.sources.grid.web import Web
from pipeline.sources.prometheus.access import Access
from pipeline.sources.prometheus.session import BoundedSession
from pipeline.sources.prometheus.streaming import Stream
from tests.conftest import RealClock

SECRET = "s3cr3t-t0ken"  # noqa: S105 # a made-up one
ENV = {"TOKEN": SECRET}
MEDIA_TYPE = "application/json"
SECONDS, MEGABYTE = 0.5, 1 << 20
HTTP = HttpSettings(timeout_seconds=SECONDS, retry_seconds=0.0, max_response_mb=1)
BEARER = Credentials(bearer_token_env="TOKEN").header(ENV)  # noqa: S106 # the name of a variable


def grid(url: str) -> None:
    Web("vendor", HTTP, RealClock()).get(url, headers=BEARER, secrets=(SECRET,))


def _session(url: str) -> BoundedSession:
    access = Access.of(PrometheusEndpoint(url=url, bearer_token_env="TOKEN"), ENV)  # noqa: S106 # the name of a variable
    return BoundedSession(RealClock(), SECONDS, MEGABYTE, lambda _warning: None, access)


def prometheus(url: str) -> None:
    _session(url).request("GET", url)


def stream(url: str) -> None:
    """Remote read and export."""
    asked = Stream(_session(url), RealClock(), MEDIA_TYPE, SECONDS, MEGABYTE)
    with closing(asked.post(url, url, b"", {})) as batches:
        for _ in batches:
            pass


def store_read(url: str) -> None:
    client = open_client(StoreSettings(url=url))
    request = client.build_request("GET", url, headers=BEARER)
    answer = remote_write.exchange(client, request, SECONDS, MEGABYTE, (SECRET,))
    if answer.status != 200:
        raise remote_write.refusal(answer, url)


def store_write(url: str) -> None:
    remote_write.send(open_client(StoreSettings(url=url)), url, BEARER, (SECRET,), b"x", SECONDS)


CLIENTS: dict[str, Callable[[str], None]] = {
    "grid": grid,
    "prometheus": prometheus,
    "stream": stream,
    "store_read": store_read,
    "store_write": store_write,
}
