"""What a run says about its own figures."""

from typing import Any

import pyarrow as pa
import pytest

from pipeline.checks import Check, check_energy, check_prices
from pipeline.tables import EMISSIONS
from pipeline.transforms.sheet import NODES
from tests.transforms.made import START

SOUND = {
    "node": "n1", "expected_ratio": 1.0, "coverage_ratio": 1.0, "cross_ratio": 1.0, "metered_joules": 150.0,
    "idle_joules": 50.0, "system_joules": 10.0, "workload_joules": 90.0, "check": None,
}  # fmt: skip


def findings(*rows: dict[str, Any], unmetered: tuple[str, ...] = ()) -> dict[str, Check]:
    table = pa.Table.from_pylist([SOUND | row for row in rows], NODES)
    return {check.name: check for check in check_energy(table, unmetered)}


def failed(*rows: dict[str, Any], unmetered: tuple[str, ...] = ()) -> list[str]:
    return [name for name, check in findings(*rows, unmetered=unmetered).items() if not check.passed]


def test_sound_figures_pass_every_check() -> None:
    assert failed({}, {"node": "n2"}) == []
    assert failed() == []
    assert all(check.detail == "" for check in findings({}).values())


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"check": "workloads_exceed_active"}, "workloads_within_active"),
        ({"check": "residual"}, "residual"),
        ({"check": "implausible"}, "implausible"),
        ({"coverage_ratio": 0.98, "cross_ratio": None}, "coverage"),
        ({"cross_ratio": 1.021}, "cross_meter"),
        ({"cross_ratio": 0.979}, "cross_meter"),
        ({"system_joules": 20.1}, "system_share"),
    ],
)
def test_each_fault_fails_its_own_check(row: dict[str, Any], name: str) -> None:
    assert failed({}, row) == [name]


@pytest.mark.parametrize(
    "row",
    [
        {"coverage_ratio": 0.991},
        {"expected_ratio": 0.3, "coverage_ratio": 0.3},
        {"cross_ratio": 1.019},
        {"cross_ratio": None},
        {"cross_ratio": 3.0, "coverage_ratio": 0.5, "expected_ratio": 0.5},  # too little of the hour to judge
        {"system_joules": 19.9},
        {"metered_joules": None, "idle_joules": None, "system_joules": None},
    ],
)
def test_what_lies_within_tolerance_or_is_unknown_fails_nothing(row: dict[str, Any]) -> None:
    assert failed(row) == []


def test_only_withheld_and_unmetered_nodes_end_a_run_with_65() -> None:
    required = [name for name, check in findings({}).items() if check.required]
    assert required == ["workloads_within_active", "residual", "implausible", "node_meter"]


def test_nodes_with_pods_but_no_counters_are_named() -> None:
    check = findings({}, unmetered=("n7", "n8"))["node_meter"]
    assert not check.passed
    assert check.detail.startswith("n7, n8: pods but no node counters")


def test_three_culprits_are_named_and_the_rest_counted() -> None:
    rows = [{"node": f"n{index}", "system_joules": 99.0} for index in (5, 3, 1, 2, 4)]
    assert findings(*rows)["system_share"].detail.startswith("5 node-hours on n1, n2, n3 and 2 more: ")


def priced(*grams: float | None) -> Check:
    rows = [
        {
            "hour_utc": START, "emissions_gco2e": g, "pue_ratio": 1.2, "energy_joules": 1.8e6,
            "intensity_quality": "missing" if g is None else "measured",
        }
        for g in grams
    ]  # fmt: skip
    intensity, pue = check_prices(pa.Table.from_pylist(rows, EMISSIONS))
    assert pue.passed
    return intensity


def test_hours_without_a_price_are_counted_once_each_and_named() -> None:
    check = priced(None, None, 3.0)
    assert not check.passed
    assert not check.required
    assert check.detail.startswith("1 hours have no intensity (first 2026-11-03T10:00Z, 1.000 kWh in all): add a ")


def test_hours_without_a_pue_are_told_apart_from_those_without_an_intensity() -> None:
    unknown = {"pue_ratio": None, "emissions_gco2e": None, "energy_joules": 3.6e6}
    rows = [
        {"hour_utc": START, "intensity_quality": "measured"} | unknown,
        {"hour_utc": START, "intensity_quality": "missing"} | unknown,
        {"hour_utc": START, "intensity_quality": "measured"} | unknown | {"energy_joules": 0.0, "emissions_gco2e": 0.0},
    ]
    intensity, pue = check_prices(pa.Table.from_pylist(rows, EMISSIONS))
    assert (pue.name, pue.required, pue.passed) == ("pue", False, False)
    assert pue.detail.startswith("1 hours have no PUE (first 2026-11-03T10:00Z, 2.000 kWh in all): their grams are ")
    assert intensity.detail.startswith("1 hours have no intensity (first 2026-11-03T10:00Z, 1.000 kWh in all): ")


def test_zero_grams_are_a_price() -> None:
    assert priced(0.0, 3.0).passed
    assert priced().passed
