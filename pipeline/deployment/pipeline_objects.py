"""The pipeline itself: its configuration, its volume, its hourly job, whom it may call."""

from pathlib import Path

from pipeline.deployment import network
from pipeline.deployment.destinations import Destination
from pipeline.deployment.objects import (
    MOUNT_MODE,
    NAME,
    Object,
    Placement,
    claim,
    config_map,
    metadata,
    pod,
    resources,
)
from pipeline.deployment.packing import Packed, Places

COMPONENT = "pipeline"
FILES, SECRETS = f"{NAME}-files", f"{NAME}-secrets"
AMAZON = f"{NAME}-aws"  # a Secret of AWS_... variables; not needed where a role gives the keys
CONFIG = Path("/etc/carbon-etl/config/carbon-etl.toml")
PLACES = Places(
    secrets=Path("/etc/carbon-etl/secrets"), files=Path("/etc/carbon-etl/files"), state=Path("/var/lib/carbon-etl")
)
TRY_AGAIN = 75  # the exit code that asks for it
DEADLINE_SECONDS = 55 * 60  # the next hour's run goes on where this one ended
STARTING_SECONDS = 30 * 60
WAREHOUSE = "20Gi"


def pipeline_objects(packed: Packed, called: list[Destination], placement: Placement) -> list[Object]:
    """Everything that a run needs, but for its secrets.

    Raises:
        ConfigError: a file of the configuration cannot be read, or is too large.
    """

    def about(name: str = NAME) -> Object:
        return metadata(name, placement.namespace, COMPONENT)

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about(), "automountServiceAccountToken": False}
    volume = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": about(), "spec": claim(WAREHOUSE)}
    egress = [network.name_service(), *network.egress(called, placement.namespace)]
    return [
        account,
        config_map(about(), {CONFIG.name: packed.config}),
        *([config_map(about(FILES), packed.texts())] if packed.files else []),
        volume,
        network.policy(NAME, placement.namespace, COMPONENT, inwards=[], out=egress),
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": about(), "spec": _hourly(packed, placement)},
    ]


def _hourly(packed: Packed, placement: Placement) -> Object:
    """One run at a time; what fails is tried again only where trying helps, and by the next hour anyway."""
    retries = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {"containerName": NAME, "operator": "NotIn", "values": [TRY_AGAIN]},
        },
    ]
    job = {
        "backoffLimit": 2,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "podFailurePolicy": {"rules": retries},
        "template": _pod(packed, placement),
    }
    return {
        "schedule": placement.schedule,
        "timeZone": "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": STARTING_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }


def _pod(packed: Packed, placement: Placement) -> Object:
    volumes: list[Object] = [{"name": "config", "configMap": {"name": NAME, "defaultMode": MOUNT_MODE}}]
    mounts: list[Object] = [{"name": "config", "mountPath": str(CONFIG.parent), "readOnly": True}]
    if packed.files:
        volumes.append({"name": "files", "configMap": {"name": FILES, "defaultMode": MOUNT_MODE}})
        mounts.append({"name": "files", "mountPath": str(PLACES.files), "readOnly": True})
    if packed.secrets:
        volumes.append({"name": "secrets", "secret": {"secretName": SECRETS, "defaultMode": MOUNT_MODE}})
        mounts.append({"name": "secrets", "mountPath": str(PLACES.secrets), "readOnly": True})
    container = {
        "name": NAME,
        "image": placement.image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["run"],
        "env": [{"name": "CARBON_ETL_CONFIG", "value": str(CONFIG)}],
        **({"envFrom": [{"secretRef": {"name": AMAZON, "optional": True}}]} if packed.asks_amazon else {}),
        "resources": resources("100m", "256Mi", "2", placement.memory),
        "volumeMounts": [*mounts, {"name": "state", "mountPath": str(PLACES.state)}],
    }
    return pod(
        COMPONENT,
        container,
        [*volumes, {"name": "state", "persistentVolumeClaim": {"claimName": NAME}}],
        serviceAccountName=NAME,
        restartPolicy="Never",
        terminationGracePeriodSeconds=60,
    )
