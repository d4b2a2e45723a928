"""deploy/ is what `python -m deploy.build` writes, and kustomize makes of it what the command prints."""

import json
import shutil
import subprocess

import pytest
import yaml

from deploy.build import PLACEMENT, ROOT, examples
from pipeline.config import load
from pipeline.deployment.kubernetes import manifests
from pipeline.deployment.objects import Object

KUBERNETES = ROOT / "deploy" / "kubernetes"


def test_the_committed_examples_are_what_is_built() -> None:
    built = examples()
    stale = [path for path, text in built.items() if not _is(path, text)]
    assert not stale, f"run `python -m deploy.build`: {', '.join(stale)}"
    for folder in ("kubernetes", "systemd"):
        there = {str(path.relative_to(ROOT)) for path in (ROOT / "deploy" / folder).rglob("*") if path.is_file()}
        assert there == {path for path in built if path.startswith(f"deploy/{folder}/")}


def _is(path: str, text: str) -> bool:
    return (ROOT / path).is_file() and (ROOT / path).read_text(encoding="utf-8") == text


def test_every_resource_of_the_tree_is_there() -> None:
    for folder in (KUBERNETES, ROOT / "dashboards", ROOT / "queries"):
        tree = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        for name in tree.get("resources", []):
            assert (folder / name).exists(), name
        for generator in tree.get("configMapGenerator", []):
            assert all((folder / entry.partition("=")[2]).is_file() for entry in generator["files"])


def test_kustomize_makes_the_objects_that_the_command_prints() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("KUSTOMIZE WAS NOT RUN: no kubectl here; the test above reads the tree by itself")
    done = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = manifests(load(ROOT / "deploy" / "example.toml", {}), PLACEMENT)
    printed = [one for part in made.parts.values() for one in part]
    assert _by_name(list(yaml.load_all(done.stdout, yaml.CSafeLoader))) == _by_name(printed)


def _by_name(objects: list[Object]) -> dict[tuple[str, str, str], Object]:
    """All of them by kind, namespace and name; of a dashboard not which data source it opens with."""
    found = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one for one in objects}
    assert len(found) == len(objects)
    return {key: one | {"data": _opened(one["data"])} if "data" in one else one for key, one in found.items()}


def _opened(data: dict[str, str]) -> dict[str, object]:
    documents: dict[str, object] = {}
    for name, text in data.items():
        document = json.loads(text) if name.endswith(".json") else text
        if not isinstance(document, str):
            for variable in document["templating"]["list"]:
                variable.pop("current", None)
        documents[name] = document
    return documents
