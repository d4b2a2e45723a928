"""Nodes: what the meters counted, taken apart without a rest, and how much of the time they counted."""

from grafana_foundation_sdk.builders import dashboard, stat, table, timeseries

from dashboards import sections
from dashboards.amounts import (
    COVERED_SECONDS,
    EXPECTED_SECONDS,
    HOUR,
    JOULES_PER_WH,
    METERED_JOULES,
    NODE_GRAMS,
    NODE_JOULES,
    RANGE,
    RESIDUAL_JOULES,
    STEP,
    Choice,
    each_hour,
    kwh,
    zero_where,
)
from dashboards.frame import choose, frame, reach
from dashboards.panels import (
    GRAM,
    JOULE,
    KILOWATT_HOUR,
    PLAIN,
    RATIO,
    WATT_HOUR,
    Column,
    Curve,
    Link,
    Panel,
    bars,
    coloured,
    figure,
    listing,
    trend,
)

OF = Choice(("node",))
NODE = "cluster, node"
PART = "cluster, node, component"
MILLIJOULE = "0.001"  # below it are the roundings of sums
SINCE = "Hours published before the store was sent carbon_node_metered_joules are not in it."


def board() -> dashboard.Dashboard:
    """The proof that metered = workloads + system + idle + residual, node by node."""
    variables = choose("cluster", NODE_JOULES), choose("node", NODE_JOULES, ("cluster",))
    about = "What each node's meter counted, taken apart: workloads, system, idle and residual; and its coverage."
    made = frame("nodes", "Carbon: nodes", about, variables)
    for panel in (*_figures(), *reach(OF)):
        made.with_panel(panel)
    made.with_row(dashboard.Row("The proof")).with_panel(_proof().span(24).height(10))
    made.with_panel(_nodes().span(24))
    made.with_row(dashboard.Row("Meters")).with_panel(_coverage()).with_panel(_meters())
    made.with_row(dashboard.Row("Grams")).with_panel(_grams()).with_panel(_residual())
    return made


def _unaccounted() -> str:
    """Metered less everything it was booked as, of the hours in which the meter's figure is known."""
    metered, booked, residual = (
        f"sum by ({PART}) ({OF.amount(series, HOUR)})" for series in (METERED_JOULES, NODE_JOULES, RESIDUAL_JOULES)
    )
    rest = each_hour("sum_over_time", f"sum({metered} - {booked} - ({zero_where(residual, metered)}))")
    return f"round({rest}, {MILLIJOULE})"


def _coverage_of(window: str, by: str = "") -> str:
    covered, expected = (f"sum{by}({OF.amount(s, window)})" for s in (COVERED_SECONDS, EXPECTED_SECONDS))
    return f"{covered} / ({expected} > 0)"


def _figures() -> list[stat.Panel]:
    metered, booked = OF.amount(METERED_JOULES, RANGE), OF.amount(NODE_JOULES, RANGE)
    idle = OF.amount(NODE_JOULES, RANGE, where='kind="idle"')
    residual = f"round(sum({OF.amount(RESIDUAL_JOULES, RANGE)}), {MILLIJOULE})"
    return [
        figure(
            "Metered energy", f"sum({metered}) / {JOULES_PER_WH}", WATT_HOUR,
            f"Sum of carbon_node_metered_joules in the range: what the accounting meters counted. {SINCE}",
        ),
        figure(
            "Booked energy", f"sum({booked}) / {JOULES_PER_WH}", WATT_HOUR,
            "Sum of carbon_node_energy_joules in the range: workloads + system + idle.",
        ),
        figure(
            "Residual", zero_where(residual, f"sum({metered})"), JOULE,
            "Sum of carbon_node_residual_joules: metered - workloads - system - idle where the meter gives a system "
            "share of its own; elsewhere system is the remainder and nothing is left. Signed.",
        ),
        figure(
            "Not accounted for", _unaccounted(), JOULE,
            "carbon_node_metered_joules - carbon_node_energy_joules - carbon_node_residual_joules, hour by hour, to "
            f"the millijoule, below which sums are rounded. {SINCE}",
            warn_above=(1, 1000),
        ).decimals(1),
        figure(
            "Coverage", _coverage_of(RANGE), RATIO,
            "Sum of carbon_node_covered_seconds / sum of carbon_node_expected_seconds: how much of the time in which "
            "the nodes existed their meters' samples cover.",
        ).decimals(2),
        figure(
            "Idle share", f"sum({idle}) / sum({booked})", RATIO,
            "carbon_node_energy_joules of kind idle / of all kinds: drawn by nodes doing nothing.",
        ).decimals(1),
    ]  # fmt: skip


def _proof() -> timeseries.Panel:
    curves = [
        Curve(kwh(f"sum by (kind) ({OF.amount(NODE_JOULES, STEP)})"), "{{kind}}"),
        Curve(kwh(f"sum({OF.amount(RESIDUAL_JOULES, STEP)})"), "residual"),
        Curve(kwh(f"sum({OF.amount(METERED_JOULES, STEP)})"), "metered", dashed=True),
    ]
    about = (
        "Stacked: carbon_node_energy_joules / 3.6e6 by kind, and carbon_node_residual_joules / 3.6e6. Dashed: "
        f"carbon_node_metered_joules / 3.6e6: it lies on top of the stack. {SINCE} {sections.PER_HOUR}"
    )
    colours = {"workload": "blue", "system": "purple", "idle": "light-orange", "residual": "red", "metered": "text"}
    return coloured(bars("Metered = workloads + system + idle + residual", curves, KILOWATT_HOUR, about), colours)


def _nodes() -> table.Panel:
    def of_kind(kind: str) -> str:
        where = f'kind="{kind}"'
        return kwh(f"sum by ({NODE}) ({OF.amount(NODE_JOULES, RANGE, where)})")

    columns = [
        Column("Metered", kwh(f"sum by ({NODE}) ({OF.amount(METERED_JOULES, RANGE)})"), KILOWATT_HOUR),
        *(Column(name, of_kind(kind), KILOWATT_HOUR) for kind, name in KINDS.items()),
        Column("Residual", f"round(sum by ({NODE}) ({OF.amount(RESIDUAL_JOULES, RANGE)}), {MILLIJOULE})", JOULE),
        Column("Coverage", _coverage_of(RANGE, f" by ({NODE}) "), RATIO),
        Column("Emissions", f"sum by ({NODE}) ({OF.amount(NODE_GRAMS, RANGE)})", GRAM),
    ]
    about = (
        "By node: carbon_node_metered_joules, carbon_node_energy_joules by kind (/ 3.6e6), carbon_node_residual_joules "
        "(empty where the meter leaves system as the remainder), covered / expected seconds, and "
        "carbon_node_emissions_grams. Click a node for its processes."
    )
    return listing("Nodes", columns, about, "Metered", (Link("node", "processes", ("cluster", "node")),))


KINDS = {"workload": "Workloads", "system": "System", "idle": "Idle"}


def _coverage() -> Panel:
    curve = Curve(_coverage_of(STEP, f" by ({NODE}) "), "{{node}} ({{cluster}})")
    about = (
        "carbon_node_covered_seconds / carbon_node_expected_seconds of the step, a node, all its components alike. "
        "Below 99 % is a hole: energy that was not metered and is in no total."
    )
    return trend("Coverage over time", [curve], RATIO, about).min(0).max(1)


def _meters() -> table.Panel:
    by = f"{PART}, meter"
    metered = f"sum by ({by}) ({OF.amount(METERED_JOULES, HOUR)}) > 0"
    columns = [
        Column("Energy", kwh(f"(sum by ({by}) ({OF.amount(METERED_JOULES, RANGE)}) > 0)"), KILOWATT_HOUR),
        Column("Hours", each_hour("count_over_time", metered), PLAIN),
    ]
    about = (
        "Which meter accounted for which component of a node: carbon_node_metered_joules / 3.6e6 by its label meter, "
        "and in how many published hours it counted anything. Others that were compared with it: table node_energy, "
        "column cross_meter."
    )
    return listing("Accounting meters", columns, about)


def _grams() -> timeseries.Panel:
    curves = sections.largest(OF, NODE_GRAMS, NODE, "{{node}} ({{cluster}})")
    about = f"Sum of carbon_node_emissions_grams by node, idle included. {sections.OTHERS} {sections.PER_HOUR}"
    return bars("Emissions per hour by node", curves, GRAM, about)


def _residual() -> timeseries.Panel:
    curve = Curve(f"sum by ({NODE}) ({OF.amount(RESIDUAL_JOULES, STEP)})", "{{node}} ({{cluster}})")
    about = (
        "Sum of carbon_node_residual_joules of the step by node: metered - workloads - system - idle, signed, at most "
        "5 % of the active energy of an hour. None where the meter leaves system as the remainder."
    )
    return trend("Residual over time", [curve], JOULE, about)
