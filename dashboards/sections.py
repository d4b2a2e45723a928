"""Panels that several dashboards show: title, expression, unit, and in words what the figure is."""

from grafana_foundation_sdk.builders import stat, table, timeseries

from dashboards import figures
from dashboards.amounts import (
    FACILITY_JOULES,
    GRAMS,
    GRID_INTENSITY,
    IT_JOULES,
    JOULES_PER_WH,
    PREVIOUS_RANGE,
    PUE,
    RANGE,
    STEP,
    WHOLE_RANGE,
    Choice,
    kwh,
)
from dashboards.panels import (
    GRAM,
    GRAM_PER_KWH,
    KILOWATT_HOUR,
    PLAIN,
    RATIO,
    WATT_HOUR,
    Column,
    Curve,
    bars,
    coloured,
    figure,
    listing,
    trend,
)

SETTLED = "Solid: grams / facility energy x 3.6e6 of the step, corrections included."
FIRST = "the provider's figure when the hour was first published; never corrected"


def emissions(of: Choice) -> list[stat.Panel]:
    """The grams of the range, before it, and the change."""
    grams, previous = (of.amount(GRAMS, window) for window in (RANGE, PREVIOUS_RANGE))
    return [
        figure(
            "Emissions", f"sum({grams})", GRAM,
            "Sum of carbon_emissions_grams over the published hours that end in the range, corrections included.",
        ),
        figure(
            "Emissions, previous range", f"sum({previous})", GRAM,
            "Sum of carbon_emissions_grams over the range of equal length just before. A range that is not over yet, "
            "or begins before the first published hour, holds fewer hours: then compare the hourly mean.",
        ),
        figure(
            "Change of the hourly mean", figures.change_of_hourly_mean(of), RATIO,
            "(grams / published hours) of the range, over the same of the previous range, minus 1; hours are "
            "counted per cluster on carbon_pue_ratio. Equals the change of the totals where both ranges are wholly "
            "published.",
        ),
    ]  # fmt: skip


def energy(of: Choice) -> list[stat.Panel]:
    """The energy of the range, with and without the site's overhead."""
    return [
        figure(
            "Facility energy", f"sum({of.amount(FACILITY_JOULES, RANGE)}) / {JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_facility_energy_joules in the range: IT energy x PUE. 1 Wh = 3600 J.",
        ),
        figure(
            "IT energy", f"sum({of.amount(IT_JOULES, RANGE)}) / {JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_energy_joules in the range: what the meters counted, workloads + system + idle. 1 Wh = "
            "3600 J.",
        ),
    ]  # fmt: skip


def restated(of: Choice) -> stat.Panel:
    """What corrections came to."""
    return figure(
        "Restated", figures.restated_grams(of), GRAM,
        "What corrections (revision 1, 2 ...) added to carbon_emissions_grams of the range since it was first "
        "published; negative where the grid turned out cleaner. Already part of every total.",
    )  # fmt: skip


def factors(of: Choice) -> list[stat.Panel]:
    """What energy was multiplied with, over the range."""
    return [
        figure(
            "Grid intensity", figures.grams_per_kwh_of_range(of), GRAM_PER_KWH,
            "Sum of carbon_emissions_grams / sum of carbon_facility_energy_joules x 3.6e6: the intensity weighted "
            "by the energy used. Energy of hours that have no grams is left out of both sums.",
        ).decimals(1),
        figure(
            "PUE", figures.pue_of_range(of), PLAIN,
            "Sum of carbon_facility_energy_joules / sum of carbon_energy_joules: weighted by the energy used.",
        ).decimals(3),
    ]  # fmt: skip


def budget(of: Choice) -> list[stat.Panel]:
    """The budget's part of the range, and how much of it is used."""
    share = f"sum({of.amount(GRAMS, RANGE)}) / {figures.budget_grams_of_range()}"
    return [
        figure(
            "Budget of the range", figures.budget_grams_of_range(), GRAM,
            "The variable Budget (kg CO2e a month) spread evenly over the hours of each UTC month: the part of the "
            "hours that end in the range, past or to come. No data: the budget is 0, which means none.",
        ),
        figure(
            "Budget used", share, RATIO,
            "Sum of carbon_emissions_grams in the range / Budget of the range: of what is chosen above, idle and "
            "system included. Above 100 % the range has used more than its part.",
            warn_above=(0.8, 1),
        ).decimals(1),
    ]  # fmt: skip


def failed_checks(of: Choice) -> stat.Panel:
    """Checks that did not hold."""
    return figure(
        "Failed checks", figures.failed_checks(of), PLAIN,
        "How many (cluster, check) had carbon_etl_check_failed above 0 in at least one run of the range.",
        warn_above=(1, 5),
    )  # fmt: skip


TOP = 20
OTHERS = f"The {TOP} largest of the range, and all others together."
PER_STEP = "A bar stands on the time it covers, beginning at its left edge"
PER_HOUR = f"{PER_STEP}: an hour, longer in ranges of months; the last is whole even where the range ends inside it."
PER_DAY = f"{PER_STEP}: a whole day in the dashboard's time zone, also where the range cuts it."


def largest(of: Choice, series: str, by: str, legend: str, divided_by: str = "1") -> list[Curve]:
    """Amounts of each step: of the `TOP` groups of labels that have most in the range, and of all others together."""
    top = f"topk({TOP}, sum by ({by}) ({of.amount(series, WHOLE_RANGE)}))"
    shown = f"(sum by ({by}) ({of.amount(series, STEP)}) and {top})"
    others = f"clamp_min(sum({of.amount(series, STEP)}) - sum{shown}, 0)"
    return [
        Curve(f"{shown} / {divided_by}", legend),
        Curve(f"{others} / {divided_by}", "others"),
    ]


QUALITY_COLOURS = {
    "measured": "green", "estimated": "light-green", "forecast": "yellow", "carried": "light-yellow",
    "yearly_zone": "orange", "yearly_country": "light-orange", "world": "light-red", "missing": "red",
}  # fmt: skip


def quality(of: Choice) -> timeseries.Panel:
    """How the energy is priced."""
    about = (
        "carbon_quality_energy_joules of each quality / of all: how the energy of the step is priced, as last "
        "published. measured > estimated > forecast > carried > yearly; missing has no grams. Of the clusters whole."
    )
    curve = Curve(figures.quality_share_of_step(of), "{{intensity_quality}}")
    return coloured(bars("Quality of the intensity", [curve], RATIO, about).max(1).min(0), QUALITY_COLOURS)


def intensity_over_time(of: Choice) -> timeseries.Panel:
    """The intensity as settled and as first published."""
    average = of.selector(GRID_INTENSITY, 'signal="average"')
    curves = [
        Curve(figures.grams_per_kwh(of), "{{cluster}}"),
        Curve(
            f"avg_over_time({average}{STEP})",
            "{{zone}} {{provider}} {{factor_type}}, as first published ({{cluster}})",
            dashed=True,
        ),
    ]
    about = (
        f"{SETTLED} Dashed: the mean of carbon_grid_intensity_grams_per_kwh, {FIRST}. All energy of a cluster is "
        "priced alike: choosing a part of it only reweights the hours."
    )
    return trend("Grid intensity over time", curves, GRAM_PER_KWH, about)


def pue_over_time(of: Choice) -> timeseries.Panel:
    """PUE as settled and as first published."""
    first = f"avg_over_time({of.selector(PUE)}{STEP})"
    curves = [
        Curve(figures.pue_of_step(of), "{{cluster}}"),
        Curve(first, "as first published ({{cluster}})", dashed=True),
    ]
    about = "Solid: facility / IT energy of the step. Dashed: the mean of carbon_pue_ratio as first published."
    return trend("PUE over time", curves, PLAIN, about)


def basis(of: Choice) -> table.Panel:
    """Who said what the grid was, and by which factors."""
    grid, labels = of.selector(GRID_INTENSITY), "cluster, zone, provider, signal, factor_type"
    columns = [
        Column("Hours", f"max by ({labels}) (count_over_time({grid}{RANGE}))", PLAIN),
        Column("Mean", f"max by ({labels}) (avg_over_time({grid}{RANGE}))", GRAM_PER_KWH),
    ]
    about = (
        "Which provider, zone and factor type stood behind the grams when their hours were first published, and for "
        "how many hours: the labels of carbon_grid_intensity_grams_per_kwh. direct = scope 2, location-based; "
        "lifecycle = scope 2 plus upstream; signal marginal is beside the grams, never in them. Mean: unweighted."
    )
    return listing("Basis of the grams", columns, about)


def by_kind_and_component(of: Choice) -> table.Panel:
    """What the grams of the range are made of."""

    def by_kind(series: str) -> str:
        return f"sum by (kind, component) ({of.amount(series, RANGE)})"

    everything = f"scalar(sum({of.amount(GRAMS, RANGE)}))"
    columns = [
        Column("Emissions", by_kind(GRAMS), GRAM),
        Column("Facility energy", kwh(by_kind(FACILITY_JOULES)), KILOWATT_HOUR),
        Column("IT energy", kwh(by_kind(IT_JOULES)), KILOWATT_HOUR),
        Column("Share", f"{by_kind(GRAMS)} / {everything}", RATIO),
    ]
    about = (
        "Sums of carbon_emissions_grams, carbon_facility_energy_joules and carbon_energy_joules (/ 3.6e6) by kind and "
        "component. idle: drawn by nodes doing nothing; system: active energy outside workloads. Nothing is shared out."
    )
    return listing("By kind and component", columns, about, sort_by="Emissions")
