"""Grafana's variables in a Prometheus expression: those of time, and a dashboard's own at their defaults."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from dashboards.preview.board import PreviewError
from dashboards.preview.intervals import TimeRange, duration_text, rate_interval_seconds

VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::([\w:]+))?\}|\[\[(\w+)(?::([\w:]+))?\]\]")
LABEL_VALUES = re.compile(r"\s*label_values\((?:(.+),)?\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*\)\s*", re.DOTALL)
ALL = "$__all"
REGEX_CHARACTERS = re.compile(r"[$^*{}\[\]'+?.()|]")


@dataclass(frozen=True)
class Choice:
    """What is chosen of one variable.

    Attributes:
        values: one, or several of a variable that takes several.
        texts: how they are shown.
        is_plural: whether the variable takes several, or all.
        all_value: what stands for all where all is chosen, which is then not escaped.
    """

    values: tuple[str, ...]
    texts: tuple[str, ...]
    is_plural: bool = False
    all_value: str | None = None

    def text(self, form: str | None) -> str:
        """As it stands in an expression, or as `${name:form}` writes it.

        Raises:
            PreviewError: a form that this tool does not know.
        """
        if form == "text":
            return " + ".join(self.texts)
        if form in DATES:
            return DATES[form](self.values[0])
        if self.all_value is not None and form != "queryparam":
            return self.all_value
        if form is None:
            return self._for_prometheus()
        if form not in FORMS:
            raise PreviewError(f"the format {form!r} of a variable is not known here")
        return FORMS[form](self.values)

    def _for_prometheus(self) -> str:
        if not self.is_plural:
            return self.values[0].replace("\\", "\\\\").replace('"', '\\"')
        escaped = [REGEX_CHARACTERS.sub(r"\\\\\g<0>", value.replace("\\", "\\" * 4)) for value in self.values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _regex(values: tuple[str, ...]) -> str:
    escaped = [re.sub(r"[\\^$*+?.()|\[\]{}/]", r"\\\g<0>", value) for value in values]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _moment(milliseconds: str) -> str:
    moment = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


DATES: Mapping[str | None, Callable[[str], str]] = {
    "date": _moment,
    "date:iso": _moment,
    "date:seconds": lambda milliseconds: str(int(milliseconds) // 1000),
}
FORMS: Mapping[str, Callable[[tuple[str, ...]], str]] = {
    "regex": _regex,
    "pipe": "|".join,
    "csv": ",".join,
    "raw": ",".join,
    "queryparam": lambda values: "&".join(quote(value) for value in values),
}


def chosen(
    variable: Mapping[str, Any], label_values: Callable[[str, str], list[str]], known: Mapping[str, Choice]
) -> Choice:
    """The default of a variable: what the file says is current, else the first there is.

    Args:
        variable: its part of the file.
        label_values: asks the store for the values of (series, label).
        known: the variables before it, on which its query may depend.

    Raises:
        PreviewError: it has no value, or is of a type that is not known here.
    """
    kind, name = variable["type"], variable["name"]
    plural = bool(variable.get("multi") or variable.get("includeAll"))
    current = (variable.get("current") or {}).get("value")
    if kind in ("textbox", "constant", "datasource"):
        value = str(current or variable.get("query") or "")
        return Choice((value,), (value,))
    pairs = _options(variable, label_values, known)
    wanted = current if isinstance(current, list) else [current]
    if ALL in wanted or (current in (None, "", []) and variable.get("includeAll")):
        return Choice(tuple(v for _, v in pairs), ("All",), plural, variable.get("allValue") or None)
    found = [(text, value) for text, value in pairs if value in wanted] or pairs[:1]
    if not found:
        raise PreviewError(f"the variable {name} has no value in this store")
    return Choice(tuple(v for _, v in found), tuple(t for t, _ in found), plural)


def _options(
    variable: Mapping[str, Any], label_values: Callable[[str, str], list[str]], known: Mapping[str, Choice]
) -> list[tuple[str, str]]:
    """What can be chosen, as text and value."""
    if variable["type"] in ("custom", "interval"):
        return [(one["text"], one["value"]) for one in variable.get("options") or [] if one["value"] != ALL]
    if variable["type"] != "query":
        raise PreviewError(f"the variable {variable['name']} is of the type {variable['type']}, not known here")
    query = variable["query"]
    match = LABEL_VALUES.fullmatch(query["query"] if isinstance(query, Mapping) else query)
    if match is None:
        raise PreviewError(f"the query of the variable {variable['name']} is no label_values(...)")
    series = "" if match[1] is None else replaced(match[1].strip(), known)
    return [(value, value) for value in sorted(label_values(series, match[2]))]


def of_time(range_: TimeRange, step: float, scraped_seconds: float) -> dict[str, Choice]:
    """The variables that follow from the range and the step."""
    texts = {
        "__range": f"{range_.seconds}s",
        "__range_s": str(range_.seconds),
        "__range_ms": str(range_.end_ms - range_.start_ms),
        "__interval": duration_text(step),
        "__interval_ms": f"{step * 1000:.0f}",
        "__rate_interval": duration_text(rate_interval_seconds(step, scraped_seconds)),
        "__from": str(range_.start_ms),
        "__to": str(range_.end_ms),
    }
    return {name: Choice((text,), (text,), all_value=text) for name, text in texts.items()}


def replaced(text: str, known: Mapping[str, Choice]) -> str:
    """`text` with its variables replaced.

    Raises:
        PreviewError: a variable that is not among `known`.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2] or match[4]
        if name.isdecimal():  # a group of label_replace
            return match[0]
        if name not in known:
            raise PreviewError(f"${name} is no variable here: {text}")
        return known[name].text(match[3] or match[5])

    return VARIABLE.sub(value, text)
