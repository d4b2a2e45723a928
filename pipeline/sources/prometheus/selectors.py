"""PromQL selectors, written so that no label value can become syntax."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError

METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\[\\"n])*)"\s*(,|$)')
SLOT = re.compile(r"\$selector\b(\s*,)?")
ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One label condition; `value` is plain text, escaped only when written."""

    name: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f'{self.name}{self.operator}"{"".join(ESCAPES.get(c, c) for c in self.value)}"'


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """The matchers of a user's `{name="value", ...}`.

    Raises:
        ConfigError: anything but a braced list of matchers.
    """
    body = text.strip()
    if not (body.startswith("{") and body.endswith("}")):
        raise ConfigError(f'selector {text!r}: write it in braces, like {{cluster="prod-eu"}}')
    body, found = body[1:-1].strip(), []
    while body:
        match = MATCHER.match(body)
        if match is None:
            raise ConfigError(
                f'selector {text!r}: cannot read {body!r}; write name="value", separated by commas, '
                'with no other escapes than \\\\, \\" and \\n'
            )
        found.append(Matcher(match[1], match[2], re.sub(r"\\(.)", _unescape, match[3])))
        body = body[match.end() :].strip()
    return tuple(found)


def expression(text: str, matchers: Sequence[Matcher]) -> str:
    """A user's PromQL in which `$selector`, one of the matchers in braces, stands for matchers.

    Raises:
        ConfigError: `$selector` anywhere else.
    """

    def inserted(match: re.Match[str]) -> str:
        if text[: match.start()].rstrip()[-1:] not in ("{", ","):
            raise ConfigError(f"query {text!r}: $selector stands in braces, as in metric{{$selector}}")
        return ",".join(str(matcher) for matcher in matchers) + (match[1] or "") if matchers else ""

    return SLOT.sub(inserted, text)


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def selector(metric: str, *matchers: Matcher) -> str:
    """`metric{...}`, every value escaped."""
    if not METRIC.fullmatch(metric):
        raise ValueError(f"not a metric name: {metric!r}")
    return f"{metric}{{{','.join(str(m) for m in matchers)}}}"
