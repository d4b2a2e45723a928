"""What a shipped PromQL expression must not do, read from its syntax tree. A rule returns the offences."""

from collections.abc import Iterator
from typing import Any

import promql_parser as parser

WORKLOAD = {"cluster", "namespace", "workload_kind", "workload", "component", "kind", "revision"}
NODE = {"cluster", "node", "component", "kind", "revision"}
METERED = {"cluster", "node", "component", "revision"}
RUN = {"cluster"}
# The series that are published, with their labels: design section 8.
SERIES: dict[str, set[str]] = {
    "carbon_emissions_grams": WORKLOAD,
    "carbon_energy_joules": WORKLOAD,
    "carbon_facility_energy_joules": WORKLOAD,
    "carbon_node_emissions_grams": NODE,
    "carbon_node_energy_joules": NODE,
    "carbon_node_metered_joules": METERED | {"meter"},
    "carbon_node_residual_joules": METERED,
    "carbon_node_covered_seconds": METERED,
    "carbon_node_expected_seconds": METERED,
    "carbon_process_energy_joules": {"cluster", "exe", "node", "revision"},
    "carbon_quality_energy_joules": {"cluster", "intensity_quality", "revision"},
    "carbon_grid_intensity_grams_per_kwh": {"cluster", "zone", "provider", "signal", "factor_type"},
    "carbon_pue_ratio": {"cluster"},
    "carbon_etl_last_success_timestamp_seconds": RUN,
    "carbon_etl_run_seconds": RUN,
    "carbon_etl_rows": RUN,
    "carbon_etl_check_failed": RUN | {"check"},
    "carbon_etl_residual_joules": RUN,
    "carbon_etl_unpublished_hours": RUN,
}


def _nodes(expr: str) -> Iterator[tuple[Any, list[Any]]]:
    """Every node of the tree with its ancestors, the nearest last."""
    found: list[tuple[Any, list[Any]]] = []
    path: list[Any] = []

    def enter(node: Any) -> None:  # noqa: ANN401 # the parser's nodes share no base with attributes
        found.append((node, list(path)))
        path.append(node)

    def leave(_: Any) -> None:  # noqa: ANN401 # as above
        path.pop()

    parser.walk(parser.parse(expr), enter, leave)
    yield from found


def instant_lookups(expr: str) -> list[str]:
    """Selectors without a window: they see an hourly sample, published late, never."""
    return [
        str(node.name)
        for node, path in _nodes(expr)
        if isinstance(node, parser.VectorSelector) and not (path and isinstance(path[-1], parser.MatrixSelector))
    ]


def _sums_revisions(path: list[Any]) -> bool:
    """Whether `path` ends in `sum without (revision) (..._over_time(`."""
    if len(path) < 2 or not isinstance(path[-1], parser.Call) or not isinstance(path[-2], parser.AggregateExpr):
        return False
    modifier = path[-2].modifier
    return (
        path[-1].func.name.endswith("_over_time")
        and str(path[-2].op) == "sum"
        and modifier is not None
        and modifier.type == parser.AggModifierType.Without
        and modifier.labels == ["revision"]
    )


def revisions_apart(expr: str) -> list[str]:
    """Revised series whose entries are not summed first: anything else sees a correction as an amount of its own."""
    return [
        str(node.vector_selector.name)
        for node, path in _nodes(expr)
        if isinstance(node, parser.MatrixSelector)
        and "revision" in SERIES.get(str(node.vector_selector.name), set())
        and not _sums_revisions(path)
    ]


def unknown_names(expr: str) -> list[str]:
    """Metrics that are not published, and labels that a metric does not have."""
    offences = []
    for node, path in _nodes(expr):
        if not isinstance(node, parser.VectorSelector):
            continue
        if node.name is None or node.name not in SERIES:
            offences.append(str(node.name))
            continue
        used = {matcher.name for matcher in node.matchers.matchers}
        used |= {label for ancestor in path for label in _grouping(ancestor)}
        made = {str(call.args[1].val) for call in path if _relabels(call)}
        offences += [f"{node.name}{{{label}}}" for label in sorted(used - SERIES[node.name] - made)]
    return offences


def _relabels(node: Any) -> bool:  # noqa: ANN401 # as above
    return isinstance(node, parser.Call) and node.func.name == "label_replace"


def _grouping(node: Any) -> list[str]:  # noqa: ANN401 # as above
    if isinstance(node, parser.AggregateExpr) and node.modifier is not None:
        return list(node.modifier.labels)
    if isinstance(node, parser.BinaryExpr) and node.modifier is not None and node.modifier.matching is not None:
        return list(node.modifier.matching.labels)
    return []


def functions(expr: str) -> set[str]:
    """Names of the functions called."""
    return {node.func.name for node, _ in _nodes(expr) if isinstance(node, parser.Call)}


def metrics(expr: str) -> set[str]:
    """Names of the metrics selected."""
    return {str(node.name) for node, _ in _nodes(expr) if isinstance(node, parser.VectorSelector)}
