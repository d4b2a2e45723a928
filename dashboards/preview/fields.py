"""What a panel says of its columns: options with overrides, and a value as text and colour under them."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dashboards.preview.board import Panel, PreviewError
from dashboards.preview.colours import colour
from dashboards.preview.frames import Cell, Field, Frame, display_name
from dashboards.preview.value_formats import formatted

Config = dict[str, Any]


def configured(panel: Panel, frames: Sequence[Frame]) -> list[Frame]:
    """The frames with each column's options: the panel's defaults, then its overrides in their order.

    Raises:
        PreviewError: a matcher that this tool does not know.
    """
    model = panel.model.get("fieldConfig") or {}
    defaults, overrides = model.get("defaults") or {}, model.get("overrides") or []

    def column(frame: Frame, one: Field) -> Field:
        config: Config = {**defaults, "custom": dict(defaults.get("custom") or {}), **one.config}
        for override in overrides:
            if _matches(override["matcher"], frame, one, frames):
                for option in override["properties"]:
                    _set(config, option["id"], option.get("value"))
        return replace(one, config=config)

    return [replace(frame, fields=tuple(column(frame, one) for one in frame.fields)) for frame in frames]


def _matches(matcher: Mapping[str, Any], frame: Frame, one: Field, frames: Sequence[Frame]) -> bool:
    kind, wanted = matcher["id"], matcher.get("options")
    names = (one.name, display_name(one, frames))
    if kind == "byName":
        return wanted in names
    if kind == "byRegexp":
        pattern = re.compile(str(wanted).strip("/"))
        return any(pattern.search(name) for name in names)
    if kind == "byType":
        return one.kind == wanted
    if kind == "byFrameRefID":
        return frame.ref_id == wanted
    raise PreviewError(f"the matcher {kind!r} of an override is not known here")


def _set(config: Config, option: str, value: object) -> None:
    if option.startswith("custom."):
        config["custom"] = {**config["custom"], option.removeprefix("custom."): value}
    else:
        config[option] = value


def custom(one: Field, option: str, default: Any = None) -> Any:  # noqa: ANN401 # the type of a JSON value
    """An option of the panel's type."""
    return (one.config.get("custom") or {}).get(option, default)


def number_fields(frames: Iterable[Frame]) -> list[tuple[Frame, Field]]:
    """Every column of numbers that is not hidden, with its frame."""
    return [
        (frame, one)
        for frame in frames
        for one in frame.fields
        if one.kind == "number" and not (custom(one, "hideFrom") or {}).get("viz")
    ]


def shown(one: Field, value: Cell) -> str:
    """A value as its column has it written.

    Raises:
        PreviewError: a unit or a mapping that this tool does not know.
    """
    result = _mapped(one, value)
    if result is not None and result.get("text"):
        return str(result["text"])
    if value is None:
        return str(one.config.get("noValue") or "")
    if isinstance(value, str):
        return value
    if one.kind == "time" and "unit" not in one.config:
        return formatted(value, "dateTimeAsIso")
    return formatted(value, str(one.config.get("unit", "")), one.config.get("decimals"))


def _mapped(one: Field, value: Cell) -> Mapping[str, Any] | None:
    """What the column's mappings make of a value; None where none is meant."""
    for mapping in one.config.get("mappings") or []:
        kind, options = mapping["type"], mapping["options"]
        if kind == "value":
            key = f"{value:g}" if isinstance(value, float) else str(value)
            if key in options:
                return dict(options[key])
        elif kind == "range":
            low, high = (options.get(end) for end in ("from", "to"))
            low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
            if isinstance(value, float) and low <= value <= high:
                return dict(options["result"])
        elif kind == "special":
            if options["match"] in ("null", "null+nan") and value is None:
                return dict(options["result"])
        else:
            raise PreviewError(f"the mapping {kind!r} is not known here")
    return None


def value_colour(one: Field, value: Cell, otherwise: str) -> str:
    """The colour of a value by mappings, then as the column's colour mode has it; `otherwise` where it has none."""
    result = _mapped(one, value)
    if result is not None and result.get("color"):
        return colour(str(result["color"]))
    mode = (one.config.get("color") or {}).get("mode", "thresholds")
    if mode == "fixed":
        return colour(str(one.config["color"].get("fixedColor", otherwise)))
    if mode != "thresholds" or not isinstance(value, float):
        return otherwise
    thresholds = one.config.get("thresholds") or {}
    steps = thresholds.get("steps") or []
    if thresholds.get("mode") == "percentage":
        low, high = float(one.config.get("min", 0)), float(one.config.get("max", 100))
        value = (value - low) / (high - low) * 100
    reached = [step for step in steps if step.get("value") is None or value >= step["value"]]
    return colour(str(reached[-1]["color"])) if reached else otherwise
