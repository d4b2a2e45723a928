"""Grafana's calculations over a column: what a stat, a bar or a legend shows of many values."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from dashboards.preview.board import PreviewError

Numbers = list[float]
Calculation = Callable[[Numbers], float | None]


def _step(values: Numbers) -> float | None:
    return min((b - a for a, b in pairwise(values)), default=None)


def _deviation(values: Numbers) -> float | None:
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


# Over what is there: nulls are left out, as Grafana does unless a column says otherwise.
CALCULATIONS: Mapping[str, Calculation] = {
    "sum": lambda values: math.fsum(values) if values else None,
    "mean": lambda values: math.fsum(values) / len(values) if values else None,
    "min": lambda values: min(values, default=None),
    "max": lambda values: max(values, default=None),
    "range": lambda values: max(values) - min(values) if values else None,
    "delta": lambda values: math.fsum(max(0.0, b - a) for a, b in pairwise(values)),
    "diff": lambda values: values[-1] - values[0] if values else None,
    "diffperc": lambda values: (values[-1] - values[0]) / values[0] if values and values[0] else None,
    "step": _step,
    "stdDev": _deviation,
    "firstNotNull": lambda values: values[0] if values else None,
    "lastNotNull": lambda values: values[-1] if values else None,
    "allIsNull": lambda values: float(not values),
    "distinctCount": lambda values: float(len(set(values))),
}
TITLES = {
    "lastNotNull": "Last *", "last": "Last", "firstNotNull": "First *", "first": "First", "min": "Min", "max": "Max",
    "mean": "Mean", "sum": "Total", "count": "Count", "range": "Range", "delta": "Delta", "diff": "Difference",
    "diffperc": "Difference percent", "step": "Step", "stdDev": "StdDev", "distinctCount": "Distinct Count",
    "allIsNull": "All Null",
}  # fmt: skip


def reduced(calculation: str, values: Sequence[float | None]) -> float | None:
    """One number of a column; None where it has none.

    Raises:
        PreviewError: a calculation that this tool does not know.
    """
    if calculation in ("first", "last"):
        return values[0 if calculation == "first" else -1] if values else None
    if calculation == "count":
        return float(len(values))
    if calculation not in CALCULATIONS:
        raise PreviewError(f"the calculation {calculation!r} is not known here")
    return CALCULATIONS[calculation]([value for value in values if value is not None])
