"""Namespaces and teams: who is charged with what, and the way down to their workloads."""

from grafana_foundation_sdk.builders import dashboard, table, timeseries

from dashboards import figures, sections
from dashboards.amounts import FACILITY_JOULES, GRAMS, IT_JOULES, JOULES_PER_KWH, RANGE, STEP, Choice, kwh
from dashboards.frame import choose, choose_budget, choose_team, frame, reach
from dashboards.panels import GRAM, KILOWATT_HOUR, PLAIN, RATIO, Column, Curve, Link, bars, figure, listing, note

OF = Choice(("team", "namespace"))
PLACE = "cluster, namespace"
RULES = (
    "Each namespace is charged with what its workloads caused. `(idle)` and `(system)` stand for themselves: nothing "
    "is shared out here, so the table adds up to the total. How else idle can be shared: `carbon-etl sql` with the "
    "views of idle sharing. **Teams** are those of the map with which `carbon-etl dashboards export` wrote this "
    "dashboard; without one each namespace is its own team. Bills by the dated map, in which a namespace that moved "
    "counts for each team its own days: view `emissions_by_team`. Moving a namespace changes no grams."
)


def by_team(amounts: str) -> str:
    """Sums by team. `carbon-etl dashboards export` finds this text and wraps the map around it: docs/dashboards.md."""
    return f'sum by (team) (label_replace({amounts}, "team", "$1", "namespace", "(.+)"))'


def board() -> dashboard.Dashboard:
    """Chargeback by namespace and by team."""
    variables = (
        choose("cluster", IT_JOULES), choose_team(), choose("namespace", IT_JOULES, ("cluster",)), choose_budget(),
    )  # fmt: skip
    about = "Grams CO2e and energy by namespace and team: what to charge to whom."
    made = frame("namespaces", "Carbon: namespaces and teams", about, variables).with_panel(note("Who pays", RULES, 4))
    counted = f"count(count by ({PLACE}) ({OF.amount(IT_JOULES, RANGE, where=WORKLOADS)}))"
    namespaces = figure(
        "Namespaces", counted, PLAIN,
        "How many (cluster, namespace) have carbon_energy_joules of kind workload in the range.",
    )  # fmt: skip
    facility, _ = sections.energy(OF)
    for panel in (*sections.emissions(OF), facility, *sections.budget(OF), *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("Chargeback")).with_panel(_chargeback().span(24).height(11))
    made.with_panel(_teams().span(20)).with_panel(namespaces.height(9))
    made.with_row(dashboard.Row("Over time")).with_panel(_days_of_teams()).with_panel(_days_of_namespaces())
    return made


WORKLOADS = 'kind="workload"'


def _chargeback() -> table.Panel:
    def of_place(series: str) -> str:
        return f"sum by ({PLACE}) ({OF.amount(series, RANGE)})"

    columns = [
        Column("Emissions", of_place(GRAMS), GRAM),
        Column("Share", f"{of_place(GRAMS)} / scalar(sum({OF.amount(GRAMS, RANGE)}))", RATIO),
        Column("Change", figures.change_of_hourly_mean(OF, PLACE), RATIO),
        Column("Facility energy", kwh(of_place(FACILITY_JOULES)), KILOWATT_HOUR),
        Column("IT energy", kwh(of_place(IT_JOULES)), KILOWATT_HOUR),
    ]
    about = (
        "Sums of carbon_emissions_grams, carbon_facility_energy_joules and carbon_energy_joules (/ 3.6e6) by cluster "
        "and namespace, all kinds; the change is that of grams per published hour against the range before, empty for "
        "a namespace that had none. Adds up to the panel Emissions. Click a namespace for its workloads."
    )
    link = Link("namespace", "workload", ("cluster", "namespace"))
    return listing("Chargeback by namespace", columns, about, "Emissions", (link,))


def _teams() -> table.Panel:
    def of_team(series: str) -> str:
        return by_team(OF.amount(series, RANGE))

    columns = [
        Column("Emissions", of_team(GRAMS), GRAM),
        Column("Share", f"{of_team(GRAMS)} / scalar(sum({OF.amount(GRAMS, RANGE)}))", RATIO),
        Column("Facility energy", kwh(of_team(FACILITY_JOULES)), KILOWATT_HOUR),
        Column("IT energy", kwh(of_team(IT_JOULES)), KILOWATT_HOUR),
    ]
    about = (
        "The same sums by team: carbon_emissions_grams, carbon_facility_energy_joules and carbon_energy_joules "
        "(/ 3.6e6), a namespace counted for the team it belongs to in the exported map. Adds up to the panel Emissions."
    )
    return listing("Teams", columns, about, "Emissions")


def _days_of_teams() -> timeseries.Panel:
    budget = Curve(figures.budget_grams_of_step(), "budget", dashed=True)
    about = (
        f"Sum of carbon_emissions_grams by team. {sections.PER_DAY} Dashed: the variable Budget spread over the hours "
        "of its UTC month."
    )
    teams = Curve(by_team(OF.amount(GRAMS, STEP)), "{{team}}")
    return bars("Emissions per day by team", [teams, budget], GRAM, about, min_step="1d")


def _days_of_namespaces() -> timeseries.Panel:
    curves = sections.largest(OF, FACILITY_JOULES, PLACE, "{{namespace}} ({{cluster}})", JOULES_PER_KWH)
    about = (
        f"Sum of carbon_facility_energy_joules / 3.6e6 by namespace and cluster. {sections.OTHERS} {sections.PER_DAY}"
    )
    return bars("Facility energy per day by namespace", curves, KILOWATT_HOUR, about, min_step="1d")
