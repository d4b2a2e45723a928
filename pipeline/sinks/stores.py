"""A time series store that derived series are published to: what it is, how far back it takes samples, what it holds.

The kind is found by what a server can answer, not by its name: Prometheus tells its retention and its out-of-order
window, VictoriaMetrics its flags; whatever tells neither is trusted for an hour unless the config says more.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Literal, NoReturn, Self, TypeAlias

from pipeline.errors import RemoteWriteError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks import horizons, remote_write
from pipeline.sinks.horizons import Horizon, duration
from pipeline.sinks.remote_write import Answer, Labels, Sample
from pipeline.sinks.store_client import open_client
from pipeline.units import MS_PER_SECOND
from pipeline.window import HOUR, Clock, Window, from_ms, to_ms

Key: TypeAlias = tuple[str, Labels]
Kind: TypeAlias = Literal["prometheus", "victoriametrics", "other"]

WORKLOAD = ("cluster", "component", "kind", "namespace", "workload", "workload_kind")
NODE = ("cluster", "component", "kind", "node")
REVISED_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_emissions_grams": WORKLOAD,
    "carbon_energy_joules": WORKLOAD,
    "carbon_facility_energy_joules": WORKLOAD,
    "carbon_node_emissions_grams": NODE,
    "carbon_node_energy_joules": NODE,
    "carbon_quality_energy_joules": ("cluster", "intensity_quality"),
}
DISPLAY_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_grid_intensity_grams_per_kwh": ("cluster", "factor_type", "provider", "signal", "zone"),
    "carbon_pue_ratio": ("cluster",),
}
PROBE = "carbon_etl_probe"
LABEL_NAMES: Mapping[str, tuple[str, ...]] = {**REVISED_SERIES, **DISPLAY_SERIES, PROBE: ("run",)}

VICTORIA_FLAG = re.compile(r'^flag\{name="([^"]+)",\s*value="([^"]*)"', re.MULTILINE)
DEDUP_FLAG = "-dedup.minScrapeInterval=1ms"


@dataclass(frozen=True)
class Held:
    """What a store holds of some series.

    Attributes:
        values: key (without revision), stamp in ms, revision label ("" where there is none), value.
        doubles: per stamp, samples that were there twice with the same key, revision and value; each counts once.
    """

    values: Mapping[Key, Mapping[int, Mapping[str, float]]]
    doubles: Counter[int]


def equal(one: float, other: float) -> bool:
    """Equal as design section 2 defines it: to 1e-9 of the larger, plus 1e-12."""
    return abs(one - other) <= 1e-9 * max(abs(one), abs(other)) + 1e-12


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
        self._settings = settings
        self._env = env
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
            return Horizon(configured or HOUR, "as configured", "")
        return own

    def _own_horizon(self) -> Horizon | None:
        if self._prometheus is not None:
            return horizons.of_prometheus(*self._prometheus)
        if self.kind == "victoriametrics":
            return horizons.of_victoria(self._flags.get("retentionPeriod", ""))
        return None

    def held(self, metric: str, cluster: str, window: Window) -> Held:
        """All samples of one series name and cluster with `window.start < stamp < window.end`, one query.

        Raises:
            RemoteWriteError: (`several_replicas`) two different values at one key, revision and stamp.
        """
        return self._matrix(metric, {"cluster": cluster}, window.start_ms, window.end_ms)

    def has_probe(self, run: str, stamp_ms: int) -> bool:
        """Whether the probe sample of that name and stamp is readable."""
        span_ms = 60 * MS_PER_SECOND
        return bool(self._matrix(PROBE, {"run": run}, stamp_ms - span_ms, stamp_ms + span_ms).values)

    def _matrix(self, metric: str, match: Mapping[str, str], start_ms: int, end_ms: int) -> Held:
        # A range selector in an instant query returns raw samples on every store, closed at the left edge or not.
        matchers = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in match.items())
        query = f"{metric}{{{matchers}}}[{(end_ms - start_ms) // MS_PER_SECOND}s]"
        answer = self._get("/api/v1/query", {"query": query, "time": f"{end_ms / MS_PER_SECOND:.3f}", "nocache": "1"})
        if answer.status != 200:
            raise remote_write.refusal(answer, f"{self._settings.query_url}/api/v1/query")
        document = self._json(answer)
        if document.get("isPartial") or document.get("warnings"):
            self._distrust(f"a partial result ({str(document.get('warnings', 'isPartial'))[:100]})")
        data = document.get("data")
        if document.get("status") != "success" or not isinstance(data, dict) or data.get("resultType") != "matrix":
            self._distrust("no matrix of samples")
        try:
            return self._collected(metric, data["result"], start_ms, end_ms)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._distrust("a matrix that is not one")

    def _collected(self, metric: str, series: Iterable[Mapping[str, Any]], start_ms: int, end_ms: int) -> Held:
        names = LABEL_NAMES[metric]
        values: dict[Key, dict[int, dict[str, float]]] = {}
        doubles: Counter[int] = Counter()
        for one in series:
            labels = one["metric"]
            # Only our own labels make the key: stores add external and replica labels to what we wrote.
            key = (metric, tuple([(name, labels[name]) for name in names if name in labels]))
            revision = labels.get("revision", "")
            for stamp, text in one["values"]:
                stamp_ms, value = round(stamp * MS_PER_SECOND), float(text)
                if not start_ms < stamp_ms < end_ms:
                    continue
                revisions = values.setdefault(key, {}).setdefault(stamp_ms, {})
                if revision in revisions:
                    doubles[stamp_ms] += 1
                    if not equal(revisions[revision], value):
                        raise RemoteWriteError(
                            f"store {self.name} holds both {revisions[revision]!r} and {value!r} of {metric} "
                            f"at {from_ms(stamp_ms):%FT%TZ}: query_url must be one server, not several replicas",
                            "several_replicas",
                        )
                revisions[revision] = value
        return Held(values, doubles)

    def send(self, samples: Sequence[Sample]) -> None:
        """Write `samples` in one request, once; a return says only that it was answered with 2xx."""
        body = remote_write.write_request(samples, to_ms(self.clock.now()))
        remote_write.send(self._client, self._settings.url, self._authorization(), body, self.http.timeout_seconds)

    def _authorization(self) -> dict[str, str]:
        return self._settings.header(self._env)

    def _get(self, path: str, params: Mapping[str, str], silent: Collection[int] = (501,)) -> Answer:
        """An answer about the question itself: 200, a 4xx of a server that does not know it, or one of `silent`."""
        url = self._settings.query_url + path
        headers = self._authorization() | {"Cache-Control": "no-store"}  # query front-ends would not see late samples
        request = self._client.build_request("GET", url, params=dict(params), headers=headers)
        answer = remote_write.exchange(
            self._client, request, self.http.timeout_seconds, self.http.max_response_mb << 20
        )
        unknown_path = answer.status in range(400, 500) and answer.status not in (401, 403, 429)
        if answer.status == 200 or unknown_path or answer.status in silent:
            return answer
        raise remote_write.refusal(answer, url)

    def _json(self, answer: Answer) -> dict[str, Any]:
        try:
            document = json.loads(answer.body)
        except ValueError:
            document = None
        return document if isinstance(document, dict) else self._distrust("no JSON object")

    def _distrust(self, answered: str) -> NoReturn:
        raise RemoteWriteError(
            f"{self._settings.query_url} answers {answered}: check query_url of store {self.name}", "malformed"
        )
