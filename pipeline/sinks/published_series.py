"""Which series are published, by their labels: what makes the key under which a sample is found again."""

from collections.abc import Mapping
from typing import TypeAlias

from pipeline.sinks.batches import Series

Key: TypeAlias = Series  # without `revision`

WORKLOAD = ("cluster", "component", "kind", "namespace", "workload", "workload_kind")
NODE = ("cluster", "component", "kind", "node")
METERED = ("cluster", "component", "node")
REVISED_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_emissions_grams": WORKLOAD,
    "carbon_energy_joules": WORKLOAD,
    "carbon_facility_energy_joules": WORKLOAD,
    "carbon_node_emissions_grams": NODE,
    "carbon_node_energy_joules": NODE,
    "carbon_quality_energy_joules": ("cluster", "intensity_quality"),
    "carbon_node_metered_joules": ("cluster", "component", "meter", "node"),
    "carbon_node_residual_joules": METERED,
    "carbon_node_covered_seconds": METERED,
    "carbon_node_expected_seconds": METERED,
    "carbon_process_energy_joules": ("cluster", "exe", "node"),
}
DISPLAY_SERIES: Mapping[str, tuple[str, ...]] = {
    "carbon_grid_intensity_grams_per_kwh": ("cluster", "factor_type", "provider", "signal", "zone"),
    "carbon_pue_ratio": ("cluster",),
}
PROBE = "carbon_etl_probe"
LABEL_NAMES: Mapping[str, tuple[str, ...]] = {**REVISED_SERIES, **DISPLAY_SERIES, PROBE: ("run",)}
