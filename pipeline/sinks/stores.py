"""A time series store that derived series are published to: what it is, how far back it takes samples, what it holds.

The kind is found by what a server can answer, not by its name: Prometheus tells its retention and its out-of-order
window, VictoriaMetrics its flags; whatever tells neither is trusted for an hour unless the config says more.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, Self, TypeAlias

from pipeline.errors import RemoteWriteError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks import horizons, remote_write
from pipeline.sinks.batches import Batch
from pipeline.sinks.held import Held, held_of, matrix_of
from pipeline.sinks.horizons import Horizon, duration
from pipeline.sinks.published_series import DISPLAY_SERIES, PROBE, REVISED_SERIES
from pipeline.sinks.remote_write import Answer
from pipeline.sinks.store_client import open_client
from pipeline.sinks.write_request import write_request
from pipeline.units import MS_PER_SECOND
from pipeline.window import HOUR, Clock, Window, from_ms, to_ms

Kind: TypeAlias = Literal["prometheus", "victoriametrics", "other"]

VICTORIA_FLAG = re.compile(r'^flag\{name="([^"]+)",\s*value="([^"]*)"', re.MULTILINE)
NOT_STORED = frozenset({"unreachable", "throttled"})
DEDUP_FLAG = "-dedup.minScrapeInterval=1ms"


class Store:
    """One `[[remote_write]]` entry. Use as a context manager; nothing is asked before the first question.

    Args:
        settings: addresses, credentials, the store's own horizon.
        http: limits of every call.
        env: where secrets named by `*_env` are read at each call.
        clock: for the refusal of stamps after now, and for whoever waits for this store.
        horizon: `[publish] horizon`, where the store has none of its own.

    Raises (every method):
        UnsettledWriteError: the store cannot be reached or asks for patience.
        RemoteWriteError: it refuses, or answers something that cannot be trusted.
    """

    def __init__(
        self,
        settings: StoreSettings,
        http: HttpSettings,
        env: Mapping[str, str],
        clock: Clock,
        horizon: timedelta | None = None,
    ) -> None:
        self.name = settings.name
        self.clock = clock
        self.http = http
        self.settings = settings
        self.env = env
        self._configured = settings.horizon or horizon
        self._client = open_client(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @cached_property
    def kind(self) -> Kind:
        """What the server at `query_url` can tell about itself."""
        if self._prometheus is not None:
            return "prometheus"
        return "victoriametrics" if "dedup.minScrapeInterval" in self._flags else "other"

    @cached_property
    def _prometheus(self) -> tuple[str, str] | None:
        """Retention and configuration of a Prometheus; null where the server does not tell both (Thanos, Mimir)."""
        told: list[str] = []
        for path, name in (("runtimeinfo", "storageRetention"), ("config", "yaml")):
            answer = self._get(f"/api/v1/status/{path}", {})
            try:
                value = json.loads(answer.body)["data"][name] if answer.status == 200 else None
            except (ValueError, KeyError, TypeError):
                return None
            if not value or not isinstance(value, str):
                return None
            told.append(value)
        return told[0], told[1]

    @cached_property
    def _flags(self) -> Mapping[str, str]:
        """Flags of a VictoriaMetrics; a hosted store keeps its own /metrics closed, which says nothing of our login."""
        answer = self._get("/metrics", {}, silent=(401, 403, 501))
        return dict(VICTORIA_FLAG.findall(answer.body.decode(errors="replace"))) if answer.status == 200 else {}

    def refuse_doubling(self) -> None:
        """Stop before the first write to a VictoriaMetrics that would count a repeated sample twice.

        Raises:
            RemoteWriteError: (`no_dedup`) with the flag to set.
        """
        if self.kind != "victoriametrics":
            return
        interval = duration(self._flags["dedup.minScrapeInterval"])
        if not interval or interval > HOUR:
            held = self._flags["dedup.minScrapeInterval"]
            reason = "drops hourly samples" if interval else "counts a repeated sample twice"
            raise RemoteWriteError(
                f"store {self.name}: dedup.minScrapeInterval is {held}, which {reason}: "
                f"start VictoriaMetrics with {DEDUP_FLAG}",
                "no_dedup",
            )

    def horizon(self) -> Horizon:
        """How far back this store takes and keeps samples; the config can narrow what the store says."""
        own, configured = self._own_horizon(), self._configured
        if own is None and configured is None:
            return Horizon(
                HOUR, "the store does not say, so 1 h", f"set horizon for store {self.name} to what it takes"
            )
        if own is None or (configured is not None and configured < own.length):
            return Horizon(configured or HOUR, "as configured", "", own.kept if own else None)
        return own

    def _own_horizon(self) -> Horizon | None:
        if self._prometheus is not None:
            return horizons.of_prometheus(*self._prometheus)
        if self.kind == "victoriametrics":
            return horizons.of_victoria(self._flags.get("retentionPeriod", ""))
        return None

    def resume(self) -> None:
        """Finish what was begun, where that is known without reading: here it never is."""

    def held(self, cluster: str, window: Window) -> Held:
        """All samples of our series about a cluster with `window.start < stamp < window.end`, one query.

        Raises:
            RemoteWriteError: (`several_replicas`) two different values at one key, revision and stamp.
        """
        return self._held((*REVISED_SERIES, *DISPLAY_SERIES), {"cluster": cluster}, window.start_ms, window.end_ms)

    def has_probe(self, run: str, stamp_ms: int) -> bool:
        """Whether the probe sample of that name and stamp is readable."""
        span_ms = 60 * MS_PER_SECOND
        return bool(self._held((PROBE,), {"run": run}, stamp_ms - span_ms, stamp_ms + span_ms).values)

    def _held(self, metrics: Iterable[str], match: Mapping[str, str], start_ms: int, end_ms: int) -> Held:
        # A range selector in an instant query returns raw samples on every store, closed at the left edge or not.
        matchers = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in match.items())
        query = f'{{__name__=~"{"|".join(metrics)}",{matchers}}}[{(end_ms - start_ms) // MS_PER_SECOND}s]'
        body = self._asked("query", {"query": query, "time": f"{end_ms / MS_PER_SECOND:.3f}"})
        try:
            return held_of(body, start_ms, end_ms)
        except RemoteWriteError as error:
            raise RemoteWriteError(f"store {self.name}: {error}", error.cause) from None

    def totals(self, metric: str, cluster: str, window: Window) -> dict[datetime, float]:
        """The sum over all series of one name and cluster, by the hour; an hour without a sample is left out."""
        query = f"sum(sum_over_time({metric}{{cluster={json.dumps(cluster)}}}[1h]))"
        ends = {"start": str(window.start_ms // MS_PER_SECOND + 3600), "end": str(window.end_ms // MS_PER_SECOND)}
        body = self._asked("query_range", {"query": query, "step": "3600"} | ends)
        try:
            points = [point for one in matrix_of(body) for point in one["values"]]
            return {from_ms(round(stamp * MS_PER_SECOND)) - HOUR: float(text) for stamp, text in points}
        except RemoteWriteError as error:
            raise RemoteWriteError(f"store {self.name}: {error}", error.cause) from None

    def _asked(self, question: str, params: Mapping[str, str]) -> bytes:
        answer = self._get(f"/api/v1/{question}", {**params, "nocache": "1"})
        if answer.status != 200:
            raise remote_write.refusal(answer, f"{self.settings.query_url}/api/v1/{question}")
        return answer.body

    def send(self, batch: Batch) -> None:
        """Write samples in one request, once; a return says only that it was answered with 2xx."""
        body = write_request(batch, to_ms(self.clock.now()))
        secrets, seconds = self.settings.secrets(self.env), self.http.timeout_seconds
        remote_write.send(self._client, self.settings.url, self._authorization(), secrets, body, seconds)

    def _authorization(self) -> dict[str, str]:
        return self.settings.header(self.env)

    def _get(self, path: str, params: Mapping[str, str], silent: Collection[int] = (501,)) -> Answer:
        """An answer about the question itself: 200, a 4xx of a server that does not know it, or one of `silent`."""
        url = self.settings.query_url + path
        headers = self._authorization() | {"Cache-Control": "no-store"}  # query front-ends would not see late samples
        request = self._client.build_request("GET", url, params=dict(params), headers=headers)
        most_bytes, secrets = self.http.max_response_mb << 20, self.settings.secrets(self.env)
        answer = remote_write.exchange(self._client, request, self.http.timeout_seconds, most_bytes, secrets)
        unknown_path = answer.status in range(400, 500) and answer.status not in (401, 403, 429)
        if answer.status == 200 or unknown_path or answer.status in silent:
            return answer
        raise remote_write.refusal(answer, url)
