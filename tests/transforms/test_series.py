"""An hour's emissions rows become the series of design section 8: names, labels, sums, and what null does to them."""

import math
import random
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import SchemaError
from pipeline.sinks.published_series import DISPLAY_SERIES, REVISED_SERIES
from pipeline.tables import EMISSIONS
from pipeline.transforms.series import hour_series

HOUR = datetime(2026, 11, 1, 8, tzinfo=UTC)


def row(**values: object) -> dict[str, Any]:
    energy = values.get("energy_joules", 3_600_000.0)
    grams = 480.0 * energy / 3_600_000.0
    base = {
        "hour_utc": HOUR,
        "cluster": "prod",
        "node": "n1",
        "component": "package",
        "kind": "workload",
        "namespace": "shop",
        "pod": "cart-1",
        "workload_kind": "Deployment",
        "workload": "cart",
        "energy_joules": energy,
        "pue_ratio": 1.2,
        "facility_energy_kwh": energy / 3_600_000.0 * 1.2,
        "carbon_intensity_g_per_kwh": 400.0,
        "intensity_zone": "DE",
        "intensity_provider": "static",
        "intensity_factor_type": "lifecycle",
        "intensity_quality": "yearly_zone",
        "emissions_gco2e": grams,
    }
    return base | values


def emissions(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(EMISSIONS.names) | one for one in rows], schema=EMISSIONS)


def one(samples: dict[Any, float], metric: str, **labels: str) -> float:
    found = [
        value for (name, pairs), value in samples.items() if name == metric and labels.items() <= dict(pairs).items()
    ]
    assert len(found) == 1, (metric, labels, found)
    return found[0]


def test_pods_of_one_workload_are_one_series_with_their_sum() -> None:
    samples = hour_series(emissions(row(pod="cart-1"), row(pod="cart-2", node="n2", energy_joules=1_800_000.0)), 10)
    labels = {"namespace": "shop", "workload_kind": "Deployment", "workload": "cart", "component": "package"}
    assert one(samples, "carbon_energy_joules", **labels) == 5_400_000.0
    assert one(samples, "carbon_facility_energy_joules", **labels) == pytest.approx(6_480_000.0, rel=1e-12)
    assert one(samples, "carbon_emissions_grams", **labels) == pytest.approx(720.0, rel=1e-12)
    assert one(samples, "carbon_node_energy_joules", node="n2") == 1_800_000.0
    assert one(samples, "carbon_node_emissions_grams", node="n1") == pytest.approx(480.0)
    assert one(samples, "carbon_grid_intensity_grams_per_kwh", zone="DE", signal="average") == 400.0
    assert one(samples, "carbon_pue_ratio", cluster="prod") == 1.2


def test_every_series_has_exactly_the_labels_that_the_publisher_looks_for() -> None:
    samples = hour_series(emissions(row(), row(kind="idle", namespace=None, pod=None, workload=None)), 10)
    known = {**REVISED_SERIES, **DISPLAY_SERIES}
    for metric, labels in samples:
        assert tuple(name for name, _ in labels) == known[metric]
        assert all(value for _, value in labels)


def test_system_idle_unknown_and_bare_pods_have_names_of_their_own() -> None:
    bare = {"workload_kind": None, "workload": None}
    samples = hour_series(
        emissions(
            row(kind="system", namespace=None, pod=None, **bare, energy_joules=1.0),
            row(kind="idle", namespace=None, pod=None, **bare, energy_joules=2.0),
            row(pod="lonely", **bare, energy_joules=3.0),
            row(namespace=None, pod=None, **bare, energy_joules=4.0),
        ),
        10,
    )
    assert one(samples, "carbon_energy_joules", namespace="(system)", kind="system", workload="(system)") == 1.0
    assert one(samples, "carbon_energy_joules", namespace="(idle)", kind="idle") == 2.0
    assert one(samples, "carbon_energy_joules", workload_kind="Pod", workload="lonely") == 3.0
    assert one(samples, "carbon_energy_joules", namespace="(unknown)", workload="(unknown)") == 4.0


def test_null_grams_of_one_row_leave_no_grams_of_its_groups_but_all_their_energy() -> None:
    unpriced = {"emissions_gco2e": None, "carbon_intensity_g_per_kwh": None, "intensity_quality": "missing"}
    samples = hour_series(emissions(row(), row(node="n2", **unpriced), row(namespace="other", workload="x")), 10)
    grams = {dict(labels)["namespace"] for metric, labels in samples if metric == "carbon_emissions_grams"}
    nodes = {dict(labels)["node"] for metric, labels in samples if metric == "carbon_node_emissions_grams"}
    assert grams == {"other"}
    assert nodes == {"n1"}
    assert one(samples, "carbon_energy_joules", namespace="shop") == 7_200_000.0
    assert one(samples, "carbon_quality_energy_joules", intensity_quality="missing") == 3_600_000.0
    assert one(samples, "carbon_quality_energy_joules", intensity_quality="yearly_zone") == 7_200_000.0


def test_grams_of_zero_are_a_sample() -> None:
    samples = hour_series(emissions(row(energy_joules=0.0)), 10)
    assert one(samples, "carbon_emissions_grams") == 0.0


def test_the_tail_beyond_max_series_goes_to_other_of_its_namespace_ties_by_name() -> None:
    rows = [
        row(workload=name, energy_joules=joules) for name, joules in [("a", 5.0), ("c", 3.0), ("b", 3.0), ("d", 1.0)]
    ]
    rows.append(row(namespace="tiny", workload="z", energy_joules=0.5))
    samples = hour_series(emissions(*rows), 2)
    names = {
        (dict(labels)["namespace"], dict(labels)["workload"]): value
        for (metric, labels), value in samples.items()
        if metric == "carbon_energy_joules"
    }
    assert names == {("shop", "a"): 5.0, ("shop", "b"): 3.0, ("shop", "(other)"): 4.0, ("tiny", "(other)"): 0.5}
    assert one(samples, "carbon_energy_joules", namespace="tiny", workload_kind="(other)") == 0.5


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from(["s", "t"]), st.floats(0, 1e9, allow_subnormal=False)),
        min_size=1,
        max_size=30,
    ),
    max_series=st.integers(1, 8),
    shuffled=st.randoms(use_true_random=False),
)
def test_folding_and_row_order_change_no_sum(
    rows: list[tuple[str, str, float]], max_series: int, shuffled: random.Random
) -> None:
    made = [row(workload=w, namespace=n, energy_joules=e, node=w) for w, n, e in rows]
    samples = hour_series(emissions(*made), max_series)
    shuffled.shuffle(made)
    assert hour_series(emissions(*made), max_series) == samples
    exact = float(sum(Fraction(e) for _, _, e in rows))
    for metric in ("carbon_energy_joules", "carbon_node_energy_joules", "carbon_quality_energy_joules"):
        total = math.fsum(value for (name, _), value in samples.items() if name == metric)
        assert total == pytest.approx(exact, rel=1e-12)


def test_different_intensities_of_a_zone_are_shown_weighted_by_energy() -> None:
    samples = hour_series(emissions(row(), row(energy_joules=10_800_000.0, carbon_intensity_g_per_kwh=200.0)), 10)
    assert one(samples, "carbon_grid_intensity_grams_per_kwh") == pytest.approx(250.0)


def test_no_rows_give_no_samples() -> None:
    assert hour_series(emissions(), 10) == {}


def test_two_hours_at_once_are_refused() -> None:
    with pytest.raises(SchemaError, match="one cluster-hour"):
        hour_series(emissions(row(), row(hour_utc=datetime(2026, 11, 1, 9, tzinfo=UTC))), 10)


@pytest.mark.parametrize("joules", [None, math.nan, math.inf])
def test_energy_that_is_no_number_is_refused_not_summed(joules: float | None) -> None:
    with pytest.raises(SchemaError, match="energy_joules"):
        hour_series(emissions(row() | {"energy_joules": joules}), 10)
