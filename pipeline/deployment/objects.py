"""What every Kubernetes object of ours has in common: names, labels, and pods that may do next to nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.errors import ConfigError, visible

Object: TypeAlias = dict[str, Any]

NAME = "carbon-etl"
USER = 65532  # of the image, and of every pod
MOST_BYTES = 1 << 20  # of a ConfigMap's data; the API server takes no more
MOUNT_MODE = 0o440  # mounted files are the group's, which is the pod's, and nobody else's
NAMESPACE = (r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a name of a-z, 0-9 and '-'")
FORMS = {
    "image": (r"[^\s'\"]+", "the name of an image"),
    "namespace": NAMESPACE,
    "stack_namespace": NAMESPACE,
    "release": (r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", "the value of a label"),
    "schedule": (r"[-0-9*/,]+( [-0-9A-Za-z*/,]+){4}", "five fields as cron has them"),
    "memory": (r"[0-9]+[KMGT]i?", "an amount such as 1Gi"),
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where in which cluster everything goes.

    Attributes:
        image: of the pipeline.
        namespace: of all that is ours.
        stack_namespace: of Prometheus, Alertmanager and Grafana.
        release: of the Helm release whose Prometheus is to load our rules.
        schedule: of the runs, in UTC.
        memory: the most that a run may take.
        with_store: whether a configuration without a store gets the small one.

    Raises:
        ConfigError: one of them is nothing that Kubernetes would take.
    """

    image: str
    namespace: str = NAME
    stack_namespace: str = "monitoring"
    release: str = "kube-prometheus-stack"
    schedule: str = "15 * * * *"
    memory: str = "1Gi"
    with_store: bool = True

    def __post_init__(self) -> None:
        for name, (form, meant) in FORMS.items():
            if not re.fullmatch(form, getattr(self, name)):
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{option} {visible(getattr(self, name))!r} is not {meant}")


def labels(component: str) -> dict[str, str]:
    """By which our pods and objects are told from others, and from each other."""
    return {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": component}


def metadata(name: str, namespace: str, component: str, *, more: Mapping[str, str] | None = None) -> Object:
    """Name, namespace and labels, `more` labels among them."""
    return {"name": name, "namespace": namespace, "labels": labels(component) | dict(more or {})}


def config_map(about: Object, data: Mapping[str, str]) -> Object:
    """Text by file name.

    Raises:
        ConfigError: more than a ConfigMap holds.
    """
    size = sum(len(name) + len(text.encode()) for name, text in data.items())
    if size > MOST_BYTES:
        raise ConfigError(
            f"{', '.join(data)}: {size:,} bytes are more than a ConfigMap holds ({MOST_BYTES:,}): put them on the "
            "volume and write their paths there"
        )
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": dict(data)}


def claim(size: str) -> Object:
    """The specification of a volume of one node at a time, of the cluster's default class."""
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}


def pod(component: str, container: Object, volumes: Sequence[Object], **rest: object) -> Object:
    """A template of a pod of one container, as Pod Security's profile `restricted` wants it, and stricter.

    Its root file system is read only, it has no token of the API server and `/tmp` of its own.
    """
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    mounts = [*container.get("volumeMounts", []), {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 # the pod's own
    spec = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        **rest,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container | {"securityContext": security, "volumeMounts": mounts}],
        "volumes": [*volumes, {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
    }
    return {"metadata": {"labels": labels(component)}, "spec": spec}


def resources(cpu: str, memory: str, most_cpu: str, most_memory: str) -> Object:
    """What a container asks for and the most it gets."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": most_cpu, "memory": most_memory}}
