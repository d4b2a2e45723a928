"""The alert on holes, run by promtool on samples that are an hour apart."""

import subprocess
from pathlib import Path

import pytest

from tests.dashboards import promql

ROOT = Path(__file__).parents[2]
RULES = ROOT / "queries" / "holes.rules.yml"
CASES = Path(__file__).parent / "alerts" / "holes.test.yml"
EXPR = 'max by (cluster) (min_over_time(carbon_etl_check_failed{check="coverage"}[3h])) > 0'


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.real
def test_the_alert_fires_for_holes_that_stay_and_for_no_others() -> None:
    assert "1 rules found" in promtool("check", "rules", str(RULES)).stdout
    result = promtool("test", "rules", str(CASES))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.real
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("min_over_time", "max_over_time", id="one run is enough"),
        pytest.param('{check="coverage"}', "", id="any check"),
        pytest.param("> 0", "> 1", id="never"),
        pytest.param("[3h]", "[10m]", id="between two runs it forgets"),
    ],
)
def test_the_cases_find_a_wrong_rule(tmp_path: Path, right: str, wrong: str) -> None:
    text = RULES.read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "wrong.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    cases = CASES.read_text(encoding="utf-8").replace("../../../queries/holes.rules.yml", "wrong.yml")
    (tmp_path / "cases.yml").write_text(cases, encoding="utf-8")
    result = promtool("test", "rules", str(tmp_path / "cases.yml"))
    assert "FAILED" in result.stdout + result.stderr


def test_the_rule_reads_a_window_of_a_published_series() -> None:
    assert f"expr: {EXPR}\n" in RULES.read_text(encoding="utf-8")
    assert promql.instant_lookups(EXPR) == promql.unknown_names(EXPR) == promql.revisions_apart(EXPR) == []
