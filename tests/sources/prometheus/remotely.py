"""A server read by remote read, and answers of such a server, made by hand."""

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.bulk import BulkServer
from tests.conftest import RealClock
from tests.misbehaving import Answer
from tests.sinks.rows import StillClock
from tests.sources.prometheus.chunk_writer import bits_of, chunk, frame, response, series
from tests.sources.prometheus.streaming_server import STREAM


def both(
    url: str, clock: RealClock | StillClock | None = None, transport: str = "remote_read", **settings: object
) -> tuple[BulkServer, list[str]]:
    """A server read by remote read, and what it warns of."""
    http = HttpSettings.model_validate({"timeout_seconds": 5, "retry_seconds": 0} | settings)
    endpoint = PrometheusEndpoint.model_validate({"url": url, "transport": transport})
    warnings: list[str] = []
    return BulkServer(endpoint, http, {}, clock or RealClock(), warnings.append), warnings


def by_query(url: str) -> PrometheusServer:
    return PrometheusServer(PrometheusEndpoint(url=url), HttpSettings(retry_seconds=0), {}, RealClock())


class Held(NamedTuple):
    """Blocks as a transport; implements `samples.Transport`."""

    held: list[Block]

    def blocks(self, _selector: str, _start_ms: int, _end_ms: int) -> Iterator[Block]:
        yield from self.held


GOOD = frame(response([series({"__name__": "m", "a": "1"}, [chunk([(1_000, bits_of(1.0)), (2_000, bits_of(2.5))])])]))
MORE = frame(response([series({"__name__": "m", "a": "2"}, [chunk([(1_000, bits_of(4.0))])])]))
PROBED, NO_CONFIG = Answer(headers=STREAM), Answer(404)
FOUND = {(("a", "1"),): [(1_000, 1.0), (2_000, 2.5)], (("a", "2"),): [(1_000, 4.0)]}


def stream(body: bytes, **how: float) -> Answer:
    return Answer(body=body, headers=STREAM, **how)  # type: ignore[arg-type]
