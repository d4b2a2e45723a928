"""The shapes of panel that the dashboards are made of, with what every panel owes its reader set once."""

import string
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as dashboard_model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import text as text_model

Panel = stat.Panel | table.Panel | text.Panel | timeseries.Panel | heatmap.Panel

DATASOURCE = dashboard_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_COLUMNS = 24
EMPTY = "no data"

# Identifiers of Grafana's unit list; a text after `suffix:` is shown as it is, unscaled.
GRAM = "massg"
WATT_HOUR = "watth"
KILOWATT_HOUR = "kwatth"
JOULE = "joule"
WATT = "watt"
RATIO = "percentunit"
GRAM_PER_KWH = "suffix: gCO2e/kWh"
SECOND = "s"
MOMENT = "dateTimeAsIso"
PLAIN = "none"


@dataclass(frozen=True)
class Column:
    """One value column of a table: an instant expression with its heading and unit."""

    heading: str
    expr: str
    unit: str


@dataclass(frozen=True)
class Curve:
    """One family of curves: a range expression, its legend, and whether it is a dashed line over the others."""

    expr: str
    legend: str
    dashed: bool = False


@dataclass(frozen=True)
class Link:
    """A cell of a table that leads to another dashboard, with the row's values of `variables` chosen there."""

    field: str
    board: str
    variables: tuple[str, ...]

    @property
    def url(self) -> str:
        """Where the cell leads: the same data source and range, the row's values chosen."""
        chosen = [f"var-{name}=${{__data.fields.{name}:percentencode}}" for name in self.variables]
        return f"/d/carbon-etl-{self.board}?" + "&".join(["${__url_time_range}", "${datasource:queryparam}", *chosen])


def _target(ref_id: str, expr: str, min_step: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().ref_id(ref_id).expr(expr).interval(min_step).datasource(DATASOURCE)
    return query.editor_mode(prometheus_model.QueryEditorMode.CODE)


DASHED: dict[str, object] = {
    "custom.drawStyle": "line",
    "custom.lineStyle": {"fill": "dash", "dash": [6, 6]},
    "custom.fillOpacity": 0,
    "custom.stacking": {"mode": "none", "group": "A"},
}


def _properties(values: dict[str, object]) -> list[dashboard_model.DynamicConfigValue]:
    return [dashboard_model.DynamicConfigValue(id_val=name, value=value) for name, value in values.items()]


def _steps(*limits: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    steps = [dashboard_model.Threshold(value=value, color=color) for value, color in limits]
    return dashboard.ThresholdsConfig().mode(dashboard_model.ThresholdsMode.ABSOLUTE).steps(steps)


def figure(
    title: str,
    expr: str,
    unit: str,
    about: str,
    *,
    warn_above: tuple[float, float] | None = None,
    legend: str = "__auto",
) -> stat.Panel:
    """One number (or one a cluster) at the end of the range; orange and red from the two limits on."""
    limits: list[tuple[float | None, str]] = [(None, "text" if warn_above is None else "green")]
    if warn_above is not None:
        limits += [(warn_above[0], "orange"), (warn_above[1], "red")]
    return (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .interval("1h")
        .unit(unit)
        .no_value(EMPTY)
        .thresholds(_steps(*limits))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(values=False))
        .with_target(_target("A", expr, "1h").instant().legend_format(legend))
        .span(4)
        .height(4)
    )


def trend(title: str, curves: list[Curve], unit: str, about: str, min_step: str = "1h") -> timeseries.Panel:
    """Curves over time, a point for each step that begins there."""
    legend = common.VizLegendOptions().show_legend(show_legend=True).placement(common_model.LegendPlacement.BOTTOM)
    legend.display_mode(common_model.LegendDisplayMode.LIST)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .interval(min_step)
        .unit(unit)
        .no_value(EMPTY)
        .line_width(1)
        .line_interpolation(common_model.LineInterpolation.STEP_AFTER)
        .show_points(common_model.VisibilityMode.AUTO)
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
        .legend(legend)
        .span(12)
        .height(9)
    )
    for ref_id, curve in zip(string.ascii_uppercase, curves, strict=False):
        panel.with_target(_target(ref_id, curve.expr, min_step).range().legend_format(curve.legend))
        if curve.dashed:
            panel.override_by_query(ref_id, _properties(DASHED))
    return panel


def bars(title: str, curves: list[Curve], unit: str, about: str, min_step: str = "1h") -> timeseries.Panel:
    """Stacked bars; each stands on the step that begins at its left edge. Dashed curves are lines above them."""
    return (
        trend(title, curves, unit, about, min_step)
        .draw_style(common_model.GraphDrawStyle.BARS)
        .bar_alignment(common_model.BarAlignment.AFTER)
        .bar_width_factor(1)
        .fill_opacity(80)
        .stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    )


def coloured(panel: timeseries.Panel, colours: dict[str, str]) -> timeseries.Panel:
    """`panel`, each of these names always in its colour."""
    for name, colour in colours.items():
        panel.override_by_name(name, _properties({"color": {"mode": "fixed", "fixedColor": colour}}))
    return panel


def listing(
    title: str, columns: list[Column], about: str, sort_by: str = "", links: tuple[Link, ...] = ()
) -> table.Panel:
    """A table: one row a label set, one column a value; the time of evaluation is hidden."""
    panel = table.Panel().title(title).description(about).datasource(DATASOURCE).interval("1h").no_value(EMPTY)
    panel.unit(PLAIN).span(12).height(9)
    for ref_id, column in zip(string.ascii_uppercase, columns, strict=False):
        target = _target(ref_id, column.expr, "1h").instant().format(prometheus_model.PromQueryFormat.TABLE)
        panel.with_target(target)
        name = f"Value #{ref_id}" if len(columns) > 1 else "Value"
        panel.override_by_name(name, _properties({"displayName": column.heading, "unit": column.unit}))
    for link in links:
        opened = {"title": f"{link.board.replace('-', ' ').capitalize()} of this row", "url": link.url}
        panel.override_by_name(link.field, _properties({"links": [opened]}))
    panel.with_transformation(dashboard_model.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}
    panel.with_transformation(dashboard_model.DataTransformerConfig(id_val="organize", options=hidden))
    if sort_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(desc=True)])
    return panel


def calendar(title: str, hours: list[str], unit: str, about: str) -> heatmap.Panel:
    """A day a column, an hour of the day a row: `hours` are the expressions of its 24 hours, at steps of a day."""
    green_to_red = heatmap.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("RdYlGn")
    panel = (
        heatmap.Panel()
        .title(title)
        .description(about)
        .datasource(DATASOURCE)
        .interval("1d")
        .unit(unit)
        .no_value(EMPTY)
        .calculate(calculate=False)
        .color(green_to_red.reverse(reverse=True).steps(64))
        .cell_gap(1)
        .cell_values(heatmap.CellValues().unit(unit).decimals(0))
        .y_axis(heatmap.YAxisConfig().axis_label("hour of the day").reverse(reverse=True))
        .show_legend()
        .span(GRID_COLUMNS)
        .height(12)
    )
    for number, expr in enumerate(hours):
        target = _target(string.ascii_uppercase[number], expr, "1d").range().legend_format(f"{number:02}")
        panel.with_target(target)
    return panel


def note(title: str, markdown: str, height: int = 3) -> text.Panel:
    """Text across the dashboard."""
    panel = text.Panel().title(title).mode(text_model.TextMode.MARKDOWN).content(markdown)
    return panel.span(GRID_COLUMNS).height(height)


def as_of_now(panel: stat.Panel) -> stat.Panel:
    """`panel` evaluated at the present, not at the end of the range: "This month" ends in the future."""
    return panel.time_from("7d").hide_time_override(hide_time_override=True)
