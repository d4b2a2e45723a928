"""A remote read request: `ReadRequest` of one query or several, as a snappy block."""

import re
from collections.abc import Sequence

import pyarrow as pa

from pipeline.errors import SourceRejected
from pipeline.sources.prometheus.protobuf import content_field, number_field
from pipeline.sources.prometheus.selectors import METRIC, Matcher, parse_matchers

NAME = "__name__"
OPERATORS = {"=": 0, "!=": 1, "=~": 2, "!~": 3}
STREAMED_XOR_CHUNKS = 1
SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")


def matchers_of(selector: str) -> tuple[Matcher, ...]:
    """The matchers of a selector as `selectors.selector` writes it, the metric's name as one of them.

    Raises:
        SourceRejected: an expression that is more than one selector.
    """
    name = METRIC.match(selector)
    rest = selector[name.end() :] if name else selector
    if name and not rest:
        rest = "{}"
    if not (rest.startswith("{") and rest.endswith("}")):
        raise SourceRejected(f"{selector!r} is not a selector")
    return (*((Matcher(NAME, "=", name[0]),) if name else ()), *parse_matchers(rest))


def read_request(queries: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int) -> bytes:
    """The body that asks for the chunks of all series that each of the queries matches, `start_ms <= stamp <= end_ms`.

    Equality is written as a regular expression: a server takes `name="value"` for "without name" where it has that as
    an external label, and so hides the series that have it by themselves.
    """
    span = number_field(1, start_ms) + number_field(2, end_ms)
    asked = [span + b"".join(content_field(3, _matcher(matcher)) for matcher in query) for query in queries]
    message = b"".join(content_field(1, query) for query in asked) + number_field(2, STREAMED_XOR_CHUNKS)
    return bytes(pa.compress(message, codec="snappy", asbytes=True))


def _matcher(matcher: Matcher) -> bytes:
    operator, value = matcher.operator, matcher.value
    if operator == "=" and matcher.name != NAME:  # by whose equality stores shard
        operator, value = "=~", SPECIAL.sub(r"\\\g<0>", value)
    fields = number_field(1, OPERATORS[operator]) + content_field(2, matcher.name.encode())
    return fields + content_field(3, value.encode())
