"""A panel's targets asked of a real store, as Grafana's Prometheus data source asks."""

from collections.abc import Mapping
from typing import Any

import httpx

from dashboards.preview.board import Board, Panel, PreviewError
from dashboards.preview.frames import Frame, series_frames, table_frame
from dashboards.preview.interpolation import Choice, chosen, of_time, replaced
from dashboards.preview.intervals import (
    SCRAPED_SECONDS,
    TimeRange,
    aligned_seconds,
    duration_seconds,
    step_seconds,
)
from dashboards.preview.transformations import transformed

DEFAULT_POINTS = 1000  # about the pixels of a panel


class Store:
    """A Prometheus, and how long ago a range of it begins.

    Args:
        client: whose base address is the store's.
        shown: the dashboards' range.
    """

    def __init__(self, client: httpx.Client, shown: TimeRange) -> None:
        self._client, self.shown = client, shown

    def choices(self, board: Board, own: Mapping[str, str]) -> dict[str, Choice]:
        """Every variable of a dashboard at its default, or as `own` has it."""
        known: dict[str, Choice] = {}
        for variable in board.variables:
            name = variable["name"]
            given = own.get(name)
            known[name] = Choice((given,), (given,)) if given else chosen(variable, self._label_values, known)
        return known

    def frames(self, panel: Panel, known: Mapping[str, Choice], points: int = DEFAULT_POINTS) -> list[Frame]:
        """What a panel draws: its targets' answers, transformed.

        Raises:
            PreviewError: an expression is refused, or needs what this tool does not know.
        """
        found: list[Frame] = []
        for target in panel.targets:
            found += self._asked(panel, target, known, points)
        return transformed(found, panel.model.get("transformations") or [])

    def words(self, panel: Panel, known: Mapping[str, Choice]) -> str:
        """The text of a text panel."""
        moment = of_time(self.shown, SCRAPED_SECONDS, SCRAPED_SECONDS)
        return replaced(str(panel.options.get("content", "")), {**known, **moment})

    def _asked(self, panel: Panel, target: Mapping[str, Any], known: Mapping[str, Choice], points: int) -> list[Frame]:
        model = panel.model
        shown = self.shown.over(model.get("timeFrom"), model.get("timeShift"))
        least = target.get("interval") or model.get("interval")
        least_seconds = duration_seconds(least) if least else SCRAPED_SECONDS
        step = step_seconds(shown, least_seconds, int(model.get("maxDataPoints") or points))
        expr = replaced(target["expr"], {**known, **of_time(shown, step, least_seconds)})
        if target.get("instant"):
            result = self._data("/api/v1/query", {"query": expr, "time": f"{shown.end_ms / 1000:.3f}"})["result"]
        else:
            ends = {"start": shown.start_ms, "end": shown.end_ms}
            aligned = {name: f"{aligned_seconds(moment, step):.3f}" for name, moment in ends.items()}
            result = self._data("/api/v1/query_range", {"query": expr, "step": f"{step:g}"} | aligned)["result"]
        if target.get("format") == "table":
            name = f"Value #{target['refId']}" if len(panel.targets) > 1 else "Value"
            return [table_frame(target, name, result)] if result else []
        return series_frames(target, expr, result, step)

    def _label_values(self, series: str, label: str) -> list[str]:
        ends = {"start": f"{self.shown.start_ms / 1000:.3f}", "end": f"{self.shown.end_ms / 1000:.3f}"}
        matched = {"match[]": series} if series else {}
        return list(self._data(f"/api/v1/label/{label}/values", ends | matched, method="GET"))

    def _data(self, path: str, parameters: Mapping[str, str], method: str = "POST") -> Any:  # noqa: ANN401 # JSON
        asked = {"data": dict(parameters)} if method == "POST" else {"params": dict(parameters)}
        answer = self._client.request(method, path, **asked)  # type: ignore[arg-type]
        if answer.status_code != httpx.codes.OK:
            raise PreviewError(f"{parameters.get('query', path)}: {answer.text[:400]}")
        return answer.json()["data"]
