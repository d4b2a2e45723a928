"""Market-based and marginal views: by hand, and against a loop that knows no SQL; totals of one basis only."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.settings.market import SCOPES
from pipeline.sinks.signals import MACROS
from pipeline.sinks.sql import run_query
from pipeline.sinks.teams import TABLE_MACROS
from pipeline.sinks.views import DATABASE, refresh_database
from pipeline.sinks.warehouse import Warehouse
from pipeline.tables import APPEND_ONLY_TABLES, EMISSIONS_KEY
from tests.sinks import rows
from tests.sinks.rows import CLUSTER, DAY, HOURS

FETCHED = datetime(2026, 11, 2, tzinfo=UTC)
FIVE = timedelta(minutes=5)
Row = dict[str, Any]


def store(root: Path, table: str, *lines: Row, fetched: datetime = FETCHED) -> None:
    schema = APPEND_ONLY_TABLES[table]
    told = [dict.fromkeys(schema.names) | {"fetched_utc": fetched} | line for line in lines]
    Warehouse(root).append(table, pa.Table.from_pylist(told, schema), "run-1", DAY)


def line(g_per_kwh: float, share: float | None, minutes: tuple[int, int] = (0, 24 * 60), **columns: object) -> Row:
    """A contract, or with share None the residual mix, from and to a minute of the day."""
    start, end = (HOURS[0] + timedelta(minutes=m) for m in minutes)
    return {
        "cluster": CLUSTER, "start_utc": start, "end_utc": end, "g_per_kwh": g_per_kwh, "share_ratio": share,
        "instrument": "residual mix" if share is None else "PPA", "factor_type": "direct",
    } | columns  # fmt: skip


def rate(g_per_kwh: float | None, minutes: tuple[int, int], **columns: object) -> Row:
    """A marginal vintage of WattTime, from and to a minute of the day."""
    start, end = (HOURS[0] + timedelta(minutes=m) for m in minutes)
    return {
        "zone": "DE_NORTH", "start_utc": start, "end_utc": end, "carbon_intensity_g_per_kwh": g_per_kwh,
        "provider": "watttime", "signal": "marginal", "factor_type": "direct", "basis": "unknown",
        "quality": "measured", "updated_utc": None, "fetched_utc": FETCHED,
    } | columns  # fmt: skip


ZONE = {"cluster": CLUSTER, "signal": "marginal", "provider": "watttime", "zone": "DE_NORTH", "factor_type": "direct"}


def used(root: Path, *emissions: Row) -> None:
    """Commit these rows; node_energy is not looked at here."""
    hours = sorted({row["hour_utc"] for row in emissions})
    nodes = {}
    for row in emissions:
        sums = nodes.setdefault(
            (row["hour_utc"], row["node"], row["component"]), dict.fromkeys(("workload", "idle"), 0.0)
        )
        sums[row["kind"]] += row["energy_joules"]
    metered = [
        rows.metered(hour, sums["workload"], 0.0, sums["idle"], node=node, component=component)
        for (hour, node, component), sums in nodes.items()
    ]
    rows.commit(Warehouse(root), rows.complete(hours), rows.tables(list(emissions), metered))


def view(root: Path, name: str) -> list[Row]:
    answer: list[Row] = run_query(root, f"from {name} order by all").to_pylist()
    return answer


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


def random_day(dice: random.Random) -> tuple[list[Row], list[Row], list[Row]]:
    """Emissions of six hours in steps of several lengths, market lines and marginal vintages with any edges."""

    def span(longest: int) -> tuple[int, int]:
        start = dice.randrange(-20, 80) * 5
        return start, start + 5 * dice.randint(1, longest)

    emissions = []
    for hour in HOURS[:6]:
        for pod in range(3):
            count = dice.choice((1, 2, 4, 12))
            steps = [dice.choice((0.0, dice.uniform(1, 1e6))) for _ in range(count)]
            emissions.append(rows.pod(hour, f"p{pod}", math.fsum(steps), step_joules=None if count == 1 else steps))
    lines, at = [], -120
    while at < 400:  # contracts that follow each other, sometimes with a hole
        until = at + 5 * dice.randint(1, 40)
        lines.append(line(dice.uniform(0, 300), dice.choice((0.3, 1.0)), (at, until)))
        lines.append(line(dice.uniform(0, 300), 0.6, (at, until), zone="DE"))
        at = until + 5 * dice.choice((0, 0, 3))
    lines.append(line(dice.uniform(300, 900), None, (0, 5 * dice.randint(1, 60))))
    lines.append(line(dice.uniform(300, 900), None, (60, 5 * dice.randint(13, 60)), zone="DE"))
    rates = [
        rate(dice.choice((None, *[dice.uniform(0, 900)] * 5)), span(20), fetched_utc=FETCHED + n * FIVE)
        for n in range(40)
    ]
    emissions.append(rows.pod(HOURS[7], "late", 1e6))  # where the last of both lines has ended
    return emissions, lines, rates


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


def test_workloads_and_idle_add_up_to_the_metered_energy_at_the_signals_price(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "a", 1e6), rows.pod(HOURS[0], "b", 2e6), rows.emission(HOURS[0], "idle", 4e6))
    store(tmp_path, "market_factors", line(20, 0.5), line(620, None))
    grams = math.fsum(row["market_emissions_gco2e"] for row in view(tmp_path, "emissions_market"))
    assert grams == pytest.approx(7e6 / 3.6e6 * 1.5 * 320, rel=1e-12)


def test_the_database_gives_the_same_in_a_session_of_any_zone(tmp_path: Path) -> None:
    emissions, lines, rates = random_day(random.Random(3))  # noqa: S311 # a repeatable case, no secret
    used(tmp_path, *emissions)
    store(tmp_path, "market_factors", *lines)
    store(tmp_path, "intensity", *rates)
    store(tmp_path, "cluster_zones", ZONE)
    refresh_database(tmp_path)
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        for zone in ("UTC", "Asia/Kathmandu", "America/St_Johns"):
            connection.execute(f"set TimeZone = '{zone}'")
            for name in ("emissions_market", "emissions_marginal"):
                grams = f"{name.removeprefix('emissions_')}_emissions_gco2e"
                query = f"select {grams} from {name} order by hour_utc, pod"
                assert connection.sql(query).fetchall() == [
                    (row[grams],) for row in run_query(tmp_path, f"from {name} order by hour_utc, pod").to_pylist()
                ]


def mixed(root: Path) -> None:
    """Lifecycle in the first hour, direct in the third, and rows without a figure between."""
    nothing = {"carbon_intensity_g_per_kwh": None, "intensity_factor_type": None, "intensity_quality": "missing"}
    used(
        root,
        rows.pod(HOURS[0], "web", 3.6e6),
        rows.pod(HOURS[1], "web", 3.6e6, **nothing),
        rows.pod(HOURS[2], "web", 3.6e6, intensity_factor_type="direct"),
    )


TOTAL = "select total_gco2e(emissions_gco2e, intensity_factor_type, cluster, hour_utc) as grams from emissions"


def test_a_total_over_two_factor_types_is_refused_with_its_rows_and_the_remedy(tmp_path: Path) -> None:
    mixed(tmp_path)
    with pytest.raises(ConfigError) as refusal:
        run_query(tmp_path, TOTAL)
    assert str(refusal.value).endswith(
        "no total of grams by direct (cluster prod-eu from 2026-11-01T02:00Z on) and by lifecycle "
        "(cluster prod-eu from 2026-11-01T00:00Z on) factors: group or filter by factor type, or restate with "
        "carbon-etl reprice --since 2026-11-01T00:00Z"
    )


def test_a_total_of_one_factor_type_or_of_each_is_given_and_rows_without_a_figure_do_not_count(tmp_path: Path) -> None:
    mixed(tmp_path)
    until = f"{TOTAL} where hour_utc < timestamptz '2026-11-01 02:00:00Z'"
    assert run_query(tmp_path, until).to_pylist() == [{"grams": 150}]
    each = run_query(tmp_path, f"{TOTAL} group by intensity_factor_type order by all").to_pylist()
    assert each == [{"grams": 150}, {"grams": 150}, {"grams": None}]
    assert run_query(tmp_path, f"{TOTAL} where false").to_pylist() == [{"grams": None}]


def test_signals_that_are_put_together_by_hand_are_refused_by_their_scope(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3.6e6))
    store(tmp_path, "market_factors", line(5, 1))
    text = """select total_gco2e(grams, scope, cluster, hour_utc) from (
        select cluster, hour_utc, emissions_gco2e as grams, scope_of('average', intensity_factor_type) as scope
        from emissions union all select cluster, hour_utc, market_emissions_gco2e, scope from emissions_market)"""
    with pytest.raises(ConfigError, match=r"scope 2, location-based, plus upstream .* and by scope 2, market-based"):
        run_query(tmp_path, text)


def test_every_scope_has_its_name_in_sql_and_no_other(tmp_path: Path) -> None:
    for (signal, factors), name in SCOPES.items():
        assert run_query(tmp_path, f"select scope_of('{signal}', '{factors}') as s").to_pylist() == [{"s": name}]
    assert run_query(tmp_path, "select scope_of('average', null) as s, scope_of('x', 'direct') as t").to_pylist() == [
        {"s": None, "t": None}
    ]


def test_a_share_of_energy_is_none_of_no_energy(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3e6, intensity_basis="production"), rows.pod(HOURS[0], "db", 1e6))
    text = "select energy_share(energy_joules, intensity_basis = '{}') as share from emissions where {}"
    asked = [("production", "true", 0.75), ("consumption", "true", 0.25), ("unknown", "true", 0), ("x", "false", None)]
    for basis, condition, share in asked:
        assert run_query(tmp_path, text.format(basis, condition)).to_pylist() == [{"share": share}]


def test_the_utc_day_of_a_moment_is_the_same_in_every_session(tmp_path: Path) -> None:
    used(tmp_path, rows.pod(HOURS[0], "web", 3e6), rows.pod(HOURS[23], "web", 3e6))
    refresh_database(tmp_path)
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        for zone in ("UTC", "America/New_York", "Asia/Kolkata"):
            connection.execute(f"set TimeZone = '{zone}'")
            days = connection.sql("select distinct utc_time(hour_utc)::date = date from emissions").fetchall()
            assert days == [(True,)]
            rolled = connection.sql("select utc_time(date_utc) = date from emissions_daily").fetchall()
            assert rolled == [(True,)]


def test_macros_are_in_the_database_too(tmp_path: Path) -> None:
    mixed(tmp_path)
    refresh_database(tmp_path)
    with duckdb.connect(str(tmp_path / DATABASE), read_only=True) as connection:
        named = connection.sql("select function_name from duckdb_functions() where not internal").fetchall()
        assert {name for (name,) in named} == {name.partition("(")[0] for name in MACROS | TABLE_MACROS}
        with pytest.raises(duckdb.InvalidInputException, match="no total of grams"):
            connection.sql(TOTAL).fetchall()
