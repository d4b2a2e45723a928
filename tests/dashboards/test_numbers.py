"""What panels show on real stores that the pipeline has filled, against DuckDB over the same warehouse."""

import json
import math
import re
from datetime import UTC, datetime

import pytest

from tests.dashboards.answers import EXPRESSIONS, PRESETS, ask, column
from tests.dashboards.expressions import DASHBOARDS, DAY, HOUR, TimeRange, panels
from tests.dashboards.store import KINDS, Site

pytestmark = pytest.mark.real
WHEN = "hour_utc >= $start and hour_utc < $end"
PLACE = "coalesce(namespace, '(' || kind || ')')"
GRAMS, KWH, FACILITY_KWH = "sum(emissions_gco2e)", "sum(energy_joules) / 3.6e6", "sum(facility_energy_kwh)"
HAS_GRAMS = "filter (emissions_gco2e is not null)"
INTENSITY = f"{GRAMS} / {FACILITY_KWH} {HAS_GRAMS}"


def emissions(columns: str, where: str = "true") -> str:
    """Labels by name, then the value; no row where the value is null."""
    return f"select {columns} from emissions where {WHEN} and {where} group by all"


def nodes(columns: str) -> str:
    return f"select {columns} from node_energy where {WHEN} group by all"


def steady(columns: str) -> str:
    """Programs of at least nine tenths of the hours of their cluster."""
    return f"""
        with used as (
            select cluster, exe, node, hour_utc, sum(energy_joules) as joules
            from processes where {WHEN} group by all
        ), steady as (
            from used where exe <> '(other)'
            qualify count(*) over (partition by cluster, exe, node)
                >= 0.9 * (select count(distinct hour_utc) from emissions where {WHEN})
        )
        {columns}"""


def programs(columns: str) -> str:
    return f"select {columns} from processes where {WHEN} group by all"


OF_WORKLOAD = f"""
    cluster, {PLACE} as namespace, coalesce(workload, '(' || kind || ')') as workload,
    coalesce(workload_kind, '(' || kind || ')') as workload_kind"""
STEADY = "processes/Steady burners, program by program"
OF_PROGRAM = "select cluster, exe, node,"
BY_HOUR = emissions(f"cluster, hour_utc, {INTENSITY} as g_per_kwh")
TOTALS = {
    board: emissions(GRAMS) for board in ("overview/Emissions/A", "namespaces/Emissions/A", "workload/Emissions/A")
}
COLUMNS = TOTALS | {
    "overview/Facility energy/A": emissions(f"{FACILITY_KWH} * 1000"),
    "overview/IT energy/A": emissions(f"{KWH} * 1000"),
    "overview/Grid intensity/A": emissions(INTENSITY),
    "overview/Clusters/A": emissions(f"cluster, {GRAMS}"),
    "overview/Clusters/C": emissions(f"cluster, {FACILITY_KWH}"),
    "overview/Clusters/D": emissions(f"cluster, {GRAMS} / sum({GRAMS}) over ()"),
    "overview/Top workloads/A": emissions(f"{OF_WORKLOAD}, {GRAMS}", "kind = 'workload'"),
    "namespaces/Chargeback by namespace/A": emissions(f"cluster, {PLACE}, {GRAMS}"),
    "namespaces/Chargeback by namespace/B": emissions(f"cluster, {PLACE}, {GRAMS} / sum({GRAMS}) over ()"),
    "namespaces/Chargeback by namespace/D": emissions(f"cluster, {PLACE}, {FACILITY_KWH}"),
    "namespaces/Chargeback by namespace/E": emissions(f"cluster, {PLACE}, {KWH}"),
    "namespaces/Teams/A": emissions(f"{PLACE}, {GRAMS}"),
    "namespaces/Teams/D": emissions(f"{PLACE}, {KWH}"),
    "namespaces/Namespaces/A": emissions("count(distinct (cluster, namespace))", "kind = 'workload'"),
    "workload/Workloads/A": emissions(f"{OF_WORKLOAD}, {GRAMS}"),
    "workload/Workloads/B": emissions(f"{OF_WORKLOAD}, {FACILITY_KWH}"),
    "workload/Workloads/C": emissions(f"{OF_WORKLOAD}, {KWH}"),
    "workload/By kind and component/A": emissions(f"component, kind, {GRAMS}"),
    "nodes/Metered energy/A": nodes("sum(metered_joules) / 3600"),
    "nodes/Booked energy/A": emissions("sum(energy_joules) / 3600"),
    "nodes/Residual/A": nodes("round(sum(residual_joules), 3)"),
    "nodes/Not accounted for/A": nodes("sum(metered_joules - workload_joules - system_joules - idle_joules "
                                       "- coalesce(residual_joules, 0))"),
    "nodes/Coverage/A": nodes("sum(coverage_ratio) / sum(expected_ratio)"),
    "nodes/Idle share/A": nodes("sum(idle_joules) / sum(workload_joules + system_joules + idle_joules)"),
    "nodes/Nodes/A": nodes("cluster, node, sum(metered_joules) / 3.6e6"),
    "nodes/Nodes/B": nodes("cluster, node, sum(workload_joules) / 3.6e6"),
    "nodes/Nodes/C": nodes("cluster, node, sum(system_joules) / 3.6e6"),
    "nodes/Nodes/D": nodes("cluster, node, sum(idle_joules) / 3.6e6"),
    "nodes/Nodes/E": nodes("cluster, node, round(sum(residual_joules), 3)"),
    "nodes/Nodes/F": nodes("cluster, node, sum(coverage_ratio) / sum(expected_ratio)"),
    "nodes/Nodes/G": emissions(f"cluster, node, {GRAMS}"),
    "nodes/Accounting meters/A": nodes("cluster, component, meter, node, sum(metered_joules) / 3.6e6"),
    "nodes/Accounting meters/B": nodes("cluster, component, meter, node, count(*)"),
    "processes/Energy of programs/A": programs("sum(energy_joules) / 3600"),
    "processes/Steady burners/A": steady("select count(distinct (cluster, exe, node)) from steady"),
    "processes/Energy of steady burners/A": steady(
        "select (select sum(joules) from steady) / (select sum(joules) from used)"
    ),
    f"{STEADY}/A": steady(f"{OF_PROGRAM} count(*) from steady group by all"),
    f"{STEADY}/B": steady(f"{OF_PROGRAM} min(joules) / 3600 from steady group by all"),
    f"{STEADY}/C": steady(f"{OF_PROGRAM} avg(joules) / 3600 from steady group by all"),
    f"{STEADY}/D": steady(f"{OF_PROGRAM} sum(joules) / 3.6e6 from steady group by all"),
    "processes/Programs by energy/A": programs(f"cluster, exe, {KWH}"),
    "processes/Programs by energy/B": programs("cluster, exe, count(distinct node)"),
    "grid/Clusters/A": emissions(f"cluster, {INTENSITY}"),
    "grid/Clusters/B": f"select cluster, min(g_per_kwh) from ({BY_HOUR}) group by all",
    "grid/Clusters/C": f"select cluster, max(g_per_kwh) from ({BY_HOUR}) group by all",
    "grid/Energy by quality/A": emissions(f"cluster, intensity_quality, {KWH}"),
    "pipeline_health/Restated/A": f"""
        select coalesce(sum(new_emissions_gco2e - old_emissions_gco2e), 0) from revisions
        where {WHEN} and revision > 0""",
}  # fmt: skip
# Range queries: the labels, the hour, the value.
BARS = {
    "overview/Emissions per hour/A": emissions(f"{PLACE}, hour_utc, {GRAMS}"),
    "workload/Emissions per hour/A": emissions(f"{OF_WORKLOAD}, hour_utc, {GRAMS}"),
    "workload/IT energy per hour/A": emissions(f"component, kind, hour_utc, {KWH}"),
    "nodes/Metered = workloads + system + idle + residual/A": emissions(f"kind, hour_utc, {KWH}"),
    "nodes/Metered = workloads + system + idle + residual/B": nodes("hour_utc, sum(residual_joules) / 3.6e6"),
    "nodes/Metered = workloads + system + idle + residual/C": nodes("hour_utc, sum(metered_joules) / 3.6e6"),
    "nodes/Coverage over time/A": nodes("cluster, node, hour_utc, sum(coverage_ratio) / sum(expected_ratio)"),
    "nodes/Emissions per hour by node/A": emissions(f"cluster, node, hour_utc, {GRAMS}"),
    "grid/Average beside marginal/B": f"""
        select cluster, factor_type, provider, 'marginal', zone, hour_utc, any_value(marginal_intensity_g_per_kwh)
        from emissions_marginal where {WHEN} group by all""",
    "processes/Energy per hour by program/A": programs(f"exe, hour_utc, {KWH}"),
}


def same(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-9)


def of_warehouse(site: Site, query: str, chosen: TimeRange) -> dict[tuple[object, ...], object]:
    return {row[:-1]: same(row[-1]) for row in site.rows(query, chosen) if row[-1] is not None}


@pytest.mark.parametrize("preset", PRESETS)
def test_figures_and_tables_are_what_duckdb_says_of_the_range(site: Site, preset: str) -> None:
    for name, query in COLUMNS.items():
        expected = of_warehouse(site, query, PRESETS[preset])
        assert column(site.stores["prometheus"], name, PRESETS[preset]) == expected, name
        assert expected, name


def test_another_kind_of_store_shows_the_same(site: Site) -> None:
    chosen = PRESETS["yesterday"]
    for name in COLUMNS:
        first, other = (column(site.stores[kind], name, chosen) for kind in KINDS)
        assert first == {key: same(value) for key, value in other.items()}, name


def test_bars_are_what_duckdb_says_of_each_hour(site: Site) -> None:
    chosen = PRESETS["yesterday"]
    for name, query in BARS.items():
        expected = of_warehouse(site, query, chosen)
        shown = {
            (*(value for _, value in sorted(labels.items())), datetime.fromtimestamp(stamp, UTC)): value
            for labels, points in ask(site.stores["prometheus"], EXPRESSIONS[name], chosen)
            for stamp, value in points
        }
        assert shown == expected, name


def test_the_calendar_has_each_hour_of_each_day_where_it_belongs(site: Site) -> None:
    chosen = TimeRange.between("2025-03-10T00:00Z", "2025-03-11T23:59:59.999Z")
    expected = of_warehouse(site, emissions(f"hour_utc, {INTENSITY}"), chosen)
    shown = {}
    for number in range(24):
        expression = EXPRESSIONS[f"grid/Greenest and dirtiest hours/{chr(ord('A') + number)}"]
        [(_, points)] = ask(site.stores["prometheus"], expression, chosen, DAY)
        shown |= {(datetime.fromtimestamp(stamp + number * HOUR, UTC),): value for stamp, value in points}
    assert shown == expected
    assert len(shown) == 48


@pytest.mark.parametrize("kind", KINDS)
def test_each_expression_returns_finite_data_at_steps_of_hours_and_days(site: Site, kind: str) -> None:
    asked = {(one.expr, one.instant): one for one in EXPRESSIONS.values()}
    for expression in asked.values():
        for step in (HOUR,) if expression.instant else (HOUR, DAY):
            answer = ask(site.stores[kind], expression, PRESETS["yesterday"], step)
            assert answer, str(expression)
            values = [value for _, points in answer for _, value in points]
            assert all(math.isfinite(value) for value in values), str(expression)


def test_the_budget_of_a_month_is_all_of_it_and_that_of_a_day_its_part(site: Site) -> None:
    def budget(preset: str) -> float:
        shown = column(site.stores["prometheus"], "overview/Budget of the range/A", PRESETS[preset], budget_kg="62")
        return shown[()]

    assert budget("this month") == same(62_000)
    assert budget("yesterday") == same(2_000)
    used = column(site.stores["prometheus"], "overview/Budget used/A", PRESETS["yesterday"], budget_kg="62")
    assert used == {(): same(site.rows(TOTALS["overview/Emissions/A"], PRESETS["yesterday"])[0][0] / 2_000)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_budget_of_each_day_and_hour_counts_every_hour_once(site: Site, kind: str) -> None:
    turn_of_month = TimeRange.between("2025-02-27T00:00Z", "2025-03-02T23:59:59.999Z")
    of_february, of_march = 28_000 / 28, 28_000 / 31
    expression = EXPRESSIONS["overview/Emissions per day/C"]
    [(_, days)] = ask(site.stores[kind], expression, turn_of_month, DAY, budget_kg="28")
    assert [value for _, value in days] == [same(value) for value in (of_february, of_february, of_march, of_march)]


def test_no_budget_draws_nothing(site: Site) -> None:
    for name in ("overview/Budget of the range/A", "overview/Budget used/A", "overview/Emissions per day/C"):
        assert ask(site.stores["prometheus"], EXPRESSIONS[name], PRESETS["yesterday"], budget_kg="0") == []


def test_what_is_chosen_limits_what_is_shown(site: Site) -> None:
    chosen, store = PRESETS["yesterday"], site.stores["prometheus"]
    for name, choices, where in (
        ("namespaces/Emissions/A", {"team": "shop|batch"}, "namespace in ('shop', 'batch')"),
        ("workload/Emissions/A", {"workload": "(web|db)", "cluster": "alpha"},
         "workload in ('web', 'db') and cluster = 'alpha'"),
        ("nodes/Booked energy/A", {"node": "beta-1"}, "node = 'beta-1'"),
    ):  # fmt: skip
        query = emissions("sum(energy_joules) / 3600" if "Booked" in name else GRAMS, where)
        assert column(store, name, chosen, **choices) == of_warehouse(site, query, chosen), name


def commands(board: str, chosen: TimeRange, **choices: str) -> list[str]:
    """The SQL of a dashboard's text panels, as Grafana fills it in."""
    [path] = [path for path in DASHBOARDS if path.stem == board]
    texts = [p["options"]["content"] for p in panels(json.loads(path.read_text())) if p["type"] == "text"]
    edges = {"__from": chosen.start_ms, "__to": chosen.end_ms}
    times = {name: datetime.fromtimestamp(ms / 1000, UTC).isoformat() for name, ms in edges.items()}
    found = re.findall(r"```sql\n(.+?);\n```", "\n".join(texts), re.DOTALL)
    return [re.sub(r"\$\{(\w+):[\w:]+\}", lambda match: (times | choices).get(match[1], ".+"), text) for text in found]


@pytest.mark.parametrize(("board", "total"), [("workload", emissions(GRAMS)), ("processes", None)])
def test_the_commands_in_text_panels_run_and_add_up_to_the_panels(site: Site, board: str, total: str | None) -> None:
    chosen = PRESETS["yesterday in Kolkata"]
    [query] = commands(board, chosen)
    relation = site.views.sql(query)
    rows, names = relation.fetchall(), relation.columns
    value = "emissions_gco2e" if total else "energy_kwh"
    [[expected]] = site.rows(total or programs(KWH), chosen)
    assert math.fsum(row[names.index(value)] or 0.0 for row in rows) == same(expected)
    assert {"pod", "container"} <= set(names) or "cmdline" in names
