"""Writes the examples of this folder as `carbon-etl deploy` makes them of example.toml: `python -m deploy.build`.

They are committed, and a test builds them again, so that they are never edited by hand. Dashboards and rules, which a
generated folder of somebody's own holds as copies, are taken from where they lie here.
"""

from pathlib import Path

from pipeline import __version__
from pipeline.cli_dashboards import MOUNTED_AT
from pipeline.config import load
from pipeline.deployment import alerts, grafana
from pipeline.deployment.kubernetes import KUSTOMIZATION, kustomization, manifests
from pipeline.deployment.objects import NAME, Object, Placement
from pipeline.deployment.systemd import units
from pipeline.deployment.yaml_text import to_yaml
from pipeline.handover.dashboards import DASHBOARDS, DataSource
from pipeline.handover.provisioning import tree

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
GENERATED = "# Written by `python -m deploy.build`, for deploy/kubernetes.\n"
BASES = {"dashboards": "dashboards", "rules": "queries"}  # parts of the manifests, and the folders of their files
PLACEMENT = Placement(image=f"{NAME}:{__version__}")
PROGRAM = Path("/opt/carbon-etl/bin/carbon-etl")


def examples() -> dict[str, str]:
    """Every file by its path from the root."""
    settings = load(DEPLOY / "example.toml", {})
    made = manifests(settings, PLACEMENT)
    files = {name: text for name, text in made.tree().items() if Path(name).stem not in BASES}
    head = files[KUSTOMIZATION].partition("apiVersion:")[0]
    resources = [f"../../{BASES[part]}" if part in BASES else f"{part}.yaml" for part in made.parts]
    files[KUSTOMIZATION] = head + to_yaml([kustomization(resources)])
    return {
        **{f"deploy/kubernetes/{name}": text for name, text in files.items()},
        **{f"deploy/systemd/{name}": text for name, text in units(settings, PROGRAM).items()},
        **{f"deploy/compose/grafana/{name}": text for name, text in _provisioning().items()},
        f"dashboards/{KUSTOMIZATION}": _base(grafana.dashboards(PLACEMENT), DASHBOARDS),
        f"queries/{KUSTOMIZATION}": _base([alerts.rules_map(PLACEMENT)], alerts.QUERIES),
    }


def _base(maps: list[Object], folder: Path) -> str:
    """A kustomization that makes these ConfigMaps of the files in `folder`."""
    generators = []
    for one in maps:
        about = one["metadata"]
        options = {"disableNameSuffixHash": True, "labels": about["labels"]}
        options |= {"annotations": about["annotations"]} if "annotations" in about else {}
        files = [f"{key}={_file(key, folder)}" for key in one["data"]]
        generators.append({"name": about["name"], "namespace": about["namespace"], "files": files, "options": options})
    return GENERATED + to_yaml([kustomization([]) | {"configMapGenerator": generators}])


def _file(key: str, folder: Path) -> str:
    """The file that a ConfigMap's key is made of."""
    names = {path.name: path.name for path in folder.iterdir()}
    names |= {grafana.file_name(path.stem): path.name for path in folder.glob("*.json")}
    return names[key]


def _provisioning() -> dict[str, str]:
    """What the compose file's Grafana loads: the store of its configuration, the dashboards of this repository."""
    (store,) = load(DEPLOY / "compose" / "carbon-etl.toml", {}).remote_write
    files = tree(store, DataSource(), grafana.FOLDER, MOUNTED_AT, {})
    return {path: text for path, text in files.items() if path.startswith("provisioning/")}


if __name__ == "__main__":
    for path, text in examples().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
