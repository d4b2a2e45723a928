"""The provisioning tree: what is in it, how it names secrets, and whose files it never replaces."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import ConfigError
from pipeline.handover.dashboards import DASHBOARDS, NO_TEAMS, DataSource, shipped
from pipeline.handover.export import MANIFEST, Exported, export
from pipeline.handover.provisioning import data_source_document, tree
from pipeline.settings import StoreSettings
from tests.product import Product

STORE = StoreSettings(url="http://store:8428/api/v1/write")
SOURCE = DataSource()
DATASOURCES, PROVIDERS = "provisioning/datasources/carbon-etl.yaml", "provisioning/dashboards/carbon-etl.yaml"
COMMITTED = sorted(DASHBOARDS.glob("*.json"))


def files(mounted_at: str = "/d") -> dict[str, str]:
    return tree(STORE, SOURCE, "Carbon", mounted_at, NO_TEAMS)


def data_source(**keys: object) -> dict[str, Any]:
    settings = StoreSettings.model_validate({"url": "https://store/api/v1/write"} | keys)
    [found] = data_source_document(settings, SOURCE)["datasources"]
    return dict(found)


def test_the_tree_is_a_data_source_a_provider_and_every_dashboard() -> None:
    found = files()
    assert list(found) == [DATASOURCES, PROVIDERS, *(f"dashboards/{path.name}" for path in COMMITTED)]
    assert yaml.safe_load(found[DATASOURCES]) == {
        "apiVersion": 1,
        "datasources": [
            {
                "name": "carbon-etl", "uid": "carbon-etl", "type": "prometheus", "access": "proxy",
                "url": "http://store:8428", "editable": False,
                "jsonData": {"httpMethod": "POST", "timeInterval": "1h", "incrementalQuerying": False},
            }
        ],
    }  # fmt: skip
    [provider] = yaml.safe_load(found[PROVIDERS])["providers"]
    assert (provider["folder"], provider["type"], provider["options"]) == ("Carbon", "file", {"path": "/d"})
    assert found[DATASOURCES].startswith("# Written by `carbon-etl dashboards export`")


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.stem)
def test_a_dashboard_is_as_committed_but_for_the_data_source_it_opens_with(path: Path) -> None:
    committed, written = json.loads(path.read_text(encoding="utf-8")), json.loads(files()[f"dashboards/{path.name}"])
    [variable] = [one for one in written["templating"]["list"] if one["name"] == "datasource"]
    assert variable.pop("current") == {"selected": True, "text": "carbon-etl", "value": "carbon-etl"}
    for one in committed["templating"]["list"]:
        if one["name"] == "datasource":
            one.pop("current", None)
    assert written == committed
    assert "carbon-etl" in written["tags"]


def test_secrets_are_named_and_never_written() -> None:
    bearer = data_source(bearer_token_env="STORE_TOKEN", headers={"X-Scope-OrgID": "a$b"})  # noqa: S106 # a name
    assert bearer["jsonData"] | {} == bearer["jsonData"] | {
        "httpHeaderName1": "X-Scope-OrgID", "httpHeaderName2": "Authorization",
    }  # fmt: skip
    assert bearer["secureJsonData"] == {"httpHeaderValue1": "a$$b", "httpHeaderValue2": "Bearer ${STORE_TOKEN}"}
    basic = data_source(username="u", password_file="/run/secrets/p", headers_env={"X-Api-Key": "KEY"})  # noqa: S106
    assert (basic["basicAuth"], basic["basicAuthUser"]) == (True, "u")
    assert basic["secureJsonData"] == {
        "basicAuthPassword": "$__file{/run/secrets/p}", "httpHeaderValue1": "${KEY}",
    }  # fmt: skip


def test_certificates_are_named_by_file() -> None:
    mutual = data_source(ca_file="/tls/ca.pem", cert_file="/tls/both.pem", server_name="store.local")
    assert mutual["jsonData"]["tlsAuth"] is mutual["jsonData"]["tlsAuthWithCACert"] is True
    assert mutual["jsonData"]["serverName"] == "store.local"
    assert mutual["secureJsonData"] == {
        "tlsCACert": "$__file{/tls/ca.pem}",
        "tlsClientCert": "$__file{/tls/both.pem}",
        "tlsClientKey": "$__file{/tls/both.pem}",
    }


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"query_url": "none"}, "has no query_url"),
        ({"sigv4": {"region": "eu-west-1"}}, "signed for Amazon"),
    ],
)
def test_a_store_that_this_data_source_cannot_ask_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        data_source(**keys)


@pytest.mark.parametrize(("name", "uid"), [("", "u"), ("n", ""), ("n", "a b"), ("n", "x" * 41)])
def test_a_name_or_uid_that_grafana_does_not_take_is_refused(name: str, uid: str) -> None:
    with pytest.raises(ConfigError, match="data source"):
        DataSource(name, uid)


def test_exporting_again_writes_nothing(tmp_path: Path) -> None:
    first, again = (export(tmp_path / "new" / "g", files(), force=False) for _ in range(2))
    assert first == Exported(written=list(files()))
    assert again == Exported(unchanged=list(files()))


def test_what_a_newer_version_writes_otherwise_is_replaced_and_what_it_lacks_is_removed(tmp_path: Path) -> None:
    export(tmp_path, files() | {"dashboards/old.json": "{}\n"}, force=False)
    done = export(tmp_path, files("/elsewhere"), force=False)
    assert (done.written, done.removed) == ([PROVIDERS], ["dashboards/old.json"])
    assert not (tmp_path / "dashboards" / "old.json").exists()


def test_a_file_of_somebody_else_stays_and_nothing_is_written(tmp_path: Path) -> None:
    theirs = tmp_path / PROVIDERS
    theirs.parent.mkdir(parents=True)
    theirs.write_text("apiVersion: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"provisioning/dashboards/carbon-etl\.yaml: not as carbon-etl wrote it"):
        export(tmp_path, files(), force=False)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]
    assert PROVIDERS in export(tmp_path, files(), force=True).written
    assert theirs.read_text(encoding="utf-8") == files()[PROVIDERS]


def test_a_file_of_ours_that_was_changed_since_is_somebody_elses(tmp_path: Path) -> None:
    export(tmp_path, files() | {"dashboards/old.json": "{}\n"}, force=False)
    (tmp_path / "dashboards" / "old.json").write_text('{"mine": 1}', encoding="utf-8")
    assert export(tmp_path, files(), force=False).removed == []
    (tmp_path / DATASOURCES).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not as carbon-etl wrote it"):
        export(tmp_path, files(), force=False)


@pytest.mark.parametrize("text", ["[]", "{", '{"../x": "digest"}', '{"/etc/passwd": "digest"}', '{"a": 1}'])
def test_a_manifest_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not as carbon-etl wrote it"):
        export(tmp_path, files(), force=True)


def test_the_command_exports_for_the_store_of_the_config(tmp_path: Path) -> None:
    product, target = Product(tmp_path, "http://127.0.0.1:9"), tmp_path / "grafana"
    storeless = product.call("dashboards", "export", str(target))
    assert (storeless.code, "no [[remote_write]] store" in storeless.only_error()) == (2, True)
    product.config.write_text(
        product.config.read_text() + '[[remote_write]]\nurl = "http://store:8428/api/v1/write"\n', encoding="utf-8"
    )
    said = product.call(
        "dashboards", "export", str(target), "--datasource-url", "http://vm:1", "--datasource-uid", "vm", "--json"
    )
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == {"written": list(files()), "unchanged": [], "removed": []}
    [found] = yaml.safe_load((target / DATASOURCES).read_text(encoding="utf-8"))["datasources"]
    assert (found["url"], found["uid"]) == ("http://vm:1", "vm")


def test_every_shipped_dashboard_has_a_uid_and_a_data_source_variable() -> None:
    found = shipped(SOURCE)
    assert len({board["uid"] for board in found.values()}) == len(found) == len(COMMITTED)
    assert all("datasource" in {one["name"] for one in board["templating"]["list"]} for board in found.values())
