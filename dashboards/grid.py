"""Grid: what energy was multiplied with, how good that figure is, and at which hours it is best used."""

from grafana_foundation_sdk.builders import dashboard, heatmap, table, timeseries

from dashboards import figures, sections
from dashboards.amounts import (
    GRAMS,
    GRID_INTENSITY,
    HOUR,
    IT_JOULES,
    QUALITY_JOULES,
    RANGE,
    STEP,
    Choice,
    each_hour,
    kwh,
)
from dashboards.frame import choose, frame, reach
from dashboards.panels import (
    GRAM_PER_KWH,
    KILOWATT_HOUR,
    RATIO,
    Column,
    Curve,
    calendar,
    listing,
    note,
    trend,
)

OF = Choice()
READING = (
    "**Average** intensity prices the grams. **Marginal** answers another question, what one kWh more would cause, and "
    "is in no total. How settled each day is: `carbon-etl settled`; what a zone's figures were and how they changed: "
    "`carbon-etl grid`; the greenest hours to come: `carbon-etl grid show ZONE`."
)


def board() -> dashboard.Dashboard:
    """The grid behind the grams."""
    about = "Grid intensity by zone: average and marginal, greenest and dirtiest hours, quality and settledness."
    made = frame("grid", "Carbon: grid", about, (choose("cluster", IT_JOULES),))
    made.with_panel(note("Average and marginal", READING))
    for panel in (*(one.span(8) for one in (*sections.factors(OF), sections.restated(OF))), *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("When")).with_panel(_calendar()).with_panel(_clusters().span(24).height(6))
    made.with_row(dashboard.Row("Over time")).with_panel(sections.intensity_over_time(OF)).with_panel(_signals())
    made.with_row(dashboard.Row("How good the figures are")).with_panel(sections.quality(OF)).with_panel(_qualities())
    made.with_panel(sections.basis(OF)).with_panel(_settling())
    return made


def _calendar() -> heatmap.Panel:
    hours = [_mean_of_hour(number) for number in range(24)]
    about = (
        "Sum of carbon_emissions_grams / carbon_facility_energy_joules x 3.6e6 of each hour, corrections included, all "
        "chosen clusters together: choose one for one grid. A column is a day, a row an hour, of the dashboard's time "
        "zone. Green is where to move what can wait."
    )
    return calendar("Greenest and dirtiest hours", hours, GRAM_PER_KWH, about)


def _mean_of_hour(number: int) -> str:
    """Intensity of one hour of the day that begins at the step."""
    window = f"[1h] offset -{number + 1}h"
    return f"sum({OF.amount(GRAMS, window)}) / sum({figures.priced_facility_joules(OF, window)} > 0) * 3.6e6"


def _clusters() -> table.Panel:
    hourly = figures.grams_per_kwh(OF, HOUR)
    columns = [
        Column("Mean", figures.grams_per_kwh_of_range(OF, "cluster"), GRAM_PER_KWH),
        Column("Greenest hour", each_hour("min_over_time", hourly), GRAM_PER_KWH),
        Column("Dirtiest hour", each_hour("max_over_time", hourly), GRAM_PER_KWH),
    ]
    about = (
        "carbon_emissions_grams / carbon_facility_energy_joules x 3.6e6 by cluster: of the range, weighted by energy, "
        "and the least and greatest of its hours. Corrections included; hours without grams are left out."
    )
    return listing("Clusters", columns, about)


def _signals() -> timeseries.Panel:
    def of_signal(signal: str) -> str:
        where = f'signal="{signal}"'
        return f"avg_over_time({OF.selector(GRID_INTENSITY, where)}{STEP})"

    curves = [
        Curve(of_signal("average"), "average: {{zone}} {{provider}} {{factor_type}} ({{cluster}})"),
        Curve(of_signal("marginal"), "marginal: {{zone}} {{provider}} {{factor_type}} ({{cluster}})", dashed=True),
    ]
    about = (
        f"Means of carbon_grid_intensity_grams_per_kwh by signal, {sections.FIRST}. Marginal only where the "
        "configuration names a provider of it; its figures are shown, never added to anything."
    )
    return trend("Average beside marginal", curves, GRAM_PER_KWH, about)


def _qualities() -> table.Panel:
    by_quality = f"sum by (cluster, intensity_quality) ({OF.amount(QUALITY_JOULES, RANGE)})"
    of_cluster = f"sum by (cluster) ({OF.amount(QUALITY_JOULES, RANGE)})"
    columns = [
        Column("IT energy", kwh(f"({by_quality} > 0)"), KILOWATT_HOUR),
        Column("Share", f"({by_quality} > 0) / on (cluster) group_left () {of_cluster}", RATIO),
    ]
    about = (
        "carbon_quality_energy_joules / 3.6e6 by cluster and quality of the intensity that prices it now, and its "
        "share of the cluster's. Estimates become measured as providers settle them."
    )
    return listing("Energy by quality", columns, about)


def _settling() -> timeseries.Panel:
    corrections, first = (
        f"sum by (cluster) ({OF.amount(GRAMS, STEP, where)})" for where in ('revision!="0"', 'revision="0"')
    )
    share = f"{corrections} / ({first} > 0)"
    about = (
        "Corrections (revision 1, 2 ...) of carbon_emissions_grams / what was published of the step first: how far its "
        "grams moved since. No line: nothing was corrected."
    )
    return trend("Settled against first published", [Curve(share, "{{cluster}}")], RATIO, about)
