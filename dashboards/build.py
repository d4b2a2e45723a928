"""Writes the Grafana dashboards that are shipped: `python -m dashboards.build`.

The JSON is committed and a test builds it again, so that it is never edited by hand. Classic schema (41), which Grafana
10.4 to 13 load; no `__inputs`, because file provisioning does not resolve them.
"""

import json
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import grid, namespaces, nodes, overview, pipeline_health, processes, workload
from dashboards.panels import GRID_COLUMNS

FOLDER = Path(__file__).parent
BOARDS = {
    "overview": overview.board,
    "namespaces": namespaces.board,
    "workload": workload.board,
    "nodes": nodes.board,
    "processes": processes.board,
    "grid": grid.board,
    "pipeline_health": pipeline_health.board,
}


def document(board: dashboard.Dashboard) -> str:
    """The text of a dashboard's file: Grafana's classic JSON model."""
    model: dict[str, object] = json.loads(json.dumps(board.build(), cls=JSONEncoder))
    return json.dumps(_completed(model), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _completed(model: dict[str, object]) -> dict[str, object]:
    """`model` with what the SDK leaves out: a null id, and for each panel a number and a place that it fits into."""
    panels = model["panels"]
    if not isinstance(panels, list):
        raise TypeError("a dashboard's panels are a list")
    placed, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        width, height = (panel["gridPos"][side] for side in ("w", "h"))
        if x + width > GRID_COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        placed.append(panel | {"id": number, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, tallest = x + width, max(tallest, height)
    return model | {"id": None, "panels": placed}


if __name__ == "__main__":
    for name, board in BOARDS.items():
        (FOLDER / f"{name}.json").write_text(document(board()), encoding="utf-8")
