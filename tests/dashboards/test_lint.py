"""Rules for every panel: those of grafana/dashboard-linter that suit pushed series, and our own for PromQL."""

import itertools
import json
import re
from typing import Any

import pytest

from tests.dashboards import promql
from tests.dashboards.expressions import OVERVIEW, PanelExpression, panel_expressions, panels, substituted

DASHBOARD: dict[str, Any] = json.loads(OVERVIEW.read_text(encoding="utf-8"))
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
PANELS = [panel for panel in panels(DASHBOARD) if panel["type"] != "text"]
EXPRESSIONS = panel_expressions()
# Identifiers of Grafana's unit list that this dashboard may use; `suffix:` takes any text.
UNITS = {"massg", "watth", "kwatth", "joule", "percentunit", "dtdurations", "dateTimeAsIso", "none"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def parsed(expression: PanelExpression) -> str:
    return substituted(expression.expr, 86400, expression.min_step_seconds)


def title(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def test_the_file_can_be_provisioned_and_keeps_its_address() -> None:
    assert (DASHBOARD["uid"], DASHBOARD["id"], DASHBOARD["schemaVersion"]) == ("carbon-etl-overview", None, 41)
    assert DASHBOARD["editable"] is False
    assert DASHBOARD["graphTooltip"] == 1
    assert DASHBOARD["timezone"] == "utc"
    assert DASHBOARD["tags"]
    assert "__inputs" not in DASHBOARD
    assert "${DS_" not in OVERVIEW.read_text(encoding="utf-8")


def test_there_is_one_data_source_variable() -> None:
    [variable] = [v for v in VARIABLES if v["type"] == "datasource"]
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data source", "prometheus")


@pytest.mark.parametrize("name", ["cluster", "namespace"])
def test_a_query_variable_offers_all_and_follows_the_time_range(name: str) -> None:
    [variable] = [v for v in VARIABLES if v["name"] == name]
    assert variable["type"] == "query"
    assert variable["datasource"] == SOURCE
    assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
    assert variable["refresh"] == 2
    match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
    assert match is not None
    assert match[2] == name
    assert promql.unknown_names(f"sum by ({name}) (max_over_time({substituted(match[1], 3600, 3600)}[1h]))") == []


@pytest.mark.parametrize("panel", PANELS, ids=title)
def test_a_panel_is_explained_has_a_unit_and_uses_the_data_source_variable(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 40
    unit = panel["fieldConfig"]["defaults"]["unit"]
    assert unit in UNITS or unit.startswith("suffix:")
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert all(target["datasource"] == SOURCE for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS, ids=title)
def test_no_step_is_shorter_than_an_hour(panel: dict[str, Any]) -> None:
    for interval in (panel["interval"], *(target["interval"] for target in panel["targets"])):
        assert interval in ("1h", "1d")


@pytest.mark.parametrize("panel", PANELS, ids=title)
def test_overrides_name_fields_that_the_queries_give(panel: dict[str, Any]) -> None:
    ref_ids = [target["refId"] for target in panel["targets"]]
    assert all(ref_ids)
    assert len(set(ref_ids)) == len(ref_ids)
    fields = {f"Value #{ref_id}" for ref_id in ref_ids} if len(ref_ids) > 1 else {"Value"}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        assert matcher["options"] in (fields if matcher["id"] == "byName" else ref_ids)
        units = [p["value"] for p in override["properties"] if p["id"] == "unit"]
        assert all(unit in UNITS or unit.startswith("suffix:") for unit in units)


def test_panels_are_numbered_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    ids = [panel["id"] for panel in everything]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    for one, other in itertools.combinations([panel["gridPos"] for panel in everything], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in everything)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_an_expression_reads_windows_and_sums_revisions_first(expression: PanelExpression) -> None:
    expr = parsed(expression)
    assert promql.instant_lookups(expr) == []
    assert promql.revisions_apart(expr) == []
    assert promql.unknown_names(expr) == []
    assert promql.metrics(expr)


@pytest.mark.parametrize("expression", EXPRESSIONS, ids=str)
def test_an_expression_follows_the_range_or_the_step_and_nothing_else_of_grafana(expression: PanelExpression) -> None:
    variables = set(re.findall(r"\$\{?(\w+)", expression.expr))
    assert variables <= {"__range", "__interval", "cluster", "namespace"}
    assert "cluster" in variables
    assert ("__range" in variables) <= expression.instant
    assert ("__interval" in variables) == (not expression.instant)
    assert not promql.functions(parsed(expression)) & {"rate", "irate", "increase", "delta"}
    assert not any(metric.endswith("_total") for metric in promql.metrics(parsed(expression)))


@pytest.mark.parametrize("expression", [e for e in EXPRESSIONS if not e.instant], ids=str)
def test_a_step_is_the_time_that_begins_at_its_point(expression: PanelExpression) -> None:
    assert expression.expr.count("[$__interval]") == expression.expr.count("[$__interval] offset -$__interval")


@pytest.mark.parametrize("panel", PANELS, ids=title)
def test_a_legend_names_labels_that_its_series_have(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        labels = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
        known = set().union(*(promql.SERIES[m] for m in promql.metrics(substituted(target["expr"], 3600, 3600))))
        assert labels <= known - {"revision"}


def test_every_published_amount_is_on_the_dashboard() -> None:
    shown = set().union(*(promql.metrics(parsed(expression)) for expression in EXPRESSIONS))
    assert {name for name in promql.SERIES if not name.startswith("carbon_etl_")} <= shown


@pytest.mark.parametrize(
    ("rule", "expr"),
    [
        (promql.instant_lookups, "time() - carbon_etl_last_success_timestamp_seconds"),
        (promql.instant_lookups, "sum_over_time((carbon_pue_ratio)[1d:1h])"),
        (promql.instant_lookups, "max_over_time(carbon_pue_ratio[1h]) and carbon_pue_ratio"),
        (promql.revisions_apart, "sum(sum_over_time(carbon_emissions_grams[1h]))"),
        (promql.revisions_apart, "sum without (revision) (topk(3, sum_over_time(carbon_emissions_grams[1h])))"),
        (promql.revisions_apart, "sum without (revision) (sum_over_time(carbon_emissions_grams[1h]) > 0)"),
        (promql.revisions_apart, "max without (revision) (sum_over_time(carbon_emissions_grams[1h]))"),
        (promql.revisions_apart, "sum without (revision, kind) (sum_over_time(carbon_emissions_grams[1h]))"),
        (promql.revisions_apart, "sum by (revision) (sum_over_time(carbon_emissions_grams[1h]))"),
        (promql.revisions_apart, "sum_over_time(carbon_quality_energy_joules[1h])"),
        (promql.unknown_names, "max_over_time(carbon_emission_grams[1h])"),
        (promql.unknown_names, "sum by (pod) (max_over_time(carbon_pue_ratio[1h]))"),
        (promql.unknown_names, 'max_over_time(carbon_node_energy_joules{namespace="a"}[1h])'),
    ],
)
def test_the_rules_find_what_they_forbid(rule: Any, expr: str) -> None:  # noqa: ANN401 # one of three rules
    assert rule(expr) != []
