"""Workload: one or several workloads, what they are made of, and the grid and site underneath."""

from grafana_foundation_sdk.builders import dashboard, table, timeseries

from dashboards import sections
from dashboards.amounts import FACILITY_JOULES, GRAMS, IT_JOULES, RANGE, STEP, Choice, kwh
from dashboards.frame import choose, frame, reach
from dashboards.panels import GRAM, KILOWATT_HOUR, Column, Curve, bars, listing, note

OF = Choice(("namespace", "workload"))
WORKLOAD = "cluster, namespace, workload_kind, workload"
# An hour belongs to a range that its sample's stamp, a minute before the hour's end, lies in.
PODS = """\
Pods and containers are kept in the warehouse, not in the store. For what is chosen above, in this range, ask in
the shell of `carbon-etl sql`:

```sql
select pod, container, component,
    sum(energy_joules) / 3.6e6 as energy_kwh, sum(emissions_gco2e) as emissions_gco2e
  from emissions
  where regexp_full_match(cluster, '${cluster:regex}')
    and regexp_full_match(coalesce(namespace, '(' || kind || ')'), '${namespace:regex}')
    and regexp_full_match(coalesce(workload, pod, '(' || kind || ')'), '${workload:regex}')
    and hour_utc + interval 59 minutes > '${__from:date:iso}'
    and hour_utc + interval 59 minutes <= '${__to:date:iso}'
  group by all order by emissions_gco2e desc;
```
"""


def board() -> dashboard.Dashboard:
    """What one workload causes, and why."""
    variables = (
        choose("cluster", IT_JOULES),
        choose("namespace", IT_JOULES, ("cluster",)),
        choose("workload", IT_JOULES, ("cluster", "namespace")),
    )
    about = "One workload or several: grams, energy by component and kind, and the intensity and PUE underneath."
    made = frame("workload", "Carbon: workload", about, variables)
    grams, previous, change = sections.emissions(OF)
    for panel in (grams, previous, change, *sections.energy(OF), sections.restated(OF), *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("What it is")).with_panel(_workloads()).with_panel(sections.by_kind_and_component(OF))
    made.with_row(dashboard.Row("Over time")).with_panel(_grams()).with_panel(_energy())
    made.with_row(dashboard.Row("Underneath"))
    for factor in sections.factors(OF):
        made.with_panel(factor.span(12))
    made.with_panel(sections.intensity_over_time(OF)).with_panel(sections.pue_over_time(OF))
    made.with_row(dashboard.Row("Pods")).with_panel(note("Pods and containers", PODS, 8))
    return made


def _workloads() -> table.Panel:
    def of_workload(series: str) -> str:
        return f"sum by ({WORKLOAD}) ({OF.amount(series, RANGE)})"

    columns = [
        Column("Emissions", of_workload(GRAMS), GRAM),
        Column("Facility energy", kwh(of_workload(FACILITY_JOULES)), KILOWATT_HOUR),
        Column("IT energy", kwh(of_workload(IT_JOULES)), KILOWATT_HOUR),
    ]
    about = (
        "Sums of carbon_emissions_grams, carbon_facility_energy_joules and carbon_energy_joules (/ 3.6e6) of each "
        "chosen workload. (other): the tail beyond publish.max_series; (idle), (system): energy of no workload."
    )
    return listing("Workloads", columns, about, sort_by="Emissions")


def _grams() -> timeseries.Panel:
    curves = sections.largest(OF, GRAMS, WORKLOAD, "{{workload}} ({{namespace}}, {{cluster}})")
    about = f"Sum of carbon_emissions_grams a workload. {sections.OTHERS} {sections.PER_HOUR}"
    return bars("Emissions per hour", curves, GRAM, about)


def _energy() -> timeseries.Panel:
    curve = Curve(kwh(f"sum by (component, kind) ({OF.amount(IT_JOULES, STEP)})"), "{{component}}, {{kind}}")
    about = f"Sum of carbon_energy_joules / 3.6e6 by component and kind. {sections.PER_HOUR}"
    return bars("IT energy per hour", [curve], KILOWATT_HOUR, about)
