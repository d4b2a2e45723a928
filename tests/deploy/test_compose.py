"""The compose file by the Compose specification, and what a stranger should be able to rely on in it."""

from typing import Any

import jsonschema
import pytest
import yaml

from pipeline.config import load
from tests.deploy.deployed import made, pods
from tests.deploy.schemas import COMPOSE
from tests.product import ROOT

FOLDER = ROOT / "deploy" / "compose"
DOCUMENT = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]


def test_it_is_a_compose_file() -> None:
    jsonschema.validate(DOCUMENT, COMPOSE)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(DOCUMENT | {"services": {"a": SERVICES["store"] | {"port": ["80:80"]}}}, COMPOSE)


def test_what_it_names_is_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", [])) <= set(SERVICES), name
        for source in (entry.split(":")[0] for entry in service.get("volumes", [])):
            assert (FOLDER / source).exists() if source.startswith(".") else source in DOCUMENT["volumes"], source
        if "build" in service:
            assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_hardened_and_reached_from_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    image, _, tag = service["image"].rpartition(":")
    assert image
    assert tag not in ("", "latest")
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_store_is_the_one_of_the_manifests() -> None:
    (container,) = pods(made())["carbon-etl-store"]["containers"]
    assert SERVICES["store"]["image"] == container["image"]
    assert SERVICES["store"]["command"] == container["args"]


def test_its_addresses_are_names_of_its_services() -> None:
    settings = load(FOLDER / "carbon-etl.toml", {})
    (cluster,), (store,) = settings.clusters, settings.remote_write
    (endpoint,) = cluster.prometheus
    assert endpoint.url == "http://prometheus:9090"
    assert store.query_url == "http://store:8428"
    assert {"prometheus", "store"} <= set(SERVICES)


def test_grafana_finds_the_store_and_every_dashboard() -> None:
    provisioning = FOLDER / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "carbon-etl.yaml").read_text())["datasources"]
    assert source["url"] == "http://store:8428"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "carbon-etl.yaml").read_text())["providers"]
    places = {place: FOLDER / source for source, place, *_ in (v.split(":") for v in SERVICES["grafana"]["volumes"])}
    mounted = places[provider["options"]["path"]]
    assert mounted.resolve() == ROOT / "dashboards"
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (mounted / home.rpartition("/")[2]).is_file()
