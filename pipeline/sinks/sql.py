"""Questions in SQL over the warehouse's views, and answers that a person can read."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import duckdb
import pyarrow as pa
from rich.table import Table
from rich.text import Text

from pipeline.errors import ConfigError, visible
from pipeline.sinks.questions import Value, values
from pipeline.sinks.views import open_views

# Beside the package, in the source tree and in the wheel alike.
QUERIES = Path(__file__).parents[2] / "queries"
EXPLAINED = re.compile(r"(?>\s|--[^\n]*\n|/\*.*?\*/)*+explain\b(.*)", re.IGNORECASE | re.DOTALL)
PLAN = "explain_value"
BATCH_ROWS = 65_536
SANDBOX = {
    "temp_directory": "",  # nothing is spilled beside the warehouse
    "memory_limit": "2GB",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
NOTHING_GIVEN: Mapping[str, str] = MappingProxyType({})
MOST_BYTES = 1 << 30  # of an answer, held in memory before it is printed


def run_query(
    root: Path, text: str, given: Mapping[str, str] = NOTHING_GIVEN, most_bytes: int = MOST_BYTES
) -> pa.Table:
    """The answer to one SQL statement over the views of the warehouse at `root`; times in UTC.

    Args:
        root: the warehouse.
        text: the statement.
        given: values of its parameters, as a person writes them.
        most_bytes: of the answer.

    Raises:
        ConfigError: DuckDB's complaint in one line, a statement that is not a question, an answer above `most_bytes`,
            a parameter that the statement does not have.
    """
    told = values(text, given)
    try:
        with open_views(root, text, SANDBOX) as connection:
            asked = _question_of(connection, text)
            _refuse_unsaid(connection, asked, told)
            return _read(connection, asked, told, most_bytes)
    except duckdb.Error as error:
        raise ConfigError(f"SQL: {_one_line(str(error))}") from error
    except RuntimeError as error:
        if str(error) == "Query interrupted":  # what DuckDB makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise


def _refuse_unsaid(connection: duckdb.DuckDBPyConnection, asked: str, told: Mapping[str, object]) -> None:
    unsaid = sorted(set().union(*(one.named_parameters for one in connection.extract_statements(asked))) - set(told))
    if unsaid:
        raise ConfigError(f"${unsaid[0]} has no value: --param {unsaid[0]}=...")


def _question_of(connection: duckdb.DuckDBPyConnection, text: str) -> str:
    """The statement, where it only reads: DuckDB may write what it may read, so nothing else gets through."""
    statement = _single(connection, text)
    if statement.type == duckdb.StatementType.SELECT:
        return statement.query
    explained = EXPLAINED.match(statement.query) if statement.type == duckdb.StatementType.EXPLAIN else None
    if explained is not None:  # `explain analyze` would do what it explains, behind whatever comments
        with suppress(duckdb.Error):
            if _single(connection, explained[1]).type == duckdb.StatementType.SELECT:
                return f"explain {explained[1]}"
    raise ConfigError("only questions can be asked here (select, describe, explain): the tables are the pipeline's")


def _single(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.Statement:
    statements = connection.extract_statements(text)
    if len(statements) != 1:
        raise ConfigError(f"give exactly one SQL statement, not {len(statements)}")
    return statements[0]


def _read(connection: duckdb.DuckDBPyConnection, asked: str, told: Mapping[str, Value], most_bytes: int) -> pa.Table:
    found, size = [], 0
    try:
        batches = connection.execute(asked, dict(told)).to_arrow_reader(BATCH_ROWS)
        for batch in batches:
            size += batch.nbytes
            if size > most_bytes:
                raise ConfigError(f"the answer is larger than {most_bytes >> 20} MB: sum it up, or add a limit")
            found.append(batch)
    except RuntimeError:
        connection.interrupt()  # or closing waits for its threads
        raise
    return pa.Table.from_batches(found, batches.schema)


def shipped_queries() -> dict[str, str]:
    """The text of every file in `queries/` by name, without `.sql`."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(QUERIES.glob("*.sql"))}


def question(text: str) -> str:
    """What a shipped query asks: its first comment line."""
    return text.partition("\n")[0].removeprefix("--").strip()


def render(answer: pa.Table) -> Table:
    """A table for the terminal: numbers to the right and rounded to six digits, nulls shown, long cells folded."""
    table = Table(header_style="bold", show_edge=False, pad_edge=False)
    for field in answer.schema:
        number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
        table.add_column(Text(visible(field.name)), justify="right" if number else "left", overflow="fold")
    columns = [_cells(name, answer[name]) for name in answer.column_names]
    for row in zip(*columns, strict=True):
        table.add_row(*row)
    return table


def _cells(name: str, column: "pa.ChunkedArray[Any]") -> list[Text]:
    try:
        found = column.to_pylist()
    except (OverflowError, ValueError):
        raise ConfigError(
            f"column {visible(name)} holds a time outside of the years 1 to 9999: cast it to varchar"
        ) from None
    if name == PLAN:  # a drawing of many lines
        return [Text("\n".join(visible(line) for line in str(value).split("\n"))) for value in found]
    return [Text("null", style="dim") if value is None else Text(readable(value)) for value in found]


def readable(value: object) -> str:
    """A value as a person writes it: 12,345.7 and 2026-11-01 05:00Z."""
    formats: tuple[tuple[type, Callable[[object], str]], ...] = (
        (bool, lambda known: "yes" if known else "no"),
        (int, lambda known: f"{known:,}"),
        (float, _number),
        (datetime, _moment),
        (date, str),
        (list, lambda known: ", ".join("null" if item is None else readable(item) for item in known)),  # type: ignore[attr-defined] # a list
    )
    return next((shown(value) for kind, shown in formats if isinstance(value, kind)), visible(str(value)))


def _number(value: object) -> str:
    number = float(str(value))
    if number and not 1e-4 <= abs(number) < 1e15:
        return f"{number:.6g}"
    digits = max(0, 5 - len(str(int(abs(number)))) + 1)
    text = f"{number:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _moment(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(value)
    moment = value.astimezone(UTC) if value.tzinfo else value
    seconds = ":%S" if moment.second or moment.microsecond else ""
    return moment.strftime(f"%Y-%m-%d %H:%M{seconds}") + ("Z" if value.tzinfo else "")


def _one_line(text: str) -> str:
    """The complaint, with DuckDB's line and caret left out."""
    return " ".join(line.strip() for line in text.partition("\nLINE")[0].splitlines() if line.strip())
