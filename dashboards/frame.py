"""What all dashboards share: how one is set up, its variables, its way to the others, and how far its data reach."""

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as dashboard_model

from dashboards import figures
from dashboards.amounts import Choice
from dashboards.panels import DATASOURCE, MOMENT, PLAIN, RATIO, SECOND, Column, Panel, as_of_now, figure, listing

Variable = dashboard.QueryVariable | dashboard.CustomVariable | dashboard.TextBoxVariable
TAG = "carbon-etl"


def frame(name: str, title: str, about: str, variables: tuple[Variable, ...]) -> dashboard.Dashboard:
    """An empty dashboard. The time zone is UTC: a day here is a day of the warehouse, of its reports and folders."""
    others = dashboard.DashboardLink("Carbon").type(dashboard_model.DashboardLinkType.DASHBOARDS).tags([TAG])
    board = (
        dashboard.Dashboard(title)
        .uid(f"carbon-etl-{name}")
        .description(about)
        .tags(["carbon", TAG, "energy", "kubernetes"])
        .link(others.keep_time(keep_time=True).include_vars(include_vars=True).as_dropdown(as_dropdown=False))
        .readonly()
        .tooltip(dashboard_model.DashboardCursorSync.CROSSHAIR)
        .timezone("utc")
        .time("now-7d", "now")
        .refresh("15m")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        board.with_variable(variable)
    return board


def choose(label: str, series: str, of: tuple[str, ...] = ()) -> dashboard.QueryVariable:
    """A variable of the values that `label` has in `series`, as limited by the variables `of`: several, or all."""
    limits = ", ".join(f'{name}=~"${name}"' for name in of)
    query = f"label_values({series}{{{limits}}}, {label})" if of else f"label_values({series}, {label})"
    return (
        dashboard.QueryVariable(label)
        .label(label.capitalize())
        .datasource(DATASOURCE)
        .query({"qryType": 5, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(dashboard_model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard_model.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(dashboard_model.VariableOption(selected=True, text="All", value="$__all"))
    )


def choose_team() -> dashboard.CustomVariable:
    """Teams by the regular expression of their namespaces; `dashboards export` fills in what the map says."""
    everyone = dashboard_model.VariableOption(selected=True, text="All teams", value=".+")
    variable = dashboard.CustomVariable("team").label("Team").values("All teams : .+")
    return variable.multi(multi=False).include_all(include_all=False).options([everyone]).current(everyone)


def choose_budget() -> dashboard.TextBoxVariable:
    """A budget in kg CO2e a month; 0 is none."""
    none = dashboard_model.VariableOption(selected=True, text="0", value="0")
    return dashboard.TextBoxVariable("budget_kg").label("Budget, kg a month").default_value("0").current(none)


def reach(of: Choice) -> list[Panel]:
    """From when to when the data of the range reach, and what is not in them."""
    columns = [
        Column("From", figures.first_hour_ms(of), MOMENT),
        Column("To", figures.last_hour_end_ms(of), MOMENT),
        Column("Hours", figures.published_hours(of), PLAIN),
    ]
    data = listing(
        "Data in the range", columns,
        "The first and the last hour of the range that are published (carbon_quality_energy_joules has a sample), "
        "and how many there are: fewer than lie between From and To means holes.",
    )  # fmt: skip
    return [
        data.span(12).height(5),
        as_of_now(figure(
            "Unpublished hours", figures.unpublished_hours(of), PLAIN,
            "carbon_etl_unpublished_hours of the latest run within 7 days, a cluster: hours that this store does not "
            "hold at their newest revision. Corrections wait for a milestone: two days of them are nothing unusual.",
            warn_above=(72, 168),
            legend="{{cluster}}",
        )).height(5),
        as_of_now(figure(
            "Since the last success", figures.seconds_since_success(of), SECOND,
            "time() - the greatest carbon_etl_last_success_timestamp_seconds of 7 days, a cluster; as of now for "
            "ranges relative to now. Hourly runs: red from 3 h, where the alert CarbonEtlStale fires.",
            warn_above=(7200, 10800),
            legend="{{cluster}}",
        )).decimals(0).height(5),
        figure(
            "Energy without grams", figures.unpriced_share(of), RATIO,
            "carbon_quality_energy_joules of quality `missing` / of all qualities: energy in the range that no "
            "accepted intensity covers (yet). Its grams are unknown, not 0, and in no total. Of the clusters whole.",
            warn_above=(0.001, 0.05),
        ).decimals(1).height(5),
    ]  # fmt: skip
