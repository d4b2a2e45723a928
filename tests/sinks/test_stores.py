"""What a store is, how far back it takes samples and what it holds, asked of real ones."""

import http.server
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from pipeline.errors import ConfigError, RemoteWriteError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks import horizons
from pipeline.sinks.batches import Batch, Sample
from pipeline.sinks.held import equal
from pipeline.sinks.remote_write import UnsettledWriteError
from pipeline.sinks.stores import Store
from pipeline.window import Clock, Window, floor_hour, to_ms
from tests.sinks.servers import free_port, real_prometheus, real_victoria

DAYS = timedelta(days=1)
Answers: TypeAlias = Mapping[str, tuple[int, bytes]]


def store_of(
    url: str,
    clock: Clock,
    *,
    http_settings: HttpSettings | None = None,
    horizon: timedelta | None = None,
    bearer_env: str | None = None,
) -> Store:
    made = StoreSettings(url=f"{url}/api/v1/write", bearer_token_env=bearer_env)
    return Store(made, http_settings or HttpSettings(retry_seconds=0), {}, clock, horizon)


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """A local HTTP server that answers each path as told, and everything else with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path.split("?")[0], (404, b""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def matrix(*series: object, **extra: object) -> Answers:
    document = {"status": "success", "data": {"resultType": "matrix", "result": list(series)}} | extra
    return {"/api/v1/query": (200, json.dumps(document).encode())}


@pytest.mark.parametrize(
    ("retention", "yaml", "length"),
    [
        ("15d", "", timedelta(hours=1)),
        ("400d", "storage:\n  tsdb:\n    out_of_order_time_window: 100d\n", 100 * DAYS),
        ("10d or 50GiB", "storage:\n  tsdb:\n    out_of_order_time_window: 100d\n", 9 * DAYS),
        ("50GiB", "storage:\n  tsdb:\n    out_of_order_time_window: 2d\n", 2 * DAYS),
        ("12h", "storage:\n  tsdb:\n    out_of_order_time_window: 2d\n", timedelta(0)),
        ("1y", "storage:\n  tsdb:\n    out_of_order_time_window: 0s\n", timedelta(hours=1)),
    ],
)
def test_prometheus_takes_the_shorter_of_retention_less_a_day_and_its_window(
    retention: str, yaml: str, length: timedelta
) -> None:
    assert horizons.of_prometheus(retention, yaml).length == length


@pytest.mark.parametrize(("flag", "days"), [("13", 403), ("1", 31), ("10y", 3650), ("90d", 90), ("2w", 14)])
def test_a_bare_retention_of_victoria_metrics_counts_months(flag: str, days: int) -> None:
    assert horizons.of_victoria(flag).length == days * DAYS


def test_an_unreadable_retention_falls_to_an_hour_and_says_so() -> None:
    assert horizons.of_victoria("soon").length == timedelta(hours=1)
    assert "'soon'" in horizons.of_victoria("soon").explanation


def test_equal_is_relative_to_the_larger_and_has_a_floor() -> None:
    assert equal(1e9, 1e9 + 0.9)
    assert not equal(1e9, 1e9 + 1.2)
    assert equal(0.0, 1e-12)
    assert not equal(0.0, 1e-11)


@pytest.mark.real
def test_a_default_prometheus_has_a_horizon_of_one_hour_and_a_window_widens_it(tmp_path: Path, clock: Clock) -> None:
    with (
        real_prometheus(tmp_path / "default", window=None, retention=None) as server,
        store_of(server.url, clock) as store,
    ):
        assert store.kind == "prometheus"
        length, explanation, advice, kept = store.horizon()
        assert length == timedelta(hours=1)
        assert kept == 14 * DAYS
        assert "15d" in explanation
        assert "out_of_order_time_window" in advice
    with real_prometheus(tmp_path / "wide", retention="20d") as server, store_of(server.url, clock) as store:
        assert store.horizon().length == 19 * DAYS
        with store_of(server.url, clock, horizon=timedelta(days=3)) as narrowed:
            assert narrowed.horizon()[:2] == (3 * DAYS, "as configured")
        with store_of(server.url, clock, horizon=timedelta(days=300)) as wished:
            assert wished.horizon().length == 19 * DAYS


@pytest.mark.real
def test_victoria_metrics_is_known_by_its_flags_and_refused_without_dedup(tmp_path: Path, clock: Clock) -> None:
    with real_victoria(tmp_path / "good", retention="13") as server, store_of(server.url, clock) as store:
        assert store.kind == "victoriametrics"
        assert store.horizon().length == 403 * DAYS
        store.refuse_doubling()
    with real_victoria(tmp_path / "bad", dedup=None) as server, store_of(server.url, clock) as store:
        with pytest.raises(RemoteWriteError, match=r"-dedup\.minScrapeInterval=1ms") as refused:
            store.refuse_doubling()
        assert refused.value.cause == "no_dedup"


def test_a_store_that_tells_nothing_is_trusted_for_an_hour_or_as_configured(clock: Clock) -> None:
    with answering({}) as url, store_of(url, clock) as store:
        assert store.kind == "other"
        store.refuse_doubling()
        assert store.horizon().length == timedelta(hours=1)
        assert "set horizon" in store.horizon().advice
        with store_of(url, clock, horizon=timedelta(days=30)) as told:
            assert told.horizon().length == 30 * DAYS


def test_a_store_that_tells_its_retention_but_no_window_or_hides_its_flags_is_of_no_known_kind(clock: Clock) -> None:
    told = b'{"status":"success","data":{"storageRetention":"15d"}}'
    with (
        answering({"/api/v1/status/runtimeinfo": (200, told), "/metrics": (401, b"")}) as url,
        store_of(url, clock) as store,
    ):
        assert store.kind == "other"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_a_store_that_fails_is_not_taken_for_one_of_another_kind(status: int, clock: Clock) -> None:
    with (
        answering({"/api/v1/status/runtimeinfo": (status, b"")}) as url,
        store_of(url, clock) as store,
        pytest.raises(RemoteWriteError),
    ):
        store.horizon()


@pytest.mark.real
def test_held_samples_come_back_by_our_labels_revision_and_stamp_and_no_other_cluster(
    tmp_path: Path, clock: Clock
) -> None:
    hour = floor_hour(clock.now()) - timedelta(hours=3)
    stamp = to_ms(hour) + 3_540_000
    odd = 'we"ird\\ü'

    def sample(revision: str, value: float, cluster: str = "prod", stamp_ms: int = stamp) -> Sample:
        labels = {"cluster": cluster, "component": "package", "kind": "idle", "node": odd, "revision": revision}
        return Sample("carbon_node_energy_joules", tuple(sorted(labels.items())), stamp_ms, value)

    key = (
        "carbon_node_energy_joules",
        (("cluster", "prod"), ("component", "package"), ("kind", "idle"), ("node", odd)),
    )
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        told = [sample("0", 10.0), sample("1", -3.5), sample("0", 99.0, "else")]
        store.send(Batch.of_samples([*told, sample("0", 7.0, "prod", stamp - 3_600_000)]))
        held = store.held("prod", Window.of_hour(hour))
        assert held.values == {stamp: {key: {"0": 10.0, "1": -3.5}}}
        assert not held.doubles
        both = store.held("prod", Window(hour - timedelta(hours=1), hour + timedelta(hours=1)))
        assert set(both.values) == {stamp, stamp - 3_600_000}


HOUR = datetime(2026, 11, 1, 8, tzinfo=UTC)
STAMP = to_ms(HOUR) / 1000 + 3540


def pue(value: str, replica: str, stamp: float = STAMP) -> dict[str, Any]:
    return {"metric": {"__name__": "carbon_pue_ratio", "cluster": "a", "replica": replica}, "values": [[stamp, value]]}


def test_identical_samples_of_replicas_count_once_and_are_reported(clock: Clock) -> None:
    with answering(matrix(pue("1.5", "x"), pue("1.5", "y"))) as url, store_of(url, clock) as store:
        held = store.held("a", Window.of_hour(HOUR))
    assert held.values == {int(STAMP * 1000): {("carbon_pue_ratio", (("cluster", "a"),)): {"": 1.5}}}
    assert held.doubles == {int(STAMP * 1000): 1}


def test_different_samples_at_one_key_and_stamp_are_refused_as_several_replicas(clock: Clock) -> None:
    with (
        answering(matrix(pue("1.5", "x"), pue("1.6", "y"))) as url,
        store_of(url, clock) as store,
        pytest.raises(RemoteWriteError, match="replicas") as refused,
    ):
        store.held("a", Window.of_hour(HOUR))
    assert refused.value.cause == "several_replicas"


@pytest.mark.parametrize("edge", [to_ms(HOUR) / 1000, to_ms(HOUR) / 1000 + 3600])
def test_samples_on_the_edges_of_the_window_belong_to_no_hour(edge: float, clock: Clock) -> None:
    with answering(matrix(pue("1.5", "x", edge))) as url, store_of(url, clock) as store:
        assert not store.held("a", Window.of_hour(HOUR)).values


@pytest.mark.parametrize(
    "answers",
    [
        matrix(isPartial=True),
        matrix(warnings=["store gateway unavailable"]),
        matrix({"metric": {}}),
        {"/api/v1/query": (200, b"<html>login</html>")},
        {"/api/v1/query": (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}')},
        {"/api/v1/query": (200, b"[]")},
    ],
)
def test_an_answer_that_is_not_the_whole_matrix_is_not_taken_for_an_empty_store(answers: Answers, clock: Clock) -> None:
    with answering(answers) as url, store_of(url, clock) as store, pytest.raises(RemoteWriteError) as refused:
        store.held("a", Window.of_hour(HOUR))
    assert refused.value.cause == "malformed"


def test_an_answer_beyond_the_limit_is_cut(clock: Clock) -> None:
    small = HttpSettings(max_response_mb=1)
    answers = {"/api/v1/query": (200, b"x" * (1 << 20) + b"x")}
    with (
        answering(answers) as url,
        store_of(url, clock, http_settings=small) as store,
        pytest.raises(RemoteWriteError, match="max_response_mb"),
    ):
        store.held("a", Window.of_hour(HOUR))


def test_a_store_that_is_down_is_unsettled_not_empty(clock: Clock) -> None:
    with store_of(f"http://127.0.0.1:{free_port()}", clock) as store, pytest.raises(UnsettledWriteError) as failed:
        store.held("a", Window.of_hour(HOUR))
    assert failed.value.cause == "unreachable"


def test_a_secret_that_is_not_set_is_a_config_error(clock: Clock) -> None:
    with answering({}) as url, store_of(url, clock, bearer_env="NOT_THERE") as store, pytest.raises(ConfigError):
        store.horizon()


def test_a_sample_of_the_future_never_leaves(clock: Clock) -> None:
    ahead = time.time_ns() // 1_000_000 + 60_000
    with store_of(f"http://127.0.0.1:{free_port()}", clock) as store, pytest.raises(RemoteWriteError) as refused:
        store.send(Batch.of_samples([Sample("carbon_etl_rows", (("cluster", "a"),), ahead, 1.0)]))
    assert refused.value.cause == "future"
