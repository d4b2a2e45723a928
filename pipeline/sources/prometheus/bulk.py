"""A server whose raw samples come in the fastest way that it offers; everything else is the query API's."""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import NamedTuple

from pipeline.errors import SourceRejected, SourceUnavailable
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.external_labels import external_labels, queries
from pipeline.sources.prometheus.remote_read import RemoteRead
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.window import Clock

QUERY, REMOTE_READ = "query", "remote_read"
MOST_SPLIT = 4  # labels: each of them doubles the queries of a request


class Choice(NamedTuple):
    """Which transport brings a server's samples, and why."""

    transport: str
    reason: str


class BulkServer(PrometheusServer):
    """A `PrometheusServer` that reads `blocks` by remote read where the server streams it."""

    def __init__(
        self,
        endpoint: PrometheusEndpoint,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        on_warning: Callable[[str], None],
    ) -> None:
        super().__init__(endpoint, http, env, clock, on_warning)
        query_api = PrometheusServer(endpoint, http, env, clock, on_warning)
        self._wanted = endpoint.transport
        session = BoundedSession(clock, http.timeout_seconds, http.max_response_mb * BYTES_PER_MB, on_warning)
        self._remote = RemoteRead(endpoint.url, session, self._header, http, clock, query_api, on_warning)

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`."""
        if self.choice.transport == QUERY:
            return super().blocks(selector, start_ms, end_ms)
        return self._remote.blocks(selector, start_ms, end_ms)

    @cached_property
    def choice(self) -> Choice:
        """The transport of `blocks`, found out once: by what the server can do, not by what it is called.

        Raises:
            SourceError: remote read is all that the config allows, and the server does not stream it.
        """
        if self._wanted == QUERY:
            return Choice(QUERY, "the config says so")
        try:
            refusal = self._remote.refusal()
        except SourceUnavailable as error:
            if self._wanted == REMOTE_READ:
                raise
            refusal = str(error)
        if refusal is not None:
            if self._wanted == REMOTE_READ:
                raise SourceRejected(
                    f'{self.url} has no streamed remote read ({refusal}): set transport = "auto" for it'
                )
            return Choice(QUERY, f"no streamed remote read: {refusal}")
        return self._with_labels_understood()

    def _with_labels_understood(self) -> Choice:
        """Remote read, if what the server adds to its answers can be taken off again."""
        config = (self.status("config") or {}).get("yaml")
        external = external_labels(config) if isinstance(config, str) else None
        if external is None and self._wanted == REMOTE_READ:
            return Choice(REMOTE_READ, "the config says so; labels that the server adds, if any, are left as they are")
        if external is None:
            return Choice(QUERY, "/api/v1/status/config does not tell which labels its remote read adds")
        also_own = frozenset(name for name, value in external.items() if self._has(name, value))
        if len(also_own) > MOST_SPLIT:
            return Choice(QUERY, "too many of its external labels are labels of its series, too")
        self._remote.queries = queries(external, also_own)
        return Choice(REMOTE_READ, "the server streams its chunks")

    def _has(self, name: str, value: str) -> bool:
        """Whether any series of the store may have this label by itself."""
        url = f"{self.url}/api/v1/label/{name}/values"
        try:
            answer = self._attempts(lambda: self._session.request("GET", url, headers=self._header())).json()
            return value in answer["data"]
        except (SourceRejected, ValueError, KeyError, TypeError):
            return True
