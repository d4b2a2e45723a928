"""A store that cannot be read is sent every sample once: what it was sent is noted before and after."""

import math
from pathlib import Path

import pytest

from pipeline.errors import StoreUnwritable
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks.ledger import Ledger, ledger_path
from pipeline.sinks.publish import publish
from pipeline.sinks.published_series import Key
from pipeline.sinks.unread_store import UnreadStore, open_store
from pipeline.window import HOUR, Clock, Window
from tests.sinks.publishing import hour_samples, kinds, last_hours, workload
from tests.sinks.receivers import Receiver, Told, all_or_nothing, listening, thanos

SHOP = workload("carbon_emissions_grams", "shop")


class LosesAnswers(Receiver):
    """It stores what comes and answers 503 to the first writes."""

    lose = 1

    def write(self, body: bytes) -> Told:
        told = super().write(body)
        return (503, "", {}) if self.writes <= self.lose else told


def unread(receiver: Receiver, root: Path, clock: Clock, retry_seconds: float = 0.0) -> UnreadStore:
    settings = StoreSettings.model_validate(
        {"name": "far", "url": f"{receiver.url}/api/v1/write", "query_url": "none", "horizon": "2d"}
    )
    store = open_store(settings, HttpSettings(retry_seconds=retry_seconds), {}, clock, None, root)
    assert isinstance(store, UnreadStore)
    return store


def sums(receiver: Receiver) -> dict[Key, float]:
    """What a reader would see: the revisions of a key and stamp added up."""
    found: dict[Key, list[float]] = {}
    for (labels, _), value in receiver.samples.items():
        told = dict(labels)
        told.pop("revision", None)
        if (metric := told.pop("__name__")) != "carbon_etl_probe":
            found.setdefault((metric, tuple(told.items())), []).append(value)
    return {key: math.fsum(values) for key, values in found.items()}


def test_an_hour_is_written_once_corrected_by_its_difference_and_never_asked_for(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    second = first | {SHOP: first[SHOP] * 3}
    with listening(all_or_nothing()) as receiver, unread(receiver, tmp_path, clock) as store:
        report = publish(store, {hour: first}, ["prod"], "run1")
        assert (kinds(report), report.written) == ([("yes", None)], len(first))
        writes = receiver.writes
        assert publish(store, {hour: first}, ["prod"], "run2").written == 0
        assert receiver.writes == writes
        report = publish(store, {hour: second}, ["prod"], "run3", {hour: "request"})
        assert (report.written, report.corrections) == (1, 1)
        assert sums(receiver) == pytest.approx(second)
        assert receiver.reads == 0
        assert store.kind == "other"


@pytest.mark.parametrize("retry_seconds", [0.0, 10.0])
def test_what_was_sent_without_an_answer_is_sent_again_as_it_was(
    retry_seconds: float, tmp_path: Path, clock: Clock
) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    moved = first | {SHOP: first[SHOP] / 7}
    lossy = LosesAnswers((400, "duplicate sample for timestamp", {}), keeps_others=False)
    with listening(lossy) as receiver, unread(receiver, tmp_path, clock, retry_seconds) as store:
        report = publish(store, {hour: first}, ["prod"], "run1")
        assert kinds(report) == [("yes", None) if retry_seconds else ("no", "unavailable")]
        dry = publish(store, {hour: moved}, ["prod"], "run2", {hour: "request"}, dry_run=True)
        assert kinds(dry) == [("no", "dry_run")]
        writes = receiver.writes
        report = publish(store, {hour: moved}, ["prod"], "run3", {hour: "request"})
        assert kinds(report) == [("yes", None)]
        assert receiver.writes - writes == (1 if retry_seconds else 2)
        assert sums(receiver) == pytest.approx(moved)


def test_what_hours_come_to_is_told_by_the_ledger_too(tmp_path: Path, clock: Clock) -> None:
    hours = last_hours(clock, 2)
    wanted = {hour: hour_samples(n + 1) for n, hour in enumerate(hours)}
    with listening(all_or_nothing()) as receiver, unread(receiver, tmp_path, clock) as store:
        publish(store, wanted, ["prod"], "run1")
        publish(store, wanted | {hours[1]: wanted[hours[1]] | {SHOP: 0.5}}, ["prod"], "run2", {hours[1]: "request"})
        shown = store.totals(SHOP[0], "prod", Window(hours[0], hours[1] + HOUR))
    grams = [math.fsum(value for key, value in wanted[hour].items() if key[0] == SHOP[0]) for hour in hours]
    assert shown == pytest.approx({hours[0]: grams[0], hours[1]: grams[1] - wanted[hours[1]][SHOP] + 0.5})


class KilledError(BaseException):
    """Ends this process's part of the story, as SIGKILL would."""


@pytest.mark.parametrize("effect", ["begin", "taken"])
def test_a_publisher_killed_before_or_after_the_request_leaves_nothing_lost_and_nothing_doubled(
    effect: str, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    moved = first | {SHOP: 0.25}
    with listening(all_or_nothing()) as receiver, unread(receiver, tmp_path, clock) as store:
        note = getattr(Ledger, effect)

        def die(ledger: Ledger, batch: object) -> None:
            if effect == "begin":
                note(ledger, batch)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, effect, die)
            with pytest.raises(KilledError):
                publish(store, {hour: first}, ["prod"], "run1")
        assert bool(receiver.samples) == (effect == "taken")
        report = publish(store, {hour: moved}, ["prod"], "run2", {hour: "request"})
        assert kinds(report) == [("yes", None)]
        assert sums(receiver) == pytest.approx(moved)


def test_a_refused_sample_is_not_noted_as_held_and_its_neighbours_are(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    first = hour_samples(1)
    with listening(thanos()) as receiver, unread(receiver, tmp_path, clock) as store:
        refuses = {("__name__", SHOP[0]), ("namespace", "shop")}
        receiver.judge = lambda _stored, labels, _stamp, _value: refuses <= set(labels)
        report = publish(store, {hour: first}, ["prod"], "run1")
        assert kinds(report) == [("no", "duplicate")]
        assert report.written == len(first) - 1
        receiver.judge = lambda *_: False
        report = publish(store, {hour: first}, ["prod"], "run2")
        assert (kinds(report), report.written) == ([("yes", None)], 1)
        assert sums(receiver) == pytest.approx(first)


def test_without_a_place_for_its_ledger_nothing_is_sent(tmp_path: Path, clock: Clock) -> None:
    (hour,) = last_hours(clock, 1)
    (tmp_path / "ledgers").write_text("in the way")
    with (
        listening(all_or_nothing()) as receiver,
        unread(receiver, tmp_path, clock) as store,
        pytest.raises(StoreUnwritable),
    ):
        publish(store, {hour: hour_samples(1)}, ["prod"], "run1")
    assert receiver.samples == {}


def test_a_ledger_is_named_after_its_store_and_holds_no_path_of_it(tmp_path: Path) -> None:
    assert ledger_path(tmp_path, "../x").parent == tmp_path / "ledgers"
