"""Totals over views of several signals: of one basis only."""

import math
import random
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import ConfigError
from pipeline.settings.market import SCOPES
from pipeline.sinks.signals import MACROS
from pipeline.sinks.sql import run_query
from pipeline.sinks.teams import TABLE_MACROS
from pipeline.sinks.views import DATABASE, refresh_database
from tests.sinks import rows
from tests.sinks.priced import ZONE, line, random_day, store, used, view
from tests.sinks.rows import HOURS


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
