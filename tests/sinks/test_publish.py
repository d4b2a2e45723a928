"""Publishing into real stores: written once whatever breaks, read right at every edge of a day."""

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.errors import SchemaError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks import publish as publishing
from pipeline.sinks import rounds
from pipeline.sinks.batches import Sample
from pipeline.sinks.differences import stamp_ms
from pipeline.sinks.horizons import Horizon
from pipeline.sinks.publish import publish
from pipeline.sinks.run_numbers import RunNumbers, pipeline_series, write_now
from pipeline.sinks.stores import Store
from pipeline.window import HOUR, Clock, to_ms
from tests.sinks.publishing import Watched, hour_samples, kinds, last_hours, server_of, store_of, workload
from tests.sinks.servers import LossyLine, free_port, real_prometheus, real_victoria

pytestmark = pytest.mark.real
GRAMS = "sum without (revision) (sum_over_time(carbon_emissions_grams[24h]))"


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_day_is_written_once_and_read_right_at_every_edge_of_a_day(kind: str, tmp_path: Path, clock: Clock) -> None:
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = [midnight - n * HOUR for n in range(24, 0, -1)]
    wanted = {hour: hour_samples(n) for n, hour in enumerate(yesterday)}
    poisoned = {yesterday[0] - HOUR: dict.fromkeys(hour_samples(0), 1e9)}
    with server_of(kind, tmp_path) as server, store_of(server.url, clock) as store:
        first = publish(store, poisoned | wanted, ["prod"], "run1")
        assert kinds(first) == [("yes", None)] * 25
        assert first.error is None
        assert first.written == 25 * 6 == sum(hour.samples for hour in first.hours)
        requests, store.reads = len(store.requests), 0
        second = publish(store, poisoned | wanted, ["prod"], "run2")
        assert (second.written, second.pending, second.doubles) == (0, 0, 0)
        assert kinds(second) == [("yes", None)] * 25
        assert len(store.requests) == requests, "an unchanged hour must not even send a probe"
        assert store.reads == 2, "one read of a day, and one of the hour before it"
        for edge in (0.0, -0.001, -1.0):
            read = server.query(GRAMS, midnight.timestamp() + edge)
            for namespace in ("shop", "blog"):
                truth = math.fsum(hour[workload("carbon_emissions_grams", namespace)] for hour in wanted.values())
                assert read[namespace] == pytest.approx(truth, rel=1e-9), edge


def test_hours_beyond_the_horizon_are_never_sent_and_a_default_prometheus_has_one_hour(
    tmp_path: Path, clock: Clock
) -> None:
    hours = last_hours(clock, 3)
    wanted = {hour: hour_samples(n) for n, hour in enumerate(hours)}
    with real_prometheus(tmp_path / "p", window=None, retention=None) as server, store_of(server.url, clock) as store:
        report = publish(store, wanted, ["prod"], "run1")
        assert kinds(report) == [("beyond_horizon", "beyond_horizon")] * 3
        assert "out_of_order_time_window" in report.hours[0].reason
        assert report.error is None
        assert report.unpublished_hours == 3
        assert store.requests == []


def test_a_refused_sample_costs_its_hour_and_not_the_others_of_the_round(tmp_path: Path, clock: Clock) -> None:
    hours = last_hours(clock, 3)
    wanted = {hour: hour_samples(n) for n, hour in enumerate(hours)}

    class TrustsAnHourTooFar(Watched):
        def horizon(self) -> Horizon:
            return super().horizon()._replace(length=timedelta(days=1))

    with real_prometheus(tmp_path / "p", window=None) as server:
        settings = StoreSettings(url=f"{server.url}/api/v1/write")
        with TrustsAnHourTooFar(settings, HttpSettings(retry_seconds=0), {}, clock) as store:
            # A sample of the last hour closes the door an hour before itself, as a scrape would.
            store.write([Sample("up", (("job", "x"),), stamp_ms(hours[2]), 1.0)])
            report = publish(store, wanted, ["prod"], "run1")
            assert kinds(report) == [("no", "out_of_bounds"), ("yes", None), ("yes", None)]
            assert report.error.cause == "out_of_bounds"
            assert "out_of_order_time_window" in str(report.error)
            assert report.written == 12


def test_another_value_is_pending_and_left_alone(tmp_path: Path, clock: Clock) -> None:
    hours = last_hours(clock, 2)
    wanted = {hour: hour_samples(n) for n, hour in enumerate(hours)}
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, wanted, ["prod"], "run1")
        sent = len(store.requests)
        shop, blog = (workload("carbon_emissions_grams", name) for name in ("shop", "blog"))
        moved = {hours[0]: wanted[hours[0]] | {shop: 500.0, ("carbon_pue_ratio", (("cluster", "prod"),)): 2.0}}
        moved[hours[1]] = {key: value for key, value in wanted[hours[1]].items() if key != blog}
        report = publish(store, moved, ["prod"], "run2")
        assert kinds(report) == [("no", "pending"), ("no", "pending")]
        assert [hour.pending for hour in report.hours] == [1, 1], "changed, and held but no longer wanted"
        assert report.error is None
        assert len(store.requests) == sent
        stamp = stamp_ms(hours[0]) / 1000
        assert server.query("sum by (namespace) (carbon_emissions_grams)", stamp)["shop"] == wanted[hours[0]][shop]
        near = wanted[hours[0]] | {shop: wanted[hours[0]][shop] * (1 + 1e-10)}
        assert kinds(publish(store, {hours[0]: near}, ["prod"], "run3")) == [("yes", None)]


def test_revisions_of_a_key_are_added_up_before_they_are_compared(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
        metric, labels = shop = workload("carbon_emissions_grams", "shop")
        store.write([Sample(metric, tuple(sorted((*labels, ("revision", "1")))), stamp_ms(hour), -1.5)])
        corrected = hour_samples(1) | {shop: hour_samples(1)[shop] - 1.5}
        assert kinds(publish(store, {hour: corrected}, ["prod"], "run2")) == [("yes", None)]


def test_other_clusters_are_neither_compared_nor_touched(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: hour_samples(1, cluster="prod")}, ["prod"], "run1")
        assert kinds(publish(store, {hour: hour_samples(2, cluster="test")}, ["test"], "run1")) == [("yes", None)]
        assert kinds(publish(store, {hour: hour_samples(1)}, ["prod"], "run2")) == [("yes", None)]
        merged = {hour: hour_samples(1) | hour_samples(2, cluster="test")}
        assert publish(store, merged, ["prod", "test"], "run3").written == 0


def test_a_dry_run_counts_and_sends_nothing(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        report = publish(store, {hour: hour_samples(1)}, ["prod"], "run1", dry_run=True)
        assert kinds(report) == [("no", "dry_run")]
        assert "6 samples" in report.hours[0].reason
        assert (report.written, store.requests) == (0, [])


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_lost_answer_is_read_before_anything_is_written_again(kind: str, tmp_path: Path, clock: Clock) -> None:
    hours = last_hours(clock, 2)
    wanted = {hour: hour_samples(n) for n, hour in enumerate(hours)}
    with (
        server_of(kind, tmp_path) as server,
        LossyLine(server.url, lose=1) as line,
        store_of(line.url, clock, retry_seconds=40) as store,
    ):
        report = publish(store, wanted, ["prod"], "run1")
        assert kinds(report) == [("yes", None)] * 2
        assert (report.written, report.doubles) == (12, 0)
        assert line.writes == 1, "the lost write had arrived: nothing was to be written again"


def test_without_time_to_retry_a_lost_answer_is_settled_by_the_next_run(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with (
        real_prometheus(tmp_path / "p") as server,
        LossyLine(server.url, lose=1) as line,
        store_of(line.url, clock) as store,
    ):
        report = publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
        assert kinds(report) == [("no", "unclear")]
        assert report.error.exit_code == 75
        again = publish(store, {hour: hour_samples(1)}, ["prod"], "run2")
        assert (kinds(again), again.written, line.writes) == ([("yes", None)], 0, 1)


@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_store_killed_between_write_and_read_back_ends_complete_and_without_doubles(
    kind: str, tmp_path: Path, clock: Clock
) -> None:
    hours = last_hours(clock, 2)
    wanted = {hour: hour_samples(n) for n, hour in enumerate(hours)}
    with server_of(kind, tmp_path) as server:
        kills: list[int] = []

        def kill_once() -> None:
            if not kills:
                kills.append(1)
                server.kill()
                threading.Timer(1.0, server.launch).start()

        with store_of(server.url, clock, retry_seconds=60, after_send=kill_once) as store:
            report = publish(store, wanted, ["prod"], "run1")
            assert kinds(report) == [("yes", None)] * 2
            assert report.written == 12
            assert kills
            at = to_ms(hours[1] + HOUR) / 1000
            counted = server.query("sum by (namespace) (count_over_time(carbon_emissions_grams[24h]))", at)
            assert counted == {"shop": 2.0, "blog": 2.0}
            assert publish(store, wanted, ["prod"], "run2").written == 0


def test_a_store_that_is_down_leaves_every_hour_unpublished_with_the_cause(clock: Clock) -> None:
    hours = last_hours(clock, 3)
    with store_of(f"http://127.0.0.1:{free_port()}", clock, retry_seconds=1) as store:
        report = publish(store, {hour: hour_samples(1) for hour in hours}, ["prod"], "run1")
    assert kinds(report) == [("no", "unreachable")] * 3
    assert report.error.cause == "unreachable"
    assert report.error.exit_code == 75
    assert report.horizon is None


def test_a_victoria_metrics_that_would_double_is_refused_before_the_first_write(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with real_victoria(tmp_path / "v", dedup=None) as server, store_of(server.url, clock) as store:
        report = publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
        assert kinds(report) == [("no", "no_dedup")]
        assert store.requests == []


def test_a_query_url_of_another_server_is_found_out(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "VISIBLE_SECONDS", 2.0)
    (hour,) = last_hours(clock, 1)
    with (
        real_prometheus(tmp_path / "a") as written,
        real_prometheus(tmp_path / "b") as read,
        store_of(written.url, clock, query_url=read.url) as store,
    ):
        report = publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
    assert kinds(report) == [("no", "lost")]
    assert "query_url" in str(report.error)


def test_large_hours_go_series_by_series_in_requests_within_the_limit_each_with_a_new_probe(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "MAX_REQUEST_SAMPLES", 10)
    monkeypatch.setattr(publishing, "MAX_ROUND_KEYS", 45)
    hours = last_hours(clock, 3)
    wanted = {hour: hour_samples(n, namespaces=[f"n{i}" for i in range(10)]) for n, hour in enumerate(hours)}
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        report = publish(store, wanted, ["prod"], "run1")
        assert kinds(report) == [("yes", None)] * 3
        assert max(map(len, store.requests)) <= 10
        probes = [sample for request in store.requests for sample in request if sample.metric == "carbon_etl_probe"]
        assert len({probe.labels for probe in probes}) == len(store.requests)
        sent = [sample for request in store.requests for sample in request[:-1]]
        series = [sample[:2] for sample in sent]
        assert series[:4] == [series[0]] * 2 + [series[2]] * 2, "the two hours of a round side by side"
        assert {probe.stamp_ms for probe in probes[:5]} == {stamp_ms(hours[1])}, (
            "the first round ends with the second hour"
        )
        assert len(sent) == report.written == 3 * 22


def test_a_series_that_could_not_be_found_again_is_refused(clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    with real_store_that_tells_nothing(clock) as store:
        for key in (
            ("carbon_pue_ratio", (("cluster", "prod"), ("zone", "DE"))),
            ("carbon_odd", (("cluster", "prod"),)),
            ("carbon_pue_ratio", (("cluster", "else"),)),
        ):
            with pytest.raises(SchemaError):
                publish(store, {hour: {key: 1.0}}, ["prod"], "run1")


@contextmanager
def real_store_that_tells_nothing(clock: Clock) -> Iterator[Store]:
    class Silent(Watched):
        def refuse_doubling(self) -> None:
            pass

        def horizon(self) -> Horizon:
            return Horizon(timedelta(days=1), "", "")

    with Silent(StoreSettings(url="http://127.0.0.1:1/w"), HttpSettings(retry_seconds=0), {}, clock) as store:
        yield store


def test_a_runs_own_numbers_are_readable_at_the_runs_time_and_null_is_no_sample(tmp_path: Path, clock: Clock) -> None:
    now = clock.now()
    numbers = RunNumbers(
        cluster="prod",
        last_success_utc=now,
        run_seconds=12.5,
        rows=240,
        failed_checks={"conservation": False, "coverage": True},
        residual_joules=None,
        unpublished_hours=3,
    )
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        write_now(store, pipeline_series(numbers, now))
        at = to_ms(now) / 1000 + 1200
        assert server.query("max_over_time(carbon_etl_last_success_timestamp_seconds[7d])", at)[""] == pytest.approx(
            now.timestamp()
        )
        assert server.query('max_over_time(carbon_etl_check_failed{check="coverage"}[7d])', at) == {"": 1.0}
        assert server.query('max_over_time(carbon_etl_check_failed{check="conservation"}[7d])', at) == {"": 0.0}
        assert server.query("max_over_time(carbon_etl_unpublished_hours[7d])", at) == {"": 3.0}
        assert server.query("max_over_time(carbon_etl_residual_joules[7d])", at) == {}
