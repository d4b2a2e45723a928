"""The image's promises, and the commands of the CronJob and of the compose file run as they stand there.

No engine runs here. What the image copies is copied, what it begins with is begun, and the root file system is read
only but for what the manifest mounts writable.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline.demo import servers
from pipeline.demo.servers import free_port
from pipeline.deployment.objects import USER
from pipeline.deployment.store import store_address
from pipeline.sinks.sql import run_query
from pipeline.window import Clock
from tests.deploy.containers import (
    DOCKERFILE,
    IGNORED,
    can_mount,
    contained,
    copied,
    entrypoint,
    instructions,
    open_folder,
)
from tests.deploy.deployed import made, objects, pods
from tests.product import DEFAULT_INSTALL, ROOT, Said

COMPOSE = ROOT / "deploy" / "compose"
HOURS = 4  # of simulated days, where two days would show no more
SERVICES = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))["services"]


def test_every_base_has_a_version() -> None:
    (base,) = (text for name, text in instructions() if name == "ARG")
    assert re.fullmatch(r"PYTHON=python:3\.\d+-slim-\w+", base)
    froms = [text.split()[0] for name, text in instructions() if name == "FROM"]
    assert froms == ["${PYTHON}"] * 2


def test_only_locked_packages_are_installed_each_by_its_hash() -> None:
    (install,) = (text for name, text in instructions() if name == "RUN" and "pip" in text)
    assert {"--require-hashes", "--no-deps", "--no-cache-dir", "--only-binary=:all:"} <= set(install.split())
    assert install.split()[-2:] == ["--requirement", "/requirements.lock"]
    assert not re.search(r"apt|curl|wget|ADD ", DOCKERFILE.read_text(encoding="utf-8"))


def test_it_runs_as_the_user_that_the_pods_name() -> None:
    names = [name for name, _ in instructions()]
    (user,) = (text for name, text in instructions() if name == "USER")
    assert user == f"{USER}:{USER}"
    assert names.index("USER") > max(n for n, name in enumerate(names) if name in ("RUN", "COPY"))
    (made_folder,) = (text for name, text in instructions() if name == "RUN" and "/var/lib" in text)
    assert f"--owner={USER}" in made_folder


def test_nothing_else_of_the_repository_reaches_the_builder() -> None:
    lines = [line for line in IGNORED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert taken == {text.split()[0] for name, text in instructions() if name == "COPY" and "--from" not in text}
    assert not any(name in ("ENV", "ARG") and re.search("TOKEN|PASSWORD|SECRET", text) for name, text in instructions())


@dataclass(frozen=True)
class Running:
    """The servers of the compose file, filled as it says, and the folders of its volumes."""

    prometheus: str
    store: str
    folder: Path

    @property
    def app(self) -> Path:
        return self.folder / "app"

    def environment(self, folder: Path) -> dict[str, str]:
        """As the image has it, and without the packages that only a development environment has."""
        path = f"{DEFAULT_INSTALL['PYTHONPATH']}:{self.app}"
        return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(folder / "tmp")}

    def mounted(self, service: str) -> dict[str, str]:
        """Places in a service's container, by where they are here."""
        pairs = [entry.split(":")[:2] for entry in SERVICES[service].get("volumes", [])]
        return {place: str(COMPOSE / source if source[0] == "." else self.folder / source) for source, place in pairs}

    def command(self, service: str) -> list[str]:
        """What a service runs, with its places and the programs of this machine."""
        words = [*SERVICES[service].get("entrypoint", []), *SERVICES[service].get("command", [])]
        return [sys.executable if word == "python" else moved(word, self.mounted(service)) for word in words]


def moved(text: str, places: dict[str, str]) -> str:
    """`text` with every place replaced."""
    return re.sub("|".join(map(re.escape, sorted(places, reverse=True))), lambda found: places[found[0]], text)


@pytest.fixture(scope="module")
def running(clock: Clock) -> Iterator[Running]:
    """Everything of the compose file but its pipeline and Grafana, in the file's order, by the file's commands."""
    ports = [free_port(), free_port()]
    with open_folder() as folder:
        here = Running(*(f"http://127.0.0.1:{port}" for port in ports), folder)
        fill(here)
        prometheus = ["prometheus", *here.command("prometheus"), f"--web.listen-address=127.0.0.1:{ports[0]}"]
        address = {":8428": f"127.0.0.1:{ports[1]}"}
        store = ["victoria-metrics", *(moved(word, address) for word in here.command("store"))]
        with (
            servers._running("Prometheus", prometheus, folder / "prometheus.log", ports[0], "/-/ready", clock),
            servers._running("VictoriaMetrics", store, folder / "store.log", ports[1], "/health", clock),
        ):
            yield here


def fill(here: Running) -> None:
    """The simulated fleet as blocks of Prometheus."""
    copied(here.app)
    for volume in ("state", "samples", "series", "tmp"):
        (here.folder / volume).mkdir()
    writable = [here.folder / volume for volume in ("state", "samples", "tmp")]
    for service, more in (("fleet", [str(HOURS)]), ("blocks", [])):
        said = contained([*here.command(service), *more], here.environment(here.folder), writable)
        assert said.code == 0, said.err


def run(here: Running, arguments: list[str], env: dict[str, str], *, folder: Path, writable: list[Path]) -> Said:
    """The image's command with those arguments; no home, no other variable."""
    return contained([*entrypoint(), *arguments], here.environment(folder) | env, [*writable, folder / "tmp"])


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as found:
        yield found


@pytest.mark.real
def test_a_contained_command_writes_nowhere_else(folder: Path) -> None:
    if not can_mount():
        pytest.skip("THE ROOT FILE SYSTEM WAS NOT READ ONLY in the tests below: no mounts of our own here")
    (folder / "own").mkdir()
    said = contained(["sh", "-c", f"touch {folder}/own/in && touch {folder}/out"], {}, [folder / "own"])
    assert "Read-only file system" in said.err
    assert (folder / "own" / "in").stat().st_uid == USER
    assert [path.name for path in folder.rglob("*") if path.is_file()] == ["in"]


@pytest.mark.real
def test_the_compose_files_pipeline_fills_its_warehouse_and_its_store(running: Running) -> None:
    service, config = SERVICES["pipeline"], running.folder / "carbon-etl.toml"
    given: dict[str, str] = service["environment"]
    addresses = {"http://prometheus:9090": running.prometheus, "http://store:8428": running.store}
    text = moved((COMPOSE / "carbon-etl.toml").read_text(encoding="utf-8"), addresses | running.mounted("pipeline"))
    config.write_text(text, encoding="utf-8")
    env = {name: moved(value, {"/etc/carbon-etl/carbon-etl.toml": str(config)}) for name, value in given.items()}
    said = run(running, service["command"], env, folder=running.folder, writable=[running.folder / "state"])
    assert said.code == 0, said.err
    stored = "select count(distinct hour_utc) as hours, sum(emissions_gco2e) as grams from emissions"
    (row,) = run_query(running.folder / "state" / "warehouse", stored).to_pylist()
    assert row["hours"] in (HOURS + 1, HOURS + 2)  # with the quarter before them, and the one after once it has closed
    assert published(running, "demo") == pytest.approx(row["grams"], rel=1e-9)


def published(here: Running, cluster: str) -> float:
    """Grams of a cluster as its store sums them up."""
    httpx.get(f"{here.store}/internal/force_flush", timeout=30)
    query = f'sum(sum_over_time(carbon_emissions_grams{{cluster="{cluster}"}}[7d]))'
    answer = httpx.get(f"{here.store}/api/v1/query", params={"query": query, "nocache": "1"}, timeout=30).json()
    return float(answer["data"]["result"][0]["value"][1])


JOB = """
[[clusters]]
name = "prod-eu"
grid_zone = "DEMO"
pue = 1.2
[[clusters.prometheus]]
url = "http://prometheus.monitoring.svc:9090"
bearer_token_env = "PROMETHEUS_TOKEN"
[intensity]
providers = ["csv"]
csv = {{ path = "{grid}" }}
"""


@pytest.mark.real
def test_the_job_runs_as_the_manifest_has_it(running: Running, folder: Path) -> None:
    """Its own arguments, the ConfigMaps and the Secret as files, nothing writable but the volume and /tmp."""
    manifests = made(JOB.format(grid=running.folder / "state" / "demo" / "grid.csv"))
    pod = pods(manifests)["carbon-etl"]
    (container,) = pod["containers"]
    folders = {mount["mountPath"]: folder / mount["name"] for mount in container["volumeMounts"]}
    addresses = {
        "http://prometheus.monitoring.svc:9090": running.prometheus,
        store_address("carbon-etl"): running.store,
    }
    places = addresses | {place: str(here) for place, here in folders.items()}
    for volume in pod["volumes"]:
        (folder / volume["name"]).mkdir()
        texts = {"PROMETHEUS_TOKEN": "t0ken"} if "secret" in volume else {}
        if "configMap" in volume:
            texts = objects(manifests)["ConfigMap", volume["configMap"]["name"]]["data"]
        for name, text in texts.items():
            (folder / volume["name"] / name).write_text(moved(text, places), encoding="utf-8")
    given = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    writable = [folders[mount["mountPath"]] for mount in container["volumeMounts"] if not mount.get("readOnly")]
    env = {entry["name"]: moved(entry["value"], places) for entry in container["env"]}
    said = run(running, container["args"], env, folder=folder, writable=writable)

    assert said.code == 0, said.err
    (row,) = run_query(
        folder / "state" / "warehouse", "select sum(emissions_gco2e) as grams from emissions"
    ).to_pylist()
    assert row["grams"] > 0
    assert published(running, "prod-eu") == pytest.approx(row["grams"], rel=1e-9)
    others = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and "state" not in path.parts}
    assert others == given
