"""Everything that runs a configuration beside kube-prometheus-stack, in parts."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.deployment import alerts, grafana
from pipeline.deployment.destinations import destination, destinations, refuse_loopback
from pipeline.deployment.objects import Object, Placement, labels
from pipeline.deployment.packing import Packed, pack
from pipeline.deployment.pipeline_objects import PLACES, SECRETS, pipeline_objects
from pipeline.deployment.store import is_ours, store_address, store_objects, with_store
from pipeline.deployment.yaml_text import to_yaml
from pipeline.errors import visible
from pipeline.settings import Settings

KUSTOMIZATION = "kustomization.yaml"


@dataclass(frozen=True)
class Manifests:
    """What is applied.

    Attributes:
        parts: objects by the name of their file.
        header: comment lines for the person who applies them.
    """

    parts: Mapping[str, list[Object]]
    header: list[str]

    def stream(self) -> str:
        """All of it as one stream, for `kubectl apply -f -`."""
        objects = [one for part in self.parts.values() for one in part]
        return _comment(self.header) + to_yaml(objects)

    def tree(self) -> dict[str, str]:
        """All of it as files of a folder, for `kubectl apply -k`."""
        files = {f"{name}.yaml": to_yaml(part) for name, part in self.parts.items() if part}
        return {KUSTOMIZATION: _comment(self.header) + to_yaml([kustomization([*files])])} | files


def kustomization(resources: list[str]) -> Object:
    """The file that names the others."""
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"} | (
        {"resources": resources} if resources else {}
    )


def manifests(settings: Settings, placement: Placement) -> Manifests:
    """The objects for this configuration.

    Raises:
        ConfigError: an address that means another machine in a pod, or a file that cannot be taken along.
    """
    refuse_loopback(settings, f"{store_address(placement.namespace)}/api/v1/write")
    settings = with_store(settings, placement.namespace) if placement.with_store else settings
    packed = pack(settings, PLACES)
    is_own = any(is_ours(store, placement.namespace) for store in settings.remote_write)
    servers = {destination(endpoint.url) for cluster in settings.clusters for endpoint in cluster.prometheus}
    in_prometheus = any(destination(store.url) in servers for store in settings.remote_write)
    evaluating = [{"podSelector": {"matchLabels": labels(alerts.COMPONENT)}}]
    shown = next((store for store in settings.remote_write if store.query_url != "none" and store.sigv4 is None), None)
    parts = {
        "pipeline": pipeline_objects(packed, destinations(settings), placement),
        "store": store_objects(placement, evaluating) if is_own else [],
        "alerts": [
            alerts.prometheus_rule(placement, with_store=is_own, with_figures=in_prometheus),
            *(alerts.evaluator(placement) if is_own else []),
        ],
        "rules": [alerts.rules_map(placement)] if is_own else [],
        "grafana": [grafana.data_source(shown, placement)] if shown is not None else [],
        "dashboards": grafana.dashboards(placement) if shown is not None else [],
    }
    noted = _evaluated(settings, is_own=is_own, in_prometheus=in_prometheus)
    return Manifests(parts, [*_before(packed, placement), *noted])


def _before(packed: Packed, placement: Placement) -> list[str]:
    """What is done by hand, and in which order."""
    namespace = placement.namespace
    secrets = [f"    --from-file={name}={_here(source)}" for name, source in packed.secrets.items()]
    lines = [
        "carbon-etl beside kube-prometheus-stack, Kubernetes 1.29 or newer; written by `carbon-etl deploy kubernetes`.",
        "Held to the published schemas; never applied to a cluster by its makers: unverified there.",
        "",
        f"  kubectl create namespace {namespace}",
        f"  kubectl label namespace {namespace} pod-security.kubernetes.io/enforce=restricted",
    ]
    if secrets:
        command = [f"  kubectl -n {namespace} create secret generic {SECRETS}", *secrets]
        lines += [f"{line} \\" for line in command[:-1]] + command[-1:]
    return [
        *lines,
        "  kubectl apply --server-side -f THIS_FILE          (of a folder: -k FOLDER)",
        f"  kubectl -n {namespace} create job --from=cronjob/carbon-etl first-run",
    ]


def _here(source: str | Path) -> str:
    """A file with the secret, of a variable one that bash makes for the moment."""
    return shlex.quote(str(source)) if isinstance(source, Path) else f'<(printf %s "${source}")'


def _evaluated(settings: Settings, *, is_own: bool, in_prometheus: bool) -> list[str]:
    """Who looks after the alerts over published figures."""
    if is_own:
        return ["", "Alerts over the figures are evaluated by vmalert, on the job by the stack's Prometheus."]
    if in_prometheus or not settings.remote_write:
        return []
    return ["", "Alerts over the figures (queries/*.rules.yml) have to be loaded where these are stored."]


def _comment(lines: list[str]) -> str:
    return "".join(f"# {visible(line)}".rstrip() + "\n" for line in lines)
