"""What a Grafana loads at its start: a data source, a provider of dashboards, the dashboards; no secret by value.

Grafana reads `$VAR` and `$__file{path}` in these files from its own environment and disk, so a store's credentials are
named here as the configuration names them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError
from pipeline.handover.dashboards import OURS, DataSource, shipped, text
from pipeline.handover.teams import Document, Teams
from pipeline.settings import StoreSettings

HEADER = "# Written by `carbon-etl dashboards export`, which replaces it as long as nobody else has changed it.\n"


def tree(store: StoreSettings, source: DataSource, folder: str, mounted_at: str, teams: Teams) -> dict[str, str]:
    """Every file of the tree, by its path in it.

    Args:
        store: whose series the dashboards show.
        source: how Grafana is to call it.
        folder: title of the dashboards' folder.
        mounted_at: where Grafana will see the tree's `dashboards/`.
        teams: the map of namespaces, as `teams_on` gives it.

    Raises:
        ConfigError: a store that cannot be asked, or not by this kind of data source.
    """
    files = {
        f"provisioning/datasources/{OURS}.yaml": data_source_document(store, source),
        f"provisioning/dashboards/{OURS}.yaml": provider_document(folder, mounted_at),
    }
    found = {path: HEADER + yaml.safe_dump(document, sort_keys=False) for path, document in files.items()}
    return found | {f"dashboards/{name}.json": text(board) for name, board in shipped(source, teams).items()}


def provider_document(folder: str, mounted_at: str) -> Document:
    """The file that has Grafana load every dashboard of a folder of its disk."""
    provider = {
        "name": OURS,
        "folder": _literal(folder),
        "type": "file",
        "disableDeletion": False,
        "allowUiUpdates": False,
        "updateIntervalSeconds": 60,
        "options": {"path": _literal(mounted_at)},
    }
    return {"apiVersion": 1, "providers": [provider]}


def data_source_document(store: StoreSettings, source: DataSource) -> Document:
    """The file that has Grafana know the store.

    Raises:
        ConfigError: a store that cannot be asked, or not by this kind of data source.
    """
    if store.query_url == "none":
        raise ConfigError(f"the store {store.name} has no query_url: what cannot be asked shows no dashboard")
    if store.sigv4 is not None:
        raise ConfigError(
            f"the store {store.name} wants requests signed for Amazon: set up its data source in Grafana by hand "
            "(plugin Amazon Managed Service for Prometheus), and push the dashboards to it by --datasource"
        )
    plain, secret = _headers(store)
    shown: dict[str, Any] = {
        "name": _literal(source.name),
        "uid": source.uid,
        "type": "prometheus",
        "access": "proxy",
        "url": _literal(store.query_url),
        "editable": False,
        # samples an hour apart; a store of corrections is asked anew, never from what a browser remembers
        "jsonData": {"httpMethod": "POST", "timeInterval": "1h", "incrementalQuerying": False} | _tls(store) | plain,
    }
    if store.username is not None:
        shown |= {"basicAuth": True, "basicAuthUser": _literal(store.username)}
        secret["basicAuthPassword"] = _reference(store.password_env, store.password_file)
    secret |= _certificates(store)
    return {"apiVersion": 1, "datasources": [shown | ({"secureJsonData": secret} if secret else {})]}


def _headers(store: StoreSettings) -> tuple[dict[str, str], dict[str, str]]:
    """Names and values of the headers that each request carries, numbered as Grafana wants them."""
    values = {name: _literal(value) for name, value in store.headers.items()}
    values |= {name: _reference(variable, None) for name, variable in store.headers_env.items()}
    values |= {name: _reference(None, path) for name, path in store.headers_file.items()}
    if store.bearer_token_env or store.bearer_token_file:
        values["Authorization"] = f"Bearer {_reference(store.bearer_token_env, store.bearer_token_file)}"
    numbered = list(enumerate(values.items(), start=1))
    return (
        {f"httpHeaderName{number}": name for number, (name, _) in numbered},
        {f"httpHeaderValue{number}": value for number, (_, value) in numbered},
    )


def _tls(store: StoreSettings) -> dict[str, Any]:
    """Which of TLS is used."""
    used = {
        "tlsAuthWithCACert": store.ca_file is not None,
        "tlsAuth": store.cert_file is not None,
        "serverName": store.server_name,
    }
    return {name: value for name, value in used.items() if value}


def _certificates(store: StoreSettings) -> dict[str, str]:
    """Its files, as Grafana will see them."""
    key = store.key_file or store.cert_file
    files: Mapping[str, Path | None] = {
        "tlsCACert": store.ca_file,
        "tlsClientCert": store.cert_file,
        "tlsClientKey": key,
    }
    return {name: _reference(None, path) for name, path in files.items() if path is not None}


def _reference(variable: str | None, path: Path | None) -> str:
    """A secret by the name of Grafana's own variable or file."""
    return f"${{{variable}}}" if variable is not None else f"$__file{{{path}}}"


def _literal(value: str) -> str:
    """Text in which Grafana is not to look for variables."""
    return value.replace("$", "$$")
