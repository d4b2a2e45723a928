"""Marginal rates of a cluster's hours as series: only of hours that are wholly known, newest vintages first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from pipeline.sinks.marginal_hours import marginal_series
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import CLUSTER_ZONES
from tests.prices.stored import learn, vintage
from tests.sinks.rows import CLUSTER, HOURS, commit, complete, day

RATES = {"provider": "watttime", "zone": "DE_NORTH", "signal": "marginal", "factor_type": "direct"}
LEARNT = datetime(2026, 11, 2, tzinfo=UTC)
KEY = (
    "carbon_grid_intensity_grams_per_kwh",
    (
        ("cluster", CLUSTER), ("factor_type", "direct"), ("provider", "watttime"), ("signal", "marginal"),
        ("zone", "DE_NORTH"),
    ),
)  # fmt: skip


def warehouse_of(folder: Path, zones: list[dict[str, object]]) -> Warehouse:
    warehouse = Warehouse(folder)
    commit(warehouse, complete(HOURS[:4]), day(HOURS[:4]))
    warehouse.append("cluster_zones", pa.Table.from_pylist(zones, CLUSTER_ZONES), "run", LEARNT.date())
    first = [
        vintage(HOURS[0], 300.0, LEARNT, (0, 30), **RATES),
        vintage(HOURS[0], 500.0, LEARNT, (30, 60), **RATES),
        vintage(HOURS[1], 300.0, LEARNT, (0, 55), **RATES),  # five minutes are not known
        vintage(HOURS[2], 700.0, LEARNT, **RATES),
        vintage(HOURS[3], 900.0, LEARNT, **RATES),
    ]
    learn(warehouse, *first, vintage(HOURS[2], 600.0, LEARNT + timedelta(hours=1), **RATES))
    return warehouse


def test_an_hour_is_the_mean_of_its_newest_rates_and_a_partly_known_one_is_left_out(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [RATES | {"cluster": CLUSTER, "fetched_utc": LEARNT}])
    assert marginal_series(warehouse.root, CLUSTER, HOURS[:3]) == {HOURS[0]: {KEY: 400.0}, HOURS[2]: {KEY: 600.0}}
    assert marginal_series(warehouse.root, CLUSTER, []) == {}


def test_rates_of_another_cluster_are_not_shown(tmp_path: Path) -> None:
    warehouse = warehouse_of(tmp_path, [RATES | {"cluster": "other", "fetched_utc": LEARNT}])
    assert marginal_series(warehouse.root, CLUSTER, HOURS[:3]) == {}
