"""Every kind of secret at once, in runs that pass and runs that fail, against servers that repeat what they hear.

Nothing that is written shows one: no output, log, traceback, file, row, footer or command line.
"""

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.demo.servers import RunningServer
from pipeline.window import HOUR
from tests.conftest import SMALL_FLEET_START
from tests.misbehaving import Answer, Asked, Misbehaving, misbehaving
from tests.product import Product, Said
from tests.security.leaks import command_lines, forms, leaked, readable

KINDS = (
    "PROM_PASSWORD", "PROM_HEADER", "PROM_FILE_HEADER", "PROM_BEARER", "STORE_BEARER", "STORE_HEADER", "STORE_PASSWORD",
    "MAPS_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD", "EIA_TOKEN", "ENTSOE_TOKEN", "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)  # fmt: skip
SECRETS = {kind: f"S3NT1NEL-{kind.lower().replace('_', '-')}/+&%\"'\\ =end" for kind in KINDS}
CORES = [secret.partition("/")[0] for secret in SECRETS.values()]
ENV = SECRETS | {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_EC2_METADATA_DISABLED": "true"}
WINDOW = ("--start", f"{SMALL_FLEET_START:%FT%H:%MZ}", "--end", f"{SMALL_FLEET_START + HOUR:%FT%H:%MZ}")
CONFIG = """
[warehouse]
path = "{warehouse}"
[http]
timeout_seconds = 10
retry_seconds = 0
[intensity]
providers = ["electricity_maps", "eia", "entsoe", "static"]
[intensity.electricity_maps]
base_url = "{vendor}/v3"
token_env = "MAPS_TOKEN"
[intensity.watttime]
base_url = "{vendor}/w"
username_env = "WATTTIME_USER"
password_env = "WATTTIME_PASSWORD"
zone = "CAISO_NORTH"
[intensity.eia]
base_url = "{vendor}/e"
token_file = "{secrets}/EIA_TOKEN"
zone = "CISO"
[intensity.entsoe]
base_url = "{vendor}/api"
token_env = "ENTSOE_TOKEN"
zone = "10Y1001A1001A83F"
[[clusters]]
name = "prod-eu"
grid_zone = "DE"
pue = 1.2
[[clusters.prometheus]]
url = "{prometheus}"
username = "reader"
password_env = "PROM_PASSWORD"
headers_env = {{ X-Scope-OrgID = "PROM_HEADER" }}
headers_file = {{ X-Other = "{secrets}/PROM_FILE_HEADER" }}
[[clusters]]
name = "prod-us"
grid_zone = "US"
pue = 1.2
[[clusters.prometheus]]
url = "{prometheus}"
bearer_token_file = "{secrets}/PROM_BEARER"
[clusters.intensity]
factor_type = "direct"
providers = ["watttime"]
[[remote_write]]
name = "bearer"
url = "{store}/api/v1/write"
bearer_token_env = "STORE_BEARER"
headers_env = {{ X-Scope-OrgID = "STORE_HEADER" }}
[[remote_write]]
name = "basic"
url = "{store}/api/v1/write"
username = "writer"
password_env = "STORE_PASSWORD"
[[remote_write]]
name = "signed"
url = "{store}/api/v1/write"
sigv4 = {{ region = "eu-central-1" }}
"""


def echo(statuses: Iterator[int]) -> Callable[[Asked], Answer]:
    """Says all that it was told, and the passwords in it decoded, with one status after another."""

    def decide(asked: Asked) -> Answer:
        pair = (asked.authorization or "").removeprefix("Basic ")
        words = base64.b64decode(pair).decode() if asked.authorization and pair != asked.authorization else ""
        said = {"error": f"{asked.path} {words} {asked.authorization}", "heard": [asked.headers, asked.parameters]}
        return Answer(next(statuses), json.dumps(said).encode(), {"Content-Type": "application/json"})

    return decide


def product_of(folder: Path, prometheus: str, vendor: str, store: str) -> Product:
    secrets = folder / "secrets"
    secrets.mkdir()
    for kind, secret in SECRETS.items():
        (secrets / kind).write_text(secret)
        (secrets / kind).chmod(0o600)
    product = Product(folder, prometheus)
    addresses = {"prometheus": prometheus, "vendor": vendor, "store": store, "secrets": secrets}
    product.config.write_text(CONFIG.format(warehouse=product.warehouse, **addresses))
    return product


CHECK = ("--verbose", "config", "check")
BACKFILL = ("--verbose", "backfill", *WINDOW)
BY_WORKERS = (*BACKFILL, "--workers", "2")
DOCTOR = ("--verbose", "doctor")
EXPLAIN = ("--verbose", "doctor", "--cluster", "prod-eu", "--explain", "node-1", WINDOW[1])
GRID_CHECK = ("--verbose", "grid", "check", "--cluster", "prod-eu")
GRID_FETCH = ("--verbose", "grid", "fetch", "--cluster", "prod-us", *WINDOW)
REPORT = ("--verbose", "backfill", *WINDOW, "--json")


def called(product: Product, *commands: tuple[str, ...], debug: str = "") -> list[Said]:
    """Every command, and no secret in any word, file or command line of them, and of the processes that they start."""
    env = ENV | ({"CARBON_ETL_DEBUG": debug} if debug else {})
    anew = [command is BY_WORKERS and not debug for command in commands]
    with command_lines() as seen:
        said = [product.call(*command, env=env, anew=way) for command, way in zip(commands, anew, strict=True)]
    for command, one in zip(commands, said, strict=True):
        assert leaked((one.out + one.err).encode(), CORES) == [], (command, one)
    assert leaked(b"\n".join(seen), CORES) == []
    for way in set(anew):
        assert any((b"pipeline" if way else b"tests.forks") in line for line in seen)
    for path in product.folder.rglob("*"):
        if path.is_file() and path.parent.name != "secrets":
            assert leaked(readable(path), CORES) == [], path
    return said


def heard(server: Misbehaving) -> set[str]:
    """The kinds of secrets that it was sent."""
    pairs = [
        base64.b64decode(one.authorization.removeprefix("Basic "))
        for one in server.asked
        if one.authorization and one.authorization.startswith("Basic ")
    ]
    words = json.dumps([[one.headers, one.parameters] for one in server.asked]).encode() + b" ".join(pairs)
    return {kind for kind, core in zip(KINDS, CORES, strict=True) if core.encode() in words}


@pytest.mark.parametrize("core", CORES[:3])
def test_the_search_finds_a_secret_in_any_form(core: str) -> None:
    secret = next(secret for secret in SECRETS.values() if secret.startswith(core))
    for before in ("", "a", "ab", "reader:"):
        packed = base64.b64encode(f"{before}{secret}".encode())
        assert leaked(b"x" + packed + b"y", [core]) == [core]
    assert all(leaked(form, [core]) for form in forms(core))
    assert leaked(b"S3NT1NEL of another kind", [core]) == []


def test_a_run_that_passes_tells_no_secret(
    small_fleet_prometheus: RunningServer, empty_prometheus: RunningServer, tmp_path: Path
) -> None:
    vendors = echo(itertools.cycle([404]))  # nothing there: the embedded figures price the hour
    with misbehaving(decide=vendors) as vendor:
        product = product_of(tmp_path, small_fleet_prometheus.url, vendor.url, empty_prometheus.url)
        said = called(product, CHECK, BY_WORKERS, REPORT, DOCTOR, EXPLAIN, GRID_CHECK, GRID_FETCH)
        assert heard(vendor) == {"MAPS_TOKEN", "EIA_TOKEN", "ENTSOE_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD"}
    assert said[2].code == 0, said[2]
    assert any(name.startswith("emissions/") for name in product.files)


def test_vendors_that_repeat_what_they_hear_are_not_repeated(
    small_fleet_prometheus: RunningServer, empty_prometheus: RunningServer, tmp_path: Path
) -> None:
    with misbehaving(decide=echo(itertools.cycle([200, 400, 401, 403, 404, 429, 500, 302]))) as vendor:
        product = product_of(tmp_path, small_fleet_prometheus.url, vendor.url, empty_prometheus.url)
        called(product, BY_WORKERS, GRID_CHECK, GRID_FETCH, debug="1")
        assert heard(vendor) == {"MAPS_TOKEN", "EIA_TOKEN", "ENTSOE_TOKEN", "WATTTIME_USER", "WATTTIME_PASSWORD"}


@pytest.mark.parametrize(
    ("statuses", "backfill"), [((200,), BACKFILL), ((401, 400, 500), BY_WORKERS)], ids=["answers", "refuses"]
)
def test_a_prometheus_that_repeats_what_it_hears_is_not_repeated(
    statuses: tuple[int, ...], backfill: tuple[str, ...], empty_prometheus: RunningServer, tmp_path: Path
) -> None:
    with misbehaving(decide=echo(itertools.cycle(statuses))) as evil:
        product = product_of(tmp_path, evil.url, evil.url, empty_prometheus.url)
        said = called(product, backfill, DOCTOR, debug="1")
        assert heard(evil) >= {"PROM_PASSWORD", "PROM_HEADER", "PROM_FILE_HEADER", "PROM_BEARER"}
    assert said[0].code != 0


def test_a_store_that_repeats_what_it_hears_is_not_repeated(
    small_fleet_prometheus: RunningServer, tmp_path: Path
) -> None:
    with (
        misbehaving(decide=echo(itertools.cycle([404]))) as vendor,
        misbehaving(decide=echo(itertools.cycle([401]))) as evil,
    ):
        product = product_of(tmp_path, small_fleet_prometheus.url, vendor.url, evil.url)
        called(product, BACKFILL)
        assert heard(evil) == {"STORE_BEARER", "STORE_HEADER", "STORE_PASSWORD", "AWS_SESSION_TOKEN"}
