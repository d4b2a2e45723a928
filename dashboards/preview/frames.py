"""Answers as Grafana's frames: columns with names, labels and what was configured of them."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

Cell: TypeAlias = float | str | None
Kind: TypeAlias = Literal["time", "number", "string"]
LEGEND = re.compile(r"\{\{\s*(.+?)\s*\}\}")


@dataclass(frozen=True)
class Field:
    """One column.

    Attributes:
        name: as the data source calls it.
        kind: of its values; times are milliseconds.
        values: None where there is nothing.
        labels: of the series that it comes from.
        config: unit, displayName and the rest of a field's options.
        legend: the name that a legend format gave it.
    """

    name: str
    kind: Kind
    values: tuple[Cell, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    legend: str = ""

    def numbers(self) -> list[float | None]:
        """Its values as numbers; None where there is none."""
        return [None if value is None or isinstance(value, str) else value for value in self.values]


@dataclass(frozen=True)
class Frame:
    """Columns of one length, of the target `ref_id`; `step_seconds` between the points of a range."""

    ref_id: str
    fields: tuple[Field, ...]
    step_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.fields[0].values) if self.fields else 0

    def with_values(self, rows: Sequence[int]) -> "Frame":
        """Those rows, in that order."""
        return replace(self, fields=tuple(replace(f, values=tuple(f.values[i] for i in rows)) for f in self.fields))


def display_name(one: Field, frames: Sequence[Frame]) -> str:
    """How Grafana calls a column: as configured, as its legend says, or by what tells it from the others."""
    configured = one.config.get("displayName")
    if configured:
        return str(configured)
    if one.legend:
        return one.legend
    if one.kind == "time" or not one.labels:
        return one.name
    keys = {key for frame in frames for other in frame.fields for key in other.labels}
    own = [] if one.name == "Value" else [one.name]
    if len(keys) == 1:
        return " ".join([*own, one.labels[next(iter(keys))]])
    labels = ", ".join(f'{name}="{value}"' for name, value in sorted(one.labels.items()))
    return " ".join([*own, f"{{{labels}}}"])


def series_frames(
    target: Mapping[str, Any], expr: str, result: Sequence[Mapping[str, Any]], step_seconds: float
) -> list[Frame]:
    """A frame for each series of an answer."""
    frames = []
    for series in result:
        labels, points = dict(series["metric"]), list(_points(series))
        stamps, values = tuple(stamp for stamp, _ in points), tuple(value for _, value in points)
        value = Field("Value", "number", values, labels, legend=_legend(target.get("legendFormat"), labels, expr))
        frames.append(Frame(target["refId"], (Field("Time", "time", stamps), value), step_seconds))
    return frames


def table_frame(target: Mapping[str, Any], name: str, result: Sequence[Mapping[str, Any]]) -> Frame:
    """One frame of an answer: time, a column for each label, the value as `name`."""
    rows = [(stamp, series["metric"], value) for series in result for stamp, value in _points(series)]
    labels = sorted({label for _, metric, _ in rows for label in metric})
    columns = [Field(label, "string", tuple(metric.get(label, "") for _, metric, _ in rows)) for label in labels]
    first = Field("Time", "time", tuple(stamp for stamp, _, _ in rows))
    return Frame(target["refId"], (first, *columns, Field(name, "number", tuple(value for _, _, value in rows))))


def _points(series: Mapping[str, Any]) -> Iterator[tuple[float, float | None]]:
    for stamp, text in series.get("values") or [series["value"]]:
        value = float(text)
        yield float(stamp) * 1000, None if math.isnan(value) else value


def _legend(form: str | None, labels: Mapping[str, str], expr: str) -> str:
    if form in (None, "", "__auto"):
        return "" if labels else expr
    return LEGEND.sub(lambda match: labels.get(match[1], ""), form or "")
