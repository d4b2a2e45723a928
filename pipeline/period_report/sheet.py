"""A report as one CSV: a line for each total, cluster, kind, team, namespace and day, all under one head."""

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from pipeline.books.export import FORMULA
from pipeline.errors import visible
from pipeline.period_report.amounts import Line
from pipeline.period_report.figures import Figures, Part

NAMES = ("team", "cluster", "namespace", "kind")
AMOUNTS = ("energy_kwh", "facility_energy_kwh", "emissions_gco2e", "unpriced_energy_kwh")
COLUMNS = (
    "period", "table", "factor_type", "scope", "day_utc", *NAMES, *AMOUNTS, *(f"before_{name}" for name in AMOUNTS),
    "change_gco2e",
)  # fmt: skip
# The tables of a part that hold every line there is, by the word in column `table`.
TABLES = {"cluster": "clusters", "kind": "kinds", "team": "teams", "namespace": "namespaces"}


def to_csv(figures: Figures) -> str:
    """The sheet. Lines of one table sum to its `total`; lines of two tables are the same energy twice."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for part in figures.parts:
        about = {"period": figures.spans.name, "factor_type": part.factor_type, "scope": part.scope}
        writer.writerows({name: _cell(value) for name, value in (about | row).items()} for row in _rows(part))
    return text.getvalue()


def _rows(part: Part) -> Iterator[dict[str, Any]]:
    yield _row("total", part.total)
    for table, name in TABLES.items():
        yield from (_row(table, line) for line in getattr(part, name))
    for day in part.days:
        amounts = {name: getattr(day.amounts, name) for name in AMOUNTS}
        yield {"table": "day", "day_utc": day.day_utc, "cluster": day.cluster, "kind": day.kind} | amounts


def _row(table: str, line: Line) -> dict[str, Any]:
    row = {"table": table, "change_gco2e": line.change_gco2e} | {name: getattr(line, name) for name in NAMES}
    for prefix, amounts in (("", line.now), ("before_", line.before)):
        row |= {f"{prefix}{name}": None if amounts is None else getattr(amounts, name) for name in AMOUNTS}
    return row


def _cell(value: object) -> object:
    """A value as a spreadsheet takes it: null is an empty cell, and no text is computed."""
    if not isinstance(value, str):
        return value
    return re.sub(FORMULA, r"'\1", visible(value))
