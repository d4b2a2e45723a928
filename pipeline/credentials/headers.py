"""Which headers a configuration may name: those that can be sent, are not ours, and hold no secret in plain sight."""

import re
from collections.abc import Sequence

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
OURS = re.compile(
    r"(accept-encoding|connection|content-.*|host|transfer-encoding|x-prometheus-remote-.*)", re.IGNORECASE
)
SECRET = re.compile(r"auth|cookie|credential|key|passw|secret|token", re.IGNORECASE)


def check_names(names: Sequence[str]) -> None:
    """Names of headers that can be sent beside ours, each once.

    Raises:
        ValueError: with what to write instead.
    """
    for name in names:
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if OURS.fullmatch(name):
            raise ValueError(f"the header {name} is set by each request itself: leave it out")
    small = [name.lower() for name in names]
    twice = sorted({name for name in small if small.count(name) > 1})
    if twice:
        raise ValueError(f"the header {twice[0]} is given twice: give it once, in headers, headers_env or headers_file")


def check_literal(name: str, value: str) -> None:
    """A header whose value stands in the config itself.

    Raises:
        ValueError: it may be a secret, or cannot be sent. Its value is not shown.
    """
    if SECRET.search(name):
        raise ValueError(
            f"the header {name} may hold a secret: name its variable in headers_env or its file in headers_file"
        )
    if not value or value != value.strip() or not (value.isascii() and value.isprintable()):
        raise ValueError(f"the header {name} needs a value of printable ASCII without spaces around it")
