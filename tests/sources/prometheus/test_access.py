"""Whatever an endpoint asks of its clients, every request of ours brings it; and what is missing is said in a line."""

import os
import ssl
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipeline.demo.fleet import Fleet
from pipeline.demo.openmetrics import fill_blocks
from pipeline.demo.servers import PrometheusBinary, RunningServer
from pipeline.errors import CarbonEtlError, ConfigError, SourceError, SourceRejected, SourceUnavailable
from pipeline.settings import HttpSettings, PrometheusEndpoint
from pipeline.sources.prometheus.bulk import BulkServer
from pipeline.sources.prometheus.streaming import THREAD
from pipeline.window import HOUR, to_ms
from tests.certificates import Authority, Pair, encrypted
from tests.conftest import SMALL_FLEET_START, RealClock
from tests.misbehaving import Answer
from tests.secured import PASSWORD, USER, secured_prometheus
from tests.sources.prometheus.streaming_server import STREAM, StreamingServer

METRIC = "kepler_node_cpu_joules_total"
START_MS, END_MS = to_ms(SMALL_FLEET_START), to_ms(SMALL_FLEET_START + HOUR)
TRANSPORTS = ("query", "remote_read")
ENV = {"PASSWORD": PASSWORD}
LOGIN = {"username": USER, "password_env": "PASSWORD"}
PREFIX = "/team-a/prometheus"


class Keys(NamedTuple):
    """An authority, what it signed, and what a stranger signed."""

    ours: Authority
    server: Pair
    client: Pair
    strangers: Authority


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    ours, strangers = Authority(folder / "ours"), Authority(folder / "strangers", "stranger")
    return Keys(ours, ours.sign("server"), ours.sign("client", use="clientAuth"), strangers)


@pytest.fixture(scope="module")
def guarded(
    keys: Keys, small_fleet: Fleet, prometheus_binary: PrometheusBinary, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The small fleet behind TLS, certificates of clients, a password and a prefix, all at once."""
    folder = tmp_path_factory.mktemp("guarded")
    fill_blocks(small_fleet, prometheus_binary.promtool, folder / "data")
    with secured_prometheus(
        prometheus_binary, folder, pair=keys.server, clients=keys.ours, password=True, prefix=PREFIX
    ) as url:
        yield url


def mutual(keys: Keys, **others: object) -> dict[str, Any]:
    """What lets us into `guarded`, but for what is given otherwise."""
    files = {"ca_file": keys.ours.own.cert, "cert_file": keys.client.cert, "key_file": keys.client.key}
    return {key: value for key, value in (LOGIN | files | others).items() if value is not None}


def server(url: str, env: Mapping[str, str] = ENV, **settings: object) -> BulkServer:
    endpoint = PrometheusEndpoint.model_validate({"url": url} | settings)
    return BulkServer(endpoint, HttpSettings(timeout_seconds=10, retry_seconds=0), env, RealClock(), print)


def everything(one: BulkServer) -> list[Any]:
    """The answer to every kind of question that is asked of a server."""
    blocks = list(one.blocks(f"{METRIC}{{}}", START_MS, END_MS))
    return [
        sorted(
            (*sorted(labels.items()), tuple(values))
            for block in blocks
            for labels, values in zip(
                ({k: v for k, v in row.items() if v is not None} for row in block.labels.to_pylist()),
                (block.values[a:b].tolist() for a, b in zip(block.offsets, block.offsets[1:], strict=False)),
                strict=True,
            )
        ),
        one.vector(f"count({METRIC})", END_MS),
        one.matrix(f"sum({METRIC})", START_MS, END_MS, 600_000),
        one.status("runtimeinfo") is not None,
        one._has("zone", "package"),
    ]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_mutual_tls_a_password_and_a_prefix_hold_for_every_request(
    guarded: str, keys: Keys, small_fleet_prometheus: RunningServer, transport: str
) -> None:
    inside = server(guarded, transport=transport, **mutual(keys))
    assert inside.choice.transport == transport
    there = everything(inside)
    assert len(there[0]) > 0
    assert there == everything(server(small_fleet_prometheus.url, transport=transport))


def test_remote_read_is_found_behind_all_of_it(guarded: str, keys: Keys) -> None:
    assert server(guarded, **mutual(keys)).choice == ("remote_read", "the server streams its chunks")


def test_a_stream_that_is_given_up_ends_at_once(guarded: str, keys: Keys) -> None:
    blocks = server(guarded, transport="remote_read", **mutual(keys)).blocks('{__name__=~".+"}', START_MS, END_MS)
    next(blocks)
    began = RealClock().monotonic()
    blocks.close()  # type: ignore[attr-defined] # a generator
    assert RealClock().monotonic() - began < 30, "the drip itself lasts 100 s"


def refusal(url: str, **settings: object) -> CarbonEtlError:
    with pytest.raises((SourceError, ConfigError)) as caught:
        server(url, **settings).vector("1", 0)
    text = str(caught.value)
    assert "\n" not in text
    assert "HTTPSConnectionPool" not in text
    assert PASSWORD not in text
    return caught.value


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cert_file": None, "key_file": None}, "wants a certificate of its clients: set cert_file and key_file"),
        ({"ca_file": "strangers"}, "does not trust (unable to get local issuer certificate): set ca_file to"),
        ({"ca_file": None}, "shows a certificate that this machine does not trust (unable to get local issuer"),
        ({"cert_file": "late", "key_file": "late"}, "refuses the certificate of cert_file {late}: it must not"),
        ({"cert_file": "foreign", "key_file": "foreign"}, "refuses the certificate of cert_file {foreign}"),
        ({"server_name": "prometheus.example"}, "is not of server_name prometheus.example: set server_name to a name"),
        ({"username": None, "password_env": None}, "refuses these credentials (401): set bearer_token_env"),
        ({"username": "writer"}, "refuses these credentials (401): check them"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_the_key_to_set(
    guarded: str, keys: Keys, change: dict[str, str | None], says: str
) -> None:
    pairs = {
        "late": keys.ours.sign("late", use="clientAuth", days=-1),
        "foreign": keys.strangers.sign("foreign", use="clientAuth"),
    }
    files = {
        key: keys.strangers.own.cert if value == "strangers" else getattr(pairs[value], key.removesuffix("_file"))
        for key, value in change.items()
        if value == "strangers" or value in pairs
    }
    error = refusal(guarded, **mutual(keys, **(change | files)))
    assert isinstance(error, SourceRejected)
    assert error.exit_code == 2
    assert str(error).startswith(guarded)
    assert says.format(**{name: pair.cert for name, pair in pairs.items()}) in str(error)


@pytest.mark.parametrize(
    ("names", "days", "says"),
    [
        ("DNS:prometheus.example", 30, "shows a certificate that is not of the name in url: set server_name"),
        ("DNS:localhost,IP:127.0.0.1", -1, "shows a certificate that has expired: renew it there"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused(
    keys: Keys, prometheus_binary: PrometheusBinary, tmp_path: Path, names: str, days: int, says: str
) -> None:
    pair = keys.ours.sign(f"odd{days}", names=names, days=days)
    with secured_prometheus(prometheus_binary, tmp_path, pair=pair) as url:
        error = refusal(url, ca_file=keys.ours.own.cert)
        assert isinstance(error, SourceRejected)
        assert says in str(error)
        if days > 0:
            named = server(url, ca_file=keys.ours.own.cert, server_name="prometheus.example")
            assert named.vector("vector(2)", 0) == [({}, 2.0)]
            plain = refusal(url.replace("https", "http"))
            assert "refuses the query (400): Client sent an HTTP request to an HTTPS server" in str(plain)


def test_tls_where_there_is_none_is_said(small_fleet_prometheus: RunningServer) -> None:
    error = refusal(small_fleet_prometheus.url.replace("http", "https"))
    assert "does not speak TLS there: write http://" in str(error)


def test_only_who_is_named_is_trusted_and_by_every_adapter(guarded: str, keys: Keys) -> None:
    """The query library mounts an adapter, and requests adds the public authorities: neither may be used."""
    one = server(guarded, **mutual(keys))
    adapter = one._session.get_adapter(guarded)
    assert adapter is one._session._access.adapter
    assert one.vector("vector(2)", 0) == [({}, 2.0)]
    assert len(adapter._context.get_ca_certs()) == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ca_file": "gone.pem"}, "cannot read ca_file gone.pem: No such file or directory"),
        ({"cert_file": "gone.pem"}, "cannot read cert_file gone.pem: No such file"),
        ({"key_file": "gone.key"}, "cannot read key_file gone.key: No such file"),
        ({"ca_file": "."}, "cannot read ca_file .: Is a directory"),
        ({"ca_file": "key"}, "holds no certificate: it must be PEM"),
        ({"ca_file": os.devnull}, "ca_file /dev/null holds no certificate"),
        ({"key_file": "server"}, "is not the key of cert_file"),
        ({"key_file": "encrypted"}, "is no PEM certificate with its unencrypted key"),
        ({"key_file": None}, "(and no key_file is set) is no PEM certificate with its unencrypted key"),
        ({"cert_file": "key"}, "is no PEM certificate with its unencrypted key"),
    ],
)
def test_a_file_that_is_not_what_its_key_says_is_found_before_anybody_is_asked(
    keys: Keys, change: dict[str, str | None], says: str
) -> None:
    known = {"key": keys.client.key, "server": keys.server.key}
    files = {key: known.get(value or "", value) for key, value in change.items()}
    if change.get("key_file") == "encrypted":
        files["key_file"] = encrypted(keys.client).key
    error = refusal("https://127.0.0.1:9", **mutual(keys, **files))
    assert isinstance(error, ConfigError)
    assert says in str(error)


def test_a_certificate_that_is_renewed_meanwhile_is_shown_at_once(guarded: str, keys: Keys, tmp_path: Path) -> None:
    late = keys.ours.sign("aged", use="clientAuth", days=-1)
    pair = Pair(tmp_path / "cert", tmp_path / "key")
    files = {"cert_file": pair.cert, "key_file": pair.key}
    pair.cert.write_bytes(late.cert.read_bytes())
    pair.key.write_bytes(late.key.read_bytes())
    one = server(guarded, **mutual(keys, **files))
    with pytest.raises(SourceRejected, match="it must not have expired"):
        one.vector("1", 0)
    for path, content in ((pair.cert, keys.client.cert), (pair.key, keys.client.key)):
        renewed = tmp_path / "renewed"
        renewed.write_bytes(content.read_bytes())
        renewed.replace(path)
    assert one.vector("vector(2)", 0) == [({}, 2.0)]


def test_who_is_refused_while_still_writing_hears_why(guarded: str, keys: Keys) -> None:
    """A server closes on a client without a certificate; what the client then writes drowns the reason."""
    one = server(guarded, **mutual(keys, cert_file=None, key_file=None))
    for _ in range(3):
        with pytest.raises(SourceRejected, match="wants a certificate of its clients"):
            one._session.request("POST", f"{guarded}/api/v1/query", data=b"x" * 4_000_000)


@pytest.mark.parametrize("path", ["read", "query"])
def test_an_answer_that_drips_through_tls_ends_at_the_time_out(keys: Keys, path: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(keys.server.cert, keys.server.key)
    one = StreamingServer(Answer(body=b"\1" * 1000, headers=STREAM, drip_seconds=0.1))
    one._server.socket = context.wrap_socket(one._server.socket, server_side=True)
    one._server.handle_error = lambda *_: None  # type: ignore[method-assign] # it notes that nobody listens any more
    one.start()
    settings = {"url": one.url.replace("http", "https"), "ca_file": keys.ours.own.cert, "transport": "remote_read"}
    http = HttpSettings(timeout_seconds=1, retry_seconds=0)
    dripping = BulkServer(PrometheusEndpoint.model_validate(settings), http, {}, RealClock(), print)
    began = RealClock().monotonic()
    try:
        with pytest.raises(SourceUnavailable, match=r"within 1 s \(http\.timeout_seconds\)"):
            dripping.vector("1", 0) if path == "query" else next(dripping.blocks("m{}", START_MS, END_MS))
    finally:
        one.stop()
    assert RealClock().monotonic() - began < 30, "the drip itself lasts 100 s"
    assert not [thread.name for thread in threading.enumerate() if thread.name == THREAD]
