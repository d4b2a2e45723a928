"""The dashboards that come with this package, told which data source of a Grafana they are about."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pipeline.errors import ConfigError
from pipeline.handover.teams import Document, Teams, with_teams

# Beside the package, in the source tree and in the wheel alike.
DASHBOARDS = Path(__file__).parents[2] / "dashboards"
OURS = "carbon-etl"  # a tag of each: by it they are known again in a Grafana
SOURCE_VARIABLE = "datasource"
UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
NO_TEAMS: Teams = MappingProxyType({})


@dataclass(frozen=True)
class DataSource:
    """A data source as Grafana calls it.

    Raises:
        ConfigError: an empty name, or a uid that Grafana does not take.
    """

    name: str = OURS
    uid: str = OURS

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("a data source needs a name")
        if not UID.fullmatch(self.uid):
            raise ConfigError(f"{self.uid!r} is no uid of a data source: 1 to 40 letters, digits, - and _")


def shipped(source: DataSource, teams: Teams = NO_TEAMS) -> dict[str, Document]:
    """Every dashboard of this package by the name of its file, opening with `source`, its teams those of the map."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}
    return {name: with_teams(_about(document, source), teams) for name, document in found.items()}


def _about(document: Document, source: DataSource) -> Document:
    """The dashboard with `source` chosen; a reader may still choose another."""
    for variable in document["templating"]["list"]:
        if variable["name"] == SOURCE_VARIABLE:
            variable["current"] = {"selected": True, "text": source.name, "value": source.uid}
    return document


def text(document: Document) -> str:
    """A dashboard's file, as this package commits it."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
