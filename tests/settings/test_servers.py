"""What an endpoint may say of credentials, headers, certificates and signatures; what contradicts itself is refused."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipeline.config import load
from pipeline.errors import ConfigError
from pipeline.settings import PrometheusEndpoint, StoreSettings

SECRET = "hunter2-s3cret"  # noqa: S105 # what must never be seen
URL = "https://metrics.example"


def endpoint(**keys: object) -> PrometheusEndpoint:
    return PrometheusEndpoint.model_validate({"url": URL} | keys)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"ca_file": "x", "url": "http://a"}, "ca_file is of TLS: write https:// in its url"),
        ({"server_name": "x", "url": "http://a"}, "server_name is of TLS"),
        ({"key_file": "x"}, "key_file is the key of cert_file: set both"),
        ({"sigv4": {}}, "Field required"),
        ({"sigv4": {"region": "eu central"}}, "String should match pattern"),
        ({"sigv4": {"region": "x", "role_arn": "role"}}, "String should match pattern"),
        ({"sigv4": {"region": "x"}, "bearer_token_env": "T"}, "bearer_token_env and sigv4 exclude each other"),
        ({"sigv4": {"region": "x"}, "username": "u", "password_env": "P"}, "username and sigv4 exclude each other"),
        (
            {"headers_env": {"authorization": "T"}, "bearer_token_file": "f"},
            "bearer_token_file and the header Authorization exclude each other: a request has one Authorization",
        ),
        (
            {"headers_file": {"Authorization": "f"}, "username": "u", "password_env": "P"},
            "username and the header Authorization exclude each other",
        ),
        ({"headers": {"Authorization": SECRET}}, "Authorization may hold a secret: name its variable in headers_env"),
        ({"headers": {"X-Api-Key": SECRET}}, "X-Api-Key may hold a secret"),
        ({"headers": {"cookie": SECRET}}, "cookie may hold a secret"),
        ({"headers": {"X-Auth-Token": SECRET}}, "X-Auth-Token may hold a secret"),
        ({"headers": {"Host": "a"}}, "the header Host is set by each request itself: leave it out"),
        ({"headers_env": {"content-type": "a"}}, "the header content-type is set by each request itself"),
        ({"headers": {"X Scope": "a"}}, "'X Scope' is no name of a header"),
        ({"headers": {"": "a"}}, "'' is no name of a header"),
        ({"headers": {"X-A": "a\nb"}}, "the header X-A needs a value of printable ASCII"),
        ({"headers": {"X-A": "ä"}}, "the header X-A needs a value of printable ASCII"),
        ({"headers": {"X-A": " a"}}, "the header X-A needs a value of printable ASCII"),
        ({"headers": {"X-A": ""}}, "the header X-A needs a value of printable ASCII"),
        ({"headers": {"X-A": "a"}, "headers_env": {"x-a": "b"}}, "the header x-a is given twice"),
        ({"headers": {"X-A": 1}}, "Input should be a valid string"),
        ({"insecure": True}, "Extra inputs are not permitted"),
    ],
)
def test_what_contradicts_itself_or_cannot_be_sent_is_refused(keys: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        endpoint(**keys)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_headers_are_of_the_config_of_variables_and_of_files(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("  of-a-file\n\n")
    one = endpoint(
        headers={"X-Scope-OrgID": "team-a"}, headers_env={"X-Api-Key": "KEY"}, headers_file={"X-B": tmp_path / "f"}
    )
    found = {"X-Scope-OrgID": "team-a", "X-Api-Key": SECRET, "X-B": "of-a-file"}
    assert one.header({"KEY": SECRET}) == found
    assert one.secrets({"KEY": SECRET}) == [SECRET, "of-a-file"]
    (tmp_path / "f").write_text("renewed")
    assert one.header({"KEY": SECRET})["X-B"] == "renewed"
    assert SECRET not in f"{one!r} {one} {one.model_dump_json()}"


def test_headers_stand_beside_credentials_and_hold_for_stores_too() -> None:
    keys = {"username": "4711", "password_env": "P", "headers": {"X-Scope-OrgID": "team-a"}}
    store = StoreSettings.model_validate({"url": f"{URL}/api/v1/write"} | keys)
    expected = {"X-Scope-OrgID": "team-a", "Authorization": "Basic NDcxMTpw"}
    assert store.header({"P": "p"}) == endpoint(**keys).header({"P": "p"}) == expected
    assert store.secrets({"P": "p"}) == ["p", "NDcxMTpw"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read the secret file"),
        ("", "is empty"),
        ("\n", "is empty"),
        (f"{SECRET}\n{SECRET}", "holds line breaks"),
        (f"{SECRET}é", "the header X-A of"),
    ],
)
def test_a_header_file_that_cannot_be_sent_is_one_line(content: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "value"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        endpoint(headers_file={"X-A": path}).header({})
    assert caught.value.exit_code == 2
    assert says in str(caught.value)
    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_can_be_set_by_a_variable_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "carbon-etl.toml"
    path.write_text(
        '[[clusters]]\nname = "a"\nprometheus_url = "http://a"\ngrid_zone = "DE"\npue = 1.2\n'
        '[[remote_write]]\nname = "s"\nurl = "http://b"\n'
    )
    settings = load(path, {"CARBON_ETL__REMOTE_WRITE__S__HEADERS": '{ X-Scope-OrgID = "team-a" }'})
    assert settings.remote_write[0].header({}) == {"X-Scope-OrgID": "team-a"}


def test_an_endpoint_that_says_nothing_sends_nothing() -> None:
    assert endpoint().header({}) == {}
    assert endpoint().secrets({}) == []
    assert endpoint().ways == []


GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
FILES = ("/run/tokens/google", "/var/run/secrets/kubernetes.io/serviceaccount/token")


@pytest.mark.parametrize(
    ("host", "header", "others"),
    [
        (
            "mimir.example.org",
            {"X-Scope-OrgID": "team-a", "Authorization": "Basic cmVhZGVyOnA="},
            {"url": "https://mimir.example.org/prometheus"},
        ),
        (
            "127.0.0.1:10902",
            {"THANOS-TENANT": "team-a"},
            {"server_name": "thanos-query.monitoring.svc", "key_file": Path("/etc/carbon-etl/tls/tls.key")},
        ),
        ("aps-workspaces.eu-central-1.amazonaws.com", {}, {"ways": ["sigv4"]}),
        ("monitoring.googleapis.com", {"Authorization": "Bearer t"}, {"ways": ["bearer_token_file"]}),
        (
            "thanos-querier.openshift-monitoring.svc:9091",
            {"Authorization": "Bearer t"},
            {"ca_file": Path("/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt")},
        ),
    ],
)
def test_the_guides_example_of_each_service_says_what_it_means(
    host: str, header: dict[str, str], others: dict[str, object], tmp_path: Path
) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (text,) = (block for block in blocks if f"https://{host}/" in block or f'https://{host}"' in block)
    token = tmp_path / "token"
    token.write_text("t\n")
    for name in FILES:
        text = text.replace(name, str(token))
    (tmp_path / "carbon-etl.toml").write_text(text, encoding="utf-8")
    (one,) = load(tmp_path / "carbon-etl.toml", {}).clusters[0].prometheus
    assert one.header({"MIMIR_PASSWORD": "p"}) == header
    assert {key: getattr(one, key) for key in others} == others


def test_a_store_that_cannot_be_read_says_none_and_takes_no_blocks() -> None:
    store = StoreSettings.model_validate({"url": f"{URL}/api/v1/write", "query_url": "none"})
    assert store.query_url == "none"
    with pytest.raises(ValidationError, match="needs a store that can be read"):
        StoreSettings.model_validate({"url": f"{URL}/api/v1/write", "query_url": "none", "publish": "blocks"})


def test_a_data_folder_without_blocks_is_refused() -> None:
    with pytest.raises(ValidationError, match='set publish = "blocks", too'):
        StoreSettings.model_validate({"url": f"{URL}/api/v1/write", "data_folder": "/var/lib/x"})
