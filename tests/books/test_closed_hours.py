"""Whoever folds again leaves closed hours of another method and pruned days alone, and says so."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from pipeline.books.closing import close_period
from pipeline.books.periods import Period
from pipeline.books.pruning import prune
from pipeline.books.repair import repair
from pipeline.books.restatements import restatements
from pipeline.closed import left_alone
from pipeline.job import Job
from pipeline.report import ClusterOutcome
from pipeline.run import run
from pipeline.tables import METHOD_VERSION
from pipeline.window import HOUR, Window
from tests.books.booked import rows
from tests.books.test_repair import DEMO, NOW, WINDOW, filled, truncate
from tests.clocks import FixedClock

__all__ = ["filled"]  # a fixture
CLOSED = Window(WINDOW.start, WINDOW.start + 2 * HOUR)
NEW = "2"


@pytest.fixture
def closed(filled: Job) -> Job:
    """The small fleet's three hours, the first two closed."""
    (done,) = close_period(filled, [DEMO], Period("two", CLOSED), as_is=False, again=False)
    assert done.refusal is None
    return filled


@pytest.fixture
def new_method(closed: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the closing on the program has another method."""
    for module in ("pipeline.closed", "pipeline.transforms.sheet"):
        monkeypatch.setattr(f"{module}.METHOD_VERSION", NEW)


def methods(made: Job) -> dict[Any, set[str]]:
    found: dict[Any, set[str]] = {}
    for row in rows(made.warehouse().root, "emissions"):
        found.setdefault(row["hour_utc"], set()).add(row["method_version"])
    return found


def folded_again(made: Job, **changes: Any) -> ClusterOutcome:  # noqa: ANN401 # of the job
    (outcome,) = run(replace(made, **changes), [DEMO], WINDOW).clusters
    return outcome


@pytest.mark.usefixtures("new_method")
def test_a_backfill_by_a_new_method_leaves_closed_hours_and_says_so(closed: Job) -> None:
    outcome = folded_again(closed)
    assert outcome.hours_rewritten == 1
    expected = f"2 hours were closed (period two by method {METHOD_VERSION}) and stay so under method {NEW}"
    assert any(expected in warning for warning in outcome.warnings)
    first, second, third = WINDOW.hours()
    assert methods(closed) == {first: {METHOD_VERSION}, second: {METHOD_VERSION}, third: {NEW}}
    assert {row["difference_gco2e"] for row in restatements(closed.warehouse(), [DEMO], None)} == {0}


@pytest.mark.usefixtures("new_method")
def test_when_asked_the_new_method_restates_and_the_cause_is_told(closed: Job) -> None:
    assert folded_again(closed, restate_closed=True).hours_rewritten == 3
    assert set().union(*methods(closed).values()) == {NEW}
    told = [row for row in rows(closed.warehouse().root, "revisions") if row["hour_utc"] in CLOSED]
    assert {row["cause"] for row in told} == {"method"}


@pytest.mark.usefixtures("new_method")
def test_a_repair_leaves_closed_hours_of_another_method_too(closed: Job) -> None:
    damaged = truncate(closed, "emissions").read_bytes()
    ((_, why),) = repair(closed, [DEMO], None).left
    assert truncate(closed, "emissions").read_bytes() == damaged[:-50]
    assert "2 hours were closed" in why
    assert "--restate-closed changes them" in why
    assert repair(replace(closed, restate_closed=True), [DEMO], None).left == []


@pytest.mark.usefixtures("new_method")
def test_where_the_rows_cannot_be_read_the_closing_tells_the_method(closed: Job) -> None:
    truncate(closed, "node_energy")
    hours = list(WINDOW.hours())
    stays, _ = left_alone(closed.warehouse(), DEMO, hours, restate_closed=False)
    assert stays == set(CLOSED.hours())


def test_the_same_method_restates_closed_hours_without_being_asked(closed: Job) -> None:
    assert left_alone(closed.warehouse(), DEMO, list(WINDOW.hours()), restate_closed=False) == (set(), [])
    assert (folded_again(closed).hours_unchanged, folded_again(closed).warnings) == (3, [])


def test_a_backfill_leaves_pruned_days_as_they_are(filled: Job) -> None:
    later = replace(filled, clock=FixedClock(NOW + timedelta(days=430)))
    assert prune(later, [DEMO], "13mo")[0].days == 1
    before = rows(filled.warehouse().root, "emissions")
    outcome = folded_again(filled)
    assert rows(filled.warehouse().root, "emissions") == before
    assert "3 hours are pruned to the sums of their days and stay as they are" in outcome.warnings
    assert sum(outcome.states.values()) == 0


def test_nothing_closed_or_pruned_leaves_nothing_alone(filled: Job) -> None:
    assert left_alone(filled.warehouse(), DEMO, list(WINDOW.hours()), restate_closed=False) == (set(), [])
