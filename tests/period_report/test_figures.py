"""The figures of a day, each as worked by hand at the head of `small`."""

import math
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path

import pytest

from pipeline.books.periods import Period, period_of
from pipeline.period_report.amounts import Line
from pipeline.period_report.figures import Figures, Part
from pipeline.sinks.sql import run_query
from pipeline.sinks.warehouse import RunStamp
from pipeline.window import HOUR, Window
from tests.period_report import small
from tests.period_report.small import AFTER, BEFORE, DAY, EU, NOW, US, amounts, figures
from tests.sinks.rows import HourCommit, commit, tables


def only(told: Figures) -> Part:
    (part,) = told.parts
    return part


def by(lines: tuple[Line, ...], *names: str) -> dict[tuple[object, ...], Line]:
    return {tuple(getattr(line, name) for name in names): line for line in lines}


def test_the_totals_are_those_of_both_days(told: Figures) -> None:
    part = only(told)
    assert amounts(part.total) == pytest.approx((36, 47.7, 4440))
    assert part.before is not None
    assert (part.before.energy_kwh, part.before.facility_energy_kwh, part.before.emissions_gco2e) == pytest.approx(
        (27, 36, 4500)
    )
    assert (part.now.unpriced_energy_kwh, part.now.priced_energy_kwh) == pytest.approx((7, 29))
    assert part.now.pue_ratio == pytest.approx((22.5 + 16.8) / 29)
    assert part.now.carbon_intensity_g_per_kwh == pytest.approx(4440 / 39.3)
    assert part.change_gco2e == pytest.approx(-60)
    assert (part.factor_type, part.scope) == ("lifecycle", "scope 2, location-based, plus upstream (scope 3.3)")


def test_the_change_is_divided_without_a_rest(told: Figures) -> None:
    part = only(told)
    assert part.effects is not None
    assert math.fsum(astuple(part.effects)) == pytest.approx(-60)
    assert part.effects.usage_gco2e > 0 > part.effects.intensity_gco2e
    assert part.effects.pricing_gco2e < 0
    assert part.effects.pue_gco2e == 0


def test_clusters_kinds_and_namespaces_hold_everything(told: Figures) -> None:
    part = only(told)
    clusters = by(part.clusters, "cluster")
    assert amounts(clusters[EU,]) == pytest.approx((15, 22.5, 3600))
    assert amounts(clusters[US,]) == pytest.approx((21, 25.2, 840))
    assert (clusters[EU,].change_gco2e, clusters[US,].change_gco2e) == pytest.approx((0, -60))
    namespaces = by(part.namespaces, "cluster", "namespace")
    assert amounts(namespaces[EU, "shop"]) == pytest.approx((12, 18, 2880))
    assert amounts(namespaces[EU, "(idle)"]) == amounts(namespaces[EU, "(system)"]) == pytest.approx((1.5, 2.25, 360))
    assert amounts(namespaces[US, "ml"]) == pytest.approx((18, 21.6, 720))
    assert amounts(namespaces[US, "(idle)"]) == pytest.approx((3, 3.6, 120))
    for lines in (part.clusters, part.kinds, part.namespaces):
        assert sum(line.now.emissions_gco2e or 0 for line in lines if line.now) == pytest.approx(4440)
        assert sum(line.change_gco2e or 0 for line in lines) == pytest.approx(-60)
    grams = [line.now.emissions_gco2e for line in part.namespaces if line.now and line.now.emissions_gco2e]
    assert grams == sorted(grams, reverse=True)


def test_the_days_sum_to_the_period(told: Figures) -> None:
    days = only(told).days
    assert {day.day_utc for day in days} == {NOW.date()}
    assert sum(day.amounts.emissions_gco2e or 0 for day in days) == pytest.approx(4440)


def test_workloads_that_stand_out_are_the_largest_and_those_that_changed(told: Figures) -> None:
    part = only(told)
    assert [line.workload for line in part.largest] == ["web", "db", "train"]
    assert {line.workload: line.change_gco2e for line in part.movers} == pytest.approx({"web": 360, "db": -180})
    assert [line.workload for line in part.movers] == ["web", "db"]


def test_the_total_is_what_sql_says(told: Figures, root: Path) -> None:
    query = (
        f"select sum(emissions_gco2e) as g, sum(energy_joules) / 3.6e6 as kwh from emissions where hour_utc >= '{NOW}'"
    )
    (row,) = run_query(root, query).to_pylist()
    part = only(told)
    assert (part.now.emissions_gco2e, part.now.energy_kwh) == pytest.approx((row["g"], row["kwh"]), rel=1e-12)


def test_the_same_hours_give_the_same_figures_from_days_and_from_hours(root: Path) -> None:
    """A period that ends within a day is summed from hours, and compared with as many hours before."""
    part_of_day = Period("part", Window(NOW, NOW + 23 * HOUR))
    hourly, daily = figures(root, part_of_day), figures(root, DAY)
    assert (hourly.spans.edge_days, daily.spans.edge_days) == ([BEFORE.date(), NOW.date()], [])
    assert amounts(only(hourly).total) == pytest.approx(amounts(only(daily).total), rel=1e-12)
    assert (
        by(only(hourly).namespaces, "cluster", "namespace").keys()
        == by(only(daily).namespaces, "cluster", "namespace").keys()
    )


def test_hours_of_one_day_are_told_from_those_before_them(root: Path) -> None:
    told = only(figures(root, Period("two hours", Window(NOW + HOUR, NOW + 3 * HOUR))))
    assert amounts(told.total) == pytest.approx((24, 15 + 16.8, 15 * 160 + 8.4 * 50))
    assert told.before is not None
    assert told.before.energy_kwh == pytest.approx(12)


def test_a_report_made_again_has_the_same_figures_to_the_last_digit(root: Path, told: Figures) -> None:
    assert figures(root) == told


def test_one_cluster_alone(root: Path) -> None:
    told = figures(root, clusters=[US])
    assert (told.clusters, told.absent_clusters) == ((US,), ())
    assert amounts(only(told).total) == pytest.approx((21, 25.2, 840))
    assert {one.cluster for one in told.coverage} == {US}


def test_an_open_day_is_compared_with_as_many_hours(root: Path) -> None:
    told = figures(root, now=NOW + 2 * HOUR + timedelta(minutes=5))
    assert told.spans.is_open
    assert told.spans.until_utc == NOW + 3 * HOUR
    assert told.spans.before_until_utc == BEFORE + 3 * HOUR
    assert amounts(only(told).total) == pytest.approx((36, 47.7, 4440))


def test_hours_are_counted_by_state_and_those_that_are_not_there_too(told: Figures) -> None:
    coverage = {one.cluster: one for one in told.coverage}
    us = coverage[US]
    assert (us.expected_hours, us.complete_hours, us.partial_hours, us.missing_hours) == (24, 2, 1, 21)
    assert (us.node_hours, us.hole_node_hours, us.withheld_node_hours) == (3, 1, 1)
    assert us.covered_ratio == pytest.approx(2.5 / 3)
    assert (coverage[EU].hole_node_hours, coverage[EU].covered_ratio) == (0, 1)
    assert (told.lacking_days, told.before_hours) == ((NOW.date(),), 6)
    (withheld,) = told.quarantined
    assert (withheld.cluster, withheld.check, withheld.rows, withheld.energy_kwh) == (US, "ceiling", 1, 1)


def test_hours_before_a_cluster_began_are_not_missing(tmp_path: Path) -> None:
    small.fill(tmp_path, [NOW])
    first = Period("two days", Window(BEFORE, AFTER))
    told = figures(tmp_path, first)
    assert {one.expected_hours for one in told.coverage} == {24}
    assert {one.first_utc for one in told.coverage} == {NOW}


def test_silent_nodes_are_counted(tmp_path: Path) -> None:
    """The node is seen in three hours and not in those after it, for which hours are stored."""
    warehouse = small.fill(tmp_path, [NOW])
    empty = [HourCommit(NOW + n * HOUR, "empty") for n in range(3, 5)]
    commit(warehouse, empty, tables([], []), RunStamp("late", AFTER, "digest-1"), EU)
    coverage = {one.cluster: one for one in figures(tmp_path).coverage}
    assert (coverage[EU].silent_node_hours, coverage[EU].empty_hours) == (2, 2)


def test_provenance_names_runs_method_and_configuration(told: Figures) -> None:
    made = told.provenance
    assert (made.method_versions, made.before_method_versions) == (("1",), ("1",))
    assert (made.config_digests, made.run_ids) == (("digest-1",), ("run-1101",))
    assert (told.pues[0].cluster, told.pues[0].least_pue_ratio, told.pues[0].most_pue_ratio) == (EU, 1.5, 1.5)
    assert sum(price.energy_kwh for price in told.prices) == pytest.approx(36)
    assert {price.intensity_quality for price in told.prices} == {"measured", "missing"}


def test_an_empty_period_has_no_part(root: Path) -> None:
    told = figures(root, period_of("2026-07", None, None))
    assert (told.parts, told.clusters, told.absent_clusters, told.is_before_known) == ((), (), (EU, US), False)


def test_an_empty_warehouse_has_no_part(tmp_path: Path) -> None:
    assert figures(tmp_path).parts == ()


def test_without_a_day_before_no_change_is_told(tmp_path: Path) -> None:
    small.fill(tmp_path, [NOW])
    part = only(figures(tmp_path))
    assert (part.before, part.change_gco2e, part.effects, part.movers) == (None, None, None, ())
    assert {line.change_gco2e for line in part.namespaces} == {None}


def test_grams_of_two_factor_types_never_meet(tmp_path: Path) -> None:
    """An hour of prod-us by direct factors: a part of its own, without a before."""
    warehouse = small.fill(tmp_path)
    small.add(warehouse, US, [NOW + 3 * HOUR], "direct", intensity_factor_type="direct")
    parts = {part.factor_type: part for part in figures(tmp_path).parts}
    assert parts.keys() == {"lifecycle", "direct"}
    assert amounts(parts["lifecycle"].total) == pytest.approx((36, 47.7, 4440))
    assert amounts(parts["direct"].total) == pytest.approx((7, 8.4, 420))
    assert (parts["direct"].before, parts["direct"].change_gco2e) == (None, None)
    assert [line.cluster for line in parts["direct"].clusters] == [US]


def test_energy_that_nobody_priced_has_no_grams_and_no_scope(tmp_path: Path) -> None:
    small.fill(tmp_path, [BEFORE, NOW], **small.UNPRICED)
    part = only(figures(tmp_path))
    assert (part.factor_type, part.scope) == (None, "no grams known")
    assert (part.now.emissions_gco2e, part.now.energy_kwh, part.now.unpriced_energy_kwh) == (None, 36, 36)
    assert (part.change_gco2e, part.effects, part.now.pue_ratio) == (None, None, None)


def test_closed_totals_stand_beside_what_they_come_to(tmp_path: Path) -> None:
    warehouse = small.fill(tmp_path)
    small.close(warehouse, 2880.0)
    (closed,) = figures(tmp_path).closed
    assert (closed.cluster, closed.closed_emissions_gco2e) == (EU, 2880)
    assert closed.changed_namespaces == 2  # system and idle were not in it


def test_teams_are_told_where_there_is_a_map(tmp_path: Path, told: Figures) -> None:
    assert only(told).teams == ()
    small.map_teams(small.fill(tmp_path))
    for period in (DAY, Period("part", Window(NOW, NOW + 23 * HOUR))):
        teams = by(only(figures(tmp_path, period)).teams, "team")
        assert amounts(teams["sales",]) == pytest.approx((12, 18, 2880))
        assert amounts(teams["(no team)",]) == pytest.approx((24, 29.7, 1560))
