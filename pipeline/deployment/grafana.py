"""The stack's Grafana told of our store and our dashboards: ConfigMaps that its sidecars look for."""

from pathlib import Path

import yaml

from pipeline.deployment.objects import NAME, Object, Placement, config_map, metadata
from pipeline.handover.dashboards import DataSource, shipped, text
from pipeline.handover.provisioning import data_source_document
from pipeline.settings import StoreSettings

COMPONENT = "grafana"
FOLDER_ANNOTATION, FOLDER = "grafana_folder", "Carbon"


def data_source(store: StoreSettings, placement: Placement) -> Object:
    """The store as a data source, in the stack's namespace: there alone its sidecar looks for one by default.

    Raises:
        ConfigError: a store that Grafana cannot ask.
    """
    about = metadata(f"{NAME}-datasource", placement.stack_namespace, COMPONENT, more={"grafana_datasource": "1"})
    document = yaml.safe_dump(data_source_document(store, DataSource()), sort_keys=False)
    return config_map(about, {f"{NAME}.yaml": document})


def dashboards(placement: Placement) -> list[Object]:
    """Each dashboard in a ConfigMap of its own.

    Raises:
        ConfigError: one is larger than a ConfigMap may be.
    """
    found = []
    for name, document in shipped(DataSource()).items():
        file = file_name(name)
        about = metadata(Path(file).stem, placement.stack_namespace, COMPONENT, more={"grafana_dashboard": "1"})
        about["annotations"] = {FOLDER_ANNOTATION: FOLDER}
        found.append(config_map(about, {file: text(document)}))
    return found


def file_name(dashboard: str) -> str:
    """What a sidecar calls the file of a dashboard, beside those of everybody else."""
    return f"{NAME}-{dashboard}.json".replace("_", "-")
