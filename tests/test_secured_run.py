"""The command on a Prometheus that wants a certificate, a password and a tenant: it runs, and tells no secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary
from pipeline.window import HOUR
from tests.certificates import Authority, Pair
from tests.conftest import SMALL_FLEET_START
from tests.product import Product
from tests.secured import PASSWORD, USER, secured_prometheus

TENANT = "t3nant-s3cret"
ENV = {"METRICS_PASSWORD": PASSWORD, "TENANT": TENANT}
HOURS = ("--start", f"{SMALL_FLEET_START:%FT%H:%MZ}", "--end", f"{SMALL_FLEET_START + HOUR:%FT%H:%MZ}")


class Place:
    """A product, its authority and the certificate that it shows."""

    def __init__(self, folder: Path, url: str, authority: Authority, client: Pair) -> None:
        self.client, self.product = client, Product(folder, url)
        self.product.replace(
            f'prometheus_url = "{url}"',
            f'prometheus = [{{ url = "{url}", username = "{USER}", password_env = "METRICS_PASSWORD", '
            f'headers_env = {{ X-Scope-OrgID = "TENANT" }}, ca_file = "{authority.own.cert}", '
            f'cert_file = "{client.cert}", key_file = "{client.key}" }}]',
        )


@pytest.fixture
def place(small_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path: Path) -> Iterator[Place]:
    authority = Authority(tmp_path / "keys")
    fill_blocks(small_fleet, prometheus_binary.promtool, tmp_path / "data")
    with secured_prometheus(
        prometheus_binary, tmp_path, pair=authority.sign("server"), clients=authority, password=True, prefix="/p"
    ) as url:
        yield Place(tmp_path, url, authority, authority.sign("client", use="clientAuth"))


def test_a_run_is_let_in_and_no_output_or_file_holds_a_secret(place: Place) -> None:
    product = place.product
    key = place.client.key.read_text().splitlines()[1]
    outputs = []
    for command, code in (
        (("config", "check"), 0),
        (("--verbose", "backfill", *HOURS, "--json"), 0),
        (("doctor",), 65),  # nothing in the last minutes
    ):
        said = product.call(*command, env=ENV)
        assert said.code == code, said
        outputs.append(said.out + said.err)
    product.replace(f'username = "{USER}"', 'username = "writer"')
    said = product.call("backfill", *HOURS, env=ENV)
    assert said.code == 2
    assert "refuses these credentials (401): check them" in "".join(said.errors)
    outputs.append(said.out + said.err)
    product.replace(f', cert_file = "{place.client.cert}", key_file = "{place.client.key}"', "")
    said = product.call("backfill", *HOURS, env=ENV)
    assert said.code == 2
    assert "wants a certificate of its clients: set cert_file and key_file" in "".join(said.errors)
    outputs.append(said.out + said.err)
    assert any(name.startswith("emissions/") for name in product.files)
    for secret in (PASSWORD, TENANT, key):
        assert secret not in "".join(outputs)
        assert not [name for name, content in product.files.items() if secret.encode() in content]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ca_file = ", 'sigv4 = { region = "x" }, ca_file = ', "username and sigv4 exclude each other"),
        ("https://", f"https://u:{TENANT}@", "credentials do not belong in an address: use username with password_env"),
        ("X-Scope-OrgID = ", "Host = ", "the header Host is set by each request itself"),
    ],
)
def test_a_config_that_cannot_be_meant_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    authority = Authority(tmp_path / "keys")
    place = Place(tmp_path, "https://127.0.0.1:9", authority, authority.sign("client", use="clientAuth"))
    place.product.replace(old, new)
    said = place.product.call("config", "check", env=ENV)
    assert said.code == 2
    assert says in said.only_error()
    assert TENANT not in said.out + said.err


def test_config_check_finds_what_is_missing_without_asking_the_server(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "keys")
    client = authority.sign("client", use="clientAuth")
    place = Place(tmp_path, "https://127.0.0.1:9", authority, client)
    assert place.product.call("config", "check", env=ENV).code == 0
    missing = place.product.call("config", "check", env={"TENANT": TENANT})
    assert (missing.code, "the environment has no METRICS_PASSWORD" in missing.only_error()) == (2, True)
    client.key.unlink()
    missing = place.product.call("config", "check", env=ENV)
    assert missing.code == 2
    assert f"cannot read key_file {client.key}: No such file or directory" in missing.only_error()
