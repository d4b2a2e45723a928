"""What users ask of every output: in which unit, and under which names."""

import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.sinks.published_series import DISPLAY_SERIES, REVISED_SERIES

UNITS = ("_joules", "_kwh", "_g_per_kwh", "_gco2e", "_ratio", "_scale")
SERIES_UNITS = ("_joules", "_grams", "_grams_per_kwh", "_ratio", "_seconds")


@pytest.mark.parametrize("table", sorted(tables.TABLES))
def test_every_column_of_an_amount_ends_with_its_unit(table: str) -> None:
    """8, "kW or kWh, mJ or J" (eight issues)."""
    amounts = [f.name for f in tables.TABLES[table] if pa.types.is_floating(f.type) or pa.types.is_list(f.type)]
    assert [name for name in amounts if not name.endswith(UNITS)] == []


def test_every_series_of_an_amount_ends_with_its_unit() -> None:
    """8, the same of what dashboards read."""
    assert [name for name in (*REVISED_SERIES, *DISPLAY_SERIES) if not name.endswith(SERIES_UNITS)] == []


def test_rows_and_series_name_places_as_kube_state_metrics_does() -> None:
    """8 (GreenKube#182): `namespace`, `pod`, `node`, so that they join with anything in a cluster."""
    assert {"namespace", "pod", "node", "container"} <= set(tables.EMISSIONS.names)
    assert "namespace" in REVISED_SERIES["carbon_emissions_grams"]
    assert "node" in REVISED_SERIES["carbon_node_emissions_grams"]
