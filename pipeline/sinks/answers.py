"""Answers for other programs: CSV that a spreadsheet only shows, and JSON; line by line, so that none is held twice."""

import csv
import io
import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError

ROWS = 1024  # turned into Python's objects at a time
COMPUTED = (
    "-=+@\t\r\n\uff1d\uff0b\uff0d\uff20"  # what begins a cell that a spreadsheet does not show as it is, full width too
)


def csv_lines(answer: pa.Table) -> Iterator[str]:
    """A header and the rows: null as nothing, text that a spreadsheet would compute with `'` before it."""
    yield _csv_line(answer.column_names)
    for row in _rows(answer):
        yield _csv_line(row)


def json_lines(answer: pa.Table) -> Iterator[str]:
    """One ASCII document: a list with an object for each row; what is no number in JSON, as text."""
    names, before = answer.column_names, "["
    for row in _rows(answer):
        yield before + json.dumps(dict(zip(names, row, strict=True)))
        before = ","
    yield "[]" if before == "[" else "]"


def _rows(answer: pa.Table) -> Iterator[list[Any]]:
    for batch in answer.to_batches(max_chunksize=ROWS):
        try:
            columns = [column.to_pylist() for column in batch.columns]
        except (OverflowError, ValueError):
            raise ConfigError("a time lies outside of the years 1 to 9999: cast it to varchar") from None
        for row in zip(*columns, strict=True):
            yield [_plain(value) for value in row]


def _plain(value: object) -> object:
    """What JSON can say: times as ISO 8601, in UTC where they have a zone."""
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if value is None or (isinstance(value, bool | int | float | str) and is_finite) else str(value)


def _csv_line(cells: list[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([_cell(cell) for cell in cells])
    return line.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value)
    return f"'{value}" if isinstance(value, str) and value.startswith(tuple(COMPUTED)) else value
