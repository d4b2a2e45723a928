"""Which series are published, by their labels: what makes the key under which a sample is found again."""

from collections.abc import Mapping
from typing import TypeAlias

from pipeline.sinks.write_request import Series

Key: TypeAlias = Series  # without `revision`

WORKLOAD = ("cluster", "component", "kind", "namespace", "workload", "workload_kind")
NODE = ("cluster", "component", "kind", "node")
REVISED_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_emissions_grams": WORKLOAD,
    "carbon_energy_joules": WORKLOAD,
    "carbon_facility_energy_joules": WORKLOAD,
    "carbon_node_emissions_grams": NODE,
    "carbon_node_energy_joules": NODE,
    "carbon_quality_energy_joules": ("cluster", "intensity_quality"),
}
DISPLAY_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_grid_intensity_grams_per_kwh": ("cluster", "factor_type", "provider", "signal", "zone"),
    "carbon_pue_ratio": ("cluster",),
}
PROBE = "carbon_etl_probe"
LABEL_NAMES: Mapping[str, tuple[str, ...]] = {**REVISED_SERIES, **DISPLAY_SERIES, PROBE: ("run",)}
