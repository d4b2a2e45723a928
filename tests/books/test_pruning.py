"""Pruning takes detail away and never a joule or a gram: every sum by every key of `emissions_daily` stays."""

import math
import random
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given as for_all
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.books.closing import close_period
from pipeline.books.periods import Period
from pipeline.books.pruning import Pruned, first_kept, prune
from pipeline.books.restatements import restatements
from pipeline.books.verification import verify
from pipeline.errors import ConfigError
from pipeline.reprice import reprice
from pipeline.sinks.partitions import partition_path
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.tables import EMISSIONS, EMISSIONS_DAILY_KEY
from pipeline.transforms.pruning import pruned_rows
from pipeline.window import Window
from tests.books.booked import DAY, FIRST_DAY, HOUR, HOURS, LATER, booked, given, rows, tables
from tests.books.test_verification import rewrite, times
from tests.prices.stored import CLUSTER, START, StandingClock, job, learn, vintage
from tests.sinks import rows as made

YEAR_LATER = datetime(2027, 12, 4, 12, tzinfo=UTC)  # 13 months before: the second day is kept
KEY = EMISSIONS_DAILY_KEY[1:]
UNPRICED = {"intensity_quality": "missing", "carbon_intensity_g_per_kwh": None, "emissions_gco2e": None}
NO_PUE = {"pue_ratio": None, "pue_source": None, "facility_energy_kwh": None, "emissions_gco2e": None}


def pruned(folder: Path, now: datetime = YEAR_LATER, *, dry_run: bool = False, **more: Any) -> Pruned:  # noqa: ANN401 # of settings
    (done,) = prune(job(given(folder, **more), now, dry_run=dry_run), [CLUSTER], "13mo")
    return done


Sums = dict[tuple[Any, ...], tuple[float, float, float, float]]


def sums(emissions: list[dict[str, Any]]) -> Sums:
    """By day and every key of the daily roll-up: joules, facility kWh, grams, joules without grams, exactly added."""
    found: dict[tuple[Any, ...], list[Fraction]] = defaultdict(lambda: [Fraction(0)] * 4)
    for row in emissions:
        amounts = [row["energy_joules"], row["facility_energy_kwh"], row["emissions_gco2e"]]
        amounts.append(row["energy_joules"] if row["emissions_gco2e"] is None else 0)
        key = (row["hour_utc"].date(), *(row[name] for name in KEY))
        found[key] = [old + Fraction(amount or 0) for old, amount in zip(found[key], amounts, strict=True)]
    return {key: tuple(map(float, amounts)) for key, amounts in found.items()}  # type: ignore[misc] # four


def near(found: Sums) -> dict[Any, Any]:
    return {key: pytest.approx(amounts, rel=1e-12, abs=0) for key, amounts in found.items()}


def test_sums_by_every_daily_key_stay_and_detail_goes(tmp_path: Path) -> None:
    booked(tmp_path)
    before, daily, nodes = (rows(tmp_path, view) for view in ("emissions", "emissions_daily", "node_energy"))
    done = pruned(tmp_path)
    assert (done.days, done.rows_before, done.left) == (1, 72, {})
    after = rows(tmp_path, "emissions")
    assert sums(after) == near(sums(before))
    old = [row for row in after if row["hour_utc"] < START + DAY]
    assert (len(old), {row["hour_utc"] for row in old}, {row["node"] for row in old}) == (
        done.rows_after,
        {START},
        {None},
    )
    assert [row for row in after if row["hour_utc"] >= START + DAY] == before[72:]
    assert rows(tmp_path, "emissions_daily") == daily
    assert rows(tmp_path, "node_energy") == nodes


def test_pruned_and_unpruned_days_answer_the_same_questions(tmp_path: Path) -> None:
    booked(tmp_path)
    names = ("grams_by_namespace_and_day", "top_workloads", "quality_shares", "idle_share", "reconciliation")
    before = {name: run_query(tmp_path, shipped_queries()[name]).to_pandas() for name in names}
    pruned(tmp_path)
    for name in names:
        after = run_query(tmp_path, shipped_queries()[name]).to_pandas()
        pd.testing.assert_frame_equal(after, before[name], rtol=1e-12)


def test_a_dry_run_counts_and_changes_nothing(tmp_path: Path) -> None:
    booked(tmp_path)
    before = tables(tmp_path)
    done = pruned(tmp_path, dry_run=True)
    assert (done.days, done.rows_before, done.rows_after < 72) == (1, 72, True)
    assert tables(tmp_path) == before


def test_pruning_again_does_nothing_and_what_is_pruned_is_in_order(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    pruned(tmp_path)
    before = tables(tmp_path)
    assert pruned(tmp_path, YEAR_LATER + HOUR).days == 0
    assert tables(tmp_path) == before
    assert verify(warehouse, [CLUSTER], None, StandingClock(YEAR_LATER)).faults == []
    assert warehouse.recover(CLUSTER, START.date(), YEAR_LATER, "later").torn_hours == ()
    assert {row["state"] for row in warehouse.hours(CLUSTER, FIRST_DAY).to_pylist()} == {"pruned"}


def test_a_pruned_day_that_lost_a_row_is_told_apart(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    pruned(tmp_path)
    rewrite(tmp_path, "emissions", lambda held: held.slice(1))
    faults = verify(warehouse, [CLUSTER], None, StandingClock(YEAR_LATER)).faults
    assert [(fault.day, fault.remedy) for fault in faults] == [(START.date(), "backup")]


def test_nobody_prices_pruned_hours_again(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    pruned(tmp_path)
    before = rows(tmp_path, "emissions")
    learn(warehouse, vintage(HOURS[3], 999.0, YEAR_LATER))
    for since in (None, START):
        reprice(job(given(tmp_path), YEAR_LATER + HOUR), [CLUSTER], since)
    assert rows(tmp_path, "emissions") == before


def test_closings_revisions_and_restatements_stay(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    for period in (Period("day", FIRST_DAY), Period("both", Window(START, START + 26 * HOUR))):
        close_period(job(given(tmp_path), LATER), [CLUSTER], period, as_is=False, again=False)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER + HOUR))
    reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], None)
    before = {view: rows(tmp_path, view) for view in ("closings", "revisions")}
    told = restatements(warehouse, [CLUSTER], None)
    assert pruned(tmp_path).days == 1
    assert {view: rows(tmp_path, view) for view in before} == before
    after = restatements(warehouse, [CLUSTER], None)
    pd.testing.assert_frame_equal(pd.DataFrame(after), pd.DataFrame(told), rtol=1e-12)


def test_a_day_that_a_closing_cuts_keeps_its_hours(tmp_path: Path) -> None:
    booked(tmp_path)
    period = Period("local", Window(START - 2 * HOUR, START + 22 * HOUR))
    close_period(job(given(tmp_path), LATER), [CLUSTER], period, as_is=True, again=False)
    done = pruned(tmp_path)
    assert (done.days, list(done.left)) == (0, [str(START.date())])
    assert "keeps its detail: a closed period begins or ends within it" in next(done.lines(dry_run=False))


def test_a_day_that_is_not_in_order_keeps_its_detail(tmp_path: Path) -> None:
    booked(tmp_path)
    rewrite(tmp_path, "emissions", times("emissions_gco2e", 2.0))
    before = rows(tmp_path, "emissions")
    done = pruned(tmp_path)
    assert (done.days, "`carbon-etl verify`" in done.left[str(START.date())]) == (0, True)
    assert rows(tmp_path, "emissions") == before


def test_a_day_that_cannot_be_read_is_left_and_named(tmp_path: Path) -> None:
    booked(tmp_path)
    path = partition_path(tmp_path, "emissions", CLUSTER, START.date())
    path.write_bytes(path.read_bytes()[:-20])
    done = pruned(tmp_path)
    assert (done.days, str(path) in done.left[str(START.date())]) == (0, True)


@pytest.mark.parametrize("last", ["hours.temporary", "hours", "emissions.temporary", "emissions"])
def test_killed_anywhere_the_sums_stay_and_the_next_call_completes(tmp_path: Path, last: str) -> None:
    class Killed(BaseException):
        """The end of a process."""

    def die(effect: str) -> None:
        if effect == last:
            raise Killed

    booked(tmp_path)
    before = sums(rows(tmp_path, "emissions"))
    with pytest.raises(Killed):
        prune(replace(job(given(tmp_path), YEAR_LATER), on_effect=die), [CLUSTER], "13mo")
    assert sums(rows(tmp_path, "emissions")) == near(before)
    pruned(tmp_path, YEAR_LATER + HOUR)
    assert sums(rows(tmp_path, "emissions")) == near(before)
    assert {row["node"] for row in rows(tmp_path, "emissions") if row["hour_utc"] < START + DAY} == {None}


@hypothesis_settings(max_examples=40, deadline=None)
@for_all(seed=st.integers(0, 10_000), count=st.integers(1, 60))
def test_any_day_keeps_its_sums(seed: int, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311 # no secret
    emissions = []
    for number in range(count):
        columns: dict[str, Any] = chance.choice([{}, UNPRICED, NO_PUE, {"intensity_quality": "estimated"}])
        columns = columns | {"node": f"n{number}", "meter": chance.choice(["kepler", "dcgm"])}
        joules = chance.choice([0.1, 1e-3, 3.6e6, chance.random() * 1e7])
        hour = made.HOURS[chance.randrange(24)]
        workload = chance.choice(["web", "db"])
        emissions.append(
            chance.choice([made.pod(hour, workload, joules, **columns), made.emission(hour, "idle", joules, **columns)])
        )
    detail = pa.Table.from_pylist(emissions, EMISSIONS)
    left = pruned_rows(detail, "prune")
    assert left.schema == EMISSIONS
    assert sums(left.to_pylist()) == near(sums(emissions))
    facility = [math.fsum(r["facility_energy_kwh"] or 0 for r in found) for found in (emissions, left.to_pylist())]
    assert facility[0] == pytest.approx(facility[1], rel=1e-12)


@pytest.mark.parametrize(
    ("keep", "first"),
    [("13mo", date(2026, 11, 4)), ("12mo", date(2026, 12, 4)), ("400d", date(2026, 10, 30)), ("9mo", date(2027, 3, 4))],
)
def test_what_is_kept_begins_so_many_months_or_days_ago(keep: str, first: date) -> None:
    assert first_kept(keep, YEAR_LATER) == first


def test_a_month_that_is_too_short_ends_on_its_last_day() -> None:
    assert first_kept("6mo", datetime(2027, 8, 31, tzinfo=UTC)) == date(2027, 2, 28)


@pytest.mark.parametrize("keep", ["3mo", "91d", "0d", "1y", "", "-4mo", "99999mo", "9999999d"])
def test_what_is_still_restated_or_no_span_is_refused(keep: str) -> None:
    with pytest.raises(ConfigError):
        first_kept(keep, YEAR_LATER)
