"""Panels of a test."""

from typing import Any

from dashboards.preview.board import Panel, Place


def panel(kind: str = "stat", options: dict[str, Any] | None = None, **field_config: Any) -> Panel:  # noqa: ANN401
    model = {"type": kind, "title": kind, "options": options or {}, "fieldConfig": field_config}
    return Panel(model, Place(0, 0, 12, 8))
