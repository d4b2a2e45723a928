"""A store that does not take writes from everybody: certificates, passwords, tenants, signatures, by its own means."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.demo.servers import PrometheusBinary, RunningServer
from pipeline.errors import ConfigError, RemoteWriteError
from pipeline.settings import HttpSettings, StoreSettings
from pipeline.sinks.batches import Batch, Sample
from pipeline.sinks.store_client import check
from pipeline.sinks.stores import Store
from pipeline.window import HOUR, Window, to_ms
from tests.certificates import Authority, Pair
from tests.conftest import RealClock
from tests.gatekeeper import Gate, Knock
from tests.misbehaving import Answer
from tests.secured import PASSWORD, USER, secured_prometheus
from tests.signatures import is_signed_by

METRIC = "carbon_energy_joules"
STAMP = datetime(2026, 11, 1, 9, tzinfo=UTC)
WINDOW = Window(STAMP - HOUR, STAMP + HOUR)
LABELS = (("cluster", "c1"), ("component", "package"), ("kind", "workload"))
LOGIN = {"username": USER, "password_env": "PASSWORD"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("keys") / "ours")


@pytest.fixture(scope="module")
def client(authority: Authority) -> Pair:
    return authority.sign("client", use="clientAuth")


@pytest.fixture(scope="module")
def guarded(
    authority: Authority, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """TLS with a certificate of another name, certificates of clients, a password and a prefix, all at once."""
    folder, pair = tmp_path_factory.mktemp("store"), authority.sign("store", names="DNS:store.example")
    with secured_prometheus(
        prometheus_binary, folder, pair=pair, clients=authority, password=True, prefix="/here", out_of_order="5y"
    ) as url:
        yield url


def store(url: str, env: Mapping[str, str] | None = None, **settings: object) -> Store:
    made = StoreSettings.model_validate({"url": f"{url}/api/v1/write"} | settings)
    return Store(made, HttpSettings(retry_seconds=0), env or {"PASSWORD": PASSWORD}, RealClock())


def test_mutual_tls_another_name_and_a_password_hold_for_writes_and_reads(
    guarded: str, authority: Authority, client: Pair
) -> None:
    files = {"ca_file": authority.own.cert, "cert_file": client.cert, "key_file": client.key}
    with store(guarded, **LOGIN, **files, server_name="store.example") as one:
        assert one.kind == "prometheus"
        one.send(Batch.of_samples([Sample(METRIC, LABELS, to_ms(STAMP), 3.5)]))
        assert one.held("c1", WINDOW).values == {to_ms(STAMP): {(METRIC, LABELS): {"": 3.5}}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cert_file": None, "key_file": None}, "wants a certificate of its clients: set cert_file and key_file"),
        ({"ca_file": None}, "does not trust (unable to get local issuer certificate): set ca_file"),
        ({"server_name": None}, "is not of the name in url: set server_name"),
        ({"password_env": "WRONG"}, "answers 401 (Unauthorized): check the store's credentials in the config"),
    ],
)
def test_what_is_missing_is_said_with_the_key_to_set(
    guarded: str, authority: Authority, client: Pair, change: dict[str, str | None], says: str
) -> None:
    given = LOGIN | {
        "ca_file": authority.own.cert, "cert_file": client.cert, "key_file": client.key, "server_name": "store.example",
    }  # fmt: skip
    settings = {key: value for key, value in (given | change).items() if value is not None}
    with store(guarded, {"PASSWORD": PASSWORD, "WRONG": "x"}, **settings) as one:
        any_batch = Batch.of_samples([Sample(METRIC, LABELS, 0, 1.0)])
        for ask in (lambda: one.held("c1", WINDOW), lambda: one.send(any_batch)):
            with pytest.raises(RemoteWriteError) as caught:
                ask()
            assert caught.value.cause == "unauthorized"
            assert says in str(caught.value)
            assert PASSWORD not in str(caught.value)


def signed(knock: Knock) -> Answer | None:
    good = is_signed_by("k3y", knock.method, knock.target, knock.headers, knock.body)
    return None if good and knock.headers.get("x-scope-orgid") == "team-a" else Answer(403, b"who?")


def test_every_request_is_signed_and_names_its_tenant(
    empty_prometheus: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k3y")
    tenant = {"headers": {"X-Scope-OrgID": "team-a"}}
    with Gate(empty_prometheus.url, signed, "/workspaces/ws-1").open() as gate:
        with store(gate.url, sigv4={"region": "eu-central-1"}, **tenant) as one:
            one.send(Batch.of_samples([Sample(METRIC, LABELS, to_ms(STAMP), 3.5)]))
            assert one.held("c1 & a+b", WINDOW).values == {}
            assert one.held("c1", WINDOW).values == {to_ms(STAMP): {(METRIC, LABELS): {"": 3.5}}}
        with store(gate.url, **tenant) as one, pytest.raises(RemoteWriteError, match="answers 403"):
            one.held("c1", WINDOW)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"ca_file": "gone.pem"}, "cannot read ca_file gone.pem: No such file or directory"),
        ({"bearer_token_file": "gone"}, "cannot read the secret file gone"),
        ({"sigv4": {"region": "x", "profile": "absent"}}, "sigv4: The config profile (absent) could not be found"),
    ],
)
def test_what_is_not_there_is_found_before_the_store_is_asked(
    settings: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    with pytest.raises(ConfigError) as caught:
        check(StoreSettings.model_validate({"url": "https://127.0.0.1:9/api/v1/write"} | settings), {})
    assert says in str(caught.value)
