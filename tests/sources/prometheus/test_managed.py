"""Managed endpoints: signatures of Amazon, tenants, tokens that rotate; each gate stands before a real Prometheus."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from pipeline.credentials.sigv4 import Signer
from pipeline.demo.servers import RunningServer, free_port
from pipeline.errors import ConfigError, SourceRejected, SourceUnavailable
from pipeline.settings import PrometheusEndpoint
from pipeline.sources.prometheus.access import Access
from pipeline.sources.prometheus.session import BYTES_PER_MB, BoundedSession
from tests.conftest import RealClock
from tests.gatekeeper import Gate, Knock
from tests.misbehaving import ONE_SERIES, Answer, Asked, failure, misbehaving
from tests.signatures import is_signed_by, scope_of
from tests.sources.prometheus.test_access import everything, server

KEY_ID, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
WORKSPACE = "/workspaces/ws-0f6b9b1e"
SIGV4 = {"region": "eu-central-1"}
TOKEN = "s3cret-token"  # noqa: S105 # of a test
STS_ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role-s3cret</SecretAccessKey><SessionToken>of/the+role==</SessionToken>
<Expiration>2999-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An AWS user's folder and nothing else: no key of this machine, no metadata service."""
    for name in ("PROFILE", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "ROLE_ARN", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return tmp_path / "credentials"


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


def signed_with(secret_key: str) -> Callable[[Knock], Answer | None]:
    """Lets through what this key signed."""

    def refuse(knock: Knock) -> Answer | None:
        if is_signed_by(secret_key, knock.method, knock.target, knock.headers, knock.body):
            return None
        return Answer(
            403, b'{"message":"The request signature we calculated does not match the signature you provided."}'
        )

    return refuse


@pytest.fixture
def amazon(small_fleet_prometheus: RunningServer) -> Iterator[Gate]:
    with Gate(small_fleet_prometheus.url, signed_with(SECRET_KEY), WORKSPACE).open() as gate:
        yield gate


def test_the_judge_of_signatures_knows_the_published_example() -> None:
    """Amazon's own: GET iam ListUsers of 2015-08-30, with its every intermediate value in their documentation."""
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": "iam.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
    }
    target = "/?Action=ListUsers&Version=2010-05-08"
    assert is_signed_by(SECRET_KEY, "GET", target, headers, b"")
    assert not is_signed_by(SECRET_KEY, "GET", target + "9", headers, b"")
    assert not is_signed_by(SECRET_KEY, "POST", target, headers, b"")
    assert not is_signed_by(SECRET_KEY + "x", "GET", target, headers, b"")
    assert not is_signed_by(SECRET_KEY, "GET", target, headers | {"x-amz-date": "20150830T123601Z"}, b"")


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("transport", ["query", "remote_read"])
def test_every_request_to_amazon_is_signed(amazon: Gate, small_fleet_prometheus: RunningServer, transport: str) -> None:
    there = everything(server(amazon.url, transport=transport, sigv4=SIGV4))
    assert there == everything(server(small_fleet_prometheus.url, transport=transport))
    assert len(there[0]) > 0
    assert {scope_of(knock.headers["authorization"]) for knock in amazon.knocks} == {(KEY_ID, "eu-central-1", "aps")}
    assert {knock.target.partition("?")[0] for knock in amazon.knocks} >= {
        f"{WORKSPACE}/api/v1/{path}" for path in ("query", "query_range", "status/runtimeinfo", "label/zone/values")
    }


@pytest.mark.usefixtures("keys")
def test_whatever_stands_in_an_address_is_signed_as_it_is_sent(amazon: Gate) -> None:
    endpoint = PrometheusEndpoint.model_validate({"url": amazon.url, "sigv4": SIGV4})
    session = BoundedSession(RealClock(), 10, BYTES_PER_MB, print, Access.of(endpoint, {}))
    query = 'count({zone=~"pack.*|ä+b &c=d/~", a!="*"}) or vector(1)'
    answer = session.request("GET", f"{amazon.url}/api/v1/query", params={"time": "1", "query": query, "b": ""})
    assert answer.json()["data"]["result"] == [{"metric": {}, "value": [1, "1"]}]


@pytest.mark.usefixtures("keys")
def test_headers_of_a_tenant_go_beside_a_signature(amazon: Gate) -> None:
    one = server(amazon.url, sigv4=SIGV4 | {"service": "execute-api"}, headers={"X-Scope-OrgID": "team-a"})
    assert one.vector("vector(2)", 0) == [({}, 2.0)]
    assert amazon.knocks[-1].headers["x-scope-orgid"] == "team-a"
    assert scope_of(amazon.knocks[-1].headers["authorization"])[2] == "execute-api"


def test_a_profile_is_found_where_amazons_tools_look(amazon: Gate, aws: Path) -> None:
    aws.write_text(
        f"[default]\naws_access_key_id = X\naws_secret_access_key = Y\n"
        f"[metrics]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET_KEY}\n"
    )
    assert server(amazon.url, sigv4=SIGV4 | {"profile": "metrics"}).vector("vector(2)", 0) == [({}, 2.0)]
    with pytest.raises(SourceRejected, match=r"\(403\): check them \(it says: .*The request signature we"):
        server(amazon.url, sigv4=SIGV4).vector("1", 0)
    with pytest.raises(ConfigError, match=r"sigv4: The config profile \(absent\) could not be found"):
        server(amazon.url, sigv4=SIGV4 | {"profile": "absent"})


@pytest.mark.usefixtures("keys")
def test_a_role_is_assumed_and_its_session_token_is_signed_too(
    small_fleet_prometheus: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = "arn:aws:iam::123456789012:role/metrics"
    with (
        misbehaving(Answer(body=STS_ANSWER.encode(), headers={"Content-Type": "text/xml"})) as sts,
        Gate(small_fleet_prometheus.url, signed_with("role-s3cret")).open() as gate,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        one = server(gate.url, sigv4=SIGV4 | {"role_arn": role})
        assert sts.asked == []
        for _ in range(3):
            assert one.vector("vector(2)", 0) == [({}, 2.0)]
    assert [(asked.parameters["Action"], asked.parameters["RoleArn"]) for asked in sts.asked] == [("AssumeRole", role)]
    assert {knock.headers["x-amz-security-token"] for knock in gate.knocks} == {"of/the+role=="}
    assert scope_of(gate.knocks[0].headers["authorization"])[0] == "ASIAROLE"


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (
            403,
            ConfigError,
            "sigv4 gets no AWS credentials: An error occurred (AccessDenied) when calling the AssumeRole",
        ),
        (503, SourceUnavailable, "sigv4 gets no AWS credentials now: An error occurred (AccessDenied)"),
        (None, SourceUnavailable, "sigv4 gets no AWS credentials now: Could not connect to the endpoint URL"),
    ],
)
def test_a_role_that_cannot_be_had_is_said(
    monkeypatch: pytest.MonkeyPatch, status: int | None, kind: type[Exception], says: str
) -> None:
    denial = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
    with misbehaving(Answer(status or 200, denial, {"Content-Type": "text/xml"})) as sts:
        url = sts.url if status else f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        with pytest.raises(kind) as caught:
            server("http://127.0.0.1:9", sigv4=SIGV4 | {"role_arn": "arn:aws:iam::1:role/x"}).vector("1", 0)
    assert str(caught.value).startswith(says)
    assert SECRET_KEY not in str(caught.value)


@pytest.mark.usefixtures("keys")
def test_a_session_token_that_a_refusal_repeats_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amazon's answer to a wrong signature holds the whole canonical request."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    text = f'{{"message":"should have been x-amz-security-token:{TOKEN}"}}'
    with misbehaving(Answer(403, text.encode())) as one, pytest.raises(SourceRejected) as caught:
        server(one.url, sigv4=SIGV4).vector("1", 0)
    assert one.asked[0].headers["x-amz-security-token"] == TOKEN
    assert str(caught.value).endswith("(it says: should have been x-amz-security-token:***)")


def test_without_any_key_what_to_set_is_said() -> None:
    with pytest.raises(ConfigError, match=r"sigv4 finds no AWS credentials: set AWS_PROFILE, AWS_ACCESS_KEY_ID with"):
        server("http://127.0.0.1:9", sigv4=SIGV4).vector("1", 0)


def test_without_botocore_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("botocore", "botocore.exceptions", "botocore.session"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r'sigv4 needs botocore: pip install "carbon-etl\[aws\]"'):
        server("http://127.0.0.1:9", sigv4=SIGV4)
    assert server("http://127.0.0.1:9").url, "nobody else needs it"


@pytest.mark.usefixtures("keys")
def test_no_key_shows_in_whatever_is_printed_of_it(amazon: Gate) -> None:
    one = server(amazon.url, sigv4=SIGV4)
    one.vector("vector(1)", 0)
    access = one._session._access
    assert isinstance(access.signer, Signer)
    assert SECRET_KEY not in f"{access!r} {access.signer!r} {vars(access.signer)!r} {one._session.__dict__!r}"


def tenant(knock: Knock) -> Answer | None:
    """Mimir's answer to who does not say of which tenant he is."""
    return None if knock.headers.get("x-scope-orgid") == "team-a|team-b" else Answer(401, b"no org id\n")


@pytest.mark.parametrize("transport", ["query", "remote_read"])
def test_a_tenant_is_named_in_every_request(small_fleet_prometheus: RunningServer, transport: str) -> None:
    with Gate(small_fleet_prometheus.url, tenant, "/prometheus").open() as mimir:
        there = everything(server(mimir.url, transport=transport, headers={"X-Scope-OrgID": "team-a|team-b"}))
        assert there == everything(server(small_fleet_prometheus.url, transport=transport))
        with pytest.raises(SourceRejected, match=r"\(401\).*\(it says: no org id\)"):
            server(mimir.url).vector("1", 0)


def test_headers_come_from_variables_and_files_too(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of-a-file\n")
    settings = {
        "headers": {"X-Scope-OrgID": "a"},
        "headers_env": {"X-Api-Key": "API_KEY"},
        "headers_file": {"Authorization": str(tmp_path / "key")},
    }
    with misbehaving(ONE_SERIES) as one:
        list(server(one.url, {"API_KEY": "of-the-env"}, transport="query", **settings).blocks("m", 0, 2_000_000))
    (asked,) = one.asked
    assert (asked.headers["x-scope-orgid"], asked.headers["x-api-key"]) == ("a", "of-the-env")
    assert asked.authorization == "of-a-file"


@pytest.mark.parametrize("transport", ["query", "remote_read"])
def test_a_token_that_rotates_is_read_anew_for_each_request(
    small_fleet_prometheus: RunningServer, tmp_path: Path, transport: str
) -> None:
    token = tmp_path / "token"
    accepted: list[str] = []

    def refuse(knock: Knock) -> Answer | None:
        """Only the newest token is good, and for one request."""
        good = knock.headers.get("authorization") == f"Bearer {accepted[-1]}"
        rotate()
        return None if good else failure(401, "expired")

    def rotate() -> None:
        accepted.append(f"{TOKEN}-{len(accepted)}")
        token.write_text(f"{accepted[-1]}\n")

    rotate()
    with Gate(small_fleet_prometheus.url, refuse).open() as gate:
        there = everything(server(gate.url, {}, transport=transport, bearer_token_file=str(token)))
    assert there == everything(server(small_fleet_prometheus.url, transport=transport))
    assert len(accepted) > len(there)


def test_a_session_brings_what_its_endpoint_asks_for_whoever_sends_the_request() -> None:
    settings = {"url": "http://a", "bearer_token_env": "TOKEN", "headers": {"X-Scope-OrgID": "team-a"}}
    access = Access.of(PrometheusEndpoint.model_validate(settings), {"TOKEN": TOKEN})
    with misbehaving(ONE_SERIES) as one:
        session = BoundedSession(RealClock(), 10, BYTES_PER_MB, print, access)
        session.get(f"{one.url}/api/v1/export")
        session.post(f"{one.url}/api/v1/query", data={"query": "up"}, headers={"authorization": "other"})
    assert [asked.authorization for asked in one.asked] == [f"Bearer {TOKEN}"] * 2
    assert [asked.headers["x-scope-orgid"] for asked in one.asked] == ["team-a"] * 2


def test_a_token_that_is_gone_meanwhile_is_one_line(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with misbehaving(ONE_SERIES) as one:
        there = server(one.url, {}, transport="query", bearer_token_file=str(token))
        token.unlink()
        with pytest.raises(ConfigError, match=f"cannot read the secret file {token}: No such file or directory"):
            list(there.blocks("m", 0, 2_000_000))
    assert one.asked == []


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 503])
def test_a_server_that_repeats_our_secrets_is_not_repeated(status: int, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k3y")

    def echo(asked: Asked) -> Answer:
        return Answer(status, f"no: {asked.authorization} {asked.headers['x-api-key']} p:ss".encode())

    for login in (
        {"username": "u", "password_env": "PASSWORD"},
        {"bearer_token_env": "TOKEN"},
    ):
        key_file = {"X-Api-Key": str(tmp_path / "key")}
        with misbehaving(decide=echo) as one:
            there = server(one.url, {"PASSWORD": "p:ss", "TOKEN": TOKEN}, **login, headers_file=key_file)
            with pytest.raises((SourceRejected, SourceUnavailable), match=r"no: \w+ \*\*\* \*\*\*") as caught:
                there.vector("1", 0)
        for secret in (TOKEN, "k3y", "dTpwOnNz", *(["p:ss"] if "username" in login else [])):
            assert secret not in str(caught.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_proxies_of_the_environment_are_not_used(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with misbehaving(ONE_SERIES) as proxy, misbehaving(ONE_SERIES) as one:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        url = one.url.replace("http", scheme)
        there = server(url, {}, transport="query")
        if scheme == "https":
            with pytest.raises(SourceRejected, match="does not speak TLS there"):
                list(there.blocks("m", 0, 2_000_000))
            return
        requests.get(url, timeout=5)
        list(there.blocks("m", 0, 2_000_000))
    assert len(proxy.asked) == 1, "the trap is set"
    assert len(one.asked) == 1


@pytest.mark.usefixtures("keys")
def test_no_credentials_go_to_where_a_redirect_points() -> None:
    with (
        misbehaving(ONE_SERIES) as elsewhere,
        misbehaving(Answer(307, b"", {"Location": f"{elsewhere.url}/api/v1/query"})) as one,
    ):
        for settings in (
            {"sigv4": SIGV4},
            {"bearer_token_env": "TOKEN"},
            {"headers_env": {"X-Api-Key": "TOKEN"}},
        ):
            for transport in ("query", "remote_read"):
                with pytest.raises(SourceRejected):
                    list(server(one.url, {"TOKEN": TOKEN}, transport=transport, **settings).blocks("m", 0, 1))
    assert len(one.asked) == 6
    assert elsewhere.asked == []
