"""Every expression of the shipped dashboard and alert, run on a real Prometheus that the product itself has filled."""

from datetime import timedelta

import httpx
import pytest

from tests.dashboards.expressions import PanelExpression, TimeRange, panel_expressions
from tests.e2e.conftest import PublishedDay

# Rightly without an answer here: nothing precedes the day, and where system is the remainder there is no residual.
MAY_BE_EMPTY = ("previous", "Change", "Residual")


@pytest.mark.parametrize("expression", panel_expressions(), ids=str)
def test_every_panel_shows_data_of_the_products_own_series(
    published_day: PublishedDay, expression: PanelExpression
) -> None:
    looking = published_day.now + timedelta(hours=1)
    span = TimeRange.between(*(moment.isoformat() for moment in (looking - timedelta(days=1), looking, looking)))
    path, params = expression.request(span, step_seconds=3600)
    answer = httpx.get(published_day.prometheus.url + path, params=params, timeout=30)
    assert answer.status_code == 200, answer.text
    result = answer.json()["data"]["result"]
    assert result or any(word in f"{expression.panel} {expression.expr}" for word in MAY_BE_EMPTY), expression.expr
