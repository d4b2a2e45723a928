"""Required checks: a breach of the tables stops the whole day before anything is written."""

from pathlib import Path

import pytest

from pipeline.errors import SchemaError
from pipeline.sinks.warehouse import Warehouse
from tests.sinks import rows
from tests.sinks.rows import HOURS

WITHOUT_PUE = dict.fromkeys(("pue_ratio", "pue_source", "facility_energy_kwh", "emissions_gco2e"))
BREACHES = {
    "comes twice": lambda e, n: ([*e, e[0]], n),
    "breaks P1": lambda e, n: (e, [n[0] | {"metered_joules": n[0]["metered_joules"] * (1 + 1e-8)}]),
    "not the sum": lambda e, n: ([e[0] | {"energy_joules": 3.7e6}, *e[1:]], n),
    "no row in node_energy": lambda e, _n: (e, []),
    "has no meter": lambda e, n: ([e[0] | {"meter": None}, *e[1:]], n),
    "has no method_version": lambda e, n: (e, [n[0] | {"method_version": None}]),
    "has no pue_source": lambda e, n: ([e[0] | {"pue_source": None}, *e[1:]], n),
    "has no facility_energy_kwh": lambda e, n: ([e[0] | {"facility_energy_kwh": None}, *e[1:]], n),
    "grams although": lambda e, n: ([e[0] | {"intensity_quality": "missing"}, *e[1:]], n),
    "grams although it has no PUE": lambda e, n: ([e[0] | {"pue_ratio": None}, *e[1:]], n),
    "has no intensity_provider": lambda e, n: ([e[0] | WITHOUT_PUE | {"intensity_provider": None}, *e[1:]], n),
    "no number": lambda e, n: ([e[0] | {"tail_joules": float("nan")}, *e[1:]], n),
    "kind that is none": lambda e, n: ([e[0] | {"kind": "sytem"}, *e[1:]], n),
    "not committed": lambda e, n: ([*e, e[0] | {"hour_utc": HOURS[5]}], n),
    "rows of cluster": lambda e, n: ([*e, e[0] | {"cluster": "other"}], n),
}


@pytest.mark.parametrize("complaint", BREACHES)
def test_a_breach_of_the_table_stops_the_partition_before_anything_is_written(tmp_path: Path, complaint: str) -> None:
    good = rows.day(HOURS[:1])
    bad = BREACHES[complaint](good.emissions.to_pylist(), good.node_energy.to_pylist())
    with pytest.raises(SchemaError, match=complaint):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables(*bad))
    assert rows.files(tmp_path) == {}


def test_the_first_offending_row_is_named(tmp_path: Path) -> None:
    good = rows.day(HOURS[:1]).emissions.to_pylist()
    bad = rows.tables([*good[:1], good[1] | {"meter": None}, *good[2:]], rows.day(HOURS[:1]).node_energy.to_pylist())
    with pytest.raises(SchemaError, match=r"node=n1.*workload=db.*has no meter \(1 such row\)"):
        rows.commit(Warehouse(tmp_path), rows.complete(HOURS[:1]), bad)


def test_a_missing_price_is_null_and_allowed(tmp_path: Path) -> None:
    unpriced = dict.fromkeys(("pue_ratio", "pue_source", "carbon_intensity_g_per_kwh", "intensity_provider"))
    row = rows.pod(HOURS[0], "web", 3.6e6, intensity_quality="missing", **unpriced)
    rows.commit(
        Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables([row], [rows.metered(HOURS[0], 3.6e6, 0, 0)])
    )
    assert rows.contents(tmp_path)["emissions"][0]["emissions_gco2e"] is None


def test_a_missing_pue_is_null_beside_an_intensity_that_is_known(tmp_path: Path) -> None:
    row = rows.pod(HOURS[0], "web", 3.6e6, **WITHOUT_PUE)
    rows.commit(
        Warehouse(tmp_path), rows.complete(HOURS[:1]), rows.tables([row], [rows.metered(HOURS[0], 3.6e6, 0, 0)])
    )
    (found,) = rows.contents(tmp_path)["emissions"]
    assert (found["emissions_gco2e"], found["intensity_quality"]) == (None, "measured")
