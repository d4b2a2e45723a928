"""What a query asks to be told: its parameters, declared in its first lines, and their values.

    -- Which namespaces caused how many grams?
    -- :start day: from this UTC day on
    -- :most number = 20: so many rows

In the statement they are `$start` and `$most`. What is neither given nor has a default is null.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import NamedTuple, TypeAlias

from pipeline.errors import ConfigError
from pipeline.settings import nearest

DECLARED = re.compile(
    r"^-- :(?P<name>\w+) (?P<kind>day|month|number|text)(?: = (?P<default>[^:]+))?: (?P<meaning>.+)$", re.M
)
EXAMPLES = {"day": ": write 2026-11-01", "month": ": write 2026-11", "number": ""}
FORMATS = {"day": "%Y-%m-%d", "month": "%Y-%m"}

Value: TypeAlias = date | float | str | None


class Parameter(NamedTuple):
    """One of a query's parameters.

    Attributes:
        name: as in `$name`.
        kind: `day` (2026-11-01) or `month` (2026-11) of UTC, `number` or `text`.
        default: its value when it is not given, as text; None for null.
        meaning: what it does.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


def parameters(text: str) -> list[Parameter]:
    """The parameters that a query declares, in its order."""
    return [Parameter(**found.groupdict()) for found in DECLARED.finditer(text)]


def values(text: str, given: Mapping[str, str]) -> dict[str, Value]:
    """The value of each parameter that a query declares; of a query that declares none, what is given, as text.

    Raises:
        ConfigError: a name that is not declared, or a value that is not of its kind.
    """
    declared = parameters(text)
    if not declared:
        return dict(given)
    known = [one.name for one in declared]
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ConfigError(f"the query has no parameter {unknown[0]!r}{nearest(unknown[0], known)}")
    return {one.name: _value(one, given.get(one.name, one.default)) for one in declared}


def _value(parameter: Parameter, text: str | None) -> Value:
    if text is None or parameter.kind == "text":
        return text
    try:
        if parameter.kind in FORMATS:
            return datetime.strptime(text, FORMATS[parameter.kind]).replace(tzinfo=UTC).date()
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(f"{parameter.name} {text!r} is not a {parameter.kind}{EXAMPLES[parameter.kind]}")
    return number


def assignments(texts: list[str]) -> dict[str, str]:
    """Each `name=value` by its name.

    Raises:
        ConfigError: one without `=`, or a name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier() or name in found:
            raise ConfigError(f"parameter {text!r}: write each once, as name=value")
        found[name] = value
    return found
