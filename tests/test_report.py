"""The carbon lines of a run's summary: one total a factor type, its scope and the shares of bases."""

from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.report import ClusterOutcome, RunReport
from pipeline.tables import EMISSIONS
from tests.sinks import rows
from tests.sinks.rows import HOURS


def summary(*emissions: dict[str, object]) -> list[str]:
    report = RunReport("run-1", "run", datetime(2026, 11, 2), dry_run=False)  # noqa: DTZ001 # not looked at
    outcome = ClusterOutcome("prod-eu", "lifecycle")
    outcome.add_rows(pa.Table.from_pylist(list(emissions), EMISSIONS))
    report.clusters.append(outcome)
    lines = report.summary()
    carbon = next(n for n, line in enumerate(lines) if line.startswith("  carbon"))
    return [line.strip() for line in lines[carbon:]]


def test_a_total_says_its_scope_and_below_it_the_shares_of_qualities_and_bases() -> None:
    produced = rows.emission(HOURS[0], "idle", 0.9e6, intensity_basis="production", intensity_quality="estimated")
    assert summary(rows.pod(HOURS[0], "web", 2.7e6), produced) == [
        "carbon  150.0 gCO2e (lifecycle: scope 2, location-based, plus upstream (scope 3.3))",
        "intensity estimated 25%, measured 75%; basis consumption 75%, production 25%",
    ]


def test_two_factor_types_are_two_totals_and_never_one() -> None:
    direct = rows.pod(HOURS[1], "web", 7.2e6, intensity_factor_type="direct")
    assert summary(rows.pod(HOURS[0], "web", 3.6e6), direct)[:2] == [
        "carbon  300.0 gCO2e (direct: scope 2, location-based)",
        "carbon  150.0 gCO2e (lifecycle: scope 2, location-based, plus upstream (scope 3.3))",
    ]


@pytest.mark.parametrize("priced", [False, True])
def test_energy_without_a_price_is_no_zero(priced: bool) -> None:  # noqa: FBT001 # a parameter of pytest
    nothing = dict.fromkeys(("carbon_intensity_g_per_kwh", "intensity_factor_type", "intensity_basis"))
    unpriced = rows.pod(HOURS[0], "web", 3.6e6, intensity_quality="missing", **nothing)
    others = [rows.pod(HOURS[0], "db", 3.6e6)] if priced else []
    first, second = summary(unpriced, *others)
    if priced:
        assert first.startswith("carbon  150.0 gCO2e (lifecycle")
        assert second == "intensity measured 50%, missing 50%; basis consumption 50%"
    else:
        assert first == "carbon  not known: no energy has an intensity and a PUE"
        assert second == "intensity missing 100%; basis none"
