"""The manifests: valid by the published schemas, hardened, complete, and without a secret."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline.deployment.kubernetes import Manifests
from pipeline.deployment.objects import MOST_BYTES, Object, config_map, metadata
from pipeline.deployment.systemd import SERVICE, units
from pipeline.errors import ConfigError
from pipeline.handover.dashboards import DASHBOARDS
from tests.deploy.deployed import AMAZON, IN_PROMETHEUS, LARGE, SMALL, made, objects, pods, settings
from tests.deploy.schemas import PROMETHEUS_RULE

OLDEST, NEWEST = "1.29", "1.37"  # older schemas want keys that no such rule needs; newer ones are not known here
OWN_STORE = '[[remote_write]]\nurl = "http://carbon-etl-store.carbon-etl.svc:8428/api/v1/write"\n'
BLIND = '[[remote_write]]\nurl = "https://store.example/api/v1/write"\nquery_url = "none"\nhorizon = "1d"\n'
PROGRAM = Path("/opt/carbon-etl/bin/carbon-etl")
CONFIGS = {
    "small": SMALL,
    "large": LARGE,
    "in prometheus": SMALL + IN_PROMETHEUS,
    "blind": SMALL + BLIND,
    "amazon": AMAZON,
}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_every_object_is_valid(text: str, version: str) -> None:
    for (kind, name), one in objects(made(text)).items():
        if kind == "PrometheusRule":
            jsonschema.validate(one, PROMETHEUS_RULE)
        else:
            assert kubernetes_validate.validate(one, version, strict=True) == version, name


def test_the_schemas_would_refuse_a_misspelt_key() -> None:
    found = deepcopy(objects(made()))
    job, rule = found["CronJob", "carbon-etl"], found["PrometheusRule", "carbon-etl"]
    job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["readOnlyRootFilesytem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, NEWEST, strict=True)
    rule["spec"]["groups"][0]["rules"][0]["severity"] = "warning"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(rule, PROMETHEUS_RULE)


def brief(manifests: Manifests) -> Manifests:
    """All but most of the dashboards, which are long."""
    return replace(manifests, parts={**manifests.parts, "dashboards": manifests.parts["dashboards"][:1]})


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_the_stream_and_the_tree_hold_the_same_objects(text: str) -> None:
    manifests = brief(made(text))
    stream = list(yaml.safe_load_all(manifests.stream()))
    tree = manifests.tree()
    named = yaml.safe_load(tree.pop("kustomization.yaml"))["resources"]
    assert set(named) == set(tree)
    assert [one for name in named for one in yaml.safe_load_all(tree[name])] == stream
    assert stream == [one for part in manifests.parts.values() for one in part]


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_every_pod_meets_the_profile_restricted_and_more(text: str) -> None:
    found = pods(made(text))
    assert "carbon-etl" in found
    for name, pod in found.items():
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] >= 1000
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "secret", "emptyDir", "persistentVolumeClaim"}
        (container,) = pod["containers"]
        own = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == own
        assert set(container["resources"]) == {"requests", "limits"}
        assert all(set(amounts) == {"cpu", "memory"} for amounts in container["resources"].values())
        assert ":" in container["image"]
        assert not container["image"].endswith(":latest")


def test_a_run_can_write_to_its_volume_and_its_temporary_folder_only() -> None:
    (container,) = pods(made(LARGE))["carbon-etl"]["containers"]
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert writable == {"/var/lib/carbon-etl", "/tmp"}  # noqa: S108 # of the pod


def test_the_job_runs_alone_in_time_and_is_retried_only_where_that_helps() -> None:
    cron = objects(made(schedule="7 * * * *"))["CronJob", "carbon-etl"]["spec"]
    assert (cron["schedule"], cron["timeZone"], cron["concurrencyPolicy"]) == ("7 * * * *", "Etc/UTC", "Forbid")
    job = cron["jobTemplate"]["spec"]
    assert 10 < cron["startingDeadlineSeconds"] < job["activeDeadlineSeconds"] < 3600
    ends = {code: _outcome(job, code) for code in (1, 2, 65, 69, 75, 137)}
    assert ends == {1: "fail", 2: "fail", 65: "fail", 69: "fail", 75: "retry", 137: "fail"}
    assert job["backoffLimit"] == 2


def _outcome(job: Object, code: int) -> str:
    """What the job controller makes of a container that ended with `code`."""
    for rule in job["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes")
        if codes is not None and (code in codes["values"]) == (codes["operator"] == "In"):
            return {"FailJob": "fail"}[rule["action"]]
    return "retry"


@pytest.mark.parametrize("text", CONFIGS.values(), ids=CONFIGS)
def test_everything_that_is_mounted_is_made_but_the_secret(text: str) -> None:
    manifests = made(text)
    found = objects(manifests)
    for pod in pods(manifests).values():
        (container,) = pod["containers"]
        claimed = {"data"} if container["name"] == "store" else set()
        assert {mount["name"] for mount in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]} | claimed
        for volume in pod["volumes"]:
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in found
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in found
    assert not any(kind == "Secret" for kind, _ in found)


def test_selectors_select_their_own_pods_only() -> None:
    found = objects(made())
    templates = {
        name: found[kind, name]["spec"]["template"]["metadata"]["labels"]
        for kind, name in (("StatefulSet", "carbon-etl-store"), ("Deployment", "carbon-etl-alerts"))
    }
    for kind, name in (("StatefulSet", "carbon-etl-store"), ("Deployment", "carbon-etl-alerts")):
        assert found[kind, name]["spec"]["selector"]["matchLabels"] == templates[name]
    service = found["Service", "carbon-etl-store"]
    assert service["spec"]["selector"] == templates["carbon-etl-store"]
    assert len({tuple(labels.items()) for labels in templates.values()}) == 2


def test_a_secret_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_TOKEN", "hunter2")
    text = brief(made(LARGE)).stream()
    assert "hunter2" not in text
    command = [line for line in text.splitlines() if line.startswith("#") and "--from-file" in line]
    assert '--from-file=STORE_TOKEN=<(printf %s "$STORE_TOKEN")' in "".join(command)
    assert "--from-file=grid-token=/run/grid/token" in "".join(command)
    mounted = pods(made(LARGE))["carbon-etl"]["volumes"]
    assert {"name": "secrets", "secret": {"secretName": "carbon-etl-secrets", "defaultMode": 0o440}} in mounted
    assert "carbon-etl-secrets" not in brief(made()).stream()


def test_keys_of_amazon_come_from_a_secret_or_a_role_where_they_are_needed(tmp_path: Path) -> None:
    (container,) = pods(made(AMAZON))["carbon-etl"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "carbon-etl-aws", "optional": True}}]
    assert "EnvironmentFile=-/etc/carbon-etl/aws.env\n" in units(settings(tmp_path, AMAZON), PROGRAM)[SERVICE]
    for text in (SMALL, LARGE):
        assert "envFrom" not in pods(made(text))["carbon-etl"]["containers"][0]
        assert "EnvironmentFile" not in units(settings(tmp_path, text), PROGRAM)[SERVICE]


def test_a_configuration_without_a_store_gets_the_small_one() -> None:
    given, named = made(), made(SMALL + OWN_STORE)
    assert ("StatefulSet", "carbon-etl-store") in objects(given)
    config = objects(given)["ConfigMap", "carbon-etl"]["data"]["carbon-etl.toml"]
    assert 'url = "http://carbon-etl-store.carbon-etl.svc:8428/api/v1/write"' in config
    assert set(objects(named)) == set(objects(given))


def test_a_configuration_without_a_store_may_stay_so() -> None:
    manifests = made(with_store=False)
    assert "remote_write" not in objects(manifests)["ConfigMap", "carbon-etl"]["data"]["carbon-etl.toml"]
    kinds = {kind for kind, _ in objects(manifests)}
    assert not {"StatefulSet", "Service", "Deployment"} & kinds
    assert manifests.parts["dashboards"] == []


def test_a_configuration_with_a_store_gets_no_other() -> None:
    for text in (LARGE, SMALL + IN_PROMETHEUS, SMALL + BLIND):
        kinds = {kind for kind, _ in objects(made(text))}
        assert not {"StatefulSet", "Service", "Deployment"} & kinds


def test_the_small_store_counts_a_repeated_sample_once() -> None:
    (container,) = pods(made())["carbon-etl-store"]["containers"]
    assert "-dedup.minScrapeInterval=1ms" in container["args"]
    (data,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "data")
    assert f"-storageDataPath={data}" in container["args"]


def test_alerts_over_figures_go_where_the_figures_are() -> None:
    def alerts(text: str) -> set[str]:
        groups = objects(made(text))["PrometheusRule", "carbon-etl"]["spec"]["groups"]
        return {rule["alert"] for group in groups for rule in group["rules"]}

    job = {"CarbonEtlJobFails", "CarbonEtlVolumeFull"}
    assert alerts(SMALL) == job | {"CarbonEtlStoreDown"}
    assert alerts(LARGE) == job
    assert alerts(SMALL + IN_PROMETHEUS) >= job | {"CarbonEtlStale", "CarbonEtlNeverSucceeded"}
    rules = objects(made())["ConfigMap", "carbon-etl-alerts"]["data"]
    assert "CarbonEtlStale" in rules["freshness.rules.yml"]


def test_the_stack_finds_what_is_for_it() -> None:
    found = objects(made(release="prom", stack_namespace="observability"))
    assert found["PrometheusRule", "carbon-etl"]["metadata"]["labels"]["release"] == "prom"
    source = found["ConfigMap", "carbon-etl-datasource"]
    assert source["metadata"]["namespace"] == "observability"
    assert source["metadata"]["labels"]["grafana_datasource"] == "1"
    (shown,) = yaml.safe_load(source["data"]["carbon-etl.yaml"])["datasources"]
    assert shown["url"] == "http://carbon-etl-store.carbon-etl.svc:8428"
    args = pods(made(stack_namespace="observability"))["carbon-etl-alerts"]["containers"][0]["args"]
    assert "-notifier.url=http://alertmanager-operated.observability.svc:9093" in args


def test_every_dashboard_comes_along_and_opens_with_our_data_source() -> None:
    manifests = made()
    (shown,) = yaml.safe_load(objects(manifests)["ConfigMap", "carbon-etl-datasource"]["data"]["carbon-etl.yaml"])[
        "datasources"
    ]
    documents: list[dict[str, Any]] = []
    for one in manifests.parts["dashboards"]:
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Carbon"}
        documents += [json.loads(text) for text in one["data"].values()]
    shipped = [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS.glob("*.json")]
    assert {one["uid"] for one in documents} == {one["uid"] for one in shipped}
    for one in documents:
        (chosen,) = (v["current"] for v in one["templating"]["list"] if v["name"] == "datasource")
        assert chosen["value"] == shown["uid"]


def test_a_store_that_cannot_be_asked_shows_no_dashboard() -> None:
    manifests = made(SMALL + BLIND)
    assert manifests.parts["grafana"] == manifests.parts["dashboards"] == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("namespace", "green\nkind: Pod", "--namespace"),
        ("namespace", "Green", "--namespace"),
        ("stack_namespace", "", "--stack-namespace"),
        ("release", "a b", "--release"),
        ("image", "a b", "--image"),
        ("schedule", "hourly", "--schedule"),
        ("memory", "1 GB", "--memory"),
    ],
)
def test_what_kubernetes_would_not_take_is_refused_before_it_is_written(key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**{key: value})


def test_more_than_a_config_map_holds_is_refused() -> None:
    about = metadata("x", "y", "z")
    config_map(about, {"a": "x" * (MOST_BYTES - 1)})
    with pytest.raises(ConfigError, match=r"1,048,577 bytes are more than a ConfigMap holds"):
        config_map(about, {"a": "x" * MOST_BYTES})
