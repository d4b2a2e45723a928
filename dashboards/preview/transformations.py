"""Grafana's transformations, as far as the dashboards use them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dashboards.preview.board import PreviewError
from dashboards.preview.frames import Cell, Field, Frame, display_name
from dashboards.preview.reducers import TITLES, reduced

Options = Mapping[str, Any]


def transformed(frames: Sequence[Frame], steps: Sequence[Mapping[str, Any]]) -> list[Frame]:
    """The frames after each of the panel's transformations.

    Raises:
        PreviewError: one that this tool does not know.
    """
    found = list(frames)
    for step in steps:
        if step.get("disabled"):
            continue
        if step["id"] not in STEPS:
            raise PreviewError(f"the transformation {step['id']!r} is not known here")
        found = STEPS[step["id"]](found, step.get("options") or {})
    return found


def _merge(frames: list[Frame], _options: Options) -> list[Frame]:
    """One table: rows that agree in every column that several frames have become one."""
    frames = [frame for frame in frames if frame.fields]
    if len(frames) <= 1:
        return frames
    columns: dict[str, Field] = {}
    shared: list[str] = []
    for frame in frames:
        for one in frame.fields:
            name = display_name(one, frames)
            if name in columns and name not in shared:
                shared.append(name)
            columns.setdefault(name, one)
    rows: dict[tuple[Cell, ...], dict[str, Cell]] = {}
    for frame in frames:
        names = [display_name(one, frames) for one in frame.fields]
        for cells in zip(*(one.values for one in frame.fields), strict=True):
            row = dict(zip(names, cells, strict=True))
            rows.setdefault(tuple(row.get(name) for name in shared), {}).update(row)
    return [_table(frames[0].ref_id, columns, list(rows.values()))]


def _table(ref_id: str, columns: Mapping[str, Field], rows: Sequence[Mapping[str, Cell]]) -> Frame:
    fields = [replace(one, name=name, values=tuple(row.get(name) for row in rows)) for name, one in columns.items()]
    return Frame(ref_id, tuple(fields))


def _organize(frames: list[Frame], options: Options) -> list[Frame]:
    """Columns left out, in another order, under other names."""
    hidden, order, names = (options.get(key) or {} for key in ("excludeByName", "indexByName", "renameByName"))

    def organized(frame: Frame) -> Frame:
        named = [(display_name(one, frames), one) for one in frame.fields]
        kept = [(name, one) for name, one in named if not hidden.get(name)]
        kept.sort(key=lambda pair: order.get(pair[0], len(order)))
        fields = [replace(o, config={**o.config, "displayName": names[n]}) if names.get(n) else o for n, o in kept]
        return replace(frame, fields=tuple(fields))

    return [organized(frame) for frame in frames]


def _sort_by(frames: list[Frame], options: Options) -> list[Frame]:
    """Rows by the first column that is told; nulls last."""
    wanted = (options.get("sort") or [{}])[0]

    def ordered(frame: Frame) -> Frame:
        keys = [one for one in frame.fields if display_name(one, frames) == wanted.get("field")]
        return sorted_rows(frame, keys[0], descending=bool(wanted.get("desc"))) if keys else frame

    return [ordered(frame) for frame in frames]


def sorted_rows(frame: Frame, key: Field, *, descending: bool) -> Frame:
    """The frame in the order of one of its columns; nulls last."""
    there = [row for row, value in enumerate(key.values) if value is not None]
    there.sort(key=lambda row: (isinstance(key.values[row], str), key.values[row]), reverse=descending)
    return frame.with_values([*there, *(row for row, value in enumerate(key.values) if value is None)])


def _join_by_field(frames: list[Frame], options: Options) -> list[Frame]:
    """One table: rows of all frames side by side where the column that is told agrees."""
    name = options.get("byField") or "Time"
    joined = [(f, one) for f in frames for one in f.fields if display_name(one, frames) == name]
    if len(joined) <= 1:
        return frames
    keys = dict.fromkeys(value for _, key in joined for value in key.values)
    if options.get("mode") == "inner":
        keys = dict.fromkeys(k for k in keys if all(k in key.values for _, key in joined))
    order = sorted(keys, key=lambda value: (value is None, isinstance(value, str), value))
    fields = [replace(joined[0][1], values=tuple(order))]
    for frame, key in joined:
        row_of = {value: row for row, value in enumerate(key.values)}
        for one in frame.fields:
            if one is not key:
                rows = [row_of.get(value) for value in order]
                fields.append(replace(one, values=tuple(None if row is None else one.values[row] for row in rows)))
    return [Frame(joined[0][0].ref_id, tuple(fields))]


def _reduce(frames: list[Frame], options: Options) -> list[Frame]:
    """Each column of numbers to a row of its calculations."""
    if options.get("mode") == "reduceFields":
        raise PreviewError("the transformation 'reduce' is known here in its mode seriesToRows only")
    calculations = options.get("reducers") or ["max"]
    numbers = [one for frame in frames for one in frame.fields if one.kind == "number"]
    fields = [Field("Field", "string", tuple(display_name(one, frames) for one in numbers))]
    for calculation in calculations:
        values = tuple(reduced(calculation, one.numbers()) for one in numbers)
        fields.append(Field(TITLES.get(calculation, calculation), "number", values))
    return [Frame(frames[0].ref_id if frames else "A", tuple(fields))]


def _rename_by_regex(frames: list[Frame], options: Options) -> list[Frame]:
    """Columns under the names that a regex makes of theirs."""
    pattern, made = re.compile(options["regex"]), re.sub(r"\$(\d)", r"\\\1", options["renamePattern"])

    def renamed(one: Field) -> Field:
        return replace(one, config={**one.config, "displayName": pattern.sub(made, display_name(one, frames))})

    return [replace(frame, fields=tuple(renamed(one) for one in frame.fields)) for frame in frames]


STEPS: Mapping[str, Callable[[list[Frame], Options], list[Frame]]] = {
    "merge": _merge,
    "organize": _organize,
    "sortBy": _sort_by,
    "joinByField": _join_by_field,
    "reduce": _reduce,
    "renameByRegex": _rename_by_regex,
}
