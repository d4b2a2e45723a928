"""The freshness alerts, run by promtool on samples that are an hour apart and 20 minutes late."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.dashboards import promql

ROOT = Path(__file__).parents[2]
RULES = ROOT / "queries" / "freshness.rules.yml"
CASES = sorted(Path(__file__).parent.glob("*.test.yml"))
STALE = "time() - max by (cluster) (max_over_time(carbon_etl_last_success_timestamp_seconds[30d])) > 3 * 3600"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)


def expressions() -> list[str]:
    """The expressions of the rule file, each on one line there."""
    return re.findall(r"^\s+expr: (.+)$", RULES.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.real
def test_promtool_accepts_the_rules() -> None:
    result = promtool("check", "rules", str(RULES))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "2 rules found" in result.stdout


@pytest.mark.real
def test_the_alerts_fire_on_time_and_do_not_resolve_themselves() -> None:
    result = promtool("test", "rules", *map(str, CASES))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.real
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param(STALE, "time() - carbon_etl_last_success_timestamp_seconds > 3 * 3600", id="instant lookup"),
        pytest.param("[30d])) > 3", "[2h])) > 3", id="window shorter than the limit"),
        pytest.param("[30d])) > 3", "[7d])) > 3", id="resolves itself after a week"),
        pytest.param("> 3 * 3600", "> 1 * 3600", id="fires between two late hourly samples"),
        pytest.param("> 3 * 3600", "> 4 * 3600", id="fires late"),
        pytest.param("by (cluster)", "", id="one live cluster hides a dead one"),
        pytest.param("for: 3h", "for: 2h", id="absent fires early"),
        pytest.param("expr: absent_over_time(carbon_etl_last_success_timestamp_seconds[30d])",
                     "expr: absent(carbon_etl_rows)", id="absent metric mistaken"),
    ],
)  # fmt: skip
def test_the_cases_find_a_wrong_rule(tmp_path: Path, right: str, wrong: str) -> None:
    text = RULES.read_text(encoding="utf-8")
    assert text.count(right) == 1
    (tmp_path / "wrong.rules.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    for path in CASES:
        cases = path.read_text(encoding="utf-8").replace("../../queries/freshness.rules.yml", "wrong.rules.yml")
        (tmp_path / path.name).write_text(cases, encoding="utf-8")
    assert promtool("check", "rules", str(tmp_path / "wrong.rules.yml")).returncode == 0
    result = promtool("test", "rules", *(str(tmp_path / path.name) for path in CASES))
    assert result.returncode != 0
    assert "FAILED" in result.stdout + result.stderr


def test_the_rules_read_windows_of_published_series_and_record_nothing() -> None:
    text = RULES.read_text(encoding="utf-8")
    assert not re.search(r"^\s*-?\s*record:", text, re.MULTILINE)
    found = expressions()
    assert found[0] == STALE
    assert len(found) == text.count("- alert:") == 2
    for expr in found:
        assert promql.instant_lookups(expr) == []
        assert promql.revisions_apart(expr) == []
        assert promql.unknown_names(expr) == []


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    alerts = RULES.read_text(encoding="utf-8").split("- alert: ")[1:]
    for alert in alerts:
        for field in ("severity", "summary", "description", "runbook"):
            assert re.search(rf"^\s+{field}:", alert, re.MULTILINE), f"{alert.split()[0]} has no {field}"
