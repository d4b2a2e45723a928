"""The query API through prometheus-api-client: control plane, small queries, and the transport that works everywhere.

An instant query with a range selector returns raw samples on every Prometheus-compatible store; `query_range` resamples
and is used for a user's own expression, never for a meter. The library's own retries and time-outs are replaced (its
default never times out, and a POST is never retried); label values are escaped by `selectors`, because the library
splices them in raw.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import MetricValueConversionError, PrometheusApiClientException
from urllib3 import Retry

from pipeline.errors import SourceMalformed, SourceRejected, SourceUnavailable
from pipeline.samples import Block
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.selectors import Matcher, parse_matchers
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from pipeline.units import MS_PER_SECOND
from pipeline.window import Clock, from_ms

FIRST_WAIT_SECONDS = 0.5
MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, pa.ArrowException)  # what reading JSON raises
NAME = "__name__"
MOST_POINTS = 10_000
LOOK_BACK = "5m"  # Prometheus' default; VictoriaMetrics else guesses from how samples lie, and fills wider gaps

Labels = dict[str, str]
Sample = tuple[int, float]
T = TypeVar("T")


def _unheard(_warning: str) -> None:
    """Nobody asked for warnings."""


class PrometheusServer:
    """One Prometheus-compatible query address; implements `samples.Transport`."""

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
        self._clock, self._retry_seconds = clock, http.retry_seconds
        self._session = BoundedSession(clock, http.timeout_seconds, http.max_response_mb * BYTES_PER_MB, on_warning)
        self._session.headers["Accept-Encoding"] = "identity"
        self._header = partial(endpoint.header, env)  # read at each call: mounted tokens rotate
        self._client = PrometheusConnect(
            url=endpoint.url, session=self._session, headers=self._header(), retry=Retry(0), method="POST"
        )

    def blocks(self, selector: str, start_ms: int, end_ms: int) -> Iterator[Block]:
        """Raw samples with `start_ms <= stamp <= end_ms`; see `samples.Transport`.

        Prometheus 3 ranges are left-open, 2.x closed: one millisecond more is asked for and what lies outside is
        dropped.
        """
        answer = self._query(f"{selector}[{end_ms - start_ms + 1}ms]", end_ms)
        try:
            block = _block(answer, start_ms, end_ms)
        except MALFORMED as error:
            raise SourceMalformed(f"{self.url} does not answer {selector} with raw float samples") from error
        if block is not None:
            yield block

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
            except (*MALFORMED, OverflowError) as error:
                raise SourceMalformed(f"{self.url} does not answer {query!r} with a matrix") from error
        return list(found.values())

    def status(self, path: str) -> Mapping[str, Any] | None:
        """The `data` of `/api/v1/status/...`, or None where this server has no such page."""
        try:
            response = self._attempts(
                lambda: self._session.request("GET", f"{self.url}/api/v1/status/{path}", headers=self._header())
            )
            data = response.json()["data"]
        except (SourceRejected, ValueError, KeyError, TypeError):
            return None
        return data if isinstance(data, dict) else None

    def _query(self, query: str, at_ms: int) -> list[dict[str, Any]]:
        return self._series(query, lambda: self._client.custom_query(query, params={"time": _seconds(at_ms)}))

    def _query_range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> list[dict[str, Any]]:
        start, end, step = from_ms(start_ms), from_ms(end_ms), _seconds(step_ms)
        exact = {"start": _seconds(start_ms), "end": _seconds(end_ms)}  # the library rounds to seconds
        exact |= {"nocache": "1", "max_lookback": LOOK_BACK}  # to VictoriaMetrics
        return self._series(query, lambda: self._client.custom_query_range(query, start, end, step, params=exact))

    def _series(self, query: str, ask: Callable[[], Any]) -> list[dict[str, Any]]:
        def ask_as_now() -> Any:  # noqa: ANN401 # the type of a JSON document
            self._client.headers = self._header()
            return ask()

        try:
            answer = self._attempts(ask_as_now)
        except (*MALFORMED, PrometheusApiClientException, MetricValueConversionError) as error:
            raise SourceMalformed(
                f"{self.url} answers, but not as a Prometheus: check the address and its path prefix"
            ) from error
        if not isinstance(answer, list):
            raise SourceMalformed(f"{self.url} does not answer {query!r} with series")
        return answer

    def _attempts(self, ask: Callable[[], T]) -> T:
        """Ask again while the server is unavailable, with growing pauses, within the budget of retries."""
        deadline = self._clock.monotonic() + self._retry_seconds
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            try:
                return ask()
            except SourceUnavailable as error:
                pause = error.retry_after_seconds or wait_seconds
                if self._clock.monotonic() + pause > deadline:
                    raise
            self._clock.sleep(pause)
            wait_seconds *= 2


def _seconds(ms: int) -> str:
    return f"{ms / MS_PER_SECOND:.3f}"


def _block(series: list[dict[str, Any]], start_ms: int, end_ms: int) -> Block | None:
    if any("histograms" in item for item in series):
        raise TypeError("native histograms")
    series = [item for item in series if item["values"]]
    if not series:
        return None
    lengths = np.array([len(item["values"]) for item in series])
    pairs = [pair for item in series for pair in item["values"]]
    seconds = np.array([float(pair[0]) for pair in pairs])
    stamps = np.rint(seconds * MS_PER_SECOND).astype(np.int64)
    values = np.array([float(pair[1]) for pair in pairs])
    inside = (stamps >= start_ms) & (stamps <= end_ms)
    kept = np.bincount(np.repeat(np.arange(len(series)), lengths)[inside], minlength=len(series))
    names = sorted({name for item in series for name in item["metric"]} | {NAME})
    labels = pa.table({name: pa.array([item["metric"].get(name) for item in series], pa.string()) for name in names})
    labels = labels.drop_columns([NAME])  # dropped, not left out: a table without any column keeps its rows so
    return Block(labels, np.concatenate(([0], np.cumsum(kept))).astype(np.int64), stamps[inside], values[inside])
