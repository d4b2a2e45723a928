"""What a store answers to a panel's expression, asked as Grafana asks."""

import httpx

from tests.dashboards.expressions import HOUR, PanelExpression, TimeRange, panel_expressions

EXPRESSIONS = {str(expression): expression for expression in panel_expressions()}
PRESETS = {
    "yesterday": TimeRange.between("2025-03-11T00:00Z", "2025-03-11T23:59:59.999Z", now="2025-03-12T00:40Z"),
    "yesterday in New York": TimeRange.between(
        "2025-03-10T00:00-04:00", "2025-03-10T23:59:59.999-04:00", now="2025-03-11T23:30Z", utc_offset_seconds=-4 * HOUR
    ),
    "yesterday in Kolkata": TimeRange.between(
        "2025-03-11T00:00+05:30", "2025-03-11T23:59:59.999+05:30", now="2025-03-11T23:30Z", utc_offset_seconds=19800
    ),
    "last 24 hours at :07": TimeRange.between("2025-03-11T00:07Z", "2025-03-12T00:07Z", now="2025-03-12T00:07Z"),
    "absolute, cut at :07": TimeRange.between("2025-03-10T14:07Z", "2025-03-11T14:07Z"),
    "this month": TimeRange.between("2025-03-01T00:00Z", "2025-03-31T23:59:59.999Z", now="2025-03-12T00:07Z"),
}

Points = list[tuple[float, float]]
Answer = list[tuple[dict[str, str], Points]]


def ask(
    client: httpx.Client, expression: PanelExpression, chosen: TimeRange, step: int = HOUR, **choices: str
) -> Answer:
    """Labels and points of each series; an error or a warning fails the test."""
    path, parameters = expression.request(chosen, step, **choices)
    answer = client.post(path, data=parameters)
    assert answer.status_code == httpx.codes.OK, f"{parameters['query']}\n{answer.text}"
    body = answer.json()
    assert not body.get("warnings")
    assert body["data"]["resultType"] == ("vector" if expression.instant else "matrix")
    return [
        (series["metric"], [(float(t), float(v)) for t, v in series.get("values") or [series["value"]]])
        for series in body["data"]["result"]
    ]


def figure(client: httpx.Client, panel: str, chosen: TimeRange, **choices: str) -> float:
    """The one number of a stat panel, by dashboard and title."""
    [(_, [(_, value)])] = ask(client, EXPRESSIONS[f"{panel}/A"], chosen, HOUR, **choices)
    return value


def column(client: httpx.Client, name: str, chosen: TimeRange, **choices: str) -> dict[tuple[str, ...], float]:
    """A table's value column, by its labels' values in the order of the labels' names."""
    answer = ask(client, EXPRESSIONS[name], chosen, **choices)
    return {tuple(value for _, value in sorted(labels.items())): points[-1][1] for labels, points in answer}
