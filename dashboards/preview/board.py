"""A dashboard file as what has to be asked and drawn: panels in their places, targets, variables."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

COLUMNS = 24


class PreviewError(Exception):
    """A dashboard that cannot be shown as Grafana would; the message names the panel."""


class Place(NamedTuple):
    """Where a panel stands, in columns of 24 and rows of the grid."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Panel:
    """One panel; `model` is its part of the file."""

    model: dict[str, Any]
    place: Place

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.model.get("title", ""))

    @property
    def kind(self) -> str:
        """Its type, as Grafana calls it."""
        return str(self.model["type"])

    @property
    def options(self) -> dict[str, Any]:
        """What its type is told."""
        return dict(self.model.get("options") or {})

    @property
    def targets(self) -> list[dict[str, Any]]:
        """Its queries."""
        return [target for target in self.model.get("targets") or [] if not target.get("hide")]


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    name: str
    model: dict[str, Any]

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.model["title"])

    @property
    def variables(self) -> list[dict[str, Any]]:
        """Its variables, in the order in which they depend on each other."""
        return list(self.model["templating"]["list"])

    def panels(self) -> list[Panel]:
        """All panels from top to bottom, rows among them; what a collapsed row holds stands below it, as unfolded."""
        return list(_unfolded(self.model["panels"]))


def _unfolded(models: list[dict[str, Any]]) -> Iterator[Panel]:
    lower_by = 0
    for model in sorted(models, key=lambda one: (one["gridPos"]["y"], one["gridPos"]["x"])):
        place = model["gridPos"]
        yield Panel(model, Place(place["x"], place["y"] + lower_by, place["w"], place["h"]))
        inner = model.get("panels") or [] if model["type"] == "row" and model.get("collapsed") else []
        if inner:
            first = min(one["gridPos"]["y"] for one in inner)
            down = place["y"] + lower_by + 1 - first
            for one in sorted(inner, key=lambda each: (each["gridPos"]["y"], each["gridPos"]["x"])):
                at = one["gridPos"]
                yield Panel(one, Place(at["x"], at["y"] + down, at["w"], at["h"]))
            lower_by += max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in inner) - first


def boards(folder: Path) -> list[Board]:
    """Every dashboard of a folder, by the name of its file."""
    return [Board(path.stem, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("*.json"))]
