"""A server whose raw samples come in the fastest way that it offers; everything else is the query API's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from pipeline.errors import SourceError, SourceRejected, SourceUnavailable
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.access import Access
from pipeline.sources.prometheus.api_client import PrometheusServer
from pipeline.sources.prometheus.export import Export
from pipeline.sources.prometheus.external_labels import external_labels, queries
from pipeline.sources.prometheus.limits import RawSession, limit_of
from pipeline.sources.prometheus.raw_query import whole_only
from pipeline.sources.prometheus.remote_read import RemoteRead
from pipeline.sources.prometheus.session import BYTES_PER_MB
from pipeline.sources.prometheus.splitting import Splitting
from pipeline.window import Clock

QUERY, EXPORT, REMOTE_READ = "query", "export", "remote_read"
CHUNK_SAMPLE_BYTES, LINE_SAMPLE_BYTES = 10, 40  # about
SHARE = 2  # of the largest answer, which is aimed at
MOST_SPLIT = 4  # labels: each of them doubles the queries of a request


class Choice(NamedTuple):
    """Which transport brings a server's samples, and why."""

    transport: str
    reason: str


class BulkServer(PrometheusServer):
    """A `PrometheusServer` that reads `blocks` by remote read or by export, where the server has one of them.

    Attributes:
        one_by_one: whether selectors are not asked for together: never, or no more since that was refused.
    """

    def __init__(
        self,
        endpoint: PrometheusEndpoint,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        on_warning: Callable[[str], None],
    ) -> None:
        super().__init__(endpoint, http, env, clock, on_warning)
        self._wanted = endpoint.transport
        self.one_by_one = False
        most_bytes = http.max_response_mb * BYTES_PER_MB
        session = RawSession(
            clock, http.timeout_seconds, most_bytes, whole_only(self.url, on_warning), Access.of(endpoint, env)
        )
        query_api = PrometheusServer(endpoint, http, env, clock, on_warning)
        self._remote = RemoteRead(endpoint.url, session, http, clock, query_api, on_warning)
        self._remote_splitting = Splitting(self.url, most_bytes // (SHARE * CHUNK_SAMPLE_BYTES))
        self._export = Export(endpoint.url, session, http, clock, on_warning)
        self._export_splitting = Splitting(
            self.url, most_bytes // (SHARE * LINE_SAMPLE_BYTES), self._samples_per_minute
        )

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`."""
        if self.choice.transport == REMOTE_READ:
            return self._remote_splitting.blocks(self._remote.blocks, selector, start_ms, end_ms)
        if self.choice.transport == EXPORT:
            return self._export_splitting.blocks(self._export.blocks, selector, start_ms, end_ms)
        return super().blocks(selector, start_ms, end_ms)

    def together(self, selectors: Sequence[str], start_ms: int, end_ms: int) -> list[list[Block]] | None:
        """See `samples.Several`: by remote read, where the server gives that much at once."""
        if self.one_by_one or self.choice.transport != REMOTE_READ:
            return None
        found: list[list[Block]] = [[] for _ in selectors]
        try:
            for number, block in self._remote.answers(selectors, start_ms, end_ms):
                found[number].append(block)
        except SourceError as error:
            if isinstance(error, SourceUnavailable) and limit_of(error) is None:
                raise
            self.one_by_one = True  # which of them it refuses, and what part of that it gives, each tells by itself
            return None
        return found

    @property
    def streams(self) -> bool:
        """See `PrometheusServer`: chunks leave it as they are stored."""
        return self.choice.transport == REMOTE_READ

    @cached_property
    def choice(self) -> Choice:
        """The transport of `blocks`, found out once: by what the server can do, not by what it is called.

        Raises:
            SourceError: the config allows one that the server does not have.
        """
        if self._wanted == QUERY:
            return Choice(QUERY, "the config says so")
        if self._wanted == REMOTE_READ:
            self._insist(self._remote.refusal(), "streamed remote read")
            return self._by_remote_read()
        if self._wanted == EXPORT:
            self._insist(self._export.refusal(), "export")
            return Choice(EXPORT, "the config says so")
        refusal = _now_or_never(self._remote.refusal)
        found = Choice(QUERY, f"no streamed remote read: {refusal}") if refusal else self._by_remote_read()
        if found.transport == REMOTE_READ:
            return found
        refusal = _now_or_never(self._export.refusal)
        if refusal is None:
            return Choice(EXPORT, f"the server exports; {found.reason}")
        return Choice(QUERY, f"{found.reason}; no export: {refusal}")

    def _insist(self, refusal: str | None, what: str) -> None:
        if refusal is not None:
            raise SourceRejected(f'{self.url} has no {what} ({refusal}): set transport = "auto" for it')

    def _by_remote_read(self) -> Choice:
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
            answer = self._attempts(lambda: self._session.request("GET", url)).json()
            return value in answer["data"]
        except (SourceRejected, ValueError, KeyError, TypeError):
            return True


def _now_or_never(refusal: Callable[[], str | None]) -> str | None:
    """Why a server does not offer something, its being unavailable among the reasons."""
    try:
        return refusal()
    except SourceUnavailable as error:
        return str(error)
