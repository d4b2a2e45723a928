"""A configuration written as TOML again."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
DURATION_UNITS = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))


def to_toml(table: Mapping[str, object]) -> str:
    """TOML that reads back as `table`: text, numbers, durations (as this configuration writes them), lists, tables."""
    return "\n".join(_lines(table, "")).strip() + "\n"


def _lines(table: Mapping[str, object], path: str) -> Iterator[str]:
    """Values first: what follows a table's heading is that table's."""
    tables = {key: found for key, value in table.items() if (found := _tables(value))}
    yield from (f"{_key(key)} = {_value(value)}" for key, value in table.items() if key not in tables)
    for key, items in tables.items():
        name = f"{path}.{_key(key)}".lstrip(".")
        heading = f"[{name}]" if isinstance(table[key], Mapping) else f"[[{name}]]"
        for item in items:
            yield from ("", heading, *_lines(item, name))


def _tables(value: object) -> list[Mapping[str, object]]:
    """The table or the tables that a value is; none where it is none."""
    items = list(value) if isinstance(value, list | tuple) else [value]
    tables = [item for item in items if isinstance(item, Mapping)]
    return tables if len(tables) == len(items) else []


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _text(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, timedelta):
        return _text(_duration(value))
    return _text(value.isoformat() if isinstance(value, datetime) else str(value))


def _duration(value: timedelta) -> str:
    for letter, unit in DURATION_UNITS:
        if value and not value % unit:
            return f"{value // unit}{letter}"
    return f"{value // timedelta(seconds=1)}s"


def _text(value: str) -> str:
    """JSON's escapes are TOML's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
