"""Configurations and what is made of them, for the tests of this folder."""

import tempfile
from functools import cache
from pathlib import Path

from pipeline.config import load
from pipeline.deployment.kubernetes import Manifests, manifests
from pipeline.deployment.objects import Object, Placement
from pipeline.settings import Settings

SMALL = """
[[clusters]]
name = "prod-eu"
prometheus_url = "http://prometheus.monitoring.svc:9090"
grid_zone = "DE"
pue = 1.2
"""
# Every way to name a secret or a file, some of them by the same name; two clusters, one of them with its own grid.
LARGE = """
[warehouse]
path = "figures"

[[clusters]]
name = "prod-eu"
grid_zone = "DE"
pue = { csv = "PUE_CSV" }
meters = ["kepler", "scaphandre"]
[[clusters.prometheus]]
url = "https://mimir.example:8443/prometheus"
bearer_token_file = "/run/mimir/token"
ca_file = "/run/mimir/ca.pem"
headers = { X-Scope-OrgID = "tenant" }
replica_of = "a"
[[clusters.prometheus]]
url = "https://thanos.example/prometheus"
username = "reader"
password_env = "THANOS_PASSWORD"
headers_env = { X-Key = "THANOS_KEY" }
headers_file = { X-Other = "/run/thanos/other" }
replica_of = "a"

[[clusters]]
name = "prod-fr"
prometheus_url = "http://10.2.3.4:9090"
grid_zone = "FR"
pue = 1.4
energy_step = "30m"
start = 2026-10-01T00:00:00Z
[clusters.intensity]
providers = ["rte", "static"]
factor_type = "direct"

[intensity]
providers = ["electricity_maps", "csv", "static"]
[intensity.electricity_maps]
token_file = "/run/grid/token"
[intensity.csv]
path = "GRID_CSV"

[energy]
max_gap = "8m"
settle = "90m"

[[remote_write]]
name = "long-term"
url = "https://store.example/api/v1/push"
query_url = "https://store.example/prometheus"
horizon = "30d"
bearer_token_env = "STORE_TOKEN"
"""

AMAZON = """
[warehouse]
path = "s3://figures/prod"
[[clusters]]
name = "prod-eu"
cloud = "aws"
region = "eu-central-1"
pue = { published = true }
[[clusters.prometheus]]
url = "https://aps-workspaces.eu-central-1.amazonaws.com/workspaces/ws-1"
sigv4 = { region = "eu-central-1" }
"""
IN_PROMETHEUS = '[[remote_write]]\nurl = "http://prometheus.monitoring.svc:9090/api/v1/write"\n'


def settings(folder: Path, text: str = SMALL) -> Settings:
    """A configuration, its CSV files in `folder`."""
    files = {"PUE_CSV": folder / "pue.csv", "GRID_CSV": folder / "my grid.csv"}
    for name, path in files.items():
        path.write_text(f"{name},start_utc\n", encoding="utf-8")
        text = text.replace(name, str(path))
    config = folder / "carbon-etl.toml"
    config.write_text(text, encoding="utf-8")
    return load(config, {})


@cache
def made(text: str = SMALL, *, with_store: bool = True, **placement: str) -> Manifests:
    """What `deploy kubernetes` makes of it; shared, so nobody changes it."""
    where = Placement(**{"image": "registry.example/carbon-etl:1", **placement}, with_store=with_store)
    with tempfile.TemporaryDirectory() as folder:
        return manifests(settings(Path(folder), text), where)


def objects(manifests: Manifests) -> dict[tuple[str, str], Object]:
    """All of them by kind and name."""
    found = [one for part in manifests.parts.values() for one in part]
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(by_name) == len(found)
    return by_name


def pods(manifests: Manifests) -> dict[str, Object]:
    """The specification of every pod, by the name of what makes it."""
    templates = {}
    for (kind, name), one in objects(manifests).items():
        spec = one.get("spec", {})
        spec = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
        if "template" in spec:
            templates[name] = spec["template"]["spec"]
    return templates
