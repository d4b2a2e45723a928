"""What a store will not take is found, named and left aside; its neighbours arrive."""

import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.sinks import refusals
from pipeline.sinks.batches import Sample
from pipeline.sinks.differences import stamp_ms
from pipeline.sinks.publish import publish
from pipeline.window import Clock
from tests.sinks.publishing import hour_samples, kinds, last_hours, store_of, workload
from tests.sinks.receivers import Receiver, Stored, all_or_nothing, listening, mimir, thanos
from tests.sinks.servers import real_prometheus

BUSY = [f"n{number}" for number in range(40)]
BAD = workload("carbon_energy_joules", "n23")
DAY = timedelta(days=1)


def blocked(metric: str, namespace: str) -> Callable[[Stored, tuple[tuple[str, str], ...], int, float], bool]:
    """A judge that refuses one series."""
    pairs = {("__name__", metric), ("namespace", namespace)}
    return lambda _stored, labels, _stamp, _value: pairs <= set(labels)


@pytest.mark.real
def test_one_sample_out_of_order_is_named_and_its_neighbours_are_stored(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1, before_hours=3)
    wanted = hour_samples(1, namespaces=BUSY)
    metric, labels = BAD
    later = Sample(metric, tuple(sorted((*labels, ("revision", "0")))), stamp_ms(hour) + 30_000, 5.0)
    with real_prometheus(tmp_path / "p", window=None) as server, store_of(server.url, clock) as store:
        store.write([later])
        store.horizon = lambda: store_horizon  # type: ignore[method-assign]
        store_horizon = type(store).horizon(store)._replace(length=DAY)
        report = publish(store, {hour: wanted}, ["prod"], "run1")
        (told,) = report.hours
        assert (told.state, told.cause, told.written) == ("no", "out_of_order", len(wanted) - 1)
        assert told.reason is not None
        assert 'carbon_energy_joules{cluster="prod"' in told.reason
        assert 'namespace="n23"' in told.reason
        assert report.error is not None
        at = stamp_ms(hour) / 1000 + 60
        grams = server.query("sum by (namespace) (count_over_time(carbon_emissions_grams[2m]))", at)
        assert grams == dict.fromkeys(BUSY, 1.0)


@pytest.mark.parametrize("make", [all_or_nothing, mimir, thanos])
def test_a_conflicting_sample_costs_itself_alone_whatever_the_receiver_keeps(
    make: Callable[[], Receiver], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = last_hours(clock, 3)
    wanted = {hour: hour_samples(n, namespaces=BUSY) for n, hour in enumerate(hours)}
    with listening(make()) as receiver, store_of(receiver.url, clock, horizon=DAY) as store:
        receiver.judge = blocked("carbon_energy_joules", "n23")
        report = publish(store, wanted, ["prod"], "run1")
        assert [told.cause for told in report.hours] == [report.error.cause] * 3
        assert report.written == 3 * (len(wanted[hours[0]]) - 1)
        writes = receiver.writes
        again = publish(store, wanted, ["prod"], "run2")
        assert again.written == 0
        assert receiver.writes - writes <= 6, "only the one that is missing is offered again"
        receiver.judge = lambda *_: False
        assert kinds(publish(store, wanted, ["prod"], "run3")) == [("yes", None)] * 3
    held = {key: value for key, value in receiver.samples.items() if ("__name__", "carbon_etl_probe") not in key[0]}
    assert math.fsum(held.values()) == pytest.approx(math.fsum(v for one in wanted.values() for v in one.values()))
    assert len(held) == sum(map(len, wanted.values())), "nothing stands twice"


def test_an_hour_that_is_too_old_is_not_asked_about_sample_by_sample(clock: Clock) -> None:
    hours = last_hours(clock, 3)
    wanted = {hour: hour_samples(n, namespaces=BUSY) for n, hour in enumerate(hours)}
    receiver = all_or_nothing()
    receiver.answer = (500, "too old sample", {})
    receiver.judge = lambda _stored, _labels, stamp, _value: stamp < stamp_ms(hours[1])
    with listening(receiver), store_of(receiver.url, clock, horizon=DAY) as store:
        report = publish(store, wanted, ["prod"], "run1")
    assert kinds(report) == [("no", "too_old"), ("yes", None), ("yes", None)]
    assert receiver.writes <= 4
    assert report.hours[0].written == 0


def test_a_receiver_that_refuses_everything_is_not_asked_for_ever(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "MAX_REFUSALS", 5)
    (hour,) = last_hours(clock, 1)
    wanted = hour_samples(1, namespaces=BUSY)
    receiver = all_or_nothing()
    receiver.judge = lambda _stored, labels, _stamp, _value: ("__name__", "carbon_etl_probe") not in labels
    with listening(receiver), store_of(receiver.url, clock, horizon=DAY) as store:
        report = publish(store, {hour: wanted}, ["prod"], "run1")
    assert kinds(report) == [("no", "duplicate")]
    assert report.hours[0].reason is not None
    assert f"and {len(wanted) - 1} more" in report.hours[0].reason
    assert receiver.writes <= 5 + 6, "five answers, and one for each part that is left"


def test_a_busy_receiver_is_given_the_time_it_asks_for(clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    receiver = all_or_nothing()
    receiver.gate = lambda write: (429, "busy", {"Retry-After": "1"}) if write == 1 else None
    with listening(receiver), store_of(receiver.url, clock, horizon=DAY, retry_seconds=10) as store:
        began = clock.monotonic()
        report = publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
        assert clock.monotonic() - began >= 1.0
    assert kinds(report) == [("yes", None)]
    assert receiver.writes == 2
