"""Whole machines by hand: what a platform meter's samples say, and what they do to the rows of the meters inside."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
import pytest

from pipeline.checks import PLATFORM, check_energy
from pipeline.demo.fleet import outages, simulate
from pipeline.demo.meters import KeplerMeter, Meters
from pipeline.demo.transport import FleetTransport
from pipeline.sources.meters import platform as platform_meter
from pipeline.sources.meters.platform import IDENTITY
from pipeline.tables import values
from pipeline.transforms.emissions import Pue
from pipeline.transforms.energy import Energy, join
from pipeline.transforms.platform import (
    SCALED_NODES,
    PlatformReading,
    checked,
    fold_platform,
    price_with_platform,
    scaled,
)
from pipeline.transforms.selection import SLOTS, Answer
from pipeline.window import HOUR, Window
from tests.transforms.made import START, Counter, Made, Points, clock, line, only, scrapes, where

AT = scrapes("09:45", "11:15")
GAP_MS = 600_000
HOURS = Window(START, START + HOUR)
Unit = Literal["watts", "joules"]


def folded(
    parts: dict[tuple[str, str], Points], unit: Unit = "watts", hours: int = 1
) -> dict[tuple[int, str], PlatformReading]:
    """Readings by (hour number, node) of series given as points."""
    counter = Counter()
    for (node, part), points in parts.items():
        counter.add((node, part), (), points)
    window = Window(START, START + hours * HOUR)
    samples = counter.samples(IDENTITY, pa.schema([]), 0, 1 << 60)
    found = fold_platform(samples, window, GAP_MS, unit)
    return {((hour - START) // timedelta(hours=1), node): one for (hour, node), one in found.items()}


def level(watts: float, at: list[float] = AT) -> Points:
    return [(second, watts) for second in at]


def without(*texts: str) -> list[float]:
    return [second for second in AT if second not in {clock(text) for text in texts}]


def test_a_gauge_is_the_power_of_the_time_before_its_stamp() -> None:
    """200 W to 10:30:00, then 300 W: the sample of 10:30:30 is the first of the second half."""
    points = [(s, 200.0 if s <= clock("10:30") else 300.0) for s in AT]
    (reading,) = folded({("n1", "1"): points}).values()
    assert reading == (pytest.approx((200 + 300) * 1800), 1.0)


def test_a_counter_is_the_same_joules_across_a_reset() -> None:
    points = [(s, j if s < clock("10:20") else j - 100 * (clock("10:20") - AT[0])) for s, j in line(100, AT, 5000)]
    assert folded({("n1", "1"): points}, "joules")[0, "n1"] == (
        pytest.approx(360_000 - 100 * 30 + 5000), 1.0
    )  # fmt: skip # at the reset the new counter stands at 5,000 J, 3,000 J are lost with the old one


def test_hours_and_nodes_are_told_apart() -> None:
    found = folded({("n1", "1"): level(200), ("n2", "1"): level(50, scrapes("10:30", "11:15"))}, hours=2)
    assert found[0, "n1"] == (pytest.approx(720_000), 1.0)
    assert found[0, "n2"] == (pytest.approx(90_000), 0.5)
    assert found[1, "n1"] == (pytest.approx(180_000), 0.25)


@pytest.mark.parametrize("unit", ["watts", "joules"])
def test_parts_of_one_scrape_are_added_up(unit: Unit) -> None:
    parts = [level(100), level(40)] if unit == "watts" else [line(100, AT, 9e6), line(40, AT, 7.0)]
    assert folded({("n1", "1"): parts[0], ("n1", "2"): parts[1]}, unit)[0, "n1"] == (pytest.approx(504_000), 1.0)


@pytest.mark.parametrize("unit", ["watts", "joules"])
def test_a_scrape_that_lacks_a_part_is_no_reading_and_the_next_one_spans_it(unit: Unit) -> None:
    """Half a sum would look like all of it."""
    at = without("10:20", "10:20:30")
    parts = [level(100), level(40, at)] if unit == "watts" else [line(100, AT), line(40, at)]
    assert folded({("n1", "1"): parts[0], ("n1", "2"): parts[1]}, unit)[0, "n1"] == (pytest.approx(504_000), 1.0)


def test_parts_that_never_share_a_scrape_give_nothing() -> None:
    """Two exporters read one machine, or two machines bear one name: nobody knows."""
    other = level(100, [second + 10 for second in AT])
    reading = folded({("n1", "job=a"): level(100), ("n1", "job=b"): other})[0, "n1"]
    assert reading.coverage_ratio < 0.01


def test_a_part_that_comes_or_goes_for_good_changes_the_sum_from_then_on() -> None:
    """A power supply is pulled at 10:30, another pushed in at 10:45."""
    first, second = level(40, scrapes("09:45", "10:30")), level(60, scrapes("10:45", "11:15"))
    (reading,) = folded({("n1", "0"): level(100), ("n1", "1"): first, ("n1", "2"): second}).values()
    assert reading == (pytest.approx(360_000 + 40 * 1800 + 60 * (900 + 30)), 1.0)


def test_a_series_that_goes_on_under_other_labels_has_no_hole_as_a_gauge_and_one_scrape_as_a_counter() -> None:
    """The exporter's pod is replaced; of a counter nobody knows whether it is the same one."""
    before, after = scrapes("09:45", "10:30"), scrapes("10:30:30", "11:15")
    gauge = folded({("n1", "pod=a"): level(100, before), ("n1", "pod=b"): level(100, after)})[0, "n1"]
    assert gauge == (pytest.approx(360_000), 1.0)
    counter = {("n1", "pod=a"): line(100, before), ("n1", "pod=b"): line(100, after, 7.0)}
    assert folded(counter, "joules")[0, "n1"] == (pytest.approx(357_000), pytest.approx(1 - 30 / 3600))


@pytest.mark.parametrize("unit", ["watts", "joules"])
def test_a_gap_is_not_joined(unit: Unit) -> None:
    at = scrapes("09:45", "10:20") + scrapes("10:30:30", "11:15")
    points = level(100, at) if unit == "watts" else line(100, at)
    assert folded({("n1", "1"): points}, unit)[0, "n1"] == (
        pytest.approx(360_000 - 63_000),
        pytest.approx(1 - 630 / 3600),
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -5.0])
def test_what_is_no_power_is_no_sample(value: float) -> None:
    points = [(s, value if s == clock("10:20") else 100.0) for s in AT]
    assert folded({("n1", "1"): points})[0, "n1"] == (pytest.approx(360_000), 1.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_p2_hours_apart_are_the_hours_of_a_range(seed: int) -> None:
    """With missed scrapes, silences and restarts; each hour from its own extract."""
    meter = KeplerMeter(platform=True, bmc_seconds=20)
    spec = replace(
        outages(seed, START, 4, nodes=2, pods_per_node=2), meters=(Meters(kepler=meter),) * 2, kepler_restarts=2
    )
    transport = FleetTransport(simulate(spec))

    def readings(window: Window) -> dict[tuple[datetime, str], PlatformReading]:
        start_ms, end_ms = window.start_ms - GAP_MS - 1, window.end_ms + GAP_MS
        samples = platform_meter.read(transport, [], start_ms, end_ms, "kepler_platform_watts", "node_name")
        return fold_platform(samples, window, GAP_MS, "watts")

    whole, apart = readings(spec.window), {}
    for hour in spec.window.hours():
        apart |= readings(Window(hour, hour + HOUR))
    assert min(reading.coverage_ratio for reading in whole.values()) < 0.95
    assert {at: (pytest.approx(r.joules), pytest.approx(r.coverage_ratio)) for at, r in whole.items() if r.joules} == {
        at: r for at, r in apart.items() if r.joules
    }


def test_no_samples_are_no_nodes() -> None:
    assert folded({}) == {}


# ---- what it does to rows ------------------------------------------------------------------------------------------


def metered(step_minutes: int = 60, at: list[float] = AT, node: str = "n1") -> Energy:
    """100 W of package (a pod at 30 W) and 20 W of memory: 432,000 J an hour."""
    made = Made().node(line(60, at), line(40, at), line(100, at), node=node)
    made.node(line(15, at), line(5, at), node=node, component="dram").pod("a", line(30, at), node=node)
    return made.fold(0, 1, step_minutes=step_minutes)


def platform(watts: float, coverage: float = 1.0, node: str = "n1") -> dict[tuple[object, str], PlatformReading]:
    return {(START, node): PlatformReading(watts * 3600 * coverage, coverage)}


def test_the_ratio_is_over_all_that_is_metered_of_the_node() -> None:
    energy = checked(metered(), platform(180), ["kepler", "scaphandre"])
    assert {row["component"]: (row["cross_meter"], row["cross_ratio"]) for row in energy.nodes.to_pylist()} == {
        "package": ("platform", pytest.approx(1.5)), "dram": ("platform", pytest.approx(1.5)),
    }  # fmt: skip
    assert energy.rows.equals(metered().rows)


def test_a_second_meter_that_is_compared_already_stays() -> None:
    rows = [row | {"cross_meter": "scaphandre", "cross_ratio": 1.01} for row in metered().nodes.to_pylist()]
    given = replace(metered(), nodes=pa.Table.from_pylist(rows, metered().nodes.schema))
    assert set(values(checked(given, platform(180), ["scaphandre"]).nodes, "cross_meter")) == {"scaphandre"}


@pytest.mark.parametrize(
    ("given", "reading"),
    [
        (metered(), {}),
        (metered(), platform(180, 0.98)),
        (metered(at=scrapes("10:02", "11:15")), platform(180)),
        (metered(), platform(180, node="n2")),
    ],
)
def test_hours_that_not_both_cover_are_not_compared(
    given: Energy, reading: dict[tuple[object, str], PlatformReading]
) -> None:
    assert checked(given, reading, ["scaphandre"]).nodes.equals(given.nodes)


@pytest.mark.parametrize(
    ("ratio", "passed"), [(0.97, False), (0.99, True), (1.0, True), (1.5, True), (5.0, True), (5.1, False)]
)
def test_a_platform_may_read_more_than_its_meters_but_neither_less_nor_anything(ratio: float, *, passed: bool) -> None:
    energy = checked(metered(), platform(120 * ratio), ["scaphandre"])
    (check,) = (one for one in check_energy(energy.nodes, []) if one.name == "cross_meter")
    assert check.passed is passed


def total(energy: Energy) -> float:
    return math.fsum(values(energy.rows, "energy_joules"))


@pytest.mark.parametrize("step_minutes", [60, 15])
def test_every_row_of_the_node_hour_is_multiplied_and_its_sum_is_the_platforms(step_minutes: int) -> None:
    plain = metered(step_minutes)
    energy = scaled(plain, platform(180))
    assert total(energy) == pytest.approx(180 * 3600, rel=1e-12)
    assert math.fsum(values(energy.nodes, "metered_joules")) == pytest.approx(180 * 3600, rel=1e-12)
    for table, names in ((energy.rows, ("energy_joules", "tail_joules")), (energy.nodes, SCALED_NODES)):
        before = plain.rows if table is energy.rows else plain.nodes
        assert values(table, "platform_scale") == [pytest.approx(1.5)] * table.num_rows
        assert set(values(before, "platform_scale")) == {None}
        for name in names:
            wanted = [None if v is None else pytest.approx(1.5 * v) for v in values(before, name)]
            assert values(table, name) == wanted, name
        assert table.drop_columns([*names, "platform_scale", *({"step_joules"} & set(table.column_names))]).equals(
            before.drop_columns([*names, "platform_scale", *({"step_joules"} & set(before.column_names))])
        )
    for row in energy.rows.to_pylist():
        if step_minutes < 60:
            assert math.fsum(row["step_joules"]) == pytest.approx(row["energy_joules"], rel=1e-12)
    for row in energy.nodes.to_pylist():
        parts = (row["workload_joules"], row["system_joules"], row["idle_joules"])
        assert math.fsum(parts) == pytest.approx(row["metered_joules"], rel=1e-9)


@pytest.mark.parametrize(
    ("reading", "told"),
    [
        ({}, "n1's 432,000 J in 1 h: the platform meter does not know it"),
        (platform(119.9), "the platform meter reads less than the meters inside it"),
        (platform(600.1), "the platform meter reads more than 5 times the meters inside it"),
        (platform(180, 0.98), "the platform meter covers another part of the hour"),
    ],
)
def test_a_platform_that_cannot_be_believed_scales_nothing_and_is_told(
    reading: dict[tuple[object, str], PlatformReading], told: str
) -> None:
    energy = scaled(metered(), reading)
    assert energy.rows.equals(metered().rows)
    assert energy.nodes.equals(metered().nodes)
    (check,) = (one for one in check_energy(energy.nodes, [], energy.remarks) if one.name == PLATFORM)
    assert (check.passed, check.required) == (False, False)
    assert check.detail.startswith("not scaled: n1's 432,000 J in 1 h: ")
    assert told in check.detail


@pytest.mark.parametrize("watts", [120.0, 600.0])
def test_the_bounds_themselves_are_believed(watts: float) -> None:
    assert total(scaled(metered(), platform(watts))) == pytest.approx(watts * 3600)


def test_an_hour_that_both_cover_alike_is_scaled_though_it_has_a_hole() -> None:
    half = metered(at=scrapes("10:30", "11:15"))
    energy = scaled(half, platform(180, 0.495))
    assert total(energy) == pytest.approx(180 * 3600 * 0.495)
    assert only(energy.nodes, component="dram")["coverage_ratio"] == pytest.approx(0.5)


def test_other_nodes_and_other_tables_stay_as_metered() -> None:
    both = join([metered(), metered(node="n2")])
    energy = scaled(both, platform(180) | platform(110, node="n2"))
    assert set(values(pa.Table.from_pylist(where(energy.rows, node="n2")), "platform_scale")) == {None}
    assert math.fsum(r["energy_joules"] for r in where(energy.rows, node="n2")) == pytest.approx(432_000)
    assert energy.withheld.equals(both.withheld)
    assert energy.processes.equals(both.processes)


def test_only_scaled_rows_are_spared_the_pue_and_only_where_the_meter_holds_it() -> None:
    rows = scaled(join([metered(), metered(node="n2")]), platform(180)).rows
    answer = Answer(
        np.full(SLOTS, 400.0), np.zeros(SLOTS, dtype=np.int64), zone="DE", provider="csv", factor_type="lifecycle",
        basis="consumption", quality="measured", updated_utc=None,
    )  # fmt: skip
    pues = {START: Pue(1.5, "config")}
    spared = price_with_platform(rows, {START: answer}, pues, "included:pdu_watts")
    by_node = {node: {(r["pue_ratio"], r["pue_source"]) for r in where(spared, node=node)} for node in ("n1", "n2")}
    assert by_node == {"n1": {(1.0, "included:pdu_watts")}, "n2": {(1.5, "config")}}
    grams = math.fsum(r["emissions_gco2e"] for r in where(spared, node="n1"))
    assert grams == pytest.approx(180 * 3600 / 3.6e6 * 400)
    applied = price_with_platform(rows, {START: answer}, pues, None)
    assert {(r["pue_ratio"], r["pue_source"]) for r in applied.to_pylist()} == {(1.5, "config")}
