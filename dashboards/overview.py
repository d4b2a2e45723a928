"""Overview: what was emitted, against the last period and a budget, by cluster, and how far that can be trusted."""

from grafana_foundation_sdk.builders import dashboard, table, timeseries

from dashboards import figures, sections
from dashboards.amounts import FACILITY_JOULES, GRAMS, IT_JOULES, NODE_GRAMS, NODE_JOULES, RANGE, Choice, kwh
from dashboards.frame import choose, choose_budget, frame, reach
from dashboards.panels import GRAM, KILOWATT_HOUR, RATIO, Column, Curve, Link, bars, listing, note

OF = Choice(("namespace",))
WORKLOAD = "cluster, namespace, workload_kind, workload"
BOUNDARY = (
    "Grams CO2e = metered IT energy x PUE x grid intensity, hour by hour. **Boundary:** CPU and DRAM as metered "
    "(GPU where a meter reports it); not PSU losses, disks, network, fans or embodied carbon. **Basis:** `direct` "
    "is scope 2, location-based; `lifecycle` adds upstream (scope 3.3); see *Basis of the grams*. **Range:** "
    "published hours that end in it; figures are as last published, corrections included."
)


def board() -> dashboard.Dashboard:
    """The first dashboard to look at."""
    variables = choose("cluster", IT_JOULES), choose("namespace", IT_JOULES, ("cluster",)), choose_budget()
    about = "Grams CO2e and energy of Kubernetes workloads as carbon-etl publishes them."
    made = frame("overview", "Carbon emissions", about, variables).with_panel(note("What is counted", BOUNDARY))
    figures_of_range = [
        *sections.emissions(OF), *sections.energy(OF), sections.restated(OF),
        *sections.factors(OF), *sections.budget(OF), sections.failed_checks(OF).span(8),
    ]  # fmt: skip
    for panel in (*figures_of_range, *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("Over time")).with_panel(_hours()).with_panel(_days())
    made.with_row(dashboard.Row("Where it comes from")).with_panel(_clusters()).with_panel(_workloads())
    made.with_panel(sections.by_kind_and_component(OF)).with_panel(_nodes())
    made.with_row(dashboard.Row("Grid and site")).with_panel(sections.intensity_over_time(OF))
    made.with_panel(sections.pue_over_time(OF)).with_panel(sections.basis(OF)).with_panel(sections.quality(OF))
    return made


BY_NAMESPACE = sections.largest(OF, GRAMS, "namespace", "{{namespace}}")
ABOUT_BARS = (
    f"Sum of carbon_emissions_grams by namespace; (idle) and (system) are what no workload caused. {sections.OTHERS} "
)


def _hours() -> timeseries.Panel:
    return bars("Emissions per hour", BY_NAMESPACE, GRAM, ABOUT_BARS + sections.PER_HOUR)


def _days() -> timeseries.Panel:
    budget = Curve(figures.budget_grams_of_step(), "budget", dashed=True)
    about = f"{ABOUT_BARS}{sections.PER_DAY} Dashed: the variable Budget spread over the hours of its UTC month."
    return bars("Emissions per day", [*BY_NAMESPACE, budget], GRAM, about, min_step="1d")


def _clusters() -> table.Panel:
    def by_cluster(series: str) -> str:
        return f"sum by (cluster) ({OF.amount(series, RANGE)})"

    columns = [
        Column("Emissions", by_cluster(GRAMS), GRAM),
        Column("Change", figures.change_of_hourly_mean(OF, "cluster"), RATIO),
        Column("Facility energy", kwh(by_cluster(FACILITY_JOULES)), KILOWATT_HOUR),
        Column("Share", f"{by_cluster(GRAMS)} / scalar(sum({OF.amount(GRAMS, RANGE)}))", RATIO),
    ]
    about = (
        "Sums of carbon_emissions_grams and carbon_facility_energy_joules (/ 3.6e6) by cluster, and the change of "
        "grams per published hour against the range before. Click a cluster for its grid."
    )
    return listing("Clusters", columns, about, "Emissions", (Link("cluster", "grid", ("cluster",)),))


def _workloads() -> table.Panel:
    grams = OF.amount(GRAMS, RANGE, where='kind="workload"')
    top = f"topk({sections.TOP}, sum by ({WORKLOAD}) ({grams}))"
    energy = OF.amount(FACILITY_JOULES, RANGE, where='kind="workload"')
    columns = [
        Column("Emissions", top, GRAM),
        Column("Facility energy", f"{kwh(f'sum by ({WORKLOAD}) ({energy})')} and {top}", KILOWATT_HOUR),
        Column("Share", f"{top} / scalar(sum({OF.amount(GRAMS, RANGE)}))", RATIO),
    ]
    about = (
        f"The {sections.TOP} workloads with the most carbon_emissions_grams in the range, their "
        "carbon_facility_energy_joules / 3.6e6 and their share of the panel Emissions (idle and system included). "
        "Workload = the owning Deployment, Job ... Click one for its own dashboard."
    )
    link = Link("workload", "workload", ("cluster", "namespace", "workload"))
    return listing("Top workloads", columns, about, "Emissions", (link,))


def _nodes() -> table.Panel:
    top = f"topk({sections.TOP}, sum by (cluster, node) ({OF.amount(NODE_GRAMS, RANGE)}))"
    energy = kwh(f"sum by (cluster, node) ({OF.amount(NODE_JOULES, RANGE)})")
    columns = [Column("Emissions", top, GRAM), Column("IT energy", f"{energy} and {top}", KILOWATT_HOUR)]
    about = (
        f"The {sections.TOP} nodes with the most carbon_node_emissions_grams in the range, idle included, and their "
        "carbon_node_energy_joules / 3.6e6. All namespaces. Click one for its own dashboard."
    )
    return listing("Top nodes", columns, about, "Emissions", (Link("node", "nodes", ("cluster", "node")),))
