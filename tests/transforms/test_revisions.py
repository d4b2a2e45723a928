"""Why a figure changed, by hand-made examples."""

import math
from typing import Any

import pyarrow as pa
import pytest

from pipeline.tables import EMISSIONS, REVISIONS
from pipeline.transforms.revisions import revision_rows
from tests.sinks.rows import HOURS, SECOND, emission, pod

HOUR = HOURS[0]
WEB, DB, IDLE = pod(HOUR, "web", 3.6e6), pod(HOUR, "db", 1.8e6), emission(HOUR, "idle", 0.9e6)


def revised(
    old: list[dict[str, Any]], new: list[dict[str, Any]], *, reconfigured: bool = False
) -> list[dict[str, Any]]:
    before, after = (pa.Table.from_pylist(side, schema=EMISSIONS) for side in (old, new))
    digests = frozenset([HOUR]) if reconfigured else frozenset()
    table = revision_rows(before, after, {HOUR: 3}, digests, SECOND.run_id, SECOND.priced_utc)
    assert table.schema == REVISIONS
    return table.to_pylist()


def test_equal_rows_revise_nothing() -> None:
    assert revised([WEB, DB, IDLE], [IDLE, WEB, DB | {"run_id": "other", "revision": 9}]) == []
    assert revised([], []) == []


def test_rounding_revises_nothing() -> None:
    assert revised([WEB], [WEB | {"energy_joules": 3.6e6 * (1 + 1e-12)}]) == []


PRICED_HIGHER = {"carbon_intensity_g_per_kwh": 200.0, "emissions_gco2e": 300.0}


@pytest.mark.parametrize(
    ("cause", "new", "reconfigured"),
    [
        ("energy", pod(HOUR, "web", 3.7e6), False),
        ("energy", pod(HOUR, "web", 3.7e6), True),
        ("energy", WEB | {"coverage_ratio": 0.9}, False),
        ("energy", WEB | {"meter": "scaphandre"}, False),
        ("method", WEB | {"method_version": "2"}, False),
        ("method", pod(HOUR, "web", 3.7e6, method_version="2"), False),
        ("config", pod(HOUR, "web", 3.6e6, pue_ratio=1.2), True),
        ("config", WEB | PRICED_HIGHER, True),
        ("pue", pod(HOUR, "web", 3.6e6, pue_ratio=1.2), False),
        ("pue", WEB | {"pue_source": "query"}, False),
        ("intensity", WEB | PRICED_HIGHER, False),
        ("intensity", WEB | {"intensity_quality": "estimated"}, False),
        ("intensity", WEB | {"intensity_updated_utc": HOUR}, False),
        ("ownership", WEB | {"workload": "web-v2"}, False),
        ("ownership", WEB | {"owner_source": "guessed"}, False),
    ],
)
def test_the_cause_is_named(cause: str, new: dict[str, Any], *, reconfigured: bool) -> None:
    (row,) = revised([WEB], [new], reconfigured=reconfigured)
    assert row["cause"] == cause
    assert (row["revision"], row["run_id"], row["written_utc"]) == (3, SECOND.run_id, SECOND.priced_utc)


def test_energy_that_moves_between_pods_of_a_namespace_is_ownership_with_equal_sums() -> None:
    (row,) = revised([WEB, DB], [pod(HOUR, "web", 3.5e6), pod(HOUR, "db", 1.9e6)])
    assert (row["cause"], row["rows_changed"]) == ("ownership", 2)
    assert row["old_energy_joules"] == row["new_energy_joules"] == 5.4e6


def test_a_pod_that_changes_its_deployment_counts_both_rows() -> None:
    (row,) = revised([WEB, DB], [WEB | {"workload": "web-v2"}, DB])
    assert (row["cause"], row["rows_changed"]) == ("ownership", 2)


def test_namespaces_that_vanish_or_appear_are_included_with_a_null_side() -> None:
    appeared, vanished = revised([WEB], [WEB | {"namespace": "new"}])
    assert (appeared["namespace"], appeared["cause"], appeared["old_energy_joules"]) == ("new", "energy", None)
    assert appeared["new_emissions_gco2e"] == pytest.approx(150)
    assert (vanished["namespace"], vanished["new_energy_joules"], vanished["new_emissions_gco2e"]) == (
        "shop",
        None,
        None,
    )


def test_null_namespaces_are_one_group_per_kind_and_unchanged_groups_are_left_out() -> None:
    (row,) = revised([WEB, IDLE], [WEB, IDLE | {"energy_joules": 1e6}])
    assert (row["namespace"], row["kind"]) == (None, "idle")


def test_figures_are_weighted_by_energy_and_summed_exactly() -> None:
    old = [pod(HOUR, "web", 3.6e6), pod(HOUR, "db", 1.8e6, carbon_intensity_g_per_kwh=400.0, pue_ratio=1.2)]
    (row,) = revised(old, [old[0], old[1] | {"tail_joules": 1.0}])
    assert row["old_pue_ratio"] == pytest.approx((1.5 * 3.6 + 1.2 * 1.8) / 5.4)
    assert row["old_carbon_intensity_g_per_kwh"] == pytest.approx((100 * 1.5 + 400 * 0.6) / 2.1)
    assert row["old_emissions_gco2e"] == math.fsum(part["emissions_gco2e"] for part in old)


def test_a_sum_with_a_null_in_it_is_null() -> None:
    missing = {"intensity_quality": "missing", "carbon_intensity_g_per_kwh": None, "emissions_gco2e": None}
    (row,) = revised([WEB, DB], [WEB, DB | missing])
    assert (row["old_emissions_gco2e"], row["new_emissions_gco2e"]) == (pytest.approx(225), None)
    assert row["new_carbon_intensity_g_per_kwh"] is None
    assert row["cause"] == "intensity"


def test_sums_do_not_depend_on_the_order_of_rows() -> None:
    many = [pod(HOUR, f"w{number}", 10.0 ** (number % 17)) for number in range(60)]
    changed = [row | {"tail_joules": 1.0} for row in many]
    assert revised(many, changed) == revised(many[::-1], changed[7:] + changed[:7])
