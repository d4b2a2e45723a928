"""What the report says in fixed words: boundaries, effects, sources of grid data, and the meaning of terms."""

from collections.abc import Sequence
from typing import NamedTuple

from pipeline.period_report.figures import Figures

INSIDE_SERVERS = "processors and memory"
BOARDS = "GPU boards"
OUTSIDE = "not power supplies, disks, network, fans or the making of hardware"
LABEL_OF_KIND = {
    "workload": "Workloads",
    "system": "System (hosts outside workloads)",
    "idle": "Idle (power drawn for nobody)",
}
# What each part of a change is called, what it is where it adds, and where it takes away.
EFFECTS = {
    "usage_gco2e": ("Usage", "more energy used", "less energy used"),
    "mix_gco2e": ("Mix", "more of it in clusters with dirtier power", "more of it in clusters with cleaner power"),
    "pue_gco2e": ("PUE", "more overhead of the sites", "less overhead of the sites"),
    "intensity_gco2e": ("Grid", "a dirtier grid", "a cleaner grid"),
    "pricing_gco2e": (
        "Known",
        "more of it having known emissions",
        "less of it having known emissions, which saves nothing",
    ),
}


class Source(NamedTuple):
    """Where grid figures come from."""

    name: str
    licence: str


SOURCES = {
    "electricity_maps": Source(
        "Electricity Maps (electricitymaps.com), fetched with your own key",
        "the vendor's terms",
    ),
    "electricity_maps_csv": Source(
        "Contains information from the data portal of Electricity Maps (electricitymaps.com)",
        "Open Database License 1.0 (ODbL)",
    ),
    "watttime": Source("WattTime (watttime.org), fetched with your own login", "the vendor's terms"),
    "neso": Source(
        "Carbon Intensity API of NESO, the National Energy System Operator (carbonintensity.org.uk)", "CC BY 4.0"
    ),
    "rte": Source(
        "RTE, éCO2mix, by ODRÉ (opendata.reseaux-energies.fr)", "Licence Ouverte / Open Licence 2.0 (Etalab)"
    ),
    "energinet": Source("Energinet, Energi Data Service (energidataservice.dk)", "free to use with Energinet named"),
    "eia": Source(
        "U.S. Energy Information Administration (eia.gov): generation by fuel, times IPCC factors by fuel",
        "public domain",
    ),
    "entsoe": Source(
        "ENTSO-E Transparency Platform: generation by fuel, times IPCC factors by fuel", "the platform's terms"
    ),
    "static": Source(
        "Ember yearly electricity data (ember-energy.org), in part via Our World in Data: averages of whole years",
        "CC BY 4.0",
    ),
    "csv": Source("a file of your own", "yours to know"),
    "prometheus": Source("a gauge of your own Prometheus", "its exporter's source's"),
}
GLOSSARY = (
    ("kg CO₂e", "Kilograms of greenhouse gases, each counted as the carbon dioxide that warms as much."),
    ("IT energy", "Electricity as metered inside the servers, in kilowatt hours (kWh)."),
    ("Facility energy", "IT energy times PUE: what the site drew for it."),
    ("PUE", "Power usage effectiveness: facility energy over IT energy, cooling and power distribution included."),
    ("Grid intensity", "Grams of CO₂e per kWh of the grid that supplied the power, hour by hour."),
    (
        "Location-based",
        "By the average mix of the local grid, whatever was contracted: a market-based total is another figure.",
    ),
    ("Lifecycle, direct", "Lifecycle factors hold fuel supply and plants; direct ones what left the stacks."),
    ("System", "Energy of hosts that no workload used: kernel, host services, workloads too short to be seen."),
    ("Idle", "Power that machines draw while nobody uses them. It is nobody's here; sharing it is a policy."),
    ("Measured, estimated", "Grid figures as metered, or as estimated by their source until they are."),
    ("Yearly", "No hourly figure was there: the average of a year stands in."),
    ("Consumption, production", "Grid figures with power across borders followed, or of plants in the zone alone."),
    ("Closed", "Totals that were reported and are kept as they were; what changes later shows as a restatement."),
    ("Withheld", "Workload figures that contradict their machine's meter: kept apart, their energy counts as system."),
    ("Not known", "Energy without a price is counted in kWh and has no grams. It is never shown as 0."),
)


def boundary(figures: Figures) -> str:
    """What the meters of a report hold, in a line."""
    if not figures.meters:
        return "No meter reading is stored of this period."
    scaled = sum(cluster.scaled_node_hours for cluster in figures.coverage)
    seen = sum(cluster.node_hours for cluster in figures.coverage)
    whole = f" {scaled:,} of {seen:,} node-hours are scaled to a meter of the whole machine." if scaled else ""
    return f"Boundary: {held(figures)} as metered inside the servers, times PUE; {OUTSIDE}.{whole}"


def held(figures: Figures) -> str:
    """What is metered, in a few words."""
    components = {name for meter in figures.meters for name in meter.components}
    return joined([*([INSIDE_SERVERS] if components - {"gpu"} else []), *([BOARDS] if "gpu" in components else [])])


def joined(words: Sequence[str]) -> str:
    """Words as a list in a sentence."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
