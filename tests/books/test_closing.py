"""A period is closed once, with the totals that were reported; what changes later is a restatement with its causes."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import tables as public
from pipeline.books.closing import Closing, close_period
from pipeline.books.periods import Period, period_of
from pipeline.books.restatements import lines, restatements
from pipeline.errors import ConfigError
from pipeline.reprice import reprice
from pipeline.settings import Settings
from pipeline.sinks.sql import run_query, shipped_queries
from pipeline.sinks.warehouse import Warehouse
from pipeline.window import Window
from tests.books import booked as books
from tests.books.booked import (
    DAY,
    FIRST_DAY,
    FOLDED,
    HOUR,
    HOURS,
    LATER,
    booked,
    booked_hours,
    given,
    namespace,
    rows,
    totals,
)
from tests.prices.stored import CLUSTER, PUE, START, fold, job, learn, vintage

SPAN = Period("first", FIRST_DAY)
WITHIN = Period("within", Window(START + 20 * HOUR, START + 25 * HOUR))  # begins and ends within a day


def closed(folder: Path, period: Period = SPAN, settings: Settings | None = None, **options: Any) -> Closing:  # noqa: ANN401 # any option
    now, dry_run = options.pop("now", LATER), options.pop("dry_run", False)
    options = {"as_is": False, "again": False} | options
    (found,) = close_period(job(settings or given(folder), now, dry_run=dry_run), [CLUSTER], period, **options)
    return found


def figures(found: list[dict[str, Any]]) -> dict[object, tuple[float, float]]:
    return {row["namespace"]: (row["energy_joules"], row["emissions_gco2e"]) for row in found}


def restated(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["namespace"]: row for row in restatements(Warehouse(folder), [CLUSTER], None)}


@pytest.mark.parametrize("period", [SPAN, WITHIN, Period("all", Window(START, START + 26 * HOUR))], ids=str)
def test_a_closing_keeps_the_totals_by_namespace(tmp_path: Path, period: Period) -> None:
    booked(tmp_path)
    found = closed(tmp_path, period)
    assert (found.exit_code, found.refusal) == (0, None)
    stored = rows(tmp_path, "closings")
    expected = totals(rows(tmp_path, "emissions"), period.window, namespace)
    assert figures(stored) == {name: pytest.approx(sums, rel=1e-14) for name, sums in expected.items()}
    assert {row["namespace"] for row in stored} == {"shop", "(idle)"}
    shop = next(row for row in stored if row["namespace"] == "shop")
    assert shop["facility_energy_kwh"] == pytest.approx(shop["energy_joules"] / 3.6e6 * PUE, rel=1e-12)
    assert (shop["unpriced_energy_joules"], shop["intensity_factor_type"], shop["lacking_hours"]) == (0, "direct", 0)
    assert (shop["method_version"], shop["closed_utc"]) == (public.METHOD_VERSION, LATER)
    assert (shop["start_utc"], shop["end_utc"]) == (period.window.start, period.window.end)
    digests = {row["config_digest"] for row in rows(tmp_path, "hours")}
    assert {shop["config_digest"]} == digests


def test_closing_again_with_the_same_totals_writes_nothing(tmp_path: Path) -> None:
    booked(tmp_path)
    closed(tmp_path)
    before = books.tables(tmp_path)
    again = closed(tmp_path, now=LATER + DAY)
    assert (again.exit_code, again.stands_since_utc) == (0, LATER)
    assert "they stand" in again.line(dry_run=False)
    assert books.tables(tmp_path) == before


def test_a_dry_run_tells_the_totals_and_writes_nothing(tmp_path: Path) -> None:
    booked(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = closed(tmp_path, dry_run=True)
    assert sorted(tmp_path.rglob("*")) == before
    assert figures(found.rows) == totals(rows(tmp_path, "emissions"), FIRST_DAY, namespace)
    assert "would be closed" in found.line(dry_run=True)


def test_what_changes_later_is_a_restatement_with_its_cause_and_its_size(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    closed(tmp_path)
    assert {row["difference_gco2e"] for row in restated(tmp_path).values()} == {0.0}
    learn(warehouse, vintage(HOURS[3], 250.0, LATER + HOUR, quality="measured"))
    reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], None)
    shop, idle = restated(tmp_path)["shop"], restated(tmp_path)["(idle)"]
    assert shop["difference_gco2e"] == pytest.approx((5.4e6 + 3) / 3.6e6 * PUE * (250.0 - 103.0), rel=1e-9)
    assert (shop["difference_joules"], shop["causes"], shop["is_material"]) == (0, "intensity", True)
    assert shop["difference_ratio"] == pytest.approx(shop["difference_gco2e"] / shop["closed_emissions_gco2e"])
    assert idle["emissions_gco2e"] - idle["closed_emissions_gco2e"] == idle["difference_gco2e"] != 0
    told = list(lines(restatements(warehouse, [CLUSTER], None)))
    assert told[0].startswith(f"{CLUSTER} first, closed {LATER:%FT%H:%MZ}")
    assert "2 of 2 namespaces changed" in told[0]
    assert "material: intensity" in told[1]
    shipped = run_query(tmp_path, shipped_queries()["restatements"]).to_pylist()
    assert {(row["namespace"], row["causes"]) for row in shipped} == {("shop", "intensity"), ("(idle)", "intensity")}


def test_a_change_outside_the_period_restates_nothing(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    closed(tmp_path)
    learn(warehouse, vintage(HOURS[25], 999.0, LATER + HOUR))
    assert reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], None).clusters[0].hours_rewritten == 1
    assert {(row["difference_gco2e"], row["causes"]) for row in restated(tmp_path).values()} == {(0.0, None)}
    assert not run_query(tmp_path, shipped_queries()["restatements"]).num_rows
    assert next(lines(restatements(warehouse, [CLUSTER], None))).endswith("unchanged")


def test_materiality_is_what_was_configured_when_the_period_was_closed(tmp_path: Path) -> None:
    lax = Settings.model_validate(given(tmp_path).model_dump() | {"closing": {"materiality": 0.5}})
    warehouse = booked(tmp_path)
    closed(tmp_path, settings=lax)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER + HOUR))
    reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], None)
    assert [row["is_material"] for row in restated(tmp_path).values()] == [False, False]


def test_other_totals_are_closed_anew_only_when_asked_and_the_newest_closing_counts(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    closed(tmp_path)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER + HOUR))
    reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], None)
    refused = closed(tmp_path, now=LATER + DAY)
    assert (refused.exit_code, "--again" in (refused.refusal or "")) == (2, True)
    assert closed(tmp_path, now=LATER + DAY, again=True).exit_code == 0
    assert {row["difference_gco2e"] for row in restated(tmp_path).values()} == {0.0}
    assert {row["closed_utc"] for row in rows(tmp_path, "closings")} == {LATER, LATER + DAY}


def test_hours_that_a_run_may_still_bring_are_waited_for(tmp_path: Path) -> None:
    booked_hours(tmp_path, HOURS[:20])
    found = closed(tmp_path)
    assert (found.exit_code, found.refusal) == (
        75, "4 of 24 hours are not done, the first 2026-11-03T20:00Z: run first, or --as-is",
    )  # fmt: skip
    assert not rows(tmp_path, "closings")
    as_is = closed(tmp_path, as_is=True)
    assert (as_is.exit_code, as_is.rows[0]["lacking_hours"]) == (0, 4)
    assert "4 hours not complete" in as_is.line(dry_run=False)


def test_late_hours_of_a_period_closed_as_it_is_show_as_late(tmp_path: Path) -> None:
    booked_hours(tmp_path, HOURS[:20])
    closed(tmp_path, as_is=True)
    fold(given(tmp_path), HOURS[20:24], LATER + HOUR, run_id="late")
    shop = restated(tmp_path)["shop"]
    assert shop["difference_joules"] == pytest.approx(4 * 5.4e6 + 0 + 1 + 2 + 3, rel=1e-12)
    assert (shop["causes"], shop["is_material"]) == ("late", True)


def test_what_stays_incomplete_is_refused_with_another_code(tmp_path: Path) -> None:
    booked_hours(tmp_path, HOURS[2:])  # the cluster begins at 02:00, no run brings what was before
    found = closed(tmp_path)
    assert (found.exit_code, "2 of 24 hours are not complete" in (found.refusal or "")) == (65, True)
    assert closed(tmp_path, as_is=True).rows[0]["lacking_hours"] == 2


def test_energy_without_grams_is_refused(tmp_path: Path) -> None:
    learn(Warehouse(tmp_path), *(vintage(hour, 100.0, FOLDED) for hour in HOURS[:20]))
    fold(given(tmp_path), HOURS, LATER - HOUR)  # too old to be carried
    found = closed(tmp_path)
    assert (found.exit_code, "kWh have no grams" in (found.refusal or "")) == (65, True)
    as_is = closed(tmp_path, as_is=True)
    unpriced = sum(row["unpriced_energy_joules"] for row in as_is.rows)
    assert unpriced == pytest.approx(sum(6.3e6 + n for n in range(20, 24)), rel=1e-12)


def test_two_factor_types_make_no_total(tmp_path: Path) -> None:
    warehouse = booked(tmp_path)
    lifecycle = {"providers": ["electricity_maps"], "factor_type": "lifecycle"}
    learn(warehouse, *(vintage(hour, 300.0, LATER, factor_type="lifecycle") for hour in HOURS[20:]))
    reprice(job(given(tmp_path, intensity=lifecycle), LATER), [CLUSTER], HOURS[20])
    found = closed(tmp_path)
    assert (found.exit_code, "direct and by lifecycle" in (found.refusal or "")) == (2, True)


def test_nothing_stored_is_nothing_to_close(tmp_path: Path) -> None:
    found = closed(tmp_path, as_is=True)
    assert (found.exit_code, found.refusal) == (2, f"nothing is stored of {FIRST_DAY}")


def test_a_new_method_leaves_closed_hours_as_they_are_unless_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = booked(tmp_path)
    closed(tmp_path)
    monkeypatch.setattr("pipeline.closed.METHOD_VERSION", "2")
    learn(warehouse, *(vintage(HOURS[n], 250.0, LATER + HOUR) for n in (3, 25)))
    for since in (None, HOURS[0]):  # by newer vintages, and by hand
        cluster = reprice(job(given(tmp_path), LATER + 2 * HOUR), [CLUSTER], since).clusters[0]
        assert any("were closed (period first by method 1) and stay so under method 2" in w for w in cluster.warnings)
    assert {row["hour_utc"] for row in rows(tmp_path, "revisions")} == {HOURS[25]}
    asked = job(given(tmp_path), LATER + 3 * HOUR)
    reprice(type(asked)(asked.settings, {}, asked.clock, restate_closed=True), [CLUSTER], None)
    assert {row["hour_utc"] for row in rows(tmp_path, "revisions")} == {HOURS[3], HOURS[25]}


@pytest.mark.parametrize(
    ("month", "days"), [("2026-10", 31), ("2026-12", 31), ("2028-02", 29)], ids=["autumn", "december", "leap"]
)
def test_a_month_is_a_utc_month(month: str, days: int) -> None:
    period = period_of(month, None, None)
    assert (period.name, period.window.end - period.window.start) == (month, timedelta(days=days))
    assert f"{period.window.start:%FT%T%z}" == f"{month}-01T00:00:00+0000"


def test_a_span_is_named_by_its_edges_in_utc() -> None:
    period = period_of(None, "2026-10-01T00:00+02:00", "2026-11-01T00:00+01:00")
    assert period.name == "2026-09-30T22Z/2026-10-31T23Z"


@pytest.mark.parametrize(
    "told",
    [(None, None, None), ("2026-10", "2026-10-01T00:00Z", None), ("2026-13", None, None), ("October", None, None),
     (None, "2026-10-01T00:00Z", None), (None, "2026-10-01T00:30Z", "2026-11-01T00:00Z")],
    ids=str,
)  # fmt: skip
def test_what_is_no_period_is_refused(told: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(ConfigError):
        period_of(*told)
