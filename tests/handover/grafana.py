"""A Grafana as far as its documented API says how it answers: folders, data sources, dashboards, and its refusals."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.handover.dashboards import DataSource, shipped
from pipeline.handover.grafana import Grafana
from pipeline.handover.push import Pushed, push
from pipeline.settings import HttpSettings
from pipeline.settings.servers import SecuredServer
from tests.clocks import FixedClock
from tests.gatekeeper import Gate, Knock
from tests.misbehaving import JSON, Answer

TOKEN = "glsa_secret/of+ours"  # noqa: S105
SOURCE = DataSource("carbon", "uid-carbon")
BOARDS = list(shipped(SOURCE).values())[:2]
UIDS = [board["uid"] for board in BOARDS]
DB, FOLDERS = "/api/dashboards/db", "/api/folders"
NOWHERE = "http://127.0.0.1:9"


def said(document: object, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, json.dumps(document).encode(), {"Content-Type": JSON} | named)


def source(name: str, url: str = "http://store:8428", kind: str = "prometheus") -> dict[str, Any]:
    return {"id": 1, "uid": f"uid-{name}", "name": name, "type": kind, "url": url, "access": "proxy", "readOnly": False}


@dataclass
class FakeGrafana:
    """What it holds; `faults` answer the next requests to a path, in their order."""

    folders: list[dict[str, Any]] = field(default_factory=list)
    sources: list[dict[str, Any]] = field(default_factory=lambda: [source("carbon")])
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    written: list[dict[str, Any]] = field(default_factory=list)

    def gate(self) -> Gate:
        return Gate(NOWHERE, self.answer)

    def answer(self, knock: Knock) -> Answer:
        path = urlsplit(knock.target).path
        waiting = self.faults.get((knock.method, path))
        if waiting:
            return waiting.pop(0)
        if knock.headers.get("authorization") != f"Bearer {TOKEN}":
            return said({"message": "Invalid API key"}, 401)
        return self._get(path) if knock.method == "GET" else self._post(path, json.loads(knock.body))

    def _get(self, path: str) -> Answer:
        if path == "/api/datasources":
            return said(self.sources)
        if path == "/api/folders":
            return said(self.folders)
        found = self.held.get(path.removeprefix("/api/dashboards/uid/"))
        return said({"message": "Dashboard not found"}, 404) if found is None else said(found)

    def _post(self, path: str, asked: dict[str, Any]) -> Answer:
        self.written.append(asked)
        if path == "/api/folders":
            if any(asked["uid"] == one["uid"] for one in self.folders):
                return said(
                    {"message": "the folder has been changed by someone else", "status": "version-mismatch"}, 412
                )
            self.folders.append({"id": 7, "uid": asked["uid"], "title": asked["title"]})
            return said(self.folders[-1])
        assert path == "/api/dashboards/db"
        uid, earlier = asked["dashboard"]["uid"], self.held.get(asked["dashboard"]["uid"])
        if earlier is not None and not asked["overwrite"]:
            return said({"message": "A dashboard with the same uid already exists", "status": "name-exists"}, 412)
        version = 1 if earlier is None else earlier["dashboard"]["version"] + 1
        meta = {"url": f"/d/{uid}/x", "folderUid": asked["folderUid"], "provisioned": False}
        self.held[uid] = {"dashboard": asked["dashboard"] | {"id": 11, "version": version}, "meta": meta}
        return said({"id": 11, "uid": uid, "url": f"/d/{uid}/x", "status": "success", "version": version})


def open_grafana(url: str, retry_seconds: float = 0.0, ca_file: Path | None = None) -> Grafana:
    server = SecuredServer(url=url, bearer_token_env="T", ca_file=ca_file)  # noqa: S106 # the name of a variable
    http = HttpSettings(timeout_seconds=5, retry_seconds=retry_seconds)
    return Grafana(server, http, {"T": TOKEN}, FixedClock(datetime(2026, 11, 3, tzinfo=UTC)))


def pushed(gate: Gate, *, force: bool = False, dry_run: bool = False, retry_seconds: float = 0.0) -> list[Pushed]:
    grafana = open_grafana(gate.url, retry_seconds)
    return push(grafana, BOARDS, "Carbon", "carbon-etl 1.2.3", force=force, dry_run=dry_run)
