"""Market-based and marginal views: by hand, and against a loop that knows no SQL."""

import math
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pipeline.settings.market import SCOPES
from pipeline.tables import EMISSIONS_KEY
from tests.sinks import rows
from tests.sinks.priced import FETCHED, FIVE, ZONE, Row, line, random_day, rate, store, used, view
from tests.sinks.rows import CLUSTER, HOURS


def test_a_contract_for_a_part_and_the_residual_mix_for_the_rest(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))  # 1 kWh, 1.5 with the PUE
    store(tmp_path, "market_factors", line(0, 0.4, note="wind park"), line(600, None))
    (row,) = view(tmp_path, "emissions_market")
    assert row["facility_energy_kwh"] == 1.5
    assert row["market_intensity_g_per_kwh"] == pytest.approx(0.6 * 600, rel=1e-12)
    assert row["market_emissions_gco2e"] == pytest.approx(540, rel=1e-12)
    assert (row["contracted_ratio"], row["covered_ratio"]) == pytest.approx((0.4, 1), rel=1e-12)
    assert (row["instruments"], row["factor_type"]) == ("PPA, residual mix", "direct")
    assert (row["scope"], row["fetched_utc"]) == ("scope 2, market-based", FETCHED)


def test_the_rest_without_a_residual_mix_has_no_figure_and_never_the_grids(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))
    store(tmp_path, "market_factors", line(0, 0.4))
    (row,) = view(tmp_path, "emissions_market")
    assert (row["market_intensity_g_per_kwh"], row["market_emissions_gco2e"]) == (None, None)
    assert (row["contracted_ratio"], row["covered_ratio"]) == pytest.approx((0.4, 0.4), rel=1e-12)
    assert row["instruments"] == "PPA"


def test_an_hour_that_nothing_covers_is_null_with_a_coverage_of_none(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6), rows.emission(HOURS[0], "idle", 0.0))
    store(tmp_path, "market_factors", line(5, 1, (60, 120)))
    store(tmp_path, "intensity", rate(700, (60, 120)))
    store(tmp_path, "cluster_zones", ZONE)
    for signal in ("market", "marginal"):
        idle, web = view(tmp_path, f"emissions_{signal}")
        assert (web[f"{signal}_emissions_gco2e"], web["covered_ratio"], web["scope"]) == (None, 0, None)
        assert idle[f"{signal}_emissions_gco2e"] == 0, "no energy, no grams"


def test_energy_without_a_pue_has_no_grams_though_it_has_an_intensity(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6, pue_ratio=None, pue_source=None))
    store(tmp_path, "market_factors", line(80, 1))
    (row,) = view(tmp_path, "emissions_market")
    assert (row["market_intensity_g_per_kwh"], row["market_emissions_gco2e"], row["covered_ratio"]) == (80, None, 1)


def test_contracts_that_cover_everything_leave_the_residual_mix_unused(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))
    store(tmp_path, "market_factors", line(10, 0.1), line(20, 0.2, instrument="GO"), line(30, 0.7), line(900, None))
    (row,) = view(tmp_path, "emissions_market")
    assert row["market_intensity_g_per_kwh"] == pytest.approx(1 + 4 + 21, rel=1e-12)
    assert (row["instruments"], row["covered_ratio"]) == ("GO, PPA", 1)
    assert row["contracted_ratio"] == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize(
    ("steps", "intensity"),
    [(None, (600 + 30) / 2), ([0.9e6, 2.7e6], 0.25 * 600 + 0.75 * 30), ([3.6e6, 0.0], 600)],
)
def test_a_contract_that_begins_within_an_hour_counts_for_the_steps_it_covers(
    tmp_path: Path, steps: list[float] | None, intensity: float
) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6, step_joules=steps))
    store(tmp_path, "market_factors", line(30, 1, (30, 90)), line(600, None))
    (row,) = view(tmp_path, "emissions_market")
    assert row["market_intensity_g_per_kwh"] == pytest.approx(intensity, rel=1e-12)
    assert row["market_emissions_gco2e"] == pytest.approx(1.5 * intensity, rel=1e-12)


def test_a_step_without_energy_needs_no_figure(tmp_path: Path) -> None:
    late = rows.pod(HOURS[0], "late", 3.6e6, step_joules=[0.0, 3.6e6])
    used(tmp_path, late, rows.pod(HOURS[0], "all", 3.6e6, step_joules=[1.8e6, 1.8e6]))
    store(tmp_path, "market_factors", line(30, 1, (30, 60)))
    answer = view(tmp_path, "emissions_market")
    found = {row["workload"]: (row["market_emissions_gco2e"], row["covered_ratio"]) for row in answer}
    assert found == {"late": (45, 1), "all": (None, 0.5)}


def test_a_clusters_own_contract_goes_before_its_zones_and_leaves_it_the_residual_mix(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6), rows.pod(HOURS[2], "web", 3.6e6))
    of_zone = (line(50, 1, zone="DE"), line(700, None, zone="DE"))
    store(tmp_path, "market_factors", line(0, 0.5, (0, 60)), *of_zone)
    first, third = view(tmp_path, "emissions_market")
    assert first["market_intensity_g_per_kwh"] == 350
    assert third["market_intensity_g_per_kwh"] == 50


def test_the_newest_declaration_counts_whole_and_may_be_a_withdrawal(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))
    store(tmp_path, "market_factors", line(0, 0.5), line(600, None))
    store(tmp_path, "market_factors", line(80, 1), fetched=FETCHED + timedelta(hours=1))
    (row,) = view(tmp_path, "emissions_market")
    assert (row["market_intensity_g_per_kwh"], row["instruments"]) == (80, "PPA")
    assert len(view(tmp_path, "market_factors")) == 3
    store(tmp_path, "market_factors", {"cluster": CLUSTER}, fetched=FETCHED + timedelta(hours=2))
    (row,) = view(tmp_path, "emissions_market")
    assert (row["market_intensity_g_per_kwh"], row["covered_ratio"]) == (None, 0)
    assert view(tmp_path, "market_factors_newest") == []


def test_marginal_rates_are_averaged_over_the_hour_and_say_whose_they_are(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))
    five_minutes = [rate(100.0 * n, (5 * n, 5 * n + 5)) for n in range(12)]
    five_minutes[3]["quality"] = "estimated"
    store(tmp_path, "intensity", *five_minutes, rate(9, (0, 60), signal="average"), rate(9, (0, 60), zone="FR"))
    store(tmp_path, "cluster_zones", ZONE)
    (row,) = view(tmp_path, "emissions_marginal")
    assert row["marginal_intensity_g_per_kwh"] == pytest.approx(550, rel=1e-12)
    assert row["marginal_emissions_gco2e"] == pytest.approx(825, rel=1e-12)
    assert [row[n] for n in ("provider", "zone", "quality", "covered_ratio")] == [
        "watttime",
        "DE_NORTH",
        "estimated",
        1,
    ]
    assert row["scope"] == SCOPES["marginal", "direct"]


def test_of_marginal_vintages_the_newest_counts_at_each_instant_even_where_it_withdraws(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6, step_joules=[1.8e6, 1.8e6]))
    later = FETCHED + timedelta(hours=1)
    store(tmp_path, "intensity", rate(400, (0, 60)), rate(800, (30, 60), fetched_utc=later))
    store(tmp_path, "cluster_zones", ZONE)
    assert view(tmp_path, "emissions_marginal")[0]["marginal_intensity_g_per_kwh"] == 600
    store(tmp_path, "intensity", rate(None, (30, 60), fetched_utc=later + FIVE))
    (row,) = view(tmp_path, "emissions_marginal")
    assert (row["marginal_emissions_gco2e"], row["covered_ratio"]) == (None, 0.5)


def slots(row: Row) -> list[float]:
    """Where a row's joules lie, in twelve parts."""
    steps = row["step_joules"] or [row["energy_joules"]]
    return [step / (12 // len(steps)) for step in steps for _ in range(12 // len(steps))]


def expected(row: Row, figures: Sequence[float | None]) -> float | None:
    """Grams of a row by what holds in each five minutes of its hour; the way `emissions` is priced, in a plain loop."""
    parts = []
    for joules, figure in zip(slots(row), figures, strict=True):
        if joules > 0 and figure is None:
            return None
        parts.append(0.0 if not joules else joules / 3.6e6 * 1.5 * float(figure or 0.0))
    return math.fsum(parts)


def inside(told: Row, moment: datetime) -> bool:
    return bool(told["start_utc"] <= moment and told["end_utc"] >= moment + FIVE)


def market_figure(lines: list[Row], moment: datetime) -> float | None:
    """One cluster's figure in the five minutes from `moment` on."""
    here = [told for told in lines if inside(told, moment)]
    contracts, residual = [], None
    for mine in (False, True):
        own = [told for told in here if ("zone" not in told) == mine]
        contracts = [told for told in own if told["share_ratio"] is not None] or contracts
        residual = next((told["g_per_kwh"] for told in own if told["share_ratio"] is None), residual)
    open_share = 1 - math.fsum(told["share_ratio"] for told in contracts)
    if open_share > 1e-9 and residual is None:
        return None
    rest = open_share * residual if residual is not None and open_share > 1e-9 else 0.0
    return math.fsum(told["share_ratio"] * told["g_per_kwh"] for told in contracts) + rest


def marginal_figure(rates: list[Row], moment: datetime) -> float | None:
    """The newest vintage's figure in the five minutes from `moment` on."""
    here = [told for told in rates if inside(told, moment)]
    newest = max(here, key=lambda told: told["fetched_utc"], default=None)
    return None if newest is None else newest["carbon_intensity_g_per_kwh"]


@pytest.mark.parametrize("seed", range(8))
def test_both_views_agree_with_a_plain_loop_and_lose_no_energy(tmp_path: Path, seed: int) -> None:
    emissions, lines, rates = random_day(random.Random(seed))  # noqa: S311 # a repeatable case, no secret
    used(tmp_path, *emissions)
    store(tmp_path, "market_factors", *lines)
    store(tmp_path, "intensity", *rates)
    store(tmp_path, "cluster_zones", ZONE)
    stored = {tuple(row[name] for name in EMISSIONS_KEY): row for row in view(tmp_path, "emissions")}
    nulls = 0
    for signal, figure in (
        ("market", lambda m: market_figure(lines, m)),
        ("marginal", lambda m: marginal_figure(rates, m)),
    ):
        answer = view(tmp_path, f"emissions_{signal}")
        assert len(answer) == len(stored) == len(emissions)
        for found in answer:
            row = stored[tuple(found[name] for name in EMISSIONS_KEY)]
            assert (found["energy_joules"], found["facility_energy_kwh"]) == (
                row["energy_joules"], row["facility_energy_kwh"],
            )  # fmt: skip
            grams = expected(row, [figure(row["hour_utc"] + slot * FIVE) for slot in range(12)])
            nulls += grams is None
            assert found[f"{signal}_emissions_gco2e"] == (None if grams is None else pytest.approx(grams, rel=1e-9))
    assert 0 < nulls < 2 * len(emissions)
