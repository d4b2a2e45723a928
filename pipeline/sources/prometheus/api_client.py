"""The query API through prometheus-api-client: control plane, small queries, and the transport that works everywhere.

An instant query with a range selector returns raw samples on every Prometheus-compatible store (`raw_query` reads
them); `query_range` resamples and is used for a user's own expression, never for a meter. The library's own retries and
time-outs are replaced (its default never times out, and a POST is never retried); label values are escaped by
`selectors`, because the library splices them in raw.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import MetricValueConversionError, PrometheusApiClientException
from urllib3 import Retry

from pipeline.errors import SourceError, SourceMalformed, SourceRejected
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.access import Access
from pipeline.sources.prometheus.attempts import attempts
from pipeline.sources.prometheus.instants import Instants
from pipeline.sources.prometheus.limits import RawSession
from pipeline.sources.prometheus.particulars import LOOKING_BACK, Particulars
from pipeline.sources.prometheus.raw_blocks import MALFORMED
from pipeline.sources.prometheus.raw_query import RawQuery, whole_only
from pipeline.sources.prometheus.selectors import Matcher, parse_matchers
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.sources.prometheus.splitting import Splitting
from pipeline.units import MS_PER_SECOND
from pipeline.window import Clock, from_ms

MOST_POINTS = 10_000
SAMPLE_BYTES = 36  # of JSON, about
SHARE = 4  # of the largest answer, which is aimed at

Labels = dict[str, str]
Sample = tuple[int, float]
T = TypeVar("T")


def _unheard(_warning: str) -> None:
    """Nobody asked for warnings."""


class PrometheusServer:
    """One Prometheus-compatible query address; implements `samples.Transport`.

    Attributes:
        url: with its path prefix.
        matchers: the user's own conditions.
        concurrency: how many questions it may be asked at a time.
    """

    def __init__(
        self,
        endpoint: PrometheusEndpoint,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        on_warning: Callable[[str], None] = _unheard,
    ) -> None:
        self.url = endpoint.url
        self.matchers: tuple[Matcher, ...] = parse_matchers(endpoint.selector)
        self.concurrency = http.concurrency
        self._clock, self._retry_seconds = clock, http.retry_seconds
        most_bytes, access = http.max_response_mb * BYTES_PER_MB, Access.of(endpoint, env)
        self._session = BoundedSession(clock, http.timeout_seconds, most_bytes, on_warning, access)
        raw_session = RawSession(clock, http.timeout_seconds, most_bytes, whole_only(self.url, on_warning), access)
        for session in (self._session, raw_session):
            session.headers["Accept-Encoding"] = "identity"
        self._client = PrometheusConnect(url=endpoint.url, session=self._session, retry=Retry(0), method="POST")
        self._particulars = Particulars()
        self._raw = RawQuery(self.url, raw_session, self._particulars, clock, http.retry_seconds, on_warning)
        most_samples = most_bytes // (SHARE * SAMPLE_BYTES)
        self._splitting = Splitting(self.url, most_samples, self._samples_per_minute)
        self._instants = Instants(self.url, raw_session, self._particulars, clock, http.retry_seconds, most_samples)

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`, in as many requests as the server wants."""
        return self._splitting.blocks(self._raw.blocks, selector, start_ms, end_ms)

    @property
    def streams(self) -> bool:
        """Whether raw samples cost it less than what it would work out of them."""
        return False

    def together(self, _selectors: Sequence[str], _start_ms: int, _end_ms: int) -> list[list[Block]] | None:
        """See `samples.Several`: an instant query asks for one."""
        return None

    def vector(self, query: str, at_ms: int) -> list[tuple[Labels, float]]:
        """The answer of an instant query that yields one value a series."""
        try:
            return [(item["metric"], float(item["value"][1])) for item in self._query(query, at_ms)]
        except MALFORMED as error:
            raise SourceMalformed(f"{self.url} does not answer {query!r} with a vector") from error

    def matrix(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> list[tuple[Labels, list[Sample]]]:
        """What an expression gives at `start_ms`, a step later and so on to `end_ms`: stamps and values by series.

        At each instant the server looks back for the newest samples, 5 minutes by default. Asked in slices, because
        servers refuse more than 11,000 points.
        """
        found: dict[tuple[tuple[str, str], ...], tuple[Labels, list[Sample]]] = {}
        for first_ms in range(start_ms, end_ms + 1, MOST_POINTS * step_ms):
            last_ms = min(first_ms + (MOST_POINTS - 1) * step_ms, end_ms)
            try:
                for item in self._query_range(query, first_ms, last_ms, step_ms):
                    samples = [(round(float(s) * MS_PER_SECOND), float(v)) for s, v in item["values"]]
                    key = tuple(sorted(item["metric"].items()))
                    found.setdefault(key, (item["metric"], []))[1].extend(samples)
            except MALFORMED as error:
                raise SourceMalformed(f"{self.url} does not answer {query!r} with a matrix") from error
        return list(found.values())

    def instants(self, expression: Callable[[str], str], selector: str, at_ms: range) -> Iterator[Block]:
        """What an expression of a selector gives at those stamps; see `Instants.blocks`."""
        return self._instants.blocks(expression, selector, at_ms)

    def status(self, path: str) -> Mapping[str, Any] | None:
        """The `data` of `/api/v1/status/...`, or None where this server has no such page."""
        try:
            response = self._attempts(lambda: self._session.request("GET", f"{self.url}/api/v1/status/{path}"))
            data = response.json()["data"]
        except (SourceRejected, ValueError, KeyError, TypeError):
            return None
        return data if isinstance(data, dict) else None

    def _samples_per_minute(self, selector: str, start_ms: int, end_ms: int) -> float | None:
        """The most that a minute of that span has, as far as a few looks tell; None where the server does not."""
        span_ms = end_ms - start_ms
        looks = f"sum(count_over_time({selector}[5m]))[{span_ms}ms:{span_ms // 4}ms]"
        try:
            answer = self.vector(f"max_over_time({looks})", end_ms)
        except SourceError:  # of which samples were not asked for: reading them will say what it is
            return None
        return answer[0][1] / 5 if answer else None

    def _query(self, query: str, at_ms: int) -> list[dict[str, Any]]:
        at = {"time": _seconds(at_ms)}
        return self._series(
            query, lambda: self._particulars.told(lambda more: self._client.custom_query(query, params={**at, **more}))
        )

    def _query_range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> list[dict[str, Any]]:
        start, end, step = from_ms(start_ms), from_ms(end_ms), _seconds(step_ms)
        exact = {"start": _seconds(start_ms), "end": _seconds(end_ms)}  # the library rounds to seconds

        def ask(more: Mapping[str, str]) -> Any:  # noqa: ANN401 # the type of a JSON document
            return self._client.custom_query_range(query, start, end, step, params={**exact, **more})

        return self._series(query, lambda: self._particulars.told(ask, LOOKING_BACK))

    def _series(self, query: str, ask: Callable[[], Any]) -> list[dict[str, Any]]:
        try:
            answer = self._attempts(ask)
        except (*MALFORMED, PrometheusApiClientException, MetricValueConversionError) as error:
            raise SourceMalformed(
                f"{self.url} answers, but not as a Prometheus: check the address and its path prefix"
            ) from error
        if not isinstance(answer, list):
            raise SourceMalformed(f"{self.url} does not answer {query!r} with series")
        return answer

    def _attempts(self, ask: Callable[[], T]) -> T:
        return attempts(ask, self._clock, self._retry_seconds)


def _seconds(ms: int) -> str:
    return f"{ms / MS_PER_SECOND:.3f}"
