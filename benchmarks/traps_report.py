"""The trap table in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import pandas as pd

from benchmarks.accuracy_report import table
from benchmarks.trap_lines import NONE, Line
from benchmarks.trap_queries import WAYS, Query
from benchmarks.trap_words import Words

OURS = "carbon-etl"
ABSURD_PERCENT = 1e5
READING = (
    "Errors are percent of the true joules: signed, of all together; in brackets without sign, added up over each hour "
    "and pod, node or holder, so that what is booked on the wrong one counts twice. A missing figure is 0 J. The first "
    "line of a meter is without a trap. `Q` says which query below is filled in three ways, of a gauge in two; *said* "
    "is what carbon-etl writes beside its figures."
)


def error_percent(frame: pd.DataFrame, method: str) -> float:
    """Of all joules together, signed."""
    return float((frame[method].sum() / frame["truth"].sum() - 1) * 100)


def misplaced_percent(frame: pd.DataFrame, method: str) -> float:
    """Of each row, without sign, added up."""
    off = (frame[method].fillna(0.0) - frame["truth"].fillna(0.0)).abs()
    return float(off.sum() / frame["truth"].sum() * 100)


def markdown(said: Mapping[Line, tuple[pd.DataFrame, Words]], preamble: Sequence[str]) -> str:
    """The whole document."""
    queries = list(dict.fromkeys(line.query for line in said))
    parts = ["# Traps", *preamble, READING]
    for meter, lines in groupby(said, key=lambda line: line.meter):
        counters, gauges = WAYS["counter"], WAYS["gauge"]
        ways = [*(f"{a}; {b}" for a, b in zip(counters, gauges, strict=False)), *counters[len(gauges) :]]
        rows = [_row(line, *said[line], queries) for line in lines]
        kinds = {line.query.kind for line in said if line.meter == meter}
        head = ways if len(kinds) > 1 else [*WAYS[next(iter(kinds))]]
        parts += [f"## {meter}", *table(["trap", "true J", OURS, *head, "Q", "said"], _padded(rows, len(head)))]
    parts += ["## Queries", *_printed(queries)]
    return "\n\n".join(parts) + "\n"


def _row(line: Line, frame: pd.DataFrame, said: Words, queries: Sequence[Query]) -> tuple[list[str], list[str]]:
    """The cells up to the last method, and those after it."""
    ours = _cell(frame, OURS)
    if said.refused and not frame[OURS].sum():
        ours = "withheld, told"
    name = "*none*" if line.trap == NONE else line.trap
    cells = [name, f"{frame['truth'].sum():,.0f}", ours, *(_cell(frame, way) for way in WAYS[line.query.kind])]
    return cells, [f"Q{queries.index(line.query) + 1}", said.text]


def _cell(frame: pd.DataFrame, method: str) -> str:
    if not frame[method].notna().any():
        return "nothing"
    return f"{_short(error_percent(frame, method), '+')} ({_short(misplaced_percent(frame, method))})"


def _short(percent: float, sign: str = "") -> str:
    """A figure that fits into a cell, also where a trap makes it absurd."""
    return format(percent, f"{sign}.1e" if abs(percent) >= ABSURD_PERCENT else f"{sign}z.2f")


def _padded(rows: Sequence[tuple[list[str], list[str]]], ways: int) -> list[list[str]]:
    """Gauges have a way less."""
    return [[*cells, *["-"] * (3 + ways - len(cells)), *after] for cells, after in rows]


def _printed(queries: Sequence[Query]) -> Iterator[str]:
    for number, query in enumerate(queries, 1):
        yield f"**Q{number}** {query.title}\n\n```promql\n" + "\n".join(query.promql.values()) + "\n```"
