"""Values that several tables of a configuration share: durations, addresses, moments, names."""

import re
from datetime import date, datetime, timedelta
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator

from pipeline.window import parse_time

CLUSTER_NAME = re.compile(r"[a-z0-9-]{1,63}")
DURATION = re.compile(r"(\d+)(s|m|h|d)")
DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _duration(value: object) -> object:
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return (
            value
            if isinstance(value, timedelta)
            else _refuse(f"{value!r} is not a duration: write 30s, 10m, 1h or 30d")
        )
    return timedelta(**{DURATION_UNITS[match[2]]: int(match[1])})


def _refuse(reason: str) -> object:
    raise ValueError(reason)


def _url(value: str) -> str:
    parts = urlsplit(value)
    if "@" in value:  # before the address is ever shown
        raise ValueError("credentials do not belong in an address: use username with password_env or password_file")
    if parts.query or parts.fragment:
        raise ValueError("an address ends before '?' and '#': give the server and its path prefix only")
    if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
        raise ValueError(f"{value!r} is not an http(s) address")
    return value.rstrip("/")


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is left out or one that exists."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def _moment(value: object) -> object:
    """A start written as text or as a TOML time, in UTC; both need a zone."""
    if isinstance(value, str):
        return parse_time(value, "start")
    return parse_time(value.isoformat(), "start") if isinstance(value, date) else value


def _cluster_name(value: str) -> str:
    if not CLUSTER_NAME.fullmatch(value) or "--" in value:
        raise ValueError(f"cluster name {value!r}: use 1 to 63 of a-z, 0-9 and single '-'")
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Url = Annotated[str, AfterValidator(_url)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
ClusterName = Annotated[str, AfterValidator(_cluster_name)]
