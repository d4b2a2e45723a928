"""Adjusting entries in real stores: the sum over revisions follows the warehouse, each difference is written once."""

import math
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sinks.batches import Sample
from pipeline.sinks.differences import Occasion, remainder, stamp_ms
from pipeline.sinks.held import equal
from pipeline.sinks.publish import publish
from pipeline.sinks.published_series import REVISED_SERIES, Key
from pipeline.window import HOUR, Clock, to_ms
from tests.loopback import LOOPBACK
from tests.sinks.publishing import hour_samples, kinds, last_hours, server_of, store_of, workload
from tests.sinks.servers import LossyLine, RealStore, real_prometheus

SHOP, BLOG, LATE = (workload("carbon_emissions_grams", name) for name in ("shop", "blog", "late"))
ZERO = workload("carbon_energy_joules", "idling")
PUE = ("carbon_pue_ratio", (("cluster", "prod"),))


def told(server: RealStore, hours: list[datetime], selector: str = "") -> dict[Key, list[tuple[str, float]]]:
    """What a server shows of every revised series in those hours: key to (revision, value), read by PromQL alone."""
    found: dict[Key, list[tuple[str, float]]] = {}
    span = f"[{len(hours)}h]"
    for metric, names in REVISED_SERIES.items():
        params: dict[str, str | float] = {
            "query": f"{metric}{{{selector}}}{span}",
            "time": to_ms(hours[-1] + HOUR) / 1000,
            "nocache": "1",
        }
        answer = LOOPBACK.get(f"{server.url}/api/v1/query", params=params).raise_for_status()
        for one in answer.json()["data"]["result"]:
            key = (metric, tuple((name, one["metric"][name]) for name in names))
            found.setdefault(key, []).extend((one["metric"]["revision"], float(text)) for _, text in one["values"])
    return {key: sorted(samples) for key, samples in found.items()}


def assert_sums(server: RealStore, hour: datetime, wanted: Mapping[Key, float]) -> None:
    """The sum over revisions is what is wanted; a key that is not wanted sums up to nothing."""
    shown = told(server, [hour])
    for key in {key for key in wanted if key[0] in REVISED_SERIES} | set(shown):
        values = [value for _, value in shown[key]]
        scale = max(map(abs, values))
        assert math.fsum(values) == pytest.approx(wanted.get(key, 0.0), rel=1e-9, abs=1e-9 * scale), key


@pytest.mark.real
@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_differences_up_down_late_and_vanished_are_entries_and_are_written_once(
    kind: str, tmp_path: Path, clock: Clock
) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    second = first | {SHOP: first[SHOP] * 1.5, LATE: 7.7, ZERO: 0.0}
    second.pop(BLOG)
    third = second | {SHOP: first[SHOP] / 3, BLOG: 0.25}
    third.pop(LATE)
    with server_of(kind, tmp_path) as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        for number, (wanted, changed, beside) in enumerate([(second, 4, 2), (third, 3, 3)]):
            report = publish(store, {hour: wanted}, ["prod"], f"run{number}b", {hour: "milestone"})
            assert kinds(report) == [("yes", None)]
            assert (report.written, report.corrections) == (changed, beside)
            assert_sums(server, hour, wanted)
            requests = len(store.requests)
            again = publish(store, {hour: wanted}, ["prod"], f"run{number}c", {hour: "milestone"})
            assert (kinds(again), again.written, len(store.requests)) == ([("yes", None)], 0, requests)
        shown = told(server, [hour])
    assert [revision for revision, _ in shown[SHOP]] == ["0", "1", "2"]
    assert [value for _, value in shown[SHOP]][1] > 0 > [value for _, value in shown[SHOP]][2]
    assert [revision for revision, _ in shown[BLOG]] == ["0", "1", "2"]
    assert [revision for revision, _ in shown[LATE]] == ["0", "1"]
    assert shown[ZERO] == [("0", 0.0)], "0 is an amount, and absent is not 0"


@pytest.mark.real
def test_a_published_hour_waits_as_a_whole_between_milestones(tmp_path: Path, clock: Clock) -> None:
    """A late key alone, without what it was taken from, would make the total too large."""
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    moved = first | {LATE: 1.0, SHOP: first[SHOP] - 1.0}
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        sent = len(store.requests)
        report = publish(store, {hour: moved}, ["prod"], "run2", {hour: "between"})
        assert (kinds(report), report.pending, report.written) == ([("no", "pending")], 2, 0)
        assert len(store.requests) == sent
        assert_sums(server, hour, first)


@pytest.mark.real
def test_an_entry_is_worth_more_than_a_thousandth_unless_a_person_asks(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    slight, worth = {SHOP: first[SHOP] * 1.0009}, {BLOG: first[BLOG] * 1.0012}
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        automatic: tuple[Occasion, ...] = ("first", "between", "milestone")
        for occasion in automatic:
            report = publish(store, {hour: first | slight}, ["prod"], f"run {occasion}", {hour: occasion})
            assert (kinds(report), report.written) == ([("yes", None)], 0)
            assert report.hours[0].reason == "1 series differ from the warehouse by at most 0.1%"
        report = publish(store, {hour: first | slight | worth}, ["prod"], "run2", {hour: "milestone"})
        assert (kinds(report), report.written) == ([("yes", None)], 1), "each key by itself"
        assert report.hours[0].reason is not None
        report = publish(store, {hour: first | slight | worth}, ["prod"], "run3", {hour: "request"})
        assert (kinds(report), report.written, report.hours[0].reason) == ([("yes", None)], 1, None)
        assert_sums(server, hour, first | slight | worth)
        report = publish(store, {hour: first}, ["prod"], "run4", {hour: "request"})
        assert report.written == 2
        assert_sums(server, hour, first)


@pytest.mark.real
def test_what_differs_by_less_than_equal_means_is_never_written(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        near = first | {SHOP: first[SHOP] * (1 + 1e-10)}
        report = publish(store, {hour: near}, ["prod"], "run2", {hour: "request"})
        assert (kinds(report), report.written, report.hours[0].reason) == ([("yes", None)], 0, None)


@pytest.mark.real
def test_display_series_are_written_when_absent_and_never_corrected(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        report = publish(store, {hour: first | {PUE: 2.0}}, ["prod"], "run2", {hour: "request"})
        assert (kinds(report), report.written) == ([("yes", None)], 0)


@pytest.mark.real
def test_a_revision_that_is_taken_is_not_taken_again(tmp_path: Path, clock: Clock) -> None:
    """Samples were deleted by hand in the store: the number of those left is a label that one of them has."""
    (hour,) = last_hours(clock, 1)
    metric, labels = SHOP
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        store.write([Sample(metric, tuple(sorted((*labels, ("revision", "1")))), stamp_ms(hour), -1.5)])
        wanted = hour_samples(1)
        publish(store, {hour: wanted}, ["prod"], "run1", {hour: "request"})
        assert [revision for revision, _ in told(server, [hour])[SHOP]] == ["1", "2"]
        assert_sums(server, hour, wanted)


@pytest.mark.real
def test_a_dry_run_counts_corrections_and_sends_nothing(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    with real_prometheus(tmp_path / "p") as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        sent = len(store.requests)
        changed = first | {SHOP: 500.0}
        report = publish(store, {hour: changed}, ["prod"], "run2", {hour: "milestone"}, dry_run=True)
        assert (kinds(report), report.written, report.corrections) == ([("no", "dry_run")], 0, 0)
        assert report.hours[0].reason == "1 samples would be written"
        assert len(store.requests) == sent


class KilledError(BaseException):
    """Ends this process's part of the story, as SIGKILL would."""


def kill() -> None:
    raise KilledError


@pytest.mark.real
@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_publisher_killed_after_its_correction_was_stored_does_not_correct_twice(
    kind: str, tmp_path: Path, clock: Clock
) -> None:
    """The next one may come before VictoriaMetrics shows what it took: same label, same value, so it counts once."""
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    changed = {key: value * 0.5 for key, value in first.items()}
    with server_of(kind, tmp_path) as server, store_of(server.url, clock) as store:
        publish(store, {hour: first}, ["prod"], "run1")
        store.after_send = kill
        with pytest.raises(KilledError):
            publish(store, {hour: changed}, ["prod"], "run2", {hour: "milestone"})
        store.after_send = None
        report = publish(store, {hour: changed}, ["prod"], "run3", {hour: "milestone"})
        assert kinds(report) == [("yes", None)]
        assert_sums(server, hour, changed)
        assert {tuple(r for r, _ in samples) for samples in told(server, [hour]).values()} == {("0", "1")}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_store_killed_between_a_correction_and_its_read_back_holds_it_once(
    kind: str, tmp_path: Path, clock: Clock
) -> None:
    hours = last_hours(clock, 2)
    first = {hour: hour_samples(n + 1) for n, hour in enumerate(hours)}
    changed = {hour: {key: value * 3 for key, value in samples.items()} for hour, samples in first.items()}
    with server_of(kind, tmp_path) as server:
        with store_of(server.url, clock) as store:
            publish(store, first, ["prod"], "run1")
        kills: list[int] = []

        def kill_once() -> None:
            if not kills:
                kills.append(1)
                server.kill()
                threading.Timer(1.0, server.launch).start()

        with store_of(server.url, clock, retry_seconds=60, after_send=kill_once) as store:
            report = publish(store, changed, ["prod"], "run2", dict.fromkeys(hours, "milestone"))
            assert kills
            assert kinds(report) == [("yes", None)] * 2
            assert report.written == report.corrections == 10
            for hour in hours:
                assert_sums(server, hour, changed[hour])
            assert publish(store, changed, ["prod"], "run3", dict.fromkeys(hours, "request")).written == 0


@pytest.mark.real
@pytest.mark.parametrize("kind", ["prometheus", "victoriametrics"])
def test_a_correction_whose_answer_is_lost_is_read_before_anything_is_written_again(
    kind: str, tmp_path: Path, clock: Clock
) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    changed = first | {SHOP: 0.5}
    with (
        server_of(kind, tmp_path) as server,
        LossyLine(server.url, lose=0) as line,
        store_of(line.url, clock, retry_seconds=40) as store,
    ):
        publish(store, {hour: first}, ["prod"], "run1")
        line.asked.clear()
        line.lose = 1
        report = publish(store, {hour: changed}, ["prod"], "run2", {hour: "milestone"})
        assert (kinds(report), report.corrections) == ([("yes", None)], 1)
        assert line.writes == 1, "the lost write had arrived: nothing was to be written again"
        assert_sums(server, hour, changed)


@pytest.mark.real
def test_hours_beyond_the_horizon_are_not_corrected(tmp_path: Path, clock: Clock) -> None:
    old, young = last_hours(clock, 2)
    first = {hour: hour_samples(1) for hour in (old, young)}
    with real_prometheus(tmp_path / "p") as server:
        with store_of(server.url, clock) as store:
            publish(store, first, ["prod"], "run1")
        with store_of(server.url, clock, horizon=clock.now() - young) as store:
            changed = {hour: samples | {SHOP: 500.0} for hour, samples in first.items()}
            report = publish(store, changed, ["prod"], "run2", dict.fromkeys((old, young), "request"))
            assert kinds(report) == [("beyond_horizon", "beyond_horizon"), ("yes", None)]
            assert report.corrections == 1
        assert_sums(server, old, first[old])
        assert_sums(server, young, changed[young])


amounts = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)


@given(wanted=st.lists(amounts, min_size=1, max_size=6), digits=st.sampled_from([12, 17]))
def test_entries_lead_to_what_is_wanted_and_then_end(wanted: list[float], digits: int) -> None:
    """Even in a store that keeps twelve digits of each sample, as VictoriaMetrics does."""
    held: list[float] = []
    for value in wanted:
        rest = remainder(value, held)
        if rest or not held:
            held.append(float(f"{rest:.{digits}g}"))
        assert remainder(value, held) == 0.0
        assert abs(math.fsum(held) - value) <= 1e-9 * abs(value) + 1e-10 * max(map(abs, held))


@given(held=st.lists(amounts, min_size=1, max_size=4), factor=st.floats(0.5, 2.0))
def test_a_remainder_is_the_difference_beyond_equal(held: list[float], factor: float) -> None:
    total = math.fsum(held)
    rest = remainder(total * factor, held)
    if equal(total, total * factor):
        assert rest == 0.0
    elif abs(total * factor - total) > 1e-10 * max(map(abs, held)):
        assert rest == pytest.approx(total * factor - total, rel=1e-6)
