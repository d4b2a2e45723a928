"""Every expression of the shipped dashboards, run on a real Prometheus that the product itself has filled."""

import re
from datetime import timedelta

import httpx

from tests.dashboards.answers import ask
from tests.dashboards.expressions import TimeRange, panel_expressions
from tests.e2e.conftest import PublishedDay

# Rightly without an answer here: nothing precedes the day, nothing was corrected and no check failed, no meter measures
# system or programs of its own, and no marginal rates are known.
MAY_BE_EMPTY = re.compile(
    r"previous|Failed checks over time|offset \$__range|residual|revision!=|carbon_process|marginal", re.IGNORECASE
)


def test_every_panel_shows_data_of_the_products_own_series(published_day: PublishedDay) -> None:
    looking = published_day.now + timedelta(hours=1)
    span = TimeRange.between(*(moment.isoformat() for moment in (looking - timedelta(days=1), looking, looking)))
    with httpx.Client(base_url=published_day.prometheus.url, timeout=30) as client:
        empty = [expression for expression in panel_expressions() if not ask(client, expression, span)]
    assert [str(one) for one in empty if not MAY_BE_EMPTY.search(f"{one.panel} {one.expr}")] == []
