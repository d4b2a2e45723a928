"""The figures of the accuracy benchmark, its targets, and both as Markdown. Errors are percent of the truth."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

WRONG_PERCENT = 10.0
METHODS = {
    "ours": "carbon-etl",
    "increase": "`increase()`, `max without (state)`",
    "naive": "`sum(increase())`",
}
NODE_METHODS = {
    "ours": "carbon-etl",
    "increase": "`increase()` of active + idle",
    "register": "`increase()` of `kepler_node_cpu_joules_total`",
}
NODE_WORST_PERCENT, NODE_MEDIAN_PERCENT = 0.5, 0.05
STEADY_SHARE = 0.01
FARTHER_POINTS = 0.1


@dataclass(frozen=True, slots=True)
class Target:
    """One promise beside what was measured."""

    kind: str
    what: str
    measured: str
    met: bool


def errors_percent(frame: pd.DataFrame, method: str) -> "pd.Series[float]":
    """Relative error of each row, signed; a figure that is missing is 100 % too low."""
    return (frame[method].fillna(0.0) / frame["truth"] - 1) * 100


def totals_percent(pods: pd.DataFrame, method: str) -> "pd.Series[float]":
    """Relative error of each seed's total pod energy, signed, indexed by seed."""
    sums = pods.assign(found=pods[method].fillna(0.0)).groupby("seed")[["found", "truth"]].sum()
    return (sums["found"] / sums["truth"] - 1) * 100


def targets(pods: pd.DataFrame, nodes: pd.DataFrame) -> list[Target]:
    """Every target of one kind of fleet or of several, with what these rows say about it.

    Args:
        pods: as `accuracy.Comparison.pods`, with `kind` and `seed`; without a rival's column its targets are left out.
        nodes: as `accuracy.Comparison.nodes`, with `kind` and `seed`.
    """
    found: list[Target] = []
    for kind in nodes["kind"].unique():
        found += _node_targets(kind, nodes[nodes["kind"] == kind])
        if "increase" in pods:
            found += _pod_targets(kind, pods[pods["kind"] == kind])
    return found


def _node_targets(kind: str, nodes: pd.DataFrame) -> Iterator[Target]:
    error = errors_percent(nodes, "ours").abs()
    for name, value, limit in (
        ("worst", error.max(), NODE_WORST_PERCENT),
        ("median", error.median(), NODE_MEDIAN_PERCENT),
    ):
        yield Target(kind, f"node-hour error, {name}: at most {limit:g} %", f"{value:.4f} %", bool(value <= limit))


def _pod_targets(kind: str, pods: pd.DataFrame) -> Iterator[Target]:
    calm = pods[pods["steady"]]
    ours, rival = (errors_percent(calm, method).abs().median() for method in ("ours", "increase"))
    yield Target(
        kind,
        "pod-hour median error in steady hours: at most a hundredth of `increase()`'s",
        f"{ours:.1e} % against {rival:.1e} %",
        bool(ours <= STEADY_SHARE * rival),
    )
    ours, *rivals = (totals_percent(pods, method).abs().mean() for method in METHODS)
    said = f"{ours:.3f} % against " + " and ".join(f"{rival:.3f} %" for rival in rivals)
    if kind == "churning":
        what = "total pod energy, mean over seeds: nearer to truth than either `increase()`"
        yield Target(kind, what, said, bool(ours < min(rivals)))
    if kind == "restarting":
        what = f"total pod energy, mean over seeds: at most {FARTHER_POINTS:g} points farther than `increase()`"
        yield Target(kind, what, said, bool(ours <= min(rivals) + FARTHER_POINTS))


def markdown(pods: pd.DataFrame, nodes: pd.DataFrame, preamble: Sequence[str]) -> str:
    """The whole document."""
    parts = [
        *preamble,
        "## Targets",
        *table(
            ["fleet", "target", "measured", ""],
            [[t.kind, t.what, t.measured, "pass" if t.met else "**FAIL**"] for t in targets(pods, nodes)],
        ),
        "## Node-hours",
        "One row a (hour, node, zone): metered energy, active and idle together. Worst / median error.",
        *table(["fleet", "node-hours", *NODE_METHODS.values()], list(_node_rows(nodes))),
        "## Pod-hours, steady",
        "Pods that ran through the whole hour while their counter was not reset. Median / 99th percentile of error.",
        *table(["fleet", "pod-hours", *METHODS.values()], list(_steady_rows(pods))),
        "## Pod-hours, all",
        f"One row a (hour, node, zone, pod) that used energy. Share over {WRONG_PERCENT:g} % wrong / missing entirely.",
        *table(["fleet", "pod-hours", *METHODS.values()], list(_wrong_rows(pods))),
        "## Total pod energy",
        "Error of a seed's total: mean of its magnitude / worst seed / of all seeds together, signed.",
        *table(["fleet", *METHODS.values()], list(_total_rows(pods))),
        "By seed, signed, in percent:",
        *table(["fleet", "seed", *METHODS.values()], list(_seed_rows(pods))),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table, as one paragraph."""
    lines = [head, ["---"] * len(head), *rows]
    return ["\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)]


def _kinds(frame: pd.DataFrame) -> Mapping[str, pd.DataFrame]:
    return {kind: frame[frame["kind"] == kind] for kind in frame["kind"].unique()}


def _node_rows(nodes: pd.DataFrame) -> Iterator[list[object]]:
    for kind, rows in _kinds(nodes).items():
        errors = [errors_percent(rows, method).abs() for method in NODE_METHODS]
        yield [kind, len(rows), *(f"{e.max():.3f} % / {e.median():.4f} %" for e in errors)]


def _steady_rows(pods: pd.DataFrame) -> Iterator[list[object]]:
    for kind, rows in _kinds(pods[pods["steady"]]).items():
        errors = [errors_percent(rows, method).abs() for method in METHODS]
        yield [kind, len(rows), *(f"{e.median():.1e} % / {e.quantile(0.99):.2f} %" for e in errors)]


def _wrong_rows(pods: pd.DataFrame) -> Iterator[list[object]]:
    for kind, rows in _kinds(pods).items():
        shares = [(errors_percent(rows, method).abs() > WRONG_PERCENT).mean() * 100 for method in METHODS]
        missing = [int(rows[method].isna().sum()) for method in METHODS]
        yield [kind, len(rows), *(f"{s:.1f} % / {m}" for s, m in zip(shares, missing, strict=True))]


def _total_rows(pods: pd.DataFrame) -> Iterator[list[object]]:
    for kind, rows in _kinds(pods).items():
        cells = []
        for method in METHODS:
            errors = totals_percent(rows, method)
            pooled = (rows[method].sum() / rows["truth"].sum() - 1) * 100
            cells.append(f"{errors.abs().mean():.3f} % / {errors.abs().max():.3f} % / {pooled:+.3f} %")
        yield [kind, *cells]


def _seed_rows(pods: pd.DataFrame) -> Iterator[list[object]]:
    for kind, rows in _kinds(pods).items():
        totals = {method: totals_percent(rows, method) for method in METHODS}
        for seed in totals["ours"].index:
            yield [kind, seed, *(f"{totals[method][seed]:+.3f}" for method in METHODS)]
