"""Rules for every panel: those of grafana/dashboard-linter that suit pushed series, and our own for PromQL."""

import itertools
import json
import re
from typing import Any

import pytest

from dashboards.build import BOARDS, document
from dashboards.sections import QUALITY_COLOURS
from pipeline.transforms.selection import QUALITIES
from tests.dashboards import promql
from tests.dashboards.expressions import CHOICES, DASHBOARDS, PanelExpression, panel_expressions, panels, substituted

MODELS: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS}
EXPRESSIONS = {name: [one for one in panel_expressions() if one.board == name] for name in MODELS}
# Identifiers of Grafana's unit list that the dashboards may use; `suffix:` takes any text.
UNITS = {"massg", "watt", "watth", "kwatth", "joule", "percentunit", "s", "dateTimeAsIso", "none"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
PUBLISHED_LABELS = {name: labels - {"revision"} for name, labels in promql.SERIES.items()}
every_dashboard = pytest.mark.parametrize("name", MODELS)


def drawn(name: str) -> list[dict[str, Any]]:
    """The panels of a dashboard that ask for something."""
    return [panel for panel in panels(MODELS[name]) if panel["type"] != "text"]


def parsed(expression: PanelExpression) -> str:
    return substituted(expression.expr, 86400, expression.min_step_seconds)


def test_the_committed_files_are_what_building_gives() -> None:
    assert {path.stem: path.read_text(encoding="utf-8") for path in DASHBOARDS} == {
        name: document(board()) for name, board in BOARDS.items()
    }


@every_dashboard
def test_the_file_can_be_provisioned_and_keeps_its_address(name: str) -> None:
    model = MODELS[name]
    assert (model["uid"], model["id"], model["schemaVersion"]) == (f"carbon-etl-{name.replace('_', '-')}", None, 41)
    assert model["editable"] is False
    assert model["graphTooltip"] == 1
    assert model["timezone"] == "utc"
    assert {"carbon-etl", "carbon"} <= set(model["tags"])
    assert "__inputs" not in model
    assert "${DS_" not in json.dumps(model)


@every_dashboard
def test_the_others_are_one_click_away_with_range_and_choice(name: str) -> None:
    [link] = MODELS[name]["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards", ["carbon-etl"], True, True,
    )  # fmt: skip


@every_dashboard
def test_there_is_one_data_source_variable(name: str) -> None:
    [variable] = [v for v in MODELS[name]["templating"]["list"] if v["type"] == "datasource"]
    assert (variable["name"], variable["label"], variable["query"]) == ("datasource", "Data source", "prometheus")


@every_dashboard
def test_query_variables_offer_all_and_follow_the_time_range(name: str) -> None:
    for variable in [v for v in MODELS[name]["templating"]["list"] if v["type"] == "query"]:
        assert variable["datasource"] == SOURCE
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".+")
        assert variable["refresh"] == 2
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert match is not None
        assert match[2] == variable["name"]
        asked = f"sum by ({match[2]}) (max_over_time({substituted(match[1], 3600, 3600)}[1h]))"
        assert promql.unknown_names(asked) == []


@every_dashboard
def test_a_variable_is_used_and_one_that_is_used_is_there(name: str) -> None:
    there = [variable["name"] for variable in MODELS[name]["templating"]["list"]]
    assert len(set(there)) == len(there)
    panel_texts = json.dumps(MODELS[name]["panels"])
    used = set(re.findall(r"\$\{?([a-z]\w*)", panel_texts)) - {"datasource"}
    assert {"datasource"} | used == set(there)


@every_dashboard
def test_each_says_how_far_its_data_reach_and_what_is_unpublished(name: str) -> None:
    titles = [panel["title"] for panel in panels(MODELS[name])]
    assert len(set(titles)) == len(titles)
    assert {"Data in the range", "Unpublished hours"} <= set(titles)


@every_dashboard
def test_links_lead_to_a_dashboard_and_choose_what_it_has(name: str) -> None:
    by_address = {model["uid"]: model for model in MODELS.values()}
    for panel in drawn(name):
        overrides = [p for override in panel["fieldConfig"]["overrides"] for p in override["properties"]]
        for link in [link for p in overrides if p["id"] == "links" for link in p["value"]]:
            match = re.fullmatch(r"/d/([\w-]+)\?(.+)", link["url"])
            assert match is not None
            there = {variable["name"] for variable in by_address[match[1]]["templating"]["list"]}
            chosen = dict(re.findall(r"var-(\w+)=\$\{__data\.fields\.(\w+):percentencode\}", match[2]))
            assert chosen
            assert all(variable == field for variable, field in chosen.items())
            assert set(chosen) <= there
            assert all(set(chosen) <= grouped(target["expr"]) for target in panel["targets"])


def grouped(expr: str) -> set[str]:
    """Labels that the answer's series keep."""
    return set(re.split(r",\s*", re.findall(r"by \(([\w, ]+)\)", expr)[0]))


@every_dashboard
def test_panels_are_explained_have_a_unit_and_use_the_data_source_variable(name: str) -> None:
    for panel in drawn(name):
        assert panel["title"]
        assert len(panel["description"]) > 40
        series = set().union(*(promql.metrics(substituted(t["expr"], 3600, 3600)) for t in panel["targets"]))
        assert any(metric in panel["description"] for metric in series) or not series, panel["title"]
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in UNITS or unit.startswith("suffix:")
        assert panel["datasource"] == SOURCE
        assert panel["targets"]
        assert all(target["datasource"] == SOURCE for target in panel["targets"])


@every_dashboard
def test_no_step_is_shorter_than_an_hour(name: str) -> None:
    intervals = {i for panel in drawn(name) for i in (panel["interval"], *(t["interval"] for t in panel["targets"]))}
    assert intervals <= {"1h", "1d"}


@every_dashboard
def test_overrides_name_fields_that_the_queries_give(name: str) -> None:
    for panel in drawn(name):
        ref_ids = [target["refId"] for target in panel["targets"]]
        assert all(ref_ids)
        assert len(set(ref_ids)) == len(ref_ids)
        fields = {f"Value #{ref_id}" for ref_id in ref_ids} if len(ref_ids) > 1 else {"Value"}
        fields |= set().union(*(grouped(target["expr"]) for target in panel["targets"] if panel["type"] == "table"))
        values = {"workload", "system", "idle", *QUALITIES, *(t.get("legendFormat") for t in panel["targets"])}
        fields |= values if panel["type"] == "timeseries" else set()
        for override in panel["fieldConfig"]["overrides"]:
            matcher = override["matcher"]
            assert matcher["options"] in (fields if matcher["id"] == "byName" else ref_ids)
            units = [p["value"] for p in override["properties"] if p["id"] == "unit"]
            assert all(unit in UNITS or unit.startswith("suffix:") for unit in units)


@every_dashboard
def test_panels_are_numbered_and_do_not_overlap(name: str) -> None:
    everything = MODELS[name]["panels"]
    ids = [panel["id"] for panel in everything]
    assert all(ids)
    assert len(set(ids)) == len(ids)
    for one, other in itertools.combinations([panel["gridPos"] for panel in everything], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in everything)


@every_dashboard
def test_expressions_read_windows_and_sum_revisions_first(name: str) -> None:
    for expression in EXPRESSIONS[name]:
        expr = parsed(expression)
        offences = promql.instant_lookups(expr), promql.revisions_apart(expr), promql.unknown_names(expr)
        assert offences == ([], [], []), str(expression)
        assert promql.metrics(expr) or "budget_kg" in expression.expr


@every_dashboard
def test_expressions_follow_the_range_or_the_step_and_nothing_else_of_grafana(name: str) -> None:
    for expression in EXPRESSIONS[name]:
        variables = set(re.findall(r"\$\{?([A-Za-z_]\w*)", expression.expr))
        assert variables <= {"__range", "__interval", *CHOICES}
        assert variables & {"cluster", "budget_kg"}
        assert expression.instant or "$__range" not in expression.expr.replace("[$__range] @ end()", "")
        is_of_hours = expression.panel_type == "heatmap"
        assert ("__interval" in variables) == (not expression.instant and not is_of_hours)
        assert not promql.functions(parsed(expression)) & {"rate", "irate", "increase", "delta"}
        assert not any(metric.endswith("_total") for metric in promql.metrics(parsed(expression)))


@every_dashboard
def test_a_step_is_the_time_that_begins_at_its_point(name: str) -> None:
    for expression in EXPRESSIONS[name]:
        assert all(re.findall(r"\[\$__interval[^]]*\]( offset -\$__interval)?", expression.expr)), str(expression)


@every_dashboard
def test_legends_name_labels_that_their_series_have(name: str) -> None:
    for target in [target for panel in drawn(name) for target in panel["targets"]]:
        labels = set(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
        metrics = promql.metrics(substituted(target["expr"], 3600, 3600))
        known = set().union(*(PUBLISHED_LABELS[metric] for metric in metrics))
        assert labels <= known | ({"team"} if "by (team)" in target["expr"] else set())


@every_dashboard
def test_the_documentation_names_its_file_address_and_variables(name: str) -> None:
    page = (DASHBOARDS[0].parents[1] / "docs" / "dashboards.md").read_text(encoding="utf-8")
    [row] = [line for line in page.splitlines() if line.startswith("| ") and f"`{name}.json`" in line]
    title, address, _, variables = (cell.strip() for cell in row.strip("|").split("|"))
    model = MODELS[name]
    assert (title, address) == (model["title"], f"`{name}.json`, `/d/{model['uid']}`")
    choices = [v["name"].removesuffix("_kg") for v in model["templating"]["list"] if v["name"] != "datasource"]
    assert variables.split(", ") == choices


def test_every_quality_has_a_colour_and_no_two_the_same() -> None:
    assert tuple(QUALITY_COLOURS) == QUALITIES
    assert len(set(QUALITY_COLOURS.values())) == len(QUALITIES)


def test_every_published_series_is_on_a_dashboard() -> None:
    shown = (promql.metrics(parsed(expression)) for expression in itertools.chain(*EXPRESSIONS.values()))
    assert set().union(*shown) == set(promql.SERIES)


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
