"""How final figures are is told from what was asked when, and no day is called settled before its last milestone."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.books.pruning import prune
from pipeline.reprice import reprice
from pipeline.settings import Settings
from pipeline.settled import Finality, settled, to_json
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import INTENSITY_CHECKS
from tests.prices import stored
from tests.prices.stored import CLUSTER, START, ZONE, copied, fold, job, learn, vintage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = [START + n * HOUR for n in range(48)]
FOLDED = HOURS[-1] + 2 * HOUR


def days(folder: Path) -> Warehouse:
    """Two days priced from estimates."""
    return copied(estimated, folder)


def estimated(folder: Path) -> Warehouse:
    learn(Warehouse(folder), *(vintage(hour, 100.0, FOLDED) for hour in HOURS))
    return fold(stored.settings(folder), HOURS, FOLDED + HOUR)


def asked(warehouse: Warehouse, hours: list[datetime], when: datetime, outcome: str = "ok", **columns: object) -> None:
    row: dict[str, Any] = {
        "zone": ZONE, "provider": "electricity_maps", "signal": "average", "factor_type": "direct",
        "start_utc": hours[0], "end_utc": hours[-1] + HOUR, "asked_utc": when, "outcome": outcome, "changed": 0,
    } | columns  # fmt: skip
    run_id = f"ask-{when:%Y%m%dT%H%M}-{hours[0]:%d%H}-{outcome}-{len(columns)}"
    warehouse.append("intensity_checks", pa.Table.from_pylist([row], INTENSITY_CHECKS), run_id, when.date())


def told(folder: Path, now: datetime, given: Settings | None = None, since: datetime | None = None) -> Finality:
    (found,) = settled(job(given or stored.settings(folder), now, dry_run=True), [CLUSTER], since)
    return found


def test_a_day_passes_from_open_to_settled_by_what_was_asked_at_its_milestones(tmp_path: Path) -> None:
    warehouse = days(tmp_path)
    end = HOURS[-1] + HOUR
    checked = []
    for age in (timedelta(hours=48), 7 * DAY, 30 * DAY, 90 * DAY):
        checked.append((told(tmp_path, end + age).days[1].milestones_checked, told(tmp_path, end + age).days_open))
        asked(warehouse, HOURS, end + age)
    assert checked == [(0, 2), (1, 2), (2, 2), (3, 2)]
    final = told(tmp_path, end + 91 * DAY)
    assert [(day.milestones_passed, day.milestones_checked, day.is_settled) for day in final.days] == [(4, 4, True)] * 2
    assert list(final.lines())[-1] == "c: settled up to 2026-11-04; 0 days still open"


def test_a_day_is_as_open_as_its_least_asked_hour(tmp_path: Path) -> None:
    warehouse = days(tmp_path)
    asked(warehouse, HOURS[:47], HOURS[-1] + 91 * DAY)
    found = told(tmp_path, HOURS[-1] + 92 * DAY)
    assert [day.milestones_checked for day in found.days] == [4, 0]
    assert list(found.lines())[-1] == "c: settled up to 2026-11-03; 1 days still open"


@pytest.mark.parametrize(
    "columns",
    [
        {"outcome": "failed"}, {"outcome": "not in plan"}, {"zone": "FR"}, {"provider": "neso"},
        {"signal": "marginal"}, {"factor_type": "lifecycle"},
    ],
    ids=str,
)  # fmt: skip
def test_only_an_answer_about_the_figures_in_use_settles(columns: dict[str, str], tmp_path: Path) -> None:
    warehouse = days(tmp_path)
    asked(warehouse, HOURS, HOURS[-1] + 91 * DAY, **{"outcome": "ok"} | columns)  # type: ignore[arg-type] # texts
    assert told(tmp_path, HOURS[-1] + 92 * DAY).days_open == 2


def test_a_newer_vintage_waits_for_a_reprice_and_opens_its_day_until_then(tmp_path: Path) -> None:
    warehouse = days(tmp_path)
    late = HOURS[-1] + 91 * DAY
    asked(warehouse, HOURS, late)
    learn(warehouse, vintage(HOURS[30], 250.0, late, quality="measured"))
    before = told(tmp_path, late + HOUR)
    assert [(day.waiting, day.is_settled, day.revisions) for day in before.days] == [(0, True, 0), (1, False, 0)]
    assert "1 h wait for a reprice" in before.days[1].line()
    reprice(job(stored.settings(tmp_path), late + HOUR), [CLUSTER], None)
    after = told(tmp_path, late + 2 * HOUR)
    assert [(day.waiting, day.is_settled, day.revisions) for day in after.days] == [(0, True, 0), (0, True, 1)]
    assert after.days[1].shares["measured"] == pytest.approx(1 / 24, rel=1e-3)


def test_shares_are_of_energy_and_add_up(tmp_path: Path) -> None:
    qualities = ["measured", "estimated", "forecast"]
    learn(
        Warehouse(tmp_path),
        *(vintage(hour, 100.0, FOLDED, quality=quality) for hour, quality in zip(HOURS, qualities, strict=False)),
    )
    fold(stored.settings(tmp_path), HOURS[:4], FOLDED + HOUR)
    (day,) = told(tmp_path, FOLDED + 2 * HOUR).days
    joules = [6.3e6 + n for n in range(4)]
    expected = [joules[0], joules[1], joules[2] + joules[3], 0.0, 0.0]  # the fourth hour is carried
    assert list(day.shares) == ["measured", "estimated", "provisional", "yearly", "missing"]
    assert list(day.shares.values()) == pytest.approx([part / sum(joules) for part in expected])
    assert (day.hours, day.zones, day.energy_kwh) == (4, ZONE, pytest.approx(sum(joules) / 3.6e6))


def test_where_nobody_is_to_be_asked_a_day_settles_with_its_energy(tmp_path: Path) -> None:
    given = stored.settings(tmp_path, grid_zone="DE", intensity={"providers": ["static"]})
    fold(given, HOURS[:3], FOLDED)
    (young,) = told(tmp_path, START + 2 * DAY, given).days
    (old,) = told(tmp_path, START + 3 * DAY, given).days
    assert (young.milestones_checked, young.is_settled, old.is_settled) == (None, False, True)
    assert old.shares["yearly"] == 1.0
    assert "nobody to ask" in old.line()


def test_hours_of_another_configuration_are_counted_for_only_a_person_restates_them(tmp_path: Path) -> None:
    days(tmp_path)
    found = told(tmp_path, FOLDED + 2 * HOUR, stored.settings(tmp_path, pue=1.5))
    assert [(day.others, day.waiting) for day in found.days] == [(24, 0), (24, 0)]
    assert "24 h priced with other settings" in found.days[0].line()


def test_a_pruned_day_keeps_its_hours_and_revisions_and_no_run_changes_it(tmp_path: Path) -> None:
    warehouse = days(tmp_path)
    given, late = stored.settings(tmp_path), FOLDED + 400 * DAY
    learn(warehouse, *(vintage(hour, 250.0, FOLDED + 2 * HOUR, quality="measured") for hour in (HOURS[5], HOURS[30])))
    reprice(job(given, FOLDED + 3 * HOUR), [CLUSTER], None)
    detailed = told(tmp_path, late)
    (pruned,) = prune(job(given, late), [CLUSTER], "401d")
    found = told(tmp_path, late)
    assert (pruned.days, [day.is_settled for day in detailed.days]) == (1, [False, False])
    assert [(day.hours, day.revisions, day.is_settled) for day in found.days] == [(24, 1, True), (24, 1, False)]
    assert [day.energy_kwh for day in found.days] == pytest.approx([day.energy_kwh for day in detailed.days])
    assert "24 h settled; 4 of 4 ages passed, nobody to ask" in found.days[0].line()


def test_a_pruned_day_without_its_first_hours_has_those_that_it_had(tmp_path: Path) -> None:
    given = stored.settings(tmp_path)
    fold(given, HOURS[7:10], FOLDED)
    assert prune(job(given, FOLDED + 500 * DAY), [CLUSTER], "400d")[0].days == 1
    (day,) = told(tmp_path, FOLDED + 500 * DAY).days
    assert (day.hours, day.is_settled, day.energy_kwh) == (3, True, pytest.approx((3 * 6.3e6 + 3) / 3.6e6))


def test_since_leaves_out_earlier_days_and_nothing_stored_is_said(tmp_path: Path) -> None:
    days(tmp_path)
    assert [day.day for day in told(tmp_path, FOLDED, since=START + DAY).days] == [date(2026, 11, 4)]
    assert list(told(tmp_path / "empty", FOLDED, stored.settings(tmp_path / "empty")).lines()) == [
        "c: no figures; 0 days still open"
    ]


def test_the_lines_and_the_document_say_the_same(tmp_path: Path) -> None:
    days(tmp_path)
    found = told(tmp_path, HOURS[-1] + 8 * DAY)
    assert next(found.lines()) == ("c 2026-11-03 GB 24 h open; 2 of 4 ages passed, 0 checked; estimated 100%")
    assert '"settled_until": null, "open": 2' in to_json([found])


def test_looking_back_writes_nothing(tmp_path: Path) -> None:
    days(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    told(tmp_path, FOLDED)
    assert sorted(tmp_path.rglob("*")) == before
