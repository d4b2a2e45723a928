"""What a configuration declares is stored at the end of a command, only when it differs, and read by the views."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.settings import Settings
from pipeline.settings.teams import TeamsSettings
from pipeline.sinks.sql import run_query
from pipeline.window import HOUR
from tests.prices import stored
from tests.prices.stored import CLUSTER, PUE, START

NOW = START + timedelta(days=1)
HEADER = "zone,start_utc,end_utc,g_per_kwh,instrument,share,factor_type"
YEAR = "2026-01-01T00:00Z,2027-01-01T00:00Z"


def settings(folder: Path, *lines: str) -> Settings:
    """The usual cluster with a market file of these lines."""
    path = folder / "market.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    given = stored.settings(folder / "warehouse").model_dump(mode="json", exclude_unset=True)
    return Settings.model_validate(given | {"market": {"csv": str(path)}, "marginal": {"zones": {CLUSTER: "GB_NORTH"}}})


def finish(given: Settings, days: int = 0, *, dry_run: bool = False) -> list[str]:
    """End a command that did nothing else; its errors."""
    job = stored.job(given, NOW + timedelta(days=days), dry_run=dry_run)
    return job.finish(job.warehouse(), job.begin("run"), 0.0).error_lines()


def ask(given: Settings, text: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run_query(Path(given.warehouse.path), text).to_pylist()
    return rows


COUNTS = "select count(*) as n, count(distinct fetched_utc) as told from {}"


def test_a_declaration_is_stored_once_and_again_when_it_changes(tmp_path: Path) -> None:
    mix = f"GB,{YEAR},400,residual mix,,direct"
    given = settings(tmp_path, mix)
    assert finish(given, dry_run=True) == []
    assert ask(given, COUNTS.format("market_factors")) == [{"n": 0, "told": 0}]
    assert [finish(given), finish(given, 1), finish(given, 2)] == [[], [], []]
    for table in ("market_factors", "cluster_zones"):
        assert ask(given, COUNTS.format(table)) == [{"n": 1, "told": 1}], table
    finish(settings(tmp_path, mix, f"GB,{YEAR},0,PPA,0.25,direct"), 3)
    assert ask(given, COUNTS.format("market_factors")) == [{"n": 3, "told": 2}]
    assert ask(given, COUNTS.format("market_factors_newest")) == [{"n": 2, "told": 1}]
    finish(settings(tmp_path), 4)
    assert ask(given, COUNTS.format("market_factors_newest")) == [{"n": 0, "told": 0}]


def test_a_file_that_became_wrong_is_told_and_the_run_is_still_noted(tmp_path: Path) -> None:
    given = settings(tmp_path, f"GB,{YEAR},400,residual mix,,location")
    (error,) = finish(given)
    assert "market.csv line 2: factor_type is one of" in error
    assert ask(given, "select exit_code from runs") == [{"exit_code": 2}]


def test_stored_hours_are_priced_by_contracts_with_the_pue_and_steps_they_have(tmp_path: Path) -> None:
    given = settings(tmp_path, f"GB,{YEAR},400,residual mix,,direct", f"GB,{YEAR},20,PPA,0.25,direct")
    stored.fold(given, [START, START + HOUR], NOW, steps=4)
    finish(given)
    (row,) = ask(
        given,
        """select count(*) as n, sum(market_emissions_gco2e) as grams, sum(energy_joules) as joules,
            any_value(instruments) as instruments from emissions_market""",
    )
    assert (row["n"], row["instruments"]) == (6, "PPA, residual mix")
    assert row["grams"] == pytest.approx(row["joules"] / 3.6e6 * PUE * (0.25 * 20 + 0.75 * 400), rel=1e-9)


def test_a_map_of_teams_is_stored_when_it_changes_and_withdrawn_when_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "teams.csv"
    given = settings(tmp_path).model_copy(update={"teams": TeamsSettings(csv=path)})
    path.write_text("namespace,team\nshop,blue\n")
    assert [finish(given), finish(given, 1)] == [[], []]
    assert ask(given, COUNTS.format("teams")) == [{"n": 1, "told": 1}]
    path.write_text("namespace,team,to\nshop,blue,2026-11-02\n")
    finish(given, 2)
    (line,) = ask(given, "select cluster, namespace, team, end_utc from teams_newest")
    assert (line["cluster"], line["namespace"], line["team"]) == (CLUSTER, "shop", "blue")
    assert f"{line['end_utc']:%F}" == "2026-11-02"
    path.write_text("namespace,team\n")
    assert finish(given, 3) == []
    assert ask(given, COUNTS.format("teams_newest")) == [{"n": 0, "told": 0}]
