"""The alerts, run by promtool on samples that are an hour apart and late, and held to their runbook."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards import promql

ROOT = Path(__file__).parents[2]
QUERIES = ROOT / "queries"
CASES = sorted(Path(__file__).parent.glob("alerts/*.test.yml"))
SUCCESS = "carbon_etl_last_success_timestamp_seconds"
BUDGET = "carbon_budget_grams"  # said by a rule file of the user's own
Alert = dict[str, Any]


def alerts() -> dict[str, Alert]:
    """Every rule of every file by its name."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(QUERIES.glob("*.rules.yml"))]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    named = {rule["alert"]: rule for rule in rules}  # a recording rule has no alert: a KeyError
    assert len(named) == len(rules)
    return named


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Without a garbage collection: 170 MB at most, and a quarter of its time."""
    env = os.environ | {"GOGC": "off"}
    return subprocess.run(["promtool", *arguments], env=env, capture_output=True, text=True, check=False)


@pytest.mark.real
def test_all_alerts_fire_when_they_should_and_no_sooner() -> None:
    checked = promtool("check", "rules", *map(str, sorted(QUERIES.glob("*.rules.yml"))))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    result = promtool("test", "rules", *map(str, CASES))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_fires_in_a_case() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in CASES)
    fired = set(re.findall(r'ALERTS\{alertname="(\w+)",alertstate="firing"', told)) | {
        case["alertname"]
        for path in CASES
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", [])
        if case["exp_alerts"]
    }
    assert fired == set(alerts())


@pytest.mark.real
@pytest.mark.parametrize(
    ("rules", "right", "wrong"),
    [
        pytest.param("freshness", f"max by (cluster) (max_over_time({SUCCESS}[30d]))", SUCCESS, id="instant lookup"),
        pytest.param("freshness", "[30d])) > 3", "[2h])) > 3", id="window shorter than the limit"),
        pytest.param("freshness", "[30d])) > 3", "[7d])) > 3", id="resolves itself after a week"),
        pytest.param("freshness", "> 3 * 3600", "> 1 * 3600", id="fires between two late hourly samples"),
        pytest.param("freshness", "> 3 * 3600", "> 4 * 3600", id="fires late"),
        pytest.param("freshness", "max by (cluster)", "max", id="one live cluster hides a dead one"),
        pytest.param("freshness", "for: 3h", "for: 2h", id="absent fires early"),
        pytest.param("freshness", f"absent_over_time({SUCCESS}[30d])", "absent(carbon_etl_rows)", id="absent mistaken"),
        pytest.param("freshness", "[6h]", "[3h]", id="old after a short gap"),
        pytest.param("freshness", "[7d]", "[5h]", id="old only for a moment"),
        pytest.param("holes", "min_over_time", "max_over_time", id="one run is enough"),
        pytest.param("holes", '{check="coverage"}', "", id="any check"),
        pytest.param("holes", "> 0", "> 1", id="never"),
        pytest.param("holes", "[3h]", "[10m]", id="between two runs it forgets"),
        pytest.param("figures", "implausible|", "implausible|cross_meter|", id="a note fires"),
        pytest.param("figures", "[3h]", "[10m]", id="a failed check is forgotten"),
        pytest.param("figures", "abs(", "(", id="energy booked twice is missed"),
        pytest.param("figures", "_residual_joules[24h]", "_residual_joules[1h]", id="a residual that cancels fires"),
        pytest.param("figures", "> 0.02", "> 0.005", id="a small residual fires"),
        pytest.param("grid", '{revision="0", intensity_quality', "{intensity_quality", id="late, not down, fires"),
        pytest.param("grid", "offset 54h", "offset 5h", id="before corrections are due"),
        pytest.param("grid", "offset 54h))) > 1", "offset 54h))) > 30", id="missing energy is not seen"),
        pytest.param("grid", '"measured"}[30d]))) > 0', '"yearly_zone"}[30d]))) > 0', id="only yearly, fires"),
        pytest.param("grid", "> 0.5", "> 0.2", id="a quarter of estimates fires"),
        pytest.param("budget", "* 30 / 7", "* 30", id="a week for a month"),
        pytest.param("budget", "[30d]", "[7d]", id="spent in a week"),
        pytest.param("budget", "max_over_time(carbon_budget_grams[2h])", "vector(7000)", id="a budget for everyone"),
    ],
)  # fmt: skip
def test_the_cases_find_a_wrong_rule(tmp_path: Path, rules: str, right: str, wrong: str) -> None:
    text = (QUERIES / f"{rules}.rules.yml").read_text(encoding="utf-8")
    assert right in text
    (tmp_path / "wrong.rules.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    paths = []
    for path in CASES:
        if path.name.split(".")[0].split("_")[0] == rules:
            cases = path.read_text(encoding="utf-8").replace(f"../../../queries/{rules}.rules.yml", "wrong.rules.yml")
            paths.append(tmp_path / path.name)
            paths[-1].write_text(cases, encoding="utf-8")
    assert promtool("check", "rules", str(tmp_path / "wrong.rules.yml")).returncode == 0
    result = promtool("test", "rules", *map(str, paths))
    assert result.returncode != 0
    assert "FAILED" in result.stdout + result.stderr


@pytest.mark.parametrize("name", alerts())
def test_an_alert_reads_windows_of_published_series(name: str) -> None:
    expr = alerts()[name]["expr"]
    assert promql.instant_lookups(expr) == []
    assert promql.revisions_apart(expr) == []
    assert set(promql.unknown_names(expr)) <= {BUDGET}


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_what_happened_and_what_to_do(name: str) -> None:
    alert = alerts()[name]
    assert alert["labels"]["severity"] in ("info", "warning")
    assert set(alert["annotations"]) == {"summary", "description", "runbook", "runbook_url"}
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    assert f"\n## {name}\n" in runbook


def test_the_runbook_is_about_these_alerts() -> None:
    assert set(
        re.findall(r"^## (Carbon\w+)$", (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8"), re.M)
    ) == set(alerts())


@pytest.mark.parametrize("name", alerts())
def test_the_commands_of_a_runbook_exist(name: str) -> None:
    """`carbon-etl sql NAME` names a shipped query."""
    text = " ".join(alerts()[name]["annotations"]["runbook"].split())
    for query in re.findall(r"`carbon-etl sql (\w+)", text):
        assert (QUERIES / f"{query}.sql").is_file(), query
