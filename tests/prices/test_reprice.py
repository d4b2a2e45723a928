"""Stored hours are priced again when the grid's figures change, and never otherwise."""

import math
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline import tables
from pipeline.reprice import AT_ODDS, overtaken, priced_hours, reprice
from pipeline.settings import Settings
from pipeline.sinks.views import open_views
from pipeline.sinks.warehouse import DayTables, HourCommit, RunStamp, Warehouse
from pipeline.tables import EMISSIONS, INTENSITY, NODE_ENERGY, QUARANTINE
from pipeline.transforms.revisions import revision_rows
from tests.examples import examples
from tests.prices import stored
from tests.prices.stored import CLUSTER, PUE, START, copied, figures, fold, job, learn, vintage

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = [START + n * HOUR for n in range(26)]
FOLDED = HOURS[-1] + 2 * HOUR
LATER = FOLDED + 3 * DAY


def revisions(warehouse: Warehouse) -> list[dict[str, Any]]:
    with open_views(warehouse.root, "revisions") as connection:
        return connection.sql("from revisions order by all").to_arrow_table().to_pylist()


def grams(warehouse: Warehouse) -> float:
    return math.fsum(row["emissions_gco2e"] for row in warehouse.read_table("emissions").to_pylist())


def estimated(folder: Path) -> Warehouse:
    learn(Warehouse(folder), *(vintage(hour, 100.0 + n, HOURS[-1]) for n, hour in enumerate(HOURS)))
    return fold(stored.settings(folder), HOURS, FOLDED)


def estimated_days(folder: Path) -> Warehouse:
    """26 hours priced from estimates of 100 + n g/kWh."""
    return copied(estimated, folder)


def test_a_revised_hour_is_priced_anew_and_no_other(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    before = figures(warehouse)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER, quality="measured"))
    report = reprice(job(stored.settings(tmp_path), LATER + HOUR), [CLUSTER], None)
    assert (report.exit_code, report.clusters[0].hours_rewritten, report.clusters[0].hours_unchanged) == (0, 1, 0)
    after = figures(warehouse)
    changed = [(one, two) for one, two in zip(before, after, strict=True) if one != two]
    assert {two["hour_utc"] for _, two in changed} == {HOURS[3]}
    for _, row in changed:
        expected = row["energy_joules"] / 3.6e6 * PUE * 250.0
        assert row["emissions_gco2e"] == pytest.approx(expected, rel=1e-9)
        assert (row["intensity_quality"], row["intensity_updated_utc"]) == ("measured", LATER)


def test_the_revisions_say_what_changed_from_what_to_what_and_why(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER, quality="measured"))
    report = reprice(job(stored.settings(tmp_path), LATER + HOUR), [CLUSTER], None)
    found = revisions(warehouse)
    assert {(row["hour_utc"], row["cause"], row["revision"]) for row in found} == {(HOURS[3], "intensity", 1)}
    for row in found:
        assert row["old_energy_joules"] == row["new_energy_joules"]
        assert (row["old_carbon_intensity_g_per_kwh"], row["new_carbon_intensity_g_per_kwh"]) == (103.0, 250.0)
    difference = math.fsum(row["new_emissions_gco2e"] - row["old_emissions_gco2e"] for row in found)
    assert difference == pytest.approx((6.3e6 + 3) / 3.6e6 * PUE * 147.0, rel=1e-9)
    assert report.clusters[0].restated_gco2e == pytest.approx(difference, rel=1e-12)


def test_a_second_repricing_writes_nothing_at_all(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER))
    reprice(job(stored.settings(tmp_path), LATER + HOUR), [CLUSTER], None)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet") if "runs" not in str(path)}
    report = reprice(job(stored.settings(tmp_path), LATER + 2 * HOUR), [CLUSTER], None)
    again = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.parquet") if "runs" not in str(path)}
    assert again == files
    assert (report.clusters[0].hours_repriced, report.clusters[0].hours_rewritten) == (0, 0)
    assert len(revisions(warehouse)) == 2


def test_a_vintage_of_a_provider_that_does_not_win_is_looked_at_once(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    learn(warehouse, vintage(HOURS[3], 999.0, LATER, provider="neso"))
    first = reprice(job(stored.settings(tmp_path), LATER + HOUR), [CLUSTER], None).clusters[0]
    second = reprice(job(stored.settings(tmp_path), LATER + 2 * HOUR), [CLUSTER], None).clusters[0]
    assert (first.hours_repriced, first.hours_rewritten, second.hours_repriced) == (1, 0, 0)
    assert not revisions(warehouse)


def test_a_dry_run_tells_the_difference_and_writes_nothing(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER))
    before = sorted(tmp_path.rglob("*"))
    report = reprice(job(stored.settings(tmp_path), LATER + HOUR, dry_run=True), [CLUSTER], None)
    assert sorted(tmp_path.rglob("*")) == before
    assert report.clusters[0].hours_rewritten == 1
    assert report.clusters[0].restated_gco2e == pytest.approx((6.3e6 + 3) / 3.6e6 * PUE * 147.0, rel=1e-9)


def test_another_pue_restates_nothing_by_itself_and_everything_since_by_hand(tmp_path: Path) -> None:
    warehouse = estimated_days(tmp_path)
    total = grams(warehouse)
    dearer = stored.settings(tmp_path, pue=1.5)
    learn(warehouse, vintage(HOURS[3], 250.0, LATER))
    by_itself = reprice(job(dearer, LATER + HOUR), [CLUSTER], None)
    assert by_itself.clusters[0].hours_repriced == 0
    assert grams(warehouse) == total
    by_hand = reprice(job(dearer, LATER + 2 * HOUR), [CLUSTER], HOURS[20])
    assert by_hand.clusters[0].hours_rewritten == 6
    assert {row["cause"] for row in revisions(warehouse)} == {"config"}
    rows = warehouse.read_table("emissions").to_pylist()
    assert {row["pue_ratio"] for row in rows if row["hour_utc"] >= HOURS[20]} == {1.5}
    assert {row["pue_ratio"] for row in rows if row["hour_utc"] < HOURS[20]} == {PUE}


def tear(given: Settings, hours: list[datetime], joules: float) -> None:
    """A commit of these hours, with so many more joules of a workload, that died before its emissions were in place."""
    warehouse = Warehouse(Path(given.warehouse.path))
    nodes = warehouse.read_day("node_energy", CLUSTER, hours[0].date()).to_pylist()
    rows = warehouse.read_day("emissions", CLUSTER, hours[0].date()).to_pylist()
    more = [row | {"energy_joules": row["energy_joules"] + joules * (row["pod"] == "web")} for row in rows]
    metered = [
        row | {name: row[name] + joules for name in ("metered_joules", "workload_joules")}
        for row in nodes
        if row["hour_utc"] in hours
    ]

    def die(effect: str) -> None:
        if effect == "node_energy":
            raise InterruptedError

    tables = DayTables(
        pa.Table.from_pylist([row | {"emissions_gco2e": 1.0} for row in more if row["hour_utc"] in hours], EMISSIONS),
        pa.Table.from_pylist(metered, NODE_ENERGY),
        QUARANTINE.empty_table(),
    )
    commits, stamp = [HourCommit(hour, "complete") for hour in hours], RunStamp("killed", LATER, "other-other")
    with pytest.raises(InterruptedError):
        Warehouse(warehouse.root, die).commit_day(CLUSTER, hours[0].date(), commits, tables, stamp, revision_rows)
    assert warehouse.torn_hours(CLUSTER) == set(hours)


@pytest.mark.parametrize("since", [None, HOURS[0]])
def test_torn_hours_with_the_joules_of_their_nodes_are_mended_by_a_repricing(
    tmp_path: Path, since: datetime | None
) -> None:
    warehouse, given = estimated_days(tmp_path), stored.settings(tmp_path)
    before = figures(warehouse)
    tear(given, HOURS[3:5], 0.0)
    assert warehouse.read_table("node_energy").num_rows == len(HOURS) - 2
    report = reprice(job(given, LATER + HOUR), [CLUSTER], since)
    assert (report.exit_code, report.clusters[0].hours_rewritten) == (0, 2)
    assert (warehouse.torn_hours(CLUSTER), figures(warehouse)) == (set(), before)
    assert warehouse.read_table("node_energy").num_rows == len(HOURS)
    assert reprice(job(given, LATER + 2 * HOUR), [CLUSTER], None).clusters[0].hours_repriced == 0


@pytest.mark.parametrize("dry_run", [False, True])
def test_torn_hours_with_other_joules_than_their_nodes_keep_their_figures_and_are_told_of(
    tmp_path: Path, *, dry_run: bool
) -> None:
    warehouse, given = estimated_days(tmp_path), stored.settings(tmp_path)
    before = figures(warehouse)
    tear(given, HOURS[3:5], 1e6)
    report = reprice(job(given, LATER + HOUR, dry_run=dry_run), [CLUSTER], HOURS[0])
    assert (report.exit_code, report.clusters[0].hours_repriced) == (0, len(HOURS) - 2)
    assert report.clusters[0].warnings == [f"2026-11-03: hours keep their figures: {AT_ODDS}"]
    assert (warehouse.torn_hours(CLUSTER), figures(warehouse)) == (set(HOURS[3:5]), before)


def test_a_carried_hour_loses_its_figure_when_its_own_did_not_come_in_time(tmp_path: Path) -> None:
    given = stored.settings(tmp_path)
    learn(Warehouse(tmp_path), vintage(HOURS[0], 100.0, HOURS[1]))
    warehouse = fold(given, HOURS[:2], HOURS[2])
    assert [row["intensity_quality"] for row in figures(warehouse)][3:] == ["carried"] * 3
    settled = HOURS[2] + 48 * HOUR
    assert reprice(job(given, settled - HOUR), [CLUSTER], None).clusters[0].hours_rewritten == 0
    assert reprice(job(given, settled), [CLUSTER], None).clusters[0].hours_rewritten == 1
    late = [row for row in figures(warehouse) if row["hour_utc"] == HOURS[1]]
    assert {row["intensity_quality"] for row in late} == {"missing"}
    assert {row["emissions_gco2e"] for row in late} == {None}


def test_strict_keeps_what_a_withdrawal_would_lose_and_says_so(tmp_path: Path) -> None:
    estimated_days(tmp_path)
    warehouse = Warehouse(tmp_path)
    strict = {"providers": ["electricity_maps", "neso"], "factor_type": "direct", "strict": True}
    given = stored.settings(tmp_path, intensity=strict)
    learn(warehouse, vintage(HOURS[3], None, LATER))
    before = figures(warehouse)
    report = reprice(job(given, LATER + HOUR), [CLUSTER], HOURS[0])
    assert figures(warehouse) == before
    assert any("strict" in text for text in report.clusters[0].warnings)


def test_the_golden_case_a_spiky_load_on_a_spiky_grid(tmp_path: Path) -> None:
    """Product of averages: +8.7 % when the load runs in the clean half hour; here 15 min steps give the exact grams."""
    given = stored.settings(tmp_path, energy_step="15m")
    quarters = [400.0, 300.0, 200.0, 100.0]
    learn(
        Warehouse(tmp_path),
        *(vintage(HOURS[0], g, HOURS[1], (15 * n, 15 * n + 15)) for n, g in enumerate(quarters)),
    )
    warehouse = fold(given, HOURS[:1], HOURS[2], steps=4)
    for row in warehouse.read_table("emissions").to_pylist():
        by_hand = math.fsum(j / 3.6e6 * PUE * g for j, g in zip(row["step_joules"], quarters, strict=True))
        of_means = row["energy_joules"] / 3.6e6 * PUE * 250.0
        assert row["emissions_gco2e"] == pytest.approx(by_hand, rel=1e-12)
        assert by_hand / of_means == pytest.approx(0.8, rel=1e-12)
    learn(warehouse, vintage(HOURS[0], 800.0, LATER, (30, 45)))
    reprice(job(given, LATER + HOUR), [CLUSTER], None)
    for row in warehouse.read_table("emissions").to_pylist():
        revised = [400.0, 300.0, 800.0, 100.0]
        by_hand = math.fsum(j / 3.6e6 * PUE * g for j, g in zip(row["step_joules"], revised, strict=True))
        assert row["emissions_gco2e"] == pytest.approx(by_hand, rel=1e-12)


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 15),  # hours after the fold at which it is fetched
        st.integers(0, 7),  # which hour it speaks of
        st.sampled_from([(0, 60), (0, 30), (30, 60), (0, 120), (-60, 60)]),
        st.sampled_from([None, 0.0, 80.0, 120.0, 400.0]),
        st.sampled_from(["measured", "estimated", "forecast"]),
        st.sampled_from(["electricity_maps", "neso"]),
        st.booleans(),  # whether a run follows it
    ),
    min_size=8,
    max_size=14,
)


@hypothesis_settings(max_examples=examples(3), deadline=None, phases=(Phase.explicit, Phase.generate))
@given(EVENTS)
def test_repricing_does_not_depend_on_when_runs_happened(events: list[tuple[Any, ...]]) -> None:
    """Any history of vintages with runs in between ends as one run at the end does, and once more changes nothing."""
    with TemporaryDirectory() as folder:
        often, once = (estimated_days(Path(folder, name)).root for name in ("often", "once"))
        for number, (after, index, minutes, value, quality, provider, runs) in enumerate(sorted(events, key=_when)):
            fetched = FOLDED + after * HOUR + timedelta(minutes=number)
            row = vintage(HOURS[index], value, fetched, minutes, quality=quality, provider=provider)
            for warehouse in (often, once):
                learn(Warehouse(warehouse), row, run_id=f"learn-{number}")
            if runs:
                reprice(job(stored.settings(often), fetched + timedelta(seconds=5)), [CLUSTER], None)
        end = FOLDED + 5 * DAY
        for warehouse in (often, once):
            reprice(job(stored.settings(warehouse), end), [CLUSTER], None)
        assert figures(Warehouse(often)) == figures(Warehouse(once))
        again = reprice(job(stored.settings(often), end + HOUR), [CLUSTER], None)
        assert again.clusters[0].hours_rewritten == 0


def _when(event: tuple[Any, ...]) -> int:
    return int(event[0])


def test_overtaken_looks_at_spans_and_times_only(tmp_path: Path) -> None:
    known = priced_hours(estimated_days(tmp_path), CLUSTER)

    def found(*rows: dict[str, Any], carried: tuple[datetime, ...] = (), now: datetime = LATER) -> list[int]:
        table = pa.Table.from_pylist(list(rows), INTENSITY)
        return [HOURS.index(hour) for hour in sorted(overtaken(known, table, tables.PUE.empty_table(), carried, now))]

    assert found(vintage(HOURS[2], 1.0, FOLDED)) == []
    assert found(vintage(HOURS[2], 1.0, FOLDED + HOUR)) == [2]
    assert found(vintage(HOURS[2], 1.0, FOLDED + HOUR, (30, 90))) == [2, 3]
    assert found(vintage(HOURS[2], 1.0, FOLDED + HOUR, (0, 60)), carried=(HOURS[4],), now=FOLDED) == [2, 4]
    assert found(vintage(HOURS[2], 1.0, FOLDED + HOUR, provider="static")) == []
    assert found(carried=(HOURS[9],), now=HOURS[10] + 48 * HOUR) == [9]
