"""`carbon-etl dashboards push`: dashboards into a Grafana by its API; what is not ours there stays as it is."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias
from urllib.parse import quote

from pipeline.errors import ConfigError, SourceMalformed
from pipeline.handover.dashboards import OURS, DataSource
from pipeline.handover.grafana import Conflict, Grafana
from pipeline.handover.teams import Document

Action: TypeAlias = Literal["created", "replaced", "unchanged"]
PROMETHEUS = "prometheus"
MOST_FOLDERS = 1000
OF_GRAFANA = ("id", "version")  # what it numbers itself


@dataclass(frozen=True)
class Pushed:
    """One dashboard: what became of it, or would, and where it is."""

    uid: str
    title: str
    action: Action
    url: str

    def line(self, *, dry_run: bool) -> str:
        """For people."""
        told = {"created": "would create", "replaced": "would replace", "unchanged": "unchanged"}
        return f"{told[self.action] if dry_run else self.action} {self.title} ({self.uid}) {self.url}".rstrip()


def find_data_source(grafana: Grafana, name: str | None, query_url: str | None) -> DataSource:
    """A Prometheus data source of that Grafana: by name or uid, else the one at `query_url`, else the only one.

    Raises:
        ConfigError: none, or several, with their names.
        SourceError: Grafana does not say.
    """
    answer = grafana.get("/api/datasources")
    try:
        known = [(DataSource(o["name"], o["uid"]), str(o.get("url", ""))) for o in answer if o["type"] == PROMETHEUS]
    except (TypeError, KeyError, AttributeError):
        raise SourceMalformed(f"{grafana.url} does not list data sources: is it a Grafana?") from None
    if name is not None:
        found = [source for source, _ in known if name in (source.name, source.uid)]
    else:
        found = [source for source, url in known if query_url and url.rstrip("/") == query_url.rstrip("/")]
        found = found or [source for source, _ in known if len(known) == 1]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(sorted(source.name for source, _ in known)) or "it has none of type prometheus"
    wanted = f"named {name!r}" if name is not None else f"at {query_url}" if query_url else "to choose"
    raise ConfigError(f"{grafana.url} has {len(found)} Prometheus data sources {wanted}; give --datasource: {listed}")


def push(
    grafana: Grafana, boards: Sequence[Document], folder: str, message: str, *, force: bool, dry_run: bool
) -> list[Pushed]:
    """Write each dashboard that differs from what Grafana has, into the folder of that title.

    Everything is read and judged before anything is written.

    Args:
        grafana: where.
        boards: what.
        folder: title (or uid) of the folder at the root, which is made if it is not there.
        message: of the dashboards' histories.
        force: also replace dashboards of these uids that are not tagged as ours.
        dry_run: write nothing.

    Raises:
        ConfigError: a dashboard there is not ours, or is held by files of that Grafana.
        SourceError: Grafana refuses, or cannot be reached.
    """
    held = {board["uid"]: _held(grafana, board["uid"]) for board in boards}
    for board in boards:
        _judge(grafana, held[board["uid"]], board, force=force)
    folder_uid = _folder(grafana, folder)
    if folder_uid is None and not dry_run:
        folder_uid = _made_folder(grafana, folder)
    done = []
    for board in boards:
        there = held[board["uid"]]
        action: Action = "created" if there is None else "replaced"
        if there is not None and _is_same(there, board, folder_uid):
            action = "unchanged"
        path = "" if there is None else str(there.get("meta", {}).get("url", ""))
        if action != "unchanged" and not dry_run:
            path = _written(grafana, board, folder_uid, message)
        done.append(Pushed(board["uid"], board["title"], action, grafana.url + path if path else ""))
    return done


def _held(grafana: Grafana, uid: str) -> Mapping[str, Any] | None:
    """What Grafana has under that uid, with what it says of it."""
    found = grafana.get(f"/api/dashboards/uid/{quote(uid, safe='')}")
    if found is not None and not (isinstance(found, dict) and isinstance(found.get("dashboard"), dict)):
        raise SourceMalformed(f"{grafana.url} does not show the dashboard {uid}: is it a Grafana?")
    return found


def _judge(grafana: Grafana, there: Mapping[str, Any] | None, board: Document, *, force: bool) -> None:
    """Whether the dashboard may be replaced."""
    if there is None:
        return
    title = there["dashboard"].get("title", "")
    if there.get("meta", {}).get("provisioned"):
        raise ConfigError(
            f"{title} ({board['uid']}) is held by provisioning files of {grafana.url}: replace those "
            "(carbon-etl dashboards export), no API can"
        )
    if OURS not in (there["dashboard"].get("tags") or []) and not force:
        raise ConfigError(
            f"{grafana.url} has another dashboard of the uid {board['uid']}, without our tag {OURS}: {title}; "
            "give that one another uid, or replace it with --force"
        )


def _is_same(there: Mapping[str, Any], board: Document, folder_uid: str | None) -> bool:
    held, wanted = ({k: v for k, v in one.items() if k not in OF_GRAFANA} for one in (there["dashboard"], board))
    return held == wanted and there.get("meta", {}).get("folderUid", "") == folder_uid


def _folder(grafana: Grafana, title: str) -> str | None:
    """The uid of the folder at the root that has this title or uid; None without.

    Raises:
        ConfigError: several of that title.
    """
    answer = grafana.get(f"/api/folders?limit={MOST_FOLDERS}")
    try:
        found = [str(one["uid"]) for one in answer if title in (one["title"], one["uid"])]
    except (TypeError, KeyError):
        raise SourceMalformed(f"{grafana.url} does not list folders: is it a Grafana?") from None
    if len(found) > 1:
        raise ConfigError(f"{grafana.url} has {len(found)} folders titled {title}: give --folder the uid of one")
    return found[0] if found else None


def _made_folder(grafana: Grafana, title: str) -> str:
    """The uid of a new folder. Of ours, so that a request whose answer was lost is not made twice."""
    uid = f"{OURS}-{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}"[:40]
    try:
        return str(grafana.post("/api/folders", {"uid": uid, "title": title})["uid"])
    except Conflict as conflict:
        made = _folder(grafana, title)
        if made is None:
            raise conflict from None
        return made


def _written(grafana: Grafana, board: Document, folder_uid: str | None, message: str) -> str:
    """The path of the dashboard in Grafana's pages."""
    wanted = {"dashboard": board | {"id": None}, "folderUid": folder_uid, "message": message, "overwrite": True}
    return str(grafana.post("/api/dashboards/db", wanted).get("url", ""))
