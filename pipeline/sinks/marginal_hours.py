"""Marginal intensity of a cluster's hours as series: shown beside the average in dashboards, and added to nothing."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pipeline.sinks.published_series import Key
from pipeline.sinks.views import open_views

MEANS = """
    select hour_utc, zone, provider, factor_type, list_avg(slots_g_per_kwh) from stored.marginal_hours
    where cluster = $cluster and hour_utc between $first and $last and list_count(slots_g_per_kwh) = 12"""


def marginal_series(root: Path, cluster: str, hours: Sequence[datetime]) -> Mapping[datetime, Mapping[Key, float]]:
    """The mean of each hour that is wholly known, g/kWh, by hour and key; `hours` in time order."""
    found: dict[datetime, dict[Key, float]] = defaultdict(dict)
    if not hours:
        return found
    parameters = {"cluster": cluster, "first": hours[0], "last": hours[-1]}
    with open_views(root, MEANS) as connection:
        for hour, zone, provider, factor_type, mean in connection.sql(MEANS, params=parameters).fetchall():
            labels = (
                ("cluster", cluster), ("factor_type", factor_type), ("provider", provider), ("signal", "marginal"),
                ("zone", zone),
            )  # fmt: skip
            found[hour]["carbon_grid_intensity_grams_per_kwh", labels] = mean
    return found
