"""Two schedulers at once, a run that overtakes a backfill, clocks that step: one result, and no hour forgotten."""

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.plan import due_hours
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import HOUR
from tests.faults.acts import NewPlace, Stories
from tests.faults.readers import Reader, state
from tests.faults.results import Point, some, tell
from tests.faults.scenes import HOURS, NOW, Outcome, Scene, published, well
from tests.faults.victims import Ended, Victims

Record = Callable[[str, object], None]
SETTLE = timedelta(minutes=12)
STOPPED_SECONDS = 1.0


@pytest.mark.parametrize("number", some(range(3)))
def test_two_runs_at_once_leave_what_one_leaves(
    number: int,
    undisturbed: Stories,
    place: NewPlace,
    forks: Victims,
    more_forks: Victims,
    record_property: Record,
) -> None:
    act = undisturbed["corrected"][number]
    own = place(f"together-{number}")
    for minute, before in enumerate(undisturbed["corrected"][:number]):
        well(before.scene.play(own, forks, minute))
    reader, scene = Reader(own.warehouse, act.before, act.after), act.scene
    own.configure(**scene.configured)
    with reader.beside(), ThreadPoolExecutor() as both:
        runs = [
            both.submit(fork.end, own.asked(scene.command, minute, scene.window))
            for fork, minute in ((forks, 10), (more_forks, 11))
        ]
        ended = [run.result() for run in runs]
    assert [one.code for one in ended] == [0, 0], [one.said for one in ended]
    found = [*reader.faults, *Outcome.of(own).differences(act.outcome)]
    tell(record_property, Point("Schedulers", scene.name, "twice at once", not found, beside=True))
    assert found == []


def test_a_run_overtakes_a_backfill_that_stands_still_and_both_end_well(
    undisturbed: Stories, place: NewPlace, forks: Victims, more_forks: Victims, record_property: Record
) -> None:
    """The backfill stops in the middle of its second day, whose lock it holds; the run waits for that day alone."""
    act, own = undisturbed["corrected"][0], place("overtaken")
    at = 1 + [number for number, name in enumerate(act.effects) if name == "rename node_energy"][-1]
    own.configure()
    with ThreadPoolExecutor() as both:
        backfill = both.submit(act.scene.play, own, forks, 10, last=at, fate="SIGSTOP")
        stopped = _stopped_child(forks)
        run = both.submit(Scene("run", "run").play, own, more_forks, 11)
        threading.Timer(STOPPED_SECONDS, os.kill, (stopped, signal.SIGCONT)).start()
        well(backfill.result())
        well(run.result())
    found = Outcome.of(own).differences(act.outcome)
    tell(record_property, Point("Schedulers", "backfill", "stands still, a run overtakes it", not found))
    assert found == []


def _stopped_child(forks: Victims) -> int:
    """The process id of the run, once it has stopped."""
    for _ in range(3000):
        for child in forks.children():
            state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            if state in "tT":
                return child
        threading.Event().wait(0.01)
    raise AssertionError("no run stopped")


def test_a_clock_that_was_ahead_or_goes_back_costs_no_hour(
    undisturbed: Stories, place: NewPlace, forks: Victims, record_property: Record
) -> None:
    """Six hours ahead, hours without samples are noted as empty; they are due again, and nothing else has changed."""
    act, own, plain = undisturbed["corrected"][0], place("clock"), Scene("run", "run")
    well(act.scene.play(own, forks, 10))
    ahead = well(plain.play(own, forks, 6 * 60))
    assert "empty" in ahead.said
    well(plain.play(own, forks, 11))
    back = plain.play(own, forks, -60)
    assert back.code == 0, back.said
    well(plain.play(own, forks, 12))
    warehouse = Warehouse(own.warehouse)
    rows = warehouse.hours(own.cluster)
    states = dict(zip(rows["hour_utc"].to_pylist(), rows["state"].to_pylist(), strict=True))
    assert {states[hour] for hour in HOURS.hours()} == {"complete"}
    empty = {hour for hour, state in states.items() if state == "empty"}
    assert empty
    assert empty <= set(due_hours(rows, HOURS.start, NOW + 6 * HOUR, SETTLE)), "asked for again when they close"
    shown, samples = state(own.warehouse), published(own.store, own.cluster)
    found = [str(hour) for hour in HOURS.hours() if shown.emissions[hour] != act.after.emissions[hour]]
    found += [str(hour) for hour in HOURS.hours() if shown.nodes[hour] != act.after.nodes[hour]]
    found += [key for key, value in act.outcome.samples.items() if samples.get(key) != value]
    tell(record_property, Point("Schedulers", "run", "clock steps 6 h ahead and back", not found))
    assert found == []


def test_an_hour_is_done_or_hours_says_why_not(undisturbed: Stories, place: NewPlace, forks: Victims) -> None:
    """A store that is away: figures stand, publishing does not, and both are said of every hour."""
    act = undisturbed["corrected"][0]
    own = place("away")
    gone = replace(own, store="http://127.0.0.1:9")
    ended: Ended = act.scene.play(gone, forks, 10)
    assert ended.code == 75, ended.said
    rows = Warehouse(own.warehouse).hours(own.cluster)
    assert rows["state"].to_pylist() == ["complete", "complete"]
    shown = Outcome.of(own).rows["hours"].to_pylist()
    assert [row["state"] for row in shown if row["store"] == "store"] == ["no", "no"]
    well(act.scene.play(own, forks, 11))
    assert Outcome.of(own).differences(act.outcome) == []
