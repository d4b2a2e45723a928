"""Labels that a Prometheus adds to all it gives away: they are in a remote read, and not in its query API.

A series that has a label of that name keeps its own. So what was added can be told from what was there only by asking
for series with and without the label apart, and that is needed only where some series has the very same value.
"""

import json
import re
from itertools import product
from typing import NamedTuple

from pipeline.sources.prometheus.selectors import Matcher
from pipeline.sources.wording import writable

BEGIN = "  external_labels:"
ENTRY = re.compile(r"    (\S.*?): (.+)")
PLAIN = re.compile(r"[^\s\"'|>&*!%@`{}\[\],#?:-][^#]*")


class Query(NamedTuple):
    """One query of a request.

    Attributes:
        matchers: conditions beside those of the selector.
        added: labels that every series of its answer got from the server alone, if it has them with this value.
    """

    matchers: tuple[Matcher, ...]
    added: dict[str, str]


def external_labels(config: str) -> dict[str, str] | None:
    """The labels in a server's configuration as it prints it; None where they cannot be read for certain.

    Long and multi-line values are printed in forms that need a whole YAML parser.
    """
    lines = config.splitlines()
    if "global:" not in lines:
        return None
    if BEGIN not in lines:
        return None if any("external_labels" in line for line in lines) else {}
    found: dict[str, str] = {}
    for line in lines[lines.index(BEGIN) + 1 :]:
        if not line.startswith("   "):
            break
        entry = ENTRY.fullmatch(line)
        name, value = (None, None) if entry is None else (_scalar(entry[1]), _scalar(entry[2]))
        if name is None or value is None:
            return None
        found[name] = value
    return found


def _scalar(text: str) -> str | None:
    """A one-line YAML scalar of a string; None for what is none, or has half a surrogate, which no request can hold."""
    found = _unquoted(text)
    return found if found is not None and writable(found) == found else None


def _unquoted(text: str) -> str | None:
    if len(text) > 1 and text[0] == text[-1] == "'":
        inner = text[1:-1].replace("''", "")
        return None if "'" in inner else text[1:-1].replace("''", "'")
    if text.startswith('"'):
        try:
            return str(json.loads(text))  # whose escapes are a part of YAML's
        except ValueError:
            return None
    return text if PLAIN.fullmatch(text) and ": " not in text else None


def queries(external: dict[str, str], also_own: frozenset[str]) -> list[Query]:
    """The queries whose answers together are those of one selector, each with what was added to its series.

    Args:
        external: the server's external labels.
        also_own: names of those that some series has by itself with the very same value.
    """
    certain = {name: value for name, value in external.items() if name not in also_own}
    doubtful = [name for name in external if name in also_own]
    split = []
    for has in product((False, True), repeat=len(doubtful)):
        conditions = tuple(Matcher(name, "!=" if own else "=", "") for name, own in zip(doubtful, has, strict=True))
        missing = {name: external[name] for name, own in zip(doubtful, has, strict=True) if not own}
        split.append(Query(conditions, certain | missing))
    return split
