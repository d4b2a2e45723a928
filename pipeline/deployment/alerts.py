"""Alerts where they see what they are about: the job in the cluster's Prometheus, the figures where these are stored.

A PrometheusRule over figures that lie in a store of their own would see none of them, and say that no run ever ended.
"""

from pathlib import Path
from typing import Any, TypeAlias

import yaml

from pipeline.deployment import network
from pipeline.deployment.objects import (
    MOUNT_MODE,
    NAME,
    Object,
    Placement,
    config_map,
    labels,
    metadata,
    pod,
    resources,
)
from pipeline.deployment.store import PORT, STORE, store_address

Rule: TypeAlias = dict[str, Any]

COMPONENT = "alerts"
ALERTS = f"{NAME}-alerts"
ALERTMANAGER_PORT = 9093
IMAGE = "victoriametrics/vmalert:v1.136.1"
RULES = "/etc/carbon-etl/rules"
RUNBOOK = "docs/kubernetes.md"
# Beside the package, in the source tree and in the wheel alike.
QUERIES = Path(__file__).parents[2] / "queries"


def shipped_rules() -> dict[str, str]:
    """Every file of alerts over the published figures, by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(QUERIES.glob("*.rules.yml"))}


def prometheus_rule(placement: Placement, *, with_store: bool, with_figures: bool) -> Object:
    """Alerts for the Prometheus of the stack: on the job, on our store, and on the figures where these are in it."""
    rules = _job_rules(placement.namespace) + (_store_rules(placement.namespace) if with_store else [])
    groups = [{"name": f"{NAME}-job", "rules": rules}]
    if with_figures:
        groups += [group for text in shipped_rules().values() for group in yaml.safe_load(text)["groups"]]
    about = metadata(NAME, placement.namespace, COMPONENT, more={"release": placement.release})
    spec = {"groups": groups}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": about, "spec": spec}


def _job_rules(namespace: str) -> list[Rule]:
    """On what kube-state-metrics and the kubelet tell of our objects."""
    job = f'{{namespace="{namespace}", cronjob="{NAME}"}}'
    volume = f'{{namespace="{namespace}", persistentvolumeclaim=~"(data-)?{NAME}.*"}}'
    return [
        _rule(
            "CarbonEtlJobFails",
            f"time() - max by (namespace, cronjob) (kube_cronjob_status_last_successful_time{job} or "
            f"kube_cronjob_created{job}) > 3 * 3600",
            "No run of {{ $labels.namespace }}/{{ $labels.cronjob }} ended well for {{ $value | humanizeDuration }}",
            f"kubectl -n {namespace} get jobs, then the log of the newest: its last lines and exit code say what to do "
            "(docs/reference.md, Exit codes). Nothing is lost while Prometheus has raw samples.",
        ),
        _rule(
            "CarbonEtlVolumeFull",
            f"kubelet_volume_stats_available_bytes{volume} / kubelet_volume_stats_capacity_bytes{volume} < 0.1",
            "Volume {{ $labels.persistentvolumeclaim }} has {{ $value | humanizePercentage }} left",
            "Enlarge the claim, or make days of old hours: carbon-etl prune.",
        ),
    ]


def _store_rules(namespace: str) -> list[Rule]:
    return [
        _rule(
            "CarbonEtlStoreDown",
            f'kube_statefulset_status_replicas_ready{{namespace="{namespace}", statefulset="{STORE}"}} == 0',
            "The store of {{ $labels.namespace }} is not ready",
            f"kubectl -n {namespace} describe pod {STORE}-0. Runs write parquet meanwhile, and the first one that "
            "reaches the store publishes what it lacks.",
        )
    ]


def _rule(name: str, expression: str, summary: str, runbook: str) -> Rule:
    return {
        "alert": name,
        "expr": expression,
        "for": "15m",
        "labels": {"severity": "warning"},
        "annotations": {"summary": summary, "runbook": runbook, "runbook_url": f"{RUNBOOK}#{name.lower()}"},
    }


def rules_map(placement: Placement) -> Object:
    """The shipped rules for vmalert."""
    return config_map(metadata(ALERTS, placement.namespace, COMPONENT), shipped_rules())


def evaluator(placement: Placement) -> list[Object]:
    """vmalert: asks our store, tells the stack's Alertmanager, keeps in the store what is pending."""
    store = store_address(placement.namespace)
    manager = f"http://alertmanager-operated.{placement.stack_namespace}.svc:{ALERTMANAGER_PORT}"
    container = {
        "name": COMPONENT,
        "image": IMAGE,
        "args": [
            f"-rule={RULES}/*.rules.yml",
            f"-datasource.url={store}",
            f"-remoteRead.url={store}",
            f"-remoteWrite.url={store}",
            f"-notifier.url={manager}",
            "-evaluationInterval=5m",
            "-configCheckInterval=5m",
        ],
        "resources": resources("10m", "32Mi", "500m", "128Mi"),
        "volumeMounts": [{"name": "rules", "mountPath": RULES, "readOnly": True}],
    }
    rules = {"name": "rules", "configMap": {"name": ALERTS, "defaultMode": MOUNT_MODE}}
    deployment = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": labels(COMPONENT)},
        "template": pod(COMPONENT, container, [rules]),
    }
    out = [
        network.name_service(),
        {"to": [{"podSelector": {"matchLabels": labels("store")}}], "ports": network.ports(PORT)},
        {"to": [network.of_namespace(placement.stack_namespace)], "ports": network.ports(ALERTMANAGER_PORT)},
    ]
    about = metadata(ALERTS, placement.namespace, COMPONENT)
    return [
        network.policy(ALERTS, placement.namespace, COMPONENT, inwards=[], out=out),
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": deployment},
    ]
