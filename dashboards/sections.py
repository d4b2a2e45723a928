"""The panels of the overview, section by section: title, expression, unit, and in words what the figure is."""

from grafana_foundation_sdk.builders import dashboard, stat

from dashboards import amounts as promql
from dashboards.panels import (
    DURATION,
    GRAM,
    GRAM_PER_KWH,
    JOULE,
    KILOWATT_HOUR,
    MOMENT,
    PLAIN,
    RATIO,
    WATT_HOUR,
    Column,
    Curve,
    as_of_now,
    bars,
    figure,
    listing,
    trend,
)

TOP = 20


def totals() -> list[stat.Panel]:
    """The figures of the range."""
    grams, previous = (promql.amount(promql.GRAMS, window) for window in (promql.RANGE, promql.PREVIOUS_RANGE))
    facility, it_energy = (promql.amount(s, promql.RANGE) for s in (promql.FACILITY_JOULES, promql.IT_JOULES))
    return [
        figure(
            "Emissions", f"sum({grams})", GRAM,
            "Sum of carbon_emissions_grams over the published hours that end in the range, corrections included.",
        ),
        figure(
            "Emissions, previous range", f"sum({previous})", GRAM,
            "The same sum over the range of equal length just before. A range that is not over yet, or begins "
            "before the first published hour, holds fewer hours than the other: then compare the hourly mean.",
        ),
        figure(
            "Change of the hourly mean", promql.change_of_hourly_mean(), RATIO,
            "(grams / published hours) of the range, over the same of the previous range, minus 1; hours are "
            "counted per cluster on carbon_pue_ratio. Equals the change of the totals where both ranges are wholly "
            "published.",
        ),
        figure(
            "Facility energy", f"sum({facility}) / {promql.JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_facility_energy_joules in the range: IT energy x PUE. 1 Wh = 3600 J.",
        ),
        figure(
            "IT energy", f"sum({it_energy}) / {promql.JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_energy_joules in the range: what the meters counted, workloads + system + idle. 1 Wh = "
            "3600 J.",
        ),
        figure(
            "Restated", promql.restated_grams(), GRAM,
            "What corrections (revision 1, 2 ...) added to carbon_emissions_grams of the range since it was first "
            "published; negative where the grid turned out cleaner. Already part of Emissions.",
        ),
        figure(
            "Grid intensity", promql.grams_per_kwh_of_range(), GRAM_PER_KWH,
            "Sum of carbon_emissions_grams / sum of carbon_facility_energy_joules x 3.6e6: the intensity weighted "
            "by the energy used. Energy of hours that have no grams is left out of both sums.",
        ).decimals(1),
        figure(
            "PUE", promql.pue_of_range(), PLAIN,
            "Sum of carbon_facility_energy_joules / sum of carbon_energy_joules: weighted by the energy used.",
        ).decimals(3),
    ]  # fmt: skip


def trust() -> list[stat.Panel]:
    """How far the figures can be trusted, beside them."""
    return [
        figure(
            "Energy without grams", promql.unpriced_share(), RATIO,
            "carbon_quality_energy_joules of quality `missing` / of all qualities: energy in the range that no "
            "accepted intensity covers (yet). Its grams are unknown, not 0, and not in Emissions. All namespaces.",
            warn_above=(0.001, 0.05),
        ).decimals(1),
        as_of_now(figure(
            "Since the last success", promql.seconds_since_success(), DURATION,
            "time() - the greatest carbon_etl_last_success_timestamp_seconds of 7 days, a cluster; as of now for "
            "ranges relative to now. Hourly runs: red from 3 h, where the alert CarbonEtlStale fires.",
            warn_above=(7200, 10800),
            legend="{{cluster}}",
        )),
        as_of_now(figure(
            "Unpublished hours", promql.unpublished_hours(), PLAIN,
            "carbon_etl_unpublished_hours of the latest run within 7 days, a cluster: hours in the warehouse that this "
            "store does not hold.",
            warn_above=(1, 24),
            legend="{{cluster}}",
        )),
        figure(
            "Failed checks", promql.failed_checks(), PLAIN,
            "How many (cluster, check) had carbon_etl_check_failed above 0 in at least one run of the range.",
            warn_above=(1, 5),
        ),
    ]  # fmt: skip


def add_trends(board: dashboard.Dashboard) -> None:
    """Emissions by hour and by day."""
    by_namespace = Curve(f"sum by (namespace) ({promql.amount(promql.GRAMS, promql.STEP)})", "{{namespace}}")
    about = (
        "Sum of carbon_emissions_grams by namespace; (idle) and (system) are what no workload caused. A bar stands "
        "on the time it covers, beginning at its left edge"
    )
    board.with_panel(
        bars(
            "Emissions per hour",
            by_namespace,
            GRAM,
            f"{about}: an hour, longer in ranges of months; the last is whole even where the range ends inside it.",
        )
    )
    days = f"{about}: a whole day in the dashboard's time zone, also where the range cuts it."
    board.with_panel(bars("Emissions per day", by_namespace, GRAM, days, min_step="1d"))


def add_shares(board: dashboard.Dashboard) -> None:
    """What the emissions of the range are made of."""
    everything = f"scalar(sum({promql.amount(promql.GRAMS, promql.RANGE)}))"
    workloads = promql.top_workload_grams(TOP)
    columns = [
        Column("Emissions", workloads, GRAM),
        Column("Facility energy", promql.top_workload_kwh(TOP), KILOWATT_HOUR),
        Column("Share", f"{workloads} / {everything}", RATIO),
    ]
    about = (
        f"The {TOP} workloads with the most carbon_emissions_grams in the range, their carbon_facility_energy_joules "
        "/ 3.6e6 and their share of the panel Emissions (idle and system included). Workload = the owning "
        "Deployment, Job ..."
    )
    board.with_panel(listing("Top workloads", columns, about, sort_by="Emissions"))

    def by_kind(series: str) -> str:
        return f"sum by (kind, component) ({promql.amount(series, promql.RANGE)})"

    columns = [
        Column("Emissions", by_kind(promql.GRAMS), GRAM),
        Column("Facility energy", f"{by_kind(promql.FACILITY_JOULES)} / {promql.JOULES_PER_KWH}", KILOWATT_HOUR),
        Column("IT energy", f"{by_kind(promql.IT_JOULES)} / {promql.JOULES_PER_KWH}", KILOWATT_HOUR),
        Column("Share", f"{by_kind(promql.GRAMS)} / {everything}", RATIO),
    ]
    about = (
        "Sums of carbon_emissions_grams, carbon_facility_energy_joules and carbon_energy_joules (/ 3.6e6) by kind and "
        "component. idle: drawn by nodes doing nothing; system: active energy outside workloads. Nothing is shared out."
    )
    board.with_panel(listing("By kind and component", columns, about, sort_by="Emissions"))


def add_grid(board: dashboard.Dashboard) -> None:
    """What energy was multiplied with, and on which nodes."""
    vendor = f"avg_over_time({promql.selector(promql.GRID_INTENSITY)}{promql.STEP})"
    curves = [
        Curve(promql.grams_per_kwh_of_step(), "{{cluster}}"),
        Curve(vendor, "{{zone}} {{provider}} {{factor_type}}, as first published ({{cluster}})", dashed=True),
    ]
    about = (
        "Solid: grams / facility energy x 3.6e6 of the step, corrections included. Dashed: the mean of "
        "carbon_grid_intensity_grams_per_kwh, the provider's figure when the hour was first published; never "
        "corrected. All energy of a cluster is priced alike: choosing namespaces only reweights it."
    )
    board.with_panel(trend("Grid intensity over time", curves, GRAM_PER_KWH, about))
    curves = [
        Curve(promql.pue_of_step(), "{{cluster}}"),
        Curve(
            f"avg_over_time({promql.selector(promql.PUE)}{promql.STEP})",
            "as first published ({{cluster}})",
            dashed=True,
        ),
    ]
    about = "Solid: facility / IT energy of the step. Dashed: the mean of carbon_pue_ratio as first published."
    board.with_panel(trend("PUE over time", curves, PLAIN, about))
    grid = promql.selector(promql.GRID_INTENSITY)
    labels = "cluster, zone, provider, signal, factor_type"
    columns = [
        Column("Hours", f"max by ({labels}) (count_over_time({grid}{promql.RANGE}))", PLAIN),
        Column("Mean", f"max by ({labels}) (avg_over_time({grid}{promql.RANGE}))", GRAM_PER_KWH),
    ]
    about = (
        "Which provider, zone and factor type stood behind the grams when their hours were first published, and for "
        "how many hours: the labels of carbon_grid_intensity_grams_per_kwh. direct = scope 2, location-based; "
        "lifecycle = scope 2 plus upstream. Mean: unweighted, over those hours."
    )
    board.with_panel(listing("Basis of the grams", columns, about))
    nodes = promql.top_node_grams(TOP)
    energy = f"sum by (cluster, node) ({promql.amount(promql.NODE_JOULES, promql.RANGE)}) / {promql.JOULES_PER_KWH}"
    columns = [Column("Emissions", nodes, GRAM), Column("IT energy", f"{energy} and {nodes}", KILOWATT_HOUR)]
    about = (
        f"The {TOP} nodes with the most carbon_node_emissions_grams in the range, idle included, and their "
        "carbon_node_energy_joules / 3.6e6. All namespaces."
    )
    board.with_panel(listing("Top nodes", columns, about, sort_by="Emissions"))


def add_evidence(board: dashboard.Dashboard) -> None:
    """Quality, reach and checks of the published hours."""
    quality = Curve(promql.quality_share_of_step(), "{{intensity_quality}}")
    about = (
        "carbon_quality_energy_joules of each quality / of all: how the energy of the step is priced, as last "
        "published. measured > estimated > forecast > carried > yearly; missing has no grams. All namespaces."
    )
    board.with_panel(bars("Quality of the intensity", quality, RATIO, about).max(1).min(0))
    columns = [
        Column("From", promql.first_hour_ms(), MOMENT),
        Column("To", promql.last_hour_end_ms(), MOMENT),
        Column("Hours", promql.published_hours(), PLAIN),
    ]
    about = (
        "The first and the last hour of the range that are published (carbon_quality_energy_joules has a sample), "
        "and how many there are: fewer than lie between From and To means holes."
    )
    board.with_panel(listing("Data in the range", columns, about))
    failed = Curve(promql.failed_checks_of_step(), "{{check}} ({{cluster}})")
    about = "The greatest carbon_etl_check_failed that a run of the step reported, a check; 0 is passed."
    board.with_panel(bars("Failed checks over time", failed, PLAIN, about))
    residual = Curve(promql.residual_joules_of_step(), "{{cluster}}")
    about = (
        "carbon_etl_residual_joules of the last run in the step, a cluster: metered - workloads - system - idle. "
        "Signed; no sample where a meter gives no system share of its own."
    )
    board.with_panel(trend("Residual", [residual], JOULE, about))
