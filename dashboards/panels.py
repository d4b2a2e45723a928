"""The four shapes of panel that the dashboards are made of, with what every panel owes its reader set once."""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as dashboard_model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import text as text_model

DATASOURCE = dashboard_model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_COLUMNS = 24
EMPTY = "no data"

# Identifiers of Grafana's unit list; a text after `suffix:` is shown as it is, unscaled.
GRAM = "massg"
WATT_HOUR = "watth"
KILOWATT_HOUR = "kwatth"
JOULE = "joule"
RATIO = "percentunit"
GRAM_PER_KWH = "suffix: gCO2e/kWh"
DURATION = "dtdurations"
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
    """One family of curves: a range expression, its legend, and whether it is another's view, drawn dashed."""

    expr: str
    legend: str
    dashed: bool = False


def _target(ref_id: str, expr: str, min_step: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().ref_id(ref_id).expr(expr).interval(min_step).datasource(DATASOURCE)
    return query.editor_mode(prometheus_model.QueryEditorMode.CODE)


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
        .span(12)
        .height(9)
    )
    for ref_id, curve in zip("ABCD", curves, strict=False):
        panel.with_target(_target(ref_id, curve.expr, min_step).range().legend_format(curve.legend))
        if curve.dashed:
            dash = {"fill": "dash", "dash": [6, 6]}
            panel.override_by_query(ref_id, [dashboard_model.DynamicConfigValue(id_val="custom.lineStyle", value=dash)])
    return panel


def bars(title: str, curve: Curve, unit: str, about: str, min_step: str = "1h") -> timeseries.Panel:
    """Stacked bars; each stands on the step that begins at its left edge."""
    return (
        trend(title, [curve], unit, about, min_step)
        .draw_style(common_model.GraphDrawStyle.BARS)
        .bar_alignment(common_model.BarAlignment.AFTER)
        .bar_width_factor(1)
        .fill_opacity(80)
        .stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    )


def listing(title: str, columns: list[Column], about: str, sort_by: str = "") -> table.Panel:
    """A table: one row a label set, one column a value; the time of evaluation is hidden."""
    panel = table.Panel().title(title).description(about).datasource(DATASOURCE).interval("1h").no_value(EMPTY)
    panel.unit(PLAIN).span(12).height(9)
    for ref_id, column in zip("ABCD", columns, strict=False):
        target = _target(ref_id, column.expr, "1h").instant().format(prometheus_model.PromQueryFormat.TABLE)
        panel.with_target(target)
        name = f"Value #{ref_id}" if len(columns) > 1 else "Value"
        properties = [
            dashboard_model.DynamicConfigValue(id_val="displayName", value=column.heading),
            dashboard_model.DynamicConfigValue(id_val="unit", value=column.unit),
        ]
        panel.override_by_name(name, properties)
    panel.with_transformation(dashboard_model.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}
    panel.with_transformation(dashboard_model.DataTransformerConfig(id_val="organize", options=hidden))
    if sort_by:
        panel.sort_by([common.TableSortByFieldState().display_name(sort_by).desc(desc=True)])
    return panel


def note(title: str, markdown: str) -> text.Panel:
    """A line of text across the dashboard."""
    return text.Panel().title(title).mode(text_model.TextMode.MARKDOWN).content(markdown).span(GRID_COLUMNS).height(3)


def as_of_now(panel: stat.Panel) -> stat.Panel:
    """`panel` evaluated at the present, not at the end of the range: "This month" ends in the future."""
    return panel.time_from("7d").hide_time_override(hide_time_override=True)
