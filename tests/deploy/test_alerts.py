"""The alerts on the job fire when they should, by promtool; the others are read by what evaluates them."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.deployed import IN_PROMETHEUS, SMALL, made, objects, pods
from tests.product import ROOT

CRON = '{namespace="carbon-etl", cronjob="carbon-etl"}'
CLAIM = '{namespace="carbon-etl", persistentvolumeclaim="data-carbon-etl-store-0"}'
FREE, SIZE = f"kubelet_volume_stats_available_bytes{CLAIM}", f"kubelet_volume_stats_capacity_bytes{CLAIM}"
READY = 'kube_statefulset_status_replicas_ready{namespace="carbon-etl", statefulset="carbon-etl-store"}'
SUCCESS, CREATED = f"kube_cronjob_status_last_successful_time{CRON}", f"kube_cronjob_created{CRON}"

# Series of one sample a minute, the minute that is looked at, and what the alert's summary says then; None: nothing.
CASES = {
    "a run three hours ago": (
        "CarbonEtlJobFails", {SUCCESS: "0x300", CREATED: "0x300"}, "3h10m", None),
    "none for longer": (
        "CarbonEtlJobFails", {SUCCESS: "0x300", CREATED: "0x300"}, "3h20m",
        "No run of carbon-etl/carbon-etl ended well for 3h 20m 0s"),
    "none since it was made": (
        "CarbonEtlJobFails", {CREATED: "0x300"}, "4h", "No run of carbon-etl/carbon-etl ended well for 4h 0m 0s"),
    "a run that ended well": (
        "CarbonEtlJobFails", {SUCCESS: "0x180 10800x200", CREATED: "0x300"}, "4h", None),
    "a volume with room": ("CarbonEtlVolumeFull", {FREE: "11x60", SIZE: "100x60"}, "30m", None),
    "a full volume": (
        "CarbonEtlVolumeFull", {FREE: "9x60", SIZE: "100x60"}, "30m", "Volume data-carbon-etl-store-0 has 9% left"),
    "a store that is there": ("CarbonEtlStoreDown", {READY: "1x60"}, "30m", None),
    "a store that is away": ("CarbonEtlStoreDown", {READY: "0x60"}, "30m", "The store of carbon-etl is not ready"),
    "a store that is away for a moment": ("CarbonEtlStoreDown", {READY: "1x20 0x10 1x30"}, "30m", None),
}  # fmt: skip


def a_file(path: Path, content: Any) -> Path:  # noqa: ANN401 # any YAML
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.real
def test_every_alert_of_the_job_fires_when_it_should(tmp_path: Path) -> None:
    spec = objects(made())["PrometheusRule", "carbon-etl"]["spec"]
    rules = {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}
    assert {alert for alert, *_ in CASES.values()} == set(rules)
    tests = []
    for alert, series, at, summary in CASES.values():
        expected = []
        if summary is not None:
            labels = {"severity": "warning"} | _labels_of(alert)
            annotations = rules[alert]["annotations"] | {"summary": summary}
            expected = [{"exp_labels": labels, "exp_annotations": annotations}]
        values = [{"series": name, "values": text} for name, text in series.items()]
        checks = [{"alertname": alert, "eval_time": at, "exp_alerts": expected}]
        tests.append({"interval": "1m", "input_series": values, "alert_rule_test": checks})
    files = [str(a_file(tmp_path / "job.rules.yml", spec))]
    said("promtool", "test", "rules", str(a_file(tmp_path / "test.yml", {"rule_files": files, "tests": tests})))


def test_every_alert_of_the_job_has_its_section() -> None:
    for group in objects(made())["PrometheusRule", "carbon-etl"]["spec"]["groups"]:
        for rule in group["rules"]:
            page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
            headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower() for heading in headings]


def _labels_of(alert: str) -> dict[str, str]:
    labels = {"CarbonEtlJobFails": CRON, "CarbonEtlVolumeFull": CLAIM, "CarbonEtlStoreDown": READY}[alert]
    return {part.split("=")[0]: part.split('"')[1] for part in labels.partition("{")[2].rstrip("}").split(", ")}


@pytest.mark.real
def test_promtool_reads_all_rules_where_the_figures_are_in_that_prometheus(tmp_path: Path) -> None:
    spec = objects(made(SMALL + IN_PROMETHEUS))["PrometheusRule", "carbon-etl"]["spec"]
    said("promtool", "check", "rules", "--lint-fatal", str(a_file(tmp_path / "all.rules.yml", spec)))


@pytest.mark.real
def test_vmalert_reads_the_rules_by_the_pattern_that_it_is_given(tmp_path: Path) -> None:
    manifests = made()
    for name, text in objects(manifests)["ConfigMap", "carbon-etl-alerts"]["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (container,) = pods(manifests)["carbon-etl-alerts"]["containers"]
    (mount,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "rules")
    log = said("vmalert", "-dryRun", *(word.replace(mount, str(tmp_path)) for word in container["args"]))
    assert "error" not in log
