"""Every client of the product as a function of an address and of seconds: a secret is sent, at most 1 MB is read."""

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
MEGABYTE = 1 << 20
PATIENT_SECONDS = 30.0  # which no server here takes, on however busy a machine
BEARER = Credentials(bearer_token_env="TOKEN").header(ENV)  # noqa: S106 # the name of a variable


def grid(url: str, seconds: float) -> None:
    http = HttpSettings(timeout_seconds=seconds, retry_seconds=0.0, max_response_mb=1)
    Web("vendor", http, RealClock()).get(url, headers=BEARER, secrets=(SECRET,))


def _session(url: str, seconds: float) -> BoundedSession:
    access = Access.of(PrometheusEndpoint(url=url, bearer_token_env="TOKEN"), ENV)  # noqa: S106 # the name of a variable
    return BoundedSession(RealClock(), seconds, MEGABYTE, lambda _warning: None, access)


def prometheus(url: str, seconds: float) -> None:
    _session(url, seconds).request("GET", url)


def stream(url: str, seconds: float) -> None:
    """Remote read and export."""
    asked = Stream(_session(url, seconds), RealClock(), MEDIA_TYPE, seconds, MEGABYTE)
    with closing(asked.post(url, url, b"", {})) as batches:
        for _ in batches:
            pass


def store_read(url: str, seconds: float) -> None:
    client = open_client(StoreSettings(url=url))
    request = client.build_request("GET", url, headers=BEARER)
    answer = remote_write.exchange(client, request, seconds, MEGABYTE, (SECRET,))
    if answer.status != 200:
        raise remote_write.refusal(answer, url)


def store_write(url: str, seconds: float) -> None:
    remote_write.send(open_client(StoreSettings(url=url)), url, BEARER, (SECRET,), b"x", seconds)


CLIENTS: dict[str, Callable[[str, float], None]] = {
    "grid": grid,
    "prometheus": prometheus,
    "stream": stream,
    "store_read": store_read,
    "store_write": store_write,
}
