"""`carbon-etl deploy`: one stream to apply, or a folder in which nothing of somebody else's is lost."""

from pathlib import Path

import yaml

from tests.deploy.deployed import SMALL
from tests.product import Product


def test_it_prints_what_kubectl_applies_and_nothing_else(tmp_path: Path) -> None:
    product = Product(tmp_path, "", SMALL)
    said = product.call("deploy", "kubernetes", "--namespace", "green", "--image", "registry.example/c:2")
    assert said.code == 0, said.err
    (job,) = (one for one in yaml.load_all(said.out, yaml.CSafeLoader) if one["kind"] == "CronJob")
    assert job["metadata"]["namespace"] == "green"
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/c:2"
    assert said.out.startswith("# ")
    assert "kubectl create namespace green" in said.out


def test_a_folder_is_written_and_edits_in_it_are_kept(tmp_path: Path) -> None:
    product, folder = Product(tmp_path, "", SMALL), tmp_path / "out"
    command = ("deploy", "systemd", "--output", str(folder))
    assert product.call(*command).code == 0
    unit = folder / "carbon-etl.service"
    unit.write_text(unit.read_text(encoding="utf-8") + "Nice=5\n", encoding="utf-8")
    refused = product.call(*command)
    assert refused.code == 2
    assert "carbon-etl.service" in refused.only_error()
    assert unit.read_text(encoding="utf-8").endswith("Nice=5\n")
