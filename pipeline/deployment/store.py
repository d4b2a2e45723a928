"""The small store that the figures are published to: VictoriaMetrics, one node, as the pipeline needs it."""

from pipeline.deployment import network
from pipeline.deployment.objects import NAME, Object, Placement, claim, labels, metadata, pod, resources
from pipeline.settings import Settings, StoreSettings

COMPONENT = "store"
STORE = f"{NAME}-store"
PORT = 8428
IMAGE = "victoriametrics/victoria-metrics:v1.136.1"
DATA = "/storage"
VOLUME = "10Gi"


def store_address(namespace: str) -> str:
    """Of the store of that namespace."""
    return f"http://{STORE}.{namespace}.svc:{PORT}"


def with_store(settings: Settings, namespace: str) -> Settings:
    """The configuration with this store, where it names none at all."""
    if settings.remote_write:
        return settings
    ours = StoreSettings.model_validate({"name": STORE, "url": f"{store_address(namespace)}/api/v1/write"})
    return settings.model_copy(update={"remote_write": (ours,)})


def is_ours(store: StoreSettings, namespace: str) -> bool:
    """Whether it is the one that is deployed here."""
    return store.query_url.replace(".svc.cluster.local:", ".svc:") == store_address(namespace)


def store_objects(placement: Placement, readers: list[Object]) -> list[Object]:
    """Its pod with its volume, its address, and who may reach it: `readers`, the pipeline, Grafana."""
    peers = [
        {"podSelector": {"matchLabels": labels("pipeline")}},
        *readers,
        network.of_namespace(placement.stack_namespace, {"app.kubernetes.io/name": "grafana"}),
    ]
    about = metadata(STORE, placement.namespace, COMPONENT)
    service = {
        "selector": labels(COMPONENT),
        "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
    }
    stateful = {
        "replicas": 1,
        "serviceName": STORE,
        "selector": {"matchLabels": labels(COMPONENT)},
        "template": pod(COMPONENT, _container(), []),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim(VOLUME)}],
    }
    rules = [{"from": peers, "ports": network.ports(PORT)}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": service},
        network.policy(STORE, placement.namespace, COMPONENT, inwards=rules, out=[]),
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": about, "spec": stateful},
    ]


def _container() -> Object:
    return {
        "name": COMPONENT,
        "image": IMAGE,
        "args": [
            f"-storageDataPath={DATA}",
            f"-httpListenAddr=:{PORT}",
            "-retentionPeriod=5y",
            "-dedup.minScrapeInterval=1ms",  # else a sample that is sent twice counts twice
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": "http"}},
        "resources": resources("50m", "128Mi", "1", "1Gi"),
        "volumeMounts": [{"name": "data", "mountPath": DATA}],
    }
