"""PromQL selectors, written so that no label value can become syntax."""

import re
from dataclasses import dataclass

from pipeline.errors import ConfigError

METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
MATCHER = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\\n]|\\[\\"n])*)"\s*(,|$)')
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


def _unescape(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def selector(metric: str, *matchers: Matcher) -> str:
    """`metric{...}`, every value escaped."""
    if not METRIC.fullmatch(metric):
        raise ValueError(f"not a metric name: {metric!r}")
    return f"{metric}{{{','.join(str(m) for m in matchers)}}}"
